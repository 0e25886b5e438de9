"""The words of a text: what the message index holds beside the text, a search for words, and the
snippet of a result.

RediSearch ends a word only at a blank, a tab or a punctuation mark of ASCII, and reads upper case
only in ASCII letters. So it reads the end of one line and the beginning of the next as one word,
and does not find "dónde" in "¿Dónde". `missing` has the words of a text that it cannot find.
"""

import re
from collections.abc import Iterable, Sequence
from unicodedata import category, normalize

from langgraph_redis_json.search import fields

LANGUAGES = (
    *("arabic", "armenian", "basque", "catalan", "danish", "dutch", "english"),
    *("finnish", "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish"),
    *("italian", "lithuanian", "nepali", "norwegian", "portuguese", "romanian", "russian"),
    *("serbian", "spanish", "swedish", "tamil", "turkish", "yiddish"),
)
"""The languages whose words RediSearch knows in all their forms."""

DEFAULT_LANGUAGE = "english"

MOST_WORDS = 100
"""Words of one search."""

SNIPPET = 160
"""Characters of a snippet, about."""

# Scripts without blanks between words: Chinese, Japanese, Thai, Lao, Burmese and Khmer. They are
# searched by pairs of neighbouring characters, Chinese characters one by one too. (RediSearch has a
# tokenizer for Chinese, but it drops characters that are not in its dictionary.)
_HAN = re.compile("[\u3005\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_RUN = re.compile(
    "[\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+"
)

_PLAIN = re.compile(r"[\t -\[\]-~]*")
"""A text in which RediSearch finds every word. (After a backslash no punctuation ends a word.)"""

_SEPARATORS = re.compile(r"""[ \t,./(){}\[\]:;~!@#$%^&*=+|'`"<>?-]+""")
"""Where RediSearch ends a word."""

_UPPER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class _WordCharacters(dict[int, str]):
    """For `str.translate`: a blank for each character that is in no word."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        in_word = character.isalnum() or character == "_" or category(character)[0] == "M"
        self[code] = character if in_word else " "
        return self[code]


_WORD_CHARACTERS = _WordCharacters()


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case, in order: letters, digits, marks and ``_``."""
    folded = normalize("NFKC", normalize("NFKC", text).casefold())
    words = folded.translate(_WORD_CHARACTERS).split()
    return [word for word in words if word.strip("_")]


def missing(text: str) -> str:
    """The words of a text that RediSearch does not find in it, with blanks between them."""
    if _PLAIN.fullmatch(text):
        return ""
    # RediSearch reads a text up to a NUL.
    read = "" if "\\" in text else text.partition("\0")[0].translate(_UPPER)
    found = {*_SEPARATORS.split(read)}
    parts = [part for word in words_of(text) for part in (*_parts(word), *_HAN.findall(word))]
    return " ".join(dict.fromkeys(part for part in parts if part not in found))


def _parts(word: str) -> Iterable[str]:
    """A word, with its runs of unspaced characters as pairs of neighbours."""
    at = 0
    for run in _RUN.finditer(word):
        if at < run.start():
            yield word[at : run.start()]
        yield from _pairs(run[0])
        at = run.end()
    if at < len(word):
        yield word[at:]


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(max(1, len(run) - 1))]


def clause(words: Sequence[str]) -> str:
    """The clause of a search for messages with all of these words, which may be in different
    fields.

    Args:
        words: of `words_of`, so no character of them means anything in a query.
    """
    parts = [part for word in words for part in _parts(word)]
    return f"({' '.join(dict.fromkeys(parts))})"


def read(text: str) -> list[str]:
    """The words that a user searches for.

    Raises:
        ValueError, TypeError: if there are none, or too many.
    """
    if not isinstance(text, str):
        raise TypeError(f"the words to search for must be text, not {text!r:.100}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"the words to search for hold half a surrogate pair: {text!a:.100}"
        ) from None
    words = [*dict.fromkeys(words_of(text))]
    if not words:
        raise ValueError(f"there is no word to search for in {text!r:.100}: pass letters or digits")
    if len(words) > MOST_WORDS:
        raise ValueError(f"{len(words)} words are too many: search for at most {MOST_WORDS}")
    if {*words} <= stopwords():
        raise ValueError(
            f"the words of {text!r:.100} are in nearly every message, so the index does not have "
            "them: search for a word that says more"
        )
    return words


def stopwords() -> set[str]:
    """Words that the message index does not have."""
    return set(fields.built_in("messages").index.stopwords or ())


# ---- snippets


def snippet(texts: Sequence[str], words: Sequence[str], marks: tuple[str, str]) -> str:
    """The part of a text around the first of some words, on one line, with the words marked.

    A word is also marked in other forms: if no word of the text is equal, those are marked that
    begin with the same letters and end in others.

    Args:
        texts: the first one that has a word is shown.
        words: of `words_of`.
        marks: the texts before and after a marked word.
    """
    found_in = {text: _places(text, words) for text in texts}
    text = next((text for text in texts if found_in[text]), texts[0])
    places = found_in[text]
    start, stop = _window(text, places)
    found, at = [], start
    for first, last in places:
        if first >= at and last <= stop:
            found += [text[at:first], marks[0], text[first:last], marks[1]]
            at = last
    found.append(text[at:stop])
    before, after = "… " if start else "", " …" if stop < len(text) else ""
    return before + " ".join("".join(found).split()) + after


def _places(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Where words stand in a text: the start and the end of each."""
    there: dict[str, list[tuple[int, int]]] = {}
    for found in re.finditer(r"\S+", text.translate(_WORD_CHARACTERS)):
        for word in words_of(found[0]):
            there.setdefault(word, []).append(found.span())
    places: set[tuple[int, int]] = set()
    for word in words:
        if word in stopwords():
            continue
        if _RUN.search(word):
            places.update(_runs(text, word))
        elif word in there:
            places.update(there[word])
        else:
            places.update(at for other in there if _is_form(word, other) for at in there[other])
    return _without_overlaps(places)


def _runs(text: str, word: str) -> Iterable[tuple[int, int]]:
    """Where the pairs of neighbouring characters of a word stand."""
    for part in _parts(word):
        yield from (found.span() for found in re.finditer(re.escape(part), text, re.IGNORECASE))


def _is_form(word: str, other: str) -> bool:
    shared = 0
    for left, right in zip(word, other, strict=False):
        if left != right:
            break
        shared += 1
    return shared >= 3 and shared >= max(len(word), len(other)) - 4


def _without_overlaps(places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, stop in sorted(places):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found


def _window(text: str, places: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The part of a text that a snippet shows; it begins and ends between words."""
    if len(text) <= SNIPPET:
        return 0, len(text)
    first, last = places[0] if places else (0, 0)
    start = max(0, min(first - SNIPPET // 3, len(text) - SNIPPET))
    stop = max(last, start + SNIPPET)
    if start and (blank := re.search(r"\s", text[start:first])):
        start += blank.end()
    if stop < len(text) and (blank := re.search(r"\s", text[last:stop][::-1])):
        stop -= blank.end()
    return start, stop

"""The words of texts: what is searched for, what the index lacks, and what snippets mark."""

# ruff: noqa: RUF001 - other alphabets are what some tests are about

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langgraph_redis_json.search import words
from tests.support.strategies import examples

NO_WORDS = ["", " ", "?!", "@{}|()", "\\", "_", "__ _", "🎉", "\0", "…", "-"]


@pytest.mark.parametrize("text", NO_WORDS)
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="there is no word to search for"):
        words.read(text)


@pytest.mark.parametrize("text", ["the", "The, the - OF", "to be or not: to be"])
def test_a_text_of_stopwords_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="in nearly every message"):
        words.read(text)


def test_other_texts_that_cannot_be_searched_for() -> None:
    with pytest.raises(TypeError, match="must be text, not None"):
        words.read(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="half a surrogate pair"):
        words.read("a\ud800")
    with pytest.raises(ValueError, match="101 words are too many"):
        words.read(" ".join(map(str, range(101))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where's my PARCEL?", ["where", "s", "my", "parcel"]),
        ("one-two_three\nfour", ["one", "two_three", "four"]),
        ("¿Dónde ÉTAIT", ["dónde", "était"]),
        ("straße", ["strasse"]),
        ("ﬁrst ＦＵＬＬ １２", ["first", "full", "12"]),
        ("cafe\u0301", ["café"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
    ],
)
def test_words_of_a_text(text: str, expected: list[str]) -> None:
    assert words.words_of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, 2 words (or_more)!", ""),
        ("end\nof line", "end of"),
        ("C:\\temp", "c temp"),
        ("ПРИВЕТ мир", "привет"),
        ("“parcel”", "parcel"),
        ("a\0b", "b"),
        ("東京タワー", "東京 京タ タワ ワー 東 京"),
        ("สวัสดี", "สว วั ัส สด ดี"),
        ("我的包裹\nLISBON", "我的 的包 包裹 我 的 包 裹 lisbon"),
    ],
)
def test_the_words_that_the_index_would_lack(text: str, expected: str) -> None:
    assert words.missing(text) == expected


@pytest.mark.parametrize(
    ("text", "searched", "expected"),
    [
        ("My parcel is late.", "PARCEL", "My [parcel] is late."),
        ("Two late\n\nparcels", "parcel", "Two late [parcels]"),
        ("parcel, Parcels", "parcel", "[parcel], Parcels"),
        ("“Straße” 12", "strasse", "“[Straße]” 12"),
        ("我的包裹在哪里？", "包裹", "我的[包裹]在哪里？"),
        ("東京タワーへ", "タワー", "東京[タワー]へ"),
        ("the cat", "the cat", "the [cat]"),
        ("nothing here", "other", "nothing here"),
    ],
)
def test_a_snippet_marks_the_words(text: str, searched: str, expected: str) -> None:
    assert words.snippet([text], words.words_of(searched), ("[", "]")) == expected


def test_a_snippet_of_a_long_text_shows_the_part_with_the_words() -> None:
    text = f"{'before ' * 100}the parcel {'after ' * 100}"
    found = words.snippet([text], ["parcel"], ("[", "]"))
    assert "the [parcel] after" in found
    assert found.startswith("… before")
    assert found.endswith("after …")
    assert len(found) < words.SNIPPET + 20


def test_a_snippet_is_of_the_first_text_that_has_a_word() -> None:
    assert words.snippet(["calling", "find parcel"], ["parcel"], ("[", "]")) == "find [parcel]"


@examples(200)
@given(st.text(), st.text())
def test_a_snippet_of_any_text(text: str, searched: str) -> None:
    found = words.snippet([text], words.words_of(searched), ("", ""))
    assert found.strip("… ") in " ".join(text.split())

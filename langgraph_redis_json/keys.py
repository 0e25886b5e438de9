"""The names of keys and of the entries in a thread's table of contents.

Every key of a thread has the hash tag ``{thread}``, so that the whole thread lives in
one slot of a cluster. The table of contents, a sorted set, names every other key of its
thread by an *entry*: a letter for the kind, then what follows the thread in the key.

    entry                  key
    c:ns:id                checkpoint:{thread}:ns:id
    w:ns:id                checkpoint_write:{thread}:ns:id
    b:ns:channel:version   checkpoint_blob:{thread}:ns:channel:version
    l:ns:channel:n         checkpoint_log:{thread}:ns:channel:n
    t                      checkpoint_thread:{thread}

Two kinds of entry name no key: ``d:…`` says what deadline the keys are being given, or that the
thread is pinned (scripts/lifetimes.lua); an ``x`` in front of a blob's or log's entry, and a number
behind it, say that it is about to be freed (scripts/sweep.lua).

Channel versions are shortened to a digest: a sorted set whose entries have at most 64 bytes
is one compact block of memory. The documents hold them in full.
"""

import re
from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import NamedTuple

KINDS = {
    "c": "checkpoint",
    "w": "checkpoint_write",
    "b": "checkpoint_blob",
    "l": "checkpoint_log",
    "t": "checkpoint_thread",
}
"""The kind of key that each letter of the table of contents stands for."""

LAST = b"\xff"
"""Sorts after every entry: no UTF-8 text has this byte."""

# Percent-encoding would not sort as the text does ("a:b" > "a1", but "a%3Ab" < "a1"), and
# names are ranged over by checkpoint id. So each reserved character is spelled with its
# neighbour in the alphabet, which is itself spelled twice. NUL is one of them: RediSearch
# reads the names of keys only up to a NUL.
_SPELLING = str.maketrans(
    {
        ":": ";.",
        ";": ";;",
        "{": "|(",
        "|": "||",
        "}": "~)",
        "~": "~~",
        "\0": "\1\1",
        "\1": "\1\2",
    }
)
_RESERVED = re.compile(f"[{re.escape(''.join(map(chr, _SPELLING)))}]")
_CHARACTERS = {v: chr(k) for k, v in _SPELLING.items()}
_FIRST = {spelled[0] for spelled in _CHARACTERS}


def escape(part: str) -> str:
    """Spell one part of a name without ``:``, ``{``, ``}`` and NUL; it sorts as the part does."""
    return part.translate(_SPELLING) if _RESERVED.search(part) else part


def unescape(part: str) -> str:
    """The part that `escape` spelled."""
    if _FIRST.isdisjoint(part):
        return part
    text, at = [], 0
    while at < len(part):
        width = 2 if part[at] in _FIRST else 1
        spelled = part[at : at + width]
        text.append(_CHARACTERS.get(spelled, spelled))
        at += width
    return "".join(text)


def digest(text: str) -> str:
    """16 characters (96 bits) that stand for a text of any length."""
    return urlsafe_b64encode(blake2b(text.encode(), digest_size=12).digest()).decode()


class CheckpointName(NamedTuple):
    """What tells one checkpoint from every other."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str


class ThreadKeys(NamedTuple):
    """The keys and entries of one thread.

    Attributes:
        prefix: the saver's key prefix with its ``:``, or "".
        tag: the thread as it stands in keys, with its braces.
    """

    prefix: str
    tag: str

    @property
    def contents(self) -> str:
        """The key of the table of contents."""
        return f"{self.prefix}checkpoint_keys:{self.tag}"

    def key(self, entry: str) -> str:
        """The key that an entry of the table of contents names."""
        kind, colon, rest = entry.partition(":")
        return f"{self.prefix}{KINDS[kind]}:{self.tag}{colon}{rest}"


def thread_keys(prefix: str, thread_id: str) -> ThreadKeys:
    """The keys of a thread under a key prefix ("" for none)."""
    # A hash tag must not be empty: Redis Cluster would hash the whole key instead.
    tag = escape(thread_id) or "~"
    return ThreadKeys(f"{escape(prefix)}:" if prefix else "", "{" + tag + "}")


def checkpoint_entry(checkpoint_ns: str, checkpoint_id: str) -> str:
    return f"c:{escape(checkpoint_ns)}:{escape(checkpoint_id)}"


def writes_entry(checkpoint_ns: str, checkpoint_id: str) -> str:
    return f"w:{escape(checkpoint_ns)}:{escape(checkpoint_id)}"


def blob_entry(checkpoint_ns: str, channel: str, version: str | int | float) -> str:
    # 1, 1.0 and "1" are different versions.
    return f"b:{escape(checkpoint_ns)}:{escape(channel)}:{digest(f'{version!r}')}"


def checkpoint_of_entry(thread_id: str, entry: str) -> CheckpointName:
    """The checkpoint that an entry ``c:ns:id`` names."""
    _, checkpoint_ns, checkpoint_id = entry.split(":")
    return CheckpointName(thread_id, unescape(checkpoint_ns), unescape(checkpoint_id))


# ---- positions


def position_of_entry(thread_tag: str, entry: str) -> bytes:
    """Where a checkpoint stands in a listing: its name in few bytes, which sort as a listing does,
    by checkpoint, namespace and thread."""
    _, checkpoint_ns, checkpoint_id = entry.split(":")
    thread = "" if thread_tag == "{~}" else thread_tag[1:-1]
    return "\0".join((checkpoint_id, checkpoint_ns, thread)).encode()


def position_of_key(key: str) -> bytes:
    """The same, of the key of a checkpoint."""
    head, checkpoint_ns, checkpoint_id = key.rsplit(":", 2)
    return position_of_entry(head[head.index("{") :], f"c:{checkpoint_ns}:{checkpoint_id}")


def positions_of(checkpoint_id: str) -> tuple[bytes, bytes]:
    """What the positions of a checkpoint id sort from, and up to."""
    spelled = escape(checkpoint_id).encode()
    return spelled, spelled + b"\1"


def checkpoint_at(position: bytes) -> CheckpointName:
    """The checkpoint at a position in a listing."""
    checkpoint_id, checkpoint_ns, thread = map(unescape, position.decode().split("\0"))
    return CheckpointName(thread, checkpoint_ns, checkpoint_id)

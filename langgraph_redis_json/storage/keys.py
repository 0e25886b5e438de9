"""How ids become names: keys, entries of the table of contents, search tokens, sort keys.

Every key of a thread has the hash tag ``{thread}``, so that the whole thread lives in one slot of
a cluster. The table of contents, a sorted set, names every other key of its thread by an *entry*:
a letter for the kind, then the part of the key after the thread.

    entry                  key (the default key prefix is "langgraph:")
    c:ns:id                langgraph:checkpoint:{thread}:ns:id
    w:ns:id                langgraph:writes:{thread}:ns:id
    b:ns:channel:version   langgraph:blob:{thread}:ns:channel:version
    l:ns:channel:number    langgraph:log:{thread}:ns:channel:number
    t                      langgraph:thread:{thread}
    m:id:message           langgraph:message:{thread}:id:message

Two kinds of entry name no key. ``d:…`` is a pending deadline, or says that the thread is pinned
(client/scripts/parts/deadlines.lua). An ``x`` before a blob's or log's entry, and a number after
it, mark the key for deletion (client/scripts/collect_garbage.lua).

Channel versions and message ids are shortened to a digest: Redis keeps a sorted set whose members
have at most 64 bytes in one compact block of memory. The documents hold them in full.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from secrets import token_urlsafe
from typing import Any, Literal, NamedTuple

import orjson

from langgraph_redis_json.storage.json_codec import is_kept

KINDS = {
    "c": "checkpoint",
    "w": "writes",
    "b": "blob",
    "l": "log",
    "t": "thread",
    "m": "message",
}
"""The kind of key that each letter of the table of contents stands for."""

AFTER_ALL = b"\xff"
"""Sorts after every entry, because no UTF-8 text has this byte."""

# Percent-encoding would not sort as the text does ("a:b" > "a1", but "a%3Ab" < "a1"), and the
# operations read ranges of names by checkpoint id. So each reserved character is spelled with its
# neighbour in the alphabet, and that neighbour is doubled. NUL is reserved because RediSearch reads
# the name of a key only up to a NUL.
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
    """Spell one part of a name without ``:``, ``{``, ``}`` and NUL. Escaped parts sort as the
    parts themselves do."""
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


class ThreadKeys(NamedTuple):
    """The keys of one thread.

    Attributes:
        prefix: the saver's key prefix.
        tag: the thread as it stands in keys, with its braces.
        contents: the key of the table of contents.
    """

    prefix: str
    tag: str
    contents: str

    def key(self, entry: str) -> str:
        """The key that an entry of the table of contents names."""
        return f"{self.prefix}{KINDS[entry[0]]}:{self.tag}{entry[1:]}"

    @property
    def staging(self) -> str:
        """The key of the sorted set that names the documents of an import that is not finished."""
        return f"{self.prefix}importing:{self.tag}"

    def find_entry(self, key: Any) -> str | None:
        """The entry of the blob or log at a key; None if this is not such a key of the thread."""
        for kind in "lb":
            start = f"{self.prefix}{KINDS[kind]}:{self.tag}:"
            if isinstance(key, str) and key.startswith(start):
                return f"{kind}:{key[len(start) :]}"
        return None

    def entry(self, key: Any) -> str:
        """The entry of the blob or log at a key to which a checkpoint refers.

        Raises:
            ValueError: if this is not such a key of the thread.
        """
        entry = self.find_entry(key)
        if entry is None:
            raise ValueError(f"{key!r:.100} is not the key of a blob or log of this thread")
        return entry


def thread_of_tag(tag: str) -> str:
    """The thread whose keys have a tag."""
    return "" if tag == "{~}" else unescape(tag[1:-1])


@lru_cache(maxsize=1024)
def thread_keys(key_prefix: str, thread_id: str) -> ThreadKeys:
    """The keys of a thread."""
    # A hash tag must not be empty, or Redis Cluster would hash the whole key.
    tag = "{%s}" % (escape(thread_id) or "~")
    return ThreadKeys(key_prefix, tag, f"{key_prefix}contents:{tag}")


def checkpoint_entry(checkpoint_ns: str, checkpoint_id: str) -> str:
    return f"c:{escape(checkpoint_ns)}:{escape(checkpoint_id)}"


def writes_entry(checkpoint_entry: str) -> str:
    """The entry of a checkpoint's pending writes."""
    return f"w{checkpoint_entry[1:]}"


def blob_entry(checkpoint_ns: str, channel: str, version: str | int | float) -> str:
    # 1, 1.0 and "1" are different versions.
    return f"b:{escape(checkpoint_ns)}:{escape(channel)}:{digest(repr(version))}"


def new_log_entry(checkpoint_ns: str, channel: str) -> str:
    """The entry of a new log of a channel. Its number is random."""
    return f"l:{escape(checkpoint_ns)}:{escape(channel)}:{token_urlsafe(12)}"


def renumbered(log_entry: str) -> str:
    """The same log entry with another random number."""
    return f"{log_entry.rpartition(':')[0]}:{token_urlsafe(12)}"


def message_entry(by: Literal["id", "text"], what: str) -> str:
    """The entry of the document of a message, which is known by its id or by its text."""
    return f"m:{by}:{digest(what)}"


def next_version(current: str | int | None) -> str:
    """The version of a channel after `current`: text that sorts as it counts.

    The second part is random (48 bits), so that two forks of a thread never share a version. A
    longer version, of another saver for example, keeps its length, because versions are compared
    as text.
    """
    count = f"{current or 0}".split(".")[0]
    return f"{int(count) + 1:0{max(10, len(count))}}.{token_urlsafe(6)}"


# ---- checkpoints


class CheckpointIdentity(NamedTuple):
    """Tells one checkpoint from every other."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str

    @property
    def entry(self) -> str:
        return f"c:{escape(self.checkpoint_ns)}:{escape(self.checkpoint_id)}"


def identity_of_entry(thread_id: str, entry: str) -> CheckpointIdentity:
    """The checkpoint that an entry ``c:ns:id`` names."""
    _, checkpoint_ns, checkpoint_id = entry.split(":")
    return CheckpointIdentity(thread_id, unescape(checkpoint_ns), unescape(checkpoint_id))


# A sort key is the identity of a checkpoint in few bytes. Sort keys sort as a listing does: by
# checkpoint id, then by namespace, then by thread.


def sort_key_of_entry(thread_tag: str, entry: str) -> bytes:
    """The sort key of the checkpoint that an entry names."""
    _, checkpoint_ns, checkpoint_id = entry.split(":")
    thread = "" if thread_tag == "{~}" else thread_tag[1:-1]
    return "\0".join((checkpoint_id, checkpoint_ns, thread)).encode()


def sort_key_of_key(key: str) -> bytes:
    """The sort key of the checkpoint at a key."""
    head, checkpoint_ns, checkpoint_id = key.rsplit(":", 2)
    thread = "" if head.endswith("{~}") else head[head.index("{") + 1 : -1]
    return "\0".join((checkpoint_id, checkpoint_ns, thread)).encode()


def thread_of_key(key: str) -> str:
    """The id of the thread that a key belongs to."""
    tag = key[key.index("{") + 1 : key.index("}")]
    return "" if tag == "~" else unescape(tag)


def sort_keys_of_id(checkpoint_id: str) -> tuple[bytes, bytes]:
    """The bounds of the sort keys of a checkpoint id: from the first up to, not with, the
    second."""
    spelled = escape(checkpoint_id).encode()
    return spelled, spelled + b"\1"


def identity_of_sort_key(sort_key: bytes) -> CheckpointIdentity:
    """The checkpoint that a sort key stands for."""
    checkpoint_id, checkpoint_ns, thread = map(unescape, sort_key.decode().split("\0"))
    return CheckpointIdentity(thread, checkpoint_ns, checkpoint_id)


# ---- tokens

# A token is a hash that the search index holds: one for the thread, one for the namespace, one for
# each metadata pair. Any key and any JSON value can be searched for, and nothing in them can break
# out of a query.


def thread_token(thread_id: str) -> str:
    return _token("thread", thread_id, b"")


def namespace_token(checkpoint_ns: str) -> str:
    return _token("namespace", checkpoint_ns, b"")


def split_metadata(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metadata for the member "metadata" of a document, and for "other_metadata".

    RediSearch refuses a whole document if the value of an indexed key is not of the field's type.
    """
    indexed = {**metadata}
    others: dict[str, Any] = {}
    for key in ("source", "run_id", "step"):
        if key in indexed:
            value = indexed[key]
            if not (is_step(value) if key == "step" else type(value) is str):
                others[key] = indexed.pop(key)
    return indexed, others


def metadata_tokens(metadata: Mapping[str, Any]) -> list[str]:
    """One token for each pair of a checkpoint's metadata, and one more for each number that no
    numeric field of the index can hold."""
    tokens = []
    for key, value in metadata.items():
        tokens.append(pair_token(key, value) or opaque_token(key))
        if isinstance(value, (int, float)) and not _has_field(key, value):
            tokens.append(number_token(key))
    return tokens


def pair_token(key: str, value: Any) -> str | None:
    """The token of a metadata pair; None for a value that is not JSON."""
    kind = type(value)
    try:
        plain = value if kind is str or kind is int else _canonical(value)
        text = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None
    return _token("metadata", key, text)


def opaque_token(key: str) -> str:
    """The token of a key whose value is not JSON."""
    return _token("opaque", key, b"")


def number_token(key: str) -> str:
    """The token of a key whose number no numeric field of the index can hold."""
    return _token("number", key, b"")


def _has_field(key: str, value: float) -> bool:
    # RedisJSON would alter some floats, so they are stored as tags, which no numeric field reads.
    if key == "step":
        return is_step(value)
    kind = type(value)
    return kind is int or kind is bool or (kind is float and is_kept(value))


def is_step(value: Any) -> bool:
    """Whether the index's field "step" can hold a value: integers of 64 bits."""
    return type(value) is int and -(2**63) <= value < 2**63


def _token(kind: str, key: str, value: bytes) -> str:
    # A large value is rarely the same twice.
    hashed = _cached_hash if len(key) + len(value) < 200 else _hash
    return hashed(kind, key, value)


def _hash(kind: str, key: str, value: bytes) -> str:
    parts = orjson.dumps([kind, key]) + value
    return blake2b(parts, digest_size=8).hexdigest()


_cached_hash = lru_cache(maxsize=4096)(_hash)


def _canonical(value: Any) -> Any:
    """One spelling for all values that `filters.same` calls equal.

    Raises:
        TypeError: if the value is not JSON. (orjson would write a UUID, for example, as text.)
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, (dict, Mapping)):
        return {key: _canonical(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    raise TypeError

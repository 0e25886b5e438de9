"""Commands as plans spell them, and what Redis answers.

The one place that knows how replies differ: with RESP2 and RESP3, with and without
``decode_responses``.
"""

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import orjson
from redis.exceptions import RedisError, TryAgainError

from langgraph_redis_json.keys import ThreadKeys

Argument = str | bytes | int
Command = tuple[Argument, ...]
"""A command as Redis spells it, ready for ``client.execute_command(*command)``."""

T = TypeVar("T")
Replies = list[Any]
Plan = Generator[list[Command], Replies, T]
"""The steps of an operation: yields a batch of commands, is sent their replies, returns T. An
empty batch says that what follows takes long."""
Listing = Generator[list[Command] | T, Replies, None]
"""A plan that also yields what it has found."""


class Finished(Exception):
    """What StopIteration is to a plan, where that may not be raised."""

    def __init__(self, value: Any) -> None:
        self.value = value


# ---- scripts


_SHARED = {
    "read": ["references", "lifetimes"],
    "ancestors": ["references", "escaping"],
    "store": ["summary", "lifetimes"],
    "store_and_retain": [
        *("summary", "lifetimes", "references", "escaping", "forgetting", "retention"),
    ],
    "put_writes": ["summary", "lifetimes"],
    "lend": ["lifetimes"],
    "move_deadline": ["lifetimes"],
    "sweep": ["forgetting"],
    "delete_checkpoints": ["summary", "forgetting"],
    "delete_thread": ["forgetting"],
}
"""What stands between scripts/common.lua and a script: each call makes its functions anew."""

_BODY = {"store_and_retain": "store"}
"""Scripts that are another one with more before it."""


@cache
def _source(name: str) -> str:
    folder = files("langgraph_redis_json") / "scripts"
    return "\n".join(
        (folder / f"{part}.lua").read_text(encoding="utf-8")
        for part in ("common", *_SHARED.get(name, ()), _BODY.get(name, name))
    )


@cache
def _digest(name: str) -> str:
    digest = sha1(_source(name).encode(), usedforsecurity=False).hexdigest()
    _names[digest] = name
    return digest


_names: dict[str, str] = {}


def script(name: str, thread: ThreadKeys, *arguments: Argument) -> Command:
    """Call scripts/``name``.lua on a thread, by its digest."""
    return ("EVALSHA", _digest(name), 1, thread.contents, *arguments)


def with_source(command: Command) -> Command:
    """The same call for a server that does not know the script yet; another command as it is."""
    name, *arguments = command
    if name != "EVALSHA":
        return command
    digest, *rest = arguments
    return ("EVAL", _source(_names[str(digest)]), *rest)


def in_cluster(command: Command) -> Command:
    """The same call for a cluster, which refuses it while the thread's slot is being moved.

    A slot that moves is in two places, and a script, which names most of its keys itself, would
    find half of a thread in either. Redis refuses calls of several declared keys unless all are
    in one place; so a key that never exists is declared beside the table of contents.
    """
    if command[0] not in ("EVALSHA", "EVAL"):
        return command
    verb, what, _, contents, *rest = command
    assert isinstance(contents, str)
    return (verb, what, 2, contents, f"{contents}:", *rest)


MOVING = 120
"""Times that a call is tried again while its thread's slot is moved: redis-py itself tries for
nearly half a second each time."""


def is_moving(error: RedisError) -> bool:
    """Whether a cluster refused a call, unexecuted, because its slot is being moved."""
    # redis-py tries for half a second itself, and then says the latter.
    return isinstance(error, TryAgainError) or "TTL exhausted" in str(error)


def store(
    thread: ThreadKeys,
    documents: Iterable[tuple[str, bytes]],
    *,
    remembered: str = "",
    expected: Mapping[str, int] = MappingProxyType({}),
    appended: Mapping[str, tuple[int, Sequence[bytes]]] = MappingProxyType({}),
    inherited: Mapping[str, bytes] = MappingProxyType({}),
    summary: int = 0,
    ttl: int = 0,
    keep: int = 0,
    aside: Collection[str] = (),
    without_writes: Collection[str] = (),
) -> Command:
    """Call scripts/store.lua.

    Args:
        thread: whose documents they are.
        documents: entries and documents.
        remembered: the entry of a checkpoint that must be there if blobs or logs must; "" if none.
        expected: entries of blobs and logs that must be there already, with the number of items
            that they must have, 0 for a blob.
        appended: log entry -> its length, and items to add to it.
        inherited: blob entry -> JSON member that the last document gets if the blob is there.
        summary: how many bytes of the last document the thread's document begins with, if that
            is a root checkpoint; 0 if it has to be looked up.
        keep: how many checkpoints of the last document's namespace are kept; 0 for all.
        ttl: milliseconds that the thread has to live from now; 0 for as long as it does.
        aside: entries of blobs that were sent right before, by commands of their own.
        without_writes: entries of checkpoints whose pending writes are deleted.
    """
    order: dict[str, Any] = {}
    if remembered:
        order["remembered"] = remembered
    if expected:
        order["expected"] = list(expected.items())
    if appended:
        order["appended"] = [[log, length, len(items)] for log, (length, items) in appended.items()]
    if inherited:
        order["inherited"] = [[blob, member.decode()] for blob, member in inherited.items()]
    if aside:
        order["aside"] = list(aside)
    if without_writes:
        order["without_writes"] = list(without_writes)
    if summary:
        order["summary"] = summary
    if ttl:
        order["ttl"] = ttl
    if keep:
        order["keep"] = keep
    arguments: list[Argument] = [orjson.dumps(order)]
    for _, items in appended.values():
        arguments += items
    for entry, document in documents:
        arguments += [entry, document]
    return script("store_and_retain" if keep else "store", thread, *arguments)


# ---- replies


def text(reply: Any) -> str:
    """A string reply as text."""
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def pairs(reply: Iterable[Any]) -> Iterable[tuple[Any, Any]]:
    """``[a, 1, b, 2]`` as ``(a, 1), (b, 2)``."""
    items = iter(reply)
    return zip(items, items, strict=True)


def mapping(reply: Any) -> dict[str, Any]:
    """A map reply, which RESP2 sends as a flat list."""
    members = reply.items() if isinstance(reply, dict) else pairs(reply)
    return {text(key): value for key, value in members}


def search_keys(reply: Any) -> list[str]:
    """The keys that ``FT.SEARCH … NOCONTENT`` found."""
    if isinstance(reply, dict):
        return [text(mapping(row)["id"]) for row in mapping(reply)["results"]]
    return list(map(text, reply[1:]))


def search_page(reply: Any) -> tuple[list[dict[str, str]], int]:
    """One page of ``FT.AGGREGATE … WITHCURSOR``: the fields of each row, and the cursor to
    read on from, 0 after the last page."""
    page, cursor = reply
    if isinstance(page, dict):
        rows = [mapping(row)["extra_attributes"] for row in mapping(page)["results"]]
    else:
        rows = page[1:]
    # A document that was deleted a moment ago is a row without fields.
    return [
        {key: text(value) for key, value in mapping(row).items()} for row in rows if row
    ], cursor


def search_documents(reply: Any) -> list[tuple[str, bytes | None]]:
    """The keys and documents that ``FT.SEARCH … RETURN 1 $`` found; None for a document that was
    deleted a moment ago."""
    if isinstance(reply, dict):
        rows = [mapping(row) for row in mapping(reply)["results"]]
        found = [(row["id"], row.get("extra_attributes")) for row in rows]
    else:
        found = list(pairs(reply[1:]))
    return [
        (text(key), text(mapping(fields)["$"]).encode() if fields else None)
        for key, fields in found
    ]


FLAGS = {"CASESENSITIVE", "NOINDEX", "NOSTEM", "SORTABLE", "WITHSUFFIXTRIE"}
"""What every server tells of a field, if it has it."""


class FieldInfo(NamedTuple):
    """One field of an index, as ``FT.CREATE`` and ``FT.INFO`` have it."""

    path: str
    kind: str
    options: tuple[str, ...]

    def is_like(self, other: "FieldInfo") -> bool:
        """Whether they are the same in all that every server tells about a field."""
        return bool(self._compared() == other._compared())

    def _compared(self) -> Any:
        weight = float(self._value("WEIGHT") or 1)
        return (
            self.path,
            self.kind,
            self._value("SEPARATOR"),
            weight,
            FLAGS.intersection(self.options),
        )

    def _value(self, option: str) -> str | None:
        if option not in self.options:
            return None
        return self.options[self.options.index(option) + 1]


class IndexInfo(NamedTuple):
    """What ``FT.INFO`` says.

    Attributes:
        name: the index's own name, whatever alias was asked for.
        prefixes: of the keys that it indexes.
        filter: which of them; "" for all.
        fields: what each is, by name.
        share: how much is indexed, from 0 to 1; less than 1 while the server reads documents
            that were there before the index or a field of it.
        failures: how many documents it has refused, ever.
        last_failure: why it refused the last one.
        last_key: which one that was.
    """

    name: str
    prefixes: list[str]
    filter: str
    fields: dict[str, FieldInfo]
    share: float
    failures: int
    last_failure: str
    last_key: str


def index_info(reply: Any) -> IndexInfo:
    """The reply to ``FT.INFO``."""
    info = mapping(reply)
    definition = mapping(info["index_definition"])
    errors = mapping(info["Index Errors"])
    share = float(info["percent_indexed"])
    return IndexInfo(
        text(info["index_name"]),
        list(map(text, definition["prefixes"])),
        text(definition.get("filter", "")),
        dict(map(_field_info, info["attributes"])),
        # It says 1 at first, when the server has not begun.
        min(share, 0.99) if int(info["indexing"]) else 1.0,
        int(errors["indexing failures"]),
        text(errors["last indexing error"]),
        text(errors["last indexing error key"]),
    )


def _field_info(attribute: Any) -> tuple[str, FieldInfo]:
    if isinstance(attribute, dict):
        members = mapping(attribute)
        flags = members.pop("flags")
        words = [part for member in members.items() for part in member] + list(flags)
    else:
        words = attribute
    _, path, _, name, _, kind, *options = map(text, words)
    return name, FieldInfo(path, kind, tuple(options))

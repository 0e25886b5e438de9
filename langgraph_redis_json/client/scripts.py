"""The Lua scripts: one function with named arguments, and one typed reply, for each.

Each function returns a `Call`. The first line of a script names the parts, in ``scripts/parts/``,
that stand before it: ``-- requires: thread_document, deadlines``. A part may require others. A call
names its script by a digest; a server that does not know the script yet is sent the text
(`with_source`).

Scripts take and return entries of the table of contents (`storage/keys.py`), not keys. `thread` is
always the keys of the thread, and `ttl` how many milliseconds the thread lives from now; 0 if the
call does not prolong its life. A reply `new_deadline` is the deadline that the thread is to get
with more calls (operations/expiry.py), if any.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple

import orjson

from langgraph_redis_json.client.plan import Argument, Command, Plan, T
from langgraph_redis_json.client.replies import text
from langgraph_redis_json.storage.keys import ThreadKeys


@dataclass(frozen=True)
class Call(Generic[T]):
    """A call of a script, with the function that reads its reply."""

    command: Command
    read: Callable[[Any], T]


def send(call: Call[T]) -> Plan[T]:
    """One call as a batch of its own."""
    [reply] = yield [call.command]
    return call.read(reply)


def send_all(calls: list[Call[T]]) -> Plan[list[T]]:
    """Several calls as one batch."""
    replies = yield [call.command for call in calls]
    return [call.read(reply) for call, reply in zip(calls, replies, strict=True)]


# ---- the text of a script


_FOLDER = files(__package__) / "scripts"
_TEXTS = {
    path.name.removesuffix(".lua"): path.read_text("utf-8")
    for folder in (_FOLDER, _FOLDER / "parts")
    for path in folder.iterdir()
    if path.name.endswith(".lua")
}
"""Name -> text of each script and part."""


def _parts(name: str) -> list[str]:
    """A script's name after the names of all parts that it requires."""
    _, _, required = _TEXTS[name].partition("\n")[0].partition("-- requires: ")
    names = [] if required == "nothing" else required.split(", ")
    return [*dict.fromkeys(part for each in names for part in _parts(each)), name]


@cache
def source_of(name: str) -> str:
    """The text of a script with the parts that it requires."""
    return "\n".join([_TEXTS[part] for part in _parts(name)])


_names: dict[str, str] = {}


@cache
def _digest(name: str) -> str:
    digest = sha1(source_of(name).encode(), usedforsecurity=False).hexdigest()
    _names[digest] = name
    return digest


def _command(name: str, thread: ThreadKeys, *arguments: Argument) -> Command:
    return ("EVALSHA", _digest(name), 1, thread.contents, *arguments)


def with_source(command: Command) -> Command:
    """The same call for a server that does not know the script yet; another command unchanged."""
    if command[0] != "EVALSHA":
        return command
    return ("EVAL", source_of(_names[str(command[1])]), *command[2:])


def in_cluster(command: Command) -> Command:
    """The same call for a cluster, which refuses it while the slot of the thread is moved.

    Half of the keys of a slot that moves are on each of two nodes. A script names most of its keys
    itself, and would miss those on the other node. Redis refuses a call of several declared keys
    unless all are on one node; so a key that never exists is declared beside the table of contents.
    """
    if command[0] not in ("EVALSHA", "EVAL"):
        return command
    verb, what, _, contents, *rest = command
    return (verb, what, 2, contents, f"{contents!s}:", *rest)


def _order(members: Mapping[str, Any]) -> bytes:
    """A JSON object as the argument of a script; empty members are left out."""
    return orjson.dumps({name: value for name, value in members.items() if value})


def _nothing(reply: Any) -> None:
    """Read the reply of a script that returns nothing of interest."""


def _number_or_none(reply: Any) -> int | None:
    return None if reply is None else int(reply)


# ---- reading checkpoints


class CheckpointRow(NamedTuple):
    """A checkpoint as the scripts read it. A document that is gone is None.

    `parent_writes` are read if the checkpoint's tasks are among them.
    """

    entry: str
    document: bytes | None
    writes: bytes | None
    is_named: bool
    writes_are_named: bool
    parent_writes: bytes | None


class LogRange(NamedTuple):
    """Items of a log from `start` on, as JSON with the log's format; None if they are not JSON."""

    log: str
    start: int
    log_length: int
    items: bytes | None


class ReadReply(NamedTuple):
    """The reply of read.lua.

    Attributes:
        rows: the checkpoints that were read, in the wanted order; fewer than wanted, if large.
        blobs: entry -> document, None for one that is gone.
        logs: the ranges that the checkpoints refer to.
        new_deadline: see above.
        contents_are_lost: 1 if the thread exists, but not its table of contents.
    """

    rows: list[CheckpointRow]
    blobs: dict[str, bytes | None]
    logs: list[LogRange]
    new_deadline: int | None = None
    contents_are_lost: int = 0


class AncestorsReply(NamedTuple):
    """The reply of read_ancestors.lua.

    Attributes:
        read: the ancestors, newest first.
        next_entry: of the ancestor to continue with; None at the end of the walk.
        was_deleted: whether the checkpoint to begin with is gone.
    """

    read: ReadReply
    next_entry: str | None
    was_deleted: bool


def _read_reply(reply: Any) -> ReadReply:
    rows, blobs, logs, *rest = reply
    return ReadReply(
        [
            CheckpointRow(text(entry), document, writes, bool(named), bool(writes_named), *parent)
            for entry, document, writes, named, writes_named, *parent in rows
        ],
        {text(entry): document for entry, document in blobs},
        [LogRange(text(entry), start, length, items) for entry, start, length, items in logs],
        *rest,
    )


def _ancestors_reply(reply: Any) -> AncestorsReply:
    *read, entry, was_deleted = reply
    return AncestorsReply(_read_reply(read), entry and text(entry), bool(was_deleted))


def read(
    thread: ThreadKeys,
    entries: Sequence[str] | None,
    *,
    namespace: str = "",
    cached: str = "",
    held: Collection[str] = (),
    separately: Collection[str] = (),
    ttl: int = 0,
) -> Call[ReadReply]:
    """Read checkpoints with their pending writes, blobs and items of logs.

    Args:
        thread, ttl: see above.
        entries: of the checkpoints; None for the newest checkpoint of the namespace.
        namespace: escaped.
        cached: the entry of the checkpoint in the saver's cache, "" for none.
        held: entries of that checkpoint's blobs and logs that need not be read.
        separately: entries of blobs that another command reads.
    """
    order = {
        "namespace": namespace,
        "entries": entries,
        "cached": cached,
        "held": held,
        "separately": separately,
        "ttl": ttl,
    }
    return Call(_command("read", thread, _order(order)), _read_reply)


def read_ancestors(
    thread: ThreadKeys,
    namespace: str,
    entry: str | None,
    *,
    inclusive: bool,
    limit: int,
    channels: Sequence[str],
) -> Call[AncestorsReply]:
    """Read ancestors of a checkpoint, back to where each channel has a value.

    Args:
        thread: see above.
        namespace: escaped.
        entry: of the checkpoint; None for the newest one of the namespace.
        inclusive: whether to read that checkpoint too.
        limit: how many ancestors at most.
        channels: the channels.
    """
    order = {
        "namespace": namespace,
        "entry": entry,
        "inclusive": inclusive,
        "limit": limit,
        "channels": channels,
    }
    return Call(_command("read_ancestors", thread, _order(order)), _ancestors_reply)


Walk = tuple[str, Sequence[str] | None]
"""The entry of a checkpoint and the channels to look for, from the checkpoint itself; None for its
delta channels, from its parent."""


class NeededAncestorsReply(NamedTuple):
    """The reply of needed_ancestors.lua.

    Attributes:
        walked: the entries of ancestors, each with a channel that was looked for there.
        unfinished: the walks to continue with; each has channels.
    """

    walked: set[tuple[str, str]]
    unfinished: list[tuple[str, list[str]]]


def _needed_ancestors_reply(reply: Any) -> NeededAncestorsReply:
    needed, unfinished = reply
    walked = {(text(entry), text(channel)) for entry, *channels in needed for channel in channels}
    return NeededAncestorsReply(walked, orjson.loads(unfinished))


def needed_ancestors(thread: ThreadKeys, walks: Sequence[Walk]) -> Call[NeededAncestorsReply]:
    """Find the ancestors from which the delta channels of checkpoints are rebuilt."""
    order = orjson.dumps([[entry, channels or False] for entry, channels in walks])
    return Call(_command("needed_ancestors", thread, order), _needed_ancestors_reply)


# ---- storing


class StoreReply(NamedTuple):
    """The reply of store.lua. If anything is missing or changed, nothing was stored.

    Attributes:
        missing: entries that the documents need and the server does not have.
        changed_by_others: entries of logs that other processes have added to.
        new_deadline: see above.
    """

    missing: set[str]
    changed_by_others: set[str]
    new_deadline: int | None


def _store_reply(reply: Any) -> StoreReply:
    missing, changed, new_deadline = reply
    return StoreReply({*map(text, missing)}, {*map(text, changed)}, new_deadline)


def store(
    thread: ThreadKeys,
    documents: Iterable[tuple[str, bytes]],
    *,
    cached: str = "",
    expected: Mapping[str, int] = MappingProxyType({}),
    appended: Mapping[str, tuple[int, Sequence[bytes]]] = MappingProxyType({}),
    inherited: Mapping[str, bytes] = MappingProxyType({}),
    shared_bytes: int = 0,
    sent_separately: Collection[str] = (),
    without_writes: Collection[str] = (),
    ttl: int = 0,
) -> Call[StoreReply]:
    """Store documents, all of them or none.

    Args:
        thread, ttl: see above.
        documents: entries and documents; a checkpoint comes last.
        cached: the entry of a checkpoint that must exist, if `expected` or `appended` come from it.
        expected: entry of a blob or log that must exist -> how many items it must have, 0 for a
            blob.
        appended: entry of a log -> its length, and the items to add.
        inherited: entry of a blob -> the JSON member that the checkpoint gets if the blob exists.
        shared_bytes: how many bytes of the checkpoint's document the thread document begins with;
            0 if the thread document must be rebuilt.
        sent_separately: entries of blobs that commands of their own have stored just before.
        without_writes: entries of checkpoints whose pending writes are deleted.
    """
    order = {
        "cached": cached,
        "expected": [*expected.items()],
        "appended": [[log, length, len(items)] for log, (length, items) in appended.items()],
        "inherited": [[blob, member.decode()] for blob, member in inherited.items()],
        "shared": shared_bytes,
        "separately": [*sent_separately],
        "without_writes": [*without_writes],
        "ttl": ttl,
    }
    arguments: list[Argument] = [_order(order)]
    for _, items in appended.values():
        arguments += items
    for entry, document in documents:
        arguments += (entry, document)
    return Call(_command("store", thread, *arguments), _store_reply)


class KeepNewestReply(NamedTuple):
    """The reply of keep_newest.lua.

    Attributes:
        surplus: checkpoints beyond keep_last that are still there.
        has_deltas: whether delta channels may need them.
    """

    surplus: int
    has_deltas: int


def keep_newest(
    thread: ThreadKeys, new: str, keep_last: int, has_deltas: bool
) -> Call[KeepNewestReply]:
    """Delete all but the newest checkpoints of the namespace of a new one (entry), which stays."""
    call = _command("keep_newest", thread, new, keep_last, int(has_deltas))
    return Call(call, lambda reply: KeepNewestReply(*reply))


def put_writes(
    thread: ThreadKeys, entry: str, writes: Mapping[str, bytes], *, format: int, ttl: int
) -> Call[int | None]:
    """Add a task's writes (`documents.build_writes`) to the pending writes of a checkpoint. The
    reply is a new deadline."""
    arguments: list[Argument] = [ttl, entry, format]
    for name_and_write in writes.items():
        arguments += name_and_write
    return Call(_command("put_writes", thread, *arguments), _number_or_none)


def expire_unless_referenced(thread: ThreadKeys, blobs: Collection[str], ttl: int) -> Call[None]:
    """Let large blobs (entries) expire if no checkpoint comes that refers to them."""
    return Call(_command("expire_unless_referenced", thread, ttl, *blobs), _nothing)


def delete_unnamed(thread: ThreadKeys, blobs: Collection[str]) -> Call[None]:
    """Delete those blobs (entries) that the table of contents does not name."""
    return Call(_command("delete_unnamed", thread, *blobs), _nothing)


def log_lengths(thread: ThreadKeys, logs: Sequence[str]) -> Call[list[int]]:
    """How many items each log (entry) has, -1 for one that does not exist."""
    return Call(_command("log_lengths", thread, *logs), list)


# ---- deleting


class DeleteThreadReply(NamedTuple):
    """The reply of delete_thread.lua: how many keys are left, whether the thread exists without
    a table of contents, and whether it last changed at another time than the caller says."""

    left: int
    contents_are_lost: int
    has_changed: int


def delete_thread(
    thread: ThreadKeys, at_most: int, updated_at: int | None = None
) -> Call[DeleteThreadReply]:
    """Delete up to so many keys of a thread; with `updated_at`, in milliseconds since 1970, only if
    the thread last changed at that time."""
    when = [] if updated_at is None else [updated_at]
    call = _command("delete_thread", thread, at_most, *when)
    return Call(call, lambda reply: DeleteThreadReply(*reply))


def delete_checkpoints(thread: ThreadKeys, entries: Collection[str]) -> Call[None]:
    """Delete checkpoints with their pending writes."""
    return Call(_command("delete_checkpoints", thread, *entries), _nothing)


def collect_garbage(
    thread: ThreadKeys,
    step: Literal["mark", "adopt", "keep", "free"],
    number: str,
    entries: Collection[str],
) -> Call[None]:
    """Do one step of the garbage collection with a number, for blobs and logs; for "adopt" the
    entries are the marks themselves. See client/scripts/collect_garbage.lua."""
    return Call(_command("collect_garbage", thread, step, number, *entries), _nothing)


class DeadlineReply(NamedTuple):
    """The reply of move_deadline.lua.

    Attributes:
        exists: whether the thread exists.
        deadline: milliseconds since 1970, -1 for none.
        continue_after: the entry to continue after; None when all keys have the deadline.
    """

    exists: bool
    deadline: int
    continue_after: str | None


def _deadline_reply(reply: Any) -> DeadlineReply:
    exists, deadline, after = (*reply, None, None)[:3]
    return DeadlineReply(bool(exists), deadline or 0, None if after is None else text(after))


def move_deadline(
    thread: ThreadKeys,
    reason: Literal["use", "expire", "pin", "continue"],
    number: int = 0,
    after: str = "",
) -> Call[DeadlineReply]:
    """Give a thread another deadline, or continue with that.

    Args:
        thread: see above.
        reason: why.
        number: the deadline ("use", "continue"), or milliseconds from now ("expire").
        after: the entry to continue after.
    """
    return Call(_command("move_deadline", thread, reason, number, after), _deadline_reply)


# ---- the server


class FailedCommand(NamedTuple):
    """A command that the server refused, and its error."""

    command: str
    error: str


def _failed_commands(reply: Any) -> list[FailedCommand]:
    return [FailedCommand(*map(text, failed)) for failed in reply]


def check_commands(thread: ThreadKeys) -> Call[list[FailedCommand]]:
    """Run each command that scripts and operations use once, on keys of this thread."""
    return Call(_command("check_commands", thread), _failed_commands)


def has_coordinator(thread: ThreadKeys) -> Call[bool]:
    """Whether Search can search all nodes of a cluster."""
    return Call(_command("coordinator", thread), bool)


class ServerFacts(NamedTuple):
    """The server's maxmemory-policy and redis_mode; "" for what the user may not ask."""

    eviction_policy: str
    mode: str


def server_facts(thread: ThreadKeys) -> Call[ServerFacts]:
    """Ask the server for facts."""
    return Call(_command("server_facts", thread), lambda reply: ServerFacts(*map(text, reply)))


def swap_alias(thread: ThreadKeys, alias: str, old: str, new: str) -> Call[bool]:
    """Let an alias name another index, if it still names the old one ("" for none). The reply is
    whether it did."""
    return Call(_command("swap_alias", thread, alias, old, new), bool)


def drop_index(thread: ThreadKeys, alias: str, index: str) -> Call[None]:
    """Drop an index, unless the alias names it."""
    return Call(_command("drop_index", thread, alias, index), _nothing)

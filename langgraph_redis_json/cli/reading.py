"""Checkpoints as plain data, read from their documents.

Nothing here needs a serializer. A document that is damaged or gone does not hide the others: it is
among the `damages`, by its key.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

import orjson

from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Command, Plan
from langgraph_redis_json.client.replies import search_keys
from langgraph_redis_json.client.scripts import LogRange, send
from langgraph_redis_json.errors import CheckpointError
from langgraph_redis_json.operations import table_of_contents
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.search import queries
from langgraph_redis_json.storage import keys, loading, plain
from langgraph_redis_json.storage.keys import AFTER_ALL, CheckpointIdentity, ThreadKeys
from langgraph_redis_json.storage.loading import DAMAGE
from langgraph_redis_json.storage.plain import Message

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

Reveal = Callable[[Any], Any]
"""Turns a stored value that only a serializer reads into one in JSON: see `serializers.py`."""


def _as_it_is(stored: Any) -> Any:
    return stored


class Damage(NamedTuple):
    """A document that is not whole: its key, and what is wrong, as the end of a sentence."""

    key: str
    why: str

    def __str__(self) -> str:
        return f"The document at key {self.key} is damaged: {self.why}."


class DamagedValueError(Exception):
    """A value cannot be shown, because its document is damaged or gone."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(str(damage))
        self.damage = damage


class Write(NamedTuple):
    """A pending write.

    Attributes:
        task_id, task_path: the task that wrote.
        place: among the task's writes; negative for a special channel.
        channel: what it writes to.
        value: plain data.
        messages: the chat messages in the value, if it is one or a list of them.
    """

    task_id: str
    task_path: str
    place: int
    channel: str
    value: Any
    messages: tuple[Message, ...] = ()


@dataclass
class StoredCheckpoint:
    """A checkpoint as its documents tell.

    Attributes:
        identity: the checkpoint.
        key: of its document.
        fields: the members of its document; none if it is damaged or gone.
        writes: its pending writes, in the order in which they are stored.
        damages: the documents that are not whole, as far as was read.
    """

    identity: CheckpointIdentity
    thread: ThreadKeys
    fields: Mapping[str, Any]
    reveal: Reveal = _as_it_is
    writes: list[Write] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    blobs: Mapping[str, bytes | None] = field(default_factory=dict)
    logs: Mapping[str, Mapping[int, Any] | Damage] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.thread.key(self.identity.entry)

    @property
    def checkpoint_id(self) -> str:
        return self.identity.checkpoint_id

    @property
    def parent_id(self) -> str | None:
        parent = self.fields.get("parent_checkpoint_id")
        return parent if isinstance(parent, str) else None

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata, as plain data."""
        found = {**self._object("metadata"), **self._object("other_metadata")}
        return {name: _member(value) for name, value in found.items()}

    @property
    def step(self) -> int | None:
        step = self.metadata.get("step")
        return step if type(step) is int else None

    @property
    def source(self) -> str:
        return str(self.metadata.get("source", ""))

    @property
    def created_at(self) -> datetime | None:
        """Its time, in UTC."""
        created = self.fields.get("created_at")
        return EPOCH + timedelta(milliseconds=created) if type(created) is int else None

    @property
    def versions(self) -> dict[str, Any]:
        """Channel -> version."""
        try:
            found = orjson.loads(self.fields["checkpoint"])["channel_versions"]
        except DAMAGE:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def channels(self) -> list[str]:
        """The channels that have values, without those that LangGraph runs tasks by."""
        return [name for name in self._object("channel_values") if not is_internal(name)]

    @property
    def next_nodes(self) -> list[str]:
        """The nodes that run after this checkpoint."""
        found = []
        for name in self._object("channel_values"):
            if name.startswith("branch:to:"):
                found.append(name.removeprefix("branch:to:"))
            elif name == "__start__":
                found.append(name)
            elif name == "__pregel_tasks":
                try:
                    sends = self.value(name)
                except DamagedValueError:
                    continue
                for send_ in sends if isinstance(sends, list) else ():
                    if isinstance(send_, dict) and isinstance(send_.get("args"), list):
                        found.append(str(send_["args"][0]))
        return found

    @property
    def interrupts(self) -> list[Any]:
        """What its tasks ask a person, as plain data."""
        found = []
        for write in self.writes:
            if write.channel == "__interrupt__":
                asked = write.value if isinstance(write.value, list) else [write.value]
                for one in asked:
                    is_one = isinstance(one, dict) and "value" in one
                    found.append(one["value"] if is_one else one)
        return found

    @property
    def errors(self) -> list[Any]:
        """What its failed tasks raised."""
        return [write.value for write in self.writes if write.channel == "__error__"]

    @property
    def is_answered(self) -> bool:
        """Whether a person has answered one of its questions."""
        return any(write.channel == "__resume__" for write in self.writes)

    def length(self, channel: str) -> int | None:
        """How many members the list in a channel has; None if it is no list, or in a blob."""
        stored = self._object("channel_values").get(channel)
        if isinstance(stored, dict) and isinstance(stored.get("log"), list):
            try:
                return int(sum(stop - start for *_, start, stop in stored["log"]))
            except DAMAGE:
                return None
        try:
            members = plain.members_of(self.reveal(stored))
        except ValueError:
            return None
        return None if members is None else len(members)

    def stored(self, channel: str) -> Any:
        """What is stored for a channel: a stored value, None, or the items of logs as a list. Of an
        encrypted list that cannot be read it is one stored value.

        Raises:
            DamagedValueError: if that is damaged or gone.
        """
        reference = self._object("channel_values")[channel]
        if not isinstance(reference, dict):
            return reference
        if "log" in reference:
            return self._items(reference["log"])
        if "blob" in reference:
            return self.reveal(self._blob(reference["blob"]))
        return self.reveal(reference)

    def value(self, channel: str) -> Any:
        """The value of a channel as plain data.

        Raises:
            DamagedValueError: if it is damaged or gone.
        """
        stored = self.stored(channel)
        try:
            if isinstance(stored, list):
                return [*map(plain.plain, stored)]
            return plain.plain(stored)
        except DAMAGE as error:
            raise self._damaged(self.key, f"channel {channel}: {_reason(error)}") from error

    def messages(self, channel: str) -> list[Message]:
        """The chat messages in a channel; none if it has no list of messages.

        Of a damaged log these are the messages that are whole; `damages` names the log.

        Raises:
            DamagedValueError: if the whole value is damaged or gone.
        """
        reference = self._object("channel_values")[channel]
        if isinstance(reference, dict) and isinstance(reference.get("log"), list):
            stored: Any = []
            for part in reference["log"]:
                with suppress(DamagedValueError):
                    items = self._items([part])
                    if isinstance(items, dict):  # it is encrypted
                        return []
                    stored += items
        else:
            stored = self.stored(channel)
        found = []
        try:
            members = plain.members_of(stored) or []
        except DAMAGE as error:
            raise self._damaged(self.key, f"channel {channel}: {_reason(error)}") from error
        for number, member in enumerate(members):
            try:
                found.append(plain.message_of(member))
            except DAMAGE as error:
                self._damaged(self.key, f"channel {channel}, item {number}: {_reason(error)}")
        return [message for message in found if message is not None]

    def _object(self, name: str) -> Mapping[str, Any]:
        found = self.fields.get(name)
        return found if isinstance(found, dict) else {}

    def _blob(self, key: Any) -> Any:
        entry = self.thread.find_entry(key)
        document = self.blobs.get(entry) if entry else None
        if document is None:
            raise self._damaged(str(key), "it is gone")
        try:
            return loading.parse(document)["value"]
        except DAMAGE as error:
            raise self._damaged(str(key), _reason(error)) from error

    def _items(self, slices: Any) -> Any:
        items: list[Any] = []
        opaque: list[Any] = []
        try:
            for key, start, stop, *of_items in slices:
                entry = self.thread.find_entry(key)
                log = self.logs.get(entry) if entry else None
                if log is None:
                    raise self._damaged(str(key), "it is gone")
                if isinstance(log, Damage):
                    raise self._damaged(*log)
                for number in range(start, stop):
                    if number not in log:
                        raise self._damaged(str(key), f"it has no item {number}")
                    if not of_items:
                        items.append(log[number])
                        continue
                    first, found = items_of_chunk(log[number], self.reveal)
                    if found is None:
                        opaque.append(log[number]["chunk"])
                    else:
                        begin, end = (max(edge - first, 0) for edge in of_items)
                        items += found[begin:end]
        except DAMAGE as error:
            raise self._damaged(self.key, _reason(error)) from error
        if opaque:
            # All of it, so that the size is right.
            return {"type": opaque[0]["type"], "base64": "".join(one["base64"] for one in opaque)}
        return items

    def _damaged(self, key: str, why: str) -> DamagedValueError:
        damage = Damage(key, why)
        if damage not in self.damages:
            self.damages.append(damage)
        return DamagedValueError(damage)


def items_of_chunk(chunk: Any, reveal: Reveal) -> tuple[int, list[Any] | None]:
    """The number, in the log, of the first item of a chunk of an encrypted list, and its items;
    None for the items if they cannot be read."""
    stored = reveal(chunk["chunk"])
    form = "tagged" if "tagged" in stored else "json"
    items = stored.get(form)
    if not isinstance(items, list):  # it is encrypted, or only the text of the list can be shown
        return 0, None
    return chunk["stop"] - len(items), [{form: item} for item in items]


def is_internal(channel: str) -> bool:
    """Whether LangGraph runs tasks by this channel, and no state is in it."""
    return channel.startswith(("__", "branch:to:"))


def _member(value: Any) -> Any:
    """A member of metadata, as plain data."""
    if isinstance(value, dict) and next(iter(value), None) == "$stored":
        try:
            return plain.plain(value["$stored"])
        except ValueError:
            return value
    return value


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__} {error}"
    return said.rstrip(".")


# ---- reading


def checkpoint_entries(thread: ThreadKeys, checkpoint_ns: str | None = None) -> Plan[list[str]]:
    """The entries of a thread's checkpoints, oldest first within a namespace.

    Args:
        thread: its keys.
        checkpoint_ns: only of this namespace; None for all.
    """
    start = "c:" if checkpoint_ns is None else keys.checkpoint_entry(checkpoint_ns, "")
    [found] = yield from table_of_contents.entries(thread, start)
    return found


def exists(thread: ThreadKeys) -> Plan[bool]:
    """Whether a thread exists: its table of contents, or its thread document without that."""
    [found] = yield [("EXISTS", thread.contents, thread.key("t"))]
    return bool(found)


def has_contents(thread: ThreadKeys) -> Plan[bool]:
    """Whether a thread has its table of contents, without which nothing of it can be read."""
    [found] = yield [("EXISTS", thread.contents)]
    return bool(found)


def read_newest(
    thread: ThreadKeys, thread_id: str, checkpoint_ns: str = "", reveal: Reveal = _as_it_is
) -> Plan[StoredCheckpoint | None]:
    """The newest checkpoint of a namespace, with its values and pending writes."""
    call = scripts.read(thread, None, namespace=checkpoint_ns and keys.escape(checkpoint_ns))
    found = _checkpoints(thread, thread_id, (yield from send(call)), reveal)
    return found[0] if found else None


def news(thread: ThreadKeys, checkpoint_ns: str = "") -> Plan[Any]:
    """Something that changes whenever a namespace has a new checkpoint, or the thread another
    status. It is little to read."""
    head = keys.checkpoint_entry(checkpoint_ns, "").encode()
    last = b"(" + head + AFTER_ALL
    return (
        yield [
            ("ZREVRANGEBYLEX", thread.contents, last, b"[" + head, "LIMIT", 0, 1),
            ("JSON.GET", thread.key("t"), "$.status", "$.updated_at"),
        ]
    )


def read_checkpoints(
    thread: ThreadKeys, thread_id: str, entries: Sequence[str], reveal: Reveal = _as_it_is
) -> Plan[list[StoredCheckpoint]]:
    """Checkpoints with their values and pending writes; without those that do not exist.

    Args:
        thread: the keys of their thread.
        thread_id: the thread.
        entries: of the checkpoints: few, because all of their values are in memory at the same
            time.
        reveal: see `Reveal`.
    """
    found: list[StoredCheckpoint] = []
    left = [*entries]
    while left:
        reply = yield from send(scripts.read(thread, left))
        if not reply.rows:
            break
        left = left[len(reply.rows) :]
        found += _checkpoints(thread, thread_id, reply, reveal)
    return found


def _checkpoints(
    thread: ThreadKeys, thread_id: str, reply: scripts.ReadReply, reveal: Reveal
) -> list[StoredCheckpoint]:
    logs = _logs(thread, reply.logs)
    found = []
    for row in reply.rows:
        if not row.is_named:
            continue
        identity = keys.identity_of_entry(thread_id, row.entry)
        made = _checkpoint(thread, identity, row.document, reveal)
        made.blobs, made.logs = reply.blobs, logs
        _add_writes(made, row.writes, row.writes_are_named)
        found.append(made)
    return found


def _checkpoint(
    thread: ThreadKeys, identity: CheckpointIdentity, document: bytes | None, reveal: Reveal
) -> StoredCheckpoint:
    key = thread.key(identity.entry)
    if document is None:
        return StoredCheckpoint(identity, thread, {}, reveal, damages=[Damage(key, "it is gone")])
    try:
        fields = loading.parse(document)
        _ = orjson.loads(fields["checkpoint"])["channel_versions"]
        if not isinstance(fields["channel_values"], dict) or not isinstance(
            fields["metadata"], dict
        ):
            raise ValueError("its channel_values or metadata are no object")
    except DAMAGE as error:
        try:
            fields = orjson.loads(document)
        except ValueError:
            fields = {}
        damages = [Damage(key, _reason(error))]
        return StoredCheckpoint(
            identity, thread, fields if isinstance(fields, dict) else {}, reveal, damages=damages
        )
    return StoredCheckpoint(identity, thread, fields, reveal)


def _add_writes(made: StoredCheckpoint, document: bytes | None, are_named: bool) -> None:
    key = made.thread.key(keys.writes_entry(made.identity.entry))
    if document is None:
        if are_named:
            made.damages.append(Damage(key, "it is gone"))
        return
    try:
        stored = loading.parse(document)["writes"].items()
    except DAMAGE as error:
        made.damages.append(Damage(key, _reason(error)))
        return
    for name, write in stored:
        try:
            found = orjson.loads(write) if isinstance(write, str) else write
            place = int(name.rpartition(":")[2])
            names = found["task_id"], found["task_path"], found["channel"]
            if not all(isinstance(one, str) for one in names):
                raise ValueError("its names are not text")
            revealed = made.reveal(found["value"])
            value, one = plain.plain(revealed), plain.message_of(revealed)
            messages = plain.messages_of(revealed) if one is None else [one]
            task_id, task_path, channel = names
            made.writes.append(Write(task_id, task_path, place, channel, value, tuple(messages)))
        except DAMAGE as error:
            made.damages.append(Damage(key, f"write {name}: {_reason(error)}"))


def _logs(thread: ThreadKeys, ranges: Iterable[LogRange]) -> dict[str, dict[int, Any] | Damage]:
    found: dict[str, dict[int, Any] | Damage] = {}
    for entry, start, _, items in ranges:
        if items is None:
            found[entry] = Damage(thread.key(entry), "it is gone")
            continue
        log = found.setdefault(entry, {})
        if isinstance(log, Damage):
            continue
        try:
            parts = orjson.loads(items)
            loading.check_format(*parts.pop("$.format"))
            [read] = parts.values()
            log.update(enumerate(read, start))
        except DAMAGE as error:
            found[entry] = Damage(thread.key(entry), _reason(error))
    return found


def read_briefly(
    thread: ThreadKeys, thread_id: str, entries: Sequence[str]
) -> Plan[list[StoredCheckpoint]]:
    """Checkpoints without their blobs and logs, and of their pending writes only the special ones:
    enough for a history, and little to read.

    Args:
        thread, thread_id, entries: as for `read_checkpoints`; one page of entries.
    """
    names = [thread.key(entry) for entry in entries]
    writes = [thread.key(keys.writes_entry(entry)) for entry in entries]
    documents, specials = yield [
        ("JSON.MGET", *names, "."),
        ("JSON.MGET", *writes, "$.special_channels"),
    ]
    special = [
        key for key, found in zip(writes, specials, strict=True) if found not in (None, b"[]", "[]")
    ]
    replies: Any = [[]]
    if special:
        replies = yield [("JSON.MGET", *special, ".")]
    with_writes = dict(zip(special, replies[0], strict=True))
    found = []
    for entry, key, document in zip(entries, writes, documents, strict=True):
        identity = keys.identity_of_entry(thread_id, entry)
        made = _checkpoint(thread, identity, document, _as_it_is)
        _add_writes(made, with_writes.get(key), False)
        found.append(made)
    return found


def last_messages(
    wanted: Sequence[tuple[ThreadKeys, CheckpointIdentity]], reveal: Reveal = _as_it_is
) -> Plan[list[Message | None]]:
    """The last chat message of each of some checkpoints, None for one that has none.

    Of a log only the last item is read, however long it is.

    Args:
        wanted: the keys of the thread, and the checkpoint, for each.
        reveal: see `Reveal`.
    """
    documents = yield [("JSON.GET", thread.key(identity.entry), ".") for thread, identity in wanted]
    checkpoints = [
        _checkpoint(thread, identity, document, reveal)
        for (thread, identity), document in zip(wanted, documents, strict=True)
    ]
    # The members that a checkpoint does not have itself: (its number, where, command).
    asked: list[tuple[int, str, Command]] = []
    found: list[Message | None] = []
    for number, one in enumerate(checkpoints):
        found.append(None)
        for channel in ["messages"] if "messages" in one.channels else one.channels:
            stored = one.fields["channel_values"][channel]
            if isinstance(stored, dict) and isinstance(stored.get("log"), list) and stored["log"]:
                with suppress(*DAMAGE):
                    key, _, stop, *_ = stored["log"][-1]
                    if one.thread.entry(key):
                        asked.append((number, "item", ("JSON.GET", key, f"$.items[{stop - 1}]")))
            elif isinstance(stored, dict) and "blob" in stored:
                if channel == "messages" and one.thread.find_entry(stored["blob"]):
                    asked.append((number, "blob", ("JSON.GET", stored["blob"], ".")))
            else:
                with suppress(DamagedValueError, IndexError):
                    found[number] = found[number] or one.messages(channel)[-1]
    replies = (yield [command for _, _, command in asked]) if asked else []
    for (number, kind, _), reply in zip(asked, replies, strict=True):
        with suppress(*DAMAGE, IndexError):
            if kind == "item":
                [item] = orjson.loads(reply)
                items = items_of_chunk(item, reveal)[1] if "chunk" in item else [item]
                last = plain.message_of(items[-1]) if items else None
            else:
                value = plain.messages_of(reveal(loading.parse(reply)["value"]))
                last = value[-1] if value else None
            found[number] = found[number] or last
    return found


# ---- what exists, for those who mistyped

NEAREST = 1_000
"""Ids among which the nearest ones are looked for."""


def nearest_threads(context: Context, thread_id: str) -> Plan[list[str]]:
    """The ids of up to three threads that look like this one: among the threads that changed last,
    and those whose ids begin like it."""
    index = queries.index_name(context.key_prefix, "threads")
    searches = ["*"]
    start = "".join(f"\\{c}" if not c.isalnum() else c for c in thread_id[:4])
    if len(thread_id) >= 2 and thread_id[:4].isprintable():
        searches.append(f"@thread_id:{{{start}*}}")
    found: dict[str, None] = {}
    for search in searches:
        try:
            keys_found = yield from queries.newest(
                context, index, (), NEAREST, partial(_newest_ids, index, search), search_keys, str
            )
        except CheckpointError:  # there is no index that can tell
            return []
        start_of_key = f"{context.key_prefix}thread:{{"
        for key in keys_found or ():
            tag = key.removeprefix(start_of_key).removesuffix("}")
            found["" if tag == "~" else keys.unescape(tag)] = None
    return nearest(thread_id, [*found])


def _newest_ids(index: str, search: str, most: int) -> Command:
    return (
        *("FT.SEARCH", index, search, "NOCONTENT", "SORTBY", "updated_at", "DESC"),
        *("LIMIT", 0, most, *queries.WHOLE_ANSWER),
    )


def nearest(wanted: str, ids: Sequence[str]) -> list[str]:
    """Up to three of the ids that look like the wanted one."""
    folded = {one.casefold(): one for one in ids}
    found = get_close_matches(wanted.casefold(), [*folded], n=3, cutoff=0.5)
    return [folded[one] for one in found]

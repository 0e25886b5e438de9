"""Documents -> LangGraph's types. What writes them is in `documents.py`."""

from collections.abc import Container, Iterable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, cast

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import TASKS

from langgraph_redis_json import keys, logs, values
from langgraph_redis_json.commands import pairs, text
from langgraph_redis_json.documents import FORMAT, expand, readable_serde
from langgraph_redis_json.errors import DamagedDocumentError, MissingDocumentError
from langgraph_redis_json.keys import CheckpointName, ThreadKeys
from langgraph_redis_json.memory import LARGE, NOTHING, Known, Remembered, Slice
from langgraph_redis_json.values import Dumped
from langgraph_redis_json.versions import next_version


class Row(NamedTuple):
    """A checkpoint as the server holds it.

    Attributes:
        name: which checkpoint.
        thread: the keys of its thread.
        document: its document, None if there is none.
        writes: the document of its pending writes, None if there is none.
        blobs: its large channel values, entry -> document, None for one that is gone.
        logs: the logs that hold the items of its lists, by entry, None for one that is gone.
        named: whether the thread's table of contents says that the checkpoint is there.
        writes_named: whether it says so of the writes.
        known: what the saver remembers of this checkpoint: what it has was not read.
    """

    name: CheckpointName
    thread: ThreadKeys
    document: bytes | None
    writes: bytes | None
    blobs: Mapping[str, bytes | None]
    logs: Mapping[str, "Log | None"]
    named: bool
    writes_named: bool
    known: Mapping[str, Known]

    @property
    def entry(self) -> str:
        return keys.checkpoint_entry(self.name.checkpoint_ns, self.name.checkpoint_id)

    @property
    def key(self) -> str:
        return self.thread.key(self.entry)

    @property
    def size(self) -> int:
        """Bytes of the documents that it is read from, at most."""
        documents = (self.document, self.writes, *self.blobs.values())
        return sum(len(document or b"") for document in documents) + sum(
            log.size for log in self.logs.values() if log is not None
        )


class Log:
    """Ranges of a log, as the server sent them."""

    def __init__(self, key: str, length: int) -> None:
        self.key = key
        self.length = length
        self.size = 0
        self._texts: list[tuple[int, bytes]] = []
        self._items: dict[int, Any] = {}
        self._decoded: dict[int, bytes] = {}

    def add(self, start: int, text: bytes) -> None:
        """Take in the range that begins at `start`."""
        self._texts.append((start, text))
        self.size += len(text)

    def items(self, start: int, stop: int) -> list[bytes]:
        """The serializer's bytes of the items from `start` up to `stop`."""
        with reading(self.key):
            while self._texts:
                first, text = self._texts.pop()
                parts = orjson.loads(text)
                check_format(*parts.pop("$.format"))
                [found] = parts.values()
                self._items.update(enumerate(found, first))
            if stop > self.length:
                raise ValueError(f"it has no item {stop - 1}")
            decoded, wanted = self._decoded, range(start, stop)
            new = [number for number in wanted if number not in decoded]
            if not self._items.keys() >= {*new}:
                raise ValueError(f"it has no item {min({*new} - self._items.keys())}")
            decoded.update(zip(new, logs.decode_items(map(self._items.pop, new)), strict=True))
            return [decoded[number] for number in wanted]


def rows(
    thread: ThreadKeys,
    thread_id: str,
    reply: Any,
    aside: Mapping[str, bytes] = MappingProxyType({}),
    remembered: Remembered = NOTHING,
) -> Iterable[Row]:
    """What the scripts read and ancestors return.

    Args:
        aside: blobs that were read by another command, by entry.
        remembered: what the script was told that the saver remembers.
    """
    blobs = {**aside, **{text(entry): document for entry, document in pairs(reply[1])}}
    found: dict[str, Log | None] = {}
    for entry, start, length, items in zip(*[iter(reply[2])] * 4, strict=True):
        name = text(entry)
        log = found.setdefault(name, None if items is None else Log(thread.key(name), length))
        if log is not None and items is not None:
            log.add(start, items)
    for entry, document, writes, named, writes_named in reply[0]:
        name = text(entry)
        yield Row(
            keys.checkpoint_of_entry(thread_id, name),
            thread,
            document,
            writes,
            blobs,
            found,
            bool(named),
            bool(writes_named),
            remembered.channels if name == remembered.checkpoint else {},
        )


class DecodedCheckpoint(NamedTuple):
    """A checkpoint's document, read but for what only the serializer can load."""

    v: int
    parent_checkpoint_id: str | None
    metadata: dict[str, Any]
    body: dict[str, Any]
    channel_values: dict[str, Dumped]
    pending_sends: Dumped | None
    stored: dict[str, Any]
    """The channel values as they stand in the document."""
    lists: dict[str, list[bytes]]
    """The items of those whose logs were read."""


class OtherValuesError(Exception):
    """What was not read, for it was remembered, is not what the checkpoint refers to."""


def decode_checkpoint(row: Row, channels: Container[str] | None = None) -> DecodedCheckpoint:
    """Read a row's document.

    Args:
        row: the checkpoint as the server holds it.
        channels: only the values of these; all if None.

    Raises:
        OtherValuesError: if it has to be read without what is remembered.
        DamagedDocumentError, MissingDocumentError: see their messages.
    """
    if row.document is None:
        raise MissingDocumentError(key=row.key, missing=row.key)
    with reading(row.key):
        fields = parse(row.document)
        body = _decode_members(orjson.loads(expand(fields["checkpoint"].encode())))
        body.setdefault("id", row.name.checkpoint_id)
        _ = body["channel_versions"]
        channel_values: dict[str, Dumped] = {}
        lists: dict[str, list[bytes]] = {}
        for channel, stored in fields["channel_values"].items():
            if channels is not None and channel not in channels:
                continue
            if (dumped := _held(row, channel, stored)) is not None:
                channel_values[channel] = dumped
            elif stored is not None and "log" in stored:
                lists[channel] = _items(row, stored["log"])
                channel_values[channel] = Dumped("msgpack", logs.join(lists[channel]))
            else:
                channel_values[channel] = _decode_channel(row, stored)
        return DecodedCheckpoint(
            int(body["v"]),
            _text(fields, "parent_checkpoint_id") if "parent_checkpoint_id" in fields else None,
            _decode_members(fields["metadata"]),
            body,
            channel_values,
            (
                Dumped(*values.decode(fields["pending_sends"]))
                if "pending_sends" in fields
                else None
            ),
            fields["channel_values"],
            lists,
        )


def _held(row: Row, channel: str, stored: dict[str, Any] | None) -> Dumped | None:
    """A value that was not read, for it is remembered."""
    known = row.known.get(channel)
    if stored is None or known is None or known.dumped is None:
        return None
    if any(entry in row.blobs or entry in row.logs for entry in known.needed()):
        return None  # one of them is gone, so they were read
    same = {"blob": known.entry} if known.entry else {"log": [[*part] for part in known.slices]}
    return known.dumped if stored == same else None


def _items(row: Row, slices: Any) -> list[bytes]:
    if not isinstance(slices, list) or not slices:
        raise ValueError("a list of it has no slices")
    items: list[bytes] = []
    for entry, start, stop in slices:
        if type(start) is not int or type(stop) is not int or not 0 <= start < stop:
            raise ValueError(f"{start!r:.50} to {stop!r:.50} is no slice of a log")
        if not isinstance(entry, str) or not entry.startswith("l:"):
            raise ValueError(f"{entry!r:.100} is no log")
        log = row.logs.get(entry)
        if log is None:
            raise _not_there(row, entry, entry in row.logs)
        items += log.items(start, stop)
    return items


def _not_there(row: Row, entry: str, was_read: bool) -> Exception:
    if row.known and not was_read:
        return OtherValuesError()
    return MissingDocumentError(key=row.key, missing=row.thread.key(entry))


def _decode_channel(row: Row, stored: dict[str, Any] | None) -> Dumped:
    if stored is None:
        return Dumped("null", b"")
    if "blob" not in stored:
        return Dumped(*values.decode(stored))
    entry = _text(stored, "blob")
    if not entry.startswith("b:"):
        raise ValueError(f"{entry!r} is no blob")
    blob = row.blobs.get(entry)
    if blob is None:
        raise _not_there(row, entry, entry in row.blobs)
    with reading(row.thread.key(entry)):
        return Dumped(*values.decode(parse(blob)["value"]))


def remembered(row: Row, decoded: DecodedCheckpoint) -> Remembered:
    """What a saver may remember of a checkpoint that it has read."""
    channels: dict[str, Known] = {}
    versions = decoded.body["channel_versions"]
    if not isinstance(versions, dict):  # what only the serializer can load
        return NOTHING
    for channel, stored in decoded.stored.items():
        version, text = versions.get(channel), orjson.dumps(stored)
        dumped = decoded.channel_values[channel]
        last = row.known.get(channel)
        if last is not None and dumped is last.dumped:  # it was not read
            channels[channel] = last._replace(version=version)
        elif channel in decoded.lists:
            slices = [Slice(*part) for part in stored["log"]]
            found = {entry: row.logs[entry] for entry, _, _ in slices}
            channels[channel] = Known(
                version,
                text,
                None,
                slices,
                logs.digests(decoded.lists[channel]),
                {entry: log.length for entry, log in found.items() if log is not None},
                dumped,
                logs.size_of_items(dumped.data),
            )
        elif stored is not None and "blob" in stored:
            entry = stored["blob"]
            is_large = len(row.blobs[entry] or b"") > LARGE
            channels[channel] = Known(version, text, entry, dumped=dumped, is_large=is_large)
        else:
            channels[channel] = Known(version, text)
    return Remembered(channels, row.entry)


def load_metadata(decoded: DecodedCheckpoint, serde: SerializerProtocol) -> CheckpointMetadata:
    return cast(CheckpointMetadata, _load_members(decoded.metadata, serde))


def load_stored_metadata(
    members: Mapping[str, Any], serde: SerializerProtocol
) -> CheckpointMetadata:
    """The same, as it stands in a document."""
    return cast(CheckpointMetadata, _load_members(_decode_members(members), serde))


def load_checkpoint(
    row: Row,
    decoded: DecodedCheckpoint,
    metadata: CheckpointMetadata,
    old_sends: Sequence[Any],
    serde: SerializerProtocol,
    thread_id: Any,
) -> CheckpointTuple:
    """A row as LangGraph's type.

    Args:
        row: the checkpoint as the server holds it.
        decoded: what `decode_checkpoint` read from it.
        metadata: what `load_metadata` gave.
        old_sends: the sends that a checkpoint of a format before 4 finds among its parent's
            writes; they are its tasks channel, as the Postgres saver has it.
        serde: the saver's serializer.
        thread_id: the thread as the caller spells it, for the configs.
    """
    _, checkpoint_ns, checkpoint_id = row.name

    def config(checkpoint_id: str) -> RunnableConfig:
        return {
            "configurable": {
                "thread_id": thread_id,
                "checkpoint_ns": checkpoint_ns,
                "checkpoint_id": checkpoint_id,
            }
        }

    checkpoint = _load_members(decoded.body, serde)
    checkpoint["channel_values"] = {
        channel: serde.loads_typed(dumped) for channel, dumped in decoded.channel_values.items()
    }
    if decoded.pending_sends is not None:
        checkpoint["pending_sends"] = serde.loads_typed(decoded.pending_sends)
    if old_sends:
        versions = checkpoint["channel_versions"]
        checkpoint["channel_values"][TASKS] = list(old_sends)
        versions[TASKS] = max(versions.values()) if versions else next_version(None)
    parent = decoded.parent_checkpoint_id
    return CheckpointTuple(
        config=config(checkpoint_id),
        checkpoint=cast(Checkpoint, checkpoint),
        metadata=metadata,
        parent_config=config(parent) if parent else None,
        pending_writes=load_writes(row, serde),
    )


def load_writes(
    row: Row, serde: SerializerProtocol, channels: Container[str] | None = None
) -> list[PendingWrite]:
    """A row's pending writes, in the order in which a superstep applies them.

    Args:
        row: the checkpoint as the server holds it.
        serde: the saver's serializer.
        channels: only the writes to these; all if None.
    """
    key = row.thread.key(keys.writes_entry(row.name.checkpoint_ns, row.name.checkpoint_id))
    if row.writes is None:
        if row.writes_named:
            raise MissingDocumentError(key=row.key, missing=key)
        return []
    found: list[tuple[tuple[str, str, int], str, str, Any]] = []
    with reading(key):
        stored = parse(row.writes)["writes"]
        # All texts as one, and below all values as one list: the writes of a hundred tasks are read
        # in a third of the time.
        texts = [write for write in stored.values() if type(write) is str]
        parsed = orjson.loads(f"[{','.join(texts)}]")
        if len(parsed) != len(texts):
            raise ValueError("one of its writes is no JSON text")
        ordinary = iter(parsed)
        for task_and_index, write in stored.items():
            if type(write) is str:
                write = next(ordinary)
            task_id, path, channel = write["task_id"], write["task_path"], write["channel"]
            if not type(task_id) is type(path) is type(channel) is str:
                raise ValueError(f"the names of the write {task_and_index!r:.100} are no texts")
            if channels is None or channel in channels:
                index = int(task_and_index.rpartition(":")[2])
                found.append(
                    (writes_sort_key(path, task_id, index), task_id, channel, write["value"])
                )
        found.sort(key=itemgetter(0))
        contents = [value for _, _, _, value in found]
        packed = None
        if type(serde).loads_typed is JsonPlusSerializer.loads_typed:
            packed = values.pack_all(contents)
        dumped = [] if packed else [values.decode(value) for value in contents]
    loaded = serde.loads_typed(("msgpack", packed)) if packed else map(serde.loads_typed, dumped)
    return [
        (task, channel, value) for (_, task, channel, _), value in zip(found, loaded, strict=True)
    ]


def _decode_members(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: (
            Dumped(*values.decode(value["$stored"]))
            if isinstance(value, dict) and next(iter(value), None) == "$stored"
            else value
        )
        for key, value in members.items()
    }


def _load_members(members: Mapping[str, Any], serde: SerializerProtocol) -> dict[str, Any]:
    serde = readable_serde(serde)
    return {
        key: serde.loads_typed(value) if isinstance(value, Dumped) else value
        for key, value in members.items()
    }


def parse(document: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(document)
    check_format(fields["format"])
    return fields


def check_format(found: Any) -> None:
    if found is True or found != FORMAT:
        raise ValueError(
            f"its format is {found!r} and this version of langgraph-redis-json "
            f"reads format {FORMAT}; upgrade the package"
        )


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise ValueError(f"its {name} is {value!r:.100}, no text")
    return value


class reading:  # a generator would take three times as long to enter and leave
    """What goes wrong inside is the fault of the document at this key."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, (KeyError, TypeError, AttributeError, ValueError)):
            why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__} {error}"
            raise DamagedDocumentError(key=self._key, why=why) from error

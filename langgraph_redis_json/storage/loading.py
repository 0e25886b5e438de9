"""Documents -> LangGraph's types. `documents.py` builds the documents."""

from collections.abc import Container, Iterable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import orjson
import ormsgpack
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

from langgraph_redis_json.client.scripts import CheckpointRow, ReadReply
from langgraph_redis_json.errors import (
    DamagedDocumentError,
    MissingDocumentError,
    UnreadableValueError,
)
from langgraph_redis_json.storage import encrypted_lists, json_codec, keys
from langgraph_redis_json.storage.cache import (
    LARGE,
    NOTHING,
    CachedCheckpoint,
    Slice,
    Span,
    StoredChannel,
)
from langgraph_redis_json.storage.documents import FORMAT
from langgraph_redis_json.storage.json_codec import UNREADABLE, Dumped
from langgraph_redis_json.storage.keys import CheckpointIdentity, ThreadKeys
from langgraph_redis_json.storage.list_logs import hashes_of

DAMAGE = (KeyError, TypeError, AttributeError, ValueError)
"""What reading a document raises if somebody has altered it."""


def damaged(key: str, error: Exception) -> DamagedDocumentError:
    """The error for the document at a key that cannot be read."""
    why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__} {error}"
    return DamagedDocumentError(key=key, why=why)


def _unreadable(key: str, error: BaseException) -> UnreadableValueError:
    return UnreadableValueError(key=key, why=f"{type(error).__name__}: {error}")


class Log:
    """Items of a log, as the server sent them."""

    def __init__(self, key: str, length: int) -> None:
        self.key = key
        self.length = length
        self.size = 0
        self._texts: list[tuple[int, bytes]] = []
        self._items: dict[int, Any] = {}
        self._decoded: dict[int, bytes] = {}
        self._opened: dict[int, tuple[Span, list[bytes]]] = {}

    def add(self, start: int, text: bytes) -> None:
        """Add the range that begins at `start`."""
        self._texts.append((start, text))
        self.size += len(text)

    def items(self, start: int, stop: int) -> list[bytes]:
        """The serializer's bytes of the items from `start` up to, not with, `stop`."""
        try:
            self._check_length(stop)
            wanted = range(start, stop)
            new = [number for number in wanted if number not in self._decoded]
            items = json_codec.decode_items(self._take(new))
            self._decoded.update(zip(new, items, strict=True))
            return [self._decoded[number] for number in wanted]
        except DAMAGE as error:
            raise damaged(self.key, error) from error

    def encrypted_items(
        self, chunks: range, start: int, stop: int, serde: SerializerProtocol
    ) -> list[bytes]:
        """The inner serializer's bytes of the items from `start` up to, not with, `stop`.

        Args:
            chunks: the numbers of the chunks that hold them.
            start, stop: the numbers of the items.
            serde: the saver's serializer.
        """
        try:
            self._check_length(chunks.stop)
            new = [number for number in chunks if number not in self._opened]
            for number, stored in zip(new, self._take(new), strict=True):
                first, items = encrypted_lists.open_chunk(stored, serde)
                self._opened[number] = Span(number, first, first + len(items)), items
            found: list[bytes] = []
            for number in chunks:
                span, items = self._opened[number]
                found += items[max(start - span.start, 0) : max(stop - span.start, 0)]
            if len(found) != stop - start:
                raise ValueError(f"its chunks lack some of the items {start} to {stop - 1}")
            return found
        except encrypted_lists.CannotDecryptError as error:
            cause = error.__cause__ or error
            raise _unreadable(self.key, cause) from cause
        except DAMAGE as error:
            raise damaged(self.key, error) from error

    @property
    def chunks(self) -> list[Span]:
        """The chunks that were decrypted."""
        return [span for _, (span, _) in sorted(self._opened.items())]

    def _check_length(self, stop: int) -> None:
        if stop > self.length:
            raise ValueError(f"it has no item {stop - 1}")

    def _take(self, numbers: Sequence[int]) -> list[Any]:
        """What the server sent for items, or chunks, with these numbers."""
        while self._texts:
            first, text = self._texts.pop()
            parts = orjson.loads(text)
            check_format(*parts.pop("$.format"))
            [found] = parts.values()
            self._items.update(enumerate(found, first))
        if not self._items.keys() >= {*numbers}:
            raise ValueError(f"it has no item {min({*numbers} - self._items.keys())}")
        return [self._items.pop(number) for number in numbers]


class Row(NamedTuple):
    """A checkpoint as the server holds it.

    Attributes:
        identity: the checkpoint.
        thread: the keys of its thread.
        read: its documents.
        blobs: entry -> document, None for one that is gone.
        logs: entry -> the items that were read, None for a log that is gone.
        cached: what the cache has of this checkpoint; its blobs and logs were not read.
    """

    identity: CheckpointIdentity
    thread: ThreadKeys
    read: CheckpointRow
    blobs: Mapping[str, bytes | None]
    logs: Mapping[str, Log | None]
    cached: Mapping[str, StoredChannel]

    @property
    def key(self) -> str:
        return self.thread.key(self.read.entry)

    @property
    def size(self) -> int:
        """Bytes of the documents that it is read from, at most."""
        documents = (self.read.document, self.read.writes, *self.blobs.values())
        size = sum([len(document) for document in documents if document is not None])
        return size + sum([log.size for log in self.logs.values() if log is not None])


def rows(
    thread: ThreadKeys,
    thread_id: str,
    reply: ReadReply,
    cached: CachedCheckpoint = NOTHING,
    read_separately: Mapping[str, bytes] = MappingProxyType({}),
) -> list[Row]:
    """The checkpoints in the reply of a script.

    Args:
        thread: the keys of their thread.
        thread_id: the thread.
        reply: the script's reply.
        cached: what the script was told that the cache has.
        read_separately: blobs that another command has read: entry -> document.
    """
    logs: dict[str, Log | None] = {}
    for entry, start, length, items in reply.logs:
        if items is None:
            logs.setdefault(entry, None)
        else:
            log = logs.get(entry) or Log(thread.key(entry), length)
            log.add(start, items)
            logs[entry] = log
    blobs = {**read_separately, **reply.blobs} if read_separately else reply.blobs
    return [
        Row(
            keys.identity_of_entry(thread_id, read.entry),
            thread,
            read,
            blobs,
            logs,
            cached.channels if read.entry == cached.entry else {},
        )
        for read in reply.rows
    ]


# ---- checkpoints


class DecodedCheckpoint(NamedTuple):
    """The document of a checkpoint, decoded to what only the serializer can load.

    Attributes:
        parent_checkpoint_id: None for a first checkpoint.
        metadata: metadata key -> value, or `Dumped`.
        checkpoint: the rest of LangGraph's checkpoint: key -> value, or `Dumped`.
        channel_values: channel -> the serializer's result.
        pending_sends: the serializer's result, if there is one.
        stored: channel -> what stands for the value in the document.
        lists: channel -> its items, for each channel whose logs were read.
        searchable: see `CachedCheckpoint`.
    """

    parent_checkpoint_id: str | None
    metadata: dict[str, Any]
    checkpoint: dict[str, Any]
    channel_values: dict[str, Dumped]
    pending_sends: Dumped | None
    stored: dict[str, Any]
    lists: dict[str, list[bytes]]
    searchable: int


class StaleCacheError(Exception):
    """The cached values do not match the checkpoint's references; read it again without the
    cache."""


def decode_checkpoint(
    row: Row, serde: SerializerProtocol, wanted: Container[str] | None = None
) -> DecodedCheckpoint:
    """Decode a checkpoint.

    Args:
        row: the checkpoint as the server holds it.
        serde: the saver's serializer, which decrypts lists.
        wanted: the channels to decode; all if None.

    Raises:
        StaleCacheError: if the checkpoint must be read without the cache.
        DamagedDocumentError, MissingDocumentError, UnreadableValueError: see their messages.
    """
    if row.read.document is None:
        raise MissingDocumentError(key=row.key, missing=row.key)
    try:
        fields = parse(row.read.document)
        checkpoint = _decode_members(orjson.loads(fields["checkpoint"]))
        checkpoint.setdefault("id", row.identity.checkpoint_id)
        _ = checkpoint["channel_versions"]
        parent = fields.get("parent_checkpoint_id")
        if "parent_checkpoint_id" in fields and not isinstance(parent, str):
            raise ValueError(f"its parent_checkpoint_id is {parent!r:.100}, not a string")
        channel_values: dict[str, Dumped] = {}
        lists: dict[str, list[bytes]] = {}
        for channel, stored in fields["channel_values"].items():
            if wanted is not None and channel not in wanted:
                continue
            last = row.cached.get(channel)
            if last is not None and last.dumped is not None and _is_valid(row, last, stored):
                channel_values[channel] = last.dumped
            elif stored is None:
                channel_values[channel] = Dumped("null", b"")
            elif "log" in stored:
                lists[channel] = _list_items(row, stored["log"], serde)
                channel_values[channel] = Dumped("msgpack", json_codec.join(lists[channel]))
            elif "blob" in stored:
                channel_values[channel] = _decode_blob(row, row.thread.entry(stored["blob"]))
            else:
                channel_values[channel] = Dumped(*json_codec.decode(stored))
        sends = None
        if "pending_sends" in fields:
            sends = Dumped(*json_codec.decode(fields["pending_sends"]))
        return DecodedCheckpoint(
            parent,
            _decode_members(metadata_of(fields)),
            checkpoint,
            channel_values,
            sends,
            fields["channel_values"],
            lists,
            fields.get("searchable", 0),
        )
    except UnreadableValueError:
        raise
    except DAMAGE as error:
        raise damaged(row.key, error) from error


def _is_valid(row: Row, cached: StoredChannel, stored: Any) -> bool:
    """Whether a cached value is the one that the document refers to, and its blob and logs exist:
    the script reads those of all cached values if one of them is gone."""
    if row.blobs or row.logs:
        for entry in cached.references():
            if entry in row.blobs or entry in row.logs:
                return False
    return orjson.dumps(stored) == cached.text


def _list_items(row: Row, slices: Any, serde: SerializerProtocol) -> list[bytes]:
    if not isinstance(slices, list) or not slices:
        raise ValueError("one of its lists has no slices")
    items: list[bytes] = []
    for key, *numbers in slices:
        for start, stop in zip(numbers[::2], numbers[1::2], strict=True):
            if type(start) is not int or type(stop) is not int or not 0 <= start < stop:
                raise ValueError(f"{start!r:.50} to {stop!r:.50} is not a slice of a log")
        entry = row.thread.entry(key)
        if entry[0] != "l":
            raise ValueError(f"{key!r:.100} is not the key of a log")
        log = row.logs.get(entry)
        if log is None:
            raise _not_read(row, entry, entry in row.logs)
        if len(numbers) == 4:  # the list is encrypted: the first two are numbers of chunks
            first, last, start, stop = numbers
            items += log.encrypted_items(range(first, last), start, stop, serde)
        else:
            start, stop = numbers
            items += log.items(start, stop)
    return items


def _decode_blob(row: Row, entry: str) -> Dumped:
    if entry[0] != "b":
        raise ValueError(f"{row.thread.key(entry)!r:.100} is not the key of a blob")
    blob = row.blobs.get(entry)
    if blob is None:
        raise _not_read(row, entry, entry in row.blobs)
    try:
        return Dumped(*json_codec.decode(parse(blob)["value"]))
    except DAMAGE as error:
        raise damaged(row.thread.key(entry), error) from error


def _not_read(row: Row, entry: str, is_gone: bool) -> Exception:
    if row.cached and not is_gone:
        return StaleCacheError()
    return MissingDocumentError(key=row.key, missing=row.thread.key(entry))


def to_cache(row: Row, decoded: DecodedCheckpoint) -> CachedCheckpoint:
    """What the cache gets of a checkpoint that was read."""
    found: dict[str, StoredChannel] = {}
    versions = decoded.checkpoint["channel_versions"]
    if not isinstance(versions, dict):  # only the serializer can load them
        return NOTHING
    for channel, stored in decoded.stored.items():
        version, dumped = versions.get(channel), decoded.channel_values[channel]
        last = row.cached.get(channel)
        if last is not None and last.version == version and dumped is last.dumped:
            found[channel] = last
            continue
        text = orjson.dumps(stored)
        if channel in decoded.lists:
            slices = [
                Slice(row.thread.entry(key), *numbers[-2:]) for key, *numbers in stored["log"]
            ]
            logs = {entry: row.logs[entry] for entry, _, _ in slices}
            found[channel] = StoredChannel(
                version,
                text,
                slices=slices,
                item_hashes=hashes_of(decoded.lists[channel]),
                chunks={entry: log.chunks for entry, log in logs.items() if log and log.chunks},
                log_lengths={entry: log.length for entry, log in logs.items() if log is not None},
                dumped=dumped,
                items_size=json_codec.size_of_items(dumped.data),
            )
        elif last is not None and dumped is last.dumped:
            found[channel] = last._replace(version=version)
        elif stored is not None and "blob" in stored:
            entry = row.thread.entry(stored["blob"])
            is_large = len(row.blobs[entry] or b"") > LARGE
            found[channel] = StoredChannel(version, text, entry, is_large, dumped=dumped)
        else:
            found[channel] = StoredChannel(version, text, dumped=dumped)
    return CachedCheckpoint(row.read.entry, found, decoded.searchable)


def load_checkpoint(
    row: Row,
    decoded: DecodedCheckpoint,
    metadata: CheckpointMetadata,
    serde: SerializerProtocol,
    thread_id: Any,
) -> CheckpointTuple:
    """A checkpoint as LangGraph's type.

    Args:
        row: the checkpoint as the server holds it.
        decoded: the same, decoded.
        metadata: its metadata, loaded.
        serde: the saver's serializer.
        thread_id: the thread as the caller spells it, for the configs.
    """
    checkpoint_ns, parent = row.identity.checkpoint_ns, decoded.parent_checkpoint_id
    checkpoint = _load_members(decoded.checkpoint, serde)
    checkpoint["channel_values"] = load_channel_values(row, decoded, serde)
    try:
        if decoded.pending_sends is not None:
            checkpoint["pending_sends"] = serde.loads_typed(decoded.pending_sends)
    except UNREADABLE as error:
        raise _unreadable(row.key, error) from error
    if row.read.parent_writes is not None and TASKS in checkpoint["channel_values"]:
        versions = checkpoint["channel_versions"]
        versions[TASKS] = max(versions.values()) if versions else keys.next_version(None)
    return CheckpointTuple(
        config=config_of(thread_id, checkpoint_ns, row.identity.checkpoint_id),
        checkpoint=cast(Checkpoint, checkpoint),
        metadata=metadata,
        parent_config=config_of(thread_id, checkpoint_ns, parent) if parent else None,
        pending_writes=load_writes(row, serde),
    )


def load_channel_values(
    row: Row, decoded: DecodedCheckpoint, serde: SerializerProtocol
) -> dict[str, Any]:
    """The channel values of a checkpoint; see `load_checkpoint`."""
    try:
        found = {
            channel: serde.loads_typed(dumped) for channel, dumped in decoded.channel_values.items()
        }
    except UNREADABLE as error:
        raise _unreadable(row.key, error) from error
    parent = decoded.parent_checkpoint_id
    if row.read.parent_writes is not None and parent is not None:
        # Before version 4 LangGraph kept the tasks among the parent's writes. They become the tasks
        # channel, as in the Postgres saver.
        key = row.thread.key(keys.checkpoint_entry(row.identity.checkpoint_ns, parent))
        if tasks := _load_writes(key, row.read.parent_writes, serde, [TASKS]):
            found[TASKS] = [value for _, _, value in tasks]
    return found


def config_of(thread_id: Any, checkpoint_ns: str, checkpoint_id: str) -> RunnableConfig:
    """The config that names a checkpoint."""
    return {
        "configurable": {
            "thread_id": thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": checkpoint_id,
        }
    }


# ---- metadata


def load_metadata(decoded: DecodedCheckpoint, serde: SerializerProtocol) -> CheckpointMetadata:
    """The metadata of a decoded checkpoint."""
    return cast(CheckpointMetadata, _load_members(decoded.metadata, serde))


def load_stored_metadata(
    fields: Mapping[str, Any], serde: SerializerProtocol
) -> CheckpointMetadata:
    """The metadata in the members of a document."""
    return cast(CheckpointMetadata, _load_members(_decode_members(metadata_of(fields)), serde))


def metadata_of(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata as it stands in the members of a document."""
    found: Mapping[str, Any] = fields["metadata"]
    return {**found, **fields["other_metadata"]} if "other_metadata" in fields else found


def _decode_members(members: Mapping[str, Any]) -> dict[str, Any]:
    found = {**members}
    for key, value in members.items():
        if isinstance(value, dict) and next(iter(value), None) == "$stored":
            found[key] = Dumped(*json_codec.decode(value["$stored"]))
    return found


def _load_members(members: Mapping[str, Any], serde: SerializerProtocol) -> dict[str, Any]:
    found = {**members}
    for key, value in members.items():
        if isinstance(value, Dumped):
            found[key] = json_codec.readable_serde(serde).loads_typed(value)
    return found


# ---- pending writes


def load_writes(
    row: Row, serde: SerializerProtocol, wanted: Container[str] | None = None
) -> list[PendingWrite]:
    """The pending writes of a checkpoint, in the order in which a superstep applies them.

    Args:
        row: the checkpoint as the server holds it.
        serde: the saver's serializer.
        wanted: the channels whose writes are loaded; all if None.
    """
    key = row.thread.key(keys.writes_entry(row.read.entry))
    if row.read.writes is not None:
        return _load_writes(key, row.read.writes, serde, wanted)
    if row.read.writes_are_named:
        raise MissingDocumentError(key=row.key, missing=key)
    return []


def _load_writes(
    key: str, document: bytes, serde: SerializerProtocol, wanted: Container[str] | None
) -> list[PendingWrite]:
    found: list[tuple[tuple[str, str, int], str, str, Any]] = []
    loaded: Iterable[Any]
    try:
        stored = parse(document)["writes"]
        # One parse for all texts, and below one load for all values: so the writes of a hundred
        # tasks are read in a third of the time.
        texts = [write for write in stored.values() if type(write) is str]
        parsed = orjson.loads(f"[{','.join(texts)}]")
        if len(parsed) != len(texts):
            raise ValueError("one of its writes is not a JSON text")
        ordinary = iter(parsed)
        for task_and_index, write in stored.items():
            if type(write) is str:
                write = next(ordinary)
            task_id, path, channel = write["task_id"], write["task_path"], write["channel"]
            if not type(task_id) is type(path) is type(channel) is str:
                raise ValueError(f"the names of the write {task_and_index!r:.100} are not strings")
            if wanted is None or channel in wanted:
                index = int(task_and_index.rpartition(":")[2])
                sort_key = writes_sort_key(path, task_id, index)
                found.append((sort_key, task_id, channel, write["value"]))
        found.sort(key=itemgetter(0))
        values = [value for _, _, _, value in found]
        packed = None
        if type(serde).loads_typed is JsonPlusSerializer.loads_typed:
            packed = _pack_all(values)
        dumped = [] if packed else [json_codec.decode(value) for value in values]
    except DAMAGE as error:
        raise damaged(key, error) from error
    try:
        loaded = (
            serde.loads_typed(("msgpack", packed)) if packed else [*map(serde.loads_typed, dumped)]
        )
    except UNREADABLE as error:
        raise _unreadable(key, error) from error
    return [
        (task, channel, value) for (_, task, channel, _), value in zip(found, loaded, strict=True)
    ]


def _pack_all(stored: Sequence[Any]) -> bytes | None:
    """The msgpack of a list of stored values; None unless each of them is readable msgpack."""
    trees: list[Any] = []
    try:
        for value in stored:
            if len(value) != 2 or value["type"] != "msgpack" or "base64" in value:
                return None
            tree = json_codec.unmark(value["tagged"]) if "tagged" in value else value["json"]
            trees.append(tree)
        return ormsgpack.packb(trees, option=ormsgpack.OPT_NON_STR_KEYS)
    except json_codec.MALFORMED as error:
        raise json_codec.not_a_stored_value(error) from error


# ---- any document


def parse(document: bytes) -> dict[str, Any]:
    """The members of a document.

    Raises:
        ValueError: if it has a format that this version does not read.
    """
    fields: dict[str, Any] = orjson.loads(document)
    check_format(fields["format"])
    return fields


def check_format(found: Any) -> None:
    if found is True or found != FORMAT:
        raise ValueError(
            f"its format is {found!r} and this version of langgraph-redis-json "
            f"reads format {FORMAT}; upgrade the package"
        )

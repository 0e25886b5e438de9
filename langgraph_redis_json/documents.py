"""The documents: built from LangGraph's types, and loaded back to them.

One builder and one loader for each kind. `docs/documents.md` shows a whole one of each.
"""

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from operator import itemgetter
from random import random
from typing import Any, NamedTuple, cast

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import TASKS, _DeltaSnapshot

from langgraph_redis_json import filters, keys, values
from langgraph_redis_json.errors import DamagedDocumentError, MissingDocumentError
from langgraph_redis_json.keys import CheckpointName, ThreadKeys

FORMAT = 1
"""The form of documents that this version writes, and the newest that it reads."""

INLINE = 512
"""Bytes of JSON up to which a channel value stands in each checkpoint that has it. A larger
one is a document of its own, stored once for all checkpoints that have it."""


class Dumped(NamedTuple):
    """What a serializer wrote: ``loads_typed`` takes it."""

    type: str
    data: bytes


# ---- building


class CheckpointDocument(NamedTuple):
    """What a ``put`` stores.

    Attributes:
        document: the JSON text of the checkpoint.
        new: the blobs that this checkpoint brings, entry -> JSON text.
        old: the blobs that an earlier checkpoint should have brought, likewise.
        inherited: blobs that it refers to if an earlier checkpoint has brought them, entry ->
            JSON member of its channel values.
    """

    document: bytes
    new: dict[str, bytes]
    old: dict[str, bytes]
    inherited: dict[str, bytes]


def build_checkpoint(
    name: CheckpointName,
    parent_checkpoint_id: str | None,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: Mapping[str, Any],
    serde: SerializerProtocol,
) -> CheckpointDocument:
    """A checkpoint as documents: itself, and its large channel values as blobs."""
    body: dict[str, Any] = {**checkpoint}
    channel_values = body.pop("channel_values", None) or {}
    versions = checkpoint["channel_versions"]
    new: dict[str, bytes] = {}
    old: dict[str, bytes] = {}
    stored_values: dict[str, orjson.Fragment] = {}
    for channel, value in channel_values.items():
        text = values.encode(*serde.dumps_typed(value)).text()
        if len(text) > INLINE or isinstance(value, _DeltaSnapshot):
            version = versions.get(channel, name.checkpoint_id)
            entry = keys.blob_entry(name.checkpoint_ns, channel, version)
            blobs = new if channel in new_versions else old
            blobs[entry] = _build_blob(name, channel, version, text)
            text = orjson.dumps({"blob": entry})
        stored_values[channel] = orjson.Fragment(text)
    # LangGraph gives a DeltaChannel's value only where it takes a snapshot, and expects it
    # again wherever the channel has the same version.
    counters = metadata.get("counters_since_delta_snapshot")
    delta_channels = [
        channel
        for channel in (counters if isinstance(counters, Mapping) else ())
        if channel in versions and channel not in channel_values
    ]
    inherited: dict[str, bytes] = {}
    for channel in delta_channels:
        if channel not in new_versions:
            entry = keys.blob_entry(name.checkpoint_ns, channel, versions[channel])
            inherited[entry] = orjson.dumps({channel: {"blob": entry}})[1:-1]
    # State that an old LangGraph kept beside the channels is as private as the channels.
    sends = body.pop("pending_sends", None)
    document: dict[str, Any] = {
        "format": FORMAT,
        **name._asdict(),
        "parent_checkpoint_id": parent_checkpoint_id,
        **_typed_metadata(metadata),
        "created_at": _milliseconds(checkpoint["ts"]),
        "metadata": orjson.Fragment(_members(metadata, serde)),
        "delta_channels": delta_channels,
        # Version maps are machinery that nobody searches: as text they take half the memory.
        "checkpoint": _members(body, serde).decode(),
        "pending_sends": (
            None if sends is None else _fragment(values.encode(*serde.dumps_typed(sends)))
        ),
        "tokens": [
            filters.thread_token(name.thread_id),
            filters.namespace_token(name.checkpoint_ns),
            *filters.metadata_tokens(metadata),
        ],
        # The last member: scripts/store.lua adds the inherited ones.
        "channel_values": stored_values,
    }
    text = orjson.dumps({key: value for key, value in document.items() if value not in (None, [])})
    return CheckpointDocument(text, new, old, inherited)


def _build_blob(name: CheckpointName, channel: str, version: Any, value: bytes) -> bytes:
    return orjson.dumps(
        {
            "format": FORMAT,
            "thread_id": name.thread_id,
            "checkpoint_ns": name.checkpoint_ns,
            "channel": channel,
            "version": str(version),
            "value": orjson.Fragment(value),
        }
    )


class WritesDocument(NamedTuple):
    """What a ``put_writes`` stores: the document up to its writes, and the writes by index."""

    head: bytes
    writes: dict[int, bytes]


def build_writes(
    name: CheckpointName,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
    serde: SerializerProtocol,
) -> WritesDocument:
    """One task's pending writes. The index of a write is its place in the sequence, or for
    special channels (errors, interrupts …) the one that LangGraph's WRITES_IDX_MAP gives."""
    head = orjson.dumps({"format": FORMAT, **name._asdict(), "task_id": task_id})
    by_index = {
        WRITES_IDX_MAP.get(channel, index): orjson.dumps(
            {
                "channel": channel,
                "task_path": task_path,
                "value": _fragment(values.encode(*serde.dumps_typed(value))),
            }
        )
        for index, (channel, value) in enumerate(writes)
    }
    return WritesDocument(head[:-1], by_index)


def retarget(document: bytes, thread_id: str) -> bytes:
    """The same document, of any kind, for another thread."""
    fields = orjson.loads(document)
    if "tokens" in fields:
        old = filters.thread_token(fields["thread_id"])
        new = filters.thread_token(thread_id)
        fields["tokens"] = [new if token == old else token for token in fields["tokens"]]
    fields["thread_id"] = thread_id
    return orjson.dumps(fields)


def _fragment(encoded: values.Encoded) -> orjson.Fragment:
    return orjson.Fragment(encoded.text())


def _typed_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    # The index refuses a whole document for one field of another type than the schema's.
    fields = {"source": str, "run_id": str, "step": int}
    return {key: metadata[key] for key, kind in fields.items() if type(metadata.get(key)) is kind}


def _milliseconds(timestamp: str) -> int | None:
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return int(moment.timestamp() * 1000)


# ---- mappings whose members stand readable side by side


def _members(mapping: Mapping[str, Any], serde: SerializerProtocol) -> bytes:
    """A mapping as one JSON object. A member that is not exact as plain JSON is
    ``{"$stored": stored value}``."""
    serde = _readable_serde(serde)
    whole = values.encode(*serde.dumps_typed(dict(mapping)))
    if whole.form == "json" and b'{"$stored":' not in whole.content:
        return whole.content
    members: dict[str, orjson.Fragment] = {}
    for key, value in mapping.items():
        encoded = values.encode(*serde.dumps_typed(value))
        plain = encoded.form == "json" and not encoded.content.startswith(b'{"$stored":')
        members[key] = orjson.Fragment(
            encoded.content if plain else b'{"$stored":%s}' % encoded.text()
        )
    return orjson.dumps(members)


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
    serde = _readable_serde(serde)
    return {
        key: serde.loads_typed(value) if isinstance(value, Dumped) else value
        for key, value in members.items()
    }


def _readable_serde(serde: SerializerProtocol) -> SerializerProtocol:
    """What writes metadata: never a cipher or a format of the user's own, for metadata is
    there to be searched; with the user's own list of allowed types if there is one."""
    if isinstance(serde, EncryptedSerializer):
        serde = serde.serde
    return serde if isinstance(serde, JsonPlusSerializer) else _PLAIN


_PLAIN = JsonPlusSerializer()


# ---- loading


class Row(NamedTuple):
    """A checkpoint as the server holds it.

    Attributes:
        name: which checkpoint.
        thread: the keys of its thread.
        document: its document, None if there is none.
        writes: its tasks' pending writes, entry -> document, None for one that is gone.
        blobs: its large channel values, entry -> document, None for one that is gone.
        named: whether the thread's table of contents says that the checkpoint is there.
    """

    name: CheckpointName
    thread: ThreadKeys
    document: bytes | None
    writes: Mapping[str, bytes | None]
    blobs: Mapping[str, bytes | None]
    named: bool

    @property
    def key(self) -> str:
        entry = keys.checkpoint_entry(self.name.checkpoint_ns, self.name.checkpoint_id)
        return self.thread.key(entry)


class DecodedCheckpoint(NamedTuple):
    """A checkpoint's document, read but for what only the serializer can load."""

    v: int
    parent_checkpoint_id: str | None
    metadata: dict[str, Any]
    body: dict[str, Any]
    channel_values: dict[str, Dumped]
    pending_sends: Dumped | None


def decode_checkpoint(row: Row, channels: Container[str] | None = None) -> DecodedCheckpoint:
    """Read a row's document.

    Args:
        row: the checkpoint as the server holds it.
        channels: only the values of these; all if None.

    Raises:
        DamagedDocumentError, MissingDocumentError: see their messages.
    """
    if row.document is None:
        raise MissingDocumentError(key=row.key, missing=row.key)
    with _reading(row.key):
        fields = _parse(row.document)
        body = _decode_members(orjson.loads(fields["checkpoint"]))
        _ = body["channel_versions"]
        channel_values = {
            channel: _decode_channel(row, stored)
            for channel, stored in fields["channel_values"].items()
            if channels is None or channel in channels
        }
        sends = fields.get("pending_sends")
        return DecodedCheckpoint(
            int(body["v"]),
            fields.get("parent_checkpoint_id"),
            _decode_members(fields["metadata"]),
            body,
            channel_values,
            None if sends is None else Dumped(*values.decode(sends)),
        )


def _decode_channel(row: Row, stored: dict[str, Any]) -> Dumped:
    entry = stored.get("blob")
    if entry is None:
        return Dumped(*values.decode(stored))
    blob = row.blobs.get(entry)
    key = row.thread.key(entry)
    if blob is None:
        raise MissingDocumentError(key=row.key, missing=key)
    with _reading(key):
        return Dumped(*values.decode(_parse(blob)["value"]))


def load_metadata(decoded: DecodedCheckpoint, serde: SerializerProtocol) -> CheckpointMetadata:
    return cast(CheckpointMetadata, _load_members(decoded.metadata, serde))


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
    found = []
    for entry, document in row.writes.items():
        key = row.thread.key(entry)
        if document is None:
            raise MissingDocumentError(key=row.key, missing=key)
        with _reading(key):
            fields = _parse(document)
            task_id = fields["task_id"]
            for index, write in fields["writes"].items():
                order = writes_sort_key(write["task_path"], task_id, int(index))
                if channels is None or write["channel"] in channels:
                    dumped = Dumped(*values.decode(write["value"]))
                    found.append((order, task_id, write["channel"], dumped))
    found.sort(key=itemgetter(0))
    return [(task_id, channel, serde.loads_typed(dumped)) for _, task_id, channel, dumped in found]


class Lineage(NamedTuple):
    """What tells which ancestors a checkpoint needs.

    Attributes:
        parent: the entry of its parent, None for a first checkpoint.
        delta_channels: the channels whose value is rebuilt from the writes of its ancestors.
        channels: the channels that have a value here.
        run_id: the run that made it.
    """

    parent: str | None
    delta_channels: Collection[str]
    channels: Container[str]
    run_id: Any


def lineage(key: str, document: bytes) -> Lineage:
    """A checkpoint's lineage, from its document."""
    with _reading(key):
        fields = _parse(document)
        parent = fields.get("parent_checkpoint_id")
        channels = fields["channel_values"].keys()
        return Lineage(
            keys.checkpoint_entry(fields["checkpoint_ns"], parent) if parent else None,
            [channel for channel in fields.get("delta_channels", ()) if channel not in channels],
            channels,
            fields["metadata"].get("run_id"),
        )


def ancestors_needed(lineages: Mapping[str, Lineage], kept: Iterable[str]) -> set[str]:
    """The ancestors from which the delta channels of the kept checkpoints are rebuilt: for
    each channel all, back to the nearest one that has its value.

    Args:
        lineages: entry -> lineage, of every checkpoint of the thread.
        kept: entries.
    """
    walked: set[tuple[str, str]] = set()
    for entry in kept:
        if entry not in lineages:
            continue
        for channel in lineages[entry].delta_channels:
            at = lineages[entry].parent
            while at is not None and at in lineages and (at, channel) not in walked:
                walked.add((at, channel))
                if channel in lineages[at].channels:
                    break
                at = lineages[at].parent
    return {entry for entry, _ in walked}


def next_version(current: str | int | None) -> str:
    """The version of a channel after `current`: counts up, and never repeats on two forks of
    a thread, for its second part is random."""
    count = current if isinstance(current, int) else int((current or "0").split(".")[0])
    return f"{count + 1:032}.{random():016}"


def _parse(document: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(document)
    if fields["format"] != FORMAT:
        raise ValueError(
            f"its format is {fields['format']!r} and this version of langgraph-redis-json "
            f"reads format {FORMAT}; upgrade the package"
        )
    return fields


@contextmanager
def _reading(key: str) -> Iterator[None]:
    """What goes wrong inside is the fault of the document at this key."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__} {error}"
        raise DamagedDocumentError(key=key, why=why) from error

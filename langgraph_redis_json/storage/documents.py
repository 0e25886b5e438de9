"""LangGraph's types -> documents. `docs/documents.md` shows one of each kind.

`loading.py` reads them back.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson
from langgraph.checkpoint.base import WRITES_IDX_MAP, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import TASKS

from langgraph_redis_json.storage import json_codec, keys
from langgraph_redis_json.storage.json_codec import Encoded
from langgraph_redis_json.storage.keys import CheckpointIdentity, ThreadKeys

START = "__start__"
"""LangGraph's channel for the input of a run."""

FORMAT = 1
"""The format of the documents that this version writes, and the newest that it reads."""


class CheckpointDocument(NamedTuple):
    """The document of a checkpoint.

    Attributes:
        text: its JSON text.
        shared_bytes: how many bytes at its beginning the thread document begins with too; 0 if
            this is not a root checkpoint.
        inherited: the blobs that it refers to if an earlier checkpoint has stored them: entry ->
            the JSON member of its channel values.
        has_deltas: whether it has delta channels.
    """

    text: bytes
    shared_bytes: int
    inherited: dict[str, bytes]
    has_deltas: bool


def build_checkpoint(
    thread: ThreadKeys,
    identity: CheckpointIdentity,
    parent_checkpoint_id: str | None,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: Mapping[str, Any],
    channel_values: Mapping[str, bytes],
    serde: SerializerProtocol,
    searchable: int = 0,
) -> CheckpointDocument:
    """The document of a checkpoint.

    Args:
        thread: the keys of its thread.
        identity: the checkpoint.
        parent_checkpoint_id: of its parent, if it has one.
        checkpoint: LangGraph's checkpoint.
        metadata: LangGraph's metadata.
        new_versions: the channels that changed.
        channel_values: channel -> the JSON text that stands for its value.
        serde: the saver's serializer.
        searchable: `MessageSearch.level` if all its messages have documents, else 0.
    """
    rest_of_checkpoint: dict[str, Any] = {**checkpoint}
    rest_of_checkpoint.pop("channel_values", None)
    if type(checkpoint["id"]) is str:  # then it is the checkpoint_id
        del rest_of_checkpoint["id"]
    # Old versions of LangGraph kept state here. It is as private as the channels.
    sends = checkpoint.get("pending_sends")
    if sends:
        del rest_of_checkpoint["pending_sends"]
    indexed, others = keys.split_metadata(metadata)
    tokens = [
        keys.thread_token(identity.thread_id),
        keys.namespace_token(identity.checkpoint_ns),
        *keys.metadata_tokens(metadata),
    ]
    metadata_text, checkpoint_text = _json_objects((indexed, rest_of_checkpoint), serde)
    deltas, inherited = _delta_channels(
        thread, identity, checkpoint, metadata, new_versions, channel_values
    )
    # The thread document has these members too.
    shared: dict[str, Any] = {
        "format": FORMAT,
        "thread_id": identity.thread_id,
        "checkpoint_id": identity.checkpoint_id,
        **created_at(checkpoint.get("ts")),
        "metadata": orjson.Fragment(metadata_text),
        "tokens": ",".join(tokens),
    }
    if others:
        [text] = _json_objects((others,), serde)
        shared["other_metadata"] = orjson.Fragment(text)
    shared["has_next"] = _has_next(checkpoint)  # thread_document.lua looks for it at the end
    own: dict[str, Any] = {"checkpoint_ns": identity.checkpoint_ns}
    if parent_checkpoint_id is not None:
        own["parent_checkpoint_id"] = parent_checkpoint_id
    if deltas:
        own["delta_channels"] = deltas
    v = checkpoint.get("v")
    if parent_checkpoint_id is not None and type(v) is int and v < 4:
        # LangGraph kept the tasks among the parent's writes, so scripts read these too.
        own["tasks_in_parent"] = True
    if searchable:
        own["searchable"] = searchable
    # Nobody searches the version maps: as a JSON string they take half the memory of a tree.
    own["checkpoint"] = checkpoint_text.decode()
    if sends:
        encoded = json_codec.encode(*serde.dumps_typed(sends), serde)
        own["pending_sends"] = orjson.Fragment(encoded.text())
    # This member is the last one, because store.lua adds the inherited channel values to it.
    own["channel_values"] = {
        channel: orjson.Fragment(text) for channel, text in channel_values.items()
    }
    first, second = orjson.dumps(shared), orjson.dumps(own)
    shared_bytes = 0 if identity.checkpoint_ns else len(first) - 1
    return CheckpointDocument(
        b"%s,%s" % (first[:-1], second[1:]), shared_bytes, inherited, bool(deltas)
    )


def _has_next(checkpoint: Checkpoint) -> bool:
    """Whether the graph has tasks to run after this checkpoint: an edge leads to a node
    (``branch:to:NODE``), there are tasks of `Send`, or an input that no superstep has read."""
    for channel, value in (checkpoint.get("channel_values") or {}).items():
        if channel.startswith("branch:to:") or channel == START or (channel == TASKS and value):
            return True
    return False


def _delta_channels(
    thread: ThreadKeys,
    identity: CheckpointIdentity,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: Mapping[str, Any],
    channel_values: Mapping[str, bytes],
) -> tuple[list[str], dict[str, bytes]]:
    """The delta channels without a value in this checkpoint, and the blobs that may hold it.

    LangGraph passes the value of a DeltaChannel only where it takes a snapshot, and expects the
    value again wherever the channel has the same version.
    """
    deltas: list[str] = []
    inherited: dict[str, bytes] = {}
    counters = metadata.get("counters_since_delta_snapshot")
    versions = checkpoint["channel_versions"]
    for channel in counters if isinstance(counters, Mapping) else ():
        if channel in versions and channel not in channel_values:
            deltas.append(channel)
            if channel not in new_versions:
                entry = keys.blob_entry(identity.checkpoint_ns, channel, versions[channel])
                member = orjson.dumps({channel: {"blob": thread.key(entry)}})
                inherited[entry] = member[1:-1]
    return deltas, inherited


def build_blob(identity: CheckpointIdentity, channel: str, version: Any, value: Encoded) -> bytes:
    """The document of a blob."""
    head = {
        "format": FORMAT,
        "thread_id": identity.thread_id,
        "checkpoint_ns": identity.checkpoint_ns,
        "channel": channel,
        "version": str(version),
    }
    return value.text(b'%s,"value":' % orjson.dumps(head)[:-1], b"}")


def build_log(identity: CheckpointIdentity, channel: str, items: Sequence[bytes]) -> bytes:
    """The document of a new log with its first items, in the form of `channels.encode_item`."""
    head = {
        "format": FORMAT,
        "thread_id": identity.thread_id,
        "checkpoint_ns": identity.checkpoint_ns,
        "channel": channel,
    }
    return b'%s,"items":[%s]}' % (orjson.dumps(head)[:-1], b",".join(items))


def build_writes(
    writes: Sequence[tuple[str, Any]], task_id: str, task_path: str, serde: SerializerProtocol
) -> dict[str, bytes]:
    """The members of the document of pending writes: ``<digest of the task>:<index>`` -> JSON
    text. client/scripts/put_writes.lua builds the document around them.

    The index of a write is its place in the sequence; for special channels (errors, interrupts …)
    it is the number in LangGraph's WRITES_IDX_MAP. An ordinary write is one JSON string, because a
    tree takes three times the memory. A special write, which people search, is a tree.
    """
    task = keys.digest(task_id)
    found: dict[str, bytes] = {}
    for place, (channel, value) in enumerate(writes):
        encoded = json_codec.encode(*serde.dumps_typed(value), serde)
        write = orjson.dumps(
            {
                "task_id": task_id,
                "task_path": task_path,
                "channel": channel,
                "value": orjson.Fragment(encoded.text()),
            }
        )
        index = WRITES_IDX_MAP.get(channel, place)
        found[f"{task}:{index}"] = write if index < 0 else orjson.dumps(write.decode())
    return found


def references(thread: ThreadKeys, checkpoint: Mapping[str, Any]) -> dict[str, int]:
    """The blobs and logs that a checkpoint's document refers to: entry -> how many items it must
    have, 0 for a blob.

    Raises:
        ValueError: if it refers to anything else.
    """
    found: dict[str, int] = {}
    for stored in filter(None, checkpoint["channel_values"].values()):
        if "blob" in stored:
            found[thread.entry(stored["blob"])] = 0
        for key, _, stop, *_ in stored.get("log", ()):
            entry = thread.entry(key)
            found[entry] = max(stop, found.get(entry, 0))
    return found


def moved_to_thread(
    fields: dict[str, Any],
    thread_id: str,
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """The same document, of any kind, for another thread.

    Args:
        fields: the parsed document.
        thread_id: the other thread.
        renamed: the keys that a checkpoint refers to -> their keys in the other thread.
    """
    if "tokens" in fields:
        _, *others = fields["tokens"].split(",")
        fields["tokens"] = ",".join([keys.thread_token(thread_id), *others])
    for stored in filter(None, fields["channel_values"].values()) if renamed else ():
        if "blob" in stored:
            stored["blob"] = renamed[stored["blob"]]
        if "log" in stored:
            stored["log"] = [[renamed[key], *ends] for key, *ends in stored["log"]]
    fields["thread_id"] = thread_id
    return orjson.dumps(fields)


def moved_to_prefix(fields: dict[str, Any], old: str, new: str) -> bytes:
    """A parsed checkpoint for another key prefix: the keys that it refers to begin with that."""

    def moved(key: Any) -> Any:
        is_own = isinstance(key, str) and key.startswith(old)
        return new + key[len(old) :] if is_own else key

    for stored in filter(None, fields["channel_values"].values()):
        if "blob" in stored:
            stored["blob"] = moved(stored["blob"])
        if "log" in stored:
            stored["log"] = [[moved(key), *ends] for key, *ends in stored["log"]]
    return orjson.dumps(fields)


def created_at(timestamp: Any) -> dict[str, int]:
    """The member created_at, in milliseconds; no member if this is not a time."""
    try:
        moment = datetime.fromisoformat(timestamp)
    except (TypeError, ValueError):
        return {}
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return {"created_at": int(moment.timestamp() * 1000)}


def _json_objects(mappings: Sequence[Mapping[str, Any]], serde: SerializerProtocol) -> list[bytes]:
    """Mappings as JSON objects. A member that plain JSON does not hold exactly is
    ``{"$stored": stored value}``."""
    serde = json_codec.readable_serde(serde)
    # Nearly always all members are plain. One proof for all takes half the time.
    plain = json_codec.plain(*serde.dumps_typed([*map(dict, mappings)]))
    if plain is not None:
        found = [*map(orjson.dumps, plain)]
        if b'{"$stored":' not in b"".join(found):
            return found
    return [_json_object(mapping, serde) for mapping in mappings]


def _json_object(mapping: Mapping[str, Any], serde: SerializerProtocol) -> bytes:
    members: dict[str, orjson.Fragment] = {}
    for key, value in mapping.items():
        encoded = json_codec.encode(*serde.dumps_typed(value))
        is_plain = encoded.form == "json" and not encoded.content.startswith(b'{"$stored":')
        members[key] = orjson.Fragment(
            encoded.content if is_plain else b'{"$stored":%s}' % encoded.text()
        )
    return orjson.dumps(members)

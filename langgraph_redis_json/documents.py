"""LangGraph's types -> documents. `docs/documents.md` shows a whole one of each kind.

What reads them back is in `loading.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson
from langgraph.checkpoint.base import WRITES_IDX_MAP, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_redis_json import filters, keys, values
from langgraph_redis_json.keys import CheckpointName

FORMAT = 1
"""The form of documents that this version writes, and the newest that it reads."""


class CheckpointDocument(NamedTuple):
    """What a ``put`` stores of the checkpoint itself.

    Attributes:
        document: the JSON text of the checkpoint.
        summary: how many bytes of it the thread's document begins with, if this is the newest
            root checkpoint; 0 if it is none of the root's.
        inherited: blobs that it refers to if an earlier checkpoint has brought them, entry ->
            JSON member of its channel values.
    """

    document: bytes
    summary: int
    inherited: dict[str, bytes]


def build_checkpoint(
    name: CheckpointName,
    parent_checkpoint_id: str | None,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: Mapping[str, Any],
    channel_values: Mapping[str, bytes],
    serde: SerializerProtocol,
) -> CheckpointDocument:
    """A checkpoint as a document.

    Args:
        channel_values: the stored values, as they stand in it.
    """
    body: dict[str, Any] = {**checkpoint}
    body.pop("channel_values", None)
    if type(body["id"]) is str:  # then it is the checkpoint_id
        del body["id"]
    versions = checkpoint["channel_versions"]
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
    metadata_text, body_text = _objects((metadata, body), serde)
    # The thread's document has these members too.
    at_a_glance: dict[str, Any] = {
        "format": FORMAT,
        "thread_id": name.thread_id,
        "checkpoint_id": name.checkpoint_id,
        **_created_at(checkpoint["ts"]),
        **_typed_metadata(metadata),
        "metadata": orjson.Fragment(metadata_text),
        "tokens": ",".join(filters.metadata_tokens(metadata)),
    }
    rest: dict[str, Any] = {
        "checkpoint_ns": name.checkpoint_ns,
        "place": _place(name.thread_id, name.checkpoint_ns),
    }
    if parent_checkpoint_id is not None:
        rest["parent_checkpoint_id"] = parent_checkpoint_id
    if delta_channels:
        rest["delta_channels"] = delta_channels
    # Version maps are machinery that nobody searches: as text they take half the memory.
    rest["checkpoint"] = squeeze(body_text).decode()
    if sends is not None:
        rest["pending_sends"] = orjson.Fragment(encode(*serde.dumps_typed(sends), serde).text())
    # The last member: scripts/store.lua adds the inherited ones.
    rest["channel_values"] = {
        channel: orjson.Fragment(text) for channel, text in channel_values.items()
    }
    first, second = orjson.dumps(at_a_glance), orjson.dumps(rest)
    summary = 0 if name.checkpoint_ns else len(first) - 1
    return CheckpointDocument(b"%s,%s" % (first[:-1], second[1:]), summary, inherited)


def build_blob(name: CheckpointName, channel: str, version: Any, value: values.Encoded) -> bytes:
    head = {
        "format": FORMAT,
        "thread_id": name.thread_id,
        "checkpoint_ns": name.checkpoint_ns,
        "channel": channel,
        "version": str(version),
    }
    return value.text(b'%s,"value":' % orjson.dumps(head)[:-1], b"}")


def build_log(name: CheckpointName, channel: str, items: Sequence[bytes]) -> bytes:
    """A new log with its first items, as `logs.encode_item` gives them."""
    head = {
        "format": FORMAT,
        "thread_id": name.thread_id,
        "checkpoint_ns": name.checkpoint_ns,
        "channel": channel,
    }
    return b'%s,"items":[%s]}' % (orjson.dumps(head)[:-1], b",".join(items))


def build_writes(
    writes: Sequence[tuple[str, Any]], task_id: str, task_path: str, serde: SerializerProtocol
) -> dict[str, bytes]:
    """One task's pending writes, by digest of the task and index. The index of a write is its place
    in the sequence, or for special channels (errors, interrupts …) the one that LangGraph's
    WRITES_IDX_MAP gives. scripts/put_writes.lua builds the document around them.

    An ordinary write is one JSON text: as a tree it takes three times the memory. A special one,
    which people search, is a tree."""
    task = keys.digest(task_id)
    found: dict[str, bytes] = {}
    for place, (channel, value) in enumerate(writes):
        write = orjson.dumps(
            {
                "task_id": task_id,
                "task_path": task_path,
                "channel": channel,
                "value": orjson.Fragment(encode(*serde.dumps_typed(value), serde).text()),
            }
        )
        index = WRITES_IDX_MAP.get(channel, place)
        found[f"{task}:{index}"] = write if index < 0 else orjson.dumps(write.decode())
    return found


def references(checkpoint: Mapping[str, Any]) -> dict[str, int]:
    """The entries of the blobs and logs that a checkpoint's document refers to, and how many items
    they must have (0 for a blob)."""
    found: dict[str, int] = {}
    for stored in filter(None, checkpoint["channel_values"].values()):
        if "blob" in stored:
            found[stored["blob"]] = 0
        for log, _, stop in stored.get("log", ()):
            found[log] = max(stop, found.get(log, 0))
    for entry in found:
        if not isinstance(entry, str) or entry[:2] not in ("b:", "l:"):
            raise ValueError(f"{entry!r:.100} is no blob or log")
    return found


def retarget(
    fields: dict[str, Any], thread_id: str, names: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """The same document, of any kind, for another thread.

    Args:
        fields: the parsed document.
        thread_id: the other thread.
        names: what the entries that a checkpoint refers to are called there.
    """
    if "place" in fields:
        fields["place"] = _place(thread_id, fields["checkpoint_ns"])
    for stored in filter(None, fields["channel_values"].values()) if names else ():
        if "log" in stored:
            stored["log"] = [[names[log], start, stop] for log, start, stop in stored["log"]]
    fields["thread_id"] = thread_id
    return orjson.dumps(fields)


def encode(type_: str, data: bytes, serde: SerializerProtocol) -> values.Encoded:
    """What the saver's serializer wrote, as JSON."""
    if type_ == "msgpack" and not writes_msgpack(serde):
        return values.opaque(type_, data)
    return values.encode(type_, data)


def writes_msgpack(serde: SerializerProtocol) -> bool:
    """Whether what the serializer calls msgpack is LangGraph's. Another's may be anything, and
    ormsgpack before 1.13.1 can be made to take all memory by what only looks like msgpack."""
    return type(serde).dumps_typed is JsonPlusSerializer.dumps_typed


_ZEROS = b"0" * 24


_OTHER_QUOTES = bytes.maketrans(b"\"'", b"'\"")


def squeeze(text: bytes) -> bytes:
    """JSON text to stand in a JSON text: with single quotes, which need no backslashes there, and
    without most of the zeros that LangGraph's versions begin with. ``~0`` stands for 24 of them
    where a string begins, ``~~`` for a tilde."""
    shorter = text.replace(b'"~', b'"~~').replace(b'"' + _ZEROS, b'"~0')
    return shorter.translate(_OTHER_QUOTES)


def expand(text: bytes) -> bytes:
    """The text that `squeeze` made shorter."""
    found = text.translate(_OTHER_QUOTES)
    return found.replace(b'"~0', b'"' + _ZEROS).replace(b'"~~', b'"~')


def _place(thread_id: str, checkpoint_ns: str) -> str:
    return f"{filters.thread_token(thread_id)},{filters.namespace_token(checkpoint_ns)}"


def _typed_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    # The index refuses a whole document for one field of another type than the schema's.
    fields = {"source": str, "run_id": str, "step": int}
    return {key: metadata[key] for key, kind in fields.items() if type(metadata.get(key)) is kind}


def _created_at(timestamp: str) -> dict[str, int]:
    """The member created_at, in milliseconds; none if this is no time."""
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return {}
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return {"created_at": int(moment.timestamp() * 1000)}


def _objects(mappings: Sequence[Mapping[str, Any]], serde: SerializerProtocol) -> list[bytes]:
    """Mappings as JSON objects. A member that is not exact as plain JSON is
    ``{"$stored": stored value}``."""
    serde = readable_serde(serde)
    # Nearly always all are exact: to prove them together takes half the time.
    plain = values.plain(*serde.dumps_typed([dict(mapping) for mapping in mappings]))
    if plain is not None:
        found = [orjson.dumps(tree) for tree in plain]
        if b'{"$stored":' not in b"".join(found):
            return found
    return [_object(mapping, serde) for mapping in mappings]


def _object(mapping: Mapping[str, Any], serde: SerializerProtocol) -> bytes:
    members: dict[str, orjson.Fragment] = {}
    for key, value in mapping.items():
        encoded = values.encode(*serde.dumps_typed(value))
        plain = encoded.form == "json" and not encoded.content.startswith(b'{"$stored":')
        members[key] = orjson.Fragment(
            encoded.content if plain else b'{"$stored":%s}' % encoded.text()
        )
    return orjson.dumps(members)


def readable_serde(serde: SerializerProtocol) -> SerializerProtocol:
    """What writes metadata: LangGraph's own serializer, never a cipher or a format of the
    user's, for metadata is there to be searched; with the user's rules for types if possible."""
    if type(serde) is JsonPlusSerializer:
        return serde
    if isinstance(serde, EncryptedSerializer):
        return readable_serde(serde.serde)
    plain = JsonPlusSerializer()
    if isinstance(serde, JsonPlusSerializer):
        plain.__dict__.update(serde.__dict__)
    return plain

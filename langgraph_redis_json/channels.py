"""Channel values -> what stands in a checkpoint, and what is stored beside it.

A small value stands in the checkpoint itself. A large list goes item by item to logs, any other
large value to a blob; both are stored once for all checkpoints that hold them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import TASKS, _DeltaSnapshot

from langgraph_redis_json import keys, logs
from langgraph_redis_json.documents import build_blob, build_log, encode, writes_msgpack
from langgraph_redis_json.keys import CheckpointName
from langgraph_redis_json.memory import LARGE, Known
from langgraph_redis_json.values import Dumped

INLINE = 512
"""Bytes up to which a channel value stands in each checkpoint that has it."""


@dataclass
class StoredChannels:
    """What a ``put`` does with channel values.

    Attributes:
        texts: channel -> the stored value in the checkpoint.
        documents: blobs and new logs, entry -> JSON text.
        aside: blobs that are `LARGE`, entry -> JSON text.
        appended: log entry -> its length before, and the JSON texts of new items.
        expected: blobs and logs that must be there already, and how many items they must have
            (0 for a blob).
        known: what is known of the channels when all this is stored.
    """

    texts: dict[str, bytes] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    aside: dict[str, bytes] = field(default_factory=dict)
    appended: dict[str, tuple[int, list[bytes]]] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)


def store_channels(
    name: CheckpointName,
    checkpoint: Checkpoint,
    new_versions: Mapping[str, Any],
    serde: SerializerProtocol,
    known: Mapping[str, Known],
    missing: Collection[str],
) -> StoredChannels:
    """Decide where the values of a checkpoint's channels go.

    Args:
        name: the checkpoint.
        checkpoint: its channels' values and versions.
        new_versions: the channels that changed.
        serde: the saver's serializer.
        known: what is remembered of the channels.
        missing: entries that are known not to be on the server.
    """
    stored = StoredChannels()
    for channel, value in (checkpoint.get("channel_values") or {}).items():
        version = checkpoint["channel_versions"].get(channel, name.checkpoint_id)
        last = known.get(channel)
        if last is not None and last.version == version and channel not in new_versions:
            _expect(stored, last.needed())
        else:
            type_, data = serde.dumps_typed(value)
            is_null = type_ == "null" and not data
            # The tasks of a superstep are others in the next one: no list that grows.
            may_grow = type_ == "msgpack" and len(data) > INLINE and channel != TASKS
            items = logs.read(data, last) if may_grow and writes_msgpack(serde) else None
            if is_null:
                # As an object of its own it would take a tenth of a small checkpoint.
                last = Known(version, b"null")
            elif items is not None:
                last = _store_list(stored, name, channel, version, data, items, last)
            else:
                encoded = encode(type_, data, serde)
                if len(encoded.content) > INLINE or isinstance(value, _DeltaSnapshot):
                    entry = keys.blob_entry(name.checkpoint_ns, channel, version)
                    is_large = len(encoded.content) > LARGE
                    text = orjson.dumps({"blob": entry})
                    dumped = Dumped(type_, data)
                    last = Known(version, text, entry, dumped=dumped, is_large=is_large)
                    if channel in new_versions or entry in missing:
                        blobs = stored.aside if is_large else stored.documents
                        blobs[entry] = build_blob(name, channel, version, encoded)
                    else:
                        stored.expected[entry] = 0
                else:
                    last = Known(version, encoded.text())
        stored.texts[channel] = last.text
        stored.known[channel] = last
    return stored


def _store_list(
    stored: StoredChannels,
    name: CheckpointName,
    channel: str,
    version: Any,
    data: bytes,
    items: logs.Items,
    last: Known | None,
) -> Known:
    layout = logs.lay_out(items.digests, last, name.checkpoint_ns, channel)
    lengths = {
        part.log: last.lengths[part.log]
        for part in layout.slices
        if last is not None and part.log in last.lengths
    }
    if layout.log is not None:
        first = len(items.digests) - len(items.new)
        if layout.new[0] < first:  # all is written anew
            items, first = logs.read(data) or items, 0
        new = [logs.encode_item(items.new[number - first]) for number in layout.new]
        if layout.length:
            stored.appended[layout.log] = layout.length, new
        else:
            stored.documents[layout.log] = build_log(name, channel, new)
        lengths.pop(layout.log, None)
        lengths[layout.log] = layout.length + len(new)  # the last one is added to next
    text = orjson.dumps({"log": [list(part) for part in layout.slices]})
    known = Known(
        version,
        text,
        None,
        layout.slices,
        items.digests,
        lengths,
        Dumped("msgpack", data),
        items.size,
    )
    needed = known.needed()
    needed.pop(layout.log or "", None)
    _expect(stored, needed)
    return known


def _expect(stored: StoredChannels, needed: Mapping[str, int]) -> None:
    for entry, length in needed.items():
        stored.expected[entry] = max(length, stored.expected.get(entry, 0))


def without(
    known: Mapping[str, Known], missing: Collection[str], grown: Collection[str]
) -> dict[str, Known]:
    """What is left of what was known.

    Args:
        known: channel -> what was known of it.
        missing: blobs and logs that are not there, or not whole.
        grown: logs that others have added to: what is known of them still holds, but new items
            need a log of their own.
    """
    left: dict[str, Known] = {}
    for channel, last in known.items():
        if last.needed().keys().isdisjoint(missing):
            lengths = {log: last.lengths[log] for log in last.lengths if log not in grown}
            left[channel] = last._replace(lengths=lengths)
    return left

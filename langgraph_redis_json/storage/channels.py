"""Channel values -> where they are stored.

A value of up to `INLINE` bytes stands in the checkpoint itself. A larger list goes to logs item by
item, any other larger value to a blob. Both are stored once for all checkpoints that have them.

A log holds the items of a growing list. A checkpoint holds the list as slices of logs. The cache
tells which items are in a log already; only the others are sent, and go to the end of the log of
the last ones (`list_logs.py`). Under a cipher they are sent together (`encrypted_lists.py`).
"""

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.types import TASKS, _DeltaSnapshot

from langgraph_redis_json.storage import documents, encrypted_lists, json_codec, keys
from langgraph_redis_json.storage.cache import LARGE, StoredChannel
from langgraph_redis_json.storage.json_codec import Dumped
from langgraph_redis_json.storage.keys import CheckpointIdentity, ThreadKeys
from langgraph_redis_json.storage.list_logs import hashes_of, lay_out
from langgraph_redis_json.storage.messages import NewMessages

INLINE = 512
"""Bytes up to which a channel value stands in each checkpoint that has it."""

ITEM = 64
"""Bytes that the items of a list must have on average to be stored one by one."""

MOST_NEW = 500_000
"""A list with more new items is a blob: one command takes about a million arguments."""


@dataclass
class Storage:
    """How a put stores the values of a checkpoint's channels.

    Attributes:
        texts: channel -> the JSON text that stands for the value in the checkpoint's document.
        documents: blobs and new logs: entry -> JSON text.
        sent_separately: blobs that are `LARGE`: entry -> JSON text.
        appended: entry of a log -> its length before, and the JSON texts of new items or chunks.
        expected: entry of a blob or log that must exist -> how many items or chunks it must have, 0
            for a blob.
        channels: what the cache gets.
    """

    texts: dict[str, bytes] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    sent_separately: dict[str, bytes] = field(default_factory=dict)
    appended: dict[str, tuple[int, list[bytes]]] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    channels: dict[str, StoredChannel] = field(default_factory=dict)

    def expect(self, references: Mapping[str, int]) -> None:
        for entry, length in references.items():
            self.expected[entry] = max(length, self.expected.get(entry, 0))


def store(
    thread: ThreadKeys,
    identity: CheckpointIdentity,
    checkpoint: Checkpoint,
    new_versions: Mapping[str, Any],
    serde: SerializerProtocol,
    cached: Mapping[str, StoredChannel],
    missing: Collection[str] = (),
    messages: NewMessages | None = None,
) -> Storage:
    """Decide where the values of a checkpoint's channels are stored.

    Args:
        thread: the keys of its thread.
        identity: the checkpoint.
        checkpoint: its channels' values and versions.
        new_versions: the channels that changed.
        serde: the saver's serializer.
        cached: how the values of the last checkpoint are stored.
        missing: entries of blobs and logs that the server does not have.
        messages: gets the messages that may have no documents yet; None without message_search.
    """
    storage = Storage()
    cipher = encrypted_lists.cipher_of(serde)
    inner = serde if cipher is None else cipher.serde
    versions = checkpoint["channel_versions"]
    for channel, value in (checkpoint.get("channel_values") or {}).items():
        version = versions.get(channel, identity.checkpoint_id)
        last = cached.get(channel)
        if last is not None and last.version == version and channel not in new_versions:
            if last.blob:
                storage.expected[last.blob] = 0
            elif last.slices:
                storage.expect(last.references())
            storage.texts[channel], storage.channels[channel] = last.text, last
            if messages is not None and not messages.known:
                _add_all_messages(messages, *serde.dumps_typed(value), serde)
            continue
        type_, data = inner.dumps_typed(value)
        data = bytes(data)  # a bytearray is the caller's own, who may change it later
        items = None
        # The tasks of a superstep are not those of the last one: that list does not grow.
        if type_ == "msgpack" and len(data) > INLINE and channel != TASKS:
            items = _read_list(data, last) if json_codec.writes_msgpack(inner) else None
        is_null = type_ == "null" and not data
        if cipher is not None and items is None:
            # An edge to a node has no value: there is nothing to hide.
            is_null = is_null and channel.startswith("branch:to:")
            if not is_null:
                type_, data = encrypted_lists.encrypt(cipher, type_, data)
        if is_null:
            # A stored value of its own would take a tenth of a small checkpoint.
            stored = StoredChannel(version, b"null")
        elif items is not None and cipher is not None:
            stored = _store_encrypted_list(
                storage, thread, identity, channel, version, data, items, last, cipher
            )
        elif items is not None:
            stored = _store_list(
                storage, thread, identity, channel, version, data, items, last, messages
            )
        else:
            encoded = json_codec.encode(type_, data, serde)
            if len(encoded.content) <= INLINE and not isinstance(value, _DeltaSnapshot):
                stored = StoredChannel(version, encoded.text(), dumped=Dumped(type_, data))
            else:
                entry = keys.blob_entry(identity.checkpoint_ns, channel, version)
                text = orjson.dumps({"blob": thread.key(entry)})
                is_large = len(encoded.content) > LARGE
                stored = StoredChannel(version, text, entry, is_large, dumped=Dumped(type_, data))
                if channel in new_versions or entry in missing:
                    blobs = storage.sent_separately if is_large else storage.documents
                    blobs[entry] = documents.build_blob(identity, channel, version, encoded)
                else:
                    storage.expected[entry] = 0
            if messages is not None:
                known = array("q") if last is None else last.messages
                stored = stored._replace(messages=messages.add_value(encoded, known))
        storage.texts[channel], storage.channels[channel] = stored.text, stored
    return storage


def without(
    cached: Mapping[str, StoredChannel],
    missing: Collection[str],
    changed_by_others: Collection[str] = (),
) -> dict[str, StoredChannel]:
    """The cached channels that are still valid.

    Args:
        cached: channel -> how its value is stored.
        missing: entries of blobs and logs that are not on the server, or not whole.
        changed_by_others: entries of logs that other processes have added to. Their items are
            valid, but new items need another log.
    """
    valid: dict[str, StoredChannel] = {}
    for channel, stored in cached.items():
        if stored.references().keys().isdisjoint(missing):
            lengths = {
                log: length
                for log, length in stored.log_lengths.items()
                if log not in changed_by_others
            }
            valid[channel] = stored._replace(log_lengths=lengths)
    return valid


# ---- lists


class List(NamedTuple):
    """A list that the serializer wrote.

    Attributes:
        hashes: one for each of its items.
        new: the bytes of its last items; the items before are those of the cached list.
        size: how many bytes all items have.
    """

    hashes: "array[int]"
    new: list[bytes]
    size: int


def _read_list(data: bytes, cached: StoredChannel | None = None) -> List | None:
    """The items of a list; None if the data is not a list, or not worth a log.

    Args:
        data: the serializer's result.
        cached: the channel's last value. Of a list that begins with it only the new items are
            split off.
    """
    count, start = json_codec.length_and_start(data)
    if not start or len(data) < ITEM * count:
        return None
    before, new = array("q"), None
    if cached is not None and cached.begins(data, start):
        before, rest = cached.item_hashes, data[start + cached.items_size :]
        more = count - len(before)
        # A single new item needs no splitting.
        new = [rest] if more == 1 else json_codec.split(json_codec.list_head(more) + rest)
    else:
        new = json_codec.split(data)
    if new is None or len(new) > MOST_NEW:
        return None
    return List(before + hashes_of(new), new, len(data) - start)


def _all_items(data: bytes) -> list[bytes]:
    """The items of a list of any length. (A new log is one document, and a chunk one item, so
    `MOST_NEW` does not limit them.)"""
    return json_codec.split(data) or []


def _store_list(
    storage: Storage,
    thread: ThreadKeys,
    identity: CheckpointIdentity,
    channel: str,
    version: Any,
    data: bytes,
    items: List,
    last: StoredChannel | None,
    messages: NewMessages | None,
) -> StoredChannel:
    if last is not None and last.chunks:  # the list was encrypted until now
        last = None
    layout = lay_out(items.hashes, last, identity.checkpoint_ns, channel)
    if messages is not None and last is not None:
        old = last.item_hashes
        if items.hashes[: len(old)] != old:
            messages.dropped += len({*old}.difference(items.hashes))
    lengths: dict[str, int] = {}
    if last is not None:
        used = {log for log, _, _ in layout.slices}
        lengths = {log: length for log, length in last.log_lengths.items() if log in used}
    if layout.log is not None:
        known, first = items.new, len(items.hashes) - len(items.new)
        if layout.new[0] < first:  # all items are stored again
            known, first = _all_items(data), 0
        new = [json_codec.encode_item(known[number - first]) for number in layout.new]
        if layout.length:
            storage.appended[layout.log] = layout.length, new
        else:
            storage.documents[layout.log] = documents.build_log(identity, channel, new)
        if messages is not None and messages.known:
            messages.add_items(_unknown(items.hashes, layout.new, new, last))
        lengths.pop(layout.log, None)
        lengths[layout.log] = layout.length + len(new)  # the last one gets the next items
    if messages is not None and not messages.known:
        _add_all_messages(messages, "msgpack", data)
    text = orjson.dumps({"log": [[thread.key(log), *range_] for log, *range_ in layout.slices]})
    stored = StoredChannel(
        version,
        text,
        slices=layout.slices,
        item_hashes=items.hashes,
        log_lengths=lengths,
        dumped=Dumped("msgpack", data),
        items_size=items.size,
    )
    references = stored.references()
    references.pop(layout.log or "", None)
    storage.expect(references)
    return stored


def _store_encrypted_list(
    storage: Storage,
    thread: ThreadKeys,
    identity: CheckpointIdentity,
    channel: str,
    version: Any,
    data: bytes,
    items: List,
    last: StoredChannel | None,
    cipher: EncryptedSerializer,
) -> StoredChannel:
    layout = encrypted_lists.lay_out(items.hashes, last, identity.checkpoint_ns, channel)
    known, first = items.new, len(items.hashes) - len(items.new)
    if any(number < first for chunk in layout.new for number in chunk.items):
        known, first = _all_items(data), 0
    for log, number, numbers, stop in layout.new:
        texts = [known[item - first] for item in numbers]
        chunk = encrypted_lists.chunk_text(cipher, texts, stop)
        if number:
            storage.appended[log] = number, [chunk]
        else:
            storage.documents[log] = documents.build_log(identity, channel, [chunk])
    used = {log for log, _, _ in layout.slices}
    stored = StoredChannel(
        version,
        encrypted_lists.reference(thread, layout),
        slices=layout.slices,
        item_hashes=items.hashes,
        chunks={log: chunks for log, chunks in layout.chunks.items() if log in used},
        log_lengths={log: length for log, length in layout.lengths.items() if log in used},
        # The cache holds what the inner serializer wrote, which an EncryptedSerializer loads too.
        dumped=Dumped("msgpack", data),
        items_size=items.size,
    )
    references = stored.references()
    for log, *_ in layout.new:
        references.pop(log, None)
    storage.expect(references)
    return stored


def _unknown(
    hashes: "array[int]",
    numbers: Sequence[int],
    items: Sequence[bytes],
    last: StoredChannel | None,
) -> Sequence[bytes]:
    """Those of a list's stored items that its cached value does not have.

    Args:
        hashes: of all items of the list.
        numbers: of the stored items in the list.
        items: the stored items.
        last: how the channel's last value is stored.
    """
    # Only a list that is stored again as a whole stores items that it had before.
    if last is None or not last.slices or len(numbers) < len(hashes):
        return items
    known = {*last.item_hashes}
    return [
        item for number, item in zip(numbers, items, strict=True) if hashes[number] not in known
    ]


def _add_all_messages(
    messages: NewMessages, type_: str, data: bytes, serde: SerializerProtocol | None = None
) -> None:
    """Add all messages of a value, because some of them may have no documents."""
    if type_ != "msgpack" or (serde is not None and not json_codec.writes_msgpack(serde)):
        return
    items = json_codec.split(data)
    if items is not None:
        messages.add_items(map(json_codec.encode_item, items))
    else:
        messages.add_value(json_codec.encode(type_, data), array("q"))

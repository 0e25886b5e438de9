"""Channel values -> where they are stored.

A value of up to `INLINE` bytes stands in the checkpoint itself. A larger list goes to logs item by
item, any other larger value to a blob. Both are stored once for all checkpoints that have them.

A log holds the items of a growing list. A checkpoint holds the list as slices of logs. The cache
tells which items are in a log already; only the others are sent, and go to the end of the log of
the last ones.
"""

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import TASKS, _DeltaSnapshot

from langgraph_redis_json.storage import documents, json_codec, keys
from langgraph_redis_json.storage.cache import LARGE, SECRET, Slice, StoredChannel
from langgraph_redis_json.storage.json_codec import Dumped
from langgraph_redis_json.storage.keys import CheckpointIdentity, ThreadKeys
from langgraph_redis_json.storage.messages import NewMessages

INLINE = 512
"""Bytes up to which a channel value stands in each checkpoint that has it."""

ITEM = 64
"""Bytes that the items of a list must have on average to be stored one by one."""

MOST_SLICES = 16
"""A list in more slices is stored again as one slice."""

MOST_NEW = 500_000
"""A list with more new items is a blob: one command takes about a million arguments."""

UNUSED = 32
"""Items in the logs of a list that it need not use. A list that uses less than half of the others
gets a new log for its new items; one that uses less than a quarter is stored again. So the logs of
a list that is trimmed stay small, and old ones are deleted with the checkpoints that use them."""


@dataclass
class Storage:
    """How a put stores the values of a checkpoint's channels.

    Attributes:
        texts: channel -> the JSON text that stands for the value in the checkpoint's document.
        documents: blobs and new logs: entry -> JSON text.
        sent_separately: blobs that are `LARGE`: entry -> JSON text.
        appended: entry of a log -> its length before, and the JSON texts of new items.
        expected: entry of a blob or log that must exist -> how many items it must have, 0 for a
            blob.
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
        type_, data = serde.dumps_typed(value)
        data = bytes(data)  # a bytearray is the caller's own, who may change it later
        items = None
        # The tasks of a superstep are not those of the last one: that list does not grow.
        if type_ == "msgpack" and len(data) > INLINE and channel != TASKS:
            items = _read_list(data, last) if json_codec.writes_msgpack(serde) else None
        if type_ == "null" and not data:
            # A stored value of its own would take a tenth of a small checkpoint.
            stored = StoredChannel(version, b"null")
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


class Layout(NamedTuple):
    """Where the items of a list are, and what must be stored for it.

    Attributes:
        slices: all items, in order.
        log: the entry of the log that new items go to; None if there are none.
        length: how many items that log has before, 0 for a new log.
        new: the numbers of the new items in the list.
    """

    slices: list[Slice]
    log: str | None
    length: int
    new: Sequence[int]


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
        first = len(items.hashes) - len(items.new)
        if layout.new[0] < first:  # all items are stored again
            items, first = _read_list(data) or items, 0
        new = [json_codec.encode_item(items.new[number - first]) for number in layout.new]
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


def lay_out(
    found: "array[int]", cached: StoredChannel | None, checkpoint_ns: str, channel: str
) -> Layout:
    """Decide where the items of a list are stored.

    Args:
        found: the hashes of its items.
        cached: how the channel's last value is stored.
        checkpoint_ns, channel: whose list it is.
    """
    count = len(found)
    if cached is None or not cached.slices:
        return _in_new_log(count, checkpoint_ns, channel)
    # Nearly every list is the last one with more items at its end, which is the end of a log.
    old = len(cached.item_hashes)
    continued = found[:old] == cached.item_hashes
    *slices, (log, start, stop) = cached.slices
    if continued and cached.log_lengths.get(log) == stop <= 2 * count + UNUSED:
        slices.append(Slice(log, start, stop + count - old))
        if len(slices) <= MOST_SLICES:
            new = range(old, count)
            return Layout(slices, log if new else None, stop if new else 0, new)
    runs = _runs(found, cached, continued)
    used = {run.log for run in runs if run is not None}
    lengths = {log: length for log, length in cached.log_lengths.items() if log in used}
    if not used or sum(lengths.values()) > 4 * count + UNUSED:
        return _in_new_log(count, checkpoint_ns, channel)
    log = next((log for log in reversed(lengths) if lengths[log] <= 2 * count + UNUSED), "")
    length = lengths.get(log, 0)
    layout = _fill(runs, log or keys.new_log_entry(checkpoint_ns, channel), length)
    if len(layout.slices) > MOST_SLICES:
        return _in_new_log(count, checkpoint_ns, channel)
    return layout


def _in_new_log(count: int, checkpoint_ns: str, channel: str) -> Layout:
    log = keys.new_log_entry(checkpoint_ns, channel)
    return Layout([Slice(log, 0, count)], log, 0, range(count))


def _runs(found: "array[int]", cached: StoredChannel, continued: bool) -> list[Slice | None]:
    """The list as slices of stored items, and None for each item that is not stored."""
    if continued:
        return [*cached.slices, *[None] * (len(found) - len(cached.item_hashes))]
    places = [(log, number) for log, start, stop in cached.slices for number in range(start, stop)]
    place_of = dict(zip(cached.item_hashes, places, strict=True))
    runs: list[Slice | None] = []
    for item in found:
        place = place_of.get(item)
        if place is None:
            runs.append(None)
            continue
        log, number = place
        last = runs[-1] if runs else None
        if last is not None and last.log == log and last.stop == number:
            runs[-1] = Slice(log, last.start, number + 1)
        else:
            runs.append(Slice(log, number, number + 1))
    return runs


def _fill(runs: Sequence[Slice | None], log: str, length: int) -> Layout:
    """The runs, with the items that are not stored at the end of a log.

    Args:
        log: its entry.
        length: how many items it has, 0 for a new log.
    """
    slices: list[Slice] = []
    new: list[int] = []
    number, following = 0, length
    for run in runs:
        if run is None:
            new.append(number)
            run = Slice(log, following, following + 1)
            following += 1
        number += run.stop - run.start
        if slices and slices[-1].log == run.log and slices[-1].stop == run.start:
            slices[-1] = Slice(run.log, slices[-1].start, run.stop)
        else:
            slices.append(run)
    return Layout(slices, log if new else None, length if new else 0, new)


def hashes_of(items: Sequence[bytes]) -> "array[int]":
    """One number for each item."""
    return array("q", [hash(SECRET + item) for item in items])

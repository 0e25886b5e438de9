"""Lists under a cipher: where their items are stored, and how they are read.

The items that a put adds to a list are encrypted together, as one *chunk*: an item of a log. When a
log has `MOST_CHUNKS` chunks, their items are encrypted again as one chunk of another log, and so
on: so an item is encrypted a few times in its life, and a list of any length consists of few
chunks. A full log is deleted with the last checkpoint that refers to it.

A slice of such a list counts items, as any slice does: each chunk says where it stops. The
reference in the checkpoint's document also has the numbers of the chunks.
"""

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from langgraph_redis_json.storage import json_codec, keys
from langgraph_redis_json.storage.cache import Slice, Span, StoredChannel, chunks_with
from langgraph_redis_json.storage.json_codec import Dumped
from langgraph_redis_json.storage.keys import ThreadKeys
from langgraph_redis_json.storage.list_logs import MOST_SLICES, UNUSED, fill, runs_of

MOST_CHUNKS = 32
"""Chunks of a log. More of them would make a cold read slower, because to decrypt a chunk takes a
while, however small it is. With fewer, the items are encrypted and stored again more often."""


def cipher_of(serde: SerializerProtocol) -> EncryptedSerializer | None:
    """The serializer, if it is LangGraph's EncryptedSerializer over LangGraph's own. The values of
    any other cipher are stored as a whole."""
    if (
        type(serde).dumps_typed is EncryptedSerializer.dumps_typed
        and type(serde).loads_typed is EncryptedSerializer.loads_typed
        and isinstance(serde, EncryptedSerializer)
        and json_codec.writes_msgpack(serde.serde)
    ):
        return serde
    return None


def encrypt(serde: EncryptedSerializer, type_: str, data: bytes) -> Dumped:
    """What ``serde.dumps_typed`` returns for a value that its inner serializer has dumped."""
    name, encrypted = serde.cipher.encrypt(data)
    return Dumped(f"{type_}+{name}", encrypted)


class NewChunk(NamedTuple):
    """A chunk that must be stored.

    Attributes:
        log: the entry of its log.
        number: its number in the log.
        items: the numbers of its items in the list.
        stop: the number, in the log, after its last item.
    """

    log: str
    number: int
    items: Sequence[int]
    stop: int


class ChunkLayout:
    """Where the items of a list are, and what must be stored for it.

    Attributes:
        slices: all items, in order.
        chunks: entry of a log -> its chunks, as far as they are known.
        lengths: entry of a log that only this saver has added to -> how many chunks it has.
        new: the chunks that must be stored.
    """

    def __init__(self, last: StoredChannel | None, checkpoint_ns: str, channel: str) -> None:
        self.slices = [*last.slices] if last is not None else []
        self.chunks = {**last.chunks} if last is not None else {}
        self.lengths = {**last.log_lengths} if last is not None else {}
        self.new: list[NewChunk] = []
        self._of = checkpoint_ns, channel

    def open_log(self) -> str | None:
        """The log of the last items, if it can take another chunk."""
        log = self.slices[-1].log if self.slices else ""
        return log if self._is_whole(log) and self.lengths[log] < MOST_CHUNKS else None

    def add(self, items: range) -> None:
        """Store the next items of the list as one chunk."""
        if not items:
            return
        log = self.open_log()
        if log is None and self.slices and self._is_whole(self.slices[-1].log):
            self._merge(self.slices[-1].log, items.start)
        log = log or self.new_log()
        start = self.stop_of(log)
        self.add_chunk(log, items)
        before = self.slices[-1] if self.slices else None
        if before is not None and before.log == log and before.stop == start:
            start = self.slices.pop().start
        self.slices.append(Slice(log, start, self.stop_of(log)))

    def add_chunk(self, log: str, items: Sequence[int]) -> None:
        """Store items of the list as the next chunk of a log."""
        start, number = self.stop_of(log), self.lengths[log]
        stop = start + len(items)
        self.chunks[log] = (*self.chunks[log], Span(number, start, stop))
        self.lengths[log] = number + 1
        self.new.append(NewChunk(log, number, items, stop))

    def new_log(self) -> str:
        log = keys.new_log_entry(*self._of)
        self.chunks[log], self.lengths[log] = (), 0
        return log

    def stop_of(self, log: str) -> int:
        """How many items a log has."""
        return self.chunks[log][-1].stop if self.chunks[log] else 0

    def items_to_read(self) -> int:
        """How many items the chunks have that hold the list."""
        found = 0
        for log, start, stop in self.slices:
            first, last = chunks_with(self.chunks[log], start, stop)
            found += sum(
                chunk.stop - chunk.start
                for chunk in self.chunks[log]
                if first <= chunk.number < last
            )
        return found

    def _is_whole(self, log: str) -> bool:
        """Whether the last chunk of a log is known."""
        chunks = self.chunks.get(log)
        if not chunks:
            return False
        return self.lengths.get(log) == chunks[-1].number + 1

    def _merge(self, log: str, stop: int) -> None:
        """Store the last items, which are in a full log, as one chunk of the log before.

        Args:
            log: the entry of the full log.
            stop: how many items the slices have.
        """
        count = 0
        while self.slices and self.slices[-1].log == log:
            _, first, last = self.slices.pop()
            count += last - first
        self.add(range(stop - count, stop))


def lay_out(
    found: "array[int]", last: StoredChannel | None, checkpoint_ns: str, channel: str
) -> ChunkLayout:
    """Decide where the items of a list are stored.

    Args:
        found: the hashes of its items.
        last: how the channel's last value is stored.
        checkpoint_ns, channel: whose list it is.
    """
    if last is not None and last.chunks:
        layout = _continued(found, last, ChunkLayout(last, checkpoint_ns, channel))
        is_short = 0 < len(layout.slices) <= MOST_SLICES
        if is_short and layout.items_to_read() <= 4 * len(found) + UNUSED:
            return layout
    layout = ChunkLayout(None, checkpoint_ns, channel)
    layout.add(range(len(found)))
    return layout


def _continued(found: "array[int]", last: StoredChannel, layout: ChunkLayout) -> ChunkLayout:
    """The layout of a list that has items of the last one."""
    old, count = len(last.item_hashes), len(found)
    runs = runs_of(found, last, continued=found[:old] == last.item_hashes)
    layout.slices = [run for run in runs if run is not None]
    new = len(runs) - len(layout.slices)
    if None not in runs[: len(layout.slices)]:  # all new items are at the end
        layout.add(range(count - new, count))
        return layout
    log = layout.open_log() or layout.new_log()
    filled = fill(runs, log, layout.stop_of(log))
    layout.add_chunk(log, filled.new)
    layout.slices = filled.slices
    return layout


def chunk_text(serde: EncryptedSerializer, items: Sequence[bytes], stop: int) -> bytes:
    """The JSON text of a chunk.

    Args:
        serde: the saver's serializer.
        items: the inner serializer's bytes of each item.
        stop: the number, in the log, after the last item.
    """
    encrypted = encrypt(serde, "msgpack", json_codec.join(items))
    return json_codec.opaque(*encrypted).text(b'{"stop":%d,"chunk":' % stop, b"}")


class CannotDecryptError(Exception):
    """The serializer cannot decrypt a chunk. The cause is what it raises for any such value."""


def open_chunk(stored: Any, serde: SerializerProtocol) -> tuple[int, list[bytes]]:
    """The number, in the log, of the first item of a chunk, and its items.

    Raises:
        CannotDecryptError: see there.
        ValueError, KeyError, TypeError: if this is not a chunk, because somebody has altered it.
    """
    stop, (type_, data) = stored["stop"], json_codec.decode(stored["chunk"])
    cipher, name = cipher_of(serde), type_.removeprefix("msgpack+")
    if cipher is None or name == type_:
        raise CannotDecryptError from NotImplementedError(f"Unknown serialization type: {type_}")
    try:
        decrypted = cipher.cipher.decrypt(name, data)
    except json_codec.UNREADABLE as error:
        raise CannotDecryptError from error
    items = json_codec.split(decrypted)
    if items is None or type(stop) is not int or stop < len(items):
        raise ValueError("one of its chunks is not a list of items")
    return stop - len(items), items


def reference(thread: ThreadKeys, layout: ChunkLayout) -> bytes:
    """The JSON text that stands for a list in the checkpoint's document."""
    slices = [
        [thread.key(log), *chunks_with(layout.chunks[log], start, stop), start, stop]
        for log, start, stop in layout.slices
    ]
    return orjson.dumps({"log": slices})

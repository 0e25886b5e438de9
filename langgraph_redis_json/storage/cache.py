"""The cache of a saver: what it knows of the checkpoints that it stored or read last.

No answer depends on the cache alone. The scripts check on the server that everything a put builds
on is still there, and a put sends again what the cache does not know.
"""

from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from secrets import token_bytes
from threading import Lock
from types import MappingProxyType
from typing import Any, NamedTuple

from langgraph_redis_json.storage.json_codec import Dumped

MOST_CHECKPOINTS = 2_000
"""Checkpoints in the cache."""

MOST_OF_NAMESPACE = 4
"""Checkpoints of one namespace of a thread in the cache."""

MOST_BYTES = 32 * 1024 * 1024
"""Memory of the cache. The values of one checkpoint may take a quarter of it."""

CHANNEL_BYTES = 700
"""Memory of a channel besides its text and the hashes of its items."""

LARGE = 65_536
"""Bytes from which a blob is sent and read by a command of its own, in the same trip. A script
would copy the blob several times."""


class Slice(NamedTuple):
    """Items of a log, from `start` up to, not with, `stop`. `log` is an entry."""

    log: str
    start: int
    stop: int


class Span(NamedTuple):
    """A chunk of a log (`encrypted_lists.py`): its number, and its items, from `start` up to, not
    with, `stop`."""

    number: int
    start: int
    stop: int


def chunks_with(chunks: Sequence[Span], start: int, stop: int) -> tuple[int, int]:
    """The numbers of the chunks that hold items: from the first, up to, not with, the second."""
    found = [chunk.number for chunk in chunks if chunk.start < stop and start < chunk.stop]
    return found[0], found[-1] + 1


class StoredChannel(NamedTuple):
    """How the value of a channel is stored.

    Attributes:
        version: the version of the channel.
        text: the JSON text that stands for the value in the checkpoint's document.
        blob: the entry of the blob that the text refers to, or None.
        is_large: whether that blob is `LARGE`.
        slices: the slices of logs that the text refers to.
        item_hashes: one number for each item of the slices.
        chunks: entry of a log -> its chunks, as far as they are known, of an encrypted list.
        log_lengths: entry -> number of items, or of chunks, for each log that new items may be
            added to: as far as the saver knows, nobody else has added to it.
        dumped: the serializer's result for a blob or list; None where it takes too much memory.
        items_size: how many bytes at the end of that result are the items of a list.
        items_hash: of these bytes, where `dumped` is None.
        messages: one number for each message of a value without slices; see `messages.py`.
    """

    version: Any
    text: bytes
    blob: str | None = None
    is_large: bool = False
    slices: Sequence[Slice] = ()
    item_hashes: "array[int]" = array("q")
    chunks: Mapping[str, Sequence[Span]] = MappingProxyType({})
    log_lengths: Mapping[str, int] = MappingProxyType({})
    dumped: Dumped | None = None
    items_size: int = 0
    items_hash: int = 0
    messages: "array[int]" = array("q")

    def references(self) -> dict[str, int]:
        """The blobs and logs that must exist: entry -> number of items, or of chunks; 0 for a
        blob."""
        if self.blob:
            return {self.blob: 0}
        found: dict[str, int] = {}
        for log, start, stop in self.slices:
            if log in self.chunks:
                _, stop = chunks_with(self.chunks[log], start, stop)
            found[log] = max(stop, found.get(log, 0))
        return found

    def begins(self, data: bytes, start: int) -> bool:
        """Whether the items of this list stand in the data from `start` on."""
        stop = start + self.items_size
        if self.dumped is not None:
            old = self.dumped.data
            return data.startswith(memoryview(old)[len(old) - self.items_size :], start)
        same_hash = hash_of(memoryview(data)[start:stop]) == self.items_hash
        return self.items_size > 0 and same_hash

    def without_value(self) -> "StoredChannel":
        """The same without the serializer's result."""
        if self.dumped is None:
            return self
        data = self.dumped.data
        items = memoryview(data)[len(data) - self.items_size :]
        return self._replace(dumped=None, items_hash=hash_of(items))


SECRET = token_bytes(16)
"""Nobody can make two items collide, even where PYTHONHASHSEED is known."""


def hash_of(data: bytes | memoryview) -> int:
    """A number that stands for these bytes in this process."""
    return hash(SECRET + data)


class CachedCheckpoint(NamedTuple):
    """A checkpoint that the saver has stored or read.

    Attributes:
        entry: of the checkpoint; "" for none. Its channels are valid while it exists on the server:
            a server that fails over loses its newest writes first.
        channels: channel -> how its value is stored.
        searchable: `MessageSearch.level` of the checkpoint's document; 0 if messages of it may
            have no documents.
        dropped: how many messages were removed from the state since their documents were last
            collected; counted only with message_search.
    """

    entry: str = ""
    channels: Mapping[str, StoredChannel] = MappingProxyType({})
    searchable: int = 0
    dropped: int = 0

    @property
    def held(self) -> list[str]:
        """The entries of blobs and logs whose values are in the cache."""
        return [
            entry
            for stored in self.channels.values()
            if stored.dumped is not None
            for entry in stored.references()
        ]

    @property
    def size(self) -> int:
        """Bytes of the values in the cache."""
        return sum([len(stored.dumped.data) for stored in self.channels.values() if stored.dumped])

    def without_values(self) -> "CachedCheckpoint":
        channels = {channel: stored.without_value() for channel, stored in self.channels.items()}
        return self._replace(channels=channels)


NOTHING = CachedCheckpoint()


_Key = tuple[str, str, str]
"""The key of a table of contents, a namespace and the entry of a checkpoint."""


class Cache:
    """The cached checkpoints of one saver. Threads may share it.

    Of each namespace it keeps the newest checkpoint and those that were used last, so that reading
    an old checkpoint, or two branches in turn, does not make a put store a list again.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._checkpoints: OrderedDict[_Key, CachedCheckpoint] = OrderedDict()
        self._sizes: dict[_Key, int] = {}
        self._with_values: OrderedDict[_Key, None] = OrderedDict()
        self._entries: dict[tuple[str, str], list[str]] = {}
        self._bytes = 0

    def get(self, contents: str, checkpoint_ns: str, entry: str) -> CachedCheckpoint:
        """A cached checkpoint; `NOTHING` if it is not in the cache.

        Args:
            contents: the key of the thread's table of contents.
            checkpoint_ns: the namespace.
            entry: of the checkpoint.
        """
        with self._lock:
            return self._checkpoints.get((contents, checkpoint_ns, entry), NOTHING)

    def newest(self, contents: str, checkpoint_ns: str) -> CachedCheckpoint:
        """The newest cached checkpoint of a namespace; `NOTHING` if there is none."""
        with self._lock:
            entries = self._entries.get((contents, checkpoint_ns))
            if not entries:
                return NOTHING
            return self._checkpoints[contents, checkpoint_ns, max(entries)]

    def put(
        self, contents: str, checkpoint_ns: str, cached: CachedCheckpoint, replaced: str = ""
    ) -> None:
        """Add a checkpoint.

        Args:
            contents, checkpoint_ns: as for `get`.
            cached: the checkpoint.
            replaced: the entry of a checkpoint that is dropped, its parent for example.
        """
        size, values = 1_000, 0
        for stored in cached.channels.values():
            size += CHANNEL_BYTES + len(stored.text)
            size += 8 * (len(stored.item_hashes) + len(stored.messages))
            size += 300 * len(stored.slices)
            if stored.dumped is not None:
                values += len(stored.dumped.data)
        if values > MOST_BYTES // 4:
            cached, values = cached.without_values(), 0
        key = (contents, checkpoint_ns, cached.entry)
        with self._lock:
            for old in {replaced, cached.entry}:
                self._drop((contents, checkpoint_ns, old))
            self._bytes += size + values
            self._checkpoints[key], self._sizes[key] = cached, size + values
            self._with_values[key] = None
            entries = self._entries.setdefault(key[:2], [])
            entries.append(cached.entry)
            if len(entries) > MOST_OF_NAMESPACE:
                newest = max(entries)
                oldest = next(entry for entry in entries if entry != newest)
                self._drop((contents, checkpoint_ns, oldest))
            if len(self._checkpoints) > MOST_CHECKPOINTS or self._bytes > MOST_BYTES:
                self._make_room()

    def drop(self, contents: str, checkpoint_ns: str, entry: str) -> None:
        """Remove a checkpoint."""
        with self._lock:
            self._drop((contents, checkpoint_ns, entry))

    def _make_room(self) -> None:
        """Drop the least recently used checkpoints: their values first, then all of them."""
        while len(self._checkpoints) > MOST_CHECKPOINTS:
            self._drop(next(iter(self._checkpoints)))
        while self._bytes > MOST_BYTES and self._with_values:
            key, _ = self._with_values.popitem(last=False)
            cached = self._checkpoints[key]
            self._checkpoints[key] = cached.without_values()
            self._sizes[key] -= cached.size
            self._bytes -= cached.size
        while self._bytes > MOST_BYTES:
            self._drop(next(iter(self._checkpoints)))

    def _drop(self, key: _Key) -> None:
        if self._checkpoints.pop(key, None) is not None:
            self._with_values.pop(key, None)
            self._bytes -= self._sizes.pop(key)
            entries = self._entries[key[:2]]
            entries.remove(key[2])
            if not entries:
                del self._entries[key[:2]]

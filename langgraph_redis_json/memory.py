"""What a saver remembers of the threads that it reads and writes.

Nothing here is needed to be right: scripts check on the server what a put builds upon, and
what is forgotten is sent anew.
"""

from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from secrets import token_bytes
from threading import Lock
from types import MappingProxyType
from typing import Any, NamedTuple

from langgraph_redis_json.values import Dumped

THREADS = 2_000
"""Threads (and namespaces of threads) that a saver remembers."""

BYTES = 32 * 1024 * 1024
"""Memory that all this may take; the values of one thread at most a quarter of it."""

CHANNEL = 700
"""Bytes that a channel takes beside its text and the digests of its items."""


LARGE = 65_536
"""Bytes from which a blob is sent and read by a command of its own, in the same trip: a script
would copy it several times."""


class Slice(NamedTuple):
    """Items of a log, from `start` up to `stop`."""

    log: str
    start: int
    stop: int


class Known(NamedTuple):
    """What is stored for a channel's value.

    Attributes:
        version: the version of the channel.
        text: the stored value, as it stands in a checkpoint.
        entry: the blob that it refers to, if it does.
        is_large: whether that is `LARGE`.
        slices: the slices of logs that it refers to.
        digests: one for each item of these slices.
        lengths: how many items each of these logs has in all; one that has got longer by
            another hand is left out.
        dumped: what the serializer wrote of a value that does not stand in the checkpoint; None
            where that takes too much memory.
        size: how many bytes of that are the items of a list: the last ones.
        digest: of these bytes, if they are not here.
    """

    version: Any
    text: bytes
    entry: str | None = None
    slices: Sequence[Slice] = ()
    digests: "array[int]" = array("q")
    lengths: Mapping[str, int] = MappingProxyType({})
    dumped: Dumped | None = None
    size: int = 0
    digest: int = 0
    is_large: bool = False

    def needed(self) -> dict[str, int]:
        """The blobs and logs that must be there, and how many items they must have (0 for a
        blob)."""
        if self.entry:
            return {self.entry: 0}
        needed: dict[str, int] = {}
        for log, _, stop in self.slices:
            needed[log] = max(stop, needed.get(log, 0))
        return needed

    @property
    def items(self) -> memoryview | None:
        """The items of a list as the serializer wrote them, one after another."""
        if self.dumped is None:
            return None
        return memoryview(self.dumped.data)[len(self.dumped.data) - self.size :]

    def without_value(self) -> "Known":
        """The same, in less memory."""
        if self.items is None:
            return self
        return self._replace(dumped=None, digest=digest(self.items))


_SECRET = token_bytes(16)
"""So that nobody can make two items collide, even where PYTHONHASHSEED is known."""


def digest(data: bytes | memoryview) -> int:
    """What stands for these bytes, another number in each process."""
    return hash(_SECRET + data)


class Remembered(NamedTuple):
    """What is known of a namespace of a thread.

    Attributes:
        channels: what is stored for each channel.
        checkpoint: the entry of the checkpoint that these were stored with or read from. They hold
            as long as it is there: what a server loses, in a failover say, it loses from the end.
    """

    channels: Mapping[str, Known] = MappingProxyType({})
    checkpoint: str = ""

    @property
    def held(self) -> list[str]:
        """The entries of blobs and logs whose values are here: they need not be read."""
        return [
            entry
            for known in self.channels.values()
            if known.dumped is not None
            for entry in known.needed()
        ]

    @property
    def size(self) -> int:
        """Bytes of these values."""
        return sum([len(known.dumped.data) for known in self.channels.values() if known.dumped])

    def without_values(self) -> "Remembered":
        channels = {channel: known.without_value() for channel, known in self.channels.items()}
        return self._replace(channels=channels)


NOTHING = Remembered()


class Memory:
    """The channels of the threads that were used last. May be shared by threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._threads: OrderedDict[tuple[str, str], Remembered] = OrderedDict()
        self._sizes: dict[tuple[str, str], int] = {}
        self._with_values: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._bytes = 0

    def recall(self, contents: str, checkpoint_ns: str) -> Remembered:
        """What is known of a thread's channels.

        Args:
            contents: the key of the thread's table of contents.
            checkpoint_ns: the namespace.
        """
        with self._lock:
            return self._threads.get((contents, checkpoint_ns), NOTHING)

    def learn(self, contents: str, checkpoint_ns: str, remembered: Remembered) -> None:
        """Take this for all that is known of the thread's channels from now on."""
        if remembered.size > BYTES // 4:
            remembered = remembered.without_values()
        key, size = (contents, checkpoint_ns), _size(remembered)
        with self._lock:
            self._bytes += size - self._sizes.get(key, 0)
            self._threads[key], self._sizes[key], self._with_values[key] = remembered, size, None
            self._threads.move_to_end(key)
            self._with_values.move_to_end(key)
            if len(self._threads) > THREADS or self._bytes > BYTES:
                self._make_room()

    def _make_room(self) -> None:
        while len(self._threads) > THREADS:
            self._forget()
        while self._bytes > BYTES and self._with_values:
            key, _ = self._with_values.popitem(last=False)
            self._threads[key] = self._threads[key].without_values()
            before, self._sizes[key] = self._sizes[key], _size(self._threads[key])
            self._bytes += self._sizes[key] - before
        while self._bytes > BYTES:
            self._forget()

    def _forget(self) -> None:
        key, _ = self._threads.popitem(last=False)
        self._with_values.pop(key, None)
        self._bytes -= self._sizes.pop(key)


def _size(remembered: Remembered) -> int:
    size = 1_000
    for known in remembered.channels.values():
        size += CHANNEL + len(known.text) + 8 * len(known.digests) + 300 * len(known.slices)
        if known.dumped is not None:
            size += len(known.dumped.data)
    return size

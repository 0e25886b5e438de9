"""What a saver remembers of the threads that it reads and writes.

Nothing here is needed to be right: scripts check on the server what a put builds upon, and
what is forgotten is sent anew.
"""

from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from types import MappingProxyType
from typing import Any, NamedTuple

THREADS = 2_000
"""Threads (and namespaces of threads) that a saver remembers."""

BYTES = 32 * 1024 * 1024
"""Memory that all this may take."""

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
        size: how many bytes all items together have in the serializer's msgpack.
        digest: of these bytes, if there are any.
    """

    version: Any
    text: bytes
    entry: str | None = None
    slices: Sequence[Slice] = ()
    digests: "array[int]" = array("q")
    lengths: Mapping[str, int] = MappingProxyType({})
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


_NOTHING: tuple[dict[str, Known], int] = ({}, 0)


class Memory:
    """The channels of the threads that were used last. May be shared by threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        # With what each takes.
        self._threads: OrderedDict[tuple[str, str], tuple[dict[str, Known], int]] = OrderedDict()
        self._bytes = 0

    def recall(self, contents: str, checkpoint_ns: str) -> dict[str, Known]:
        """What is known of a thread's channels.

        Args:
            contents: the key of the thread's table of contents.
            checkpoint_ns: the namespace.
        """
        with self._lock:
            return self._threads.get((contents, checkpoint_ns), _NOTHING)[0]

    def learn(self, contents: str, checkpoint_ns: str, channels: dict[str, Known]) -> None:
        """Take this for all that is known of the thread's channels from now on."""
        size = _size(channels)
        with self._lock:
            _, before = self._threads.pop((contents, checkpoint_ns), _NOTHING)
            self._threads[(contents, checkpoint_ns)] = channels, size
            self._bytes += size - before
            while len(self._threads) > THREADS or self._bytes > BYTES:
                _, (_, forgotten) = self._threads.popitem(last=False)
                self._bytes -= forgotten


def _size(channels: Mapping[str, Known]) -> int:
    return 1_000 + sum(
        [
            CHANNEL + len(known.text) + 8 * len(known.digests) + 300 * len(known.slices)
            for known in channels.values()
        ]
    )

"""Freeing what no checkpoint refers to: blobs, logs, and items of logs. Parts of plans.

It is done in many short calls beside running writers. A checkpoint that is stored meanwhile may
refer to what is about to be freed, so that is marked first (scripts/sweep.lua): from then on a
put sends it anew. Whatever was stored before the marks is looked through after them.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from secrets import token_urlsafe
from typing import Any, TypeVar

import orjson
from redis.exceptions import OutOfMemoryError

from langgraph_redis_json import logs
from langgraph_redis_json.commands import Plan, script, store
from langgraph_redis_json.deadlines import Deadlines
from langgraph_redis_json.keys import ThreadKeys
from langgraph_redis_json.loading import check_format, reading

T = TypeVar("T")

BYTES = 1_000_000
"""What one trip copies, about, however large the documents are."""

PIECE = 25
"""Documents or items that the first trip copies, before their size is known."""

PAGE = 250
"""Documents that one call looks into or changes: other clients wait for no more than that."""

Range = tuple[int, int]


@dataclass
class References:
    """What checkpoints refer to.

    Attributes:
        needed: the entries of blobs and logs.
        living: log -> the ranges of its items, in order, none touching another.
        holders: log -> the entries of the checkpoints that refer to it.
    """

    needed: set[str] = field(default_factory=set)
    living: dict[str, list[Range]] = field(default_factory=lambda: defaultdict(list))
    holders: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, checkpoint: str, blobs: Any, lists: Any) -> None:
        """Take in what stands at ``$.channel_values.*.blob`` and ``….log`` of a checkpoint.

        What is no reference was altered by hand; whoever loads the checkpoint will say so.
        """
        self.needed.update(blob for blob in blobs if isinstance(blob, str))
        for slices in lists:
            for part in slices if isinstance(slices, list) else ():
                match part:
                    case [str(log), int(start), int(stop)] if start < stop:
                        self.needed.add(log)
                        insert(self.living[log], start, stop)
                        if checkpoint not in self.holders[log][-1:]:
                            self.holders[log].append(checkpoint)


def insert(ranges: list[Range], start: int, stop: int) -> None:
    """Add a range to ranges that are in order, and join it with those that it touches."""
    at = bisect_right(ranges, (start, stop))
    first = at - 1 if at and ranges[at - 1][1] >= start else at
    last = first
    while last < len(ranges) and ranges[last][0] <= stop:
        start, stop = min(start, ranges[last][0]), max(stop, ranges[last][1])
        last += 1
    ranges[first:last] = [(start, stop)]


@dataclass
class Sweeping(Deadlines):
    """Freeing what no checkpoint refers to."""

    def _sweep(self, thread: ThreadKeys) -> Plan[None]:
        """Free all of a thread's blobs, logs and items that no checkpoint refers to."""
        blobs, checkpoints, lists, marked = yield from self._entries(thread, "b:", "c:", "l:", "x")
        if not blobs and not lists and not marked:
            return
        found = yield from self._references(thread, checkpoints)
        yield from self._compact(thread, found, lists)
        unneeded = [entry for entry in blobs + lists if entry not in found.needed]
        number = token_urlsafe(6)
        for page in pages(unneeded, PAGE):
            yield [script("sweep", thread, "mark", number, *page)]
        # An earlier sweep that was cut short has left its marks.
        for page in pages(marked, PAGE):
            yield [script("sweep", thread, "adopt", number, *page)]
        marks = [*unneeded, *(mark[1:].rpartition(" ")[0] for mark in marked)]
        if not marks:
            return
        [checkpoints] = yield from self._entries(thread, "c:")
        found = yield from self._references(thread, checkpoints)
        for page in pages(marks, PAGE):
            kept = [entry for entry in page if entry in found.needed]
            gone = [entry for entry in page if entry not in found.needed]
            yield [
                script("sweep", thread, step, number, *some)
                for step, some in (("keep", kept), ("free", gone))
                if some
            ]

    def _references(self, thread: ThreadKeys, checkpoints: Sequence[str]) -> Plan[References]:
        """What checkpoints refer to."""
        found = References()
        paths = ("$.channel_values.*.blob", "$.channel_values.*.log")
        for page in pages(checkpoints, PAGE):
            for entry, [blobs, lists] in (yield from self._fields(thread, page, paths)).items():
                found.add(entry, blobs, lists)
        return found

    def _fields(
        self, thread: ThreadKeys, entries: Sequence[str], paths: Sequence[str]
    ) -> Plan[dict[str, list[Any]]]:
        """What stands at JSONPaths of documents: for each that is there a list for each path."""
        names = [thread.key(entry) for entry in entries]
        replies = yield [("JSON.MGET", *names, path) for path in ("$.format", *paths)]
        found: dict[str, list[Any]] = {}
        for entry, texts in zip(entries, zip(*replies, strict=True), strict=True):
            if None not in texts:
                with reading(thread.key(entry)):
                    written, *values = map(orjson.loads, texts)
                    check_format(*written)
                    found[entry] = values
        return found

    # ---- logs

    def _compact(self, thread: ThreadKeys, found: References, stored: list[str]) -> Plan[None]:
        """Write logs more than half of whose items are dead anew, under other names.

        Args:
            found: what all checkpoints refer to; brought up to date.
            stored: all logs; new ones are added.
        """
        wanted = [log for log in stored if log in found.living]
        for page in pages(wanted, PAGE):
            [lengths] = yield [script("lengths", thread, *page)]
            for log, length in zip(page, lengths, strict=True):
                living = sum(stop - start for start, stop in found.living[log])
                if length > 2 * living:
                    new = logs.renamed(log)
                    stored.append(new)
                    try:
                        yield from self._rewrite(thread, found, log, new)
                    except OutOfMemoryError:
                        return  # what is freed without this makes room for it, the next time

    def _rewrite(self, thread: ThreadKeys, found: References, log: str, new: str) -> Plan[None]:
        """Write the living items of a log to another, and let its checkpoints refer to that.

        Where anything is not as it should be (another process frees too), the log stays as it is.
        """
        ranges = found.living[log]
        if not (yield from self._copy_items(thread, log, ranges, thread, new, {}, 0)):
            return
        starts: list[tuple[int, int, int]] = []
        length = 0
        for start, stop in ranges:
            starts.append((start, stop, length))
            length += stop - start
        order = orjson.dumps(starts)
        for page in pages(found.holders[log], PAGE):
            [moved] = yield [script("move_slices", thread, log, new, length, order, *page)]
            if moved:
                found.needed.add(new)
        found.needed.discard(log)

    def _copy_items(
        self,
        source: ThreadKeys,
        log: str,
        ranges: Sequence[Range],
        target: ThreadKeys,
        new: str,
        changes: Mapping[str, str],
        ttl: int,
    ) -> Plan[bool]:
        """Copy items of a log to a new log, piece by piece.

        Args:
            ranges: which items, in order.
            changes: members of its document that are others in the new one.
            ttl: as `store` takes it.

        Returns:
            Whether they were all there, and nobody took the new log away meanwhile.
        """
        names = ("format", "thread_id", "checkpoint_ns", "channel")
        length, size = 0, PIECE
        for start, stop in ranges:
            while start < stop:
                end = min(start + size, stop)
                path = f"$.items[{start}:{end}]"
                [text] = yield [
                    ("JSON.GET", source.key(log), path, *(f"$.{name}" for name in names))
                ]
                fields = orjson.loads(text or b"{}")
                items = [orjson.dumps(item) for item in fields.get(path, ())]
                if len(items) < end - start:
                    return False
                if length:
                    command = store(target, [], appended={new: (length, items)}, ttl=ttl)
                else:
                    head = {name: value for name in names for value in fields[f"$.{name}"]}
                    whole = {**head, **changes, "items": [*map(orjson.Fragment, items)]}
                    command = store(target, [(new, orjson.dumps(whole))], ttl=ttl)
                [(missing, grown, *_)] = yield [command]
                if missing or grown:
                    return False
                length, start = length + len(items), end
                size = paced(size, len(text))
        return True


def paced(size: int, read: int) -> int:
    """How many documents or items to read next, after so many had so many bytes."""
    return max(1, min(2 * size, PAGE, size * BYTES // max(1, read)))


def pages(items: Iterable[T], size: int) -> Iterable[Sequence[T]]:
    rest = iter(items)
    return iter(lambda: list(islice(rest, size)), [])

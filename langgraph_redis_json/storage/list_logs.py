"""Which slices of logs a list consists of, and which of its items are new."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from langgraph_redis_json.storage import keys
from langgraph_redis_json.storage.cache import SECRET, Slice, StoredChannel

MOST_SLICES = 16
"""A list in more slices is stored again as one slice."""

UNUSED = 32
"""So many items in the logs of a list are not counted. If the list uses less than half of the
others, its new items go to a new log; if less than a quarter, it is stored again. So the logs of a
list that is trimmed stay small, and old ones are deleted with the checkpoints that use them."""


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
    runs = runs_of(found, cached, continued)
    used = {run.log for run in runs if run is not None}
    lengths = {log: length for log, length in cached.log_lengths.items() if log in used}
    if not used or sum(lengths.values()) > 4 * count + UNUSED:
        return _in_new_log(count, checkpoint_ns, channel)
    log = next((log for log in reversed(lengths) if lengths[log] <= 2 * count + UNUSED), "")
    length = lengths.get(log, 0)
    layout = fill(runs, log or keys.new_log_entry(checkpoint_ns, channel), length)
    if len(layout.slices) > MOST_SLICES:
        return _in_new_log(count, checkpoint_ns, channel)
    return layout


def _in_new_log(count: int, checkpoint_ns: str, channel: str) -> Layout:
    log = keys.new_log_entry(checkpoint_ns, channel)
    return Layout([Slice(log, 0, count)], log, 0, range(count))


def runs_of(found: "array[int]", cached: StoredChannel, continued: bool) -> list[Slice | None]:
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


def fill(runs: Sequence[Slice | None], log: str, length: int) -> Layout:
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

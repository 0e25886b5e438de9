"""Logs: the items of growing lists, stored once for all checkpoints that hold them.

A list is kept as slices of logs. What a saver remembers of the last value tells which items
are in a log already; only the others are sent, appended to the log of the last ones.
"""

from array import array
from collections.abc import Iterable, Sequence
from secrets import token_urlsafe
from typing import Any, NamedTuple

import ormsgpack

from langgraph_redis_json import keys, values
from langgraph_redis_json.memory import Known, Slice, digest

MOST_SLICES = 16
"""A list in more slices than these is written anew as one."""

ITEM = 64
"""Bytes that the items of a list must have on average to be kept one by one."""


class Layout(NamedTuple):
    """Where the items of a list are to be found, and what has to be stored for it.

    Attributes:
        slices: all of its items, in order.
        log: the log that the new items go to, None if there are none.
        length: how many items that log has before, 0 for a new log.
        new: which items of the list are new.
    """

    slices: list[Slice]
    log: str | None
    length: int
    new: list[int]


class Items(NamedTuple):
    """A list that the serializer wrote.

    Attributes:
        digests: one for each of its items.
        new: the bytes of its last items; those before are the known ones, all of them.
        size: how many bytes all items have.
    """

    digests: "array[int]"
    new: list[bytes]
    size: int


def read(data: bytes, known: Known | None = None) -> Items | None:
    """The items of a list; None if the data is no list, or not worth a log.

    Args:
        data: what the serializer wrote.
        known: what is remembered of the channel: a list that begins with that is not taken apart
            but for its new items.
    """
    count, start = _count(data)
    if not start or len(data) < ITEM * count:
        return None
    before, new = array("q"), None
    if known is not None and _begins_with(data, start, known):
        before, rest = known.digests, data[start + known.size :]
        # One item is what is left; more have to be told from each other.
        new = [rest] if count - len(before) == 1 else split(_head(count - len(before)) + rest)
    else:
        new = split(data)
    if new is None:
        return None
    return Items(before + digests(new), new, len(data) - start)


def size_of_items(data: bytes) -> int:
    """How many of the serializer's bytes of a list are its items."""
    return len(data) - _count(data)[1]


def _begins_with(data: bytes, start: int, known: Known) -> bool:
    """Whether what begins there are the known items."""
    if known.dumped is not None:
        return data.startswith(known.items or b"", start)
    stop = start + known.size
    return known.size > 0 and digest(memoryview(data)[start:stop]) == known.digest


def split(data: bytes) -> list[bytes] | None:
    """The items of a list that the serializer wrote; None if it is none."""
    try:
        tree = ormsgpack.unpackb(data, ext_hook=ormsgpack.Ext, option=ormsgpack.OPT_NON_STR_KEYS)
        if type(tree) is not list:
            return None
        items = [ormsgpack.packb(item, option=ormsgpack.OPT_NON_STR_KEYS) for item in tree]
    except (ValueError, TypeError):
        return None
    return items if join(items) == data else None


def join(items: Sequence[bytes]) -> bytes:
    """The list of these items, as the serializer would have written it."""
    return _head(len(items)) + b"".join(items)


def _head(count: int) -> bytes:
    """How msgpack begins a list of so many items."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def _count(data: bytes) -> tuple[int, int]:
    """How many items a list in msgpack says it has, and where they begin; 0 if it is none."""
    match data[:1]:
        case b"\xdc":
            return int.from_bytes(data[1:3], "big"), 3
        case b"\xdd":
            return int.from_bytes(data[1:5], "big"), 5
    return (data[0] & 0x0F, 1) if data and data[0] & 0xF0 == 0x90 else (0, 0)


def digests(items: Sequence[bytes]) -> "array[int]":
    """One number for each item."""
    return array("q", map(digest, items))


def lay_out(found: "array[int]", known: Known | None, checkpoint_ns: str, channel: str) -> Layout:
    """Decide where the items of a list go.

    Args:
        found: the digests of its items.
        known: what is remembered of the channel.
        checkpoint_ns, channel: whose list it is.
    """
    if known is not None and (grown := _grown(found, known)) is not None:
        return grown
    runs = _runs(found, known) if known is not None and known.slices else []
    slices = [run for run in runs if run is not None]
    new = runs.count(None) if slices else len(found)
    if not new:
        layout = Layout(slices, None, 0, [])
    elif not slices or known is None:
        log = new_log(checkpoint_ns, channel)
        return Layout([Slice(log, 0, new)], log, 0, [*range(new)])
    else:
        used = {log for log, _, _ in slices}
        log = next((log for log in reversed([*known.lengths]) if log in used), "")
        log = log or new_log(checkpoint_ns, channel)
        layout = _fill(runs, log, known.lengths.get(log, 0))
    if len(layout.slices) > MOST_SLICES:
        return lay_out(found, None, checkpoint_ns, channel)
    return layout


def _grown(found: "array[int]", known: Known) -> Layout | None:
    """The layout of a list that nearly all are: the known one with more items at its end, which is
    the end of a log, too. None for another."""
    if not known.slices:
        return None
    count = len(known.digests)
    *slices, (log, start, stop) = known.slices
    if known.lengths.get(log) != stop or found[:count] != known.digests:
        return None
    new = [*range(count, len(found))]
    slices.append(Slice(log, start, stop + len(new)))
    return Layout(slices, log if new else None, stop if new else 0, new)


def _runs(found: "array[int]", known: Known) -> list[Slice | None]:
    """The list as slices of what is stored, and None for each item that is not."""
    count = len(known.digests)
    if found[:count] == known.digests:
        return [*known.slices, *[None] * (len(found) - count)]
    places = [(log, index) for log, start, stop in known.slices for index in range(start, stop)]
    there = dict(zip(known.digests, places, strict=True))
    runs: list[Slice | None] = []
    for number in found:
        place = there.get(number)
        if place is None:
            runs.append(None)
            continue
        log, index = place
        last = runs[-1] if runs else None
        if last is not None and last.log == log and last.stop == index:
            runs[-1] = Slice(log, last.start, index + 1)
        else:
            runs.append(Slice(log, index, index + 1))
    return runs


def _fill(runs: Sequence[Slice | None], log: str, length: int) -> Layout:
    """The runs, with the items that are not stored yet at the end of a log."""
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
    return Layout(slices, log, length, new)


def encode_item(item: bytes) -> bytes:
    """The JSON text of an item of a log: an object of its form and content."""
    _, form, content = values.encode("msgpack", item)
    quote = b'"' if form == "base64" else b""
    return b"".join((b'{"%s":' % form.encode(), quote, content, quote, b"}"))


def decode_items(items: Iterable[Any]) -> list[bytes]:
    """The serializer's bytes of items of a log.

    Raises:
        ValueError: if one is no such item.
    """
    found: list[bytes] = []
    for item in items:
        if type(item) is not dict or len(item) != 1:
            raise ValueError("an item of it is no object of one member")
        [(form, content)] = item.items()
        found.append(values.pack(form, content))
    return found


def new_log(checkpoint_ns: str, channel: str) -> str:
    """The entry of another log of a channel."""
    return f"l:{keys.escape(checkpoint_ns)}:{keys.escape(channel)}:{token_urlsafe(12)}"


def renamed(entry: str) -> str:
    """Another number for a log; the entry as it is if it is a blob's."""
    if not entry.startswith("l:"):
        return entry
    return f"{entry.rpartition(':')[0]}:{token_urlsafe(12)}"

"""The layout of a list in logs, without a server."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from langgraph_redis_json.storage import channels, json_codec, list_logs
from langgraph_redis_json.storage.cache import Slice, StoredChannel
from langgraph_redis_json.storage.json_codec import Dumped
from tests.support.growing_lists import TEXT, serde
from tests.support.strategies import examples


@examples(300)
@given(
    st.lists(
        st.one_of(
            st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(),
            st.text() | st.binary() | st.lists(st.integers(0, 300)) | st.sets(st.integers(0, 300)),
            st.tuples(st.text()) | st.dictionaries(st.integers(0, 300) | st.text(), st.text()),
            st.builds(HumanMessage, st.text()),
        )
    ),
    st.integers(0, 20),
)
def test_a_split_list_joins_to_the_same_bytes(value: list[Any], large: int) -> None:
    value = [*value, *[TEXT * 5] * large]
    _, data = serde.dumps_typed(value)
    found = json_codec.split(data)
    assert found is not None
    assert json_codec.join(found) == data
    assert [serde.dumps_typed([item])[1][1:] for item in value] == found
    assert (
        json_codec.decode_items(orjson.loads(json_codec.encode_item(item)) for item in found)
        == found
    )
    items = channels._read_list(data)
    assert (items is not None) == (len(data) >= channels.ITEM * len(value))
    assert items is None or items.new == found


@pytest.mark.parametrize("length", [0, 1, 15, 16, 65_535, 65_536])
def test_the_length_of_a_list_is_read_from_its_bytes(length: int) -> None:
    _, data = serde.dumps_typed([b"%064d" % n for n in range(length)])
    found = json_codec.split(data)
    assert found is not None
    assert len(found) == length
    assert json_codec.join(found) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        serde.dumps_typed({TEXT})[1],
        serde.dumps_typed({"a": TEXT})[1],
        serde.dumps_typed([*range(1_000)])[1],
        b"\xdc\0\x01" + serde.dumps_typed(TEXT)[1],  # not as the serializer writes it
        serde.dumps_typed([TEXT])[1] + b"\0",
    ],
)
def test_other_values_are_not_split(data: bytes) -> None:
    assert channels._read_list(data) is None


LISTS = st.lists(
    st.tuples(
        st.one_of(
            st.lists(st.integers(0, 12), max_size=30),
            st.tuples(st.integers(0, 30), st.integers(0, 60)).map(lambda p: [*range(*p)]),
            st.tuples(st.integers(0, 30), st.integers(0, 60)).map(lambda p: [*range(*p)][::-1]),
            st.integers(1, 4).map(lambda step: [*range(0, 60, step)]),
        ),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
)


class Log:
    """What a test has stored of one channel, put by put, as `channels.store` would.

    Attributes:
        logs: entry -> its items.
        stored: how the last list is stored.
        sent: how many items were sent.
    """

    def __init__(self) -> None:
        self.logs: dict[str, list[bytes]] = {}
        self.stored: StoredChannel | None = None
        self.sent = 0

    def put(self, value: list[bytes]) -> list_logs.Layout:
        """Store a list, and check that the layout holds it."""
        layout = list_logs.lay_out(list_logs.hashes_of(value), self.stored, "ns", "list")
        assert len(layout.slices) <= list_logs.MOST_SLICES
        if layout.log is None:
            assert not layout.new
        else:
            assert layout.log.startswith("l:ns:list:")
            there = self.logs.setdefault(layout.log, [])
            assert len(there) == layout.length
            there += [value[number] for number in layout.new]
        assert [item for log, a, b in layout.slices for item in self.logs[log][a:b]] == value
        for left, right in pairwise(layout.slices):
            assert (left.log, left.stop) != (right.log, right.start)
        lengths = {log: len(self.logs[log]) for log in self.used(layout)}
        if layout.log is not None:  # the last one gets the next items
            lengths[layout.log] = lengths.pop(layout.log)
        hashes = list_logs.hashes_of(value)
        self.stored = StoredChannel(
            "1", b"", slices=layout.slices, item_hashes=hashes, log_lengths=lengths
        )
        self.sent += len(layout.new)
        return layout

    def used(self, layout: list_logs.Layout) -> set[str]:
        """The entries of the logs that a layout refers to."""
        return {part.log for part in layout.slices}

    def changed_by_others(self, log: str) -> None:
        """Another process adds to a log."""
        assert self.stored is not None
        self.logs[log].append(b"x")
        lengths = {one: n for one, n in self.stored.log_lengths.items() if one != log}
        self.stored = self.stored._replace(log_lengths=lengths)


@examples(300)
@given(LISTS)
def test_a_layout_names_all_items_in_order(lists: list[Any]) -> None:
    """The slices name the items in order. Cached items are not stored again, unless the whole list
    is."""
    log = Log()
    for numbers, changed, forgotten in lists:
        value = [b"%d" % number for number in numbers]
        before = log.stored
        lengths = {entry: len(items) for entry, items in log.logs.items()}
        cached: set[bytes] = set()
        if before is not None:
            cached = {item for entry, a, b in before.slices for item in log.logs[entry][a:b]}
        layout = log.put(value)
        new = [value[number] for number in layout.new]
        if layout.log is not None:
            assert layout.length == lengths.get(layout.log, 0)
            assert layout.length <= 2 * len(value) + list_logs.UNUSED
        if not is_whole(layout, value):
            assert before is not None
            assert before.slices
            known = sum(before.log_lengths.get(entry, 0) for entry in log.used(layout))
            continued = list_logs.hashes_of(value)[: len(before.item_hashes)] == before.item_hashes
            if not continued:
                assert cached.isdisjoint(new)
                assert known <= 4 * len(value) + list_logs.UNUSED
        if changed and layout.log:
            log.changed_by_others(layout.log)
        if forgotten:
            log.stored = None


def is_whole(layout: list_logs.Layout, value: list[bytes]) -> bool:
    """Whether a layout stores the whole list in a new log."""
    return layout.length == 0 and [*layout.new] == [*range(len(value))]


def numbered(start: int, stop: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, stop)]


@pytest.mark.parametrize("left", [2, 10, 100])
def test_a_long_log_gets_no_further_items(left: int) -> None:
    """A list that uses less than half of its log, but for 32 items, gets a new log for its new
    items."""
    longest = 2 * (left + 1) + list_logs.UNUSED
    for count in (longest, longest + 1):
        log = Log()
        first = log.put(numbered(0, count)).log
        trimmed = log.put(numbered(count - left, count))
        assert trimmed == ([Slice(str(first), count - left, count)], None, 0, [])
        layout = log.put(numbered(count - left, count + 1))
        assert [*layout.new] == [left]
        if count == longest:
            assert (layout.log, layout.length) == (first, count)
            assert layout.slices == [Slice(str(first), count - left, count + 1)]
        else:
            assert layout.log not in (None, first)
            assert layout.length == 0
            assert len(layout.slices) == 2


@pytest.mark.parametrize("left", [1, 10, 100])
def test_a_list_of_few_items_in_long_logs_is_stored_again(left: int) -> None:
    """That is one that uses less than a quarter of its logs, but for 32 items."""
    longest = 4 * left + list_logs.UNUSED
    for count in (longest, longest + 1):
        log = Log()
        first = log.put(numbered(0, count)).log
        value = numbered(count - left, count)
        layout = log.put(value)
        if count == longest:
            assert layout == ([Slice(str(first), count - left, count)], None, 0, [])
        else:
            assert is_whole(layout, value)
            assert layout.log != first
            assert layout.slices == [Slice(str(layout.log), 0, left)]


def test_the_logs_of_a_list_count_together() -> None:
    """Neither log alone is too long for the list, but both together are."""
    log = Log()
    log.put(numbered(0, 60))
    log.put(numbered(50, 60))
    layout = log.put([*numbered(50, 60), *numbered(100, 101)])
    assert (len(log.logs), layout.length) == (2, 0)
    log.put([*numbered(50, 60), *numbered(100, 117)])
    value = [*numbered(50, 60), *numbered(116, 117)]
    assert 60 + 17 > 4 * len(value) + list_logs.UNUSED > 60
    assert is_whole(log.put(value), value)


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("keeps_first", [False, True])
@pytest.mark.parametrize("window", [1, 2, 5, 20, 100])
def test_a_sliding_window(window: int, keeps_first: bool, step: int) -> None:
    """Over thousands of puts no log gets long, and no item is sent much more than once."""
    log = Log()
    puts = 3_000
    first = [b"first"] if keeps_first else []
    used: set[str] = set()
    for number in range(1, puts + 1):
        stop = number * step
        value = [*first, *numbered(max(0, stop - window), stop)]
        layout = log.put(value)
        now = log.used(layout)
        # A log that is no longer used never is again, so it is deleted with its checkpoints.
        assert not (now - used) & (log.logs.keys() - {layout.log})
        used = now
        total = sum(len(log.logs[entry]) for entry in now)
        assert total <= 4 * len(value) + list_logs.UNUSED + step
    count = window + len(first)
    assert max(map(len, log.logs.values())) <= 2 * count + list_logs.UNUSED + step
    assert log.sent <= 2 * puts * step


@pytest.mark.parametrize("new", [["b"], ["b", "c"]], ids=repr)
def test_values_with_duplicate_keys_are_not_split(new: list[str]) -> None:
    """Two keys of a dict may be one text to the serializer: then a list has no items to tell."""
    said = [f"{number} {TEXT}" for number in range(5)]
    before = channels._read_list(serde.dumps_typed(said)[1])
    assert before is not None
    known = StoredChannel(
        "1",
        b"",
        item_hashes=before.hashes,
        dumped=Dumped(*serde.dumps_typed(said)),
        items_size=before.size,
    )
    for cached in (known, known.without_value()):
        grown = channels._read_list(serde.dumps_typed([*said, *new])[1], cached)
        assert grown is not None
        assert [serde.loads_typed(("msgpack", item)) for item in grown.new] == new
        assert grown.hashes == before.hashes + list_logs.hashes_of(grown.new)
        others = channels._read_list(serde.dumps_typed([*said[:-1], *new])[1], cached)
        assert others is not None
        assert len(others.new) == len(said) - 1 + len(new)
        odd = {date(2020, 1, 1): TEXT, "2020-01-01": 2}
        assert channels._read_list(serde.dumps_typed([*said, *new, odd])[1], cached) is None
        # If it is the only new item, it is the rest.
        _, whole = serde.dumps_typed([*said, odd])
        alone = channels._read_list(whole, cached)
        assert alone is not None
        decoded = json_codec.decode_items(
            orjson.loads(json_codec.encode_item(item)) for item in alone.new
        )
        assert (
            json_codec.join([*(json_codec.split(serde.dumps_typed(said)[1]) or ()), *decoded])
            == whole
        )


def test_consecutive_items_of_different_logs_are_two_slices() -> None:
    """Item 2 of one log and item 3 of another do not follow each other."""
    known = StoredChannel(
        "1",
        b"",
        slices=[Slice("one", 0, 5), Slice("two", 0, 5)],
        item_hashes=list_logs.hashes_of(numbered(0, 10)),
        log_lengths={"one": 5, "two": 5},
    )
    value = [b"%d" % number for number in (0, 1, 2, 8, 9)]
    layout = list_logs.lay_out(list_logs.hashes_of(value), known, "", "list")
    assert layout.slices == [("one", 0, 3), ("two", 3, 5)]

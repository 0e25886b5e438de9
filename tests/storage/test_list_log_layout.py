"""Which items of a list are where, without a server."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from langgraph_redis_json import logs, memory, values
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
def test_split_and_join(value: list[Any], large: int) -> None:
    value = [*value, *[TEXT * 5] * large]
    _, data = serde.dumps_typed(value)
    found = logs.split(data)
    assert found is not None
    assert logs.join(found) == data
    assert [serde.dumps_typed([item])[1][1:] for item in value] == found
    assert logs.decode_items(orjson.loads(logs.encode_item(item)) for item in found) == found
    items = logs.read(data)
    assert (items is not None) == (len(data) >= logs.ITEM * len(value))
    assert items is None or items.new == found


@pytest.mark.parametrize("length", [0, 1, 15, 16, 65_535, 65_536])
def test_lengths_of_lists(length: int) -> None:
    _, data = serde.dumps_typed([b"%064d" % n for n in range(length)])
    found = logs.split(data)
    assert found is not None
    assert len(found) == length
    assert logs.join(found) == data


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
def test_what_is_not_split(data: bytes) -> None:
    assert logs.read(data) is None


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


@examples(300)
@given(LISTS)
def test_the_slices_of_a_layout(lists: list[Any]) -> None:
    """They name the items of the list, in order; nothing that is known is stored again."""
    server: dict[str, list[bytes]] = {}
    known: memory.Known | None = None
    last: list[bytes] = []
    for numbers, grown, forgotten in lists:
        value = [b"%d" % number for number in numbers]
        layout = logs.lay_out(logs.digests(value), known, "ns", "list")
        assert len(layout.slices) <= logs.MOST_SLICES
        before = {log: [*there] for log, there in server.items()}
        if layout.log is None:
            assert not layout.new
        else:
            assert layout.log.startswith("l:ns:list:")
            there = server.setdefault(layout.log, [])
            assert len(there) == layout.length
            there += [value[number] for number in layout.new]
        assert [item for log, a, b in layout.slices for item in server[log][a:b]] == value
        if layout.length and known is not None and value[: len(last)] != last:
            remembered = {item for log, a, b in known.slices for item in before[log][a:b]}
            assert remembered.isdisjoint(value[number] for number in layout.new)
        for left, right in zip(layout.slices, layout.slices[1:], strict=False):
            assert (left.log, left.stop) != (right.log, right.start)
        used = {part.log for part in layout.slices}
        lengths = {log: len(server[log]) for log in used if not (grown and log == layout.log)}
        if grown and layout.log:  # another process adds to it
            server[layout.log].append(b"x")
        last, known = (
            value,
            memory.Known("1", b"", None, layout.slices, logs.digests(value), lengths),
        )
        if forgotten:
            known = None


@pytest.mark.parametrize("new", [["b"], ["b", "c"]], ids=repr)
def test_an_item_that_is_none_of_its_own(new: list[str]) -> None:
    """Two keys of a dict may be one text to the serializer: then a list has no items to tell."""
    said = [f"{number} {TEXT}" for number in range(5)]
    before = logs.read(serde.dumps_typed(said)[1])
    assert before is not None
    known = memory.Known(
        "1",
        b"",
        digests=before.digests,
        dumped=values.Dumped(*serde.dumps_typed(said)),
        size=before.size,
    )
    for remembered in (known, known.without_value()):
        grown = logs.read(serde.dumps_typed([*said, *new])[1], remembered)
        assert grown is not None
        assert [serde.loads_typed(("msgpack", item)) for item in grown.new] == new
        assert grown.digests == before.digests + logs.digests(grown.new)
        others = logs.read(serde.dumps_typed([*said[:-1], *new])[1], remembered)
        assert others is not None
        assert len(others.new) == len(said) - 1 + len(new)
        odd = {date(2020, 1, 1): TEXT, "2020-01-01": 2}
        assert logs.read(serde.dumps_typed([*said, *new, odd])[1], remembered) is None
        # Where it is the only one that is new, it is what is left.
        _, whole = serde.dumps_typed([*said, odd])
        alone = logs.read(whole, remembered)
        assert alone is not None
        decoded = logs.decode_items(orjson.loads(logs.encode_item(item)) for item in alone.new)
        assert logs.join([*(logs.split(serde.dumps_typed(said)[1]) or ()), *decoded]) == whole


def test_neighbours_in_two_logs_are_two_slices() -> None:
    """Item 2 of one log and item 3 of another do not follow each other."""
    known = memory.Known(
        "1",
        b"",
        None,
        [memory.Slice("one", 0, 5), memory.Slice("two", 0, 5)],
        logs.digests([b"%d" % number for number in range(10)]),
        {"one": 5, "two": 5},
    )
    value = [b"%d" % number for number in (0, 1, 2, 8, 9)]
    layout = logs.lay_out(logs.digests(value), known, "", "list")
    assert layout.slices == [("one", 0, 3), ("two", 3, 5)]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "THREADS", 10)
    monkeypatch.setattr(memory, "BYTES", 100)
    monkeypatch.setattr(
        memory,
        "_size",
        lambda found: sum(
            len(known.digests) + (len(known.dumped.data) if known.dumped else 0)
            for known in found.channels.values()
        ),
    )

    def known(size: int, items: int = 0) -> memory.Remembered:
        there = values.Dumped("msgpack", b"x" * items) if items else None
        digests = logs.digests([b"x"] * size)
        return memory.Remembered(
            {
                "list": memory.Known(
                    "1",
                    b"",
                    slices=[memory.Slice("l", 0, size)],
                    digests=digests,
                    dumped=there,
                    size=items,
                )
            },
            "c::1",
        )

    def taken(found: memory.Known) -> int:
        return len(found.digests) + (len(found.dumped.data) if found.dumped else 0)

    remembered = memory.Memory()
    held = lambda: {  # noqa: E731
        n: taken(found.channels["list"])
        for n in range(50)
        if (found := remembered.recall(f"{n}", "")).channels
    }
    for n in range(20):
        remembered.learn(f"{n}", "", known(1))
    assert held() == dict.fromkeys(range(10, 20), 1)
    remembered.learn("10", "", known(50))  # used again: not the next to be forgotten
    remembered.learn("20", "", known(40))
    assert held() == {**dict.fromkeys(range(12, 20), 1), 10: 50, 20: 40}
    remembered.learn("21", "", known(9))
    assert held() == {19: 1, 10: 50, 20: 40, 21: 9}
    remembered.learn("22", "", known(101))
    assert held() == {}
    for _ in range(30):
        remembered.learn("1", "", known(60))
    assert held() == {1: 60}
    # Items go first, of the threads that were used last ago; what tells them stays.
    remembered.learn("2", "", known(1, 20))
    remembered.learn("3", "", known(1, 10))
    remembered.learn("2", "", known(1, 20))
    assert held() == {1: 60, 2: 21, 3: 11}
    remembered.learn("4", "", known(1, 6))
    assert held() == {1: 60, 2: 21, 3: 11, 4: 7}
    remembered.learn("5", "", known(1, 1))
    assert held() == {1: 60, 2: 21, 3: 1, 4: 7, 5: 2}
    left = remembered.recall("3", "")
    assert left.held == []
    assert remembered.recall("2", "").held == ["l"]
    assert left.channels["list"].digest == memory.digest(b"x" * 10)
    remembered.learn("6", "", known(99))
    assert held() == {5: 1, 6: 99}
    # What would leave no room for others is not kept at all.
    remembered.learn("6", "", known(9))
    remembered.learn("7", "", known(1, 26))
    assert held()[7] == 1
    remembered.learn("7", "", known(1, 25))
    assert held()[7] == 26
    for n in range(10, 30):
        remembered.learn(f"{n}", "", known(1, 1))
    assert held() == dict.fromkeys(range(20, 30), 2)

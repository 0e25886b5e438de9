"""Which steps go to a thread beside the event loop: an estimate that looks at everything, but not
for long."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from langchain_core.messages import HumanMessage

from langgraph_redis_json.client.long_steps import LONG, NODE, are_long

TEXT = "x" * (LONG + 1)


@dataclass
class Box:
    content: Any


class Pair(NamedTuple):
    left: Any
    right: Any


class Buffer:
    """Like an array of numpy."""

    __slots__ = ("nbytes",)

    def __init__(self, nbytes: Any) -> None:
        self.nbytes = nbytes


LONG_STATES: dict[str, Any] = {
    "text": TEXT,
    "bytes": TEXT.encode(),
    "bytearray": bytearray(TEXT.encode()),
    "a large text at the start": [TEXT, *["small"] * 100],
    "a large text in the middle": [*["small"] * 100, TEXT, *["small"] * 100],
    "a large text at the end": [*["small"] * 100, TEXT],
    "a large text in a long list": [*range(300_000), TEXT, *range(300_000)],
    "texts that are large together": ["x" * (LONG // 10)] * 10,
    "100,000 versions_seen": {f"node {n}": {"channel": n} for n in range(100_000)},
    "many small values": list(range(LONG // NODE + 1)),
    "a dict": {"a": {"b": {"c": TEXT}}},
    "a tuple": (1, (2, (3, TEXT))),
    "a set": {1, TEXT},
    "a frozenset": frozenset({1, TEXT}),
    "a deque": deque([1, deque([TEXT])]),
    "a dataclass": Box(Box([TEXT])),
    "a named tuple": Pair(1, Pair(TEXT, 2)),
    "a message": [HumanMessage("small"), HumanMessage(TEXT)],
    "an array": Buffer(LONG + 1),
    "all of them": {"a": [({"b": deque([Box((1, {2, TEXT}))])},)]},
}
"""Each of them takes long."""

SHORT_STATES: dict[str, Any] = {
    "nothing": [],
    "none": None,
    "text": "x" * (LONG // 2),
    "small values": list(range(LONG // NODE // 2)),
    "a conversation": [HumanMessage(f"{n}", id=f"{n}") for n in range(5)],
    "nested": {"a": [({"b": deque([Box((1, {2, "small"}))])},)]},
    "an array": [Buffer(10), array("q", [1])],
    "a size that is no number": Buffer("large"),
    "empty containers": [[], {}, (), set(), deque(), ""],
}


@pytest.mark.parametrize("state", LONG_STATES)
def test_a_state_that_takes_long(state: str) -> None:
    assert are_long([LONG_STATES[state]])
    assert are_long(iter(["small", LONG_STATES[state], None]))


@pytest.mark.parametrize("state", SHORT_STATES)
def test_a_small_state(state: str) -> None:
    assert not are_long([SHORT_STATES[state]])


def test_no_values_do_not_take_long() -> None:
    assert not are_long([])


def test_a_cyclic_structure_ends() -> None:
    """The serializer raises for it later."""
    cycle: list[Any] = []
    cycle.append(cycle)
    assert are_long(cycle)
    parent, child = {"name": "a"}, {"name": "b"}
    family: list[Any] = [parent, child]
    parent["child"], child["parent"] = child, parent  # type: ignore[assignment]
    assert are_long(family)
    box = Box(None)
    box.content = [box]
    assert are_long([box])


def test_it_looks_at_a_few_hundred_values() -> None:
    """A state of any size costs the event loop the same."""
    taken = 0

    def values() -> Iterator[int]:
        nonlocal taken
        for number in range(1_000_000):
            taken += 1
            yield number

    assert are_long(values())
    assert taken <= LONG // NODE + 1


@pytest.mark.parametrize("state", ["100,000 versions_seen", "a large text in a long list"])
def test_it_takes_no_longer_for_a_large_state(state: str) -> None:
    begun = time.process_time()
    for _ in range(100):
        are_long([LONG_STATES[state]])
    assert time.process_time() - begun < 1

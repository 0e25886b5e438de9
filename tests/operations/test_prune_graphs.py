"""Runs of real graphs continue after prune as they would without it."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_redis_json.operations.prune import NewestOfNamespace, is_finished
from tests.support.accounting import account
from tests.support.checkpoints import each_saver, names
from tests.support.clients import Saver
from tests.support.graphs import (
    GRAPHS,
    THREAD,
    called_twice,
    converse,
    fanned_out,
    mixed,
    nested,
    persistent,
)


@each_saver
@pytest.mark.parametrize("durability", ["async", "exit"])
@pytest.mark.parametrize("build", GRAPHS)
def test_runs_continue_after_prune(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, build: Any, durability: str
) -> None:
    expected = converse(build(InMemorySaver()), lambda: None, durability)
    assert len(expected) > 5  # there were questions

    def prune() -> None:
        saver.prune(["thread"])
        account(redis_client, key_prefix)

    assert converse(build(saver), prune, durability) == expected


@each_saver
@pytest.mark.parametrize(
    ("build", "waiting", "finished"),
    [
        (nested, ["", "middle:", "middle:|leaf:"], [""]),
        (persistent, ["", "middle", "middle|leaf"], ["", "middle", "middle|leaf"]),
        # What the newest checkpoint of a graph that goes on has called might go on with it.
        (mixed, ["", "middle", "middle|leaf:"], ["", "middle"]),
        (called_twice, ["", "both:"], [""]),
        (fanned_out, ["", "leaf:", "leaf:", "leaf:"], [""]),
    ],
)
def test_checkpoints_of_finished_subgraph_calls_are_pruned(
    saver: Saver, build: Any, waiting: list[str], finished: list[str]
) -> None:
    def namespaces() -> list[str]:
        found = [ns for _, ns, _ in names(saver.list({"configurable": {"thread_id": "thread"}}))]
        assert len(found) == len({*found})
        return sorted(
            "|".join(part.partition(":")[0] + ":" * (":" in part) for part in ns.split("|"))
            for ns in found
        )

    graph = build(saver)
    for _ in range(2):
        graph.invoke({"ask": False}, THREAD)
        graph.invoke({"ask": True}, THREAD)
        saver.prune(["thread"])
        assert namespaces() == waiting
        while interrupts := graph.get_state(THREAD).interrupts:
            graph.invoke(Command(resume={each.id: "yes" for each in interrupts}), THREAD)
        saver.prune(["thread"])
        assert namespaces() == finished


@each_saver
def test_calls_that_a_kept_checkpoint_has_created_are_kept(saver: Saver) -> None:
    graph = nested(saver)
    for _ in range(3):
        graph.invoke({"ask": False}, THREAD)

    def calls() -> dict[str, int]:
        """Each run of the subgraph -> how many checkpoints it has."""
        found = [ns for _, ns, _ in names(saver.list({"configurable": {"thread_id": "thread"}}))]
        return {ns: found.count(ns) for ns in found if ns and "|" not in ns}

    assert len(calls()) == 3
    prune: Any = saver.prune
    # The checkpoints after "middle" and "after", and the one from which "middle" was called.
    prune(["thread"], keep_last=3)
    assert len(calls()) == 1
    old = [state.config for state in graph.get_state_history(THREAD) if state.next == ("middle",)]
    assert graph.invoke(None, old[0])["said"][-3:] == ["leaf begins", "leaf hears nobody", "after"]
    prune(["thread"], keep_last=2)
    assert calls() == {}


@pytest.mark.parametrize(
    ("checkpoint_ns", "parents", "finished"),
    [
        ("node:task", {"": "1"}, True),
        ("node:task", {"": "2"}, False),
        ("node:task", {"": "3"}, False),  # the outer graph's checkpoint is still to come
        ("node:task|1", {"": "1"}, True),
        ("node", {"": "1"}, False),
        ("1", {"": "1"}, False),
        ("node:task", None, False),
        ("node:task", {}, False),
        ("node:task", {"": 1}, False),
        ("old:task|inner:task", {"": "1", "old:task": "1"}, True),
        ("now:task|inner:task", {"": "2", "now:task": "1"}, True),
        ("now:task|inner:task", {"": "2", "now:task": "2"}, False),
        ("own|inner:task", {"": "1", "own": "1"}, True),
        ("own|inner:task", {"": "1", "own": "2"}, False),
        ("gone:task|inner:task", {"": "1", "gone:task": "1"}, True),
        ("gone:task|inner:task", {"": "2", "gone:task": "1"}, False),
        ("gone|inner:task", {"": "1", "gone": "1"}, False),
    ],
)
def test_finished_subgraph_calls_are_recognized(
    checkpoint_ns: str, parents: Any, finished: bool
) -> None:
    newest = {
        "": NewestOfNamespace("2", None),
        "old:task": NewestOfNamespace("1", {"": "1"}),
        "now:task": NewestOfNamespace("2", {"": "2"}),
        "own": NewestOfNamespace("2", {"": "1"}),
    }
    assert is_finished(checkpoint_ns, parents, newest) == finished

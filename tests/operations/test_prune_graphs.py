"""prune on threads of real graphs: every run goes on as it would have gone on without."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
import redis
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

from langgraph_redis_json.operations.prune import NewestOfNamespace, is_finished
from tests.support.accounting import account
from tests.support.checkpoints import each_saver, names
from tests.support.clients import Saver

THREAD: Any = {"configurable": {"thread_id": "thread"}}


class State(TypedDict, total=False):
    said: Annotated[list[str], operator.add]

    ask: Annotated[bool, lambda old, new: new]


def leaf(name: str) -> tuple[Any, Any]:
    """Two steps and a question to a person between them, if the state asks for it."""

    def first(state: State) -> State:
        return {"said": [f"{name} begins"]}

    def second(state: State) -> State:
        answer = interrupt(f"{name}?") if state.get("ask") else "nobody"
        return {"said": [f"{name} hears {answer}"]}

    return first, second


def leaf_graph(name: str, **options: Any) -> Any:
    first, second = leaf(name)
    builder = StateGraph(State)
    builder.add_node("first", first).add_node("second", second)
    builder.add_edge(START, "first").add_edge("first", "second")
    return builder.compile(**options)


def nested(saver: Any, **options: Any) -> Any:
    """A graph with a graph within a graph."""
    middle = StateGraph(State).add_node("leaf", leaf_graph("leaf", **options))
    middle.add_edge(START, "leaf")
    outer = StateGraph(State)
    outer.add_node("before", lambda state: {"said": ["before"]})
    outer.add_node("middle", middle.compile(**options))
    outer.add_node("after", lambda state: {"said": ["after"]})
    outer.add_edge(START, "before").add_edge("before", "middle").add_edge("middle", "after")
    return outer.compile(checkpointer=saver)


def persistent(saver: Any) -> Any:
    """Its subgraphs keep their state from run to run."""
    return nested(saver, checkpointer=True)


def mixed(saver: Any) -> Any:
    """A subgraph that keeps its state, with one in it that does not."""
    middle = StateGraph(State).add_node("leaf", leaf_graph("leaf"))
    middle.add_edge(START, "leaf")
    outer = StateGraph(State).add_node("middle", middle.compile(checkpointer=True))
    outer.add_edge(START, "middle")
    return outer.compile(checkpointer=saver)


def called_twice(saver: Any) -> Any:
    """A node that calls graphs itself."""
    one, two = leaf_graph("one"), leaf_graph("two")

    def both(state: State) -> State:
        given: State = {"ask": state.get("ask", False)}
        return {"said": [*one.invoke(given)["said"], *two.invoke(given)["said"]]}

    outer = StateGraph(State).add_node("both", both).add_edge(START, "both")
    return outer.compile(checkpointer=saver)


def fanned_out(saver: Any) -> Any:
    """Several calls of one subgraph side by side, of which some ask."""
    outer = StateGraph(State)
    outer.add_node("split", lambda state: {})
    outer.add_node("leaf", leaf_graph("leaf"))
    outer.add_edge(START, "split")

    def spread(state: State) -> list[Send]:
        return [Send("leaf", {"ask": state.get("ask") and number < 2}) for number in range(3)]

    outer.add_conditional_edges("split", spread, ["leaf"])
    outer.add_edge("leaf", END)
    return outer.compile(checkpointer=saver)


GRAPHS = [nested, persistent, mixed, called_twice, fanned_out]


def converse(graph: Any, after_each: Callable[[], None], durability: str) -> list[Any]:
    """Runs with and without questions, each question answered; what each step came to."""
    found: list[Any] = []
    for ask in (False, True, False, True):
        state = graph.invoke({"ask": ask}, THREAD, durability=durability)
        after_each()
        for answer in range(8):
            snapshot = graph.get_state(THREAD, subgraphs=True)
            waiting = sorted(asked.value for asked in snapshot.interrupts)
            found.append((state["said"], waiting, snapshot.next))
            if not snapshot.interrupts:
                break
            resume = {asked.id: f"person {answer}" for asked in snapshot.interrupts}
            state = graph.invoke(Command(resume=resume), THREAD, durability=durability)
            after_each()
    return found


@each_saver
@pytest.mark.parametrize("durability", ["async", "exit"])
@pytest.mark.parametrize("build", GRAPHS)
def test_runs_go_on_after_prune(
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
def test_finished_calls_of_subgraphs_go(
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
def test_which_calls_are_finished(checkpoint_ns: str, parents: Any, finished: bool) -> None:
    newest = {
        "": NewestOfNamespace("2", None),
        "old:task": NewestOfNamespace("1", {"": "1"}),
        "now:task": NewestOfNamespace("2", {"": "2"}),
        "own": NewestOfNamespace("2", {"": "1"}),
    }
    assert is_finished(checkpoint_ns, parents, newest) == finished

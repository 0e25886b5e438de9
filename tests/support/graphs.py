"""Graphs with subgraphs and interrupts, and runs of them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

THREAD: Any = {"configurable": {"thread_id": "thread"}}


class State(TypedDict, total=False):
    said: Annotated[list[str], operator.add]

    ask: Annotated[bool, lambda old, new: new]


def leaf(name: str) -> tuple[Any, Any]:
    """Two steps, with an interrupt between them if the state asks for it."""

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

"""Real conversations, run by LangGraph: what the tests of the command line, and its documentation,
look at.

The classes are of a module "shop" that exists in this process alone, as an application's classes do
not exist where an operator looks at its threads.
"""

from __future__ import annotations

import operator
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timezone
from enum import Enum
from types import ModuleType
from typing import Annotated, Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from langgraph_redis_json import RedisSaver


class Customer(BaseModel):
    name: str
    vip: bool
    since: date


class Colour(Enum):
    RED = "red"


@dataclass
class Parcel:
    grams: int
    price: float


shop = ModuleType("shop")
for _class in (Customer, Colour, Parcel):
    _class.__module__ = "shop"
    setattr(shop, _class.__name__, _class)
sys.modules["shop"] = shop

PHOTO = "data:image/png;base64," + "iVBORw0KGgo" * 400
LONG = "It has travelled a long way, by land and by sea. " * 40


class State(MessagesState):
    customer: Customer
    parcel: Parcel
    colour: Colour
    due: datetime
    labels: set[str]
    notes: Annotated[list[str], operator.add]


def look(state: State) -> Any:
    calls = [
        {"name": "track", "args": {"parcel": "A-12"}, "id": "call-1"},
        {"name": "weather", "args": {"city": "Lisbon"}, "id": "call-2"},
    ]
    return {
        "messages": [AIMessage("I look it up.", tool_calls=calls, id="m2")],
        "customer": Customer(name="Ada", vip=True, since=date(2020, 1, 2)),
        "parcel": Parcel(grams=1200, price=0.1 + 0.2),
        "colour": Colour.RED,
        "due": datetime(2026, 1, 9, tzinfo=timezone.utc),
        "labels": {"fragile"},
        "notes": ["looked at the photo"],
    }


def use_tools(state: State) -> Any:
    return {
        "messages": [
            ToolMessage("in Porto since Monday", tool_call_id="call-1", name="track", id="m3"),
            ToolMessage(
                "no answer", tool_call_id="call-2", name="weather", id="m4", status="error"
            ),
        ]
    }


def answer(state: State) -> Any:
    place = state["messages"][-2].text.split()[1]
    return {"messages": [AIMessage(f"It is in {place}.\n\n{LONG}", id="m5")]}


def refund(state: State) -> Any:
    said = interrupt("Refund 30 euros?")
    return {"messages": [AIMessage(f"Refund: {said}.", id="m6")]}


def support(saver: RedisSaver) -> Any:
    """A desk that looks at a photo, calls two tools, and asks a person about a refund."""
    nodes = [look, use_tools, answer, refund]
    graph = StateGraph(State)
    for node in nodes:
        graph.add_node(node)
    for before, after in zip(["look", "use_tools", "answer"], nodes[1:], strict=True):
        graph.add_edge(before, after.__name__)
    return graph.add_edge(START, "look").add_edge("refund", END).compile(checkpointer=saver)


def ask(state: MessagesState) -> Any:
    return {"messages": [AIMessage("The depot was asked.", id="d1")]}


def fail(state: MessagesState) -> Any:
    raise ConnectionError("the depot does not answer")


def depot(saver: RedisSaver) -> Any:
    """A graph with a subgraph, whose last node fails."""
    inner = StateGraph(MessagesState).add_node(ask).add_edge(START, "ask")
    outer = StateGraph(MessagesState).add_node("depot", inner.compile(checkpointer=True))
    return (
        outer.add_node(fail)
        .add_edge(START, "depot")
        .add_edge("depot", "fail")
        .compile(checkpointer=saver)
    )


def echo(state: MessagesState) -> Any:
    number = len(state["messages"])
    return {"messages": [AIMessage(f"Answer {number // 2}.", id=f"a{number // 2}")]}


def chat(saver: RedisSaver) -> Any:
    """A graph that answers each question."""
    return (
        StateGraph(MessagesState).add_node(echo).add_edge(START, "echo").compile(checkpointer=saver)
    )


def config(thread_id: str, **metadata: Any) -> Any:
    return {"configurable": {"thread_id": thread_id}, "metadata": metadata}


def fill(saver: RedisSaver, turns: int = 100) -> None:
    """Threads "long-1" (Eve's, so many turns), "order:9" (Bob's), "order-8" (Ada's, failed) and
    "order-7" (Ada's, forked, waits for a person)."""
    talk = chat(saver)
    for turn in range(turns):
        talk.invoke(
            {"messages": [HumanMessage(f"Question {turn}?", id=f"q{turn}")]},
            config("long-1", user="eve", turn=turn),
        )
    bob = HumanMessage("Where is my \x1b[31mparcel\x1b[0m? 包裹在哪里", id="b1")
    talk.invoke({"messages": [bob]}, config("order:9", user="bob", vip=True))
    with suppress(ConnectionError):
        depot(saver).invoke(
            {"messages": [HumanMessage("Please ask the depot.", id="m1")]},
            config("order-8", user="ada", score=0.25),
        )
    desk, ada = support(saver), config("order-7", user="ada", score=0.9)
    blocks: list[str | dict[Any, Any]] = [
        {"type": "text", "text": "Where is my parcel? Here is a photo."},
        {"type": "image_url", "image_url": {"url": PHOTO}},
    ]
    desk.invoke({"messages": [HumanMessage(blocks, id="m1")]}, ada)
    desk.invoke(Command(resume="yes"), ada)
    # A fork: the same conversation, had the tool found the parcel in Faro.
    [tracked] = desk.get_state_history(ada, filter={"source": "loop", "step": 2})
    found = ToolMessage("in Faro since Monday", tool_call_id="call-1", name="track", id="m3")
    desk.update_state(tracked.config, {"messages": [found]}, as_node="use_tools")
    desk.invoke(None, ada)

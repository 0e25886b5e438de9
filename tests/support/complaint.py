"""The conversations of docs/walk.md: one of them has a wrong answer, because a tool was wrong."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from langgraph_redis_json import RedisSaver

PLACES = {"A-12": "in Porto since Monday", "B-7": "on its way to Lisbon", "C-3": "in Porto"}
"""What the tool says. The parcel A-12 is in Faro."""


def look(state: MessagesState) -> Any:
    number = state["messages"][-1].text.split()[3].rstrip("?")
    call = {"name": "track", "args": {"parcel": number}, "id": f"call-{number}"}
    return {"messages": [AIMessage("I look it up.", tool_calls=[call], id=f"{number}-2")]}


def use_tools(state: MessagesState) -> Any:
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    [call] = last.tool_calls
    number = call["args"]["parcel"]
    found = ToolMessage(PLACES[number], tool_call_id=call["id"], name="track", id=f"{number}-3")
    return {"messages": [found]}


def answer(state: MessagesState) -> Any:
    question, *_, found = state["messages"]
    number = question.text.split()[3].rstrip("?")
    return {"messages": [AIMessage(f"Your parcel is {found.text}.", id=f"{number}-4")]}


def desk(saver: RedisSaver) -> Any:
    """A graph that asks a tool where a parcel is."""
    graph = StateGraph(MessagesState)
    for node in (look, use_tools, answer):
        graph.add_node(node)
    graph.add_edge(START, "look").add_edge("look", "use_tools").add_edge("use_tools", "answer")
    return graph.add_edge("answer", END).compile(checkpointer=saver)


def complain(saver: RedisSaver) -> Any:
    """Fill a server with three conversations of Ada and Bob, and return their graph."""
    graph = desk(saver)
    for thread_id, user, number in [
        ("order-5", "ada", "B-7"),
        ("order-6", "bob", "C-3"),
        ("order-7", "ada", "A-12"),
    ]:
        question = HumanMessage(f"Where is parcel {number}?", id=f"{number}-1")
        config: Any = {"configurable": {"thread_id": thread_id}, "metadata": {"user": user}}
        graph.invoke({"messages": [question]}, config)
    return graph

"""Graphs that wait for a person are migrated from each saver, and go on."""

from __future__ import annotations

import operator
import sys
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.migration import Report, amigrate, migrate
from tests.support.graphs import GRAPHS, THREAD
from tests.support.sources import KINDS, Stores


def extend(state: list[Any], writes: Any) -> list[Any]:
    return [*state, *(item for write in writes for item in write)]


class State(TypedDict, total=False):
    messages: Annotated[list[Any], DeltaChannel(extend, snapshot_frequency=3)]
    said: Annotated[list[str], operator.add]
    ask: Annotated[bool, lambda old, new: new]


def deltas(saver: Any) -> Any:
    """A graph whose messages are rebuilt from the writes of several checkpoints."""

    def answer(state: State) -> Any:
        number = len(state["messages"])
        answered = interrupt("answer?") if state["ask"] else "nobody"
        return {"messages": [AIMessage(f"{answered} {number}", id=f"{number}")], "said": ["a"]}

    def parallel(name: str) -> Any:
        def node(state: State) -> Any:
            number = len(state["messages"])
            return {"messages": [HumanMessage(name, id=f"{name}{number}")]}

        return node

    builder = StateGraph(State)
    for name in "zyx":  # the order of their writes is that of their paths, not of their ids
        builder.add_node(name, parallel(name)).add_edge(START, name).add_edge(name, "answer")
    return builder.add_node("answer", answer).compile(checkpointer=saver)


each_graph = pytest.mark.parametrize("build", [*GRAPHS, deltas])
each_kind = pytest.mark.parametrize("kind", KINDS)


def play(graph: Any) -> None:
    """Run to the end, fork, and run to a question."""
    graph.invoke({"ask": False}, THREAD)
    old = [state for state in graph.get_state_history(THREAD) if state.metadata["step"] == 0]
    graph.update_state(old[-1].config, {"said": ["fork"]})
    graph.invoke(None, THREAD)
    assert "__interrupt__" in graph.invoke({"ask": True}, THREAD)


def go_on(graph: Any) -> list[Any]:
    """Answer all questions; what each step came to."""
    found = []
    for answer in range(8):
        snapshot = graph.get_state(THREAD, subgraphs=True)
        found.append(
            (snapshot.values, snapshot.next, sorted(one.value for one in snapshot.interrupts))
        )
        if not snapshot.interrupts:
            return found
        resume = {one.id: f"person {answer}" for one in snapshot.interrupts}
        graph.invoke(Command(resume=resume), THREAD)
    raise AssertionError("the questions do not end")


def check(report: Report, checkpoints: int) -> None:
    assert report.is_complete, report
    assert report.told == []
    assert (report.threads, report.copied, report.verified) == (1, checkpoints, checkpoints)
    assert report.checkpoints == checkpoints > 5
    assert report.updated == 0
    assert report.bytes > 1_000


@each_graph
@each_kind
def test_a_waiting_graph_goes_on(stores: Stores, target: RedisSaver, build: Any, kind: str) -> None:
    memory = InMemorySaver()
    play(build(memory))
    with stores.saver(kind) as source:
        play(build(source))
        count = sum(1 for _ in memory.list(None))
        check(migrate(source, target, verify=True), count)
        if kind != "redis":  # which changes values, and lists other checkpoints than were asked for
            same_checkpoints(source, target)
    compare(go_on(build(target)), go_on(build(memory)), kind)


def compare(found: list[Any], expected: list[Any], kind: str) -> None:
    if kind == "redis":
        # Its own get_tuple leaves out pending writes, so the run itself has lost such messages.
        for values, _, _ in [*found, *expected]:
            values.pop("messages", None)
    assert found == expected


def same_checkpoints(source: Any, target: RedisSaver) -> None:
    """All that LangGraph sees is the same, by Python's equality."""
    config: Any = {"configurable": {"thread_id": "thread"}}
    for found in source.list(config):
        copied = target.get_tuple(found.config)
        assert copied is not None
        assert copied.checkpoint == found.checkpoint
        assert copied.metadata == found.metadata
        assert copied.parent_config == found.parent_config
        assert copied.pending_writes == found.pending_writes
    deltas_: Any = {"config": THREAD, "channels": ["messages"]}
    assert target.get_delta_channel_history(**deltas_) == source.get_delta_channel_history(
        **deltas_
    )


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="interrupt() in awaited graphs needs Python 3.11"
)
@each_graph
@each_kind
async def test_a_waiting_graph_goes_on_from_an_asynchronous_saver(
    stores: Stores, redis_url: str, key_prefix: str, build: Any, kind: str
) -> None:
    memory = InMemorySaver()
    play(build(memory))
    async with (
        stores.async_saver(kind) as source,
        AsyncRedisSaver(redis_url, key_prefix=key_prefix) as target,
    ):
        await target.setup()
        graph = build(source)
        await graph.ainvoke({"ask": False}, THREAD)
        history = [state async for state in graph.aget_state_history(THREAD)]
        old = [state for state in history if state.metadata["step"] == 0]
        await graph.aupdate_state(old[-1].config, {"said": ["fork"]})
        await graph.ainvoke(None, THREAD)
        assert "__interrupt__" in await graph.ainvoke({"ask": True}, THREAD)
        count = sum(1 for _ in memory.list(None))
        check(await amigrate(source, target, verify=True), count)
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        compare(go_on(build(saver)), go_on(build(memory)), kind)

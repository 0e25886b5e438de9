"""The status of a thread is what graph.get_state() says of it."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
import redis
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

from langgraph_redis_json import RedisSaver
from tests.support.checkpoints import config, put
from tests.support.clients import Client, MakeSaver, Saver

SAVER = Client(RedisSaver, 3, False)


class State(TypedDict):
    a: int


@pytest.fixture
def saver(make_saver: MakeSaver) -> Saver:
    return make_saver(SAVER)


def status(saver: Saver, thread_id: str = "thread") -> str:
    [found] = [one.status for one in saver.threads() if one.thread_id == thread_id]
    assert [one.thread_id for one in saver.threads(status=found)].count(thread_id) == 1
    return found


def graph_of(saver: Saver, node: Any, **options: Any) -> Any:
    builder = StateGraph(State).add_node("first", lambda state: {"a": 1}).add_node("node", node)
    builder.add_edge(START, "first").add_edge("first", "node")
    return builder.compile(checkpointer=saver, **options)


def expected(graph: Any) -> str:
    """The status by the state that LangGraph reads."""
    state = graph.get_state(config())
    if any(task.error for task in state.tasks):
        return "error"
    return "interrupted" if state.next else "idle"


def test_a_finished_graph_is_idle(saver: Saver) -> None:
    graph = graph_of(saver, lambda state: {"a": 2})
    graph.invoke({"a": 0}, config())
    assert status(saver) == expected(graph) == "idle"


@pytest.mark.parametrize("stop", ["interrupt_before", "interrupt_after"])
def test_a_graph_that_stops_at_a_node_is_interrupted(saver: Saver, stop: str) -> None:
    node = "node" if stop == "interrupt_before" else "first"
    graph = graph_of(saver, lambda state: {"a": 2}, **{stop: [node]})
    graph.invoke({"a": 0}, config())
    assert status(saver) == expected(graph) == "interrupted"
    graph.invoke(None, config())
    assert status(saver) == expected(graph) == "idle"


def test_a_question_is_interrupted_until_it_is_answered(saver: Saver) -> None:
    graph = graph_of(saver, lambda state: {"a": interrupt("?") + interrupt("again?")})
    graph.invoke({"a": 0}, config())
    assert status(saver) == expected(graph) == "interrupted"
    graph.invoke(Command(resume=1), config())
    assert status(saver) == expected(graph) == "interrupted"
    graph.invoke(Command(resume=2), config())
    assert status(saver) == expected(graph) == "idle"


def test_an_answered_question_whose_task_fails_is_an_error(saver: Saver) -> None:
    fails = True

    def node(state: State) -> dict[str, Any]:
        interrupt("?")
        if fails:
            raise RuntimeError("failed")
        return {"a": 2}

    graph = graph_of(saver, node)
    graph.invoke({"a": 0}, config())
    with pytest.raises(RuntimeError):
        graph.invoke(Command(resume=1), config())
    assert status(saver) == "error"
    fails = False
    graph.invoke(Command(resume=1), config())
    assert status(saver) == expected(graph) == "idle"


def test_a_failed_graph_is_an_error_until_it_is_run_again(saver: Saver) -> None:
    fails = True

    def node(state: State) -> dict[str, Any]:
        if fails:
            raise RuntimeError("failed")
        return {"a": 2}

    graph = graph_of(saver, node)
    with pytest.raises(RuntimeError):
        graph.invoke({"a": 0}, config())
    assert status(saver) == expected(graph) == "error"
    fails = False
    graph.invoke(None, config())
    assert status(saver) == expected(graph) == "idle"


def test_tasks_of_send_that_wait_are_interrupted(saver: Saver) -> None:
    builder = StateGraph(State).add_node("node", lambda state: {"a": 1})
    builder.add_conditional_edges(START, lambda state: [Send("node", {"a": 1})], ["node"])
    builder.add_edge("node", END)
    graph = builder.compile(checkpointer=saver, interrupt_before=["node"])
    graph.invoke({"a": 0}, config())
    assert status(saver) == expected(graph) == "interrupted"


def test_an_update_of_the_state_counts(saver: Saver) -> None:
    graph = graph_of(saver, lambda state: {"a": 2})
    graph.invoke({"a": 0}, config())
    graph.update_state(config(), {"a": 5}, as_node="first")
    assert status(saver) == expected(graph) == "interrupted"
    graph.update_state(config(), {"a": 6}, as_node="node")
    assert status(saver) == expected(graph) == "idle"


@pytest.mark.parametrize("channel", ["branch:to:node", "__start__"])
def test_a_checkpoint_with_tasks_to_run_is_interrupted(saver: Saver, channel: str) -> None:
    """Also where the thread document is written again from the checkpoint."""
    put(saver, "1", {channel: None})
    assert status(saver) == "interrupted"
    put(saver, "2", metadata={"run_id": "later"}, parent="1")
    assert status(saver) == "idle"
    saver.delete_for_runs(["later"])
    assert status(saver) == "interrupted"


INTERRUPTED = (INTERRUPT, ["?"])
FAILED = (ERROR, "failed")
ANSWERED = (RESUME, [1])


@pytest.mark.parametrize("before", [True, False], ids=["writes first", "checkpoint first"])
@pytest.mark.parametrize(
    ("writes", "result"),
    [
        ([("a", INTERRUPTED)], "interrupted"),
        ([("a", FAILED)], "error"),
        ([("a", INTERRUPTED), ("a", ANSWERED), ("a", FAILED)], "error"),
        ([("a", FAILED), ("a", INTERRUPTED)], "interrupted"),
        ([("a", INTERRUPTED), ("a", FAILED), ("a", INTERRUPTED)], "interrupted"),
        ([("a", INTERRUPTED), ("b", FAILED)], "interrupted"),
        ([("b", FAILED), ("a", INTERRUPTED)], "interrupted"),
        ([("a", INTERRUPTED), ("a", FAILED), ("b", FAILED)], "error"),
        ([("a", ("channel", 1))], "idle"),
    ],
)
def test_the_last_special_write_of_each_task_counts(
    saver: Saver,
    redis_client: redis.Redis,
    key_prefix: str,
    writes: list[tuple[str, tuple[str, Any]]],
    result: str,
    before: bool,
) -> None:
    if not before:
        put(saver, "1")
    for task, write in writes:
        saver.put_writes(config(checkpoint_id="1"), [write], task)
    if before:
        put(saver, "1")
    assert status(saver) == result
    # A checkpoint of another namespace, and the deletion of a later one, change nothing.
    put(saver, "9", checkpoint_ns="sub")
    put(saver, "2", metadata={"run_id": "later"}, parent="1")
    assert status(saver) == "idle"
    saver.delete_for_runs(["later"])
    assert status(saver) == result


def test_a_question_costs_the_server_the_same_beside_thousands_of_others(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    """The script of a put_writes reads no list of all writes, and the index reads one member."""
    put(saver, "1")
    for number in range(300):
        saver.put_writes(config(checkpoint_id="1"), [INTERRUPTED], f"task {number}")
    key = f"{key_prefix}writes:{{thread}}::1"
    special = redis_client.execute_command("JSON.GET", key, "$.special_channels")
    assert special == '[{"-3":"__interrupt__"}]'
    before = redis_client.info("commandstats")
    saver.put_writes(config(checkpoint_id="1"), [INTERRUPTED], "another")
    after = redis_client.info("commandstats")
    read = "cmdstat_json.objkeys"
    assert after.get(read, {}).get("calls", 0) == before.get(read, {}).get("calls", 0)

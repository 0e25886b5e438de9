"""Compiled graphs, each step compared with the same graph on LangGraph's InMemorySaver."""

import asyncio
import dataclasses
import json
import operator
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import (
    Command,
    Overwrite,
    RetryPolicy,
    Send,
    StateSnapshot,
    StateUpdate,
    interrupt,
)
from pydantic import BaseModel
from typing_extensions import TypedDict

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from tests.support.clients import Client, MakeSaver
from tests.support.waiting import wait_until

CONFIG: RunnableConfig = {"configurable": {"thread_id": "thread"}, "metadata": {"user_id": "ada"}}


# ---- playing the same scene on two savers


class Way(NamedTuple):
    """A saver, and how graphs on it are called."""

    client: Client
    awaited: bool


WAYS = {
    "RedisSaver-invoke": Way(Client(RedisSaver, 3, False), awaited=False),
    "RedisSaver-ainvoke": Way(Client(RedisSaver, 2, True), awaited=True),
    "AsyncRedisSaver-ainvoke": Way(Client(AsyncRedisSaver, 3, False), awaited=True),
    "AsyncRedisSaver-invoke": Way(Client(AsyncRedisSaver, 2, True), awaited=False),
}


class Stage:
    """Runs graphs on one saver, synchronously or awaited, and keeps a picture of each step."""

    def __init__(
        self, saver: BaseCheckpointSaver[Any], loop: asyncio.AbstractEventLoop | None
    ) -> None:
        self.saver = saver
        self.awaited = loop is not None
        self._loop = loop
        self.pictures: list[str] = []
        self.calls: list[str] = []

    def will_interrupt(self) -> None:
        """Skip a scene that this Python cannot run."""
        if self.awaited and sys.version_info < (3, 11):
            pytest.skip("before Python 3.11, LangGraph cannot interrupt a graph that is awaited")

    def call(self, node: str) -> int:
        """Note that a node runs; returns how often it has run."""
        self.calls.append(node)
        return self.calls.count(node)

    def invoke(self, graph: Any, *args: Any, **options: Any) -> Any:
        try:
            result = self._do(graph, "invoke", *args, **options)
            if isinstance(result, dict) and "__interrupt__" in result:
                # Their order is that in which parallel tasks interrupted.
                result["__interrupt__"].sort(key=lambda asked: repr(asked.value))
        except OutOfOrder as error:
            result = error
        return self._keep("invoke", graph, result)

    def update_state(self, graph: Any, *args: Any, **options: Any) -> Any:
        return self._keep("update", graph, self._do(graph, "update_state", *args, **options))

    def bulk_update_state(self, graph: Any, *args: Any) -> Any:
        return self._keep("update", graph, self._do(graph, "bulk_update_state", *args))

    def state(self, graph: Any, config: Any = CONFIG) -> StateSnapshot:
        return self._do(graph, "get_state", config, subgraphs=True)

    def history(self, graph: Any, config: Any = CONFIG, **options: Any) -> list[StateSnapshot]:
        found = self._do(graph, "get_state_history", config, **options)
        self.pictures.append(picture("history", found))
        return found

    def checkpoints(self) -> list[CheckpointTuple]:
        return list(self.saver.list({"configurable": {"thread_id": "thread"}}))

    def _do(self, graph: Any, method: str, *args: Any, **options: Any) -> Any:
        if self._loop is None:
            result = getattr(graph, method)(*args, **options)
            return list(result) if isinstance(result, Iterator) else result
        found = getattr(graph, f"a{method}")(*args, **options)

        async def awaited() -> Any:
            return [item async for item in found] if hasattr(found, "__anext__") else await found

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result()

    def _keep(self, step: str, graph: Any, result: Any) -> Any:
        namespaces: dict[str, list[CheckpointTuple]] = {}
        for found in self.checkpoints():
            namespaces.setdefault(found.config["configurable"]["checkpoint_ns"], []).append(found)
        stored = sorted(map(list, namespaces.values()), key=lambda found: masked(picture(found)))
        shown = {
            "result": result,
            "state": self.state(graph),
            "calls": sorted(self.calls),
            "stored": stored,
        }
        self.pictures.append(picture(step, shown))
        return result


class OutOfOrder(Exception):
    """What failing nodes raise."""


UNIQUE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32}\b")
VERSION = re.compile(r"0{20}\d{12}\.|\d{10}\.[\w-]{8}$")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00")


def picture(*parts: Any) -> str:
    """A text with all details except random ones: ids are replaced by numbers."""
    ids: dict[str, str] = {}
    text = json.dumps([plain(part) for part in parts], indent=1, sort_keys=True)
    return UNIQUE.sub(lambda match: ids.setdefault(match[0], f"id-{len(ids)}"), text)


def masked(text: str) -> str:
    return re.sub(r"id-\d+", "id", text)


def plain(value: Any) -> Any:
    """The value as dicts, lists and text, with the names of its types."""
    if isinstance(value, str):
        if VERSION.match(value):
            return f"version {int(value.partition('.')[0])}"
        return "time" if TIME.fullmatch(value) else value
    if isinstance(value, dict):
        # A saver may repeat other members of the caller's config, or not.
        if isinstance(value.get("configurable"), dict):
            names = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
            value = {name: value["configurable"].get(name) for name in names}
        return {plain(key): plain(member) for key, member in value.items()}
    if isinstance(value, BaseModel):
        return [type(value).__name__, plain(dict(value))]
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return [type(value).__name__, plain(fields)]
    if hasattr(value, "_asdict"):
        return [type(value).__name__, plain(value._asdict())]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(plain, value)]
    if isinstance(value, (set, frozenset)):
        return [type(value).__name__, *sorted(map(plain, value), key=repr)]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Exception):
        return repr(value)
    # An object with nothing but an address to show would be compared by it.
    assert " object at 0x" not in repr(value), type(value)
    return [type(value).__name__, repr(value)]


Scene = Callable[[Stage], None]
SCENES: list[Any] = []


def scene(*variants: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A scene, or one for each variant of it."""

    def add(play: Callable[..., None]) -> Callable[..., None]:
        each_given: list[tuple[Any, ...]] = [(variant,) for variant in variants] or [()]
        for given in each_given:
            name = "-".join([play.__name__, *map(str, given)])
            SCENES.append(pytest.param(lambda stage, given=given: play(stage, *given), id=name))
        return play

    return add


@scene()
def history_of_messages(stage: Stage) -> None:
    def answer(state: MessagesState) -> Any:
        asked = state["messages"][-1]
        tool_call = {"name": "search", "args": {"query": asked.text, "k": 0.1}, "id": "call-1"}
        return {"messages": [AIMessage("", id=f"re-{asked.id}", tool_calls=[tool_call])]}

    builder = StateGraph(MessagesState).add_node(answer)
    graph = builder.add_edge(START, "answer").compile(checkpointer=stage.saver)
    for turn in range(4):
        config = {**CONFIG, "metadata": {"turn": turn, "new": turn == 0, "p": 0.1}}
        stage.invoke(graph, {"messages": [HumanMessage(f"q{turn}", id=f"q{turn}")]}, config)
    stage.invoke(graph, {"messages": [RemoveMessage("q0"), HumanMessage("q4", id="q4")]}, CONFIG)

    everything = stage.history(graph)
    assert len(everything) == 15
    assert [len(snapshot.values["messages"]) for snapshot in everything[::3]] == [9, 8, 6, 4, 2]
    for snapshot in everything:
        assert all(isinstance(message, BaseMessage) for message in snapshot.values["messages"])

    def found(**options: Any) -> list[int]:
        ids = [snapshot.config["configurable"]["checkpoint_id"] for snapshot in everything]
        history = stage.history(graph, **options)
        return [ids.index(snapshot.config["configurable"]["checkpoint_id"]) for snapshot in history]

    before = everything[5].config
    assert found(limit=2) == [0, 1]
    assert found(limit=0) == []
    assert found(before=before) == list(range(6, 15))
    assert found(filter={"source": "input"}) == [2, 5, 8, 11, 14]
    assert found(filter={"p": 0.1, "new": True}) == [12, 13, 14]
    of_turn = {"source": "loop", "turn": 1}
    assert found(filter=of_turn) == [9, 10]
    assert found(filter=of_turn, limit=1) == [9]
    assert found(filter=of_turn, before=everything[9].config) == [10]
    assert found(filter={"turn": "1"}) == []


class Trail(TypedDict):
    """A state that lists the nodes that made it, in order."""

    trail: Annotated[list[Any], operator.add]


class Lap(Trail):
    lap: int


def add_to_trail(stage: Stage, name: str) -> Any:
    def node(state: Any) -> Any:
        stage.call(name)
        return {"trail": [name]}

    return node


def chain(stage: Stage, *names: str, **options: Any) -> Any:
    """A graph of nodes, one after another."""
    builder = StateGraph(Trail)
    builder.add_sequence([(name, add_to_trail(stage, name)) for name in names])
    return builder.add_edge(START, names[0]).compile(checkpointer=stage.saver, **options)


@scene("inherited", "persistent", "given", "none")
def subgraph(stage: Stage, checkpointer: str) -> None:
    stage.will_interrupt()

    def ask(state: Trail) -> Any:
        stage.call("ask")
        return {"trail": [interrupt({"so far": state["trail"]})]}

    innermost = StateGraph(Trail).add_node("first", add_to_trail(stage, "first"))
    if checkpointer != "none":  # without a checkpointer there is nothing to resume
        innermost.add_node("ask", ask).add_edge("first", "ask")
    innermost.add_edge(START, "first")
    own = {"inherited": None, "persistent": True, "given": stage.saver, "none": False}
    inner = StateGraph(Trail).add_node("innermost", innermost.compile())
    inner.add_edge(START, "innermost")
    outer = StateGraph(Trail).add_node("before", add_to_trail(stage, "before"))
    outer.add_node("inner", inner.compile(checkpointer=own[checkpointer]))
    outer.add_node("after", add_to_trail(stage, "after"))
    outer.add_edge(START, "before").add_edge("before", "inner").add_edge("inner", "after")
    graph = outer.compile(checkpointer=stage.saver)

    for turn in "12":
        result = stage.invoke(graph, {"trail": [turn]}, CONFIG)
        if checkpointer != "none":
            assert "__interrupt__" in result
            [paused] = stage.state(graph).tasks
            assert isinstance(paused.state, StateSnapshot)
            [deeper] = paused.state.tasks
            assert isinstance(deeper.state, StateSnapshot)
            assert deeper.state.next == ("ask",)
            innermost_space = deeper.state.config["configurable"]["checkpoint_ns"]
            space = {"thread_id": "thread", "checkpoint_ns": innermost_space}
            assert len(stage.history(graph, {"configurable": space})) == 3
            stage.update_state(graph, deeper.state.config, {"trail": ["updated"]})
            result = stage.invoke(graph, Command(resume="yes"), CONFIG)
            assert {"updated", "yes"} <= set(result["trail"])
        assert result["trail"][-1] == "after"
    spaces = {found.config["configurable"]["checkpoint_ns"] for found in stage.checkpoints()}
    kept = {space.split(":")[0] for space in spaces if space and "|" not in space}
    assert kept == (set() if checkpointer == "none" else {"inner"})
    assert ("inner" in spaces) == (checkpointer == "persistent")


@scene()
def fan_out(stage: Stage) -> None:
    def work(state: Any) -> Any:
        stage.call("work")
        return {"trail": [state["n"] ** 2]}

    def double(state: Lap) -> Any:
        return {"trail": [state["lap"] * 2.5]}

    inner = StateGraph(Lap).add_node(double).add_edge(START, "double").compile()
    builder = StateGraph(Trail).add_node(work).add_node("inner", inner)
    builder.add_node("start", add_to_trail(stage, "start"))
    builder.add_node("join", add_to_trail(stage, "join"))
    builder.add_edge(START, "start").add_edge("work", "join")
    builder.add_conditional_edges(
        "start",
        lambda _: [
            *(Send("work", {"n": n}) for n in range(20)),
            *(Send("inner", {"lap": lap, "trail": []}) for lap in range(3)),
        ],
    )
    graph = builder.compile(checkpointer=stage.saver)
    result = stage.invoke(graph, {"trail": []}, CONFIG)
    squares = [n**2 for n in range(20)]
    assert result["trail"] == ["start", *squares, 0.0, 2.5, 5.0, "join"]
    history = stage.history(graph)
    assert len(history[2].tasks) == 23
    assert history[2].tasks[19].result == {"trail": [361]}


@scene()
def interrupts_in_parallel(stage: Stage) -> None:
    stage.will_interrupt()

    def ask(state: Any) -> Any:
        stage.call("ask")
        name = interrupt(f"name {state['n']}?")
        return {"trail": [f"{name} is {interrupt(f'age {name}?')}"]}

    builder = StateGraph(Trail).add_node(ask)
    builder.add_conditional_edges(START, lambda _: [Send("ask", {"n": n}) for n in range(3)])
    graph = builder.compile(checkpointer=stage.saver)
    stage.invoke(graph, {"trail": []}, CONFIG)
    for answer in ("Ada", 36, "Bob", 7, "Cy"):
        asked = stage.state(graph).interrupts
        assert len(asked) == 3 - stage.calls.count("answered")
        if isinstance(answer, int):
            stage.call("answered")
        stage.invoke(graph, Command(resume={asked[0].id: answer}), CONFIG)
    result = stage.invoke(graph, Command(resume=80), CONFIG)
    assert result["trail"] == ["Ada is 36", "Bob is 7", "Cy is 80"]


@scene()
def interrupt_before_and_after(stage: Stage) -> None:
    graph = chain(stage, "a", "b", "c", interrupt_before=["b"], interrupt_after=["b"])
    for nexts in (("b",), ("c",), ()):
        stage.invoke(graph, None if stage.calls else {"trail": []}, CONFIG)
        assert stage.state(graph).next == nexts
    stage.invoke(graph, {"trail": ["again"]}, CONFIG)
    result = stage.invoke(graph, {"trail": ["and again"]}, CONFIG)
    assert result["trail"] == ["a", "b", "c", "again", "a", "and again", "a"]


@scene()
def failing_node(stage: Stage) -> None:
    def fail(state: Trail) -> Any:
        attempt = stage.call("fail")
        if attempt <= 3:
            # Otherwise the other node's write may be saved or not.
            wait_until(lambda: any(channel == "trail" for _, channel, _ in stored_writes(stage)))
            raise OutOfOrder(f"attempt {attempt}")
        return {"trail": ["repaired"]}

    builder = StateGraph(Trail).add_node("works", add_to_trail(stage, "works"))
    retry = RetryPolicy(initial_interval=0.001, max_attempts=2, retry_on=OutOfOrder, jitter=False)
    builder.add_node(fail, retry_policy=retry)
    graph = builder.add_edge(START, "works").add_edge(START, "fail").compile(stage.saver)
    assert isinstance(stage.invoke(graph, {"trail": []}, CONFIG), OutOfOrder)
    [error] = [task.error for task in stage.state(graph).tasks if task.error]
    assert "attempt 2" in str(error)
    result = stage.invoke(graph, None, CONFIG)
    assert sorted(result["trail"]) == ["repaired", "works"]
    assert sorted(stage.calls) == ["fail"] * 4 + ["works"]


def stored_writes(stage: Stage) -> Any:
    found = stage.saver.get_tuple(CONFIG)
    return found.pending_writes if found else []


@scene()
def update_state(stage: Stage) -> None:
    graph = chain(stage, "a", "b", "c", interrupt_before=["b"])
    stage.invoke(graph, {"trail": []}, CONFIG)
    assert stage.state(graph).next == ("b",)
    stage.update_state(graph, CONFIG, {"trail": ["for a"]})
    skipped = stage.update_state(graph, CONFIG, {"trail": ["for b"]}, as_node="b")
    assert stage.state(graph, skipped).next == ("c",)
    result = stage.invoke(graph, None, CONFIG)
    assert result["trail"] == ["a", "for a", "for b", "c"]
    branch = stage.update_state(graph, skipped, {"trail": ["fork"]}, as_node="a")
    assert stage.invoke(graph, None, branch)["trail"] == ["a", "for a", "for b", "fork", "b", "c"]
    stage.update_state(graph, branch, None, as_node="__copy__")
    stage.update_state(graph, CONFIG, None, as_node=END)
    assert stage.state(graph).next == ()
    updates = [({"trail": ["bulk 1"]}, "a"), ({"trail": ["bulk 2"]}, "b")]
    stage.bulk_update_state(graph, CONFIG, [[StateUpdate(*update)] for update in updates])
    assert stage.invoke(graph, None, CONFIG)["trail"][-3:] == ["bulk 1", "bulk 2", "c"]
    stage.history(graph)


@scene()
def time_travel(stage: Stage) -> None:
    graph = chain(stage, "a", "b", "c")
    stage.invoke(graph, {"trail": ["start"]}, CONFIG)
    old = next(found for found in stage.history(graph) if found.next == ("b",))
    stage.invoke(graph, None, old.config)
    assert stage.calls == ["a", "b", "c", "b", "c"]
    fork = stage.update_state(graph, old.config, {"trail": ["fork"]})
    assert stage.invoke(graph, None, fork)["trail"] == ["start", "a", "fork", "b", "c"]
    assert stage.state(graph, old.config).values["trail"] == ["start", "a"]
    stage.invoke(graph, {"trail": ["other input"]}, old.config)
    history = stage.history(graph)
    parents = [found.parent_config for found in history]
    assert len({str(parent) for parent in parents}) < len(parents)  # there are forks


@scene()
def delta_channels(stage: Stage) -> None:
    stage.will_interrupt()

    def extend(state: list[Any], writes: Any) -> list[Any]:
        return [*state, *(item for write in writes for item in write)]

    def merge(state: dict[str, Any], writes: Any) -> dict[str, Any]:
        return {**state, **{key: value for write in writes for key, value in write.items()}}

    class State(TypedDict):
        messages: Annotated[list[Any], DeltaChannel(extend, snapshot_frequency=3)]
        facts: Annotated[dict[str, Any], DeltaChannel(merge, snapshot_frequency=3)]
        never: Annotated[list[Any], DeltaChannel(extend)]
        plain: Annotated[list[Any], operator.add]

    def answer(state: State) -> Any:
        n = stage.call("answer")
        if n == 5:
            interrupt("stop")
        text = AIMessage("x" * 600 if n == 2 else f"answer {n}", id=f"answer-{n}")
        return {"messages": [text], "facts": {f"fact {n}": n / 7}, "never": [n], "plain": [n]}

    builder = StateGraph(State).add_node(answer).add_node("again", answer)
    graph = builder.add_edge(START, "answer").add_edge("answer", "again").compile(stage.saver)

    def turn(config: Any = CONFIG) -> Any:
        return stage.invoke(graph, {"messages": [HumanMessage("question", id="q")]}, config)

    for _ in range(3):
        result = turn()
    assert "__interrupt__" in result
    stage.invoke(graph, Command(resume="go on"), CONFIG)
    turn()
    snapshots = [
        channel
        for found in stage.checkpoints()
        for channel, value in found.checkpoint["channel_values"].items()
        if isinstance(value, _DeltaSnapshot)
    ]
    assert snapshots.count("messages") >= 3
    assert snapshots.count("facts") >= 2
    assert "never" not in snapshots
    old = stage.history(graph)[7].config
    turn(old)
    stage.update_state(graph, old, {"messages": Overwrite(["reset"]), "never": [0.1]}, "again")
    assert turn()["messages"][0] == "reset"
    stage.history(graph)


@scene("sync", "async", "exit")
def durability(stage: Stage, mode: str) -> None:
    stage.will_interrupt()

    def ask(state: Trail) -> Any:
        if stage.call("ask") == 1:
            raise OutOfOrder("first")
        return {"trail": [interrupt("go on?")]}

    builder = StateGraph(Trail).add_node("ask", ask)
    builder.add_sequence([("a", add_to_trail(stage, "a")), ("b", add_to_trail(stage, "b"))])
    builder.add_edge(START, "a").add_edge("b", "ask")
    graph = builder.compile(checkpointer=stage.saver)
    assert isinstance(stage.invoke(graph, {"trail": []}, CONFIG, durability=mode), OutOfOrder)
    assert "__interrupt__" in stage.invoke(graph, None, CONFIG, durability=mode)
    result = stage.invoke(graph, Command(resume="yes"), CONFIG, durability=mode)
    assert result["trail"] == ["a", "b", "yes"]
    stage.invoke(graph, Command(goto="b", update={"trail": ["more"]}), CONFIG, durability=mode)
    assert (len(stage.checkpoints()) < 6) == (mode == "exit")


@scene()
def functional(stage: Stage) -> None:
    stage.will_interrupt()

    @task
    def square(number: int) -> Any:
        stage.call("square")
        return {"square": number**2}

    def conclude(numbers: list[int], squares: list[Any], previous: Any) -> Any:
        total = sum(each["square"] for each in squares) + (previous or 0)
        answer = interrupt({"total": total})
        return entrypoint.final(value=(numbers, answer), save=total)

    if stage.awaited:

        @entrypoint(checkpointer=stage.saver)
        async def workflow(numbers: list[int], *, previous: Any = None) -> Any:
            squares = await asyncio.gather(*map(square, numbers))
            return conclude(numbers, squares, previous)
    else:

        @entrypoint(checkpointer=stage.saver)
        def workflow(numbers: list[int], *, previous: Any = None) -> Any:
            squares = [future.result() for future in map(square, numbers)]
            return conclude(numbers, squares, previous)

    for numbers, total in (([1, 2, 3], 14), ([4], 30)):
        result = stage.invoke(workflow, numbers, CONFIG)
        assert result["__interrupt__"][0].value == {"total": total}
        assert stage.invoke(workflow, Command(resume="yes"), CONFIG) == (numbers, "yes")
    assert stage.calls == ["square"] * 4
    stage.history(workflow)


class Part(BaseModel):
    name: str
    price: float = 0.1 + 0.2


class PydanticState(BaseModel):
    parts: Annotated[list[Part], operator.add] = []
    kind: Literal["new", "done"] = "new"


@dataclasses.dataclass
class Point:
    x: float
    at: datetime


@dataclasses.dataclass
class DataclassState:
    points: Annotated[list[Point], operator.add] = dataclasses.field(default_factory=list)
    tags: set[str] = dataclasses.field(default_factory=set)


@scene()
def pydantic_state(stage: Stage) -> None:
    def build(state: PydanticState) -> Any:
        assert isinstance(state, PydanticState)
        return {"parts": [Part(name=f"part {len(state.parts)}")], "kind": "done"}

    builder = StateGraph(PydanticState).add_node(build)
    graph = builder.add_edge(START, "build").compile(checkpointer=stage.saver)
    stage.invoke(graph, PydanticState(parts=[Part(name="first", price=1e-7)]), CONFIG)
    result = stage.invoke(graph, {"kind": "new"}, CONFIG)
    assert result["parts"][1:] == [Part(name="part 1"), Part(name="part 2")]
    assert [type(part) for part in stage.state(graph).values["parts"]] == [Part] * 3
    stage.history(graph)


@scene()
def dataclass_state(stage: Stage) -> None:
    noon = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)

    def move(state: DataclassState) -> Any:
        assert isinstance(state, DataclassState)
        return {"points": [Point(len(state.points) / 3, noon)], "tags": state.tags | {"moved"}}

    builder = StateGraph(DataclassState).add_node(move)
    graph = builder.add_edge(START, "move").compile(checkpointer=stage.saver)
    stage.invoke(graph, DataclassState([Point(0.0, noon)], {"start"}), CONFIG)
    result = stage.invoke(graph, {"points": [Point(-0.0, noon)]}, CONFIG)
    assert result["points"][1] == Point(1 / 3, noon)
    assert result["tags"] == {"start", "moved"}
    stage.history(graph)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("play", SCENES)
def test_a_graph_runs_as_it_does_on_in_memory_saver(
    play: Scene,
    way: Way,
    make_saver: MakeSaver,
    event_loop_thread: asyncio.AbstractEventLoop,
) -> None:
    loop = event_loop_thread if way.awaited else None
    in_memory, on_redis = Stage(InMemorySaver(), loop), Stage(make_saver(way.client), loop)
    play(in_memory)
    play(on_redis)
    for remembered, read in zip(in_memory.pictures, on_redis.pictures, strict=True):
        assert read == remembered

"""The work that `bench.py` measures. One function is one workload, run by all savers in turns.

A label is a row of the table and, over the sizes that stand for its ``{}``, a line of a plot.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    contextmanager,
)
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import TASKS
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send

if TYPE_CHECKING:
    from bench_network import Proxy

T = TypeVar("T")
Saver = BaseCheckpointSaver[Any]


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        budget: seconds that a saver may spend on a workload before it is cut off.
    """

    agent: int = 400
    lengths: Sequence[int] = (10, 50, 100, 200, 400)
    threads: int = 2_000
    tasks: int = 500
    large: int = 1_000_000
    concurrent: int = 64
    turns: int = 10
    delays: Sequence[int] = (0, 1, 5)
    rounds: int = 31
    budget: float = 80.0

    @property
    def length(self) -> int:
        """The conversation of the targets, in messages."""
        return self.lengths[-2]


QUICK = Sizes(
    agent=100, lengths=(10, 100, 200, 400), threads=200, tasks=100, rounds=9, turns=5, budget=8.0
)


class Store(Protocol):
    """A saver's store: see `compare_savers`."""

    package: str

    def saver(self) -> AbstractContextManager[Saver]: ...
    def async_saver(self) -> AbstractAsyncContextManager[Saver]: ...
    def stored_bytes(self) -> int | None: ...
    def server(self) -> str: ...


class Remote(NamedTuple):
    """A store on a server, reached through a proxy."""

    store: Store
    proxy: Proxy


class Lane:
    """One of the savers that take turns."""

    def __init__(self, store: Store, saver: Any):
        self.name = store.package
        self.saver = saver
        self._store = store
        self._empty = _settled(store)

    def grown(self) -> int | None:
        """The bytes that the work has stored; None for a store in this process's memory."""
        now = self._store.stored_bytes()
        return None if now is None or self._empty is None else now - self._empty


def _settled(store: Store) -> int | None:
    """The bytes of an emptied store, once it has given back what was there."""
    found = store.stored_bytes()
    while found is not None:
        sleep(0.05)
        before, found = found, store.stored_bytes()
        if found is None or found >= before:
            break
    return found


class Key(NamedTuple):
    label: str
    size: int
    saver: str


PING = Key("PING", 0, "redis-py")


@dataclass
class Bench:
    """What the savers do their work with, and what came of it.

    Attributes:
        stores: a store of each saver.
        remotes: the same of those that have a server.
        ping: a PING through redis-py.
        times: seconds, for each time that something was done.
        bytes: what was stored or sent.
        cut: why a saver did not do all rounds of a workload.
    """

    sizes: Sizes
    stores: Sequence[Store]
    remotes: Sequence[Remote]
    ping: Callable[[], Any]
    advance: Callable[[str, float], None] = lambda work, share: None
    times: dict[Key, list[float]] = field(default_factory=dict)
    bytes: dict[Key, int] = field(default_factory=dict)
    cut: dict[tuple[str, str], str] = field(default_factory=dict)

    def timed(self, key: Key, call: Callable[..., T], *arguments: Any, **options: Any) -> T:
        start = perf_counter()
        result = call(*arguments, **options)
        self.note_time(key, start)
        return result

    def note_time(self, key: Key, start: float) -> None:
        """Something that began at `start` is done."""
        self.times.setdefault(key, []).append(perf_counter() - start)

    def in_turns(self, work: str, lanes: Sequence[Lane], rounds: int) -> Iterator[tuple[int, Lane]]:
        """Each saver in each round, but for those that have spent their budget."""
        spent = dict.fromkeys(lanes, 0.0)
        for number in range(rounds):
            self.advance(work, number / rounds)
            for lane in lanes:
                if (work, lane.name) in self.cut:
                    continue
                start = perf_counter()
                yield number, lane
                spent[lane] += perf_counter() - start
                if spent[lane] > self.sizes.budget and number + 1 < rounds:
                    done = f"{number + 1:,} of {rounds:,} rounds"
                    self.cut[work, lane.name] = f"{done} in {self.sizes.budget:g} s"

    @contextmanager
    def lanes(self, stores: Sequence[Store] | None = None) -> Iterator[list[Lane]]:
        """The savers, on empty stores."""
        gc.collect()
        with ExitStack() as stack:
            chosen = self.stores if stores is None else stores
            yield [Lane(store, stack.enter_context(store.saver())) for store in chosen]

    def note_bytes(self, key: Key, count: int | None) -> None:
        if count is not None:
            self.bytes[key] = count


# ---- a conversation


_RANDOM = Random(7)
_WORDS = ["".join(_RANDOM.choices("etaoinshrdlu", k=_RANDOM.randint(2, 9))) for _ in range(2_000)]
_WEIGHTS = [*accumulate(1 / rank for rank in range(1, len(_WORDS) + 1))]


def prose(characters: int) -> str:
    """Words as often as a language has them, so that it compresses as text does."""
    words = _RANDOM.choices(_WORDS, cum_weights=_WEIGHTS, k=characters // 3)
    return " ".join(words)[:characters]


def conversation(count: int, characters: int = 600) -> list[AnyMessage]:
    """A question, then calls of a tool and what it answered."""
    found: list[AnyMessage] = [HumanMessage(prose(characters), id=str(uuid4()))]
    while len(found) < count:
        call = {"name": "weather", "args": {"city": prose(12)}, "id": f"call-{len(found)}"}
        usage = {"input_tokens": 80, "output_tokens": 9, "total_tokens": 89}
        text = prose(characters)
        found.append(AIMessage(text, id=str(uuid4()), tool_calls=[call], usage_metadata=usage))
        answer = prose(characters)
        found.append(ToolMessage(answer, id=str(uuid4()), name="weather", tool_call_id=call["id"]))
    return found[:count]


class Thread:
    """Gives the arguments with which LangGraph would call a saver."""

    def __init__(self, saver: Saver):
        self.saver = saver
        self.config: Any = {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": ""}}
        self.messages: list[AnyMessage] = []
        self.versions: dict[str, Any] = {}
        self.step = -1

    @property
    def found(self) -> Any:
        """The config that asks for the newest checkpoint."""
        thread_id = self.config["configurable"]["thread_id"]
        return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}

    def write(self, message: AnyMessage) -> tuple[Any, ...]:
        return self.config, [("messages", [message])], str(uuid4())

    def step_on(
        self, messages: Sequence[AnyMessage], source: str = "loop", **others: Any
    ) -> tuple[Any, ...]:
        """A checkpoint with more messages, and other channels."""
        self.messages = [*self.messages, *messages]
        node, next_node = ("model", "tools") if self.step % 2 else ("tools", "model")
        values = {"messages": self.messages, f"branch:to:{next_node}": None, **others}
        seen = {
            "__input__": {},
            **{name: {f"branch:to:{name}": self.versions.get(f"branch:to:{name}")}
               for name in ("model", "tools")},
        }  # fmt: skip
        newest = max(self.versions.values(), default=None)
        new = dict.fromkeys(
            [*values, f"branch:to:{node}"], self.saver.get_next_version(newest, None)
        )
        self.versions = {**self.versions, **new}
        checkpoint = {
            "v": 4,
            "id": str(uuid6(clock_seq=self.step)),
            "ts": "2026-01-02T03:04:05.678901+00:00",
            "channel_values": values,
            "channel_versions": dict(self.versions),
            "versions_seen": seen,
            "updated_channels": sorted(new),
        }
        metadata = {"source": source, "step": self.step, "parents": {}}
        self.step += 1
        return self.config, checkpoint, metadata, new

    def put(self, messages: Sequence[AnyMessage], **others: Any) -> None:
        """Put it, unmeasured."""
        self.config = self.saver.put(*self.step_on(messages, **others))


def _marks(most: int) -> list[int]:
    return sorted({max(1, most // part) for part in (8, 4, 2, 1)})


# ---- the workloads


def short_threads(bench: Bench) -> None:
    """Many threads of 4 supersteps, and searches of them all while they become more."""
    work, count = "short threads", bench.sizes.threads
    said = conversation(4, characters=60)
    rare = max(1, count // 20)  # one in so many is found
    with bench.lanes() as lanes:
        for number, lane in bench.in_turns(work, lanes, count):
            if lane is lanes[0]:
                for _ in range(4):
                    bench.timed(PING, bench.ping)
            saver, thread = lane.saver, Thread(lane.saver)
            for step, message in enumerate(said):
                if step:
                    key = Key("put_writes, one small write", 0, lane.name)
                    bench.timed(key, saver.put_writes, *thread.write(message))
                source = "fork" if step == 3 and number % rare == 0 else "loop"
                put = thread.step_on([message], source)
                key = Key("put, short thread", 0, lane.name)
                thread.config = bench.timed(key, saver.put, *put)
            key = Key("get_tuple, short thread", 0, lane.name)
            bench.timed(key, saver.get_tuple, thread.found)
            if number + 1 in _marks(count):
                key = Key("{:,} short threads of 4 supersteps", number + 1, lane.name)
                bench.note_bytes(key, lane.grown())
                key = Key("search of all threads, {:,} checkpoints", 4 * number + 4, lane.name)
                for _ in range(5):
                    bench.timed(key, _first_ten, saver, None, filter={"source": "fork"})


def _first_ten(saver: Saver, config: Any, filter: Any = None) -> list[Any]:
    return list(saver.list(config, filter=filter, limit=10))


def long_threads(bench: Bench) -> None:
    """One more step of conversations of several lengths."""
    for length in bench.sizes.lengths:
        said = conversation(length)
        with bench.lanes() as lanes:
            for _, lane in bench.in_turns(f"{length} messages", lanes, bench.sizes.rounds):
                saver, thread = lane.saver, Thread(lane.saver)
                thread.put(said[:-1])
                saver.put_writes(*thread.write(said[-1]))
                put = thread.step_on(said[-1:])
                bench.timed(Key("put, {:,} messages", length, lane.name), saver.put, *put)
                key = Key("get_tuple, {:,} messages", length, lane.name)
                bench.timed(key, saver.get_tuple, thread.found)


def listing(bench: Bench) -> None:
    """Lists of a thread's last ten checkpoints."""
    length = bench.sizes.length
    said = conversation(length)
    with bench.lanes() as lanes:
        threads = {lane: Thread(lane.saver) for lane in lanes}
        for thread in threads.values():
            thread.put(said[:-10])
            for message in said[-10:]:
                thread.put([message])
        for _, lane in bench.in_turns("listing", lanes, bench.sizes.rounds // 2):
            for label, wanted in (
                ("list(limit=10), {:,} messages", None),
                ("list(filter=…, limit=10), {:,} messages", {"source": "loop"}),
            ):
                key = Key(label, length, lane.name)
                bench.timed(key, _first_ten, lane.saver, threads[lane].found, wanted)


def agent(bench: Bench) -> None:
    """A conversation with tools, superstep by superstep."""
    steps = bench.sizes.agent
    said = conversation(steps + 1)
    with bench.lanes() as lanes:
        threads = {lane: Thread(lane.saver) for lane in lanes}
        for thread in threads.values():
            thread.put(said[:1])
        for number, lane in bench.in_turns("agent", lanes, steps):
            saver, thread, message = lane.saver, threads[lane], said[number + 1]
            write, put = thread.write(message), thread.step_on([message])
            start = perf_counter()
            saver.put_writes(*write)
            thread.config = saver.put(*put)
            key = Key("a superstep (put_writes, put) of an agent of {:,}", steps, lane.name)
            bench.note_time(key, start)
            if number + 1 in _marks(steps):
                key = Key("an agent of {:,} supersteps", number + 1, lane.name)
                bench.note_bytes(key, lane.grown())


def fan_out(bench: Bench) -> None:
    """A superstep of many tasks, by Send, each with its write."""
    for tasks in (bench.sizes.tasks // 2, bench.sizes.tasks):
        sends = [Send("worker", {"item": prose(100)}) for _ in range(tasks)]
        results = [prose(200) for _ in range(tasks)]
        with bench.lanes() as lanes:
            for _, lane in bench.in_turns(f"{tasks} tasks", lanes, max(1, bench.sizes.rounds // 5)):
                saver, thread = lane.saver, Thread(lane.saver)
                put = thread.step_on(conversation(1), **{TASKS: sends})
                key = Key("put of {:,} Sends", tasks, lane.name)
                thread.config = bench.timed(key, saver.put, *put)
                start = perf_counter()
                for number, result in enumerate(results):
                    path = f"~__pregel_push, {number:010}"
                    saver.put_writes(thread.config, [("results", result)], str(uuid4()), path)
                key = Key("put_writes of {:,} tasks, together", tasks, lane.name)
                bench.note_time(key, start)
                for _ in range(5):
                    key = Key("get_tuple with {:,} tasks' writes", tasks, lane.name)
                    bench.timed(key, saver.get_tuple, thread.found)


def large_values(bench: Bench) -> None:
    """A large text and large bytes, new in each step."""
    size = bench.sizes.large
    text, random = prose(size), Random(7)
    with bench.lanes() as lanes:
        for number, lane in bench.in_turns("large values", lanes, bench.sizes.rounds // 2):
            saver, thread = lane.saver, Thread(lane.saver)
            values = {"text": f"{number} {text}", "bytes": random.randbytes(size)}
            put = thread.step_on(conversation(1), **values)
            key = Key("put, {:,} characters and as many bytes", size, lane.name)
            thread.config = bench.timed(key, saver.put, *put)
            key = Key("get_tuple, {:,} characters and as many bytes", size, lane.name)
            bench.timed(key, saver.get_tuple, thread.found)


def concurrent_threads(bench: Bench) -> None:
    """Many threads at once, on one event loop."""
    asyncio.run(_concurrent_threads(bench))


async def _concurrent_threads(bench: Bench) -> None:
    count = bench.sizes.concurrent
    said = conversation(4, characters=60)

    async def converse(lane: Lane) -> None:
        saver, thread = lane.saver, Thread(lane.saver)
        for message in said:
            start = perf_counter()
            put = thread.step_on([message])
            thread.config = await saver.aput(*put)
            await saver.aput_writes(*thread.write(message))
            key = Key("an async superstep, one of {:,} threads at once", count, lane.name)
            bench.note_time(key, start)
        await saver.aget_tuple(thread.found)

    async with AsyncExitStack() as stack:
        lanes = [
            Lane(store, await stack.enter_async_context(store.async_saver()))
            for store in bench.stores
        ]
        for _, lane in bench.in_turns("async threads", lanes, max(1, bench.sizes.rounds // 5)):
            start = perf_counter()
            ended = await asyncio.gather(
                *(converse(lane) for _ in range(count)), return_exceptions=True
            )
            if errors := [error for error in ended if isinstance(error, BaseException)]:
                bench.cut["async threads", lane.name] = f"{type(errors[0]).__name__}: {errors[0]}"
                continue
            key = Key("{:,} async threads of 4 supersteps, all together", count, lane.name)
            bench.note_time(key, start)


def graphs(bench: Bench) -> None:
    """A compiled graph whose model calls a tool a few times and answers."""
    turns = bench.sizes.turns
    said = conversation(2 * turns + 2)

    def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [said[len(state["messages"])]]}

    def route(state: MessagesState) -> str:
        return "tools" if len(state["messages"]) <= 2 * turns else END

    builder = StateGraph(MessagesState)
    builder.add_node("model", speak)
    builder.add_node("tools", speak)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", route, ["tools", END])
    builder.add_edge("tools", "model")
    with bench.lanes() as lanes:
        compiled = {lane: builder.compile(checkpointer=lane.saver) for lane in lanes}
        for _, lane in bench.in_turns("graph", lanes, bench.sizes.rounds // 2):
            config = {"configurable": {"thread_id": str(uuid4())}, "recursion_limit": 1_000}
            key = Key("graph.invoke, {:,} calls of a tool", turns, lane.name)
            bench.timed(key, compiled[lane].invoke, {"messages": said[:1]}, config)


def distances(bench: Bench) -> None:
    """The same on a network that holds each reply back."""
    said = conversation(20)
    stores = [remote.store for remote in bench.remotes]
    for delay in bench.sizes.delays:
        for remote in bench.remotes:
            remote.proxy.delay = delay / 1_000
        with bench.lanes(stores) as lanes:
            for _, lane in bench.in_turns(f"{delay} ms away", lanes, bench.sizes.rounds // 2):
                saver, thread = lane.saver, Thread(lane.saver)
                thread.put(said[:-1])
                write, put = thread.write(said[-1]), thread.step_on(said[-1:])
                start = perf_counter()
                saver.put_writes(*write)
                thread.config = saver.put(*put)
                key = Key("a superstep (put_writes, put), {:,} ms away", delay, lane.name)
                bench.note_time(key, start)
                key = Key("get_tuple, {:,} ms away", delay, lane.name)
                bench.timed(key, saver.get_tuple, thread.found)
                key = Key("list(limit=10), {:,} ms away", delay, lane.name)
                bench.timed(key, _first_ten, saver, thread.found)


def sent_bytes(bench: Bench) -> None:
    """What goes over the network for one more step of the longest conversation."""
    length = bench.sizes.lengths[-1]
    said = conversation(length)
    proxies = {remote.store.package: remote.proxy for remote in bench.remotes}
    for proxy in proxies.values():
        proxy.delay = 0
    with bench.lanes([remote.store for remote in bench.remotes]) as lanes:
        for lane in lanes:
            saver, thread = lane.saver, Thread(lane.saver)
            thread.put(said[:-2])
            saver.put_writes(*thread.write(said[-2]))
            thread.put(said[-2:-1])  # by now connections and scripts are there
            before = proxies[lane.name].sent
            saver.put_writes(*thread.write(said[-1]))
            thread.put(said[-1:])
            key = Key(SENT, length, lane.name)
            bench.note_bytes(key, proxies[lane.name].sent - before)
    bench.note_bytes(Key(SENT, length, "the message"), len(_SERDE.dumps_typed(said[-1])[1]))


SENT = "sent for a superstep at {:,} messages"
_SERDE = JsonPlusSerializer()

WORKLOADS: Sequence[Callable[[Bench], None]] = (
    short_threads,
    long_threads,
    listing,
    agent,
    fan_out,
    large_values,
    concurrent_threads,
    graphs,
    distances,
    sent_bytes,
)

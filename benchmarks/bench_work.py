"""The workloads that `bench.py` measures. Each function is one workload for all savers.

The label of a figure is the name of its table row. ``{}`` in a label stands for a size, and a plot
draws one label over its sizes.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from time import perf_counter, sleep
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import TASKS
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send
from stores import Saver, Store

if TYPE_CHECKING:
    from bench_network import Proxy

T = TypeVar("T")
_SERIALIZER = JsonPlusSerializer()
SENT = "sent for a superstep at {:,} messages"
PROCESSOR = "server's processor time for a superstep"
NEW_SAVER_GET = "get_tuple of one of {:,} threads, new saver"
FIND_ALL = "list(filter={{source}}), all of {:,} found"
FIND_NEWEST = "list(filter={{user_id}}, limit=20) of {:,} found"
ENCRYPTED_AGENT = "encrypted agent of {:,} supersteps"
AT_ONCE, ONE_BY_ONE = "{:,} aput at once, total", "{:,} aput one by one, total"


@dataclass(frozen=True)
class Sizes:
    """How large each workload is.

    Attributes:
        agent: supersteps of the agent.
        lengths: messages of the conversations.
        threads: number of short threads.
        tasks: tasks of the largest superstep.
        large: bytes of each large value.
        concurrent: threads that run at the same time.
        searched: short threads that are read and searched together.
        burst: puts of one saver at the same time.
        turns: tool calls of the graph.
        delays: network delays, in milliseconds.
        rounds: how often a workload is repeated.
        budget: seconds that a saver may spend on a workload; after them it is stopped.
    """

    agent: int = 400
    lengths: Sequence[int] = (10, 50, 100, 200, 400)
    threads: int = 2_000
    tasks: int = 500
    large: int = 1_000_000
    concurrent: int = 64
    searched: int = 1_000
    burst: int = 2_000
    turns: int = 10
    delays: Sequence[int] = (0, 1, 5)
    rounds: int = 31
    budget: float = 80.0

    @property
    def length(self) -> int:
        """Messages of the conversation that the summary shows."""
        return self.lengths[-2]


QUICK = Sizes(
    agent=100,
    lengths=(10, 100, 200, 400),
    threads=200,
    tasks=100,
    searched=200,
    burst=500,
    rounds=9,
    turns=5,
    budget=8.0,
)


class Remote(NamedTuple):
    """A store that is reached through a proxy."""

    store: Store
    proxy: Proxy


class Entrant:
    """A saver that takes part in a measurement, with its store."""

    def __init__(self, store: Store, saver: Any):
        self.name = store.package
        self.saver = saver
        self._store = store
        self._empty = _size_when_empty(store)

    def another_saver(self) -> AbstractContextManager[Any]:
        """One more saver on the same data."""
        return self._store.another_saver()

    def processor_seconds(self) -> float | None:
        """The processor time that the Redis server has used; None for any other store."""
        return self._store.processor_seconds()

    def added_bytes(self) -> int | None:
        """The bytes that the workload has stored; None for a store in this process's memory."""
        now = self._store.stored_bytes()
        return None if now is None or self._empty is None else now - self._empty


def _size_when_empty(store: Store) -> int | None:
    """The size of an emptied store. Waits until the server has freed the old data."""
    size = store.stored_bytes()
    while size is not None:
        sleep(0.05)
        before, size = size, store.stored_bytes()
        if size is None or size >= before:
            break
    return size


class Key(NamedTuple):
    """Names a figure: the label, the size in it (0 if it has none), and the saver."""

    label: str
    size: int
    saver: str


PING = Key("PING", 0, "redis-py")


@dataclass
class Bench:
    """Runs workloads, and collects their figures.

    Attributes:
        stores: one store for each saver.
        remotes: the stores that have a server, each behind a proxy.
        ping: sends a PING through redis-py.
        advance: shows the progress of a workload: its name, and the share that is done.
        times: the seconds of each repetition.
        bytes: the bytes that were stored or sent.
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
        """Call a function and record how long it takes."""
        start = perf_counter()
        result = call(*arguments, **options)
        self.record_time(key, start)
        return result

    def record_time(self, key: Key, start: float) -> None:
        """Record the time from `start` until now."""
        self.times.setdefault(key, []).append(perf_counter() - start)

    def record_bytes(self, key: Key, count: int | None) -> None:
        """Record a number of bytes, unless it is None."""
        if count is not None:
            self.bytes[key] = count

    def take_turns(
        self, work: str, entrants: Sequence[Entrant], rounds: int
    ) -> Iterator[tuple[int, Entrant]]:
        """Yield each saver once in each round. Skip savers that have spent their budget."""
        spent = dict.fromkeys(entrants, 0.0)
        for number in range(rounds):
            self.advance(work, number / rounds)
            for entrant in entrants:
                if (work, entrant.name) in self.cut:
                    continue
                start = perf_counter()
                yield number, entrant
                spent[entrant] += perf_counter() - start
                if spent[entrant] > self.sizes.budget and number + 1 < rounds:
                    done = f"{number + 1:,} of {rounds:,} rounds"
                    self.cut[work, entrant.name] = f"{done} in {self.sizes.budget:g} s"

    @contextmanager
    def entrants(self, stores: Sequence[Store] | None = None) -> Iterator[list[Entrant]]:
        """Open all savers on empty stores."""
        gc.collect()
        with ExitStack() as stack:
            chosen = self.stores if stores is None else stores
            yield [Entrant(store, stack.enter_context(store.saver())) for store in chosen]


# ---- conversations


_RANDOM = Random(7)
_WORDS = ["".join(_RANDOM.choices("etaoinshrdlu", k=_RANDOM.randint(2, 9))) for _ in range(2_000)]
_WEIGHTS = [*accumulate(1 / rank for rank in range(1, len(_WORDS) + 1))]


def prose(characters: int) -> str:
    """Random words in the frequencies of a natural language, so that they compress like text."""
    words = _RANDOM.choices(_WORDS, cum_weights=_WEIGHTS, k=characters // 3)
    return " ".join(words)[:characters]


def conversation(count: int, characters: int = 600) -> list[AnyMessage]:
    """A question, followed by tool calls and tool results in turn."""
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
    """A conversation thread: makes the arguments that LangGraph would pass to a saver."""

    def __init__(self, saver: Saver):
        self.saver = saver
        self.config: Any = {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": ""}}
        self.messages: list[AnyMessage] = []
        self.versions: dict[str, Any] = {}
        self.step = -1
        self.user_id = ""

    @property
    def newest(self) -> Any:
        """The config that selects the newest checkpoint."""
        thread_id = self.config["configurable"]["thread_id"]
        return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}

    def write_arguments(self, message: AnyMessage) -> tuple[Any, ...]:
        """The arguments of a put_writes with one message."""
        return self.config, [("messages", [message])], str(uuid4())

    def put_arguments(
        self,
        messages: Sequence[AnyMessage],
        others: Mapping[str, Any] = MappingProxyType({}),
        source: str = "loop",
    ) -> tuple[Any, ...]:
        """The arguments of the next put: a checkpoint with more messages, and other channels."""
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
        metadata: dict[str, Any] = {"source": source, "step": self.step, "parents": {}}
        if self.user_id:
            metadata["user_id"] = self.user_id
        self.step += 1
        return self.config, checkpoint, metadata, new

    def put(
        self, messages: Sequence[AnyMessage], others: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Store the next checkpoint without measuring it."""
        self.config = self.saver.put(*self.put_arguments(messages, others))


def _sizes_to_record(most: int) -> list[int]:
    return sorted({max(1, most // part) for part in (8, 4, 2, 1)})


# ---- the workloads


def short_threads(bench: Bench) -> None:
    """Many threads of 4 supersteps, with searches across them as their number grows."""
    work, count = "short threads", bench.sizes.threads
    messages = conversation(4, characters=60)
    rare = max(1, count // 20)  # the search finds one thread in so many
    with bench.entrants() as entrants:
        for number, entrant in bench.take_turns(work, entrants, count):
            if entrant is entrants[0]:
                for _ in range(4):
                    bench.timed(PING, bench.ping)
            saver, thread = entrant.saver, Thread(entrant.saver)
            for step, message in enumerate(messages):
                if step:
                    key = Key("put_writes, one small write", 0, entrant.name)
                    bench.timed(key, saver.put_writes, *thread.write_arguments(message))
                source = "fork" if step == 3 and number % rare == 0 else "loop"
                put = thread.put_arguments([message], source=source)
                key = Key("put, short thread", 0, entrant.name)
                thread.config = bench.timed(key, saver.put, *put)
            key = Key("get_tuple, short thread", 0, entrant.name)
            bench.timed(key, saver.get_tuple, thread.newest)
            if number + 1 in _sizes_to_record(count):
                key = Key("{:,} short threads of 4 supersteps", number + 1, entrant.name)
                bench.record_bytes(key, entrant.added_bytes())
                key = Key("search across threads, {:,} checkpoints", 4 * number + 4, entrant.name)
                for _ in range(5):
                    bench.timed(key, _first_ten, saver, None, filter={"source": "fork"})


def many_threads(bench: Bench) -> None:
    """Many short threads of one user: the server's time for each superstep, reads by a saver that
    has cached nothing, and searches that find many checkpoints."""
    work, count = "many threads", bench.sizes.searched
    messages = conversation(4, characters=60)
    with bench.entrants() as entrants:
        threads: dict[Entrant, list[Thread]] = {entrant: [] for entrant in entrants}
        used = {entrant: entrant.processor_seconds() for entrant in entrants}
        for _, entrant in bench.take_turns(work, entrants, count):
            thread = Thread(entrant.saver)
            thread.user_id = "ada"
            for step, message in enumerate(messages):
                put = thread.put_arguments([message], source="loop" if step else "input")
                thread.config = entrant.saver.put(*put)
                entrant.saver.put_writes(*thread.write_arguments(message))
            threads[entrant].append(thread)
        for entrant, before in used.items():
            after = entrant.processor_seconds()
            if before is not None and after is not None and len(threads[entrant]) == count:
                key = Key(PROCESSOR, 0, entrant.name)
                bench.times[key] = [(after - before) / (4 * count)]
        _read_at_random(bench, entrants, threads)
        _search_many(bench, entrants)


def _read_at_random(
    bench: Bench, entrants: Sequence[Entrant], threads: Mapping[Entrant, Sequence[Thread]]
) -> None:
    count, random = bench.sizes.searched, Random(7)
    with ExitStack() as stack:
        savers = {entrant: stack.enter_context(entrant.another_saver()) for entrant in entrants}
        for _, entrant in bench.take_turns("reads at random", entrants, count):
            config = random.choice(threads[entrant]).newest
            key = Key(NEW_SAVER_GET, count, entrant.name)
            bench.timed(key, savers[entrant].get_tuple, config)


def _search_many(bench: Bench, entrants: Sequence[Entrant]) -> None:
    count, rounds = bench.sizes.searched, max(1, bench.sizes.rounds // 6)
    work = "searches that find many"
    for label, size, filter, limit in (
        (FIND_ALL, count, {"source": "input"}, None),
        (FIND_NEWEST, 4 * count, {"user_id": "ada"}, 20),
    ):
        for _, entrant in bench.take_turns(work, entrants, rounds):
            start = perf_counter()
            try:
                found = list(entrant.saver.list(None, filter=filter, limit=limit))
            except ValueError as error:
                bench.cut[work, entrant.name] = f"{type(error).__name__}: {error}"
                continue
            if len(found) != (limit or count):
                raise RuntimeError(f"{entrant.name} found {len(found)} checkpoints")
            bench.record_time(Key(label, size, entrant.name), start)


def _first_ten(saver: Saver, config: Any, filter: Any = None) -> list[Any]:
    return list(saver.list(config, filter=filter, limit=10))


def long_threads(bench: Bench) -> None:
    """The last step of conversations of several lengths."""
    for length in bench.sizes.lengths:
        messages = conversation(length)
        with bench.entrants() as entrants:
            for _, entrant in bench.take_turns(f"{length} messages", entrants, bench.sizes.rounds):
                saver, thread = entrant.saver, Thread(entrant.saver)
                thread.put(messages[:-1])
                saver.put_writes(*thread.write_arguments(messages[-1]))
                put = thread.put_arguments(messages[-1:])
                bench.timed(Key("put, {:,} messages", length, entrant.name), saver.put, *put)
                key = Key("get_tuple, {:,} messages", length, entrant.name)
                bench.timed(key, saver.get_tuple, thread.newest)


def listing(bench: Bench) -> None:
    """List the last ten checkpoints of a thread."""
    length = bench.sizes.length
    messages = conversation(length)
    with bench.entrants() as entrants:
        threads = {entrant: Thread(entrant.saver) for entrant in entrants}
        for thread in threads.values():
            thread.put(messages[:-10])
            for message in messages[-10:]:
                thread.put([message])
        for _, entrant in bench.take_turns("listing", entrants, bench.sizes.rounds // 2):
            for label, wanted in (
                ("list(limit=10), {:,} messages", None),
                ("list(filter=…, limit=10), {:,} messages", {"source": "loop"}),
            ):
                key = Key(label, length, entrant.name)
                bench.timed(key, _first_ten, entrant.saver, threads[entrant].newest, wanted)


def agent(bench: Bench) -> None:
    """A long conversation with tools, stored superstep by superstep."""
    with bench.entrants() as entrants:
        _grow(bench, "agent", entrants)


def encrypted_agent(bench: Bench) -> None:
    """The same conversation, encrypted by LangGraph's EncryptedSerializer."""
    work, steps = "encrypted agent", bench.sizes.agent
    with bench.entrants() as entrants:
        for entrant in entrants:
            entrant.saver.serde = EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")
        threads = _grow(bench, work, entrants)
        for _, entrant in bench.take_turns("encrypted reads", [*threads], bench.sizes.rounds // 4):
            with entrant.another_saver() as saver:
                saver.serde = entrant.saver.serde
                key = Key(f"get_tuple, {work} of {{:,}} supersteps", steps, entrant.name)
                bench.timed(key, saver.get_tuple, threads[entrant].newest)


def _grow(bench: Bench, work: str, entrants: Sequence[Entrant]) -> dict[Entrant, Thread]:
    """Let an agent's thread of each saver grow. Returns those that reached the end."""
    steps = bench.sizes.agent
    messages = conversation(steps + 1)
    threads = {entrant: Thread(entrant.saver) for entrant in entrants}
    for entrant, thread in threads.items():
        try:
            thread.put(messages[:1])
        except UnicodeDecodeError as error:  # langgraph-checkpoint-redis cannot store ciphertext
            bench.cut[work, entrant.name] = f"{type(error).__name__}: {error}"
    label = f"{work} of {{:,}} supersteps"
    for number, entrant in bench.take_turns(work, entrants, steps):
        saver, thread, message = entrant.saver, threads[entrant], messages[number + 1]
        write, put = thread.write_arguments(message), thread.put_arguments([message])
        start = perf_counter()
        saver.put_writes(*write)
        thread.config = saver.put(*put)
        bench.record_time(Key(f"superstep (put_writes + put), {label}", steps, entrant.name), start)
        if number + 1 in _sizes_to_record(steps):
            bench.record_bytes(Key(label, number + 1, entrant.name), entrant.added_bytes())
    return {one: thread for one, thread in threads.items() if (work, one.name) not in bench.cut}


def fan_out(bench: Bench) -> None:
    """A superstep of many tasks (made by Send), each with one write."""
    for tasks in (bench.sizes.tasks // 2, bench.sizes.tasks):
        sends = [Send("worker", {"item": prose(100)}) for _ in range(tasks)]
        results = [prose(200) for _ in range(tasks)]
        with bench.entrants() as entrants:
            for _, entrant in bench.take_turns(
                f"{tasks} tasks", entrants, max(1, bench.sizes.rounds // 5)
            ):
                saver, thread = entrant.saver, Thread(entrant.saver)
                put = thread.put_arguments(conversation(1), {TASKS: sends})
                key = Key("put, {:,} Sends", tasks, entrant.name)
                thread.config = bench.timed(key, saver.put, *put)
                start = perf_counter()
                for number, result in enumerate(results):
                    path = f"~__pregel_push, {number:010}"
                    saver.put_writes(thread.config, [("results", result)], str(uuid4()), path)
                key = Key("put_writes, {:,} tasks in total", tasks, entrant.name)
                bench.record_time(key, start)
                for _ in range(5):
                    key = Key("get_tuple, writes of {:,} tasks", tasks, entrant.name)
                    bench.timed(key, saver.get_tuple, thread.newest)


def large_values(bench: Bench) -> None:
    """A checkpoint with a large text and a large bytes value."""
    size = bench.sizes.large
    text, random = prose(size), Random(7)
    with bench.entrants() as entrants:
        for number, entrant in bench.take_turns("large values", entrants, bench.sizes.rounds // 2):
            saver, thread = entrant.saver, Thread(entrant.saver)
            values = {"text": f"{number} {text}", "bytes": random.randbytes(size)}
            put = thread.put_arguments(conversation(1), values)
            key = Key("put, text and bytes of {:,} bytes each", size, entrant.name)
            thread.config = bench.timed(key, saver.put, *put)
            key = Key("get_tuple, text and bytes of {:,} bytes each", size, entrant.name)
            bench.timed(key, saver.get_tuple, thread.newest)


def concurrent_threads(bench: Bench) -> None:
    """Many threads that run at the same time on one event loop."""
    asyncio.run(_concurrent_threads(bench))


async def _concurrent_threads(bench: Bench) -> None:
    count = bench.sizes.concurrent
    messages = conversation(4, characters=60)

    async def converse(entrant: Entrant) -> None:
        saver, thread = entrant.saver, Thread(entrant.saver)
        for message in messages:
            start = perf_counter()
            put = thread.put_arguments([message])
            thread.config = await saver.aput(*put)
            await saver.aput_writes(*thread.write_arguments(message))
            key = Key(
                "superstep (aput + aput_writes), {:,} concurrent threads", count, entrant.name
            )
            bench.record_time(key, start)
        await saver.aget_tuple(thread.newest)

    async with AsyncExitStack() as stack:
        entrants = [
            Entrant(store, await stack.enter_async_context(store.async_saver()))
            for store in bench.stores
        ]
        for _, entrant in bench.take_turns(
            "async threads", entrants, max(1, bench.sizes.rounds // 5)
        ):
            start = perf_counter()
            ended = await asyncio.gather(
                *(converse(entrant) for _ in range(count)), return_exceptions=True
            )
            if errors := [error for error in ended if isinstance(error, BaseException)]:
                bench.cut["async threads", entrant.name] = (
                    f"{type(errors[0]).__name__}: {errors[0]}"
                )
                continue
            key = Key("{:,} concurrent threads of 4 supersteps, total", count, entrant.name)
            bench.record_time(key, start)


def bursts(bench: Bench) -> None:
    """Many puts of one saver at once, of a thread each, and the same puts one after another."""
    asyncio.run(_bursts(bench))


async def _bursts(bench: Bench) -> None:
    count = bench.sizes.burst
    [message] = conversation(1, characters=60)
    async with AsyncExitStack() as stack:
        entrants = [
            Entrant(store, await stack.enter_async_context(store.async_saver()))
            for store in bench.stores
        ]
        for _, entrant in bench.take_turns("bursts", entrants, 5):
            saver = entrant.saver
            at_once, in_turn = (
                [Thread(saver).put_arguments([message]) for _ in range(count)] for _ in range(2)
            )
            try:
                start = perf_counter()
                await asyncio.gather(*(saver.aput(*put) for put in at_once))
                burst = Key(AT_ONCE, count, entrant.name)
                bench.record_time(burst, start)
                start = perf_counter()
                for put in in_turn:
                    await saver.aput(*put)
                bench.record_time(Key(ONE_BY_ONE, count, entrant.name), start)
            except Exception as error:  # noqa: BLE001 - whatever a package raises
                bench.cut["bursts", entrant.name] = f"{type(error).__name__}: {error}"


def graphs(bench: Bench) -> None:
    """A compiled graph whose model calls a tool several times and then answers."""
    asyncio.run(_graphs(bench))


async def _graphs(bench: Bench) -> None:
    turns = bench.sizes.turns
    messages = conversation(2 * turns + 2)

    def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [messages[len(state["messages"])]]}

    def route(state: MessagesState) -> str:
        return "tools" if len(state["messages"]) <= 2 * turns else END

    builder = StateGraph(MessagesState)
    builder.add_node("model", speak)
    builder.add_node("tools", speak)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", route, ["tools", END])
    builder.add_edge("tools", "model")

    def config() -> Any:
        return {"configurable": {"thread_id": str(uuid4())}, "recursion_limit": 1_000}

    with bench.entrants() as entrants:
        compiled = {entrant: builder.compile(checkpointer=entrant.saver) for entrant in entrants}
        for _, entrant in bench.take_turns("graph", entrants, bench.sizes.rounds // 2):
            key = Key("graph.invoke, {:,} tool calls", turns, entrant.name)
            bench.timed(key, compiled[entrant].invoke, {"messages": messages[:1]}, config())
    async with AsyncExitStack() as stack:
        entrants = [
            Entrant(store, await stack.enter_async_context(store.async_saver()))
            for store in bench.stores
        ]
        compiled = {entrant: builder.compile(checkpointer=entrant.saver) for entrant in entrants}
        for _, entrant in bench.take_turns("async graph", entrants, bench.sizes.rounds // 2):
            start = perf_counter()
            await compiled[entrant].ainvoke({"messages": messages[:1]}, config())
            bench.record_time(Key("graph.ainvoke, {:,} tool calls", turns, entrant.name), start)


def network_delays(bench: Bench) -> None:
    """The basic operations over a network with a delay."""
    messages = conversation(20)
    stores = [remote.store for remote in bench.remotes]
    for delay in bench.sizes.delays:
        for remote in bench.remotes:
            remote.proxy.delay = delay / 1_000
        with bench.entrants(stores) as entrants:
            for _, entrant in bench.take_turns(
                f"{delay} ms delay", entrants, bench.sizes.rounds // 2
            ):
                saver, thread = entrant.saver, Thread(entrant.saver)
                thread.put(messages[:-1])
                write, put = (
                    thread.write_arguments(messages[-1]),
                    thread.put_arguments(messages[-1:]),
                )
                start = perf_counter()
                saver.put_writes(*write)
                thread.config = saver.put(*put)
                key = Key("superstep (put_writes + put), {:,} ms delay", delay, entrant.name)
                bench.record_time(key, start)
                key = Key("get_tuple, {:,} ms delay", delay, entrant.name)
                bench.timed(key, saver.get_tuple, thread.newest)
                key = Key("list(limit=10), {:,} ms delay", delay, entrant.name)
                bench.timed(key, _first_ten, saver, thread.newest)


def sent_bytes(bench: Bench) -> None:
    """The bytes that a saver sends for the last step of the longest conversation."""
    length = bench.sizes.lengths[-1]
    messages = conversation(length)
    proxies = {remote.store.package: remote.proxy for remote in bench.remotes}
    for proxy in proxies.values():
        proxy.delay = 0
    with bench.entrants([remote.store for remote in bench.remotes]) as entrants:
        for entrant in entrants:
            saver, thread = entrant.saver, Thread(entrant.saver)
            thread.put(messages[:-2])
            saver.put_writes(*thread.write_arguments(messages[-2]))
            thread.put(messages[-2:-1])  # the connection is open and the scripts are loaded now
            before = proxies[entrant.name].sent
            saver.put_writes(*thread.write_arguments(messages[-1]))
            thread.put(messages[-1:])
            key = Key(SENT, length, entrant.name)
            bench.record_bytes(key, proxies[entrant.name].sent - before)
    bench.record_bytes(
        Key(SENT, length, "the message"), len(_SERIALIZER.dumps_typed(messages[-1])[1])
    )


WORKLOADS: Sequence[Callable[[Bench], None]] = (
    short_threads,
    many_threads,
    long_threads,
    listing,
    agent,
    encrypted_agent,
    fan_out,
    large_values,
    concurrent_threads,
    bursts,
    graphs,
    network_delays,
    sent_bytes,
)

"""The probes that `compare.py` runs with each saver. The docstring of a probe labels its table row.

A probe returns an answer, and a remark that says what went wrong.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sized
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pprint import saferepr
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import psycopg
import redis
import redisvl.exceptions
from compare_network import Network
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from stores import Saver, Store
from tqdm import tqdm

FAILURES = (
    *(redis.RedisError, redisvl.exceptions.RedisVLError, psycopg.Error, sqlite3.Error),
    *(ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError),
    *(RuntimeError, TypeError, ValueError),
)
"""The errors that count as a failed probe. All others end the run."""


class Cell(NamedTuple):
    """The answer of a saver to a probe, and a remark about a failure."""

    answer: str
    remark: str = ""


class ComparedStore(Store, Protocol):
    """A store whose network round trips can be counted, unless it has no network."""

    network: Network | None


Probe = Callable[[ComparedStore], Cell]


def conformance(store: ComparedStore) -> Cell:
    """`langgraph-checkpoint-conformance`: capabilities passed"""

    @checkpointer_test(name=store.package)
    async def checkpointer() -> AsyncGenerator[Saver, None]:
        async with store.async_saver() as saver:
            yield saver

    results = asyncio.run(validate(checkpointer)).results
    passed = [name for name, result in results.items() if result.passed]
    remarks = []
    if missing := [name for name, result in results.items() if not result.detected]:
        remarks.append(f"not implemented: {', '.join(missing)}")
    for name, result in results.items():
        if result.passed is False:
            tests = result.tests_passed + result.tests_failed
            remarks.append(f"{name} fails {result.tests_failed} of {tests} tests")
    return Cell(f"{len(passed)} of {len(results)}", "; ".join(remarks))


# ---- exactness


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: float
    y: float


def _nested(levels: int) -> list[Any]:
    value: list[Any] = ["core"]
    for _ in range(levels):
        value = [value]
    return value


_RANDOM = random.Random(1)

JSON_VALUES = {
    "random floats": [_RANDOM.random() for _ in range(1000)],
    "NaN and infinity": [float("nan"), float("inf")],
    "64-bit integers": [2**63 - 1, -(2**63), 2**64 - 1],
    "text with a NUL": "before\0after",
    "200 levels of nesting": _nested(200),
    "a dict that looks like a LangChain object": {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", "HumanMessage"],
        "kwargs": {"content": "only data"},
    },
}
"""Values that Python's json module can write, for state and metadata."""

VALUES = {
    **JSON_VALUES,
    "int dict keys": {1: "one", 2: "two"},
    "Decimal": Decimal("1.10"),
    "set": {"a"},
    "UUID": UUID(int=7),
    "datetime": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=5))),
    "bytes": b"\x00\xff",
    "Enum": Colour.RED,
    "dataclass": Point(0.1, 1e300),
    "messages": [
        HumanMessage("hello", id="1"),
        AIMessage("", id="2", tool_calls=[{"name": "add", "args": {"a": 1}, "id": "3"}]),
    ],
}


def state_values(store: ComparedStore) -> Cell:
    """State is restored exactly as by `InMemorySaver`: kinds of values"""

    def restored(saver: Saver, thread_id: str, value: Any) -> Any:
        config = _put(saver, thread_id, {"value": value})
        return _found(saver, config).checkpoint["channel_values"]["value"]

    return _compare_with_memory(store, VALUES, restored)


def metadata_values(store: ComparedStore) -> Cell:
    """Metadata is restored exactly as by `InMemorySaver`: kinds of values"""

    def restored(saver: Saver, thread_id: str, value: Any) -> Any:
        config = _put(saver, thread_id, metadata={"value": value})
        metadata: Any = _found(saver, config).metadata
        return metadata["value"]

    return _compare_with_memory(store, JSON_VALUES, restored)


def _compare_with_memory(
    store: ComparedStore, values: dict[str, Any], restored: Callable[[Saver, str, Any], Any]
) -> Cell:
    memory = InMemorySaver()
    failed = {}
    with store.saver() as saver:
        for name, value in values.items():
            expected = restored(memory, name, value)
            try:
                got = restored(saver, name, value)
            except FAILURES as error:
                failed[name] = first_line(error)
            else:
                # saferepr shows types and values, and sorts the keys of dicts.
                if saferepr(got) != saferepr(expected):
                    failed[name] = "altered"
    return _count_passed(values, failed)


def messages_in_list(store: ComparedStore) -> Cell:
    """`list()` returns message objects"""
    with store.saver() as saver:
        config = _put(saver, "thread", {"messages": [HumanMessage("hello")]})
        [found] = saver.list(config)
        [message] = found.checkpoint["channel_values"]["messages"]
    return _passed_or(isinstance(message, HumanMessage), f"a {type(message).__name__}")


# ---- search


def filter_by_any_key(store: ComparedStore) -> Cell:
    """`list(filter=…)` by any metadata key: kinds of keys"""
    keys = ["source", "user_id", "user-id", "user.id", "user id", "größe"]
    return _filter(store, {key: ({key: "this"}, {key: "that"}) for key in keys})


def filter_by_any_value(store: ComparedStore) -> Cell:
    """`list(filter=…)` by any JSON value: kinds of values"""
    pairs: dict[str, tuple[Any, Any]] = {
        "text": ("a, b", "a"),
        "upper case": ("Ann", "ann"),
        "empty text": ("", "x"),
        "integer": (1, 2),
        "float": (0.1, 0.10000000000000002),
        "True but not 1": (True, 1),
        "null": (None, 1),
        "list": ([1, 2], [2, 1]),
        "dict": ({"id": 1}, {"id": 2}),
        "dict within another": ({"id": 1}, {"id": 1, "role": "admin"}),
    }
    return _filter(
        store, {name: ({"user": this}, {"user": that}) for name, (this, that) in pairs.items()}
    )


def _filter(store: ComparedStore, metadata: dict[str, tuple[Any, Any]]) -> Cell:
    """Whether a filter by the first metadata of each pair finds that checkpoint alone."""
    failed = {}
    for name, (this, that) in metadata.items():
        with store.saver() as saver:
            try:
                wanted = _put(saver, "thread", metadata=this)
                _put(saver, "thread", metadata=that)
                found = _ids(saver.list(_thread("thread"), filter=this))
            except FAILURES as error:
                failed[name] = first_line(error)
            else:
                if found != [_id(wanted)]:
                    failed[name] = (
                        "finds the wrong one" if len(found) == 1 else f"finds {len(found)}"
                    )
    return _count_passed(metadata, failed)


def filter_across_threads(store: ComparedStore) -> Cell:
    """`list(None, filter=…)` searches all threads"""
    with store.saver() as saver:
        # Every saver can filter by this key.
        for thread_id, source in ("a", "fork"), ("b", "loop"), ("c", "fork"):
            _put(saver, thread_id, metadata={"source": source})
        found = saver.list(None, filter={"source": "fork"})
        threads = sorted(one.config["configurable"]["thread_id"] for one in found)
    return _passed_or(threads == ["a", "c"], f"finds {threads}")


def before(store: ComparedStore) -> Cell:
    """`list(before=…)` returns older checkpoints only"""
    with store.saver() as saver:
        configs = [_put(saver, "thread") for _ in range(3)]
        found = _ids(saver.list(_thread("thread"), before=configs[2]))
    return _passed_or(
        found == [_id(configs[1]), _id(configs[0])], f"returns {len(found)} of 3 instead of 2"
    )


def root_namespace(store: ComparedStore) -> Cell:
    """`list()` with `checkpoint_ns=""` returns the root graph only"""
    with store.saver() as saver:
        root = _put(saver, "thread")
        _put(saver, "thread", checkpoint_ns="child:1")
        found = _ids(saver.list(_thread("thread")))
    return _passed_or(found == [_id(root)], "returns those of subgraphs too")


# ---- completeness


def writes_before_their_checkpoint(store: ComparedStore) -> Cell:
    """Writes that arrive before their checkpoint are kept"""
    with store.saver() as saver:
        checkpoint = empty_checkpoint()
        config = _thread("thread", checkpoint_id=checkpoint["id"])
        saver.put_writes(config, [("channel", "early")], "task")
        saver.put(_thread("thread"), checkpoint, {}, {})
        found = _found(saver, config).pending_writes or []
    return _passed_or(
        [tuple(write) for write in found] == [("task", "channel", "early")],
        f"{len(found)} of 1 kept",
    )


def ids_with_colons(store: ComparedStore) -> Cell:
    """Ids that contain `:` do not collide"""
    with store.saver() as saver:
        checkpoint = empty_checkpoint()
        places = [("a:b", ""), ("a", "b"), ("a:b", "c"), ("a", "b:c")]
        for place in places:
            metadata: Any = {"place": str(place)}
            saver.put(_thread(*place), checkpoint, metadata, {})
        lost = []
        for place in places:
            found = saver.get_tuple(_thread(*place, checkpoint_id=checkpoint["id"]))
            if found is None or dict(found.metadata).get("place") != str(place):
                lost.append("thread {!r} namespace {!r}".format(*place))
    return _passed_or(not lost, f"overwritten: {', '.join(lost)}")


MANY = 10_001


def many_checkpoints(store: ComparedStore) -> Cell:
    """`list()` and `delete_thread` reach all of 10,001 checkpoints"""
    with store.saver() as saver:
        ids = [
            _id(_put(saver, "thread"))
            for _ in tqdm(range(MANY), desc=store.package, leave=False, delay=1, disable=None)
        ]
        listed = len(list(saver.list(_thread("thread"))))
        saver.delete_thread("thread")
        left = sum(
            saver.get_tuple(_thread("thread", checkpoint_id=id)) is not None
            for id in tqdm(ids, desc=store.package, leave=False, delay=1, disable=None)
        )
    return _passed_or(
        listed == MANY and not left, f"{listed:,} listed, {left:,} left after the delete"
    )


# ---- cost


def stored_bytes(store: ComparedStore) -> Cell:
    """Stored bytes of a conversation of 100 / 200 turns"""
    return Cell(
        " / ".join(f"{_conversation_bytes(store, turns) / 1e6:.1f} MB" for turns in (100, 200))
    )


def _conversation_bytes(store: ComparedStore, turns: int) -> int:
    """The stored bytes of a conversation. Questions and answers have 600 characters each."""
    rng = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(2000)]

    def text() -> str:
        return " ".join(rng.choices(words, k=150))[:600]

    def answer(state: MessagesState) -> dict[str, list[AnyMessage]]:
        return {"messages": [AIMessage(text())]}

    builder = StateGraph(MessagesState)
    builder.add_node(answer)
    builder.add_edge(START, "answer")
    with store.saver() as saver:
        empty = store.stored_bytes()
        graph = builder.compile(checkpointer=saver)
        for _ in tqdm(range(turns), desc=store.package, leave=False, delay=1, disable=None):
            graph.invoke({"messages": [HumanMessage(text())]}, _thread("thread"))
    return (store.stored_bytes() or 0) - (empty or 0)


def round_trips(store: ComparedStore) -> Cell:
    """Network round trips of `put` / `put_writes` / `get_tuple` / `list(limit=10)`"""
    if store.network is None:
        return Cell("none", "the database is a file")
    times = 10
    with store.saver() as saver:
        configs: list[Any] = []

        def put() -> None:
            parent = configs[-1] if configs else _thread("thread")
            configs.append(
                _put(saver, parent["configurable"]["thread_id"], {"x": 1}, parent=parent)
            )

        def put_writes() -> None:
            saver.put_writes(configs[-1], [("x", 1), ("y", 2)], f"task-{random.random()}")

        def get_tuple() -> None:
            saver.get_tuple(_thread("thread"))

        def list_ten() -> None:
            assert len(list(saver.list(_thread("thread"), limit=10))) == 10

        counts = []
        for operation in (put, put_writes, get_tuple, list_ten):
            # The first calls open connections, load scripts and prepare statements.
            for _ in range(times):
                operation()
            with store.network.counting() as count:
                for _ in range(times):
                    operation()
                counts.append(f"{count() / times:g}")
    return Cell(" / ".join(counts))


PROBES: list[Probe] = [
    *(conformance, state_values, metadata_values, messages_in_list),
    *(filter_by_any_key, filter_by_any_value, filter_across_threads),
    *(before, root_namespace, writes_before_their_checkpoint, ids_with_colons),
    *(many_checkpoints, stored_bytes, round_trips),
]


# ---- helpers


def _thread(thread_id: str, checkpoint_ns: str = "", **more: str) -> Any:
    return {
        "configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, **more},
    }


def _put(
    saver: Saver,
    thread_id: str,
    channel_values: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    checkpoint_ns: str = "",
    parent: Any = None,
) -> Any:
    """Store a new checkpoint and return its config."""
    checkpoint = empty_checkpoint()
    # The version that LangGraph writes now. Savers migrate older checkpoints when they load them.
    checkpoint["v"] = 4
    checkpoint["channel_values"] = channel_values or {}
    versions = {channel: saver.get_next_version(None, None) for channel in channel_values or {}}
    checkpoint["channel_versions"] = versions
    about: Any = {"source": "loop", "step": 1, "parents": {}, **(metadata or {})}
    return saver.put(parent or _thread(thread_id, checkpoint_ns), checkpoint, about, versions)


def _found(saver: Saver, config: Any) -> CheckpointTuple:
    found = saver.get_tuple(config)
    if found is None:
        raise LookupError("the stored checkpoint is not found")
    return found


def _id(config: Any) -> str:
    return str(config["configurable"]["checkpoint_id"])


def _ids(found: Any) -> list[str]:
    return [_id(one.config) for one in found]


def _passed_or(passed: bool, failure: str) -> Cell:
    return Cell("yes") if passed else Cell("no", failure)


def _count_passed(asked: Sized, failed: dict[str, str]) -> Cell:
    reasons: dict[str, list[str]] = {}
    for name, reason in failed.items():
        reasons.setdefault(reason.replace(name, "…"), []).append(name)
    remark = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return Cell(f"{len(asked) - len(failed)} of {len(asked)}", remark)


def first_line(error: BaseException) -> str:
    """The class of an error and the beginning of its message."""
    message = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {message if len(message) <= 90 else message[:89] + '…'}"

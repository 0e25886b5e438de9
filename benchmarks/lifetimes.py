"""Measures expiry, retention, pruning and copying, and how long they block other clients.

    make bench

Writes a table into docs/performance.md. With --quick the work is smaller, and nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import count
from statistics import median
from time import perf_counter
from typing import Any

import redis
from docs_page import DOCS, replace_block, table, times
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from measuring import seconds
from stores import Saver

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis

RUNS = 10
"""The number of run ids of a thread."""


def steps(saver: Saver, thread_id: str, *, snapshot_every: int = 0) -> Iterator[float]:
    """Store one superstep of a thread at a time, and yield the seconds of its ``put``.

    Args:
        snapshot_every: after how many steps a ``DeltaChannel`` gets a snapshot; 0: it has none.
    """
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    for number in count():
        values: dict[str, Any] = {"step": number, "topic": "what we talk about " * 3}
        versions = {"step": f"{number:032}.1", "topic": f"{1:032}.1", "said": f"{number:032}.1"}
        metadata: Any = {"source": "loop", "step": number, "run_id": f"run {number % RUNS}"}
        if snapshot_every:
            metadata["counters_since_delta_snapshot"] = {"said": (1, 1)}
            if number % snapshot_every == 0:
                values["said"] = _DeltaSnapshot([HumanMessage(f"{n}") for n in range(number)])
        checkpoint: Any = {
            "v": 4,
            "id": f"{number:08}",
            "ts": "2026-01-02T03:04:05.678901+00:00",
            "channel_values": values,
            "channel_versions": versions,
            "versions_seen": {"node": {"step": versions["step"]}},
            "updated_channels": ["step", "said"],
        }
        start = perf_counter()
        config = saver.put(config, checkpoint, metadata, {"step": versions["step"]})
        yield perf_counter() - start
        saver.put_writes(config, [("said", HumanMessage(f"message {number}"))], f"task {number}")


def put_times(savers: dict[str, Saver], length: int, rounds: int) -> dict[str, float]:
    """The median seconds of a ``put`` on a thread of `length` steps. The savers take turns."""
    threads = {name: steps(saver, name) for name, saver in savers.items()}
    for thread in threads.values():
        for _ in range(length):
            next(thread)
    spent: dict[str, list[float]] = {name: [] for name in savers}
    for _ in range(rounds):
        for name, thread in threads.items():
            spent[name].append(next(thread))
    return {name: median(found) for name, found in spent.items()}


def with_slowest_command(client: redis.Redis, work: Callable[[], Any]) -> tuple[float, float]:
    """The seconds of some work, and the milliseconds of its slowest command on the server."""
    client.config_set("slowlog-max-len", 1_000_000)
    client.config_set("slowlog-log-slower-than", 0)
    client.slowlog_reset()
    taken = seconds(work)
    client.config_set("slowlog-log-slower-than", -1)
    durations = [entry["duration"] / 1_000 for entry in client.slowlog_get(1_000_000)]
    client.slowlog_reset()
    return taken, max(durations)


def resume(saver: Saver, thread_id: str, rounds: int) -> float:
    """The median seconds in which a run loads a thread with a ``DeltaChannel``."""
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}

    def load() -> None:
        found = saver.get_tuple(config)
        assert found is not None
        saver.get_delta_channel_history(config=found.config, channels=["said"])

    return median(seconds(load) for _ in range(rounds))


def measure(url: str, quick: bool) -> Iterator[list[str]]:
    """Yield the rows of the table."""
    scale = 10 if quick else 1
    client: Any = redis.Redis.from_url(url)
    saver = RedisSaver(url)
    saver.setup()
    length = 2_000 // scale
    savers: dict[str, Saver] = {
        "neither": saver,
        "ttl": RedisSaver(url, ttl={"default_ttl": 60, "refresh_on_read": True}),
        "keep_last=1": RedisSaver(url, keep_last=1),
        "keep_last=20": RedisSaver(url, keep_last=20),
    }
    found = put_times(savers, length, 500 // scale)
    for name, taken in found.items():
        setting = "neither `ttl` nor `keep_last`" if name == "neither" else f"`{name}`"
        label = f"`put` on a thread of {length:,} steps, {setting}"
        yield [label, f"{taken * 1e6:,.0f} µs", times(taken / found["neither"], "neither"), ""]
    taken = seconds(saver.expire, "ttl", 30)
    yield [f"`expire` of a thread of {length:,} steps", f"{taken * 1e3:,.1f} ms", "", ""]

    many = 100_000 // scale
    thread = steps(saver, "long")
    for _ in range(many):
        next(thread)
    saver.copy_thread("long", "again")
    copied = 10_000 // scale
    thread = steps(saver, "source")
    for _ in range(copied):
        next(thread)
    operations: dict[str, Callable[[], Any]] = {
        f"`copy_thread`, {copied:,} steps": lambda: saver.copy_thread("source", "copy"),
        f"`delete_for_runs`, 1 run of {RUNS}, {many:,} steps": lambda: saver.delete_for_runs(
            ["run 3"]
        ),
        f"`pin`, {many:,} steps": lambda: saver.pin("long"),
        f"`prune`, {many:,} steps": lambda: saver.prune(["long"]),
        f"`delete_thread`, {many:,} steps": lambda: saver.delete_thread("again"),
    }
    for name, operation in operations.items():
        taken, slowest = with_slowest_command(client, operation)
        yield [name, f"{taken:.2f} s", "", f"{slowest:.1f} ms"]

    memory = InMemorySaver()
    delta = 5_000 // scale
    for each in (saver, memory):
        thread = steps(each, "delta", snapshot_every=delta // 5)
        for _ in range(delta):
            next(thread)
    ours, theirs = (resume(each, "delta", 9) for each in (saver, memory))
    label = f"load of {delta:,} steps with a `DeltaChannel` snapshot every {delta // 5:,}"
    yield [label, f"{ours * 1e3:,.1f} ms", times(ours / theirs, "InMemorySaver"), ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="do less, and write nothing")
    options = parser.parse_args()
    header = ["operation", "time", "compared", "slowest command on the server"]
    rows = []
    with EmbeddedRedis() as server:
        for row in measure(server.url, options.quick):
            print(" | ".join(row), flush=True)
            rows.append(row)
    if not options.quick:
        replace_block(DOCS / "performance.md", "make bench lifetimes", table(header, rows))


if __name__ == "__main__":
    main()

"""What expiry, retention, pruning and copying cost, and how long they keep other clients waiting.

    make bench

Writes the table into docs/performance.md. With --quick everything is smaller, and nothing is
written.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import redis
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- make bench: lifetimes -->\n", "<!-- end: lifetimes -->"

Saver = BaseCheckpointSaver[Any]


def steps(
    saver: Saver, thread_id: str, *, snapshot_every: int = 0, runs: int = 10
) -> Iterator[float]:
    """Supersteps of a thread, without end: the seconds that each ``put`` took."""
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    for number in count():
        values: dict[str, Any] = {"step": number, "topic": "what we talk about " * 3}
        versions = {"step": f"{number:032}.1", "topic": f"{1:032}.1", "said": f"{number:032}.1"}
        metadata: Any = {"source": "loop", "step": number, "run_id": f"run {number % runs}"}
        if snapshot_every:
            metadata["counters_since_delta_snapshot"] = {"said": (1, 1)}
            if number % snapshot_every == 0:
                values["said"] = _DeltaSnapshot([HumanMessage(f"{n}") for n in range(number)])
        made: Any = {
            "v": 4,
            "id": f"{number:08}",
            "ts": "2026-01-02T03:04:05.678901+00:00",
            "channel_values": values,
            "channel_versions": versions,
            "versions_seen": {"node": {"step": versions["step"]}},
            "updated_channels": ["step", "said"],
        }
        start = perf_counter()
        config = saver.put(config, made, metadata, {"step": versions["step"]})
        yield perf_counter() - start
        saver.put_writes(config, [("said", HumanMessage(f"message {number}"))], f"task {number}")


def per_put(savers: dict[str, Saver], length: int, rounds: int) -> dict[str, float]:
    """The median of a put on a thread of so many checkpoints, the savers in turns."""
    threads = {name: steps(saver, name) for name, saver in savers.items()}
    for thread in threads.values():
        for _ in range(length):
            next(thread)
    times: dict[str, list[float]] = {name: [] for name in savers}
    for _ in range(rounds):
        for name, thread in threads.items():
            times[name].append(next(thread))
    return {name: median(taken) for name, taken in times.items()}


def longest(client: redis.Redis, work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds that some work took; and milliseconds that the server spent on one command of it, at
    most."""
    client.config_set("slowlog-max-len", 1_000_000)
    client.config_set("slowlog-log-slower-than", 0)
    client.slowlog_reset()
    start = perf_counter()
    work()
    taken = perf_counter() - start
    client.config_set("slowlog-log-slower-than", -1)
    durations = [entry["duration"] / 1_000 for entry in client.slowlog_get(1_000_000)]
    client.slowlog_reset()
    return taken, max(durations)


def resume(saver: Saver, thread_id: str, rounds: int) -> float:
    """The median of what a run reads first of a thread with a DeltaChannel."""
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    times = []
    for _ in range(rounds):
        start = perf_counter()
        found = saver.get_tuple(config)
        assert found is not None
        saver.get_delta_channel_history(config=found.config, channels=["said"])
        times.append(perf_counter() - start)
    return median(times)


def measure(url: str, quick: bool) -> Iterator[str]:
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
    found = per_put(savers, length, 500 // scale)
    for name, taken in found.items():
        ratio = taken / found["neither"]
        what = f"`put` on a thread of {length:,} steps, {name}"
        yield f"| {what} | {taken * 1e6:,.0f} µs | {ratio:.2f} × neither | |"  # noqa: RUF001
    start = perf_counter()
    saver.expire("ttl", 30)
    yield f"| `expire` of that thread | {(perf_counter() - start) * 1e3:,.1f} ms | | |"

    many = 100_000 // scale
    thread = steps(saver, "long")
    for _ in range(many):
        next(thread)
    saver.copy_thread("long", "again")
    copied = 10_000 // scale
    thread = steps(saver, "source")
    for _ in range(copied):
        next(thread)
    verbs: dict[str, Callable[[], Any]] = {
        f"`copy_thread`, {copied:,} steps": lambda: saver.copy_thread("source", "copy"),
        f"`delete_for_runs`, 1 run of 10, {many:,} steps": lambda: saver.delete_for_runs(["run 3"]),
        f"`pin`, {many:,} steps": lambda: saver.pin("long"),
        f"`prune`, {many:,} steps": lambda: saver.prune(["long"]),
        f"`delete_thread`, {many:,} steps": lambda: saver.delete_thread("again"),
    }
    for name, verb in verbs.items():
        taken, worst = longest(client, verb)
        yield f"| {name} | {taken:.2f} s | | {worst:.1f} ms |"

    memory = InMemorySaver()
    delta = 5_000 // scale
    for each in (saver, memory):
        thread = steps(each, "delta", snapshot_every=delta // 5)
        for _ in range(delta):
            next(thread)
    ours, theirs = (resume(each, "delta", 9) for each in (saver, memory))
    yield (
        f"| resuming {delta:,} steps with a `DeltaChannel` snapshot every {delta // 5:,} | "
        f"{ours * 1e3:,.1f} ms | {ours / theirs:.2f} × InMemorySaver | |"  # noqa: RUF001
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller, and nothing is written")
    options = parser.parse_args()
    lines = ["| what | takes | compared | longest single call of it on the server |"]
    lines.append("| --- | --- | --- | --- |")
    with EmbeddedRedis() as server:
        for line in measure(server.url, options.quick):
            print(line, flush=True)
            lines.append(line)
    if not options.quick:
        text = PAGE.read_text(encoding="utf-8")
        head, tail = text[: text.index(BEGIN)], text[text.index(END) :]
        PAGE.write_text(head + BEGIN + "\n".join(lines) + "\n" + tail, encoding="utf-8")


if __name__ == "__main__":
    main()

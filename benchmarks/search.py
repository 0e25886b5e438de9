"""What searches cost among many checkpoints: times, memory, and how long setup() takes.

    make bench-search

Fills a Redis of its own through the saver's own plans, many at a time in each trip, and measures
the same calls at each size. Writes the tables into docs/search.md. With --quick there are fewer
checkpoints, and nothing is written.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.types import Interrupt
from redis import Redis
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from langgraph_redis_json import RedisSaver, indexes
from langgraph_redis_json.commands import index_info
from langgraph_redis_json.embedded import EmbeddedRedis

PAGE = Path(__file__).parents[1] / "docs" / "search.md"
BEGIN, END = "<!-- make bench-search: begin -->\n", "<!-- make bench-search: end -->\n"

STEPS = 20
"""Checkpoints of a thread."""

THREADS_OF_A_USER = 2

WAITING = 20
"""Every so many-th thread waits for a person."""

BATCH = 250
"""Plans that go to the server in one trip."""


def run_all(saver: RedisSaver, plans: Sequence[Any]) -> None:
    """Run plans of the saver side by side, each step of all of them in one trip."""
    steps = [(plan, next(plan)) for plan in plans]
    while steps:
        replies = saver._execute([command for _, commands in steps for command in commands])
        following = []
        for plan, commands in steps:
            mine, replies = replies[: len(commands)], replies[len(commands) :]
            with suppress(StopIteration):
                following.append((plan, plan.send(mine)))
        steps = following


def conversations(saver: RedisSaver, numbers: range) -> Iterator[Any]:
    """The plans that store a group of threads, step by step."""
    plans = saver._plans
    configs: list[Any] = [{"configurable": {"thread_id": f"thread-{n}"}} for n in numbers]
    for step in range(-1, STEPS - 1):
        for n, config in zip(numbers, configs, strict=True):
            checkpoint = empty_checkpoint()
            checkpoint["id"] = str(uuid6())
            text = f"What I say in step {step} of thread {n} is as long as people's words are."
            kind = AIMessage if step % 2 else HumanMessage
            checkpoint["channel_values"] = {"last": kind(text, id=f"{n}-{step}")}
            checkpoint["channel_versions"] = {"last": f"{step + 2:032}.0"}
            metadata: Any = {
                "source": "input" if step < 0 else "loop",
                "step": step,
                "parents": {},
                "run_id": f"run-{n}-{step // 5}",
                "user_id": f"user-{n // THREADS_OF_A_USER}",
                "score": (n * STEPS + step) % 1_000 / 1_000,
            }
            yield plans.put(config, checkpoint, metadata, checkpoint["channel_versions"])
            config["configurable"]["checkpoint_id"] = checkpoint["id"]
    for n, config in zip(numbers, configs, strict=True):
        if n % WAITING == 0:
            question = [Interrupt(value="May I?", id=f"{n}")]
            yield plans.put_writes(config, [("__interrupt__", question)], "task", "")


def fill(saver: RedisSaver, threads: range) -> float:
    """Store threads, with a progress bar; how many checkpoints a second."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    started = time.perf_counter()
    with Progress(*columns, TimeRemainingColumn(), transient=True) as progress:
        bar = progress.add_task("storing", total=len(threads) * STEPS)
        for first in threads[::BATCH]:
            group = range(first, min(first + BATCH, threads.stop))
            plans = conversations(saver, group)
            while batch := list(islice(plans, len(group))):
                run_all(saver, batch)
            progress.advance(bar, len(group) * STEPS)
    return len(threads) * STEPS / (time.perf_counter() - started)


CALLS: dict[str, Callable[[RedisSaver, int], list[Any]]] = {
    'list(None, filter={"user_id": …}, limit=20)': lambda saver, n: list(
        saver.list(None, filter={"user_id": f"user-{n}"}, limit=20)
    ),
    'threads(filter={"user_id": …}, limit=20)': lambda saver, n: list(
        saver.threads({"user_id": f"user-{n}"}, limit=20)
    ),
    'threads(status="interrupted", limit=20)': lambda saver, n: list(
        saver.threads(status="interrupted", limit=20)
    ),
    'list(None, filter={"run_id": {"$in": […]}}, limit=20)': lambda saver, n: list(
        saver.list(None, filter={"run_id": {"$in": [f"run-{n}-1", f"run-{n + 1}-2"]}}, limit=20)
    ),
    "threads(limit=20)": lambda saver, n: list(saver.threads(limit=20)),
    'list(None, filter={"score": {"$gte": 0.99}}, limit=20)': lambda saver, n: list(
        saver.list(None, filter={"score": {"$gte": 0.99}}, limit=20)
    ),
}


def measure(saver: RedisSaver, threads: int, rounds: int) -> dict[str, float]:
    """Milliseconds of each call, the median."""
    found = {}
    for name, call in CALLS.items():
        times = []
        for n in range(rounds):
            started = time.perf_counter()
            rows = call(saver, n * 7 % (threads // THREADS_OF_A_USER))
            times.append((time.perf_counter() - started) * 1_000)
            assert rows, name
        found[name] = median(times)
    return found


def used_memory(client: Redis) -> int:
    return int(client.info("memory")["used_memory"])


def index_bytes(client: Redis, saver: RedisSaver) -> dict[str, float]:
    """What each index takes by its own account."""
    found = {}
    for which in indexes.SCHEMAS:
        reply: Any = client.execute_command("FT.INFO", indexes.name(saver.key_prefix, which))
        size = dict(zip(reply[::2], reply[1::2], strict=True))[b"total_index_memory_sz_mb"]
        found[which] = float(size) * 2**20
        assert index_info(reply).share == 1
    return found


def timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def report(sizes: Sequence[int], rounds: int) -> str:
    fields = {"score": "numeric"}
    columns: list[dict[str, float]] = []
    lines: list[str] = []
    with EmbeddedRedis() as server, RedisSaver(server.url, metadata_fields=fields) as saver:
        client = Redis.from_url(server.url, protocol=2)
        empty = used_memory(client)
        saver.setup()
        done = 0
        for size in sizes:
            rate = fill(saver, range(done, size // STEPS))
            done = size // STEPS
            columns.append(measure(saver, done, rounds))
        total = sizes[-1]
        client.execute_command("FT.CONFIG", "SET", "FORK_GC_RUN_INTERVAL", 1)
        whole = used_memory(client) - empty
        parts = index_bytes(client, saver)
        for which in indexes.SCHEMAS:
            client.execute_command("FT.DROPINDEX", indexes.name("", which))
        time.sleep(2)
        bare = used_memory(client) - empty
        rebuilt = timed(lambda: saver.setup(progress=True))
        another = RedisSaver(server.url, metadata_fields={**fields, "user_id": "tag"})
        added = timed(lambda: another.setup(progress=True))
        again = timed(saver.setup)
        another.close()
        lines += [
            f"The last {total - (sizes[-2] if len(sizes) > 1 else 0):,} checkpoints were stored at "
            f"{rate:,.0f} a second, indexes included. Memory for each checkpoint: "
            f"{whole / total:,.0f} bytes in all, {(whole - bare) / total:,.0f} of them for the "
            "indexes (by their own account "
            + ", ".join(f"{size / total:,.0f} for {which}" for which, size in parts.items())
            + ").\n",
            f"`setup()` took {rebuilt:,.1f} s after all three indexes had been dropped, "
            f"{added:,.1f} s to add a metadata field, and {again * 1_000:,.0f} ms where nothing "
            "was to be done.\n",
        ]
        client.close()
    head = ["", *(f"{size:,} checkpoints" for size in sizes), "ratio"]
    rows = [head, ["---"] * len(head)]
    for name in CALLS:
        times = [column[name] for column in columns]
        rows.append(
            [f"`{name}`", *(f"{one:.2f} ms" for one in times), f"{times[-1] / times[0]:.1f}"]
        )
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"{table}\n" + "\n".join(lines)


def write(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    head, tail = page[: page.index(BEGIN)], page[page.index(END) :]
    said = (
        f"From `make bench-search` on {datetime.now(timezone.utc):%Y-%m-%d}, on a machine of "
        f"{os.cpu_count()} cores, with Python {platform.python_version()}. Medians.\n"
    )
    PAGE.write_text(f"{head}{BEGIN}\n{said}\n{text}\n{tail}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller, in half a minute")
    options = parser.parse_args()
    sizes = (2_000, 20_000) if options.quick else (10_000, 1_000_000)
    text = report(sizes, 20 if options.quick else 100)
    print(text)
    if not options.quick:
        write(text)


if __name__ == "__main__":
    main()

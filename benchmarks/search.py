"""Measures searches among many checkpoints: their times, the memory, and the time of `setup`.

    make bench-search

Fills a Redis of its own, and measures the same calls at two sizes. Writes the figures into
docs/search.md. With --quick there are fewer checkpoints, and nothing is written.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from docs_page import DOCS, measured_by, replace_block, table
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.types import Interrupt
from measuring import seconds, used_memory
from redis import Redis
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis

INDEXES = ("checkpoints", "writes", "threads")

STEPS = 20
"""Checkpoints per thread."""

THREADS_PER_USER = 2

INTERRUPTED = 20
"""One thread in so many waits for a person."""


def store_thread(saver: RedisSaver, number: int) -> None:
    """Store one thread, step by step."""
    config: Any = {"configurable": {"thread_id": f"thread-{number}", "checkpoint_ns": ""}}
    for step in range(-1, STEPS - 1):
        checkpoint = empty_checkpoint()
        checkpoint["id"] = str(uuid6())
        text = f"The text of step {step} of thread {number} is as long as an ordinary sentence."
        kind = AIMessage if step % 2 else HumanMessage
        checkpoint["channel_values"] = {"last": kind(text, id=f"{number}-{step}")}
        checkpoint["channel_versions"] = {"last": f"{step + 2:032}.0"}
        metadata: Any = {
            "source": "input" if step < 0 else "loop",
            "step": step,
            "parents": {},
            "run_id": f"run-{number}-{step // 5}",
            "user_id": f"user-{number // THREADS_PER_USER}",
            "score": (number * STEPS + step) % 1_000 / 1_000,
        }
        config = saver.put(config, checkpoint, metadata, checkpoint["channel_versions"])
    if number % INTERRUPTED == 0:
        question = [Interrupt(value="May I?", id=f"{number}")]
        saver.put_writes(config, [("__interrupt__", question)], "task")


def fill(saver: RedisSaver, threads: range) -> None:
    """Store threads, with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as progress:
        bar = progress.add_task("storing", total=len(threads) * STEPS)
        for number in threads:
            store_thread(saver, number)
            progress.advance(bar, STEPS)


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


"""The measured calls. Each gets a saver and the number of a user, a run or a thread."""


def measure(saver: RedisSaver, threads: int, rounds: int) -> dict[str, float]:
    """The median time of each call, in milliseconds."""
    found = {}
    for name, call in CALLS.items():
        times = []
        for number in range(rounds):
            started = time.perf_counter()
            rows = call(saver, number * 7 % (threads // THREADS_PER_USER))
            times.append((time.perf_counter() - started) * 1_000)
            assert rows, f"{name} found nothing"
        found[name] = median(times)
    return found


def index_bytes(client: Redis) -> dict[str, float]:
    """The size that each index reports in FT.INFO."""
    found = {}
    names = [name.decode() for name in client.execute_command("FT._LIST")]
    for kind in INDEXES:
        [name] = [name for name in names if kind in name]
        reply: Any = client.execute_command("FT.INFO", name)
        info = dict(zip(reply[::2], reply[1::2], strict=True))
        assert float(info[b"percent_indexed"]) == 1, f"{name} is incomplete"
        found[kind] = float(info[b"total_index_memory_sz_mb"]) * 2**20
    return found


def report(sizes: Sequence[int], rounds: int) -> str:
    """Fill a server up to each size, measure, and return the figures as Markdown."""
    fields = {"score": "numeric"}
    columns: list[dict[str, float]] = []
    with EmbeddedRedis() as server, RedisSaver(server.url, metadata_fields=fields) as saver:
        client = Redis.from_url(server.url, protocol=2)
        empty = used_memory(client)
        saver.setup()
        done = 0
        for size in sizes:
            fill(saver, range(done, size // STEPS))
            done = size // STEPS
            columns.append(measure(saver, done, rounds))
        total = sizes[-1]
        client.execute_command("FT.CONFIG", "SET", "FORK_GC_RUN_INTERVAL", 1)
        with_indexes = used_memory(client) - empty
        parts = index_bytes(client)
        for name in client.execute_command("FT._LIST"):
            client.execute_command("FT.DROPINDEX", name)
        time.sleep(2)  # Redis frees the indexes in the background
        without_indexes = used_memory(client) - empty
        rebuilt = seconds(saver.setup)
        with RedisSaver(server.url, metadata_fields={**fields, "user_id": "tag"}) as another:
            added = seconds(another.setup)
        unchanged = seconds(saver.setup)
        client.close()
    per_index = ", ".join(f"{size / total:,.0f} for {kind}" for kind, size in parts.items())
    rows = []
    for name in CALLS:
        times = [column[name] for column in columns]
        cells = [f"{milliseconds:.2f} ms" for milliseconds in times]
        rows.append([f"`{name}`", *cells, f"{times[-1] / times[0]:.1f}"])
    return "\n".join(
        [
            "Median times:\n",
            table(["", *(f"{size:,} checkpoints" for size in sizes), "ratio"], rows),
            f"Each checkpoint takes {with_indexes / total:,.0f} bytes of memory, of which "
            f"{(with_indexes - without_indexes) / total:,.0f} bytes are indexes. FT.INFO reports "
            f"these bytes of indexes per checkpoint: {per_index}.\n",
            f"`setup()` took {rebuilt:,.1f} s to build all three indexes again, {added:,.1f} s to "
            f"add a metadata field, and {unchanged * 1_000:,.0f} ms with nothing to do.\n",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="do less, in half a minute")
    options = parser.parse_args()
    sizes = (2_000, 20_000) if options.quick else (10_000, 1_000_000)
    text = report(sizes, 20 if options.quick else 100)
    print(text)
    if not options.quick:
        figures = f"{measured_by('make bench-search')}\n\n{text}"
        replace_block(DOCS / "search.md", "make bench-search", figures)


if __name__ == "__main__":
    main()

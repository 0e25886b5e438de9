"""Measures the memory that export and import take, for threads of several lengths and for many.

    make bench-export

Each command runs in a process of its own. Afterwards every checkpoint of the copy is compared with
its original. Writes a table into docs/export.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from docs_page import DOCS, measured_by, replace_block, table
from langchain_core.messages import AIMessage

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis

SIZES = ((1, 1_000), (1, 10_000), (1, 100_000), (10_000, 10))
"""Threads, and checkpoints of each."""

WINDOW = 20
"""Messages in each state, of which one is new."""


def fill(saver: RedisSaver, threads: int, checkpoints: int) -> None:
    """Store threads; each checkpoint has a pending write."""
    for thread in range(threads):
        config: Any = {"configurable": {"thread_id": f"{thread}", "checkpoint_ns": ""}}
        messages: list[Any] = []
        for step in range(checkpoints):
            text = f"What was said at step {step}. " * 4
            messages = [*messages, AIMessage(text, id=f"{step}")][-WINDOW:]
            checkpoint: Any = {
                "v": 4,
                "id": f"{step:010}",
                "ts": "2026-01-02T03:04:05+00:00",
                "channel_values": {"messages": messages, "step": step},
                "channel_versions": {"messages": f"{step:032}", "step": f"{step:032}"},
                "versions_seen": {},
            }
            metadata: Any = {"source": "loop", "step": step}
            versions = checkpoint["channel_versions"]
            config = saver.put(config, checkpoint, metadata, versions)
            saver.put_writes(config, [("step", step)], "task")


def peak_of(url: str, *words: str) -> float:
    """The most memory that a command took, in MB."""
    process = subprocess.Popen(
        [sys.executable, "-m", "langgraph_redis_json", "--url", url, *words],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words[0]} ended with {process.returncode}")
    return usage.ru_maxrss / 1000


def checkpoints_of(saver: RedisSaver, threads: int) -> Iterator[Any]:
    for thread in range(threads):
        yield from saver.list({"configurable": {"thread_id": f"{thread}"}})


def main() -> None:
    rows = []
    for threads, checkpoints in SIZES:
        with (
            TemporaryDirectory() as folder,
            EmbeddedRedis() as source,
            EmbeddedRedis() as target,
            RedisSaver(source.url) as saver,
            RedisSaver(target.url) as copy,
        ):
            saver.setup()
            copy.setup()
            fill(saver, threads, checkpoints)
            file = Path(folder) / "threads.jsonl"
            export = peak_of(source.url, "export", "--all", "-o", f"{file}")
            import_ = peak_of(target.url, "import", f"{file}")
            found = 0
            pairs = zip(checkpoints_of(saver, threads), checkpoints_of(copy, threads), strict=True)
            for one, other in pairs:
                if one != other:
                    raise AssertionError(f"another checkpoint: {one.config}")
                found += 1
            if found != threads * checkpoints:
                raise AssertionError(f"{found} checkpoints instead of {threads * checkpoints}")
            size = f"{file.stat().st_size / 1e6:,.0f}"
            rows.append(
                [f"{threads:,}", f"{checkpoints:,}", size, f"{export:.0f}", f"{import_:.0f}"]
            )
            print(rows[-1], flush=True)
    header = ["threads", "checkpoints each", "file, MB", "export, MB", "import, MB"]
    result = f"{table(header, rows)}\n{measured_by('make bench-export', cores=False)}"
    replace_block(DOCS / "export.md", "make bench-export", result)


if __name__ == "__main__":
    main()

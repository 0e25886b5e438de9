"""Processes put, read, prune, copy and delete the same threads; then every key is checked.

For a minute instead of some seconds: CHAOS_SECONDS=60 (make chaos).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import redis
from langgraph.checkpoint.base.id import uuid6

from langgraph_redis_json import RedisSaver
from tests.support.accounting import account
from tests.support.checkpoints import checkpoint, config, get_tuple
from tests.support.project import ROOT

SECONDS = float(os.environ.get("CHAOS_SECONDS", "5"))

THREADS = ["a", "b", "c", "d"]

Line = dict[str, Any]


def state(checkpoint_id: str) -> dict[str, Any]:
    """The values of a checkpoint, computed from its id, so that a reader can check them."""
    draw = random.Random(checkpoint_id)
    said = [{"n": n, "text": "x" * 100} for n in range(draw.randrange(30))]
    return {
        "blob": f"{draw.randrange(5)}" * 3_000,
        "said": said[draw.choice([0, 0, 0, 7]) :],
        "small": draw.random(),
    }


def versions(checkpoint_id: str) -> dict[str, Any]:
    values = state(checkpoint_id)
    return {
        "blob": f"{values['blob'][0]}",  # shared by many checkpoints
        "said": f"{len(values['said'])}{values['said'][:1]}",
        "small": checkpoint_id,
    }


def work(url: str, key_prefix: str, number: int, seconds: float) -> None:
    """The work of one process. It prints what it has put and deleted, one line of JSON each."""
    draw = random.Random(number)
    saver = RedisSaver(url, key_prefix=key_prefix, ttl={"default_ttl": 60} if number == 1 else None)

    def say(**line: Any) -> None:
        print(json.dumps({"at": time.time(), **line}), flush=True)

    def check(found: Any) -> None:
        if found is not None:
            checkpoint_id = found.checkpoint["id"]
            assert found.checkpoint["channel_values"] == state(checkpoint_id), checkpoint_id
            expected = {("task", "channel", checkpoint_id)}
            assert set(found.pending_writes) <= expected, found.pending_writes

    until, puts = time.time() + seconds, 0
    while time.time() < until or puts < 5 * seconds:
        thread_id = draw.choice(THREADS)
        match draw.choice(["put"] * 12 + ["get"] * 4 + ["list", "prune", "copy", "runs", "delete"]):
            case "put":
                latest = saver.get_tuple(config(thread_id))
                check(latest)
                checkpoint_id = str(uuid6())
                run_id = f"{number}-{draw.randrange(1_000)}"
                new = versions(checkpoint_id)
                if latest is not None:
                    old = latest.checkpoint["channel_versions"]
                    new = {name: version for name, version in new.items() if old[name] != version}
                made = checkpoint(checkpoint_id, state(checkpoint_id), versions(checkpoint_id))
                given = latest.config if latest else config(thread_id)
                begun = time.time()
                written = saver.put(given, made, {"run_id": run_id}, new)
                saver.put_writes(written, [("channel", checkpoint_id)], "task")
                puts += 1
                say(put=checkpoint_id, thread=thread_id, run=run_id, begun=begun)
            case "get":
                check(saver.get_tuple(config(thread_id)))
            case "list":
                for found in saver.list(config(thread_id), limit=30):
                    check(found)
            case "prune":
                say(pruning=thread_id)
                saver.prune([thread_id])
                say(pruned=thread_id)
            case "copy":
                other = draw.choice([each for each in THREADS if each != thread_id])
                saver.copy_thread(thread_id, other)
            case "runs":
                run_id = f"{draw.randrange(3)}-{draw.randrange(1_000)}"
                say(deleting=run_id)
                saver.delete_for_runs([run_id])
            case "delete" if draw.random() < 0.2:
                say(deleting=thread_id)
                saver.delete_thread(thread_id)
                say(deleted=thread_id)
    saver.close()


def test_processes_that_share_threads_lose_nothing(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, tmp_path: Path
) -> None:
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        saver.setup()
        lines: list[Line] = []
        workers = []
        for number in range(3):
            command = [
                *(sys.executable, "-m", "tests.end_to_end.test_chaos"),
                *(redis_url, key_prefix, f"{number}", f"{SECONDS}"),
            ]
            with (tmp_path / f"{number}").open("w") as file:
                workers.append(
                    subprocess.Popen(
                        command, cwd=ROOT, stdout=file, stderr=subprocess.PIPE, text=True
                    )
                )
        try:
            for worker in workers:
                _, errors = worker.communicate(timeout=SECONDS + 600)
                assert worker.returncode == 0, errors[-3_000:]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        for number in range(3):
            lines += map(json.loads, (tmp_path / f"{number}").read_text().splitlines())

        put = [line for line in lines if "put" in line]
        assert len(put) > 10 * SECONDS
        there: dict[str, set[str]] = defaultdict(set)
        for thread_id in THREADS:
            for found in saver.list(config(thread_id)):
                checkpoint_id = found.checkpoint["id"]
                assert found.checkpoint["channel_values"] == state(checkpoint_id)
                there[thread_id].add(checkpoint_id)
        gone, ends = 0, last_ends(lines)
        for line in put:
            if line["put"] not in there[line["thread"]]:
                gone += 1
                assert is_rightly_gone(line, ends, max(there[line["thread"]], default="")), line
        assert gone > 0
        account(redis_client, key_prefix, garbage=True)
        saver.prune(THREADS)
        account(redis_client, key_prefix)
        for thread_id in THREADS:
            newest = get_tuple(saver, config(thread_id))
            if there[thread_id]:
                assert newest.checkpoint["id"] == max(there[thread_id])
                assert newest.checkpoint["channel_values"] == state(newest.checkpoint["id"])
        saver.prune(THREADS, strategy="delete")
        account(redis_client, key_prefix)


def last_ends(lines: list[Line]) -> dict[tuple[str, str], float]:
    """The last time at which each thread and run was reported as pruned or deleted."""
    found: dict[tuple[str, str], float] = {}
    for line in lines:
        for what in ("pruned", "deleted", "deleting"):
            if what in line:
                key = (what, line[what])
                found[key] = max(line["at"], found.get(key, 0))
    return found


def is_rightly_gone(line: Line, ends: dict[tuple[str, str], float], newest: str) -> bool:
    """Whether an operation that ended after the checkpoint was put may have deleted it."""

    def came_before(what: str, name: str) -> bool:
        return ends.get((what, name), 0) > line["begun"]

    return (
        (newest > line["put"] and came_before("pruned", line["thread"]))
        or came_before("deleted", line["thread"])
        or came_before("deleting", line["run"])
    )


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))

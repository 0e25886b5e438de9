"""Whatever savers do to threads, all messages that a checkpoint has are found, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import redis

from langgraph_redis_json import CheckpointError, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.accounting import account
from tests.support.checkpoints import checkpoint, config
from tests.support.messages import LONG, ai, human
from tests.support.strategies import LONG as LONG_RUN
from tests.support.work import in_threads

THREADS = ("a", "b", "c")


class Worker:
    """A saver that does anything to some threads."""

    def __init__(self, url: str, seed: int, **options: Any) -> None:
        self.saver = RedisSaver(url, **options)
        self.random = Random(seed)
        self.name = f"{seed}"
        self.number = 0

    def step(self) -> None:
        thread = self.random.choice(THREADS)
        kind = self.random.random()
        with suppress(CheckpointError):  # another worker deleted what this one reads
            if kind < 0.8:
                self.put(thread)
            elif kind < 0.87:
                self.saver.prune([thread])
            elif kind < 0.92:
                self.saver.copy_thread(
                    thread, self.random.choice([t for t in THREADS if t != thread])
                )
            elif kind < 0.97:
                self.saver.delete_for_runs([self.random.choice("12")])
            else:
                self.saver.delete_thread(thread)

    def put(self, thread: str) -> None:
        random = self.random
        before = random.choice([*self.saver.list(config(thread), limit=3), None])
        said = [] if before is None else [*before.checkpoint["channel_values"]["messages"]]
        for _ in range(random.choice([0, 1, 1, 2])):
            self.number += 1
            text = f"parcel {self.name} {self.number}" + random.choice(["", LONG])
            said.append(random.choice([human, ai])(f"{self.name}-{self.number}", text))
        if said and random.random() < 0.3:
            del said[random.randrange(len(said))]
        if said and random.random() < 0.3:
            said[-1] = human(said[-1].id, f"parcel edited {self.name} {self.number}")
        if random.random() < 0.1:
            said = said[-2:]
        self.number += 1
        version = f"{self.number:05}.{self.name}"
        made = checkpoint(
            f"{self.number:05}-{self.name}", {"messages": said}, {"messages": version}
        )
        given = config(thread)
        if before is not None:
            given = before.config
        metadata: Any = {"source": "loop", "step": 1, "run_id": random.choice("12345")}
        self.saver.put(given, made, metadata, {"messages": version})


def check(saver: RedisSaver, client: redis.Redis) -> int:
    """Check what is found after setup(), and when all threads were pruned.

    Returns:
        How many messages were found.
    """
    saver.setup()
    count = _check(saver, exactly=False)
    saver.prune(THREADS)
    _check(saver, exactly=True)
    account(client, "langgraph:")
    return count


def _check(saver: RedisSaver, *, exactly: bool) -> int:
    expected = {
        (thread, message.id)
        for thread in THREADS
        for one in saver.list(config(thread, None))
        for message in one.checkpoint["channel_values"]["messages"]
    }
    rows = list(saver.search_messages("parcel", limit=None))
    found = {(row.thread_id, row.message_id) for row in rows}
    assert len(found) == len(rows)
    assert expected <= found
    assert not exactly or expected == found
    return len(found)


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as started:
        yield started


OPTIONS: list[dict[str, Any]] = [
    {"message_search": True},
    {"message_search": False},
    {"message_search": True, "keep_last": 2},
]


@pytest.mark.parametrize("seed", range(30 if LONG_RUN else 4))
def test_one_after_another(server: EmbeddedRedis, seed: int) -> None:
    workers = [Worker(server.url, seed * 10 + n, **more) for n, more in enumerate(OPTIONS)]
    workers[0].saver.setup()
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        count = 0
        for number in range(300):
            workers[0].random.choice(workers).step()
            if number % 60 == 59:
                count += check(workers[0].saver, client)
        assert count > 10
    for worker in workers:
        worker.saver.close()


@pytest.mark.parametrize("seed", range(10 if LONG_RUN else 2))
def test_at_the_same_time(server: EmbeddedRedis, seed: int) -> None:
    workers = [Worker(server.url, seed * 10 + n, **more) for n, more in enumerate(OPTIONS)]
    workers[0].saver.setup()

    def work(worker: Worker) -> None:
        for _ in range(200):
            worker.step()

    with in_threads(work, workers):
        pass
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        check(workers[0].saver, client)
    for worker in workers:
        worker.saver.close()

"""A conversation that is written while a fault happens, and a check of what was stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
from langgraph.checkpoint.base import ChannelVersions

from langgraph_redis_json.storage.keys import ThreadKeys
from tests.support.checkpoints import checkpoint, config
from tests.support.clients import Saver

BIG = 4
"""Steps after which the blob of a conversation changes."""


class Writer:
    """Writes a thread step by step, and records what Redis has acknowledged.

    Attributes:
        begun: the last step whose put was sent, -1 for none.
        put: the last step whose put was acknowledged.
        written: the last step whose put_writes was acknowledged.
    """

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        self.begun = self.put = self.written = -1

    @staticmethod
    def id_of(step: int) -> str:
        return f"{step:08}"

    def values(self, step: int) -> dict[str, Any]:
        """The state after a step: a list (in a log), a text (in a blob), and a small value."""
        return {
            "messages": [
                {"id": f"{self.thread_id}-{n}", "text": f"{n}" * 200} for n in range(step + 1)
            ],
            # Every fourth text is over 64 KB and sent separately.
            "big": f"{self.thread_id}-{step // BIG}-" * (7000 if step // BIG % 4 == 3 else 100),
            "small": [self.thread_id, step],
        }

    def writes(self, step: int) -> list[tuple[str, Any]]:
        return [("small", [self.thread_id, step]), ("messages", {"text": f"{step}" * 700})]

    def step(self, saver: Saver) -> None:
        """One put and one put_writes; their errors are raised."""
        step = self.begun = self.put + 1
        metadata: Any = {"source": "loop", "step": step, "writer": self.thread_id}
        versions: ChannelVersions = {
            "messages": f"{step:08}",
            "big": f"{step // BIG:08}",
            "small": f"{step:08}",
        }
        new = versions if step % BIG == 0 else {k: versions[k] for k in ("messages", "small")}
        saver.put(
            config(self.thread_id, "", self.id_of(step - 1) if step else None),
            checkpoint(self.id_of(step), self.values(step), versions),
            metadata,
            new,
        )
        self.put = step
        self.write(saver, step)

    def write(self, saver: Saver, step: int) -> None:
        made = config(self.thread_id, "", self.id_of(step))
        saver.put_writes(made, self.writes(step), "task")
        self.written = step

    def check(self, saver: Saver, since: int = 0) -> int:
        """Check that all acknowledged calls are stored completely, and that others are stored
        completely or not at all; then continue from the newest checkpoint.

        Returns:
            Number of acknowledged calls that were checked.
        """
        newest = saver.get_tuple(config(self.thread_id))
        last = -1 if newest is None else int(newest.config["configurable"]["checkpoint_id"])
        assert last in (self.put, self.begun), (self.thread_id, last, self.put, self.begun)
        steps = range(max(since, 0), last + 1)
        found = list(saver.list(config(self.thread_id), limit=len(steps)))
        assert [f.checkpoint["id"] for f in found] == [self.id_of(n) for n in reversed(steps)]
        for step, one in zip(reversed(steps), found, strict=True):
            assert one.checkpoint["channel_values"] == self.values(step)
            assert one.metadata["step"] == step
            pending = [(channel, value) for _, channel, value in one.pending_writes or ()]
            if step <= self.written or pending:
                assert pending == self.writes(step)
            else:
                assert step >= self.put
        self.put = self.begun = last
        if last > self.written:
            self.write(saver, last)
        return 2 * len(steps)


def check_contents(client: Any, key_prefix: str = "langgraph:") -> int:
    """Check that each table of contents names exactly the keys of its thread. One exception: a
    large blob is named before it is sent, so that it is always deleted with its thread.

    Returns:
        Number of keys.
    """
    named: set[str] = set()
    tables: set[str] = set()
    for table in client.scan_iter(f"{key_prefix}contents:*", count=1000):
        tables.add(table)
        thread = ThreadKeys(key_prefix, table.removeprefix(f"{key_prefix}contents:"), table)
        named |= {thread.key(entry) for entry in client.zrange(table, 0, -1)}
    there = set(client.scan_iter(f"{key_prefix}*", count=1000))
    assert there - tables <= named, sorted(there - tables - named)[:10]
    missing = named - there
    assert all(key.startswith(f"{key_prefix}blob:") for key in missing), missing
    return len(there)


T = TypeVar("T")


@contextmanager
def in_threads(work: Callable[[T], None], each: Iterable[T]) -> Iterator[list[BaseException]]:
    """Run work(one) in a thread for each one, while the body of the with statement runs; then
    wait for the threads, and check that none raised.

    Yields:
        The errors that the threads have raised so far.
    """
    failures: list[BaseException] = []

    def run(one: T) -> None:
        try:
            work(one)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=run, args=(one,)) for one in each]
    for thread in threads:
        thread.start()
    yield failures  # if the body raises, do not wait for threads that the body has not ended
    for thread in threads:
        thread.join()
    assert failures == []


LOST = (redis.ConnectionError, redis.TimeoutError)
"""What a client raises when its server is gone."""

"""A conversation that is written while something goes wrong, and what must be left of it."""

from __future__ import annotations

from typing import Any

import redis
from langgraph.checkpoint.base import ChannelVersions

from langgraph_redis_json.storage.keys import ThreadKeys
from tests.support.checkpoints import checkpoint, config
from tests.support.clients import Saver

BIG = 4
"""Steps after which the blob of a conversation changes."""


class Writer:
    """Writes a thread step by step and knows what Redis has acknowledged.

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
        """The state after a step: a list in a log, a blob, and what stands in the checkpoint."""
        return {
            "messages": [
                {"id": f"{self.thread_id}-{n}", "text": f"{n}" * 200} for n in range(step + 1)
            ],
            # Every fourth one is sent separately, before the script that stores its checkpoint.
            "big": f"{self.thread_id}-{step // BIG}-" * (7000 if step // BIG % 4 == 3 else 100),
            "small": [self.thread_id, step],
        }

    def writes(self, step: int) -> list[tuple[str, Any]]:
        return [("small", [self.thread_id, step]), ("messages", {"text": f"{step}" * 700})]

    def step(self, saver: Saver) -> None:
        """One more put and put_writes; what they raise comes through."""
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
        """See that all that was acknowledged is there and whole, and what was not is there
        whole or not at all; then go on from what is there.

        Returns:
            How many acknowledged calls were looked for.
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
    """See that each table of contents names the keys of its thread, no more and no less; but a
    large blob is named before it is sent, so that it is always deleted with its thread.

    Returns:
        How many keys there are.
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


LOST = (redis.ConnectionError, redis.TimeoutError)
"""What a client raises when its server is gone."""

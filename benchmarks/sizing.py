"""Measures the Redis memory of a message, a checkpoint and a thread.

    make sizing

Writes a table into docs/deployment.md.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import redis
from docs_page import DOCS, replace_block, table
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from measuring import used_memory

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis


def store_thread(saver: RedisSaver, steps: int, characters: int) -> None:
    """Store a thread. Each step has one pending write, and one message if `characters` is not 0."""
    config: Any = {"configurable": {"thread_id": f"{uuid4()}", "checkpoint_ns": ""}}
    messages: list[Any] = []
    for step in range(steps):
        if characters:
            text = f"{uuid4()}" * (characters // 36)
            messages = [*messages, AIMessage(content=text, id=f"{uuid4()}")]
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"messages": messages, "step": step}
        checkpoint["channel_versions"] = {
            "messages": f"{step if characters else 0:032}.0{uuid4().int}"[:50],
            "step": f"{step:032}.0{uuid4().int}"[:50],
        }
        metadata: Any = {"source": "loop", "step": step, "run_id": f"{uuid4()}"}
        config = saver.put(config, checkpoint, metadata, checkpoint["channel_versions"])
        saver.put_writes(config, [("step", step)], f"{uuid4()}")


def thread_bytes(
    saver: RedisSaver, client: redis.Redis, threads: int, steps: int, characters: int
) -> float:
    """The memory of one thread: an average over several."""
    before = used_memory(client)
    for _ in range(threads):
        store_thread(saver, steps, characters)
    return (used_memory(client) - before) / threads


def main() -> None:
    with (
        EmbeddedRedis() as server,
        RedisSaver(server.url) as saver,
        redis.Redis.from_url(server.url) as client,
    ):
        saver.setup()

        def measure(threads: int, steps: int, characters: int) -> float:
            return thread_bytes(saver, client, threads, steps, characters)

        # Redis doubles its hash tables as they fill up. Threads that are not measured fill them.
        measure(200, 2, 0)
        first = measure(500, 1, 0)
        checkpoint = (measure(10, 51, 0) - measure(10, 1, 0)) / 50
        rows = [
            ("a thread with one checkpoint and one pending write", first),
            ("each further checkpoint with one pending write, without its state", checkpoint),
        ]
        sizes = (72, 720, 7200)
        for characters in sizes:
            step = (measure(10, 51, characters) - measure(10, 1, characters)) / 50
            rows.append(
                (f"each message of {characters:,} characters, stored once", step - checkpoint)
            )
        saver.serde = EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")
        # Long threads, because the items of a list are encrypted again as it grows.
        step = (measure(2, 401, 0) - measure(2, 1, 0)) / 400
        rows.append(("encrypted: each further checkpoint with one pending write", step))
        for characters in sizes:
            more = (measure(2, 401, characters) - measure(2, 1, characters)) / 400 - step
            rows.append((f"encrypted: each of 400 messages of {characters:,} characters", more))
    result = table(["stored", "bytes"], [[label, f"{size:,.0f}"] for label, size in rows])
    replace_block(DOCS / "deployment.md", "make sizing", result)
    print(result)


if __name__ == "__main__":
    main()

"""How much memory of Redis a message, a checkpoint and a thread take, for docs/deployment.md.

python benchmarks/sizing.py
"""

from pathlib import Path
from typing import Any
from uuid import uuid4

import redis
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis

PAGE = Path(__file__).parent.parent / "docs" / "deployment.md"
START, END = "<!-- make sizing: begin -->", "<!-- make sizing: end -->"


class Sizes:
    """Fills a server and asks it how much it has."""

    def __init__(self, saver: RedisSaver, admin: redis.Redis) -> None:
        self.saver, self.admin = saver, admin

    def used(self) -> int:
        return int(self.admin.info("memory")["used_memory"])

    def conversation(self, thread: str, steps: int, characters: int) -> None:
        """Steps with a message and a task's write each."""
        messages: list[Any] = []
        parent: Any = None
        for step in range(steps):
            if characters:
                text = f"{uuid4()}" * (characters // 36)
                messages = [*messages, AIMessage(content=text, id=f"{uuid4()}")]
            made = empty_checkpoint()
            made["channel_values"] = {"messages": messages, "step": step}
            made["channel_versions"] = {
                "messages": f"{step if characters else 0:032}.0{uuid4().int}"[:50],
                "step": f"{step:032}.0{uuid4().int}"[:50],
            }
            at = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
            if parent:
                at["configurable"]["checkpoint_id"] = parent
            stored = self.saver.put(
                at,  # type: ignore[arg-type]
                made,
                {"source": "loop", "step": step, "run_id": f"{uuid4()}"},
                made["channel_versions"],
            )
            self.saver.put_writes(stored, [("step", step)], f"{uuid4()}")
            parent = made["id"]

    def growth(self, threads: int, steps: int, characters: int) -> float:
        """Bytes of a thread."""
        before = self.used()
        for _ in range(threads):
            self.conversation(f"{uuid4()}", steps, characters)
        return (self.used() - before) / threads


def main() -> None:
    with (
        EmbeddedRedis() as server,
        RedisSaver(server.url) as saver,
        redis.Redis.from_url(server.url) as admin,
    ):
        saver.setup()
        sizes = Sizes(saver, admin)
        sizes.growth(200, 2, 0)  # what tables that grow by doubling take first
        first = sizes.growth(500, 1, 0)
        bare = sizes.growth(10, 51, 0)
        step = (bare - sizes.growth(10, 1, 0)) / 50
        rows = [
            ("a thread with its first checkpoint and one pending write", first),
            ("each further checkpoint with one pending write, state apart", step),
        ]
        for characters in (72, 720, 7200):
            grown = sizes.growth(10, 51, characters) - sizes.growth(10, 1, characters)
            rows.append(
                (f"each message of {characters:,} characters, stored once", grown / 50 - step)
            )
    lines = ["| what | bytes |", "| --- | ---: |"]
    lines += [f"| {what} | {size:,.0f} |" for what, size in rows]
    text = "\n".join(lines)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n{text}\n{END}{after}", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

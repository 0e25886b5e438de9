"""Writes the examples in docs/documents.md: documents of a real run, as a server holds them.

python docs/generate.py
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import redis
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import Checkpoint
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.storage.keys import thread_keys

PAGE = Path(__file__).parent / "documents.md"

THREAD = "order-7"
FIRST, SECOND = "1f0c-0001", "1f0c-0002"
LOG = "u2Xq0c7Yk1vJ9aZs"
TASK = "6f9619ff-8b86-d011-b42d-00c04fc964ff"


class Customer(BaseModel):
    name: str
    vip: bool


@dataclass
class Parcel:
    grams: int
    price: float


Customer.__module__ = Parcel.__module__ = "shop"


def put_example(saver: RedisSaver) -> None:
    """A thread with one checkpoint that waits for a person."""
    names = ("messages", "notes", "customer", "parcel", "due", "labels")
    versions = dict.fromkeys(names, "2.0")
    checkpoint = Checkpoint(
        v=4,
        id=SECOND,
        ts="2026-01-02T03:04:05+00:00",
        channel_values={
            "messages": [HumanMessage("Where is my parcel?", id="m1")],
            "notes": [{"text": f"Day {day}: seen at the depot. " * 6} for day in range(1, 5)],
            "customer": Customer(name="Ada", vip=True),
            "parcel": Parcel(grams=1200, price=0.1 + 0.2),
            "due": datetime(2026, 1, 9, tzinfo=timezone.utc),
            "labels": {"fragile"},
            "terms": "The carrier is liable. " * 30,
        },
        channel_versions={**versions, "terms": "1.0"},
        versions_seen={"agent": {"messages": "1.0"}},
        updated_channels=["messages"],
    )
    config = saver.put(
        {
            "configurable": {"thread_id": THREAD, "checkpoint_ns": "", "checkpoint_id": FIRST},
            "metadata": {"user_id": "ada"},
        },
        checkpoint,
        {"source": "loop", "step": 3, "parents": {}, "run_id": "run-1"},
        {**versions, "terms": "1.0"},
    )
    saver.put_writes(
        config,
        [
            ("__pregel_tasks", Send("pack", {"parcel": 1})),
            ("__interrupt__", [Interrupt(value="Refund?", id="i1")]),
        ],
        TASK,
        "~__pregel_pull, agent",
    )


def examples(client: redis.Redis) -> dict[str, str]:
    """The name of each example on the page -> its Markdown."""
    return {name: fixed(text) for name, text in _examples(client)}


def fixed(text: str) -> str:
    """The text with one number for the log, which is random."""
    return re.sub(r"(:notes:)[\w-]{16}", rf"\g<1>{LOG}", text)


def _examples(client: redis.Redis) -> Iterator[tuple[str, str]]:
    thread = thread_keys("langgraph:", THREAD)
    keys = {name[0]: thread.key(name) for name in client.zrange(thread.contents, 0, -1)}
    found = {
        "contents": f"ZRANGE {thread.contents} 0 -1",
        "checkpoint": f"JSON.GET {keys['c']}",
        "write": f"JSON.GET {keys['w']}",
        "log": f"JSON.GET {keys['l']}",
        "texts": f"JSON.GET {keys['l']} $.items..text",
        "blob": f"JSON.GET {keys['b']}",
        "thread": f"JSON.GET {keys['t']}",
        "message": f"JSON.GET {keys['m']}",
        "setup": "JSON.GET langgraph:setup:messages",
        "content": f"JSON.GET {keys['c']} $.channel_values.messages..content",
        "classes": f"JSON.GET {keys['c']} '$..[\"$class\"]'",
    }
    for name, command in found.items():
        yield name, _shown(client, command)


def _shown(client: redis.Redis, command: str) -> str:
    reply: Any = client.execute_command(*shlex.split(command))
    document = json.loads(reply) if isinstance(reply, str) else reply
    if isinstance(document, dict) and "updated_at" in document:
        document["updated_at"] = 1767323045123
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return f"```\n{command}\n```\n\n```json\n{text}\n```"


def page(text: str, examples: dict[str, str]) -> str:
    """The page with current examples.

    Raises:
        KeyError: for an example that there is none of.
    """
    return re.sub(
        r"(<!-- example: (\w+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n{examples[found[2]]}\n\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


def main() -> None:
    with EmbeddedRedis() as server, RedisSaver(server.url, message_search=True) as saver:
        saver.setup()
        put_example(saver)
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            PAGE.write_text(
                page(PAGE.read_text(encoding="utf-8"), examples(client)), encoding="utf-8"
            )


if __name__ == "__main__":
    main()

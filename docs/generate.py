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
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import Checkpoint
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.storage.keys import thread_keys

PAGE = Path(__file__).parent / "documents.md"

THREAD, SHORT = "order-7", "order-8"
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

TRACKED = [
    "Where is my parcel?",
    "I look it up.",
    "A-12 left Porto on Monday.",
    "It left Porto on Monday, and should reach Lisbon today.",
]
TALK = [
    "It is not here.",
    "I am sorry. The carrier says that it is late.",
    "How late?",
    "Two days at most.",
    "It is a present for Friday.",
    "Then it should be in time.",
    "And if it is not?",
    "Then you get your money back.",
    "All of it?",
    "The price and the postage: 30 euros.",
    "Can you leave it with a neighbour?",
    "Yes. What is the name?",
    "Eve, on the second floor.",
    "I have told the carrier.",
    "It is still not here. I want the refund.",
    "I ask a person to agree.",
]


def conversation() -> list[AnyMessage]:
    """Twenty messages about a parcel."""
    question, looking, tracked, told = TRACKED
    calls = [{"name": "track", "args": {"parcel": "A-12"}, "id": "call-1"}]
    talk: list[AnyMessage] = [
        HumanMessage(question, id="m1"),
        AIMessage(looking, tool_calls=calls, id="m2"),
        ToolMessage(tracked, tool_call_id="call-1", name="track", id="m3"),
        AIMessage(told, id="m4"),
    ]
    for number, text in enumerate(TALK, 5):
        kind = HumanMessage if number % 2 else AIMessage
        talk.append(kind(text, id=f"m{number}"))
    return talk


def put_example(saver: RedisSaver) -> None:
    """A thread with one checkpoint, which waits for a person, and one with a short conversation."""
    names = ("messages", "notes", "customer", "parcel", "due", "labels")
    versions = dict.fromkeys(names, "2.0")
    checkpoint = Checkpoint(
        v=4,
        id=SECOND,
        ts="2026-01-02T03:04:05+00:00",
        channel_values={
            "messages": conversation(),
            "notes": ["Monday: seen at the depot"],
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
    short = Checkpoint(
        v=4,
        id=FIRST,
        ts="2026-01-02T03:04:05+00:00",
        channel_values={"messages": [HumanMessage("Is my parcel in Lisbon?", id="m1")]},
        channel_versions={"messages": "1.0"},
        versions_seen={},
        updated_channels=["messages"],
    )
    saver.put(
        {"configurable": {"thread_id": SHORT, "checkpoint_ns": ""}},
        short,
        {"source": "input", "step": -1, "parents": {}},
        {"messages": "1.0"},
    )


def examples(client: redis.Redis) -> dict[str, str]:
    """The name of each example on the page -> its Markdown."""
    return {name: fixed(text) for name, text in _examples(client)}


def fixed(text: str) -> str:
    """The text with one number for the log, which is random."""
    return re.sub(r"(:messages:)[\w-]{16}", rf"\g<1>{LOG}", text)


def _examples(client: redis.Redis) -> Iterator[tuple[str, str]]:
    thread = thread_keys("langgraph:", THREAD)
    names = client.zrange(thread.contents, 0, -1)
    keys = {name[0]: thread.key(name) for name in reversed(names)}
    short = thread_keys("langgraph:", SHORT).key(f"c::{FIRST}")
    found = {
        "contents": f"ZRANGE {thread.contents} 0 -1",
        "checkpoint": f"JSON.GET {keys['c']}",
        "write": f"JSON.GET {keys['w']}",
        "newest": f"JSON.GET {keys['t']} $.checkpoint_id",
        "reference": f"JSON.GET {keys['c']} $.channel_values.messages",
        "texts": f"JSON.GET {keys['l']} $.items[0:20]..content",
        "short": f"JSON.GET {short} $.channel_values.messages..content",
        "log": f"JSON.GET {keys['l']} $.items[0:2]",
        "blob": f"JSON.GET {keys['b']}",
        "thread": f"JSON.GET {keys['t']}",
        "message": f"JSON.GET {keys['m']}",
        "setup": "JSON.GET langgraph:setup:messages",
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

"""Shared helpers of the list log tests: a thread with a growing list, and its logs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import orjson
import redis
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import ChannelVersions
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from tests.support.checkpoints import checkpoint, config, found_keys
from tests.support.clients import Saver

serde = JsonPlusSerializer()

WORDS = "lorem ipsum dolor sit amet " * 22  # some 600 characters

TEXT = "some words of an é\0 and a 👩‍👩‍👧 " * 3

ITEMS: dict[str, Callable[[int], Any]] = {
    "messages": lambda n: [HumanMessage, AIMessage][n % 2](f"{n} {TEXT}", id=f"{n}"),
    "dicts": lambda n: {"n": n, "text": TEXT, "$log": [n]},
    "tuples": lambda n: (n, TEXT),
    "bytes": lambda n: b"%d \xff\0" % n + bytes(100),
    "mixed": lambda n: [
        None,
        b"\xff" * 200,
        float("nan"),
        f"{n} {TEXT}",
        {"a": (n, {2}), 3: TEXT},
        [1.5, 0.1 + 0.2, float("-inf"), 1 << 63, TEXT],
        ToolMessage(TEXT * 2, tool_call_id=f"{n}"),
        {"type": "msgpack", "json": TEXT},
    ][n % 8],
}


def items(start: int, stop: int, kind: str = "dicts") -> list[Any]:
    return [ITEMS[kind](n) for n in range(start, stop)]


def same(left: Any, right: Any) -> bool:
    """Whether the serializer writes the same: to it a tuple is a list, and NaN is NaN."""
    return serde.dumps_typed(left) == serde.dumps_typed(right)


class Thread:
    """The values that were put into one channel, checkpoint by checkpoint."""

    def __init__(self, thread_id: str = "thread", checkpoint_ns: str = "") -> None:
        self.thread_id, self.checkpoint_ns = thread_id, checkpoint_ns
        self.expected: dict[str, Any] = {}
        self.parents: dict[str, str | None] = {}
        self.ids = count(1)

    def config(self, checkpoint_id: str | None = None) -> Any:
        return config(self.thread_id, self.checkpoint_ns, checkpoint_id)

    def put(self, saver: Saver, value: Any, *, parent: str | None = None) -> str:
        id_ = f"{next(self.ids):05}"
        self.parents[id_] = parent or max(self.expected, default=None)
        self.expected[id_] = value
        self.put_again(saver, id_)
        return id_

    def put_again(self, saver: Saver, id_: str) -> None:
        versions: ChannelVersions = {"list": f"{id_}.5"}
        made = checkpoint(id_, {"list": self.expected[id_]}, versions)
        saver.put(self.config(self.parents[id_]), made, {"step": 1, "run_id": id_}, versions)

    def check_one(self, reader: Saver, id_: str | None = None) -> None:
        """Check that one checkpoint, by default the newest, is as it was put."""
        found = reader.get_tuple(self.config(id_))
        if not self.expected:
            assert found is None
            return
        id_ = id_ or max(self.expected)
        assert found is not None
        assert found.checkpoint["id"] == id_
        assert same(found.checkpoint["channel_values"]["list"], self.expected[id_])

    @property
    def last(self) -> Any:
        return self.expected[max(self.expected)]

    def check(self, reader: Saver) -> None:
        """Check that all checkpoints are as they were put. (Listings do not change the cache.)"""
        found = {
            item.config["configurable"]["checkpoint_id"]: item.checkpoint["channel_values"]["list"]
            for item in reader.list(self.config())
        }
        assert list(found) == sorted(self.expected, reverse=True)
        wrong = [id_ for id_, value in self.expected.items() if not same(found[id_], value)]
        assert not wrong


class Conversation:
    """A thread to which each step adds one message."""

    def __init__(self, window: int | None = None) -> None:
        self.window = window
        self.messages: list[Any] = []
        self.length = 0

    def step(self, saver: Saver) -> None:
        number = self.length
        kind = (HumanMessage, AIMessage)[number % 2]
        self.messages.append(kind(f"<{number:04}> {WORDS}", id=f"{number:08}"))
        if self.window:  # the first message stays, as a system message does
            self.messages = [self.messages[0], *self.messages[1:][-self.window :]]
        versions: ChannelVersions = {"messages": f"{number + 1:032}.5", "branch": f"{1:032}.5"}
        made = checkpoint(
            f"{number:08}",
            {"messages": self.messages, "branch": "node"},
            versions,
            versions_seen={"node": versions},
        )
        parent = f"{number - 1:08}" if number else None
        new: ChannelVersions = {"messages": versions["messages"]} if number else versions
        saver.put(config(checkpoint_id=parent), made, {"source": "loop", "step": number}, new)
        self.length += 1

    def grow(self, saver: Saver, length: int) -> None:
        while self.length < length:
            self.step(saver)


def traffic(client: redis.Redis, call: Callable[[], Any]) -> tuple[int, int]:
    """Number of bytes that a call sends to the server, and that it receives."""

    def total() -> tuple[int, int]:
        stats = client.info("stats")
        return stats["total_net_input_bytes"], stats["total_net_output_bytes"]

    asked, asking, before = total(), total(), total()
    call()
    after = total()
    sent, received = (after[i] - before[i] - (before[i] - asking[i]) for i in range(2))
    assert asking[0] - asked[0] == before[0] - asking[0]  # no other client is active
    return sent, received


LENGTHS = (100, 200, 400)
"""Of conversations, in messages."""


def get_json(client: redis.Redis, key: str, path: str = ".") -> Any:
    return orjson.loads(client.execute_command("JSON.GET", key, path))


class Logs:
    """The logs of a test on the server."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self.client, self.prefix = client, prefix

    def keys(self) -> list[str]:
        return found_keys(self.client, self.prefix, "log")

    def items(self) -> int:
        """Number of stored items."""
        lengths = (self.client.execute_command("JSON.ARRLEN", key, ".items") for key in self.keys())
        return sum(lengths)

    def delete(self) -> str:
        [key] = self.keys()
        self.client.delete(key)
        return key


EDITS: dict[str, tuple[Callable[[list[Any], list[Any]], list[Any]], int]] = {
    "append": (lambda m, new: [*m, *new], 3),
    "trim the front": (lambda m, new: m[5:], 0),
    "slide the window": (lambda m, new: [*m[3:], *new], 3),
    "keep the first and slide": (lambda m, new: [m[0], *m[5:], *new], 3),
    "trim the end": (lambda m, new: m[:-3], 0),
    "remove": (lambda m, new: [*m[:4], *m[5:]], 0),
    "replace": (lambda m, new: [*m[:4], new[0], *m[5:]], 1),
    "replace the last": (lambda m, new: [*m[:-1], new[0]], 1),
    "insert at the front": (lambda m, new: [*new, *m], 3),
    "insert": (lambda m, new: [*m[:6], *new, *m[6:]], 3),
    "insert twice": (lambda m, new: [new[0], *m[:6], *new[1:], *m[6:]], 3),
    "reorder": (lambda m, new: [*m[8:], *m[3:8], *m[:3]], 0),
    "duplicate": (lambda m, new: [*m[:8], m[2], m[2], *m[8:]], 0),
    "append what is there": (lambda m, new: [*m, m[2]], 1),
    "nothing": (lambda m, new: [*m], 0),
    "clear": (lambda m, new: [], 0),
    "shrink": (lambda m, new: m[:1], 0),
    "start again": (lambda m, new: new * 4, 12),
}
"""Edits of a list, with how many new items they have."""

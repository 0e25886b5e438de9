"""Shared helpers of the tests of messages: threads of chat messages, and what a search finds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import redis
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.base import ChannelVersions

from langgraph_redis_json.operations.search_messages import FoundMessage
from tests.support.checkpoints import checkpoint, config, found_keys
from tests.support.clients import Saver

LONG = " and so on" * 60
"""Makes a list of messages too long for the checkpoint itself, so that it is in a log."""


def human(id_: str | None, text: Any, **more: Any) -> HumanMessage:
    return HumanMessage(text, id=id_, **more)


def ai(id_: str | None, text: Any, **more: Any) -> AIMessage:
    return AIMessage(text, id=id_, **more)


class Chat:
    """A thread whose channel "messages" is put step by step, as a run of a graph does."""

    def __init__(
        self, saver: Saver, thread_id: str = "thread", checkpoint_ns: str = "", **metadata: Any
    ) -> None:
        self.saver, self.thread_id, self.checkpoint_ns = saver, thread_id, checkpoint_ns
        self.metadata = metadata
        self.messages: list[Any] = []
        self.last: str | None = None
        self.steps = 0

    def put(self, value: Any = None, *, parent: str | None = None, **channels: Any) -> str:
        """Put a checkpoint with this list of messages, or with the messages so far."""
        self.messages = self.messages if value is None else value
        self.steps += 1
        id_ = f"{self.steps:05}"
        values = {"messages": self.messages, **channels}
        versions: ChannelVersions = dict.fromkeys(values, f"{self.steps:05}.{self.thread_id}")
        made = checkpoint(
            id_,
            values,
            versions,
            ts=f"2026-01-02T03:{self.steps // 60:02}:{self.steps % 60:02}+00:00",
        )
        metadata: Any = {"source": "loop", "step": self.steps, **self.metadata}
        of_parent = config(self.thread_id, self.checkpoint_ns, parent or self.last)
        self.saver.put(of_parent, made, metadata, versions)
        self.last = id_
        return id_

    def say(self, *more: BaseMessage) -> str:
        """Put a checkpoint with more messages."""
        return self.put([*self.messages, *more])


def found(saver: Saver, text: str, **options: Any) -> list[FoundMessage]:
    return list(saver.search_messages(text, **options))


def ids(saver: Saver, text: str, **options: Any) -> list[str]:
    """The ids of the messages that a search finds, sorted."""
    return sorted(row.message_id or "" for row in found(saver, text, limit=None, **options))


def documents(client: redis.Redis, key_prefix: str) -> list[dict[str, Any]]:
    """All documents of messages."""
    return [
        json.loads(client.execute_command("JSON.GET", key))
        for key in found_keys(client, key_prefix, "message")
    ]


def texts(client: redis.Redis, key_prefix: str) -> list[str]:
    """The texts of all documents of messages, sorted."""
    return sorted(document["text"] for document in documents(client, key_prefix))


def numbered(messages: Iterable[int]) -> Sequence[BaseMessage]:
    """Messages with numbers as ids, long enough for a log."""
    return [(human, ai)[n % 2](f"{n}", f"parcel number {n}{LONG}") for n in messages]

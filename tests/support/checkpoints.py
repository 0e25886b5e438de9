"""Shared helpers: short constructors of LangGraph's types, and views of the stored keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

import pytest
import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, CheckpointTuple

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from tests.support.clients import Client

BIG = "x" * 5_000
"""A channel value that is stored as a blob."""

each_saver = pytest.mark.parametrize(
    "client",
    [
        pytest.param(Client(RedisSaver, 3, False), id="RedisSaver"),
        pytest.param(Client(AsyncRedisSaver, 2, True), id="AsyncRedisSaver"),
    ],
    indirect=True,
)
"""For tests that do not depend on the form of replies: each saver once."""

STRANGE = {
    "empty": "",
    "colons": "a:b::c:",
    "braces": "{a}}{",
    "query": '"} | @thread_id:{*',
    "pattern": "*?[a-z]\\",
    "quotes": "'\"`",
    "blanks": " a\t\n b ",
    "NUL": "a\0b\0",
    "emoji": "👩‍👩‍👧 é",
    "last code point": "\U0010ffff",
    "our own spelling": ";.|(~)~",
    "our own zeros": "~0~~0",
    "comma": "a,b\x1f",
    "hyphen": "-",
    "plus": "+",
    "long": "x" * 2_000,
}
"""Ids that could break some key, pattern, query or separator."""

strange = pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE.keys())


def spelled(value: Any) -> str:
    """A value in the name of a test: the same in every process that names it."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))


def config(
    thread_id: Any = "thread", checkpoint_ns: str | None = "", checkpoint_id: str | None = None
) -> RunnableConfig:
    """A config; None leaves the member out."""
    configurable = {
        "thread_id": thread_id,
        "checkpoint_ns": checkpoint_ns,
        "checkpoint_id": checkpoint_id,
    }
    return {
        "configurable": {key: value for key, value in configurable.items() if value is not None}
    }


def checkpoint(
    checkpoint_id: str,
    values: dict[str, Any] | None = None,
    versions: dict[str, Any] | None = None,
    **more: Any,
) -> Checkpoint:
    """A checkpoint whose channels have version 1, unless `versions` says otherwise."""
    values = values or {}
    made = {
        "v": 4,
        "id": checkpoint_id,
        "ts": "2025-01-02T03:04:05.678901+00:00",
        "channel_values": values,
        "channel_versions": versions if versions is not None else dict.fromkeys(values, 1),
        "versions_seen": {"node": {"channel": 1}},
        "updated_channels": None,
        **more,
    }
    return cast(Checkpoint, made)


def put(
    saver: BaseCheckpointSaver[str],
    checkpoint_id: str,
    values: dict[str, Any] | None = None,
    versions: dict[str, Any] | None = None,
    *,
    thread_id: Any = "thread",
    checkpoint_ns: str = "",
    parent: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> RunnableConfig:
    """Put a checkpoint and declare all its channels new."""
    made = checkpoint(checkpoint_id, values, versions)
    given: Any = {"source": "loop", "step": 1} if metadata is None else metadata
    return saver.put(
        config(thread_id, checkpoint_ns, parent), made, given, made["channel_versions"]
    )


def get_tuple(saver: BaseCheckpointSaver[str], given: RunnableConfig) -> CheckpointTuple:
    """Get a checkpoint that must exist."""
    found = saver.get_tuple(given)
    assert found is not None
    return found


def get(saver: BaseCheckpointSaver[str], given: RunnableConfig) -> Checkpoint:
    """Get a checkpoint that must exist, without its metadata and writes."""
    found = saver.get(given)
    assert found is not None
    return found


def ids(found: Iterable[CheckpointTuple]) -> list[str]:
    return [item.config["configurable"]["checkpoint_id"] for item in found]


def names(found: Iterable[CheckpointTuple]) -> list[tuple[str, str, str]]:
    """The thread id, namespace and checkpoint id of each."""
    given = [item.config["configurable"] for item in found]
    return [(each["thread_id"], each["checkpoint_ns"], each["checkpoint_id"]) for each in given]


def found_keys(client: redis.Redis, key_prefix: str, kind: str = "") -> list[str]:
    """The keys that a saver made; those of one kind, "blob" say."""
    pattern = f"{key_prefix}{kind}:*" if kind else f"{key_prefix}*"
    return sorted(client.scan_iter(pattern, count=1_000))


def members(client: redis.Redis, key: str) -> list[str]:
    """The members of a sorted set, the entries of a table of contents say."""
    found: Any = client.zrange(key, 0, -1)
    return list(found)


def stored(client: redis.Redis, key_prefix: str) -> dict[str, Any]:
    """Everything that a saver stored: key -> content."""
    return {
        key: (
            client.zrange(key, 0, -1)
            if client.type(key) == "zset"
            else client.execute_command("JSON.GET", key, "$")
        )
        for key in found_keys(client, key_prefix)
    }


def indexed(client: redis.Redis, index: str, query: str = "*") -> int:
    """Number of documents that a search finds."""
    reply = client.execute_command("FT.SEARCH", index, query, "LIMIT", 0, 0, "DIALECT", 2)
    return int(reply["total_results"] if isinstance(reply, dict) else reply[0])


def own_indexes(client: redis.Redis, key_prefix: str) -> list[str]:
    """The names of the indexes of savers with this key prefix."""
    there = client.execute_command("FT._LIST")
    return sorted(name for name in there if name.startswith(f"{key_prefix}"))


def put_delta(
    saver: BaseCheckpointSaver[str],
    checkpoint_id: str,
    parent: str | None,
    snapshots: tuple[str, ...] = (),
    deltas: tuple[str, ...] = (),
    **more: Any,
) -> None:
    """A checkpoint that has the values of some channels, and of others only the writes."""
    channels = (*snapshots, *deltas)
    written = put(
        saver,
        checkpoint_id,
        {channel: f"{channel} at {checkpoint_id} {BIG}" for channel in snapshots},
        dict.fromkeys(channels, f"{checkpoint_id}.0"),
        parent=parent,
        metadata={"step": 1, "counters_since_delta_snapshot": dict.fromkeys(deltas, (1, 1))},
        **more,
    )
    writes = [(channel, f"{channel} after {checkpoint_id}") for channel in channels]
    saver.put_writes(written, writes, "task")

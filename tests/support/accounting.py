"""A check that the server has all keys and index entries that it needs, and no others."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import redis

from langgraph_redis_json.client.replies import mapping
from langgraph_redis_json.search.queries import index_name
from langgraph_redis_json.storage.keys import KINDS, ThreadKeys
from tests.support.checkpoints import found_keys, members, own_indexes

PINNED = "d:never"
"""An entry of a table of contents that names no key."""


def account(client: redis.Redis, key_prefix: str, *, garbage: bool = False) -> None:
    """Check that no key and no index entry under a prefix is missing or left over.

    Every table of contents names exactly the keys of its thread, all of which expire at the same
    millisecond or never; every blob, log and slice to which a checkpoint refers exists; no blob or
    log exists to which no checkpoint refers; the indexes hold each document once, and nothing else.

    Args:
        client: one that decodes responses.
        key_prefix: the saver's.
        garbage: whether blobs and logs may exist to which no checkpoint refers: those of a
            checkpoint that was replaced, or whose keys were deleted without the saver.
    """
    threads: dict[str, list[str]] = defaultdict(list)
    for key in found_keys(client, key_prefix):
        if key == f"{key_prefix}setup:messages":  # how far setup() is
            continue
        threads[key[key.index("{") : key.index("}") + 1]].append(key)
    for tag, there in threads.items():
        thread = ThreadKeys(key_prefix, tag, f"{key_prefix}contents:{tag}")
        named = members(client, thread.contents)
        assert sorted(there) == sorted(
            {thread.contents, *(thread.key(entry) for entry in named if entry != PINNED)}
        )
        pipeline = client.pipeline(transaction=False)
        for key in there:
            pipeline.pexpiretime(key)
        deadlines = {*pipeline.execute()}
        assert len(deadlines) == 1, f"the keys of {tag} expire at different times: {deadlines}"
        assert PINNED not in named or deadlines == {-1}
        _references(client, thread, named, garbage)
    indexes = {"checkpoints": "c", "writes": "w", "threads": "t"}
    if any(name.startswith(f"{key_prefix}messages") for name in own_indexes(client, key_prefix)):
        indexes["messages"] = "m"
    for which, kind in indexes.items():
        expected = found_keys(client, key_prefix, KINDS[kind])
        if which == "writes":  # of those that are trees: interrupts, errors …
            expected = [key for key in expected if _json(client, key, "$.special_channels.*")]
        index = index_name(key_prefix, which)
        assert sorted(indexed_keys(client, index)) == expected, which
        assert int(mapping(client.execute_command("FT.INFO", index))["num_docs"]) == len(expected)


def indexed_keys(client: redis.Redis, index: str) -> list[str]:
    """The keys of all documents of an index."""
    found: list[str] = []
    reply, cursor = client.execute_command(
        *("FT.AGGREGATE", index, "*", "LOAD", 1, "@__key", "WITHCURSOR", "COUNT", 1_000)
    )
    while True:
        rows = reply["results"] if isinstance(reply, dict) else reply[1:]
        for row in rows:
            fields = row["extra_attributes"] if isinstance(row, dict) else row
            found.append(mapping(fields)["__key"])
        if not cursor:
            return found
        reply, cursor = client.execute_command("FT.CURSOR", "READ", index, cursor)


def _references(client: redis.Redis, thread: ThreadKeys, named: list[str], garbage: bool) -> None:
    blobs: set[str] = set()
    last: dict[str, int] = defaultdict(int)
    for entry in named:
        if entry.startswith("c:"):
            for value in _json(client, thread.key(entry), "$.channel_values.*"):
                value = value or {}  # None is stored as null
                blobs |= {value["blob"]} if "blob" in value else set()
                for log, start, stop in value.get("log", ()):
                    assert 0 <= start < stop
                    last[log] = max(stop, last[log])
    stored = {thread.key(entry) for entry in named if entry[0] in "bl"}
    assert blobs | last.keys() <= stored
    assert garbage or blobs | last.keys() == stored
    for log, stop in last.items():
        [length] = client.execute_command("JSON.ARRLEN", log, "$.items")
        assert stop <= length


def _json(client: redis.Redis, key: str, path: str) -> Any:
    return json.loads(client.execute_command("JSON.GET", key, path))

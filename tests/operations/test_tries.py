"""Each loop that goes on because of a server's answer ends, with an error that says why.

Recorded replies are sent into plans, which know no server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from langgraph_redis_json import RedisSaver, TriesExhaustedError, UnsuitableServerError
from langgraph_redis_json.client.plan import Command
from langgraph_redis_json.operations import (
    copy_thread,
    delete_thread,
    expiry,
    get_delta_channel_history,
    put,
    setup,
)
from langgraph_redis_json.search import indexes
from tests.support.checkpoints import checkpoint, config

SAVER = RedisSaver("redis://127.0.0.1:1")
"""No server is asked."""

MOST = 20_000
"""Batches after which a plan counts as endless."""


def run(plan: Any, reply: Callable[[Command], Any]) -> int:
    """Run a plan with one answer for each command. Returns how many batches it sent."""
    batches = 0
    commands = next(plan)
    while batches < MOST:
        batches += 1
        try:
            replies = [reply(command) for command in commands]
        except ResponseError as error:
            commands = plan.throw(error)
        else:
            commands = plan.send(replies)
    raise AssertionError("it never ends")


def test_a_put_whose_blobs_the_server_loses_each_time() -> None:
    made = checkpoint("1", {"value": "x" * 5_000})
    plan = put.put(SAVER._context, config(), made, {}, made["channel_versions"])
    with pytest.raises(TriesExhaustedError, match="maxmemory-policy to noeviction"):
        run(plan, lambda command: [["b::value:x"], [], None])


def test_a_deletion_beside_a_writer() -> None:
    plan = delete_thread.delete_thread(SAVER._context, "thread")
    with pytest.raises(TriesExhaustedError, match="other processes write"):
        run(plan, lambda command: [7, 0, 0])


def test_a_deadline_that_others_change_each_time() -> None:
    with pytest.raises(TriesExhaustedError, match="another process changed it"):
        run(expiry.pin(SAVER._context, "thread"), lambda command: [1, -1, "c::5"])


def test_ancestors_that_are_deleted_each_time() -> None:
    plan = get_delta_channel_history.get_delta_channel_history(SAVER._context, config(), ["a"])
    with pytest.raises(TriesExhaustedError, match="deleted some of them"):
        run(plan, lambda command: [[], [], [], None, 1])


def test_a_copy_whose_target_is_deleted_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_thread, "MOST_CHANGES", 20)
    document = (
        b'{"format":1,"thread_id":"a","checkpoint_ns":"","tokens":"1,2","channel_values":'
        b'{"x":{"blob":"langgraph:blob:{a}::x:1"}},"checkpoint":"{}","metadata":{}}'
    )

    def reply(command: Command) -> Any:
        match command:
            case ("ZRANGEBYLEX", _, "[c:", *_):
                return [b"c::1"]
            case ("ZRANGEBYLEX" | "ZCARD", *_):
                return []
            case ("JSON.MGET", *keys, "."):
                return [document] * len(keys)
        stores = b"expected" in command[4] if isinstance(command[4], bytes) else False
        return [["b::x:1"], [], None] if stores else [[], [], None]

    with pytest.raises(TriesExhaustedError, match="copying"):
        run(copy_thread.copy_thread(SAVER._context, "a", "b"), reply)


def test_an_index_that_is_never_as_it_was_built() -> None:
    def reply(command: Command) -> Any:
        if command[0] == "FT.INFO":
            raise ResponseError("Unknown Index name")
        return b"OK"

    with pytest.raises(TriesExhaustedError, match=r"FT\._LIST"):
        run(indexes.build("langgraph:", {}, False), reply)


def test_indexes_that_are_never_complete() -> None:
    progress = setup.Progress()
    for share in (0.1, 0.5, 0.1):
        for _ in range(setup.STALLED - 1):
            progress.check(share)
    with pytest.raises(TriesExhaustedError, match="said that 10% was done"):
        progress.check(0.1)


def test_a_node_of_a_cluster_behind_a_client_of_one_server() -> None:
    def reply(command: Command) -> Any:
        # The check of the commands finds nothing, and then the facts are asked for.
        return [] if command[0] == "EVAL" or command[-1] == command[3] else None

    plan = setup.check_server(SAVER._context)
    next(plan)
    plan.send([[]])
    plan.send([[]])
    with pytest.raises(UnsuitableServerError, match="Pass a RedisCluster"):
        plan.send([["noeviction", "cluster"]])

"""Other calls between the commands of one operation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.operations import delete_thread, put
from langgraph_redis_json.storage.cache import LARGE
from tests.support.checkpoints import checkpoint, config, found_keys
from tests.support.checkpoints import put as put_checkpoint
from tests.support.clients import Client, MakeSaver
from tests.support.growing_lists import items
from tests.support.plans import execute

SAVER = Client(RedisSaver, 3, False)
LARGE_VALUE = "x" * (2 * LARGE)
MINUTE = 60_000


def times(client: redis.Redis, key_prefix: str) -> dict[str, int]:
    """Key -> how many milliseconds it has left, -1 if it never expires."""
    return {key: client.pttl(key) for key in found_keys(client, key_prefix)}


def following_batches(saver: Any, plan: Any, replies: list[Any]) -> Iterator[None]:
    """Run a plan from these replies on, and yield before each further batch."""
    try:
        while True:
            commands = plan.send(replies)
            yield
            replies = execute(saver, commands)
    except StopIteration:
        return


# ---- a put of large values: the blobs go first, each by commands of its own


def put_plan(saver: Any) -> tuple[Any, Any]:
    values = {"first": LARGE_VALUE, "second": {"a": LARGE_VALUE}, "list": items(0, 12)}
    made = checkpoint("2", values, dict.fromkeys(values, "2"))
    plan = put.put(
        saver._context, config(checkpoint_id="1"), made, {"step": 2}, dict.fromkeys(values, "2")
    )
    return plan, values


COMMANDS = 6
"""Of that put: an entry and a document for each blob, the script that gives them a deadline, and
the script that stores the checkpoint."""


@pytest.mark.parametrize("lifetime", [0, 10], ids=["without a TTL", "with a TTL"])
@pytest.mark.parametrize("change", ["pin", "expire", "pin and expire"])
@pytest.mark.parametrize("at", range(COMMANDS + 1))
def test_the_deadline_changes_between_the_commands_of_a_put(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    lifetime: int,
    change: str,
    at: int,
) -> None:
    """All keys have the deadline of the thread in the end: no blob of a pinned thread expires."""
    saver: Any = make_saver(SAVER, ttl={"default_ttl": lifetime} if lifetime else None)
    other = make_saver(SAVER, setup=False)
    values = {"list": items(0, 10)}
    put_checkpoint(saver, "1", values, {"list": "1"})
    plan, values = put_plan(saver)
    commands = next(plan)
    assert len(commands) == COMMANDS
    replies = []
    for number in range(COMMANDS + 1):
        if number == at:
            if "pin" in change:
                other.pin("thread")
            if "expire" in change:
                other.expire("thread", 500)
        if number < COMMANDS:
            replies += execute(saver, [commands[number]])
    for _ in following_batches(saver, plan, replies):
        pass
    left = times(redis_client, key_prefix)
    assert len(left) == 7  # contents, thread, two checkpoints, two blobs, a log
    if change == "pin":
        assert {*left.values()} == {-1}, left
    else:
        assert all(499 * MINUTE < one <= 500 * MINUTE for one in left.values()), left
        assert max(left.values()) - min(left.values()) < 5_000, left
    found = make_saver(SAVER, setup=False).get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"] == values


def test_a_put_that_is_done_again_gives_no_deadline_to_blobs_of_a_pinned_thread(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    """The process may die before the last command, and a checkpoint needs these blobs."""
    saver: Any = make_saver(SAVER, ttl={"default_ttl": 10})
    put_checkpoint(saver, "1", {"list": items(0, 10)}, {"list": "1"})
    plan, _ = put_plan(saver)
    for _ in following_batches(saver, plan, execute(saver, next(plan))):
        pass
    saver.pin("thread")
    plan, _ = put_plan(saver)
    execute(saver, next(plan)[: COMMANDS - 1])
    assert {*times(redis_client, key_prefix).values()} == {-1}


def test_large_blobs_have_the_deadline_of_their_thread(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    """Even if the put does not change that, because the thread was used right before."""
    saver: Any = make_saver(SAVER, ttl={"default_ttl": 10})
    put_checkpoint(saver, "1", {"list": items(0, 10)}, {"list": "1"})
    deadline = redis_client.pexpiretime(f"{key_prefix}contents:{{thread}}")
    plan, _ = put_plan(saver)
    for _ in following_batches(saver, plan, execute(saver, next(plan))):
        pass
    found = {key: redis_client.pexpiretime(key) for key in found_keys(redis_client, key_prefix)}
    assert {*found.values()} == {deadline}, found


# ---- a reader beside a deletion


@pytest.mark.parametrize("cached", [False, True], ids=["without a cache", "with a cache"])
@pytest.mark.parametrize("chunk", [1, 3, 10])
def test_a_reader_beside_the_deletion_of_a_long_thread(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
    cached: bool,
) -> None:
    """Between its calls a reader finds the whole state or None, never a checkpoint with holes: the
    checkpoints are deleted before what they refer to."""
    saver: Any = make_saver(SAVER)
    states: dict[str, Any] = {}
    parent: str | None = None
    for number in range(12):
        values = {
            "blob": f"{number // 2} {LARGE_VALUE[:5_000]}",
            "large": f"{number // 4} {LARGE_VALUE}",
            "list": items(number, number + 10),
            "small": number,
        }
        versions = {"blob": number // 2, "large": number // 4, "list": number, "small": number}
        id_ = f"{number:02}"
        written = put_checkpoint(saver, id_, values, versions, parent=parent)
        writes = [("channel", "y" * 1_000), ("small", number)]
        saver.put_writes(written, writes, "task")
        states[id_] = values, [("task", channel, value) for channel, value in writes]
        parent = id_
    monkeypatch.setattr(delete_thread, "CHUNK", chunk)
    reader = make_saver(SAVER, setup=False)
    found_whole, found_none = 0, 0

    def check(reader: Any, id_: str | None) -> None:
        nonlocal found_whole, found_none
        found = reader.get_tuple(config(checkpoint_id=id_))
        if found is None:
            found_none += 1
            return
        values, writes = states[id_ or found.checkpoint["id"]]
        assert found.checkpoint["channel_values"] == values
        assert found.pending_writes == writes
        found_whole += 1

    plan = delete_thread.delete_thread(saver._context, "thread")
    for _ in following_batches(saver, plan, execute(saver, next(plan))):
        fresh = reader if cached else make_saver(SAVER, setup=False)
        for wanted in (None, "00", "05", "11"):
            check(fresh, wanted)
        for one in fresh.list(config()):
            values, writes = states[one.checkpoint["id"]]
            assert one.checkpoint["channel_values"] == values
            assert one.pending_writes == writes
    assert found_whole > 0 < found_none
    assert found_keys(redis_client, key_prefix) == []

"""keep_last: each put leaves the newest checkpoints of its namespace, and what they need."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import INTERRUPT

from langgraph_redis_json import RedisSaver
from tests.end_to_end.test_concurrent_writers import items
from tests.operations.test_prune import put_delta
from tests.operations.test_prune_graphs import GRAPHS, converse
from tests.support.accounting import account
from tests.support.checkpoints import (
    BIG,
    config,
    each_saver,
    found_keys,
    get,
    get_tuple,
    ids,
    names,
    put,
)
from tests.support.clients import Client, MakeSaver

SAVER = Client(RedisSaver, 3, False)

MOST_OLD = 64
"""Older checkpoints that one call looks through."""


@each_saver
@pytest.mark.parametrize(
    ("keep_last", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_what_makes_no_sense(
    make_saver: MakeSaver, client: Client, keep_last: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="keep_last"):
        make_saver(client, setup=False, keep_last=keep_last)


@each_saver
@pytest.mark.parametrize("keep_last", [1, 3])
def test_the_newest_of_each_namespace_stay(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    keep_last: int,
) -> None:
    saver, all_of_it = make_saver(client, keep_last=keep_last), InMemorySaver()
    for number in range(1, 12):
        for checkpoint_ns in ("", "sub:1", "sub"):
            for each in (saver, all_of_it):
                values = {
                    "blob": f"{number // 2}{BIG}",
                    "grown": items(*range(number)),
                    "window": items(*range(number, number + 5)),
                    "small": number,
                }
                versions = {name: number // 2 if name == "blob" else number for name in values}
                parent = f"{number - 1:02}" if number > 1 else None
                written = put(
                    each,
                    f"{number:02}",
                    values,
                    versions,
                    checkpoint_ns=checkpoint_ns,
                    parent=parent,
                )
                each.put_writes(written, [("channel", number), (INTERRUPT, number)], "task")
            left = ids(saver.list(config("thread", checkpoint_ns)))
            assert left == [f"{n:02}" for n in range(number, max(0, number - keep_last), -1)]
            for checkpoint_id in left:
                given = config("thread", checkpoint_ns, checkpoint_id)
                found, expected = get_tuple(saver, given), get_tuple(all_of_it, given)
                assert found.checkpoint == expected.checkpoint
                assert found.pending_writes == expected.pending_writes
        account(redis_client, key_prefix, garbage=True)
    blobs = found_keys(redis_client, key_prefix, "blob")
    assert len(blobs) == 3 * (1 + keep_last // 2)
    saver.prune(["thread"])
    account(redis_client, key_prefix)


def test_windows_of_a_list_take_no_more_than_they_need(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(SAVER, keep_last=2)
    for number in range(70):
        put(saver, f"{number:03}", {"list": items(*range(number, number + 10))}, {"list": number})
        lengths = [
            redis_client.execute_command("JSON.ARRLEN", key, "$.items")[0]
            for key in found_keys(redis_client, key_prefix, "log")
        ]
        assert sum(lengths) <= 2 * (10 + 1) + 1 + 11
    assert [item["n"] for item in get(saver, config())["channel_values"]["list"]] == [
        *range(69, 79)
    ]


@each_saver
def test_a_checkpoint_is_there_when_put_returns(make_saver: MakeSaver, client: Client) -> None:
    """Even an older one, until the next put."""
    saver = make_saver(client, keep_last=2)
    for checkpoint_id in "567":
        put(saver, checkpoint_id)
    assert get_tuple(saver, put(saver, "3", {"big": BIG})).checkpoint["id"] == "3"
    assert ids(saver.list(config())) == ["7", "6", "3"]
    put(saver, "8")
    assert ids(saver.list(config())) == ["8", "7"]


@each_saver
def test_a_blob_that_a_fork_shares_stays(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client, keep_last=3)
    put(saver, "1", {"blob": f"old{BIG}"}, {"blob": "old"})
    put(saver, "2", {"blob": f"new{BIG}"}, {"blob": "new"}, parent="1")
    put(saver, "3", {"blob": f"old{BIG}"}, {"blob": "old"}, parent="1")
    for checkpoint_id in "45":
        parent = f"{int(checkpoint_id) - 1}"
        put(saver, checkpoint_id, {"blob": f"new{BIG}"}, {"blob": "new"}, parent=parent)
    assert [found.checkpoint["channel_values"]["blob"][:3] for found in saver.list(config())] == [
        *("new", "new", "old")
    ]
    account(redis_client, key_prefix)


@pytest.mark.parametrize("keep_last", [1, 4])
def test_chains_of_delta_channels_stay(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    keep_last: int,
) -> None:
    saver, all_of_it = make_saver(SAVER, keep_last=keep_last), make_saver(SAVER, setup=False)
    counts = []
    for number in range(1, 60):
        snapshots = [channel for channel, every in (("a", 7), ("b", 10)) if number % every == 1]
        deltas = [channel for channel in "ab" if channel not in snapshots]
        for each, thread_id in ((saver, "thread"), (all_of_it, "all")):
            parent = f"{number - 1:02}" if number > 1 else None
            args = (f"{number:02}", parent, tuple(snapshots), tuple(deltas))
            put_delta(each, *args, thread_id=thread_id)
        counts.append(len(ids(saver.list(config()))))
        for checkpoint_id in range(max(1, number - keep_last + 1), number + 1):
            deltas = [name for name, every in (("a", 7), ("b", 10)) if checkpoint_id % every != 1]
            histories = [
                each.get_delta_channel_history(
                    config=config(thread_id, "", f"{checkpoint_id:02}"), channels=deltas
                )
                for each, thread_id in ((saver, "thread"), (all_of_it, "all"))
            ]
            assert histories[0] == histories[1]
    assert max(counts) <= 10 + keep_last + 10 // 4 + 1
    account(redis_client, key_prefix, garbage=True)


@pytest.mark.parametrize("delta", [False, True])
def test_a_thread_that_was_long_before(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, delta: bool
) -> None:
    every = make_saver(SAVER)
    for number in range(MOST_OLD + 40):
        snapshots = ("a",) if not delta or number == 10 else ()
        put_delta(every, f"{number:03}", f"{number - 1:03}", snapshots, () if snapshots else ("a",))
        put_delta(every, f"{number:03}", None, ("a",), checkpoint_ns="sub")
    saver = make_saver(SAVER, setup=False, keep_last=3)
    for number in range(MOST_OLD + 40, MOST_OLD + 80):
        deltas = ("a",) if delta else ()
        put_delta(saver, f"{number:03}", f"{number - 1:03}", () if delta else ("a",), deltas)
        assert delta or len(ids(saver.list(config("thread", "")))) == 3
    left = ids(saver.list(config()))
    assert len(left) == (MOST_OLD + 70 if delta else 3)
    assert len(ids(saver.list(config("thread", "sub")))) == MOST_OLD + 40
    account(redis_client, key_prefix)
    if delta:
        history = saver.get_delta_channel_history(config=config(), channels=["a"])
        assert len(history["a"]["writes"]) == MOST_OLD + 69
        assert history["a"]["seed"].startswith("a at 010")


@pytest.mark.parametrize("durability", ["async", "exit"])
@pytest.mark.parametrize("build", GRAPHS)
def test_runs_go_on(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, build: Any, durability: str
) -> None:
    saver = make_saver(SAVER, keep_last=1)
    expected = converse(build(InMemorySaver()), lambda: None, durability)
    assert converse(build(saver), lambda: account(redis_client, key_prefix), durability) == expected
    found = names(saver.list(config("thread", None)))
    assert len(found) == len({(thread_id, ns) for thread_id, ns, _ in found})


@each_saver
@pytest.mark.parametrize("before", [0, MOST_OLD + 10])
def test_writes_that_come_when_their_checkpoint_is_gone(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    before: int,
) -> None:
    """LangGraph saves writes beside the next put, and does not wait for them."""
    every = make_saver(client)
    made = None
    for number in range(before):
        made = put(every, f"{number:03}")
        every.put_writes(made, [("channel", number)], "task")
    for number in range(0, before, 2):
        redis_client.zrem(f"{key_prefix}contents:{{thread}}", f"c::{number:03}")
        redis_client.delete(f"{key_prefix}checkpoint:{{thread}}::{number:03}")
    saver = make_saver(client, setup=False, keep_last=1)
    for number in range(before, before + 9):
        last, made = made, put(saver, f"{number:03}")
        if last is not None:
            saver.put_writes(last, [("channel", number)], "task")
    early = config("thread", "", "999")
    saver.put_writes(early, [("channel", "early")], "task")
    put(saver, f"{before + 9:03}")
    [left] = found_keys(redis_client, key_prefix, "writes")
    assert left.endswith(":999")

"""With keep_last, each put keeps the newest checkpoints of its namespace, and what they need."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import redis
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import INTERRUPT

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.storage.list_logs import UNUSED
from tests.support.accounting import account
from tests.support.checkpoints import (
    BIG,
    config,
    each_saver,
    found_keys,
    get,
    get_tuple,
    ids,
    members,
    names,
    put,
    put_delta,
)
from tests.support.clients import Client, MakeSaver
from tests.support.graphs import GRAPHS, converse
from tests.support.interleaving import items

SAVER = Client(RedisSaver, 3, False)

MOST_OLD = 64
"""Older checkpoints that one call looks through."""


@each_saver
@pytest.mark.parametrize(
    ("keep_last", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_an_invalid_keep_last_is_refused(
    make_saver: MakeSaver, client: Client, keep_last: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="keep_last"):
        make_saver(client, setup=False, keep_last=keep_last)


@each_saver
@pytest.mark.parametrize("keep_last", [1, 3])
def test_the_newest_checkpoints_of_each_namespace_are_kept(
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


@pytest.mark.parametrize("window", [4, 10, 40])
@pytest.mark.parametrize("keep_last", [1, 3])
@pytest.mark.parametrize("writers", [1, 2])
def test_a_sliding_window_keeps_few_items(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    window: int,
    keep_last: int,
    writers: int,
) -> None:
    """The items in logs stay within a bound that does not grow with the number of puts, even when
    several processes take turns."""
    savers = [make_saver(SAVER, setup=not n, keep_last=keep_last) for n in range(writers)]
    reader, all_of_it = make_saver(SAVER, setup=False), InMemorySaver()
    lengths = []
    for number in range(300):
        saver = savers[number // 7 % writers]
        saver.get_tuple(config())
        for each in (saver, all_of_it):
            values = {"list": items(*range(number, number + window))}
            put(each, f"{number:03}", values, {"list": number})
        found = [
            redis_client.execute_command("JSON.ARRLEN", key, "$.items")[0]
            for key in found_keys(redis_client, key_prefix, "log")
        ]
        lengths.append(sum(found))
        for checkpoint_id in range(max(0, number - keep_last + 1), number + 1):
            given = config(checkpoint_id=f"{checkpoint_id:03}")
            assert get(reader, given) == get(all_of_it, given)
    # A log gets new items until it has more than 2 * window + UNUSED. It is deleted when neither
    # the window nor a kept checkpoint uses its items.
    most = 2 * window + UNUSED + 1
    assert max(lengths) <= writers * (most + window + keep_last)
    if writers == 1:
        # The test fills a log, so that the bound matters.
        assert max(lengths) > most - window
    assert max(lengths[150:]) <= max(lengths[:150])
    account(redis_client, key_prefix)


@each_saver
@pytest.mark.parametrize("keep_last", [MOST_OLD, MOST_OLD + 1, 100])
def test_many_checkpoints_are_kept(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    keep_last: int,
) -> None:
    """With more than 64, older ones are deleted in batches: up to a quarter too many are kept."""
    saver, all_of_it = make_saver(client, keep_last=keep_last), InMemorySaver()
    counts = []
    for number in range(2 * keep_last + 60):
        for each in (saver, all_of_it):
            values = {"blob": f"{number // 5}{BIG}", "list": items(*range(number, number + 5))}
            versions = {"blob": number // 5, "list": number}
            written = put(each, f"{number:03}", values, versions)
            each.put_writes(written, [("channel", number)], "task")
        contents = members(redis_client, f"{key_prefix}contents:{{thread}}")
        left = [entry.rpartition(":")[2] for entry in contents if entry.startswith("c:")]
        # The newest ones are kept, without a gap.
        assert left == [f"{n:03}" for n in range(number + 1 - len(left), number + 1)]
        assert len(left) >= min(keep_last, number + 1)
        counts.append(len(left))
    too_many = 0 if keep_last <= MOST_OLD else keep_last // 4
    assert max(counts) == keep_last + too_many
    # Number of puts that deleted a batch.
    batches = sum(after < before for before, after in pairwise(counts))
    assert batches == (0 if not too_many else (keep_last + 60) // (too_many + 1))
    found = list(saver.list(config()))
    assert len(found) == counts[-1]
    for one in found:
        expected = get_tuple(all_of_it, one.config)
        assert one.checkpoint == expected.checkpoint
        assert one.pending_writes == expected.pending_writes
    account(redis_client, key_prefix, garbage=True)
    saver.prune(["thread"])
    account(redis_client, key_prefix)


@each_saver
def test_the_checkpoint_exists_when_put_returns(make_saver: MakeSaver, client: Client) -> None:
    """Also an older checkpoint is kept until the next put."""
    saver = make_saver(client, keep_last=2)
    for checkpoint_id in "567":
        put(saver, checkpoint_id)
    assert get_tuple(saver, put(saver, "3", {"big": BIG})).checkpoint["id"] == "3"
    assert ids(saver.list(config())) == ["7", "6", "3"]
    put(saver, "8")
    assert ids(saver.list(config())) == ["8", "7"]


@each_saver
def test_a_blob_that_a_fork_shares_is_kept(
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
def test_chains_of_delta_channels_are_kept(
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


@pytest.mark.parametrize("keep_last", [2, 3, 70])
def test_a_snapshot_leaves_the_ancestors_of_older_checkpoints(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, keep_last: int
) -> None:
    """The newest checkpoint has no delta channels, but an older kept one has."""
    saver = make_saver(SAVER, keep_last=keep_last)
    all_of_it = make_saver(SAVER, setup=False)
    count = keep_last + 6

    def step(number: int, *, snapshot: bool) -> None:
        names = (("a",), ()) if snapshot else ((), ("a",))
        for each, thread_id in ((saver, "thread"), (all_of_it, "all")):
            parent = f"{number - 1:03}" if number else None
            put_delta(each, f"{number:03}", parent, *names, thread_id=thread_id)

    def check(number: int) -> None:
        for checkpoint_id in range(max(0, number - keep_last + 1), number + 1):
            given = config("thread", "", f"{checkpoint_id:03}")
            if checkpoint_id in (0, *range(count, number + 1)):
                found = get(saver, given)["channel_values"]
                assert found == {"a": f"a at {checkpoint_id:03} {BIG}"}
                continue
            history = saver.get_delta_channel_history(config=given, channels=["a"])
            assert history == all_of_it.get_delta_channel_history(
                config=config("all", "", f"{checkpoint_id:03}"), channels=["a"]
            )
            assert history["a"]["seed"] == f"a at 000 {BIG}"

    for number in range(count):
        step(number, snapshot=number == 0)
    step(count, snapshot=True)
    check(count)
    kept = ids(saver.list(config()))
    assert kept[0] == f"{count:03}"
    # The first snapshot is not among the newest checkpoints, but these are rebuilt from it.
    assert kept[-1] == "000"
    for number in range(count + 1, count + 40 + keep_last):
        step(number, snapshot=True)
        check(number)
    # Snapshots need no ancestors.
    left = ids(saver.list(config()))
    assert len(left) <= keep_last + (keep_last // 4 if keep_last > MOST_OLD else 0)
    account(redis_client, key_prefix, garbage=True)


@pytest.mark.parametrize("delta", [False, True])
def test_a_thread_that_was_already_long_is_pruned(
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
def test_runs_continue_with_keep_last(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, build: Any, durability: str
) -> None:
    saver = make_saver(SAVER, keep_last=1)
    expected = converse(build(InMemorySaver()), lambda: None, durability)
    assert converse(build(saver), lambda: account(redis_client, key_prefix), durability) == expected
    found = names(saver.list(config("thread", None)))
    assert len(found) == len({(thread_id, ns) for thread_id, ns, _ in found})


@each_saver
@pytest.mark.parametrize("before", [0, MOST_OLD + 10])
def test_writes_that_arrive_after_their_checkpoint_was_deleted_are_deleted(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    before: int,
) -> None:
    """LangGraph saves writes in the background, so they may arrive after the next put."""
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

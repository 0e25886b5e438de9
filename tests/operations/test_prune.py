"""prune keeps only what a thread still needs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from langgraph.checkpoint.serde.types import INTERRUPT

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.search.queries import index_name
from tests.support.accounting import account
from tests.support.checkpoints import (
    BIG,
    config,
    each_saver,
    found_keys,
    get_tuple,
    ids,
    indexed,
    names,
    put,
    put_delta,
    stored,
)
from tests.support.clients import Client, MakeSaver, Saver


def test_the_newest_checkpoint_of_each_namespace_is_kept(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for thread_id in "abc":
        for number in range(1, 6):
            for checkpoint_ns in ("", "sub", "sub:1"):
                if number == 5 and checkpoint_ns == "sub":
                    continue
                written = put(
                    saver,
                    f"{number}",
                    {"own": f"{number}{BIG}", "shared": BIG},
                    {"own": number, "shared": 1},
                    thread_id=thread_id,
                    checkpoint_ns=checkpoint_ns,
                    parent=f"{number - 1}",
                )
                saver.put_writes(written, [("channel", number), (INTERRUPT, 1)], "task")
    before = {name: saver.get_tuple(config(*name)) for name in names(saver.list(None))}

    assert saver.prune(["a", "b", "not there"], strategy="keep_latest") is None

    left = [
        (thread_id, checkpoint_ns, "4" if checkpoint_ns == "sub" else "5")
        for thread_id in "ab"
        for checkpoint_ns in ("", "sub", "sub:1")
    ]
    for thread_id in "ab":
        found = list(saver.list(config(thread_id, None)))
        assert sorted(names(found)) == [name for name in left if name[0] == thread_id]
        for item in found:
            # The parent is still named after it was pruned, as in LangGraph's other savers.
            assert item == before[tuple(item.config["configurable"].values())]
    assert len(ids(saver.list(config("c", None)))) == 14
    for kind, count in {"checkpoint": 6, "writes": 6, "blob": 12}.items():
        keys = found_keys(redis_client, key_prefix, kind)
        assert len([key for key in keys if ":{c}" not in key]) == count
    for which in ("checkpoints", "writes"):
        assert indexed(redis_client, index_name(key_prefix, which)) == 6 + 14


@each_saver
def test_prune_keeps_the_latest_by_default(saver: Saver) -> None:
    put(saver, "1")
    put(saver, "2")
    saver.prune(["thread"])
    assert ids(saver.list(config())) == ["2"]


@each_saver
def test_the_delete_strategy_leaves_nothing(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for thread_id in "abc":
        saver.put_writes(put(saver, "1", {"big": BIG}, thread_id=thread_id), [("a", 1)], "task")
    saver.prune(["a", "c"], strategy="delete")
    assert names(saver.list(None)) == [("b", "", "1")]
    assert not [key for key in found_keys(redis_client, key_prefix) if ":{b}" not in key]


@each_saver
@pytest.mark.parametrize("kept", [1, 2, 4, 9])
def test_the_last_checkpoints_of_each_namespace_are_kept(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, kept: int
) -> None:
    for number in range(1, 6):
        for checkpoint_ns in ("", "sub"):
            values = {"own": f"{number}{BIG}", "list": [f"{n}{BIG}" for n in range(number)]}
            written = put(
                saver,
                f"{number}",
                values,
                dict.fromkeys(values, number),
                checkpoint_ns=checkpoint_ns,
            )
            saver.put_writes(written, [("channel", number)], "task")
    before = {name: saver.get_tuple(config(*name)) for name in names(saver.list(None))}
    prune: Any = saver.prune
    prune(["thread"], keep_last=kept)
    found = list(saver.list(config("thread", None)))
    last = [f"{number}" for number in range(1, 6)][-kept:]
    assert sorted(names(found)) == [("thread", ns, number) for ns in ("", "sub") for number in last]
    for item in found:
        assert item == before[tuple(item.config["configurable"].values())]
    account(redis_client, key_prefix)


@each_saver
def test_zero_kept_checkpoints_leave_nothing(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for thread_id in "ab":
        saver.put_writes(put(saver, "1", {"big": BIG}, thread_id=thread_id), [("a", 1)], "task")
    prune: Any = saver.prune
    prune(["a"], keep_last=0)
    prune(["b"], strategy="delete", keep_last=0)
    assert found_keys(redis_client, key_prefix) == []


@each_saver
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"keep_last": -1}, ValueError, "keep_last is -1"),
        ({"keep_last": "2"}, TypeError, "keep_last must be a number"),
        ({"keep_last": True}, TypeError, "keep_last must be a number"),
        ({"keep_last": 2, "strategy": "delete"}, ValueError, 'strategy="delete" keeps nothing'),
    ],
)
def test_a_number_of_checkpoints_that_cannot_be_kept_is_refused(
    saver: Saver, options: Any, error: type[Exception], message: str
) -> None:
    put(saver, "1")
    with pytest.raises(error, match=message):
        saver.prune(["thread"], **options)
    assert ids(saver.list(config())) == ["1"]


@each_saver
def test_an_unknown_strategy_is_refused(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    put(saver, "1")
    put(saver, "2")
    before = stored(redis_client, key_prefix)
    with pytest.raises(ValueError, match="unknown pruning strategy 'keep_all'"):
        saver.prune(["thread"], strategy="keep_all")
    assert stored(redis_client, key_prefix) == before


@each_saver
def test_text_instead_of_a_list_of_threads_is_refused(saver: Saver) -> None:
    for thread_id in "ab":
        put(saver, "1", thread_id=thread_id)
    with pytest.raises(TypeError, match="thread_ids"):
        saver.prune("ab", strategy="delete")
    assert len(names(saver.list(None))) == 2


@each_saver
def test_pruning_again_changes_nothing(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for number in range(1, 4):
        put(saver, f"{number}", {"big": f"{number}{BIG}"}, {"big": number})
    saver.put_writes(config(checkpoint_id="4"), [("early", 1)], "task")
    saver.prune(["thread"])
    before = stored(redis_client, key_prefix)
    saver.prune(["thread"])
    assert stored(redis_client, key_prefix) == before
    assert get_tuple(saver, put(saver, "4")).pending_writes == [("task", "early", 1)]


@each_saver
def test_the_thread_document_describes_the_latest_checkpoint(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    put(saver, "1")
    saver.put_writes(put(saver, "2"), [(INTERRUPT, 1)], "task")
    saver.prune(["thread"])
    [key] = found_keys(redis_client, key_prefix, "thread")
    found = json.loads(redis_client.execute_command("JSON.GET", key))
    assert (found["checkpoint_id"], found["status"]) == ("2", "interrupted")


# ---- delta channels: a checkpoint has their version but not their value


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        # id, parent, channels with a value, channels without
        ([("1", None, "a", ""), ("2", "1", "", "a"), ("3", "2", "", "a")], "321"),
        ([("1", None, "a", ""), ("2", "1", "a", ""), ("3", "2", "", "a")], "32"),
        ([("1", None, "a", ""), ("2", "1", "", "a"), ("3", "2", "a", "")], "3"),
        ([("1", None, "", ""), ("2", "1", "", "a"), ("3", "2", "", "a")], "321"),
        # two channels with snapshots of different age
        (
            [
                ("1", None, "ab", ""),
                ("2", "1", "b", "a"),
                ("3", "2", "a", "b"),
                ("4", "3", "", "ab"),
            ],
            "432",
        ),
        # a fork: checkpoints outside the lineage of the newest one are pruned
        (
            [
                ("1", None, "a", ""),
                ("2", "1", "", "a"),
                ("3", "2", "", "a"),
                ("4", "1", "", "a"),
                ("5", "4", "", "a"),
            ],
            "541",
        ),
        # an ancestor that is missing already
        ([("2", "1", "", "a"), ("3", "2", "", "a")], "32"),
    ],
)
@each_saver
def test_ancestors_of_a_delta_channel_are_kept(
    saver: Saver, steps: list[tuple[str, str, str, str]], left: str
) -> None:
    for checkpoint_id, parent, snapshots, deltas in steps:
        for checkpoint_ns in ("", "sub"):
            put_delta(
                saver,
                checkpoint_id,
                parent,
                tuple(snapshots),
                tuple(deltas),
                checkpoint_ns=checkpoint_ns,
            )
    channels = ["a", "b"]
    before = {
        checkpoint_ns: saver.get_delta_channel_history(
            config=config("thread", checkpoint_ns), channels=steps[-1][3]
        )
        for checkpoint_ns in ("", "sub")
    }
    saver.prune(["thread"])
    for checkpoint_ns in ("", "sub"):
        given = config("thread", checkpoint_ns)
        assert ids(saver.list(given)) == list(left)
        assert (
            saver.get_delta_channel_history(config=given, channels=steps[-1][3])
            == (before[checkpoint_ns])
        )
        for found in saver.list(given):
            for channel in set(channels) & found.checkpoint["channel_values"].keys():
                checkpoint_id = found.checkpoint["id"]
                assert found.checkpoint["channel_values"][channel] == (
                    f"{channel} at {checkpoint_id} {BIG}"
                )


def test_many_checkpoints_are_pruned(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(Client(RedisSaver, 3, False))
    for number in range(1_200):
        put(saver, f"{number:04}", {"big": BIG, "step": number})
    saver.prune(["thread"])
    assert ids(saver.list(config())) == ["1199"]
    # The checkpoint, its blob, the thread and the table of contents.
    assert len(found_keys(redis_client, key_prefix)) == 4


@each_saver
def test_writes_that_arrive_after_their_checkpoint_was_pruned_are_pruned(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for number in range(1, 4):
        put(saver, f"{number}", {"channel": number}, {"channel": number})
    saver.prune(["thread"])
    saver.put_writes(config(checkpoint_id="1"), [("channel", "late")], "task")
    saver.put_writes(config(checkpoint_id="9"), [("channel", "early")], "task")
    saver.put_writes(config("thread", "sub", "1"), [("channel", "early")], "task")
    saver.prune(["thread"])
    found = [key.rpartition("}")[2] for key in found_keys(redis_client, key_prefix, "writes")]
    assert found == ["::9", ":sub:1"]

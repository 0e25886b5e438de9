"""delete_thread deletes everything of a thread, and nothing else."""

from __future__ import annotations

import pytest
import redis
from langgraph.checkpoint.serde.types import INTERRUPT

from langgraph_redis_json.search.fields import SCHEMAS
from langgraph_redis_json.search.queries import index_name
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
    stored,
)
from tests.support.clients import Saver


def test_delete_thread_leaves_nothing(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for checkpoint_ns in ("", "sub", "sub|sub"):
        for number in range(3):
            written = put(
                saver, f"{number}", {"big": f"{number}{BIG}"}, checkpoint_ns=checkpoint_ns
            )
            saver.put_writes(written, [("channel", BIG), (INTERRUPT, 1)], "task")
    saver.put_writes(config(checkpoint_id="not there yet"), [("channel", 1)], "task")
    for which in SCHEMAS:
        assert indexed(redis_client, index_name(key_prefix, which)) > 0

    assert saver.delete_thread("thread") is None

    assert found_keys(redis_client, key_prefix) == []
    for which in SCHEMAS:
        assert indexed(redis_client, index_name(key_prefix, which)) == 0
    assert saver.get_tuple(config()) is None
    assert list(saver.list(config(checkpoint_ns=None))) == []
    assert list(saver.list(None, filter={"step": 1})) == []


@each_saver
def test_other_threads_are_unchanged(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    others = ["a:b", "{a}", "ab", "A", "", "*", "a*", "a\0", "?"]
    for thread_id in others:
        put(saver, "1", {"big": BIG}, thread_id=thread_id)
    before = stored(redis_client, key_prefix)
    put(saver, "1", {"big": BIG}, thread_id="a", checkpoint_ns="b")
    saver.delete_thread("a")
    assert stored(redis_client, key_prefix) == before
    for thread_id in others:
        saver.delete_thread(thread_id)
        assert names(saver.list(config(thread_id))) == []
    assert found_keys(redis_client, key_prefix) == []


@each_saver
def test_deleting_a_missing_thread_does_nothing(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver.delete_thread("thread")
    assert found_keys(redis_client, key_prefix) == []


@each_saver
def test_a_deleted_thread_can_be_written_again(saver: Saver) -> None:
    saver.put_writes(put(saver, "2", {"big": BIG}), [("channel", 1)], "task")
    saver.delete_thread("thread")
    found = get_tuple(saver, put(saver, "1", {"big": f"{BIG}new"}))
    assert ids(saver.list(config())) == ["1"]
    assert found.checkpoint["channel_values"] == {"big": f"{BIG}new"}
    assert found.pending_writes == []


@each_saver
def test_a_damaged_thread_can_be_deleted(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver.put_writes(put(saver, "1", {"big": BIG}), [("channel", 1)], "task")
    put(saver, "2", {"big": 1})
    checkpoint, *_ = found_keys(redis_client, key_prefix, "checkpoint")
    redis_client.execute_command("JSON.SET", checkpoint, "$", "[]")
    redis_client.delete(*found_keys(redis_client, key_prefix, "blob"))
    redis_client.set(found_keys(redis_client, key_prefix, "writes")[0], "by hand")
    saver.delete_thread("thread")
    assert found_keys(redis_client, key_prefix) == []


@each_saver
@pytest.mark.parametrize("count", [2_500])
def test_a_long_thread_is_deleted_completely(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, count: int
) -> None:
    for number in range(count):
        put(saver, f"{number:04}", metadata={})
    assert len(found_keys(redis_client, key_prefix)) == count + 2
    saver.delete_thread("thread")
    assert found_keys(redis_client, key_prefix) == []
    assert indexed(redis_client, index_name(key_prefix, "checkpoints")) == 0

"""A thread that lost its table of contents is no empty conversation."""

from __future__ import annotations

import pytest
import redis

from langgraph_redis_json import MissingDocumentError
from tests.support.checkpoints import config, each_saver, found_keys, put
from tests.support.clients import Saver
from tests.support.interleaving import fill


@each_saver
def test_reading_it_raises(saver: Saver, redis_client: redis.Redis, key_prefix: str) -> None:
    fill(saver, "thread")
    redis_client.delete(f"{key_prefix}contents:{{thread}}")
    for given in (config(), config(checkpoint_id="3"), config(checkpoint_ns=None)):
        with pytest.raises(MissingDocumentError, match=r"contents:\{thread\}"):
            saver.get_tuple(given)
    for given in (config(), config(checkpoint_ns=None)):
        with pytest.raises(MissingDocumentError, match=r"contents:\{thread\}"):
            list(saver.list(given))


@each_saver
def test_deleting_it_leaves_nothing(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for thread_id in ("thread", "threads", "{thread}", "a*b"):
        fill(saver, thread_id)
    others = {
        thread_id: len(list(saver.list(config(thread_id)))) for thread_id in ("threads", "{thread}")
    }
    for thread_id, tag in (("thread", "{thread}"), ("a*b", "{a*b}")):
        redis_client.delete(f"{key_prefix}contents:{tag}")
        saver.delete_thread(thread_id)
        assert not [key for key in found_keys(redis_client, key_prefix) if tag in key]
    for thread_id, count in others.items():
        assert len(list(saver.list(config(thread_id)))) == count
    assert {row.thread_id for row in saver.threads()} == {"threads", "{thread}"}


@each_saver
def test_a_thread_that_never_was_is_empty(saver: Saver) -> None:
    put(saver, "1", thread_id="other")
    assert saver.get_tuple(config()) is None
    assert list(saver.list(config())) == []
    saver.delete_thread("thread")

"""A server whose memory is full."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.client.clients import SearchNode
from langgraph_redis_json.client.plan import Command, Replies
from langgraph_redis_json.client.sync_runner import SyncRunner
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.operations import put as put_operation
from langgraph_redis_json.storage import keys
from langgraph_redis_json.storage.cache import LARGE
from tests.support.accounting import account
from tests.support.checkpoints import (
    BIG,
    checkpoint,
    config,
    each_saver,
    found_keys,
    get_tuple,
    ids,
    put,
)
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.plans import execute
from tests.support.record import times, tried
from tests.support.work import Writer, check_contents


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A server whose settings may be changed."""
    with EmbeddedRedis() as server:
        yield server.url


@pytest.fixture
def unlimited(redis_client: redis.Redis) -> Iterator[Callable[[], None]]:
    """Takes the limits away again."""

    def reset() -> None:
        redis_client.config_set("maxmemory", 0)
        redis_client.config_set("maxmemory-policy", "noeviction")

    reset()
    yield reset
    reset()


@each_saver
def test_writers_go_on_when_memory_is_free_again(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, unlimited: Callable[[], None]
) -> None:
    fillings, checked = times(2, 30), 0
    writers = [Writer(f"thread-{number}") for number in range(8)]
    raised: list[redis.RedisError] = []

    def write(writer: Writer) -> None:
        try:
            while True:
                writer.step(saver)
        except redis.RedisError as error:
            raised.append(error)

    for _ in range(fillings):
        since = [writer.put for writer in writers]
        raised.clear()
        room = 1_000_000
        redis_client.config_set("maxmemory", redis_client.info("memory")["used_memory"] + room)
        threads = [threading.Thread(target=write, args=(writer,)) for writer in writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [type(error) for error in raised] == [redis.exceptions.OutOfMemoryError] * 8
        for writer in writers:
            found = saver.get_tuple(config(writer.thread_id))
            assert ((found and int(found.checkpoint["id"])) or 0) == max(writer.put, 0)
            writer.begun = writer.put  # a put that raised stored nothing
        check_contents(redis_client, key_prefix)
        unlimited()
        for writer, start in zip(writers, since, strict=True):
            checked += writer.check(saver, start)
    tried(
        f"A server with `maxmemory` and `noeviction` whose memory fills while 8 writers write "
        f"(`{type(saver).__name__}`)",
        fillings,
        checked=checked,
        lost=0,
        torn=0,
        note="each writer got `OutOfMemoryError`, and went on when there was room",
    )


@each_saver
def test_a_full_server_is_not_mistaken_for_one_that_lost_a_list(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, unlimited: Callable[[], None]
) -> None:
    """Otherwise the list would be sent, and perhaps stored, a second time."""
    said = [{"n": number, "text": BIG} for number in range(10)]
    parent = put(saver, "1", {"list": said[:9]}, {"list": 1})
    redis_client.config_set("maxmemory", 1)
    redis_client.config_resetstat()
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        put(saver, "2", {"list": said}, {"list": 2}, parent="1")
    assert redis_client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
    unlimited()
    put(saver, "2", {"list": said}, {"list": 2}, parent="1")
    assert len(found_keys(redis_client, key_prefix, "log")) == 1
    assert saver.get_tuple(parent) is not None
    account(redis_client, key_prefix)


class FullForScripts(SyncRunner):
    """The runner of a saver whose server has memory only for blobs."""

    is_gone = False

    def execute(self, client: Any, commands: Sequence[Command], searches: SearchNode) -> Replies:
        if len(commands) == 1 and self.is_gone:
            raise redis.exceptions.ConnectionError("gone")
        replies: list[Any] = []
        for command in commands:
            client.config_set("maxmemory", 0 if command[0] == "JSON.SET" else 1)
            try:
                replies += super().execute(client, [command], searches)
            except redis.exceptions.OutOfMemoryError as error:
                replies.append(error)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies


def fill_up(saver: RedisSaver) -> FullForScripts:
    """From now on the server of a saver has memory only for blobs."""
    runner = FullForScripts(saver._runner.client, owned=saver._runner.owned)
    saver._runner = runner
    return runner


def test_a_full_server_keeps_no_blob_outside_the_table_of_contents(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, unlimited: Callable[[], None]
) -> None:
    """The table of contents names the blob first, so that it is deleted with its thread."""
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        fill_up(saver)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            put(saver, "1", {"large": "x" * 2 * LARGE})
    unlimited()
    assert list(redis_client.scan_iter(f"{key_prefix}*")) == []


def test_a_full_server_keeps_a_blob_that_a_prune_has_marked(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, unlimited: Callable[[], None]
) -> None:
    """The saver finds that the blob is needed, and names it in the table of contents again."""
    blob = keys.blob_entry("", "large", 1)
    thread = keys.thread_keys(key_prefix, "thread")
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        with RedisSaver(redis_url, key_prefix=key_prefix) as other:
            put(other, "1", {"large": "x" * 2 * LARGE})
        redis_client.zrem(thread.contents, blob)
        redis_client.zadd(thread.contents, {f"x{blob} 7": 0})
        fill_up(saver)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            put(saver, "2", {"large": "x" * 2 * LARGE})
    assert redis_client.exists(thread.key(blob))


def test_a_pinned_thread_keeps_a_blob_that_is_sent_again(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, unlimited: Callable[[], None]
) -> None:
    """The reply to a put was lost, and the server is full when the client repeats the put."""
    key = keys.thread_keys(key_prefix, "thread").key(keys.blob_entry("", "large", 1))
    ttl = {"default_ttl": 60}
    with RedisSaver(redis_url, key_prefix=key_prefix, ttl=ttl) as saver:
        put(saver, "1", {"large": "x" * 2 * LARGE})
        assert 0 < redis_client.pttl(key) <= 75 * 60_000
        saver.pin("thread")
    with RedisSaver(redis_url, key_prefix=key_prefix, ttl=ttl) as saver:
        fill_up(saver)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            put(saver, "1", {"large": "x" * 2 * LARGE})
    assert redis_client.pttl(key) == -1


def test_the_error_of_a_full_server_comes_first(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, unlimited: Callable[[], None]
) -> None:
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        fill_up(saver).is_gone = True
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            put(saver, "1", {"large": "x" * 2 * LARGE})


def cut(saver: RedisSaver, given: Any, values: dict[str, Any], version: int = 1) -> None:
    """A put whose last command does not arrive."""
    made = checkpoint("2", values, dict.fromkeys(values, version))
    plan = put_operation.put(saver._context, given, made, {}, made["channel_versions"])
    execute(saver, next(plan)[:-1])


def test_a_blob_without_a_checkpoint_expires_with_its_thread(
    redis_url: str, redis_client: redis.Redis, key_prefix: str
) -> None:
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        made = put(saver, "1")
        cut(saver, made, {"large": "x" * 2 * LARGE})
        [blob] = found_keys(redis_client, key_prefix, "blob")
        assert redis_client.pttl(blob) == -1  # as the thread, whose contents name it
        saver.expire("thread", 10)
        cut(saver, made, {"large": "y" * 2 * LARGE}, version=2)
        contents = redis_client.pexpiretime(f"{key_prefix}contents:{{thread}}")
        for blob in found_keys(redis_client, key_prefix, "blob"):
            assert redis_client.pexpiretime(blob) == contents
        saver.delete_thread("thread")


def test_a_blob_sent_again_expires_with_its_thread(
    redis_url: str, redis_client: redis.Redis, key_prefix: str
) -> None:
    with RedisSaver(redis_url, key_prefix=key_prefix, ttl={"default_ttl": 1}) as saver:
        put(saver, "2", {"large": "x" * 2 * LARGE})
        saver.expire("thread", 60)
        cut(saver, config(), {"large": "x" * 2 * LARGE})
        [blob] = found_keys(redis_client, key_prefix, "blob")
        contents = f"{key_prefix}contents:{{thread}}"
        assert redis_client.pexpiretime(blob) == redis_client.pexpiretime(contents) > 0
        saver.delete_thread("thread")


@pytest.fixture
def set_up(
    client: Client, make_saver: MakeSaver, event_loop_thread: asyncio.AbstractEventLoop
) -> Callable[[], None]:
    saver = make_saver(client)

    def setup() -> None:
        if isinstance(saver, RedisSaver):
            saver.setup()
        else:
            asyncio.run_coroutine_threadsafe(saver.setup(), event_loop_thread).result()

    return setup


@each_saver
def test_a_full_server_still_reads_and_deletes(
    saver: Saver,
    set_up: Callable[[], None],
    redis_client: redis.Redis,
    key_prefix: str,
    unlimited: Callable[[], None],
) -> None:
    for thread_id in ("thread", "other"):
        for number in range(1, 9):
            window = [f"{n}{BIG}" for n in range(number, number + 3)]
            if number == 1:  # a log that only the first checkpoint refers to
                window = [f"first {n}{BIG}" for n in range(3)]
            values = {"blob": f"{number}{BIG}", "list": window}
            put(saver, f"{number}", values, dict.fromkeys(values, number), thread_id=thread_id)
    redis_client.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        put(saver, "9")
    set_up()
    saver.prune(["thread"])
    assert len(found_keys(redis_client, key_prefix, "blob")) == 1 + 8
    assert len(found_keys(redis_client, key_prefix, "log")) == 1 + 2
    assert get_tuple(saver, config()).checkpoint["channel_values"] == values
    saver.expire("thread", 10)
    saver.pin("thread")
    saver.expire("thread", 10)
    assert ids(saver.list(config())) == ["8"]
    assert {found.thread_id for found in saver.threads()} == {"other", "thread"}
    saver.delete_thread("other")
    unlimited()
    saver.prune(["thread"])  # documents that could not be freed while memory was full
    account(redis_client, key_prefix)
    [log] = found_keys(redis_client, key_prefix, "log")
    # Items of checkpoints that were deleted stay in a log that another checkpoint refers to.
    assert redis_client.execute_command("JSON.ARRLEN", log, "$.items") == [9]


# ---- servers that make room themselves


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_setup_warns_of_eviction(
    set_up: Callable[[], None],
    redis_client: redis.Redis,
    unlimited: Callable[[], None],
    policy: str,
) -> None:
    redis_client.config_set("maxmemory-policy", policy)
    with pytest.warns(UserWarning, match=f"maxmemory-policy {policy}.*to noeviction"):
        set_up()


@each_saver
@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-ttl"])
def test_setup_does_not_warn_if_nothing_can_be_evicted(
    set_up: Callable[[], None],
    redis_client: redis.Redis,
    unlimited: Callable[[], None],
    policy: str,
) -> None:
    redis_client.config_set("maxmemory-policy", policy)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_up()


@each_saver
@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-ttl"])
def test_setup_warns_of_eviction_of_expiring_keys(
    client: Client,
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    unlimited: Callable[[], None],
    policy: str,
) -> None:
    redis_client.config_set("maxmemory-policy", policy)
    with pytest.warns(UserWarning, match=f"maxmemory-policy {policy}.*to noeviction"):
        make_saver(client, ttl={"default_ttl": 60})


@each_saver
def test_a_volatile_policy_does_not_evict_keys_that_never_expire(
    saver: Saver, redis_client: redis.Redis, unlimited: Callable[[], None]
) -> None:
    """Keys without a TTL are kept, and the server reports that it is full."""
    put(saver, "1")
    redis_client.config_set("maxmemory-policy", "volatile-lru")
    redis_client.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        put(saver, "2")
    assert ids(saver.list(config())) == ["1"]


def test_setup_works_if_the_user_may_not_read_the_policy(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, unlimited: Callable[[], None]
) -> None:
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    redis_client.execute_command(
        *("ACL", "SETUSER", "shy", "reset", "on", ">secret", "~*", "+@all", "-info", "-config")
    )
    url = redis_url.replace("redis://", "redis://shy:secret@")
    with (
        warnings.catch_warnings(),
        RedisSaver.from_conn_string(url, key_prefix=key_prefix) as saver,
    ):
        warnings.simplefilter("error")
        saver.setup()

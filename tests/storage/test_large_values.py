"""Large values are sent separately: by their own commands before the script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.client.clients import SearchNode
from langgraph_redis_json.client.plan import Command, Replies
from langgraph_redis_json.client.sync_runner import SyncRunner
from langgraph_redis_json.operations import put as put_operation
from langgraph_redis_json.storage import cache, keys
from langgraph_redis_json.storage.cache import LARGE
from tests.support.checkpoints import checkpoint, config, each_saver, found_keys, ids, put
from tests.support.clients import Client, MakeSaver, Saver

VALUES = {"text": "é" * LARGE, "bytes": b"\xff" * LARGE, "small": 1}


def values(saver: Saver, **place: Any) -> dict[str, Any]:
    found = saver.get_tuple(config(**place))
    assert found is not None
    return found.checkpoint["channel_values"]


@pytest.mark.parametrize("client", [Client(RedisSaver, 3, False)], indirect=True)
def test_large_values_are_sent_separately(saver: Saver) -> None:
    made = checkpoint("1", VALUES)
    metadata: Any = {"source": "loop", "step": 1}
    sent = next(
        put_operation.put(saver._context, config(), made, metadata, made["channel_versions"])
    )
    assert [command[0] for command in sent] == [
        *("ZADD", "JSON.SET") * 2,
        *("EVALSHA", "EVALSHA"),
    ]
    assert sum(len(str(part)) for part in sent[-1]) < LARGE


@each_saver
def test_values_that_another_saver_stored_are_found(make_saver: MakeSaver, client: Client) -> None:
    saver, other = make_saver(client), make_saver(client)
    put(saver, "1", VALUES)
    newer = {**VALUES, "text": "new" * LARGE}
    put(other, "2", newer, {"text": 2, "bytes": 1, "small": 1})
    assert values(saver) == newer
    put(other, "3", {"text": "small"}, {"text": 3})
    other.prune(["thread"])  # deletes the values in the first saver's cache
    assert values(saver) == {"text": "small"}
    other.delete_thread("thread")
    assert saver.get_tuple(config()) is None


@each_saver
def test_values_that_a_fork_lacks_are_sent(make_saver: MakeSaver, client: Client) -> None:
    saver, other = make_saver(client), make_saver(client)
    put(saver, "1", VALUES)
    other.delete_thread("thread")
    # LangGraph reports no new versions, so the saver expects that the blobs exist.
    saver.put(config(), checkpoint("2", VALUES), {"source": "loop", "step": 2}, {})
    assert ids(saver.list(config())) == ["2"]
    assert values(saver) == VALUES


class Slow(SyncRunner):
    """Calls a function before the last command of a trip."""

    meanwhile: Callable[[], Any] | None = None

    def execute(self, client: Any, commands: Sequence[Command], searches: SearchNode) -> Replies:
        if len(commands) == 1 or self.meanwhile is None:
            return super().execute(client, commands, searches)
        replies = super().execute(client, commands[:-1], searches)
        call, self.meanwhile = self.meanwhile, None
        call()
        return [*replies, *super().execute(client, commands[-1:], searches)]


def slow(saver: RedisSaver) -> Slow:
    """Give a saver a slow runner."""
    runner = Slow(saver._runner.client, owned=saver._runner.owned)
    saver._runner = runner
    return runner


def test_a_value_that_is_about_to_be_freed_is_sent_again(
    redis_url: str, redis_client: redis.Redis, key_prefix: str
) -> None:
    """A prune deletes what it has marked, unless the table of contents names it again."""
    thread = keys.thread_keys(key_prefix, "thread")
    blob = keys.blob_entry("", "text", 1)
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        runner = slow(saver)
        runner.meanwhile = lambda: redis_client.zrem(thread.contents, blob)
        put(saver, "1", {"text": "x" * 2 * LARGE})
        assert runner.meanwhile is None
    assert redis_client.zscore(thread.contents, blob) == 0


def test_a_newer_checkpoint_may_be_stored_between_the_commands_of_a_trip(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MOST_BYTES", 10_000)  # room for what is stored, not for the values
    with (
        RedisSaver(redis_url, key_prefix=key_prefix) as saver,
        RedisSaver(redis_url, key_prefix=key_prefix) as other,
    ):

        def go_on() -> None:
            put(other, "2", {"text": "small"}, {"text": 2})
            other.prune(["thread"])

        put(saver, "1", VALUES)
        runner = slow(saver)
        runner.meanwhile = go_on
        assert values(saver) == {"text": "small"}
        assert runner.meanwhile is None


@each_saver
def test_a_value_that_is_not_stored_stops_the_checkpoint(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    put(saver, "1", {"small": 1})
    thread = keys.thread_keys(key_prefix, "thread")
    blob = thread.key(keys.blob_entry("", "text", 2))
    redis_client.set(blob, "by hand")
    with pytest.raises(redis.ResponseError, match="wrong Redis type"):
        put(saver, "2", {"text": "x" * 2 * LARGE}, {"text": 2})
    assert ids(saver.list(config())) == ["1"]
    redis_client.delete(blob)
    put(saver, "2", {"text": "x" * 2 * LARGE}, {"text": 2})
    assert values(saver) == {"text": "x" * 2 * LARGE}
    saver.delete_thread("thread")
    assert found_keys(redis_client, key_prefix) == []

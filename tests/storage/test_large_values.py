"""Large values pass the scripts by: they are sent and read by commands beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from langgraph_redis_json import RedisSaver, keys, memory
from langgraph_redis_json.operations import put as put_operation
from langgraph_redis_json.storage.cache import LARGE
from tests.support.checkpoints import checkpoint, config, each_saver, found_keys, ids, put
from tests.support.clients import Client, MakeSaver, Saver

VALUES = {"text": "é" * LARGE, "bytes": b"\xff" * LARGE, "small": 1}


def values(saver: Saver, **place: Any) -> dict[str, Any]:
    found = saver.get_tuple(config(**place))
    assert found is not None
    return found.checkpoint["channel_values"]


@pytest.mark.parametrize("client", [Client(RedisSaver, 3, False)], indirect=True)
def test_they_do_not_pass_through_a_script(saver: Saver) -> None:
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
def test_what_another_saver_put_since_is_found(make_saver: MakeSaver, client: Client) -> None:
    saver, other = make_saver(client), make_saver(client)
    put(saver, "1", VALUES)
    newer = {**VALUES, "text": "new" * LARGE}
    put(other, "2", newer, {"text": 2, "bytes": 1, "small": 1})
    assert values(saver) == newer
    put(other, "3", {"text": "small"}, {"text": 3})
    other.prune(["thread"])  # what the first saver remembers is gone
    assert values(saver) == {"text": "small"}
    other.delete_thread("thread")
    assert saver.get_tuple(config()) is None


@each_saver
def test_what_a_fork_does_not_have_is_sent(make_saver: MakeSaver, client: Client) -> None:
    saver, other = make_saver(client), make_saver(client)
    put(saver, "1", VALUES)
    other.delete_thread("thread")
    # Nothing changed, says LangGraph, and so the saver expects the blobs to be there.
    saver.put(config(), checkpoint("2", VALUES), {"source": "loop", "step": 2}, {})
    assert ids(saver.list(config())) == ["2"]
    assert values(saver) == VALUES


class Slow(RedisSaver):
    """Lets others work before the last command of a trip."""

    meanwhile: Callable[[], Any] | None = None

    def _execute(self, commands: Any) -> Any:
        if len(commands) == 1 or self.meanwhile is None:
            return super()._execute(commands)
        replies = super()._execute(commands[:-1])
        call, self.meanwhile = self.meanwhile, None
        call()
        return [*replies, *super()._execute(commands[-1:])]


def test_one_that_is_about_to_be_freed_is_sent_again(
    redis_url: str, redis_client: redis.Redis, key_prefix: str
) -> None:
    """What a prune has marked, it deletes, unless the table of contents names it once more."""
    thread = keys.thread_keys(key_prefix, "thread")
    blob = keys.blob_entry("", "text", 1)
    with Slow(redis_url, key_prefix=key_prefix) as saver:
        saver.meanwhile = lambda: redis_client.zrem(thread.contents, blob)
        put(saver, "1", {"text": "x" * 2 * LARGE})
        assert saver.meanwhile is None
    assert redis_client.zscore(thread.contents, blob) == 0


def test_a_newer_checkpoint_between_the_commands_of_a_trip(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "BYTES", 10_000)  # room for what is stored, not for the values
    with (
        Slow(redis_url, key_prefix=key_prefix) as saver,
        RedisSaver(redis_url, key_prefix=key_prefix) as other,
    ):

        def go_on() -> None:
            put(other, "2", {"text": "small"}, {"text": 2})
            other.prune(["thread"])

        put(saver, "1", VALUES)
        saver.meanwhile = go_on
        assert values(saver) == {"text": "small"}
        assert saver.meanwhile is None


@each_saver
def test_one_that_is_not_stored_stops_the_checkpoint(
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

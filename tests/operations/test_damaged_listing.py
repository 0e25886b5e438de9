"""A listing leaves a damaged checkpoint out, says so in the log, and shows all others."""

from __future__ import annotations

import logging

import pytest
import redis

from langgraph_redis_json import DamagedDocumentError, MissingDocumentError
from tests.support.checkpoints import config, each_saver, ids, put
from tests.support.clients import Saver
from tests.support.growing_lists import items

LISTS = [items(0, number) for number in range(1, 4)]


def fill(saver: Saver) -> None:
    for thread_id in ("a", "b", "c"):
        for number, said in enumerate(LISTS, 1):
            parent = f"{number - 1}" if number > 1 else None
            metadata = {"user_id": "ada", "number": number}
            values = {"said": said * 5, "small": number}
            versions = {"said": number, "small": number}
            put(
                saver,
                f"{number}",
                values,
                versions,
                thread_id=thread_id,
                parent=parent,
                metadata=metadata,
            )


@each_saver
@pytest.mark.parametrize("limit", [None, 20])
def test_a_lost_log(
    saver: Saver,
    redis_client: redis.Redis,
    key_prefix: str,
    caplog: pytest.LogCaptureFixture,
    limit: int | None,
) -> None:
    fill(saver)
    [log] = redis_client.scan_iter(f"{key_prefix}log:{{b}}*", count=10_000)
    redis_client.delete(log)
    with caplog.at_level(logging.ERROR, "langgraph_redis_json"):
        found = [
            (one.config["configurable"]["thread_id"], one.checkpoint["id"])
            for one in saver.list(None, filter={"user_id": "ada"}, limit=limit)
        ]
    assert sorted(found) == [(thread, id_) for thread in "ac" for id_ in "123"]
    assert len(caplog.records) == 3
    assert all(log in record.getMessage() for record in caplog.records)


@each_saver
def test_within_a_thread_the_whole_checkpoints_are_reachable(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(saver)
    damaged = f"{key_prefix}checkpoint:{{b}}::3"
    redis_client.execute_command("JSON.SET", damaged, "$.channel_values", "[1]")
    gone = f"{key_prefix}checkpoint:{{b}}::2"
    redis_client.delete(gone)
    assert ids(saver.list(config("b"))) == ["1"]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert damaged in messages[0]
    assert gone in messages[1]
    with pytest.raises(DamagedDocumentError):
        saver.get_tuple(config("b"))
    with pytest.raises(MissingDocumentError):
        saver.get_tuple(config("b", "", "2"))
    whole = saver.get_tuple(config("b", "", "1"))
    assert whole is not None
    assert whole.checkpoint["channel_values"]["said"] == LISTS[0] * 5


@each_saver
@pytest.mark.parametrize("limit", [None, 20])
def test_a_damaged_thread_document(
    saver: Saver,
    redis_client: redis.Redis,
    key_prefix: str,
    caplog: pytest.LogCaptureFixture,
    limit: int | None,
) -> None:
    fill(saver)
    key = f"{key_prefix}thread:{{b}}"
    redis_client.execute_command("JSON.SET", key, "$.checkpoint_id", '"x"')
    redis_client.execute_command("JSON.DEL", key, "$.metadata.user_id")
    redis_client.execute_command("JSON.SET", key, "$.metadata", "7")
    assert {row.thread_id for row in saver.threads(limit=limit)} == {"a", "c"}
    assert [key in record.getMessage() for record in caplog.records] == [True]

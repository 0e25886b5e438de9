"""Of a damaged thread the commands show what is whole, and name what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from langgraph_redis_json import RedisSaver
from tests.support.checkpoints import found_keys
from tests.support.command_line import Cli
from tests.support.conversation import config, fill
from tests.support.damage import damages


@pytest.fixture
def damaged(own: RedisSaver) -> RedisSaver:
    """The conversations, on a part of a server that a test may damage."""
    fill(own, turns=3)
    return own


def keys_of(client: redis.Redis, key_prefix: str, kind: str, thread: str = "order-7") -> list[str]:
    return [key for key in found_keys(client, key_prefix, kind) if f"{{{thread}}}::" in key]


COMMANDS = [["messages"], ["show"], ["history"]]


def test_a_log_that_is_gone(
    damaged: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str
) -> None:
    """The fork has a log of its own, so the other messages are whole."""
    [lost, *others] = [
        key
        for key in keys_of(redis_client, key_prefix, "log")
        if '"m3"' in redis_client.execute_command("JSON.GET", key, ".")
        and '"m1"' not in redis_client.execute_command("JSON.GET", key, ".")
    ] or keys_of(redis_client, key_prefix, "log")[-1:]
    assert not others
    redis_client.delete(lost)
    shown = own_cli("messages", "order-7", code=1)
    assert f"The document at key {lost} is damaged: it is gone." in shown.err
    shown = own_cli("show", "order-7", code=1)
    rows = [line.split(maxsplit=2) for line in shown.lines]
    assert ["customer", "Customer", "Customer(name='Ada', vip=True, since='2020-01-02')"] in rows
    assert ["messages", "damaged", "it is gone"] in rows
    assert lost in shown.err
    assert own_cli("show", "order-7", "customer").err == ""
    assert lost in own_cli("show", "order-7", "messages", code=1).err
    # The history does not read logs.
    assert own_cli("history", "order-7").err == ""
    assert own_cli("threads", "--json").rows[0]["thread_id"] == "order-7"


def test_an_item_of_a_log_that_was_altered(
    damaged: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str
) -> None:
    [log] = keys_of(redis_client, key_prefix, "log", "long-1")
    redis_client.execute_command("JSON.SET", log, "$.items[2]", '{"nothing":1}')
    shown = own_cli("messages", "long-1", "--json", code=1)
    texts = [row["text"] for row in shown.rows]
    assert texts == ["Question 0?", "Answer 0.", "Answer 1.", "Question 2?", "Answer 2."]
    assert "item 2: it is not a stored value" in shown.err
    assert "Traceback" not in shown.err


def test_a_checkpoint_that_is_gone_or_of_a_newer_format(
    damaged: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str
) -> None:
    first, second, *_, newest = sorted(keys_of(redis_client, key_prefix, "checkpoint"))
    redis_client.delete(second)
    redis_client.execute_command("JSON.SET", first, "$.format", 99)
    shown = own_cli("history", "order-7", code=1)
    assert f"The document at key {second} is damaged: it is gone." in shown.err
    assert f"{first} is damaged: its format is 99" in shown.err
    assert shown.out.count("○") + shown.out.count("●") == 8
    assert "Refund 30 euros?" in own_cli("messages", "order-7").out
    # A comparison with what is gone would say that everything is new.
    ids = [key.rpartition(":")[2] for key in (second, newest)]
    compared = own_cli("diff", "order-7", *ids, code=1)
    assert compared.out == ""
    assert second in compared.err
    redis_client.delete(newest)
    for command in ("messages", "show"):
        assert newest in own_cli(command, "order-7", code=1).err


def test_pending_writes_that_are_gone(
    damaged: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str
) -> None:
    lost = sorted(keys_of(redis_client, key_prefix, "writes"))[-1]
    redis_client.delete(lost)
    shown = own_cli("messages", "order-7", code=1)
    assert shown.err == f"The document at key {lost} is damaged: it is gone.\n"
    assert "next: refund" in shown.out


@pytest.mark.parametrize("kind", ["checkpoint", "writes", "thread", "log"])
def test_no_damage_ends_in_a_traceback(
    damaged: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str, kind: str
) -> None:
    """Every member of a document is taken away, or is something else."""
    found = [key for key in found_keys(redis_client, key_prefix, kind) if "{order-7}" in key]
    key = sorted(found)[-1]
    whole = redis_client.execute_command("JSON.GET", key, ".")
    document = json.loads(whole)
    objects = [damage for _, _, damage in damages(document) if isinstance(damage, dict)]
    assert len(objects) > 100
    for damage in objects[:: len(objects) // 25]:
        redis_client.execute_command("JSON.SET", key, "$", json.dumps(damage))
        for command in COMMANDS:
            _ends_well(own_cli, *command, "order-7")
        _ends_well(own_cli, "threads")
        _ends_well(own_cli, "stats")
    redis_client.execute_command("JSON.SET", key, "$", whole)


def _ends_well(cli: Cli, *arguments: str) -> None:
    """A command may find damage, but must not fail with a traceback."""
    try:
        cli(*arguments)
    except AssertionError:
        said = cli(*arguments, code=1).err
        assert said.strip(), arguments


def test_a_damaged_thread_document(
    damaged: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str
) -> None:
    key = f"{key_prefix}thread:{{order-7}}"
    for path, value in {"$.metadata": "7", "$.checkpoint_id": "7", "$.status": "null"}.items():
        whole = redis_client.execute_command("JSON.GET", key, ".")
        redis_client.execute_command("JSON.SET", key, path, value)
        shown = own_cli("threads", "--json", code=1)
        assert [row["thread_id"] for row in shown.rows] == ["order-8", "order:9", "long-1"]
        assert shown.err.startswith("A listing leaves out a thread. The document at key " + key)
        assert shown.err.count("\n") == 1
        redis_client.execute_command("JSON.SET", key, "$", whole)
    assert len(own_cli("threads", "--json").rows) == 4


def test_a_circle_of_parents_ends(
    damaged: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str
) -> None:
    first, *_, newest = sorted(keys_of(redis_client, key_prefix, "checkpoint"))
    last_id: Any = json.dumps(newest.rpartition(":")[2])
    redis_client.execute_command("JSON.SET", first, "$.parent_checkpoint_id", last_id)
    assert len(own_cli("history", "order-7", "--json").rows) == 8


def test_a_lost_table_of_contents(
    damaged: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str
) -> None:
    redis_client.delete(f"{key_prefix}contents:{{order-7}}")
    for command in ("messages", "history", "show"):
        said = own_cli(command, "order-7", code=1).err
        assert f"{key_prefix}contents:{{order-7}}" in said
    own_cli("delete", "order-7", "--yes")
    assert [key for key in found_keys(redis_client, key_prefix) if "{order-7}" in key] == []


def test_writes_without_a_checkpoint(own: RedisSaver, own_cli: Cli) -> None:
    at: Any = config("early")
    at["configurable"] |= {"checkpoint_ns": "", "checkpoint_id": "1"}
    own.put_writes(at, [("x", 1)], "task")
    said = own_cli("messages", "early", code=1).err
    assert said == "The thread has pending writes, and no checkpoint yet.\n"

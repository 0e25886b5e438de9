"""get_tuple and get return one complete checkpoint, or raise an error that says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import ERROR, TASKS
from langgraph.types import Send

from langgraph_redis_json import DamagedDocumentError, MissingDocumentError
from tests.support.checkpoints import (
    BIG,
    checkpoint,
    config,
    each_saver,
    found_keys,
    get,
    get_tuple,
    ids,
    put,
)
from tests.support.clients import Client, MakeSaver, Saver


def test_the_newest_or_the_requested_checkpoint_is_returned(saver: Saver) -> None:
    for checkpoint_id in ("1", "3", "2"):
        put(saver, checkpoint_id, {"channel": checkpoint_id}, parent="0")
    put(saver, "9", {"channel": "sub"}, checkpoint_ns="sub")
    assert get_tuple(saver, config()).config == config(checkpoint_id="3")
    assert get_tuple(saver, config(checkpoint_ns=None)).config == config(checkpoint_id="3")
    assert get_tuple(saver, config(checkpoint_ns="sub")).checkpoint["id"] == "9"
    for checkpoint_id in ("1", "2", "3"):
        found = get_tuple(saver, config(checkpoint_id=checkpoint_id))
        assert found.checkpoint["channel_values"] == {"channel": checkpoint_id}
        assert found.config == config(checkpoint_id=checkpoint_id)
        assert found.parent_config == config(checkpoint_id="0")
        assert saver.get(config(checkpoint_id=checkpoint_id)) == found.checkpoint


@each_saver
@pytest.mark.parametrize(
    "missing",
    [
        config(checkpoint_id="2"),
        config(checkpoint_ns="sub"),
        config(checkpoint_ns="sub", checkpoint_id="1"),
        config("thread 2"),
        config("thread 2", "", "1"),
        config(checkpoint_id="1:"),
        config(checkpoint_id="*"),
    ],
)
def test_a_missing_checkpoint_returns_none(saver: Saver, missing: Any) -> None:
    put(saver, "1")
    assert saver.get_tuple(missing) is None
    assert saver.get(missing) is None


@each_saver
def test_an_empty_checkpoint_id_means_the_newest(saver: Saver) -> None:
    put(saver, "1")
    assert get_tuple(saver, config(checkpoint_id="")).checkpoint["id"] == "1"


@each_saver
def test_large_values_of_many_channels_come_back(saver: Saver) -> None:
    values = {f"channel {number}": f"{number}{BIG}" for number in range(1_100)}
    put(saver, "1", values)
    assert get(saver, config())["channel_values"] == values


# ---- checkpoints of old versions of LangGraph


@pytest.mark.parametrize("version", [1, 3, 4])
def test_an_old_checkpoint_gets_the_sends_of_its_parent(saver: Saver, version: int) -> None:
    sends = [Send("node", number) for number in range(4)]
    parent = put(saver, "1", checkpoint_ns="sub")
    saver.put_writes(parent, [(TASKS, sends[2]), ("other", 1), (TASKS, sends[3])], "a", "path 2")
    saver.put_writes(parent, [(TASKS, sends[1])], "b", "path 1")
    saver.put_writes(parent, [(TASKS, sends[0])], "a 2", "path 1")
    made = checkpoint("2", {"channel": 1}, {"channel": "0002.5", "other": "0003.5"})
    made["v"] = version
    child = saver.put(parent, made, {}, made["channel_versions"])
    saver.put_writes(child, [(TASKS, Send("its own", 0))], "a")

    found = get_tuple(saver, child)
    assert [item.checkpoint for item in saver.list(config(checkpoint_ns="sub"), limit=1)] == [
        found.checkpoint
    ]
    if version < 4:
        assert found.checkpoint["channel_values"] == {"channel": 1, TASKS: sends}
        assert found.checkpoint["channel_versions"] == {
            **made["channel_versions"],
            TASKS: "0003.5",
        }
    else:
        assert found.checkpoint == made


@each_saver
def test_an_old_checkpoint_without_sends_is_unchanged(saver: Saver) -> None:
    first, second = checkpoint("1", v=1, pending_sends=[]), checkpoint("2", v=1)
    saver.put(config(), first, {}, {})
    saver.put_writes(config(checkpoint_id="1"), [("other", 1)], "task")
    saver.put(config(checkpoint_id="1"), second, {}, {})
    assert saver.get(config(checkpoint_id="1")) == first
    assert saver.get(config()) == second


@each_saver
def test_an_old_checkpoint_without_versions_gets_one_for_its_sends(saver: Saver) -> None:
    parent = put(saver, "1")
    saver.put_writes(parent, [(TASKS, Send("node", 1))], "task")
    saver.put(parent, checkpoint("2", v=1), {}, {})
    found = get(saver, config())
    assert found["channel_values"] == {TASKS: [Send("node", 1)]}
    assert str(found["channel_versions"][TASKS]).startswith("0" * 9 + "1.")


@each_saver
def test_unknown_checkpoint_fields_are_kept(saver: Saver) -> None:
    made = checkpoint("1", v=2, pending_sends=[Send("node", {"a": b"\xff"})], from_the_future=[1])
    memory = InMemorySaver()
    for each in (saver, memory):
        each.put(config(), made, {}, {})
    assert saver.get(config()) == memory.get(config()) == made


# ---- documents that are gone or damaged


@each_saver
@pytest.mark.parametrize("read", ["get_tuple", "list", "get_delta_channel_history"])
def test_the_error_names_a_missing_blob(
    saver: Saver,
    redis_client: redis.Redis,
    key_prefix: str,
    read: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(saver, "1", {"big": BIG, "big 2": BIG, "small": 1})
    put(saver, "2", {"small": 2}, parent="1")
    blob = found_keys(redis_client, key_prefix, "blob")[0]
    redis_client.delete(blob)
    calls: dict[str, Callable[[], Any]] = {
        "get_tuple": lambda: saver.get_tuple(config(checkpoint_id="1")),
        "get_delta_channel_history": lambda: saver.get_delta_channel_history(
            config=config(checkpoint_id="2"), channels=["big", "big 2"]
        ),
    }
    if read == "list":  # leaves the checkpoint out, and says so in the log
        assert ids(saver.list(config())) == ["2"]
        said = caplog.records[0].getMessage()
    else:
        with pytest.raises(MissingDocumentError) as raised:
            calls[read]()
        said = str(raised.value)
    assert f"at key {blob}, which is gone" in said
    assert ":checkpoint:{" in said
    assert get(saver, config())["channel_values"] == {"small": 2}


@each_saver
@pytest.mark.parametrize("kind", ["checkpoint", "writes"])
@pytest.mark.parametrize("how", ["deleted", "of another type"])
def test_a_missing_document_in_the_table_of_contents_raises(
    saver: Saver,
    redis_client: redis.Redis,
    key_prefix: str,
    kind: str,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(saver, "1")
    saver.put_writes(put(saver, "2", parent="1"), [("channel", 1)], "task")
    key = found_keys(redis_client, key_prefix, kind)[-1]
    redis_client.delete(key)
    if how == "of another type":
        redis_client.set(key, "by hand")
    for read in (
        lambda: saver.get_tuple(config()),
        lambda: saver.get_tuple(config(checkpoint_id="2")),
    ):
        with pytest.raises((MissingDocumentError, DamagedDocumentError)) as raised:
            read()
        assert key in str(raised.value)
    assert ids(saver.list(config())) == ["1"]
    assert [key in record.getMessage() for record in caplog.records] == [True]


DAMAGES: list[tuple[str, str, Any]] = [
    # kind, path, what is put there (None deletes it)
    ("checkpoint", "$.format", 2),
    ("checkpoint", "$.format", None),
    ("checkpoint", "$.channel_values", None),
    ("checkpoint", "$.channel_values", []),
    ("checkpoint", "$.channel_values", "x"),
    ("checkpoint", "$.channel_values.small", 1),
    ("checkpoint", "$.channel_values.small.type", None),
    ("checkpoint", "$.channel_values.small.type", 1),
    ("checkpoint", "$.channel_values.small.json", None),
    ("checkpoint", "$.channel_values.bytes.base64", "?"),
    ("checkpoint", "$.channel_values.bytes.base64", 1),
    ("checkpoint", "$.channel_values.tagged.tagged", {"$what": 1}),
    ("checkpoint", "$.channel_values.tagged.tagged", {"$class": "builtins.set"}),
    ("checkpoint", "$.channel_values.tagged.tagged", {"$class": 1, "arg": 1}),
    ("checkpoint", "$.channel_values.tagged.tagged", {"$float": "x"}),
    ("checkpoint", "$.channel_values.tagged.tagged", {"$bytes": "?"}),
    ("checkpoint", "$.channel_values.tagged.tagged", {"$map": [1]}),
    ("checkpoint", "$.channel_values.tagged.tagged", {"$ext": 5_000, "data": 1}),
    ("checkpoint", "$.metadata", None),
    ("checkpoint", "$.metadata", []),
    ("checkpoint", "$.metadata.step", {"$stored": 1}),
    ("checkpoint", "$.checkpoint", None),
    ("checkpoint", "$.checkpoint", "{"),
    ("checkpoint", "$.checkpoint", "[]"),
    ("checkpoint", "$.checkpoint", "{}"),
    ("checkpoint", "$.checkpoint", {"v": 4}),
    ("checkpoint", "$", []),
    ("checkpoint", "$", 1),
    ("blob", "$.format", 2),
    ("blob", "$.value", None),
    ("blob", "$.value", {"type": "msgpack", "base64": "?"}),
    ("blob", "$", []),
    ("writes", "$.format", 2),
    ("writes", "$.writes.*.task_id", None),
    ("writes", "$.writes", []),
    ("writes", "$.writes", {"x": {}}),
    ("writes", "$.writes", {"x:0": "{"}),
    ("writes", "$.writes.*.channel", None),
    ("writes", "$.writes.*.task_path", None),
    ("writes", "$.writes.*.value", 1),
    ("writes", "$.writes.*.value.json", None),
]


@each_saver
@pytest.mark.parametrize(("kind", "path", "value"), DAMAGES)
def test_the_error_names_a_damaged_document(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    kind: str,
    path: str,
    value: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    saver, reader = make_saver(client), make_saver(client, setup=False)
    values = {"small": 1, "bytes": b"\xff", "tagged": {1}, "big": BIG}
    parent = put(saver, "0")
    saver.put_writes(put(saver, "1", values, parent="0"), [(ERROR, 1)], "task")
    [*_, key] = found_keys(redis_client, key_prefix, kind)
    if value is None:
        assert redis_client.execute_command("JSON.DEL", key, path) == 1
    else:
        redis_client.execute_command("JSON.SET", key, path, json.dumps(value))
    with pytest.raises(DamagedDocumentError) as raised:
        reader.get_tuple(config())
    assert f"The document at key {key} cannot be read" in str(raised.value)
    # A listing leaves the checkpoint out, and says so in the log.
    assert ids(saver.list(config())) == ["0"]
    [said] = [record.getMessage() for record in caplog.records]
    assert f"The document at key {key} cannot be read" in said
    assert get_tuple(reader, parent).checkpoint["id"] == "0"


@each_saver
def test_a_document_of_a_newer_format_asks_for_an_upgrade(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    put(saver, "1")
    [key] = found_keys(redis_client, key_prefix, "checkpoint")
    redis_client.execute_command("JSON.SET", key, "$.format", 2)
    with pytest.raises(DamagedDocumentError, match=r"its format is 2 .* upgrade the package"):
        saver.get_tuple(config())


@each_saver
def test_get_tuple_does_not_need_the_thread_document(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client)
    written = put(saver, "1")
    redis_client.delete(*found_keys(redis_client, key_prefix, "thread"))
    assert get_tuple(saver, config()).config == written
    assert len(list(saver.list(None))) == 1

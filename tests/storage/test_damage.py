"""Damaged documents: the error names the document, and no wrong state is returned.

`get_tuple` raises the error; a listing logs it and leaves the checkpoint out.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import orjson
import ormsgpack
import pytest
import redis
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import INTERRUPT, _DeltaSnapshot
from langgraph.types import Interrupt, Send

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.errors import (
    CheckpointError,
    DamagedDocumentError,
    UnreadableValueError,
)
from langgraph_redis_json.storage import cache
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.damage import Path, by_id, damages, faults_of_reading, list_and_log
from tests.support.strategies import Order, Plain

KINDS = ["checkpoint", "blob", "log", "writes"]
PICKLE = JsonPlusSerializer(pickle_fallback=True)
SAVERS = [Client(saver, 3, False) for saver in (RedisSaver, AsyncRedisSaver)]
each_saver = pytest.mark.parametrize("kind", SAVERS, ids=lambda kind: kind.saver.__name__)
THREAD: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
VALUES: dict[str, Any] = {"number": 1, "text": "a", "list": [1, {"a": "b"}], "none": None}
VALUES |= {"bytes": b"\x01\xff", "set": {1}, "float": 0.1 + 0.2, "impostor": {"$class": "x"}}
VALUES |= {"order": Order(1, {2: b"x"}), "large": "x" * 600, "large set": {"y" * 600}}
VALUES |= {"delta": _DeltaSnapshot([1]), "items": [{1: n, "text": "x" * 150} for n in range(5)]}
METADATA: Any = {"source": "loop", "step": 1, "run_id": "r", "odd": {1, 2}, "nested": {"a": [1]}}


def fill(saver: Saver) -> None:
    """One thread with a document of every kind."""
    config = THREAD
    for id_ in ("1", "2"):
        versions: dict[str, Any] = {**dict.fromkeys(VALUES, f"{id_}.5"), "other": 1}
        checkpoint: Any = {**empty_checkpoint(), "v": 4, "id": id_}
        checkpoint |= {"channel_values": VALUES, "channel_versions": versions}
        checkpoint |= {"versions_seen": {"node": {"set": 1.5}}, "pending_sends": [Send("n", {1})]}
        metadata: Any = {**METADATA, "counters_since_delta_snapshot": {"other": [1, 1]}}
        config = saver.put(config, checkpoint, metadata, versions)
        for task in ("a", "b"):
            interrupt = [Interrupt(value={1: 2}, id="1")]
            writes = [("number", 1), ("set", {1}), ("bytes", b"\xff"), (INTERRUPT, interrupt)]
            saver.put_writes(config, writes, task, f"path {task}")


def documents(client: redis.Redis, prefix: str, kind: str) -> list[tuple[str, Any]]:
    """The documents of a kind, key and content."""
    found = sorted(client.scan_iter(f"{prefix}{kind}:*"))
    return [(key, orjson.loads(client.execute_command("JSON.GET", key, "."))) for key in found]


# ---- every field


def inner_damages(document: Any) -> Iterator[tuple[str, Path, Any]]:
    """A checkpoint's document with a damaged member `checkpoint`: text that is not JSON, or not an
    object, or an object without channel versions."""
    text = document["checkpoint"]
    members = orjson.loads(text)
    texts = {"cut off": text[:-1], "twice": text * 2, "empty": "", "a number": "1", "a list": "[]"}
    del members["channel_versions"]
    texts["no versions"] = orjson.dumps(members).decode()
    for description, damaged in texts.items():
        yield f"{description} for checkpoint", ("checkpoint",), {**document, "checkpoint": damaged}


def is_the_users(path: Path, description: str) -> bool:
    """Whether any JSON is valid at that path: user content, and optional members."""
    if path[:1] == ("metadata",) or {"json", "tagged", "base64"} & {*path}:
        return len(path) > 1
    optional = [
        ("parent_checkpoint_id",),
        ("pending_sends",),
        ("channel_values", ...),
        ("writes", ...),
    ]
    one_of_many = (*path[:1], ...) if len(path) == 2 else path
    if description.startswith("None ") and one_of_many == ("channel_values", ...):
        return True
    return description.startswith("no ") and one_of_many in optional


@pytest.mark.parametrize("kind", KINDS)
def test_damage_in_any_field_is_reported(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """Either an error names the document, or the reader gets the original values; with a cache
    and without one."""
    saver = make_saver(SAVERS[0], setup=False)
    fill(saver)
    put = by_id(list(saver.list(THREAD)))
    assert list(put) == ["2", "1"]
    newest = saver.get_tuple(THREAD)
    assert newest == put["2"]
    monkeypatch.setattr(cache, "MOST_CHECKPOINTS", 0)
    reader = make_saver(SAVERS[0], setup=False)
    wrong = []
    key, document = documents(redis_client, key_prefix, kind)[-1]
    damaged_ones = [*damages(document)]
    if kind == "checkpoint":  # the JSON object in its string has members too
        damaged_ones += inner_damages(document)
    hidden = 0
    for description, path, damaged in damaged_ones:
        redis_client.execute_command("JSON.SET", key, "$", orjson.dumps(damaged))
        any_is_right = is_the_users(path, description)
        same = (lambda found, put: True) if any_is_right else (lambda found, put: found == put)
        faults = [*faults_of_reading(reader, caplog, put, key, same)]
        hidden += any_is_right
        try:
            found = saver.get_tuple(THREAD)
        except CheckpointError as error:
            if key not in str(error):
                faults.append(f"with a cache it does not name {key}: {error}")
        except Exception as error:  # noqa: BLE001
            faults.append(f"with a cache: {error!r:.150}")
        else:
            if found != newest and not any_is_right:
                faults.append("with a cache another state")
        wrong += [f"{description}: {fault}" for fault in faults]
    assert not wrong, "\n".join(wrong)
    assert len(damaged_ones) > hidden + 50


@pytest.mark.parametrize("kind", KINDS)
def test_every_operation_reports_damage(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, kind: str
) -> None:
    """No operation raises a bare TypeError because of a damaged document."""
    saver = make_saver(SAVERS[0])
    operations = {
        "history": lambda: saver.get_delta_channel_history(config=THREAD, channels=["other"]),
        "filter": lambda: list(saver.list(None, filter={"odd": {1, 2}, "step": 1})),
        "copy": lambda: saver.copy_thread("t", "copy"),
        "runs": lambda: saver.delete_for_runs(["r"]),
        "prune": lambda: saver.prune(["t", "copy"]),
        "delete": lambda: saver.prune(["t", "copy"], strategy="delete"),
    }
    wrong = []
    fill(saver)
    [*_, (key, document)] = documents(redis_client, key_prefix, kind)
    for description, path, damaged in damages(document):
        if len(path) > 1 and path[-1] != "blob":
            continue
        fill(saver)
        redis_client.execute_command("JSON.SET", key, "$", orjson.dumps(damaged))
        for name, operation in operations.items():
            try:
                operation()
            except CheckpointError as error:
                if name == "filter":
                    wrong.append(f"a listing raises with {description}: {error!r:.150}")
            except Exception as error:  # noqa: BLE001
                wrong.append(f"{name} with {description}: {error!r:.150}")
    assert not wrong, "\n".join(wrong)


# ---- references


@each_saver
@pytest.mark.parametrize(
    "reference",
    [
        *("", "x", "b", "b::large", "large", "{p}", "{p}blob:{{t}}", "{p}blob:{{t}}:"),
        *("{p}blob:{{t}}::large:other", "{p}blob:{{other}}::large:1", "{p}checkpoint:{{t}}::1"),
        *("{p}thread:{{t}}", "{p}contents:{{t}}", "{p}log:{{t}}::large:1", "other:blob:{{t}}::a:1"),
    ],
)
def test_a_reference_to_no_blob_is_reported(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    caplog: pytest.LogCaptureFixture,
    kind: Client,
    reference: str,
) -> None:
    saver = make_saver(kind, setup=False)
    fill(saver)
    put = by_id(list(saver.list(THREAD)))
    [*_, (key, _)] = documents(redis_client, key_prefix, "checkpoint")
    path = '$.channel_values["large"].blob'
    redis_client.execute_command(
        "JSON.SET", key, path, orjson.dumps(reference.format(p=key_prefix))
    )
    with pytest.raises(CheckpointError) as raised:
        saver.get_tuple(THREAD)
    assert key in str(raised.value)
    assert not [*faults_of_reading(make_saver(kind, setup=False), caplog, put, key)]
    assert [*by_id(list_and_log(saver, caplog, THREAD)[0])] == ["1"]


@each_saver
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("how", ["SET", "HSET", "DEL"])
def test_a_key_of_another_type_is_reported(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: Client,
    name: str,
    how: str,
) -> None:
    saver = make_saver(kind, setup=False)
    fill(saver)
    put = by_id(list(saver.list(THREAD)))
    monkeypatch.setattr(cache, "MOST_CHECKPOINTS", 0)
    [*_, (key, document)] = documents(redis_client, key_prefix, name)
    redis_client.delete(key)
    if how != "DEL":
        redis_client.execute_command(how, key, *["x"] * (1 if how == "SET" else 2))
    assert not [*faults_of_reading(make_saver(kind, setup=False), caplog, put, key)]
    # Both checkpoints refer to the log.
    of_first = name == "blob" and document["version"] == "1.5"
    left = [] if name == "log" else ["2"] if of_first else ["1"]
    assert [*by_id(list_and_log(saver, caplog, THREAD)[0])] == left


# ---- pending writes are texts in a text


@pytest.mark.parametrize("text", ["", " ", "1", "[]", "{}", "{},{}", "W,W", "[{", "\\", "null"])
def test_a_write_that_is_not_json_is_reported(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    caplog: pytest.LogCaptureFixture,
    text: str,
) -> None:
    saver = make_saver(SAVERS[0], setup=False)
    fill(saver)
    put = by_id(list(saver.list(THREAD)))
    [*_, (key, document)] = documents(redis_client, key_prefix, "writes")
    *_, (name, write) = (item for item in document["writes"].items() if isinstance(item[1], str))
    damaged = orjson.dumps(text.replace("W", write))
    redis_client.execute_command("JSON.SET", key, f'$.writes["{name}"]', damaged)
    with pytest.raises(DamagedDocumentError) as raised:
        saver.get_tuple(THREAD)
    assert key in str(raised.value)
    assert not [*faults_of_reading(saver, caplog, put, key)]
    assert [*by_id(list_and_log(saver, caplog, THREAD)[0])] == ["1"]


# ---- the serializer's own errors


class NotMsgpack:
    """A serializer that gives its own format the name of LangGraph's."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "msgpack", b"\xc1" + pickle.dumps(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return pickle.loads(data[1][1:])


@each_saver
@pytest.mark.parametrize("large", ["", "x" * 600], ids=["small", "large"])
@pytest.mark.parametrize("as_write", [False, True], ids=["channel", "write"])
@pytest.mark.parametrize(
    ("writing", "reading", "error", "message"),
    [
        pytest.param(
            lambda: EncryptedSerializer.from_pycryptodome_aes(PICKLE, key=b"1" * 16),
            lambda: EncryptedSerializer.from_pycryptodome_aes(PICKLE, key=b"2" * 16),
            *(ValueError, "ValueError: MAC check failed"),
            id="another key",
        ),
        pytest.param(
            lambda: PICKLE,
            JsonPlusSerializer,
            *(NotImplementedError, "NotImplementedError: Unknown serialization type: pickle"),
            id="no pickle",
        ),
        pytest.param(
            *(NotMsgpack, JsonPlusSerializer, ormsgpack.MsgpackDecodeError),
            "ValueError: invalid type Reserved",
            id="no msgpack",
        ),
    ],
)
def test_errors_of_the_serializer_name_the_document(
    make_saver: MakeSaver,
    key_prefix: str,
    kind: Client,
    writing: Any,
    reading: Any,
    error: type[Exception],
    message: str,
    large: str,
    as_write: bool,
) -> None:
    values = {"c": [Plain(1), large]}
    writer = make_saver(kind, setup=False, serde=writing())
    for id_ in ("1", "2"):
        checkpoint: Any = {**empty_checkpoint(), "v": 4, "id": id_}
        if id_ == "2" and not as_write:
            checkpoint |= {"channel_values": values, "channel_versions": {"c": 1}}
        stored = writer.put(THREAD, checkpoint, {}, checkpoint["channel_versions"])
    if as_write:
        writer.put_writes(stored, list(values.items()), "task")
    saver = make_saver(kind, setup=False, serde=reading())
    with pytest.raises(UnreadableValueError, match=message) as raised:
        saver.get_tuple(THREAD)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, CheckpointError)
    assert type(raised.value.__cause__) is error
    key = f"{key_prefix}{'writes' if as_write else 'checkpoint'}:{{t}}::2"
    assert f"key {key}:" in str(raised.value)
    # The serializer is wrong, not the checkpoint: a listing of all but these would mislead.
    with pytest.raises(UnreadableValueError, match=message) as raised:
        list(saver.list(THREAD))
    assert f"key {key}:" in str(raised.value)

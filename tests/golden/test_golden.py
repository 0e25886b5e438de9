"""What every version must read: see README.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.golden import server, threads
from tests.support.checkpoints import config, put
from tests.support.command_line import environment, run_process

FOLDERS = sorted(Path(__file__).parent.glob("format-*"))


def serializer() -> JsonPlusSerializer:
    return JsonPlusSerializer(pickle_fallback=True)


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "expected.json").read_text("utf-8"))
    return found


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """A server with the documents of the set."""
    with (
        EmbeddedRedis() as embedded,
        redis.Redis.from_url(embedded.url, decode_responses=True) as client,
    ):
        server.restore(client, json.loads((folder / "server.json").read_text("utf-8")))
        for saver in threads.savers(embedded.url, serializer):
            saver.setup()
        yield embedded.url


def test_the_set_is_there() -> None:
    assert [folder.name for folder in FOLDERS] == ["format-1"]


def test_all_values_are_read_bit_for_bit(url: str, expected: dict[str, Any]) -> None:
    found = json.loads(json.dumps(threads.read_all(url)))
    assert found.keys() == expected.keys()
    for thread_id, checkpoints in expected.items():
        assert found[thread_id] == checkpoints


def test_an_export_is_imported_bit_for_bit(folder: Path, expected: dict[str, Any]) -> None:
    with EmbeddedRedis() as embedded:
        for saver in threads.savers(embedded.url, serializer):
            saver.setup()
        done = run_process(
            ["import", f"{folder / 'export.jsonl'}"], environment(embedded.url, threads.PREFIX)
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(json.dumps(threads.read_all(embedded.url)))
        assert found == expected


def test_the_set_is_searched_and_goes_on(url: str, expected: dict[str, Any]) -> None:
    """A thread of the set is found, continued, kept and deleted like any other."""
    plain, encrypted, spoken = threads.savers(url, serializer)
    found = plain.list(None, filter={"run_id": "run", "nested": {"a": [1, 0.1 + 0.2, None]}})
    assert {one.config["configurable"]["thread_id"] for one in found} == {"forms"}
    assert {row.thread_id for row in plain.threads(status="interrupted")} == {"history"}
    [*rows] = spoken.search_messages("parcel lisbon", limit=3)
    assert {row.thread_id for row in rows} == {"spoken"}
    for saver, thread_id in ((encrypted, "encrypted"), (spoken, "spoken"), (plain, "history")):
        newest = saver.get_tuple(config(thread_id))
        assert newest is not None
        messages = [*newest.checkpoint["channel_values"]["messages"], {"text": "one more" * 20}]
        id_ = newest.config["configurable"]["checkpoint_id"]
        put(
            saver,
            f"{id_}+",
            {"messages": messages},
            {"messages": "9"},
            thread_id=thread_id,
            parent=id_,
        )
        fresh = saver.get_tuple(config(thread_id))
        assert fresh is not None
        assert fresh.checkpoint["channel_values"]["messages"] == messages
        saver.prune([thread_id])
        assert [*saver.list(config(thread_id), limit=1)] == [fresh]
        saver.delete_thread(thread_id)
        assert saver.get_tuple(config(thread_id)) is None


def test_deadlines_are_kept(url: str, folder: Path) -> None:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        contents = f"{threads.PREFIX}contents:"
        stored = json.loads((folder / "server.json").read_text("utf-8"))
        expires = stored[f"{contents}{{expires}}"]["expires"]
        assert expires > 0
        with RedisSaver(url, key_prefix=threads.PREFIX, ttl={"default_ttl": 1}) as saver:
            for thread_id in ("expires", "pinned"):
                put(saver, "2", {"x": 2}, thread_id=thread_id)
        assert client.execute_command("PEXPIRETIME", f"{contents}{{expires}}") == expires
        assert client.execute_command("PEXPIRETIME", f"{contents}{{pinned}}") == -1


def test_this_version_stores_the_same_documents(url: str, folder: Path) -> None:
    """The members of all documents, but for what is random. If this fails, the format changed."""
    stored = json.loads((folder / "server.json").read_text("utf-8"))
    with (
        EmbeddedRedis() as embedded,
        redis.Redis.from_url(embedded.url, decode_responses=True) as client,
    ):
        threads.write(embedded.url)
        assert shapes(server.dump(client)) == shapes(stored)


def shapes(dumped: dict[str, Any]) -> list[Any]:
    """Each document without random numbers, times and the values of the state."""
    found = []
    for key, one in dumped.items():
        kind, _, rest = key.removeprefix(threads.PREFIX).partition(":")
        content = one["content"]
        if isinstance(content, str):
            content = shape(json.loads(content))
        elif kind == "contents":
            content = sorted(
                entry.rpartition(":")[0] if entry[0] in "l" else entry for entry in content
            )
        if kind == "log":
            rest = rest.rpartition(":")[0]
        found.append([kind, rest, content])
    return sorted(found, key=json.dumps)


def shape(value: Any, name: str = "") -> Any:
    if name in ("kwargs", "fields", "json", "arg", "args", "base64", "updated_at"):
        return name
    if isinstance(value, dict):
        return {key: shape(member, key) for key, member in value.items()}
    if isinstance(value, list):
        if name == "log":
            return [[key.rpartition(":")[0], *numbers] for key, *numbers in value]
        return [shape(member) for member in value]
    return name if name == "writes" else value

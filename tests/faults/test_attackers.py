"""Attackers who choose ids, values and metadata, or who can write to Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
import redis

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from tests.support.checkpoints import config, each_saver, found_keys, ids, put
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.record import times, tried

EXT_CONSTRUCTOR = 0
"""LangGraph's msgpack type for "call this of that module with this argument"."""

PLACES = ["value", "blob", "item", "write", "metadata"]

READ = """
import sys
from langgraph_redis_json import AsyncRedisSaver, RedisSaver

with RedisSaver(sys.argv[1], key_prefix=sys.argv[2]) as saver:
    at = {"configurable": {"thread_id": "thread"}}
    found = saver.get_tuple(at)
    assert found.metadata["step"] == 1 and found.pending_writes
    assert [one.config for one in saver.list(None)] == [found.config]
    saver.copy_thread("thread", "copy")
    saver.get_delta_channel_history(config=at, channels=["value"])
"""


def place(client: redis.Redis, key: str, path: str, form: dict[str, Any]) -> None:
    assert client.execute_command("JSON.GET", key, path) != "[]"
    client.execute_command("JSON.SET", key, path, json.dumps(form))


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not strict"])
def test_a_call_written_into_redis_by_hand_is_not_made(
    make_saver: MakeSaver,
    strict: bool,
    redis_url: str,
    redis_client: redis.Redis,
    key_prefix: str,
    tmp_path: Path,
) -> None:
    """The call is put wherever the serializer reads. LANGGRAPH_STRICT_MSGPACK prevents it.
    Without that setting LangGraph makes the calls, which shows that they work."""

    def poison(where: str) -> bytes:
        call = ["os", "system", f"touch '{tmp_path / where}'"]
        return ormsgpack.packb(ormsgpack.Ext(EXT_CONSTRUCTOR, ormsgpack.packb(call)))

    def evil(where: str) -> dict[str, Any]:
        return {"type": "msgpack", "base64": b64encode(poison(where)).decode()}

    saver = make_saver(Client(RedisSaver, 3, False))
    values = {"value": "a", "blob": "x" * 2000, "list": ["y" * 300] * 3}
    made = put(saver, "1", values, metadata={"step": 1, "note": b"\xff"})
    saver.put_writes(made, [("value", "harmless")], "task")

    [key] = found_keys(redis_client, key_prefix, "checkpoint")
    place(redis_client, key, "$.channel_values.value", evil("value"))
    place(redis_client, key, "$.metadata.note", {"$stored": evil("metadata")})
    [key] = found_keys(redis_client, key_prefix, "blob")
    place(redis_client, key, "$.value", evil("blob"))
    [key] = found_keys(redis_client, key_prefix, "log")
    place(redis_client, key, "$.items[1]", {"base64": evil("item")["base64"]})
    [key] = found_keys(redis_client, key_prefix, "writes")
    [fields] = json.loads(redis_client.execute_command("JSON.GET", key, "$"))
    [(name, text)] = fields["writes"].items()
    write = json.loads(text)
    write["value"] = evil("write")
    fields["writes"][name] = json.dumps(write)
    redis_client.execute_command("JSON.SET", key, "$", json.dumps(fields))

    done = subprocess.run(
        [sys.executable, "-c", READ, redis_url, key_prefix],
        env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true" if strict else "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    made_calls = sorted(path.name for path in tmp_path.iterdir())
    if strict:
        assert made_calls == []
        tried(
            "A call of `os.system` that an attacker wrote into documents, with "
            "`LANGGRAPH_STRICT_MSGPACK`",
            len(PLACES),
            torn=0,
            note="no call was made; without that setting LangGraph makes them",
        )
    else:
        assert made_calls == sorted(PLACES)


QUERIES = [
    "*",
    "@thread_id:{*}",
    "(@tokens:{*})=>[KNN 10 @v $b]",
    "a | @source:{loop}",
    "-@thread_id:{a}",
    '"} ) | *',
    "thread' LIMIT 0 10000 RETURN 1 $",
    "{thread}:*",
    "\\*",
]


@each_saver
def test_a_query_as_thread_id_matches_only_itself(saver: Saver) -> None:
    put(saver, "1", thread_id="victim", metadata={"user": "victim"})
    for query in QUERIES:
        assert saver.get_tuple(config(query)) is None
        for filter in (None, {"user": "victim"}, {"user": query}, {query: "victim"}):
            assert ids(saver.list(config(query), filter=filter)) == []
        saver.delete_thread(query)
        saver.prune([query])
        saver.delete_for_runs([query])
        put(saver, "2", thread_id=query, metadata={"user": query})
        assert ids(saver.list(None, filter={"user": query})) == ["2"]
        assert ids(saver.list(config(query, None))) == ["2"]
        saver.delete_thread(query)
    assert ids(saver.list(None)) == ["1"]


@pytest.mark.parametrize("kind", [RedisSaver, AsyncRedisSaver])
def test_a_hundred_megabytes_of_metadata_are_stored(
    kind: type[Saver], redis_url: str, key_prefix: str
) -> None:
    """It is stored and found, and slows down only searches that read it. (Else 10 MB.)"""
    # A longer timeout than the default.
    saver = kind(f"{redis_url}?socket_timeout=120", key_prefix=key_prefix)
    with RedisSaver(redis_url, key_prefix=key_prefix) as other:
        other.setup()
    huge = "x" * times(10_000_000, 100_000_000)
    put(saver, "1", {"n": 1}, metadata={"step": 1, "user": huge})
    put(saver, "2", {"n": 2}, metadata={"step": 2})
    assert ids(saver.list(config(), filter={"step": 2})) == ["2"]
    [found] = saver.list(config(), filter={"step": 1})
    metadata: Any = found.metadata
    assert metadata["user"] == huge
    assert ids(saver.list(config(), filter={"user": huge[1:]})) == []
    saver.delete_thread("thread")
    tried(f"A metadata value of 100 MB (`{type(saver).__name__}`)", 1, checked=2, lost=0, torn=0)

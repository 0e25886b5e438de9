"""with_allowlist returns a clone that builds more types, on the same connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import redis
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from tests.support.checkpoints import BIG, config, each_saver, get, get_tuple, ids, put
from tests.support.clients import Client, MakeSaver, Saver


@dataclass
class Mine:
    value: object


@dataclass
class Yours:
    value: object


MINE = (Mine.__module__, "Mine")


@pytest.fixture
def strict(make_saver: MakeSaver, client: Client) -> Saver:
    """A saver that builds none of the types of this file."""
    return make_saver(client, serde=JsonPlusSerializer(allowed_msgpack_modules=None))


@each_saver
@pytest.mark.parametrize("more", ["", BIG])
def test_a_clone_builds_only_the_allowed_types(strict: Saver, more: str) -> None:
    clone = strict.with_allowlist([MINE])
    assert type(clone) is type(strict)
    assert clone is not strict
    given = {"mine": Mine([more]), "yours": Yours([more])}
    for number, saver in enumerate((strict, clone)):
        written = put(saver, f"{number}", given)
        saver.put_writes(written, list(given.items()), "task")
    plain = {"mine": {"value": [more]}, "yours": {"value": [more]}}
    for number in range(2):
        at = config(checkpoint_id=f"{number}")
        expectations: list[tuple[Any, dict[str, Any]]] = [
            (strict, plain),
            (clone, {**plain, "mine": given["mine"]}),
        ]
        for saver, expected in expectations:
            found = get_tuple(saver, at)
            assert found.checkpoint["channel_values"] == expected
            assert found.pending_writes == [("task", *item) for item in expected.items()]
            assert found in list(saver.list(config()))


@each_saver
def test_the_allowlist_applies_to_metadata(strict: Saver) -> None:
    put(strict, "1", metadata={"mine": Mine(1), "yours": Yours(1)})
    clone = strict.with_allowlist([MINE])
    found: list[Any] = [get_tuple(saver, config()).metadata for saver in (strict, clone)]
    assert found == [
        {"mine": {"value": 1}, "yours": {"value": 1}},
        {"mine": Mine(1), "yours": {"value": 1}},
    ]
    assert ids(clone.list(None, filter={"mine": Mine(1)})) == ["1"]


@each_saver
def test_a_clone_stores_the_same_documents(
    strict: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    key = f"{key_prefix}checkpoint:{{thread}}::1"
    documents = []
    for saver in (strict, strict.with_allowlist([MINE])):
        put(saver, "1", {"mine": Mine(1)})
        documents.append(redis_client.execute_command("JSON.GET", key, "$"))
    assert documents[0] == documents[1]
    assert '"$class":"' in documents[0]


@each_saver
def test_clones_share_connections_and_prefix(
    strict: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    put(strict, "1")
    before = redis_client.info("stats")["total_connections_received"]
    clone: Any = strict
    for number in range(20):
        clone = clone.with_allowlist([(MINE[0], f"Name{number}")])
        assert ids(clone.list(None)) == ["1"]
        assert clone.key_prefix == key_prefix
    assert redis_client.info("stats")["total_connections_received"] == before


@each_saver
def test_the_allowlist_applies_to_encrypted_values(make_saver: MakeSaver, client: Client) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(
        JsonPlusSerializer(allowed_msgpack_modules=None), key=b"0123456789abcdef"
    )
    saver = make_saver(client, serde=serde)
    put(saver, "1", {"mine": Mine(BIG)})
    assert get(saver, config())["channel_values"] == {"mine": {"value": BIG}}
    clone = saver.with_allowlist([MINE])
    assert get(clone, config())["channel_values"] == {"mine": Mine(BIG)}


@each_saver
def test_a_saver_that_builds_all_types_returns_itself(
    make_saver: MakeSaver, client: Client
) -> None:
    saver = make_saver(client, serde=JsonPlusSerializer(allowed_msgpack_modules=True))
    assert isinstance(saver, (RedisSaver, AsyncRedisSaver))
    assert saver.with_allowlist([MINE]) is saver
    put(saver, "1", {"mine": Mine(1)})
    assert get(saver, config())["channel_values"] == {"mine": Mine(1)}

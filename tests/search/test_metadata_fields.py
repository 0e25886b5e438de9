"""metadata_fields: the user's fields in indexes, filters and redisvl's queries."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
import redis
import redis.asyncio
from redisvl.query import FilterQuery
from redisvl.query.filter import Num, Tag, Text

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.client.plan import Command
from langgraph_redis_json.client.replies import index_info
from langgraph_redis_json.operations.list import list_checkpoints
from langgraph_redis_json.search.queries import index_name
from tests.support.checkpoints import each_saver, ids, indexed, put
from tests.support.clients import Client, MakeSaver

FIELDS = {"user_id": "tag", "score": "numeric", "about": "text"}

RIGHT = {"user_id": "Ada, L.", "score": 7.5, "about": "a late parcel"}
WRONG: list[Any] = [
    *("text", 5, 0.1 + 0.2, True, None, [1], ["a"], {"a": 1}, {"$stored": 1}, [], b"x", 2.0**70),
]


def keys_found(client: redis.Redis, index: str, query: str) -> list[str]:
    reply: Any = client.execute_command("FT.SEARCH", index, query, "NOCONTENT", "DIALECT", 2)
    found = [row["id"] for row in reply["results"]] if isinstance(reply, dict) else reply[1:]
    return sorted(key.split(":")[-1] for key in found)


@each_saver
@pytest.mark.parametrize("stored_before", [False, True])
def test_any_metadata_is_found(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    stored_before: bool,
) -> None:
    """Metadata whose type differs from the field's type hides no checkpoint and no thread."""
    saver = make_saver(client, metadata_fields=None if stored_before else FIELDS)
    put(saver, "right", thread_id="right", metadata=RIGHT)
    for number, value in enumerate(WRONG):
        metadata = dict.fromkeys(FIELDS, value)
        put(
            saver,
            f"{number:02}",
            {"score": 1, "about": "late"},
            thread_id=f"{number}",
            metadata=metadata,
        )
    saver = make_saver(client, metadata_fields=FIELDS)
    for which in ("checkpoints", "threads"):
        index = index_name(key_prefix, which)
        assert indexed(redis_client, index) == len(WRONG) + 1
        kind = ["right"] if which == "checkpoints" else ["{right}"]
        assert keys_found(redis_client, index, r"@user_id:{Ada\,\ L\.}") == kind
        assert keys_found(redis_client, index, "@about:parcels") == kind
        assert keys_found(redis_client, index, "@score:[7 8]") == kind
        # Nor does a channel of the same name get in.
        assert keys_found(redis_client, index, "@about:late") == kind
        assert keys_found(redis_client, index, "@score:[1 1]") == []
    assert ids(saver.list(None, filter={"score": {"$gt": 7, "$lt": 8}})) == ["right"]
    for number, value in enumerate(WRONG):
        if value is not None:
            found = ids(saver.list(None, filter={"score": {"$eq": value}}))
            assert found == [f"{number:02}"], value
    numbers = [f"{n:02}" for n, one in enumerate(WRONG) if type(one) in (int, float)]
    assert ids(saver.list(None, filter={"score": {"$gt": -1}})) == ["right", *numbers[::-1]]


@each_saver
def test_savers_with_different_fields_share_an_index(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    makes: list[dict[str, str] | None] = [
        {"a": "tag"},
        None,
        {"b": "numeric", "c": "tag"},
        {"a": "tag"},
    ]
    savers = [make_saver(client, metadata_fields=fields) for fields in makes]
    for saver in savers:
        put(saver, "1", metadata={"a": "x", "b": 5, "c": "y"})
        for query in ("@a:{x}", "@b:[5 5]", "@c:{y}"):
            index = index_name(key_prefix, "checkpoints")
            assert keys_found(redis_client, index, query) == ["1"]
    assert ids(savers[2].list(None, filter={"b": {"$gte": 5}})) == ["1"]


@each_saver
def test_a_field_of_another_type_replaces_the_old_one(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client, metadata_fields={"a": "tag", "b": "tag"})
    put(saver, "1", metadata={"a": 5, "b": "x"})
    saver = make_saver(client, metadata_fields={"a": "numeric"})
    index = index_name(key_prefix, "checkpoints")
    assert keys_found(redis_client, index, "@a:[5 5]") == ["1"]
    assert keys_found(redis_client, index, "@b:{x}") == ["1"]
    assert ids(saver.list(None, filter={"a": {"$lt": 6}})) == ["1"]


def test_a_clone_has_the_same_fields(make_saver: MakeSaver) -> None:
    saver = make_saver(Client(RedisSaver, 2, False), metadata_fields={"n": "numeric"})
    clone: Any = saver.with_allowlist([("a", "B")])
    put(clone, "1", metadata={"n": 1})
    assert ids(clone.list(None, filter={"n": {"$gt": 0}})) == ["1"]
    wanted = list_checkpoints(clone._context, None, {"n": {"$gt": 0}}, None, None)
    [_, search] = cast(list[Command], next(wanted))
    assert "@n:[" in str(search[2])
    assert "n" in clone.checkpoints_index.schema.fields


# ---- schemas of the user's

SCHEMA = """
version: "0.1.0"
index: {name: mine, prefix: mine, storage_type: %s}
fields:
  - {name: user_id, type: tag, attrs: {case_sensitive: true, separator: "|"}}
  - {name: score, type: numeric, path: %s, attrs: {sortable: true}}
  - {name: about, type: text, attrs: {no_stem: true}}
"""


@each_saver
def test_a_schema_file_declares_fields(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(SCHEMA % ("json", "$.metadata.score"))
    for given in (path, str(path)):
        saver = make_saver(client, metadata_fields=given)
        put(saver, "1", metadata=RIGHT)
        index = index_name(key_prefix, "checkpoints")
        assert keys_found(redis_client, index, "@about:parcel") == ["1"]
        assert "NOSTEM" in str(redis_client.execute_command("FT.INFO", index))
        assert ids(saver.list(None, filter={"score": {"$gte": 7.5}})) == ["1"]
    assert (
        len([name for name in redis_client.execute_command("FT._LIST") if key_prefix in name]) == 3
    )


OPTIONS = [
    "{}",
    "{no_stem: true}",
    "{weight: 3.0}",
    "{sortable: true}",
    "{withsuffixtrie: true}",
]


def test_changed_field_options_replace_the_index(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, tmp_path: Path
) -> None:
    path, found = tmp_path / "schema.yaml", set()
    text = "version: '0.1.0'\nindex: {name: mine, prefix: mine, storage_type: json}\nfields:\n"
    for options in OPTIONS:
        path.write_text(f"{text}  - {{name: about, type: text, attrs: {options}}}\n")
        for _ in range(2):  # the second time there is nothing to do
            make_saver(Client(RedisSaver, 2, True), metadata_fields=path)
            info = redis_client.execute_command("FT.INFO", index_name(key_prefix, "checkpoints"))
            found.add(index_info(info).name)
    assert len(found) == len(OPTIONS)


BAD = [
    (["user_id"], "takes a dict"),
    ({"a b": "tag"}, "'a b' cannot be the name of a metadata field"),
    ({"": "tag"}, "'' cannot be the name of a metadata field"),
    ({"1a": "tag"}, "begin it with a letter"),
    ({"__key": "tag"}, "begin it with a letter"),
    ({"é": "tag"}, "cannot be the name of a metadata field"),
    ({'a"]': "numeric"}, "cannot be the name of a metadata field"),
    ({5: "tag"}, "5 cannot be the name of a metadata field"),
    ({"a": "geo"}, 'one of "tag", "numeric", "text", but \'a\' is \'geo\''),
    ({"a": None}, "'a' is None"),
    ({"step": "numeric"}, "'step' is a field of every index"),
    ({"status": "tag"}, "'status' is a field of every index"),
    ({"tokens": "tag"}, "'tokens' is a field of every index"),
    ({"created_at": "numeric"}, "'created_at' is a field of every index"),
]


@pytest.mark.parametrize("saver", [RedisSaver, AsyncRedisSaver])
@pytest.mark.parametrize(("given", "why"), BAD, ids=repr)
def test_invalid_fields_are_refused(saver: Any, given: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        saver("redis://127.0.0.1:1", metadata_fields=given)
    with pytest.raises(ValueError, match=why):
        saver.from_conn_string("redis://127.0.0.1:1", metadata_fields=given)
    with pytest.raises(ValueError, match=why):
        saver.from_conn_info(port=1, metadata_fields=given)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SCHEMA % ("hash", "score"), "storage_type hash.*change it to storage_type: json"),
        (SCHEMA % ("json", "$.channel_values.score"), "only metadata can be declared"),
        (SCHEMA % ("json", "$.score") + "  - {name: step, type: numeric}", "'step' is a field"),
        (
            SCHEMA % ("json", "$.score") + "  - {name: user-, type: tag}",
            "cannot be the name of a metadata field",
        ),
        (SCHEMA % ("json", "$.score") + "  - {name: at, type: geo}", "'at' is"),
        (
            SCHEMA % ("json", "$.score") + "  - {name: x, type: tag, attrs: {no_index: true}}",
            "no_index for 'x'",
        ),
    ],
)
def test_an_invalid_schema_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=why):
        RedisSaver("redis://127.0.0.1:1", metadata_fields=path)
    with pytest.raises(FileNotFoundError, match="names a schema that does not exist"):
        RedisSaver("redis://127.0.0.1:1", metadata_fields=tmp_path / "none.yaml")


# ---- redisvl

QUERIES = [
    ((Tag("user_id") == "Ada, L.") & (Num("score") > 7), ["1"]),
    (Text("about") % "parcel*", ["1"]),
    (Tag("source") == "loop", ["2", "1"]),
    (Num("step") >= 2, ["2"]),
]


@pytest.mark.parametrize("decode_responses", [False, True])
@pytest.mark.parametrize("protocol", [None, 2])
def test_redisvl_queries_find_checkpoints(
    redis_url: str, key_prefix: str, protocol: int | None, decode_responses: bool
) -> None:
    options: dict[str, Any] = {"decode_responses": decode_responses}
    if protocol:
        options["protocol"] = protocol
    settings: Any = {"key_prefix": key_prefix, "metadata_fields": FIELDS}
    expected = [found for _, found in QUERIES]

    def queries() -> list[FilterQuery]:
        return [
            FilterQuery(
                filter_expression=one,
                return_fields=["checkpoint_id"],
                sort_by=("created_at", "DESC"),
            )
            for one, _ in QUERIES
        ]

    def found(rows: Any) -> list[str]:
        return sorted((row["checkpoint_id"] for row in rows), reverse=True)

    with redis.Redis.from_url(redis_url, **options) as connection:
        saver = RedisSaver(connection, **settings)
        saver.setup()
        put(saver, "1", metadata={**RIGHT, "source": "loop", "step": 1})
        put(saver, "2", metadata={"source": "loop", "step": 2})
        index = saver.checkpoints_index
        assert [found(index.query(query)) for query in queries()] == expected

    async def asynchronously() -> list[list[str]]:
        async with redis.asyncio.Redis.from_url(redis_url, **options) as connection:
            index = AsyncRedisSaver(connection, **settings).checkpoints_index
            return [found(await index.query(query)) for query in queries()]

    assert asyncio.run(asynchronously()) == expected


def test_redisvl_cannot_use_every_client(redis_url: str) -> None:
    for url, options in ((redis_url, {"protocol": 3}), (f"{redis_url}?protocol=3", {})):
        with redis.Redis.from_url(url, **options) as connection:
            saver = RedisSaver(connection)
            with pytest.raises(ValueError, match=r"does not read the replies .* protocol=3"):
                _ = saver.checkpoints_index

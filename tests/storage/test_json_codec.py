"""Serializer bytes <-> readable JSON, exactly, for any serializer."""

from __future__ import annotations

import datetime
import decimal
import ipaddress
import pathlib
import random
import re
import struct
import uuid
import zoneinfo
from base64 import b64encode
from collections import deque
from contextlib import suppress
from math import isnan
from typing import Any
from unittest.mock import ANY

import numpy
import orjson
import ormsgpack
import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import Item
from langgraph.types import Send
from pydantic import SecretStr

from langgraph_redis_json.storage import json_codec, loading
from tests.support import strategies
from tests.support.strategies import Color, Order, Person, Plain, Point, examples, same

SERDE = JsonPlusSerializer(allowed_msgpack_modules=True)
HERE = strategies.__name__
UTC = datetime.timezone.utc
MOMENT = datetime.datetime(2024, 2, 29, 12, 30, 0, 5, tzinfo=UTC)


def stored(value: Any) -> dict[str, Any]:
    """The JSON that a document has for a value, parsed."""
    return orjson.loads(json_codec.encode(*SERDE.dumps_typed(value)).text())


def assert_exact(value: Any) -> dict[str, Any]:
    """The serializer's bytes come back, and load to the same value."""
    dumped = SERDE.dumps_typed(value)
    found = stored(value)
    assert json_codec.decode(found) == (dumped[0], bytes(dumped[1]))
    assert same(SERDE.loads_typed(json_codec.decode(found)), SERDE.loads_typed(dumped))
    return found


# ---- the forms


TAGS = {
    "float": (0.1 + 0.2, {"$float": "0.30000000000000004"}),
    "huge": (1e23, {"$float": "1e+23"}),
    "nan": (float("nan"), {"$float": "nan"}),
    "infinity": (-float("inf"), {"$float": "-inf"}),
    "bytes": ([b"\xff"], [{"$bytes": "/w=="}]),
    "bytearray": ([bytearray(b"a")], [{"$bytes": "YQ=="}]),
    "int keys": ({1: "a", -2: "b"}, {"$map": [[1, "a"], [-2, "b"]]}),
    "mixed keys": (
        {"a": 1, None: 2, True: 3, 1.5: 4, b"k": 5, ("x", (1,)): 6},
        {
            "$map": [
                *(["a", 1], [None, 2], [True, 3], [1.5, 4]),
                *([{"$bytes": "aw=="}, 5], [["x", [1]], 6]),
            ]
        },
    ),
    "float key": ({0.1 + 0.2: 1}, {"$map": [[{"$float": "0.30000000000000004"}, 1]]}),
    "user's tag": ({"$class": 1, "x": b""}, {"$dict": {"$class": 1, "x": {"$bytes": ""}}}),
    "embedding": (
        [0.1 + 0.2] * 16,
        {"$msgpack": b64encode(b"\xdc\0\x10" + b"\xcb?\xd3333334" * 16).decode()},
    ),
    "datetime": (
        MOMENT,
        {
            "$class": "datetime.datetime",
            "method": "fromisoformat",
            "arg": "2024-02-29T12:30:00.000005+00:00",
        },
    ),
    "date": (MOMENT.date(), {"$class": "datetime.date", "args": [2024, 2, 29]}),
    "time": (
        MOMENT.time(),
        {
            "$class": "datetime.time",
            "kwargs": {
                "hour": 12,
                "minute": 30,
                "second": 0,
                "microsecond": 5,
                "tzinfo": None,
                "fold": 0,
            },
        },
    ),
    "timedelta": (
        datetime.timedelta(1, 2, 3),
        {"$class": "datetime.timedelta", "args": [1, 2, 3]},
    ),
    "timezone": (
        UTC,
        {
            "$class": "datetime.timezone",
            "args": [{"$class": "datetime.timedelta", "args": [0, 0, 0]}],
            "tagged": True,
        },
    ),
    "zoneinfo": (
        zoneinfo.ZoneInfo("Europe/Berlin"),
        {"$class": "zoneinfo.ZoneInfo", "arg": "Europe/Berlin"},
    ),
    "uuid": (uuid.UUID(int=1), {"$class": "uuid.UUID", "arg": "0" * 31 + "1"}),
    "decimal": (decimal.Decimal("1.50"), {"$class": "decimal.Decimal", "arg": "1.50"}),
    "set": ({1}, {"$class": "builtins.set", "arg": [1]}),
    "frozenset": (frozenset("a"), {"$class": "builtins.frozenset", "arg": ["a"]}),
    "deque": (deque([1, 2]), {"$class": "collections.deque", "arg": [1, 2]}),
    "ip": (
        ipaddress.ip_address("10.0.0.1"),
        {"$class": "ipaddress.IPv4Address", "arg": "10.0.0.1"},
    ),
    "path": (
        pathlib.Path("/a/b"),
        {
            "$class": f"{type(pathlib.Path()).__module__}.PosixPath",
            "args": ["/", "a", "b"],
        },
    ),
    "pattern": (re.compile("a+", re.I), {"$class": "re.compile", "args": ["a+", 34]}),
    "enum": (Color.RED, {"$class": f"{HERE}.Color", "arg": "red"}),
    "named tuple": (Point(1, b"a"), None),
    "dataclass": (
        Order(1, ["x"]),
        {"$class": f"{HERE}.Order", "kwargs": {"number": 1, "lines": ["x"]}},
    ),
    "pydantic": (
        Person(name="Ann"),
        {"$class": f"{HERE}.Person", "fields": {"name": "Ann", "tags": None}},
    ),
    "nested": (
        Person(name=(Color.RED, 0.1 + 0.2)),
        {
            "$class": f"{HERE}.Person",
            "fields": {
                "name": [{"$class": f"{HERE}.Color", "arg": "red"}, {"$float": str(0.1 + 0.2)}],
                "tags": None,
            },
            "tagged": True,
        },
    ),
    "secret": (SecretStr("x"), {"$class": "pydantic.types.SecretStr", "arg": "x"}),
    "message": (
        HumanMessage("hi", id="1"),
        {
            "$class": "langchain_core.messages.human.HumanMessage",
            "fields": {
                "content": "hi",
                "additional_kwargs": {},
                "response_metadata": {},
                "type": "human",
                "name": None,
                "id": "1",
            },
        },
    ),
    "send": (Send("n", {"x": 1}), {"$class": "langgraph.types.Send", "args": ["n", {"x": 1}]}),
    "item": (
        Item(value={"x": 1}, key="k", namespace=("a",), created_at=MOMENT, updated_at=MOMENT),
        {
            "$class": "langgraph.store.base.Item",
            "fields_v1": {
                "namespace": ["a"],
                "key": "k",
                "value": {"x": 1},
                "created_at": MOMENT.isoformat(),
                "updated_at": MOMENT.isoformat(),
            },
        },
    ),
    "delta snapshot": (_DeltaSnapshot([1]), {"$ext": 7, "data": [1]}),
    "array": (
        numpy.array([1, 2], dtype="<u2"),
        {"$ext": 6, "data": ["<u2", [2], "C", {"$bytes": "AQACAA=="}], "tagged": True},
    ),
}
TAGS["named tuple"] = (
    Point(1, b"a"),
    {"$class": f"{HERE}.Point", "kwargs": {"x": 1, "y": {"$bytes": "YQ=="}}, "tagged": True},
)


@pytest.mark.parametrize(("value", "tagged"), TAGS.values(), ids=TAGS)
def test_each_tag_comes_back(value: Any, tagged: Any) -> None:
    assert assert_exact(value) == {"type": "msgpack", "tagged": tagged}


@pytest.mark.parametrize(
    "value",
    [
        *(1, True, "a", "", [], {}, [None, 1.5, -0.0, "x"], {"a": {"b": [1, [2, {}]]}}),
        *(2**64 - 1, -(2**63), 19.99, 1e22, ("a", ("b",))),
        {"a": 1, "$class": "only a first key makes a tag"},
        {"type": "msgpack", "json": 1, "base64": "", "tagged": True, "blob": "b:"},
        {"lc": 1, "type": "constructor", "id": ["langchain_core", "Foo"], "kwargs": {"a": 1}},
        *("\0", "a\0b", "\u2028\u2029", "\ufeff\uffff", "😀", '"\\/\b\f\n\r\t\x7f'),
        ValueError("the serializer has no more than its repr"),
    ],
    ids=repr,
)
def test_plain_json_is_stored_as_it_is(value: Any) -> None:
    found = assert_exact(value)
    assert found == {"type": "msgpack", "json": SERDE.loads_typed(SERDE.dumps_typed(value))}


def test_none_is_null() -> None:
    assert assert_exact(None) == {"type": "null", "json": None}


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("bytes", b"\x00\xff"),
        ("bytes", b""),
        ("pickle", b"\x80\x04K\x01."),
        ("json", b'{"a":1}'),
        ("msgpack+aes", b"\x01"),
        ("null", b"\x01"),
        ("", b""),
        ('odd "type"\0\u2028', b"\x01"),
        ("msgpack", b""),
        ("msgpack", b"\x01\x01"),
        ("msgpack", b"\xc1"),
        ("msgpack", b"\xcc\x01"),  # 1, but not as ormsgpack writes it
        ("msgpack", b"\xca\x3f\x80\x00\x00"),  # a float of 32 bits
        ("msgpack", b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01"),  # a NaN that repr does not tell
        ("msgpack", b"\x82\xa1a\x01\xa1a\x02"),  # the same key twice
        ("msgpack", b"\x82\x01\x01\xc3\x02"),  # keys that Python takes for the same
        ("msgpack", b"\xd6\xff\x00\x00\x00\x00"),  # msgpack's own timestamp
        ("msgpack", b"\xa2\xed\xa0"),  # no UTF-8
    ],
    ids=repr,
)
def test_other_types_are_base64(type_: str, data: bytes) -> None:
    encoded = json_codec.encode(type_, data)
    assert json_codec.decode(orjson.loads(encoded.text())) == (type_, data)
    assert encoded.form == "base64" or data[:1] == b"\xd6"


# ---- exactness, whatever comes


@examples(600)
@given(strategies.values)
@example({"a": 1, "$stored": 2})
@example([{"$float": "0.5"}, 0.1 + 0.2])
@example({"$dict": {"$dict": {(): {"$map": []}}}})
@example([0.1 + 0.2] * 15 + [1])
@example([{"$msgpack": ""}, [0.1 + 0.2] * 16])
def test_any_value_is_exact(value: Any) -> None:
    found = assert_exact(value)
    if "base64" in found:
        type_, data = SERDE.dumps_typed(value)
        assert type_ in ("bytes", "bytearray") or _has_strange_nan(data)


def _has_strange_nan(data: bytes) -> bool:
    """Whether it has a NaN other than float("nan"), which no repr tells apart."""
    usual = struct.pack(">d", float("nan"))
    places = [match.end() for match in re.finditer(b"\xcb(?=[\x7f\xff])", data)]
    numbers = [data[at : at + 8] for at in places if at + 8 <= len(data)]
    return any(isnan(*struct.unpack(">d", n)) and n != usual for n in numbers)


@examples(400)
@given(strategies.json_values)
def test_user_data_that_looks_like_a_tag_stays_data(value: Any) -> None:
    """Dicts, lists, texts and numbers come back, whatever their keys are."""
    found = assert_exact({"state": value})
    assert same(SERDE.loads_typed(json_codec.decode(found)), {"state": value})
    assert "base64" not in found or any(number != number for number in _numbers(value)), (
        "only a NaN has no readable form"
    )


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, float) else []


IMPOSTORS = [
    {"$class": "datetime.date", "args": [2024, 1, 1]},
    {"$class": "os.system", "arg": "true", "tagged": True},
    {"$ext": 7, "data": [1]},
    {"$bytes": "YQ=="},
    {"$float": "nan"},
    {"$map": [[1, 2]]},
    {"$map": 1},
    {"$dict": {"$float": "1"}},
    {"$msgpack": "kAE="},
    {"$stored": {"type": "null", "json": None}},
    {"$": 1},
    {"$unknown": None},
    {"blob": "b::c:x"},
    {"type": "bytes", "base64": "YQ=="},
    {"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", "HumanMessage"]},
    {"lc": 2, "type": "constructor", "id": ["datetime", "date"], "args": [2024, 1, 1]},
    {"lc": 1, "type": "secret", "id": ["PATH"]},
]


@pytest.mark.parametrize("impostor", IMPOSTORS, ids=repr)
@pytest.mark.parametrize(
    "place",
    [
        lambda x: x,
        lambda x: [x, 0.1 + 0.2],
        lambda x: {"a": x},
        lambda x: {"$class": x},
        lambda x: {1: x, "$float": b""},
        lambda x: {**x, 1: b""},
        lambda x: {**x, "$float": "1"},
        lambda x: Order(x, [x]),
        lambda x: Person(name=x, tags={b"": x}),
        lambda x: deque([x, {"$dict": x}]),
        lambda x: HumanMessage("", additional_kwargs=x),
        lambda x: Send("$map", x),
        lambda x: _DeltaSnapshot(x),
    ],
)
def test_user_data_is_never_a_tag_at_any_depth(impostor: dict[str, Any], place: Any) -> None:
    found = assert_exact(place(impostor))
    assert "base64" not in found


careful_msgpack = pytest.mark.skipif(
    tuple(map(int, ormsgpack.__version__.split(".")[:3])) < (1, 13, 1),
    reason="before 1.13.1 ormsgpack allocates whatever malformed bytes declare",
)


@careful_msgpack
@examples(500)
@given(st.text(max_size=12), st.binary(max_size=40))
@example("msgpack", b"\xc7\x00\x05")
@example("null", b"")
def test_any_bytes_of_any_serializer_are_exact(type_: str, data: bytes) -> None:
    for named in ("msgpack", "null", type_.encode("utf-8", "replace").decode()):
        encoded = json_codec.encode(named, data)
        assert json_codec.decode(orjson.loads(encoded.text())) == (named, data)


@careful_msgpack
@examples(500)
@given(st.integers(0, 2**32))
def test_msgpack_with_any_byte_changed_is_exact(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(SERDE.dumps_typed(chance.choice(list(TAGS.values()))[0])[1])
    for _ in range(chance.randint(1, 3)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    encoded = json_codec.encode("msgpack", bytes(data))
    assert json_codec.decode(orjson.loads(encoded.text())) == ("msgpack", bytes(data))


# ---- nesting


WRAPPERS = [
    lambda inner: [inner],
    lambda inner: {"k": inner},
    lambda inner: {1: inner},
    lambda inner: {"$tag": inner, "b": b""},
    lambda inner: deque([inner]),
    lambda inner: Order(inner),
    lambda inner: Order(b"", lines=inner),
    lambda inner: Person(name=inner),
    lambda inner: _DeltaSnapshot([inner]),
    lambda inner: HumanMessage("", additional_kwargs={"x": inner}),
]


@pytest.mark.parametrize("kinds", [[n] for n in range(len(WRAPPERS))] + [[0, 1], range(10)])
def test_values_of_any_depth_can_be_stored(
    kinds: list[int], redis_client: redis.Redis, key_prefix: str
) -> None:
    """RedisJSON refuses more than 127 levels, so deeper values are not stored as JSON."""
    value: Any = 1
    sent, forms = [], set()
    with redis_client.pipeline(transaction=False) as pipeline:
        for depth in range(300):
            value = WRAPPERS[kinds[depth % len(kinds)]](value)
            if depth > 130 and depth % 20:
                continue
            try:
                dumped = SERDE.dumps_typed(value)
            except (TypeError, RecursionError):  # the serializer's own limit
                break
            encoded = json_codec.encode(*dumped)
            forms.add(encoded.form)
            sent.append(dumped)
            # The writes of a task are where a value is nested deepest.
            document = b'{"writes":{"0":{"value":%s}}}' % encoded.text()
            pipeline.execute_command("JSON.SET", f"{key_prefix}", "$", document)
            pipeline.execute_command("JSON.GET", f"{key_prefix}", ".")
        replies = pipeline.execute()
    assert set(replies[::2]) == {"OK"}
    found = [orjson.loads(reply)["writes"]["0"]["value"] for reply in replies[1::2]]
    assert [json_codec.decode(value) for value in found] == sent
    assert len(sent) > 100
    assert forms > {"base64"}


def test_brackets_in_strings_do_not_hide_depth() -> None:
    deep: Any = "end"
    for _ in range(json_codec.DEEPEST + 1):
        deep = ["]", deep, "["]
    assert stored(deep) == {"type": "msgpack", "base64": ANY}
    assert stored(deep[1]) == {"type": "msgpack", "json": deep[1]}
    assert stored(["[" * 5_000]) == {"type": "msgpack", "json": ["[" * 5_000]}


# ---- altered by hand


JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    300,
    2**63,
    1.5,
    "",
    "x",
    "é",
    "AA==",
    "nan",
    [],
    [1],
    [[1]],
    [[{}, 1]],
]
JUNK += [{}, {"a": 1}, {"$float": 1}, {"$map": [[[], {}]]}, {"$class": ""}, {"$ext": 1000}, "$"]


def _alter(node: Any, chance: random.Random) -> Any:
    """One random change: another value, or a member removed, added or renamed."""
    if not isinstance(node, (dict, list)) or not node or chance.random() < 0.25:
        if isinstance(node, str) and node and chance.random() < 0.5:
            at = chance.randrange(len(node))
            return node[:at] + chance.choice("!=A0é.") + node[at + chance.randrange(2) :]
        return chance.choice(JUNK)
    if isinstance(node, list):
        at = chance.randrange(len(node))
        return [*node[:at], _alter(node[at], chance), *node[at + 1 :]]
    key = chance.choice(list(node))
    match chance.randrange(5):
        case 0:
            return {k: v for k, v in node.items() if k != key}
        case 1:
            return {chance.choice(strategies.OURS): chance.choice(JUNK), **node}
        case 2:
            new = chance.choice(strategies.OURS)
            return {new if k == key else k: v for k, v in node.items()}
        case _:
            return {**node, key: _alter(node[key], chance)}


@examples(3000)
@given(st.integers(0, 2**32))
def test_altered_documents_raise_value_error_or_load(seed: int) -> None:
    """Either ValueError is raised, or the result can be given to a serializer."""
    chance = random.Random(seed)
    value = chance.choice([value for value, _ in TAGS.values()] + [b"bytes", None, "text"])
    found = stored([value, value] if chance.random() < 0.3 else value)
    for _ in range(chance.randint(1, 3)):
        found = _alter(found, chance)
    try:
        type_, data = json_codec.decode(found)
    except ValueError:
        return
    assert isinstance(type_, str)
    assert isinstance(data, bytes)


ALTERED: list[Any] = [
    *(None, 1, "text", [], {}, {"type": "msgpack"}, {"json": 1}, {"base64": "AA=="}),
    {"type": "msgpack", "base64": "!"},
    {"type": "msgpack", "base64": "A"},
    {"type": "msgpack", "base64": "AA==AA=="},
    {"type": "msgpack", "base64": "AA=\n="},
    {"type": "msgpack", "base64": None},
    {"type": "msgpack", "base64": 1},
    {"type": 1, "base64": "AA=="},
    {"type": None, "json": 1},
    {"type": ["msgpack"], "json": 1},
    {"type": "null", "json": 0},
    {"type": "null", "json": []},
    {"type": "null"},
    {"type": "bytes", "json": "text"},
    {"type": "other", "tagged": 1},
    {"type": "msgpack", "json": 1, "base64": "AA=="},
    {"type": "msgpack", "json": 1, "tagged": 1},
    {"type": "msgpack", "tagged": {"$unknown": 1}},
    {"type": "msgpack", "tagged": {"$class": "a.b"}},
    {"type": "msgpack", "tagged": {"$class": "a.b", "tagged": True}},
    {"type": "msgpack", "tagged": {"$class": "a.b", "other": 1}},
    {"type": "msgpack", "tagged": {"$class": "a.b", "method": "m"}},
    {"type": "msgpack", "tagged": {"$class": 1, "arg": 1}},
    {"type": "msgpack", "tagged": {"$class": None, "arg": 1}},
    {"type": "msgpack", "tagged": {"$class": "", "arg": 1}},
    {"type": "msgpack", "tagged": {"$class": "nodot", "arg": 1}},
    {"type": "msgpack", "tagged": {"$ext": 128, "data": 1}},
    {"type": "msgpack", "tagged": {"$ext": 2**70, "data": 1}},
    {"type": "msgpack", "tagged": {"$ext": "1", "data": 1}},
    {"type": "msgpack", "tagged": {"$ext": 1}},
    {"type": "msgpack", "tagged": {"$float": "x"}},
    {"type": "msgpack", "tagged": {"$float": None}},
    {"type": "msgpack", "tagged": {"$float": []}},
    {"type": "msgpack", "tagged": {"$bytes": "!"}},
    {"type": "msgpack", "tagged": {"$bytes": {}}},
    {"type": "msgpack", "tagged": {"$map": 1}},
    {"type": "msgpack", "tagged": {"$map": [1]}},
    {"type": "msgpack", "tagged": {"$map": [[1]]}},
    {"type": "msgpack", "tagged": {"$map": [[{"a": 1}, 1]]}},
    {"type": "msgpack", "tagged": {"$map": [[1, 2, 3]]}},
    {"type": "msgpack", "tagged": {"$dict": 1}},
    {"type": "msgpack", "tagged": {"$msgpack": "wQ=="}},
    {"type": "msgpack", "tagged": {"$msgpack": ""}},
]


@pytest.mark.parametrize("altered", ALTERED, ids=repr)
def test_an_invalid_stored_value_raises(altered: Any) -> None:
    with pytest.raises(ValueError, match="not a stored value"):
        json_codec.decode(altered)


# ---- many at once


@examples(200)
@given(st.lists(strategies.values, max_size=5))
def test_a_list_of_stored_values(sent: list[Any]) -> None:
    found = [stored(value) for value in sent]
    packed = loading._pack_all(found)
    readable = all(value["type"] == "msgpack" and "base64" not in value for value in found)
    assert (packed is not None) == readable
    if packed is not None:
        assert packed == SERDE.dumps_typed(sent)[1]


@pytest.mark.parametrize("altered", ALTERED, ids=repr)
def test_a_list_with_an_invalid_stored_value_raises(altered: Any) -> None:
    """Either it raises ValueError, or `decode` does."""
    packed = None
    with suppress(ValueError):
        packed = loading._pack_all([stored(1), altered])
    assert packed is None


@examples(200)
@given(strategies.values)
def test_plain_values_are_recognized(value: Any) -> None:
    dumped = SERDE.dumps_typed([value])
    tree = json_codec.plain(*dumped)
    assert (tree is not None) == (json_codec.encode(*dumped).form == "json")
    if tree is not None:
        assert orjson.dumps(tree) == json_codec.encode(*dumped).content


def test_pickle_is_left_to_the_serializer() -> None:
    serde = JsonPlusSerializer(pickle_fallback=True)
    dumped = serde.dumps_typed(Plain(1))
    assert dumped[0] == "pickle"
    encoded = json_codec.encode(*dumped)
    assert encoded.form == "base64"
    assert json_codec.decode(orjson.loads(encoded.text())) == dumped

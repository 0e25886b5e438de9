"""Plain data of what the codec stores: for every value, and for messages of all kinds."""

from __future__ import annotations

import json
import re
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from langgraph_redis_json.storage import json_codec, plain
from langgraph_redis_json.storage.plain import Message, ToolCall
from tests.support.damage import damages
from tests.support.strategies import examples, values

SERDE = JsonPlusSerializer()


def stored(value: Any) -> Any:
    """A value as a document has it."""
    type_, data = SERDE.dumps_typed(value)
    return orjson.loads(json_codec.encode(type_, data, SERDE).text())


class Model(BaseModel):
    name: str
    when: datetime


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: float
    inner: Any = None


NAME = f"{__name__}."


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        ({"a": [1, 2.5, True, None, "x"]}, {"a": [1, 2.5, True, None, "x"]}),
        (0.1 + 0.2, 0.30000000000000004),
        (float("inf"), "inf"),
        ([0.1] * 20 + [1 / 3], [0.1] * 20 + [1 / 3]),
        (b"ab", {"$bytes": "YWI="}),
        ({"b": b"ab"}, {"b": {"$bytes": "YWI="}}),
        ({1: "a", "b": 2}, {"1": "a", "b": 2}),
        ({1: "a", "1": "b"}, {"$map": [[1, "a"], ["1", "b"]]}),
        ({"$class": "x"}, {"$class": "x"}),
        ({1, 2}, [1, 2]),
        (frozenset(["a"]), ["a"]),
        (deque([1]), [1]),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4, 5), "03:04:05"),
        (timedelta(days=1, seconds=2), "1 day, 0:00:02"),
        (timezone.utc, "UTC+0:00:00"),
        (ZoneInfo("Europe/Lisbon"), "Europe/Lisbon"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Decimal("1.10"), "1.10"),
        (ip_address("10.0.0.1"), "10.0.0.1"),
        (re.compile("a+"), "a+"),
        (Colour.RED, {"$class": f"{NAME}Colour", "value": "red"}),
        (
            Model(name="Ada", when=datetime(2026, 1, 2)),
            {"$class": f"{NAME}Model", "name": "Ada", "when": "2026-01-02T00:00:00"},
        ),
        (
            Point(1.5, Point(2.0)),
            {
                "$class": f"{NAME}Point",
                "x": 1.5,
                "inner": {"$class": f"{NAME}Point", "x": 2.0, "inner": None},
            },
        ),
        (Send("node", 1), {"$class": "langgraph.types.Send", "args": ["node", 1]}),
        (
            Interrupt("May I?", id="i"),
            {"$class": "langgraph.types.Interrupt", "value": "May I?", "id": "i"},
        ),
    ],
)
def test_values_as_people_read_them(value: Any, shown: Any) -> None:
    found = plain.plain(stored(value))
    if isinstance(value, Interrupt):
        assert {key: found[key] for key in shown} == shown
    else:
        assert found == shown


def test_a_path_is_text() -> None:
    tag = {"$class": "pathlib.PosixPath", "args": ["/", "home", "ada"]}
    assert plain.plain({"type": "msgpack", "tagged": tag}) == str(PurePosixPath("/home/ada"))


def test_an_array_of_numpy_says_its_shape() -> None:
    tag = {"$ext": 6, "data": ["<f8", [2, 3], "C", {"$bytes": "AA=="}], "tagged": True}
    found = plain.plain({"type": "msgpack", "tagged": tag})
    assert found == {"$class": "numpy.ndarray", "dtype": "<f8", "shape": [2, 3]}


def test_what_only_a_serializer_reads_has_a_type_and_a_size() -> None:
    for size in range(7):
        encoded = json_codec.opaque("msgpack+aes", b"x" * size)
        found = plain.plain(orjson.loads(encoded.text()))
        assert found == {"$opaque": "msgpack+aes", "bytes": size}
        assert plain.is_opaque(found)
    assert not plain.is_opaque({"$opaque": "a user's"})


@examples(300)
@given(values)
def test_every_value_has_plain_data_that_is_json(value: Any) -> None:
    try:
        given_ = stored(value)
    except TypeError:
        return
    json.dumps(plain.plain(given_), allow_nan=False)
    plain.message_of(given_)
    plain.messages_of(given_)


def test_altered_values_raise_value_error() -> None:
    """And nothing else."""
    document = stored({"m": [HumanMessage("Hi"), Point(0.1 + 0.2)], "d": date(2026, 1, 2)})
    for _, _, damage in damages(document):
        for read in (plain.plain, plain.message_of, plain.messages_of):
            with suppress(ValueError):
                read(damage)


# ---- messages

CALL = {"name": "track", "args": {"parcel": 7}, "id": "c1"}


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (HumanMessage("Hi", id="m1", name="Ada"), Message("human", "m1", "Ada", "Hi")),
        (SystemMessage("Be kind"), Message("system", None, None, "Be kind")),
        (
            AIMessage("", tool_calls=[CALL]),
            Message("ai", None, None, "", (), (ToolCall("c1", "track", {"parcel": 7}),)),
        ),
        (AIMessageChunk(content="part"), Message("ai", None, None, "part")),
        (ChatMessage(content="Hm", role="critic"), Message("critic", None, None, "Hm")),
        (RemoveMessage(id="m1"), Message("remove", "m1", None, "")),
        (
            ToolMessage("no", tool_call_id="c1", name="track", status="error"),
            Message("tool", None, "track", "no", (), (), "c1", True),
        ),
        (
            HumanMessage([{"type": "text", "text": "a"}, "b", {"type": "image", "url": "u"}]),
            Message("human", None, None, "a\nb", ({"type": "image", "url": "u"},)),
        ),
        ({"role": "user", "content": "Hi"}, Message("human", None, None, "Hi")),
        (
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "function": {"name": "track", "arguments": '{"parcel": 7}'}}
                ],
            },
            Message("ai", None, None, "", (), (ToolCall("c1", "track", {"parcel": 7}),)),
        ),
        # What is no message.
        ({"type": "human", "content": "a user's own dict"}, None),
        ({"$class": "m.M", "fields": {"content": "", "type": "ai"}}, None),
        ({"role": "user"}, None),
        ({"role": 7, "content": "x"}, None),
        ({"role": "user", "content": 7}, None),
        (Point(1.0), None),
        ("text", None),
        ([], None),
    ],
)
def test_one_view_of_every_message(given_: Any, message: Message | None) -> None:
    assert plain.message_of(stored(given_)) == message
    others = [{"role": "user", "content": "x"}]
    found = plain.messages_of(stored([given_, *others]))
    assert found == ([message] if message else []) + [Message("human", None, None, "x")]


def test_messages_of_values_that_are_no_lists() -> None:
    for value in (None, 7, "x", {"role": "user", "content": "x"}, b"x"):
        assert plain.messages_of(stored(value)) == []
    assert plain.messages_of([stored("x"), {"json": {"role": "user", "content": "x"}}]) == [
        Message("human", None, None, "x")
    ]


@pytest.mark.parametrize(
    ("block", "name"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAAAA=="}},
            "image: png, 4 bytes",
        ),
        ({"type": "image_url", "image_url": {"url": "https://x/a.png"}}, "image: https://x/a.png"),
        ({"type": "image_url", "image_url": "https://x/a.png"}, "image: https://x/a.png"),
        ({"type": "image", "base64": "AAAA", "mime_type": "image/jpeg"}, "image: jpeg, 3 bytes"),
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
            },
            "image: png, 3 bytes",
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "AAAA"}},
            "file: a.pdf, 3 bytes",
        ),
        ({"type": "file", "file_id": "f1", "mime_type": "application/pdf"}, None),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, None),
        ({"type": "reasoning", "reasoning": "Hm."}, "reasoning: Hm."),
        ({"type": "thinking", "thinking": "Hm."}, "reasoning: Hm."),
        ({"type": "new"}, "new"),
        ({}, "content"),
    ],
)
def test_a_block_has_a_name(block: dict[str, Any], name: str | None) -> None:
    expected = {
        "file": "file: application/pdf, f1",
        "input_audio": "audio: wav, 3 bytes",
    }
    assert plain.block_name(block) == (name or expected[block["type"]])

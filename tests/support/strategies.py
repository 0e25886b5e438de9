"""Hypothesis strategies for every kind of value that JsonPlusSerializer takes, and how two of
them are compared.

HYPOTHESIS_PROFILE=long runs each property many times longer than the suite does.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import ipaddress
import os
import pathlib
import re
import struct
import zoneinfo
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import Item
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel, SecretStr

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"


def examples(count: int, **options: Any) -> settings:
    """Settings of a property that the suite checks with this many examples."""
    return settings(
        max_examples=count * 50 if LONG else count,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        **options,
    )


# ---- classes of a user's own


class Point(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Order:
    number: Any
    lines: Any = None


@dataclasses.dataclass(frozen=True, order=True)
class Money:
    amount: int
    currency: str


class Person(BaseModel):
    name: Any
    tags: Any = None


class Color(enum.Enum):
    RED = "red"
    DEEP = ("a", 1)


class Level(enum.IntEnum):
    LOW = 1


class Plain:
    """A class that only pickle can serialize."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is Plain and same(other.value, self.value)

    __hash__ = None  # type: ignore[assignment]


# ---- values


OURS = (
    *("$class", "$ext", "$bytes", "$float", "$map", "$dict", "$msgpack", "$stored", "$", "$$"),
    *("type", "json", "tagged", "base64", "blob", "arg", "args", "kwargs", "fields", "method"),
    *("data", "format", "lc", "id"),
)
"""Words that mean something in documents, or to LangChain; as keys of a user's they do not."""

TEXTS = (
    *("", " ", "\0", "a\0b", "\u2028\u2029", "\ufeff", "\uffff", "é", "😀", "\\", '"', "\x7f\x1b"),
    *('{"$stored":', '{"blob":', "$float", "nan", "null", "\ud800", "x\udfffy"),
)

texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=8), st.sampled_from(OURS))

integers = st.one_of(
    st.integers(-2, 300),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from(
        [s * 2**n + d for n in (31, 32, 53, 62) for s in (1, -1) for d in (-1, 0, 1)]
        + [2**63 - 1, 2**63, 2**64 - 1, -(2**63)]
    ),
)

floats = st.one_of(
    st.floats(),
    st.floats(0, 1),
    st.floats(width=32),
    st.integers(-(10**9), 10**9).map(lambda cents: cents / 100),
    st.sampled_from([0.0, -0.0, 1e22, 1e23, 5e-324, 2.0**53, 2.0**63, 2.0**64, 1.0e16]),
)


def is_text(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _is_number(number: float) -> bool:
    return number == number


plain = st.one_of(st.none(), st.booleans(), integers, floats, texts)

_utc = datetime.timezone.utc
_times = st.datetimes(
    timezones=st.sampled_from(
        [
            None,
            _utc,
            datetime.timezone(datetime.timedelta(seconds=-12345)),
            zoneinfo.ZoneInfo("UTC"),
        ]
    )
)

arrays = st.builds(
    lambda kind, shape, order: numpy.ones(shape, dtype=kind, order=order),
    st.sampled_from([numpy.int8, numpy.int64, numpy.float32, numpy.float64, numpy.bool_]),
    st.sampled_from([(), (0,), (3,), (2, 3), (2, 1, 2)]),
    st.sampled_from("CF"),
)

scalars = st.one_of(
    st.binary(max_size=8),
    st.binary(max_size=8).map(bytearray),
    st.uuids(),
    st.decimals(),
    _times,
    st.dates(),
    _times.map(datetime.datetime.timetz),
    st.timedeltas(),
    st.sampled_from(
        [
            *Color,
            *Level,
            *(_utc, datetime.timezone(datetime.timedelta(minutes=90), "named")),
            *(zoneinfo.ZoneInfo("UTC"), zoneinfo.ZoneInfo("Europe/Berlin")),
            *(pathlib.Path("."), pathlib.Path("/a/b c/é"), pathlib.Path("x/y")),
            *(re.compile("a+", re.IGNORECASE), re.compile(rb"\x00[^a]")),
            *(SecretStr("hidden"), SecretStr("")),
            *(ipaddress.ip_address("10.0.0.1"), ipaddress.ip_interface("10.0.0.1/8")),
            RemoveMessage(id="1"),
            *(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_address("::1")),
            *(ipaddress.ip_interface("::1/64"), ipaddress.ip_network("2001:db8::/32")),
        ]
    ),
    st.lists(st.floats(width=32), min_size=14, max_size=18),  # embeddings
    arrays,
    texts.map(lambda text: Money(1, text)),
    st.sampled_from([ValueError("wrong"), KeyError(1)]),
)

keys = st.one_of(
    texts.filter(lambda text: text.isprintable() or "\0" in text),
    st.sampled_from(OURS),
    st.none(),
    st.booleans(),
    integers,
    floats.filter(_is_number),
    st.binary(max_size=4),
    st.uuids(),
    st.dates(),
    st.tuples(integers, texts.map(lambda text: text.encode("utf-8", "replace").decode())),
    st.tuples(st.binary(max_size=2), st.tuples(floats)),
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(texts.filter(is_text), inner, max_size=3),
        st.dictionaries(st.sampled_from(OURS), inner, min_size=1, max_size=3),
        st.dictionaries(keys, inner, max_size=2),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(deque),
        st.sets(st.one_of(integers, st.dates(), st.binary(max_size=2)), max_size=3),
        st.frozensets(st.one_of(floats.filter(_is_number), st.uuids(), st.none()), max_size=3),
        st.tuples(st.sampled_from(_HOLDERS), inner).map(lambda pair: pair[0](pair[1])),
    )


_moment = datetime.datetime(2024, 2, 29, 12, 30, 0, 1, tzinfo=_utc)

_HOLDERS: list[Callable[[Any], Any]] = [
    lambda value: Point(value, [value]),
    lambda value: Order(value, lines={"x": value}),
    lambda value: Person(name=value),
    lambda value: Send("$class", value),
    lambda value: Interrupt(value=value, id="1"),
    lambda value: Command(update=value, resume=[value]),
    _DeltaSnapshot,
    lambda value: HumanMessage("hi", id="1", additional_kwargs={"$float": value}),
    lambda value: AIMessage([{"type": "text", "text": "é", "x": value}]),
    lambda value: AIMessage("", tool_calls=[{"name": "f", "args": {"x": value}, "id": "1"}]),
    lambda value: ToolMessage("", tool_call_id="1", artifact=value),
    lambda value: Document("text", metadata={"score": value}),
    lambda value: Item(
        value={"x": value},
        key="k",
        namespace=("a", "b"),
        created_at=_moment,
        updated_at=_moment,
    ),
]


values = st.recursive(st.one_of(plain, scalars), _nested, max_leaves=8)
"""Any nested value that JsonPlusSerializer takes."""

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), integers, floats, texts.filter(is_text)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(OURS), inner, max_size=3),
        st.dictionaries(texts.filter(is_text), inner, max_size=3),
    ),
    max_leaves=8,
)


def same(left: Any, right: Any) -> bool:
    """Whether two values are of the same type and equal in every bit, in the same order."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, (list, tuple, deque, set, frozenset)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):  # NaN is not equal to itself
        return struct.pack("d", left) == struct.pack("d", right)
    if left is None or callable(left) or isinstance(left, (int, str, bytes, re.Pattern)):
        return bool(left == right)
    return same(left.__reduce_ex__(4), right.__reduce_ex__(4))  # the state that pickle would keep

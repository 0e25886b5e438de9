"""Filters without a server: two values have the same token exactly if they match."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redisvl.query.filter import FilterExpression

from langgraph_redis_json.arguments import Target
from langgraph_redis_json.operations.list import Wanted
from langgraph_redis_json.search import filters
from langgraph_redis_json.search.filters import same
from langgraph_redis_json.storage.keys import metadata_tokens, namespace_token, thread_token
from tests.support.checkpoints import spelled

# No time limit for an example: the machine may be busy.
quick = settings(max_examples=100, deadline=None)
thorough = settings(max_examples=500, deadline=None)

numbers = (
    st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e18, max_value=1e18)
    | st.integers(-3, 3)
    | st.integers(-3, 3).map(float)
)
scalars = st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text("ab$\0é", max_size=2), inner, max_size=4)
    ),
    max_leaves=8,
)


def respelled(value: Any) -> Any:
    """The same JSON value in other Python types and order."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and float(value) == value and abs(value) < 2**53:
        return float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: respelled(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return tuple(map(respelled, value))
    if isinstance(value, tuple):
        return list(map(respelled, value))
    return value


def token(value: Any, key: str = "key") -> str:
    # A number without an index field gets an additional token, for ranges.
    return metadata_tokens({key: value})[0]


def read(filter: dict[str, Any]) -> filters.Filter:
    return filters.read(filter, {})


@thorough
@given(json_values, json_values)
@example(True, 1)
@example(False, 0)
@example([True], [1])
@example({"a": False}, {"a": 0})
@example(1, 1.0)
@example(0, -0.0)
@example(2**53, float(2**53))
@example(2**63, float(2**63))
@example("1", 1)
@example(None, "null")
@example([], {})
@example({"a": None}, {})
@example("é", "e\u0301")
def test_values_match_exactly_if_their_tokens_are_equal(left: Any, right: Any) -> None:
    assert same(left, right) == (token(left) == token(right))
    assert same(left, right) == same(right, left)


@quick
@given(json_values)
def test_a_value_matches_other_python_forms_of_itself(value: Any) -> None:
    assert same(value, value)
    assert same(value, respelled(value))
    assert token(value) == token(respelled(value))


@quick
@given(json_values)
def test_matching_values_are_equal(value: Any) -> None:
    # In addition, Python distinguishes bools from numbers, and lists from tuples.
    for other in (value, [value], {"a": value}):
        if same(value, other):
            assert value == other


def test_true_is_not_one() -> None:
    assert not same(True, 1)
    assert not same(1.0, True)
    assert not same({"a": [False]}, {"a": [0]})
    assert same(True, True)
    assert same(1, 1.0)


def test_different_keys_have_different_tokens() -> None:
    keys = ["a", "a1", "b", "A", "", "a:1", 'a"', "a\0", "a,", "é", "thread_id"]
    found = {token(value, key) for key in keys for value in (1, 11, "1", None)}
    found |= {thread_token(key) for key in keys}
    found |= {namespace_token(key) for key in keys}
    assert len(found) == 6 * len(keys)


@pytest.mark.parametrize(
    ("filter", "metadata", "expected"),
    [
        ({}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1, "b": 3}, {"a": 1, "b": 2}, False),
        ({"a": None}, {}, True),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {"a": 0}, False),
        ({"a": 0}, {}, False),
        ({"a": {"b": None}}, {"a": {}}, False),
        ({"a": float("nan")}, {"a": float("nan")}, False),
    ],
)
def test_a_missing_key_counts_as_none(
    filter: dict[str, Any], metadata: dict[str, Any], expected: bool
) -> None:
    assert read(filter).matches(metadata) is expected


class Colour(enum.Enum):
    RED = "red"


NO_JSON = [Colour.RED, b"red", {1, 2}, Decimal(1), UUID(int=1), {1: 2}, 2**70, object(), "\ud800"]


@pytest.mark.parametrize("value", NO_JSON, ids=spelled)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"a": v}])
def test_values_that_are_not_json_are_compared_in_python(value: Any, wrap: Any) -> None:
    # One token stands for all such values of a key, and a search for JSON looks there too.
    value = wrap(value)
    assert token(value) == token(object())
    assert token(value) != token(object(), "another key")
    assert token(value) in str(read({"key": "red"}).expression())
    assert read({"key": value}).expression() is filters.EVERYTHING
    assert not read({"key": value}).is_exact
    assert read({"key": "red"}).is_exact
    assert same(value, value)


def test_none_is_compared_in_python() -> None:
    assert read({"key": None}).expression() is filters.EVERYTHING
    assert not read({"key": None}).is_exact


texts = st.text(st.characters(exclude_categories=["Cs"]))


@quick
@given(st.none() | texts, st.none() | texts, st.dictionaries(texts, json_values, max_size=3))
def test_user_text_never_appears_in_a_query(
    thread_id: str | None, checkpoint_ns: str | None, filter: dict[str, Any]
) -> None:
    target = thread_id and Target(thread_id, thread_id, checkpoint_ns, None)
    given = {
        key: dict.fromkeys(("$eq", "$ne"), value) | {"$in": [value, 1]}
        for key, value in filter.items()
    }
    found = Wanted(target or None, read(given), None, False).expression()
    assert isinstance(found, FilterExpression)
    assert set(str(found)) <= set("@tokensfrma:{}|() *0123456789abcdef[]+-in")
    clauses = [value for value in filter.values() if value is not None]
    places = 0 if not target else 1 if checkpoint_ns is None else 2
    assert str(found).count("@tokens:") == places + 2 * len(clauses)

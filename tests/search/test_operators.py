"""Filters with operators match what a plain model matches, with and without typed fields."""

from __future__ import annotations

import enum
from itertools import count
from typing import Any

import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st

from langgraph_redis_json import MetadataFieldMissingError, RedisSaver
from tests.support.checkpoints import config, each_saver, ids, put
from tests.support.clients import ACL_USER, Client, MakeSaver, Saver
from tests.support.strategies import examples

FIELDS = {"n": "numeric", "t": "tag", "step_count": "numeric"}
KEYS = ["n", "t", "step", "free", "step_count"]


class Size(enum.IntEnum):
    SMALL = 1


numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(-3, 3).map(float),
    st.sampled_from([0.1, 0.3, 0.1 + 0.2, 1 / 3, 2 / 3, 1e300, -1e300, 5e-324, 1e-7]),
    st.sampled_from([2**53, 2**53 + 1, 2**53 - 1, 2.0**53, 2**63 - 1, -(2**63), 2**64 - 1]),
    st.sampled_from([float("inf"), float("-inf"), -0.0, 1e22, 1e23]),
    st.floats(allow_nan=False, allow_infinity=False),
)
texts = st.sampled_from(["", "a", "b", "B", "ab", "é", "1", "-inf", "[1 2]", '"} | *', "x\x1f"])
others = st.sampled_from([None, True, False, [1], [], {}, {"a": 1}, ["a"], Size.SMALL])
values = numbers | texts | others
metadata = st.dictionaries(st.sampled_from(KEYS), values, max_size=4)
literal = values.filter(lambda value: not isinstance(value, dict))
conditions = st.one_of(
    literal,
    st.dictionaries(
        st.sampled_from(["$gt", "$gte", "$lt", "$lte"]),
        numbers | texts | st.sampled_from([10**30, -(10**400)]),
        min_size=1,
        max_size=2,
    ),
    st.fixed_dictionaries({"$eq": values}),
    st.fixed_dictionaries({"$ne": values}),
    st.fixed_dictionaries({"$in": st.lists(values, max_size=3)}),
    st.fixed_dictionaries({"$gte": numbers, "$ne": values, "$in": st.lists(numbers, max_size=3)}),
)
filters = st.dictionaries(st.sampled_from(KEYS), conditions, min_size=1, max_size=2)


def meets(value: Any, condition: Any) -> bool:
    """An independent implementation of the operators."""
    if not isinstance(condition, dict) or not condition:
        condition = {"$eq": condition}
    for operator, operand in condition.items():
        comparable = (isinstance(value, str) and isinstance(operand, str)) or (
            isinstance(value, (int, float))
            and isinstance(operand, (int, float))
            and bool not in (type(value), type(operand))
        )
        if operator in ("$gt", "$gte", "$lt", "$lte"):
            if not comparable:
                return False
            kept = {
                "$gt": lambda v, o: v > o,
                "$gte": lambda v, o: v >= o,
                "$lt": lambda v, o: v < o,
                "$lte": lambda v, o: v <= o,
            }[operator](value, operand)
        elif operator == "$in":
            kept = any(equal(value, one) for one in operand)
        else:
            kept = equal(value, operand) is (operator == "$eq")
        if not kept:
            return False
    return True


def equal(left: Any, right: Any) -> bool:
    return (type(left) is bool) is (type(right) is bool) and left == right


_threads = count()


def check(saver: Saver, stored: list[dict[str, Any]], filter: dict[str, Any]) -> None:
    thread = f"thread {next(_threads)}"
    for number, one in enumerate(stored):
        put(saver, f"{number}", thread_id=thread, metadata=one)
    expected = [
        f"{number}"
        for number, one in reversed(list(enumerate(stored)))
        if all(meets(one.get(key), condition) for key, condition in filter.items())
    ]
    assert ids(saver.list(config(thread), filter=filter)) == expected
    assert ids(saver.list(config(thread), filter=filter, limit=1)) == expected[:1]
    rows = [row.thread_id for row in saver.threads(filter)]
    assert (thread in rows) is (bool(stored) and f"{len(stored) - 1}" in expected)


@pytest.fixture(scope="module")
def typed_and_not(redis_url: str) -> Any:
    """Savers of two applications, of which one has declared fields."""
    made = [
        RedisSaver(redis_url, key_prefix="test-operators-typed:", metadata_fields=FIELDS),
        RedisSaver(redis_url, key_prefix="test-operators-untyped:"),
    ]
    for saver in made:
        saver.setup()
    yield made
    with redis.Redis.from_url(redis_url.replace(ACL_USER, "")) as client:
        for index in client.execute_command("FT._LIST"):
            if index.startswith(b"test-operators-"):
                client.execute_command("FT.DROPINDEX", index)
        for key in client.scan_iter("test-operators-*", count=1_000):
            client.unlink(key)


@examples(60)
@given(st.lists(metadata, max_size=6), filters)
@example([{"n": 0.1 + 0.2}, {"n": 0.3}], {"n": {"$gt": 0.3}})
@example([{"n": 2**53 + 1}, {"n": 2**53}], {"n": {"$gt": 2**53}})
@example([{"n": Size.SMALL}, {"n": "1"}, {"n": [1]}], {"n": {"$gte": 1}})
@example([{"step": 1.5}, {"step": 2}, {"step": True}, {"step": 1 / 3}], {"step": {"$lt": 2}})
@example([{"n": float("inf")}, {"n": 1e308}], {"n": {"$gt": 1e308}})
@example([{"n": 1}], {"n": {"$lt": 10**400}})
def test_any_filter_matches_the_model(
    typed_and_not: list[RedisSaver], stored: list[dict[str, Any]], filter: dict[str, Any]
) -> None:
    for saver in typed_and_not:
        check(saver, stored, filter)


# ---- bad input


@each_saver
@pytest.mark.parametrize(
    ("filter", "why"),
    [
        ({"a": {"$near": 1}}, r"\$near.*use one of \$eq, \$ne, \$gt, \$gte, \$lt, \$lte, \$in"),
        ({"a": {"$gte": 1, "b": 2}}, "the unknown operator 'b'"),
        ({"a": {"$eq": 1, "$": 2}}, r"'\$'"),
        ({"a": {"$stored": {}}}, r'pass \{.a.: \{"\$eq": …\}\}'),
        ({"a": {"$gt": [1]}}, r"compares numbers or strings.*\[1\]"),
        ({"a": {"$lt": {"b": 1}}}, "compares numbers or strings"),
        ({"a": {"$gte": None}}, "compares numbers or strings.*None"),
        ({"a": {"$gte": True}}, "compares numbers or strings.*True"),
        ({"a": {"$lte": float("nan")}}, "compares numbers or strings.*nan"),
        ({"a": {"$in": "abc"}}, r"\$in takes a list"),
        ({"a": {"$in": {"b": 1}}}, r"\$in takes a list"),
        ({"about": {"$gt": "a"}}, "has no ranges"),
    ],
)
def test_an_invalid_filter_is_refused(
    make_saver: MakeSaver, client: Client, filter: dict[str, Any], why: str
) -> None:
    saver = make_saver(client, metadata_fields={"about": "text"})
    # At the call, before anything is iterated.
    for call in (
        lambda: saver.list(None, filter=filter),
        lambda: saver.list(config(), filter=filter),
        lambda: saver.alist(None, filter=filter),
        lambda: saver.threads(filter),
        lambda: saver.athreads(filter),
    ):
        with pytest.raises(ValueError, match=why):
            call()


@each_saver
def test_an_invalid_config_is_refused_at_once(saver: Saver) -> None:
    wrong: list[Any] = [{}, {"thread_id": "a", "checkpoint_ns": 1}, {"thread_id": "\ud800"}]
    for configurable in wrong:
        for call in (saver.list, saver.alist):
            with pytest.raises((ValueError, TypeError)):
                call({"configurable": configurable})


@each_saver
def test_eq_finds_a_dict_with_operator_keys(saver: Saver) -> None:
    stored = [{"$gte": 1}, {"$near": [1]}, {"$eq": {"$eq": 1}}, {}]
    for number, value in enumerate(stored):
        put(saver, f"{number}", metadata={"key": value})
    for number, value in enumerate(stored):
        assert ids(saver.list(None, filter={"key": {"$eq": value}})) == [f"{number}"]
        assert ids(saver.list(None, filter={"key": {"$in": [value, 5]}})) == [f"{number}"]
        found = ids(saver.list(None, filter={"key": {"$ne": value}}))
        assert found == [f"{other}" for other in (3, 2, 1, 0) if other != number]


# ---- fields that the index does not have


@each_saver
def test_a_range_over_a_missing_index_field_raises(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    put(make_saver(client), "1", metadata={"n": 5})
    new = make_saver(client, setup=False, metadata_fields={"n": "numeric"})
    for call in (
        lambda: list(new.list(None, filter={"n": {"$gt": 1}})),
        lambda: list(new.list(None, filter={"n": {"$gt": 1}}, limit=1)),
        lambda: list(new.threads({"n": {"$gt": 1}})),
        lambda: list(new.threads({"n": {"$gt": 1}}, limit=1)),
    ):
        with pytest.raises(MetadataFieldMissingError, match=r'not have the metadata field "n"'):
            call()
    # Filters that need no field work.
    assert ids(new.list(None, filter={"n": 5})) == ["1"]
    assert ids(new.list(config(), filter={"n": {"$in": [5]}})) == ["1"]
    # Another saver has declared it as something else.
    make_saver(client, metadata_fields={"n": "tag"})
    with pytest.raises(MetadataFieldMissingError, match="does not have"):
        list(new.list(None, filter={"n": {"$gt": 1}}))

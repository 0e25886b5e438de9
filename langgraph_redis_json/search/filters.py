"""A metadata filter -> a search, and the exact check of the results.

The index holds a *token* for each metadata pair, a hash of its key and value (`storage/keys.py`):
any key and any JSON value can be searched for, and nothing in them can break out of a query. It
holds the numbers of some keys, for ranges. The search proposes checkpoints, `Filter.matches`
decides.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from redisvl.query.filter import FilterExpression, Tag

from langgraph_redis_json.storage import keys

RANGES: Mapping[str, Callable[[Any, Any], Any]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}

OPERATORS = ("$eq", "$ne", *RANGES, "$in")
"""The operators of LangGraph's store filters, and $in."""

EVERYTHING = FilterExpression("@format:[-inf +inf]")
"""A search for all documents. (A cursor over ``*`` misses documents that are written again while
it reads.)"""


class Condition(NamedTuple):
    """One condition of a filter.

    Attributes:
        key: the metadata key.
        operator: one of OPERATORS.
        operand: the metadata's value is compared with this.
        clause: a clause of the search that finds all checkpoints that meet the condition, and few
            others; None if the index cannot find them.
        field: the user's metadata field that the clause uses, if it uses one.
    """

    key: str
    operator: str
    operand: Any
    clause: FilterExpression | None
    field: str | None = None


@dataclass(frozen=True)
class Filter:
    """A metadata filter, checked. A checkpoint must meet all conditions."""

    conditions: tuple[Condition, ...] = ()

    @property
    def fields(self) -> set[str]:
        """The user's metadata fields that a search uses."""
        return {condition.field for condition in self.conditions if condition.field}

    @property
    def is_exact(self) -> bool:
        """Whether every condition is a clause of the search."""
        return all(condition.clause for condition in self.conditions)

    def expression(self, *also: FilterExpression) -> FilterExpression:
        """The search for all conditions and for other clauses."""
        clauses = [*also, *(found.clause for found in self.conditions if found.clause)]
        if not clauses:
            return EVERYTHING
        return FilterExpression(" ".join(str(clause) for clause in clauses))

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether the metadata meets every condition. An absent key counts as None, as in
        LangGraph's InMemorySaver; but True is not 1."""
        return all(
            _meets(metadata.get(key), operator, operand)
            for key, operator, operand, *_ in self.conditions
        )


def read(filter: Mapping[str, Any] | None, kinds: Mapping[str, str]) -> Filter:
    """Read the argument ``filter=``.

    Args:
        filter: metadata key -> the JSON value that it must have, or a dict of operators.
        kinds: the user's metadata fields -> "tag", "numeric" or "text".

    Raises:
        ValueError: for an unknown operator, or an operand that the operator does not take.
        TypeError: if the filter is not a dict.
    """
    if not isinstance(filter, (Mapping, type(None))):
        raise TypeError(f"a filter is a dict of metadata keys and values, not {filter!r:.100}")
    for key in filter or ():
        if not isinstance(key, str):
            raise TypeError(f"the keys of a filter are metadata keys, which are text, not {key!r}")
    return Filter(
        tuple(
            _condition(key, operator, operand, kinds)
            for key, value in (filter or {}).items()
            for operator, operand in _operators(key, value)
        )
    )


def _operators(key: str, value: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return [("$eq", value)]
    signs = [member for member in value if isinstance(member, str) and member.startswith("$")]
    if not signs:
        return [("$eq", value)]
    for member in value:
        if member not in OPERATORS:
            raise ValueError(
                f"the filter of {key!r:.100} has the unknown operator {member!r:.100}: use one of "
                f"{', '.join(OPERATORS)}. To find exactly this dict, pass "
                f'{{{key!r:.100}: {{"$eq": …}}}}'
            )
    return value.items()


def _condition(key: str, operator: str, operand: Any, kinds: Mapping[str, str]) -> Condition:
    if operator in RANGES:
        if not _is_number(operand) and not isinstance(operand, str):
            raise ValueError(
                f"{operator} compares numbers or strings, but the filter of {key!r:.100} "
                f"gives it {operand!r:.100}"
            )
        if kinds.get(key) == "text":
            raise ValueError(
                f"the metadata field {key!r} is of type text, which has no ranges: declare it as "
                f'"tag" or "numeric", or leave {operator} out'
            )
        if isinstance(operand, str) or (key != "step" and kinds.get(key) != "numeric"):
            return Condition(key, operator, operand, None)
        clause = _range(key, operator, operand)
        return Condition(key, operator, operand, clause, None if key == "step" else key)
    if operator == "$in":
        if not isinstance(operand, (list, tuple)):
            raise ValueError(
                f"$in takes a list of values, but the filter of {key!r:.100} "
                f"gives it {operand!r:.100}"
            )
        return Condition(key, operator, operand, _any_of(key, operand))
    return Condition(key, operator, operand, _any_of(key, [operand]) if operator == "$eq" else None)


def _any_of(key: str, values: Iterable[Any]) -> FilterExpression | None:
    tokens = []
    for value in values:
        # A checkpoint without the key has the value None, but no token.
        token = None if value is None else keys.pair_token(key, value)
        if token is None:
            return None
        tokens.append(token)
    # A value that is not JSON, an enum for example, may equal one of these too.
    return Tag("tokens") == [*tokens, keys.opaque_token(key)]


def _range(key: str, operator: str, bound: float) -> FilterExpression:
    # The index has doubles, so the search may also find numbers next to the bound.
    try:
        number = float(bound)
    except OverflowError:
        number = inf if bound > 0 else -inf
    low, high = (number, inf) if operator in ("$gt", "$gte") else (-inf, number)
    return FilterExpression(
        f"(@{key}:[{low!r} {high!r}] | {Tag('tokens') == keys.number_token(key)})"
    )


def _meets(value: Any, operator: str, operand: Any) -> bool:
    match operator:
        case "$eq":
            return same(operand, value)
        case "$ne":
            return not same(operand, value)
        case "$in":
            return any(same(one, value) for one in operand)
    if isinstance(operand, str):
        return isinstance(value, str) and bool(RANGES[operator](str(value), str(operand)))
    return _is_number(value) and bool(RANGES[operator](value, operand))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float)) and value == value  # NaN is not equal to itself


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0, True equals neither, at any depth."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


# ---- other clauses


def in_thread(thread_id: str) -> FilterExpression:
    return Tag("tokens") == keys.thread_token(thread_id)


def in_namespace(checkpoint_ns: str) -> FilterExpression:
    return Tag("tokens") == keys.namespace_token(checkpoint_ns)


def runs_expression(run_ids: Iterable[str]) -> FilterExpression:
    """The checkpoints of any of these runs."""
    return Tag("tokens") == [keys.pair_token("run_id", run_id) for run_id in run_ids]

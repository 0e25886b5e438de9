"""A metadata filter -> a search, and the exact check of what it finds.

Each metadata pair of a checkpoint is indexed as a *token*, a hash of its key and value:
any key and any JSON value, with nothing to escape and nothing to inject. The thread and
the namespace are tokens too. Numbers of some keys are indexed as such, for ranges. Search
proposes, `Filter.matches` decides.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import inf
from typing import Any, NamedTuple

import orjson
from redisvl.query.filter import FilterExpression, Tag

from langgraph_redis_json.values import is_kept

RANGES: Mapping[str, Callable[[Any, Any], Any]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}

OPERATORS = ("$eq", "$ne", *RANGES, "$in")
"""The operators of LangGraph's store filters, and $in."""

EVERYTHING = FilterExpression("@format:[-inf +inf]")
"""A search for all documents."""


class Condition(NamedTuple):
    """One thing that a filter asks for.

    Attributes:
        key: the metadata key.
        operator: one of OPERATORS.
        operand: what the metadata's value is compared with.
        clause: finds, by the index, all that meet the condition and few that do not; None if no
            clause can.
        field: the index's field that the clause asks, if it is one of the user's own.
    """

    key: str
    operator: str
    operand: Any
    clause: FilterExpression | None
    field: str | None = None


@dataclass(frozen=True)
class Filter:
    """A metadata filter, read and checked.

    Attributes:
        conditions: all of them must be met.
    """

    conditions: tuple[Condition, ...] = ()

    @property
    def fields(self) -> set[str]:
        """The user's own fields that a search asks."""
        return {condition.field for condition in self.conditions if condition.field}

    @property
    def is_exact(self) -> bool:
        """Whether every condition is a clause of the search."""
        return all(condition.clause for condition in self.conditions)

    def expression(self, *also: FilterExpression) -> FilterExpression:
        """What to search for, besides what else is given."""
        clauses = [*also, *(found.clause for found in self.conditions if found.clause)]
        if not clauses:
            return EVERYTHING
        return FilterExpression(" ".join(str(clause) for clause in clauses))

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether the metadata meets every condition. As LangGraph's InMemorySaver has it, a key
        that is not there counts as None; but True is not 1."""
        return all(
            _meets(metadata.get(key), operator, operand)
            for key, operator, operand, *_ in self.conditions
        )


ANY = Filter()
"""What every checkpoint meets."""


def read(filter: Mapping[str, Any] | None, kinds: Mapping[str, str]) -> Filter:
    """What a caller passes as filter.

    Args:
        filter: metadata keys, and the JSON values that they must have or dicts of operators.
        kinds: the user's own fields, and what they are: "tag", "numeric" or "text".

    Raises:
        ValueError: for an operator that there is not, or an operand that it does not take.
        TypeError: if the filter is no dict.
    """
    if not isinstance(filter, (Mapping, type(None))):
        raise TypeError(f"a filter is a dict of metadata keys and values, not {filter!r:.100}")
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
                f"the filter of {key!r:.100} has {member!r:.100} among its operators, and there "
                f"are only {', '.join(OPERATORS)}. To find this very dict, say "
                f'{{{key!r:.100}: {{"$eq": …}}}}'
            )
    return value.items()


def _condition(key: str, operator: str, operand: Any, kinds: Mapping[str, str]) -> Condition:
    if operator in RANGES:
        if not _is_number(operand) and not isinstance(operand, str):
            raise ValueError(
                f"{operator} compares numbers or texts, and the filter of {key!r:.100} "
                f"gives it {operand!r:.100}"
            )
        if kinds.get(key) == "text":
            raise ValueError(
                f"the metadata field {key!r} is text, which has no ranges: declare it as "
                f'"tag" or "numeric", or leave {operator} out'
            )
        if isinstance(operand, str) or (key != "step" and kinds.get(key) != "numeric"):
            return Condition(key, operator, operand, None)
        clause = _range(key, operator, operand)
        return Condition(key, operator, operand, clause, None if key == "step" else key)
    if operator == "$in":
        if not isinstance(operand, (list, tuple)):
            raise ValueError(
                f"$in takes a list of values, and the filter of {key!r:.100} "
                f"gives it {operand!r:.100}"
            )
        return Condition(key, operator, operand, _any_of(key, operand))
    return Condition(key, operator, operand, _any_of(key, [operand]) if operator == "$eq" else None)


def _any_of(key: str, values: Iterable[Any]) -> FilterExpression | None:
    tokens = []
    for value in values:
        # None is what a checkpoint without the key has, and no token tells of that.
        token = None if value is None else _pair_token(key, value)
        if token is None:
            return None
        tokens.append(token)
    # What is stored may be no JSON (an enum, say) and yet equal one of these.
    return Tag("tokens") == [*tokens, _opaque_token(key)]


def _range(key: str, operator: str, bound: float) -> FilterExpression:
    # The index has doubles, so what is next to the bound may be found too.
    try:
        number = float(bound)
    except OverflowError:
        number = inf if bound > 0 else -inf
    low, high = (number, inf) if operator in ("$gt", "$gte") else (-inf, number)
    return FilterExpression(f"(@{key}:[{low!r} {high!r}] | {Tag('tokens') == _number_token(key)})")


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
    return isinstance(value, (int, float)) and value == value  # which NaN is not


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0, True equals neither, at any depth."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


# ---- clauses of other things than filters


def in_thread(thread_id: str) -> FilterExpression:
    return Tag("place") == thread_token(thread_id)


def in_namespace(checkpoint_ns: str) -> FilterExpression:
    return Tag("place") == namespace_token(checkpoint_ns)


def runs_expression(run_ids: Iterable[str]) -> FilterExpression:
    """Checkpoints of any of these runs."""
    return Tag("tokens") == [_pair_token("run_id", run_id) for run_id in run_ids]


# ---- tokens


def thread_token(thread_id: str) -> str:
    return _token("thread", thread_id, b"")


def namespace_token(checkpoint_ns: str) -> str:
    return _token("namespace", checkpoint_ns, b"")


def metadata_tokens(metadata: Mapping[str, Any]) -> list[str]:
    """One token for each pair of a checkpoint's metadata, and one more for each number that no
    numeric field of the index will have."""
    tokens = [_pair_token(key, value) or _opaque_token(key) for key, value in metadata.items()]
    tokens += [
        _number_token(key)
        for key, value in metadata.items()
        if isinstance(value, (int, float)) and not _has_field(key, value)
    ]
    return tokens


def _has_field(key: str, value: float) -> bool:
    """Whether a numeric field finds the number: not one that is stored as a tagged value, for
    RedisJSON would alter it. (The field of step is filled with integers alone.)"""
    kind = type(value)
    return kind is int or kind is bool or (kind is float and key != "step" and is_kept(value))


def _pair_token(key: str, value: Any) -> str | None:
    """None for a value that is no JSON."""
    try:
        text = orjson.dumps(_canonical(value), option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None
    return _token("metadata", key, text)


def _opaque_token(key: str) -> str:
    return _token("opaque", key, b"")


def _number_token(key: str) -> str:
    return _token("number", key, b"")


def _token(kind: str, key: str, value: bytes) -> str:
    # What is large is rarely the same twice.
    hashed = _remembered_hash if len(key) + len(value) < 200 else _hash
    return hashed(kind, key, value)


def _hash(kind: str, key: str, value: bytes) -> str:
    parts = orjson.dumps([kind, key]) + value
    return blake2b(parts, digest_size=8).hexdigest()


_remembered_hash = lru_cache(maxsize=4096)(_hash)


def _canonical(value: Any) -> Any:
    """One spelling for all values that `same` calls equal.

    Raises:
        TypeError: if the value is no JSON. (orjson would write a UUID, say, as text.)
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, (dict, Mapping)):
        return {key: _canonical(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    raise TypeError

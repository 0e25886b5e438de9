"""A metadata filter -> a search, and the exact check of what it finds.

Each metadata pair of a checkpoint is indexed as a *token*, a hash of its key and value:
any key and any JSON value, with nothing to escape and nothing to inject. The thread and
the namespace are tokens too. Search proposes, `matches` decides.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import orjson
from redisvl.query.filter import FilterExpression, Tag


def thread_token(thread_id: str) -> str:
    return _token("thread", thread_id, b"")


def namespace_token(checkpoint_ns: str) -> str:
    return _token("namespace", checkpoint_ns, b"")


def metadata_tokens(metadata: Mapping[str, Any]) -> list[str]:
    """One token for each pair of a checkpoint's metadata."""
    return [_pair_token(key, value) or _opaque_token(key) for key, value in metadata.items()]


def expression(
    thread_id: str | None, checkpoint_ns: str | None, filter: Mapping[str, Any]
) -> FilterExpression:
    """What to search for.

    Args:
        thread_id: None for all threads.
        checkpoint_ns: None for all namespaces.
        filter: metadata keys and the values that they must have.
    """
    clauses: list[FilterExpression] = []
    if thread_id is not None:
        clauses.append(Tag("place") == thread_token(thread_id))
    if checkpoint_ns is not None:
        clauses.append(Tag("place") == namespace_token(checkpoint_ns))
    for key, value in filter.items():
        if token := _searchable(key, value):
            # What is stored may be no JSON (an enum, say) and yet equal this.
            clauses.append(Tag("tokens") == [token, _opaque_token(key)])
    return _all(clauses)


def runs_expression(run_ids: Iterable[str]) -> FilterExpression:
    """Checkpoints of any of these runs."""
    return Tag("tokens") == [_pair_token("run_id", run_id) for run_id in run_ids]


def is_exact(filter: Mapping[str, Any]) -> bool:
    """Whether every pair of the filter is a clause of `expression`."""
    return all(_searchable(key, value) for key, value in filter.items())


def matches(filter: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Whether the metadata has every pair of the filter, as LangGraph's InMemorySaver has it:
    a key that is not there counts as None. But True is not 1."""
    return all(same(value, metadata.get(key)) for key, value in filter.items())


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0, True equals neither, at any depth."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _all(clauses: Iterable[FilterExpression]) -> FilterExpression:
    whole = FilterExpression("*")
    for clause in clauses:
        whole = clause if str(whole) == "*" else whole & clause
    return whole


def _searchable(key: str, value: Any) -> str | None:
    # None is what a checkpoint without the key has, and no token tells of that.
    return None if value is None else _pair_token(key, value)


def _pair_token(key: str, value: Any) -> str | None:
    """None for a value that is no JSON."""
    try:
        text = orjson.dumps(_canonical(value), option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None
    return _token("metadata", key, text)


def _opaque_token(key: str) -> str:
    return _token("opaque", key, b"")


def _token(kind: str, key: str, value: bytes) -> str:
    parts = orjson.dumps([kind, key]) + value
    return blake2b(parts, digest_size=8).hexdigest()


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
    if isinstance(value, Mapping):
        return {key: _canonical(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    raise TypeError

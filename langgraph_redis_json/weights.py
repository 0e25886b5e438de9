"""How long values keep a processor busy: a guess. What takes long, a saver that shares an event
loop with others does in a thread."""

from collections import deque
from collections.abc import Iterable
from typing import Any

LONG = 64_000
"""Bytes of text, or an equal amount of other work, from which on a thread pays: to encode or
decode as much takes some milliseconds, to hand it to a thread a tenth of one."""

NODE = 100
"""Bytes of text that take as long as one value among many does."""

DEPTH = 8
"""Levels of a value that are looked into."""


def are_long(values: Iterable[Any]) -> bool:
    """Whether it takes long to encode these."""
    return sum(_weight(value, DEPTH) for value in values) > LONG


def is_large(reply: Any) -> bool:
    """Whether it takes long to decode what Redis sent, texts in lists."""
    return _length(reply) > LONG


def _length(reply: Any) -> int:
    total = 0
    for part in reply:
        if type(part) is bytes or type(part) is str:
            total += len(part)
        elif type(part) is list:
            total += _length(part)
    return total


def _weight(value: Any, depth: int) -> int:
    """From two members at each level: in a list of many, most are alike."""
    kind = type(value)
    if kind is str or kind is bytes:
        return NODE + len(value)
    if kind is int or kind is float or kind is bool or value is None:
        return NODE
    if isinstance(value, (list, tuple)):
        count = len(value)
        some = value if count <= 2 else (value[0], value[-1])
    elif isinstance(value, dict):
        count = len(value)
        some = [*value.values()] if count <= 16 else [next(iter(value.values()))]
    elif hasattr(value, "__dict__"):
        some = [*value.__dict__.values()]
        count = len(some)
    else:
        # Arrays, then sets and the like; anything else is small or rare.
        size = getattr(value, "nbytes", None)
        if isinstance(value, (set, frozenset, deque, bytearray)):
            size = NODE * len(value)
        return NODE + (size if type(size) is int else 0)
    if not count or not depth:
        return NODE * (1 + count)
    return NODE + count * sum([_weight(part, depth - 1) for part in some]) // len(some)

"""Which steps of a plan take long, and the threads that run them beside an event loop."""

import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LONG = 64_000
"""Bytes of text, or as much other work, from which a thread pays: to encode or decode them takes
some milliseconds, to hand them to a thread a tenth of one."""

NODE = 100
"""Bytes of text that take as long as one value among many does."""

DEPTH = 8
"""Levels of a value that are looked into."""

THREADS = min(32, (os.cpu_count() or 1) + 4)
"""Threads of this library in a process. The event loop's own executor would not do: the nodes of a
graph may hold all its threads while they wait for a call of the saver."""

_executors: dict[int, ThreadPoolExecutor] = {}


def executor() -> ThreadPoolExecutor:
    """The threads of this library in this process. A forked process has none of its parent's."""
    process = os.getpid()
    found = _executors.get(process)
    if found is None:
        found = ThreadPoolExecutor(THREADS, thread_name_prefix="langgraph-redis-json")
        found = _executors.setdefault(process, found)
    return found


def are_long(values: Iterable[Any]) -> bool:
    """Whether to encode these values takes long: an estimate."""
    return sum([_weight(value, DEPTH) for value in values]) > LONG


def is_large(replies: Any) -> bool:
    """Whether to decode these replies takes long."""
    return _length(replies) > LONG


def _length(reply: Any) -> int:
    total = 0
    for part in reply:
        if type(part) is bytes or type(part) is str:
            total += len(part)
        elif type(part) is list:
            total += _length(part)
    return total


def _weight(value: Any, depth: int) -> int:
    """The bytes of text that take as long as a value. Two members of each level count for all of
    them, because in a long list most are alike."""
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

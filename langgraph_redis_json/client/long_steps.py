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
"""Bytes of text that take as long to encode as one small value does."""

SMALL = {int, float, bool, type(None)}
"""Types of which every value is small."""

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
    """Whether to encode these values takes long: an estimate from all that is in them. It looks at
    some hundred values at most, because after these the answer is yes."""
    left, unread = LONG, [values]
    while unread:
        for value in unread.pop():
            left -= NODE
            kind = type(value)
            if kind is str or kind is bytes:
                left -= len(value)
            elif kind in SMALL:
                pass
            elif kind is dict:
                unread.append(value.values())
            elif isinstance(value, (list, tuple, set, frozenset, deque)):
                unread.append(value)
            elif isinstance(value, bytearray):
                left -= len(value)
            elif hasattr(value, "__dict__"):
                unread.append(value.__dict__.values())
            else:  # an array, or something small
                size = getattr(value, "nbytes", 0)
                left -= size if type(size) is int else 0
            if left < 0:
                return True
    return False


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

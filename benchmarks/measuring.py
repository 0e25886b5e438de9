"""What the benchmarks share to measure time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from statistics import median
from time import perf_counter
from types import MappingProxyType
from typing import Any

import redis


def seconds(call: Callable[..., Any], *arguments: Any) -> float:
    """How long one call takes."""
    start = perf_counter()
    call(*arguments)
    return perf_counter() - start


def median_times(
    calls: Mapping[str, Callable[..., Any]],
    rounds: int,
    arguments: Mapping[str, Iterator[Any]] = MappingProxyType({}),
) -> dict[str, float]:
    """Run all calls in each round, and return the median seconds of each call.

    The order changes from round to round, because a call leaves data in the processor's caches
    that makes the next call faster or slower.

    Args:
        arguments: yields the arguments of a call; the time to make them is not measured.
    """
    spent: dict[str, list[float]] = {name: [] for name in calls}
    order, random = [*calls.items()], Random(7)
    for _ in range(rounds):
        random.shuffle(order)
        for name, call in order:
            given = next(arguments[name]) if name in arguments else ()
            spent[name].append(seconds(call, *given))
    return {name: median(found) for name, found in spent.items()}


def processor_seconds(client: redis.Redis) -> float:
    """The processor time that a Redis server has used."""
    found = client.info("cpu")
    return float(found["used_cpu_user"] + found["used_cpu_sys"])


def used_memory(client: redis.Redis) -> int:
    """The bytes that a Redis server uses for data and indexes."""
    return int(client.info("memory")["used_memory"])

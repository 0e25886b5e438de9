"""The rule `json_codec.is_kept` against the server, since RedisJSON alters some numbers.

HYPOTHESIS_PROFILE=long tries millions; run it with -s to see what the rule refuses in vain.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import redis

from langgraph_redis_json.storage import json_codec
from tests.support.strategies import LONG

COUNT = 1_000_000 if LONG else 30_000
"""Numbers of each kind."""

BATCH = 50_000


def _double(chance: random.Random) -> float:
    [number] = struct.unpack("d", chance.randbytes(8))
    return number if number == number and abs(number) != float("inf") else -0.0


def _single(number: float) -> float:
    return struct.unpack("f", struct.pack("f", number))[0]


KINDS: dict[str, Callable[[random.Random], float | int]] = {
    "any bits": _double,
    "0 to 1": random.Random.random,
    "normal": lambda chance: chance.gauss(0, 1),
    "money": lambda chance: chance.randrange(-(10**12), 10**12) / 100,
    "summed money": lambda chance: sum(chance.randrange(10**6) / 100 for _ in range(3)),
    "timestamps": lambda chance: chance.randrange(2 * 10**15) / 1_000_000,
    "float32 embeddings": lambda chance: _single(chance.gauss(0, 0.05)),
    "integers as floats": lambda chance: float(chance.getrandbits(chance.randint(1, 70))),
    "subnormal": lambda chance: struct.unpack("d", struct.pack("Q", chance.getrandbits(52)))[0],
    "15 digits": lambda chance: float(f"{chance.getrandbits(49)}e{chance.randint(-40, 40)}"),
    "16 digits": lambda chance: float(f"{chance.getrandbits(53)}e{chance.randint(-25, 25)}"),
    "i64": lambda chance: chance.randrange(-(2**63), 2**63),
    "u64": lambda chance: chance.getrandbits(64),
}

EDGES = [0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 0.3, 1 / 3]
EDGES += [sign * 10.0**power for sign in (1, -1) for power in range(-323, 309)]
EDGES += [float(2**power + more) for power in range(70) for more in (-1, 0, 1)]
EDGES += [2**power + more for power in range(63) for more in (-1, 0, 1)]
EDGES += [-(2**63), 2**63, 2**64 - 1]


@pytest.fixture
def through_redis(redis_client: redis.Redis, key_prefix: str) -> Callable[[list[Any]], list[Any]]:
    """The numbers that the server returns."""

    def store(numbers: list[Any]) -> list[Any]:
        redis_client.execute_command("JSON.SET", key_prefix, "$", orjson.dumps(numbers))
        return orjson.loads(redis_client.execute_command("JSON.GET", key_prefix, "."))

    return store


def _is_kept(number: float | int) -> bool:
    return isinstance(number, int) or json_codec.is_kept(number)


def _is_same(left: Any, right: Any) -> bool:
    if isinstance(left, int) or isinstance(right, int):
        return type(left) is type(right) and left == right
    return struct.pack("d", left) == struct.pack("d", right)


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_that_is_kept_comes_back(kind: str, through_redis: Any) -> None:
    chance = random.Random(kind)
    kept = refused_in_vain = altered = 0
    for start in range(0, COUNT, BATCH):
        numbers = [KINDS[kind](chance) for _ in range(min(BATCH, COUNT - start))]
        for number, found in zip(numbers, through_redis(numbers), strict=True):
            if _is_kept(number):
                kept += 1
                assert _is_same(number, found), f"{number!r} came back as {found!r}"
            elif _is_same(number, found):
                refused_in_vain += 1
            else:
                altered += 1
    share = f"{kept / COUNT:.2%} kept, {refused_in_vain / COUNT:.2%} refused in vain"
    print(f"\n{kind}: {COUNT:,} numbers, {share}, {altered / COUNT:.2%} altered by the server")
    # The rule must accept common numbers, or documents would be unreadable.
    assert kept or kind in ("any bits", "subnormal")


def test_numbers_at_the_limits_come_back(through_redis: Any) -> None:
    for number, found in zip(EDGES, through_redis(EDGES), strict=True):
        assert not _is_kept(number) or _is_same(number, found), number


def test_the_server_does_alter_numbers(through_redis: Any) -> None:
    """If this fails, the server stores numbers exactly, and the rule can be removed."""
    numbers = [random.Random(seed).random() for seed in range(1000)]
    assert not all(map(_is_same, numbers, through_redis(numbers)))


@pytest.mark.parametrize("number", [0.0, -0.0, 1.5, 19.99, 1e22, 1e-22, 1700000000.123456])
def test_common_numbers_stay_readable(number: float) -> None:
    assert json_codec.is_kept(number)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_not_kept(number: float) -> None:
    assert not json_codec.is_kept(number)

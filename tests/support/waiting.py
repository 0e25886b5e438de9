"""Waiting for events, and the server's clock. No test sleeps and hopes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis


def wait_until(condition: Callable[[], Any], seconds: float = 120) -> None:
    """Wait for an event. The bound only ends a test that would hang."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still false after {seconds} seconds"
        time.sleep(0.01)


def server_time(client: redis.Redis) -> int:
    """The server's clock, which decides when keys expire: milliseconds since 1970."""
    seconds, microseconds = client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def wait_until_after(client: redis.Redis, deadline: int) -> None:
    """Wait until keys with this deadline, in milliseconds since 1970, have expired."""
    wait_until(lambda: server_time(client) > deadline)

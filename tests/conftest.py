from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from langgraph_redis_json.embedded import EmbeddedRedis


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The Redis that all tests share: the one REDIS_URL names, else an embedded one."""
    if url := os.environ.get("REDIS_URL"):
        yield url
    else:
        with EmbeddedRedis() as server:
            yield server.url

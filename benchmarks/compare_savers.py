"""The savers that `compare.py` sets side by side, each on a store of its own.

A store is emptied for every probe, so that no probe sees what another left.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
import redis
from compare_network import Network
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.redis import AsyncRedisSaver as PeerAsyncRedisSaver
from langgraph.checkpoint.redis import RedisSaver as PeerRedisSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis

Saver = BaseCheckpointSaver[Any]


class Store(Protocol):
    """One column of the table: a saver, and the store that it writes to."""

    package: str
    network: Network | None
    """What counts the round trips to the store; None for a store in this process."""

    @contextmanager
    def saver(self) -> Iterator[Saver]:
        """The saver for graphs that are invoked, on an empty store."""

    @asynccontextmanager
    async def async_saver(self) -> AsyncIterator[Saver]:
        """The saver for graphs that are awaited, on an empty store."""

    def stored_bytes(self) -> int:
        """What the store takes, its indexes included."""

    def server(self) -> str:
        """The name and the version of the store."""


class RedisStore:
    """A Redis server, and either of the two packages that keep checkpoints there."""

    def __init__(self, url: str, network: Network, package: str, sync: Any, asynchronous: Any):
        self.package = package
        self.network = network
        self._client = redis.Redis.from_url(url)
        self._url = f"redis://127.0.0.1:{network.port}"
        self._sync, self._async = sync, asynchronous

    @contextmanager
    def saver(self) -> Iterator[Saver]:
        self._client.flushall()
        with self._sync.from_conn_string(self._url) as saver:
            saver.setup()
            yield saver

    @asynccontextmanager
    async def async_saver(self) -> AsyncIterator[Saver]:
        self._client.flushall()
        async with self._async.from_conn_string(self._url) as saver:
            await saver.setup()
            yield saver

    def stored_bytes(self) -> int:
        return int(self._client.info("memory")["used_memory"])

    def server(self) -> str:
        found = {one["name"]: one["ver"] for one in self._client.info("modules")["modules"]}
        search, json = (
            f"{found[name] // 10000}.{found[name] // 100 % 100}.{found[name] % 100}"
            for name in ("search", "ReJSON")
        )
        redis_version = self._client.info("server")["redis_version"]
        return f"Redis {redis_version} with Search {search} and JSON {json}"


class PostgresStore:
    """A PostgreSQL server."""

    package = "langgraph-checkpoint-postgres"

    def __init__(self, url: str, network: Network):
        self.network = network
        self._direct = url
        self._url = make_conninfo(url, host="127.0.0.1", hostaddr="", port=network.port)
        self._schema = "langgraph_redis_json_compare"

    @contextmanager
    def saver(self) -> Iterator[Saver]:
        with PostgresSaver.from_conn_string(self._empty()) as saver:
            saver.setup()
            yield saver

    @asynccontextmanager
    async def async_saver(self) -> AsyncIterator[Saver]:
        async with AsyncPostgresSaver.from_conn_string(self._empty()) as saver:
            await saver.setup()
            yield saver

    def _empty(self) -> str:
        self._ask(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE")
        self._ask(f"CREATE SCHEMA {self._schema}")
        return make_conninfo(self._url, options=f"-c search_path={self._schema}")

    def close(self) -> None:
        self._ask(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE")

    def stored_bytes(self) -> int:
        return int(
            self._ask(
                "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c "
                f"WHERE c.relnamespace = '{self._schema}'::regnamespace AND c.relkind = 'r'"
            )
        )

    def server(self) -> str:
        return f"PostgreSQL {str(self._ask('SHOW server_version')).split()[0]}"

    def _ask(self, query: Any) -> Any:
        with psycopg.connect(self._direct, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchone()[0] if cursor.description else None


class SqliteStore:
    """An SQLite database file."""

    package = "langgraph-checkpoint-sqlite"
    network = None

    def __init__(self, folder: Path):
        self._file = folder / "checkpoints.sqlite"

    @contextmanager
    def saver(self) -> Iterator[Saver]:
        self._empty()
        with SqliteSaver.from_conn_string(str(self._file)) as saver:
            saver.setup()
            yield saver

    @asynccontextmanager
    async def async_saver(self) -> AsyncIterator[Saver]:
        self._empty()
        async with AsyncSqliteSaver.from_conn_string(str(self._file)) as saver:
            await saver.setup()
            yield saver

    def _empty(self) -> None:
        for file in self._file.parent.glob(f"{self._file.name}*"):
            file.unlink()

    def stored_bytes(self) -> int:
        with sqlite3.connect(self._file) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return self._file.stat().st_size

    def server(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"


@contextmanager
def redis_store(package: str) -> Iterator[RedisStore]:
    """A private Redis for this package or for the peer."""
    sync, asynchronous = {
        "langgraph-redis-json": (RedisSaver, AsyncRedisSaver),
        "langgraph-checkpoint-redis": (PeerRedisSaver, PeerAsyncRedisSaver),
    }[package]
    with EmbeddedRedis() as server:
        port = int(server.url.rpartition(":")[2])
        with Network(("127.0.0.1", port)) as network:
            yield RedisStore(server.url, network, package, sync, asynchronous)


@contextmanager
def postgres_store() -> Iterator[PostgresStore | None]:
    """A store on `postgres_server`."""
    with postgres_server() as url:
        if url is None:
            yield None
            return
        with _reached(url) as store:
            yield store


@contextmanager
def postgres_server() -> Iterator[str | None]:
    """The server that POSTGRES_URL names, else a private one; None where there is neither."""
    if url := os.environ.get("POSTGRES_URL"):
        yield url
        return
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb")
    binaries = Path(found).parent if found else (programs[-1] if programs else None)
    if binaries is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="compare-postgres-") as folder:
        # PostgreSQL refuses to run as root.
        user = _ordinary_user() if os.geteuid() == 0 else None
        if user:
            shutil.chown(folder, user)
        data = Path(folder) / "data"
        subprocess.run(
            [binaries / "initdb", "--no-sync", "-A", "trust", "-U", "compare", "-D", data],
            user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        server = subprocess.Popen(
            [
                *(binaries / "postgres", "-D", data, "-k", folder, "-p", port),
                *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
            ],
            user=user, cwd=folder, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            url = f"postgresql://compare@127.0.0.1:{port}/postgres"
            _wait_for(url)
            yield url
        finally:
            # At once, whatever is connected.
            server.send_signal(signal.SIGINT)
            server.wait()


@contextmanager
def _reached(url: str) -> Iterator[PostgresStore]:
    parts = conninfo_to_dict(url)
    host, port = str(parts.get("host") or "127.0.0.1"), int(str(parts.get("port") or 5432))
    address = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
    with Network(address) as network:
        store = PostgresStore(url, network)
        try:
            yield store
        finally:
            store.close()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _ordinary_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextmanager
def sqlite_store() -> Iterator[SqliteStore]:
    with tempfile.TemporaryDirectory(prefix="compare-sqlite-") as folder:
        yield SqliteStore(Path(folder))

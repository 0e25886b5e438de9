"""The packages that `compare.py` and `bench.py` compare, each with a store of its own."""

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
from typing import Any

import psycopg
import redis
from compare_network import Address, Network
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.redis import AsyncRedisSaver as PeerAsyncRedisSaver
from langgraph.checkpoint.redis import RedisSaver as PeerRedisSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from measuring import processor_seconds, used_memory
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from stores import Saver

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis


class RedisStore:
    """A package that keeps checkpoints in Redis.

    Args:
        url: the server itself.
        port: where savers connect: the port of the server or of a proxy.
        package: the name of the package.
        sync: its class for synchronous calls.
        asynchronous: its class for asynchronous calls.
    """

    network: Network | None = None
    """Counts round trips, if savers connect through it."""

    def __init__(self, url: str, port: int, package: str, sync: Any, asynchronous: Any):
        self.package = package
        self._client = redis.Redis.from_url(url)
        self._url = f"redis://127.0.0.1:{port}"
        self._sync, self._async = sync, asynchronous

    @contextmanager
    def saver(self) -> Iterator[Saver]:
        self._client.flushall()
        with self._sync.from_conn_string(self._url) as saver:
            saver.setup()
            yield saver

    @contextmanager
    def another_saver(self) -> Iterator[Saver]:
        with self._sync.from_conn_string(self._url) as saver:
            saver.setup()  # a saver of langgraph-checkpoint-redis cannot read before
            yield saver

    @asynccontextmanager
    async def async_saver(self) -> AsyncIterator[Saver]:
        self._client.flushall()
        async with self._async.from_conn_string(self._url) as saver:
            await saver.setup()
            yield saver

    def stored_bytes(self) -> int:
        return used_memory(self._client)

    def processor_seconds(self) -> float:
        return processor_seconds(self._client)

    def server(self) -> str:
        modules = {
            module["name"]: module["ver"] for module in self._client.info("modules")["modules"]
        }
        search, json = (
            f"{modules[name] // 10000}.{modules[name] // 100 % 100}.{modules[name] % 100}"
            for name in ("search", "ReJSON")
        )
        redis_version = self._client.info("server")["redis_version"]
        return f"Redis {redis_version} with Search {search} and JSON {json}"


class PostgresStore:
    """PostgreSQL, in a schema of its own.

    Args:
        url: the server itself.
        port: where savers connect: the port of the server or of a proxy.
    """

    package = "langgraph-checkpoint-postgres"
    network: Network | None = None
    """Counts round trips, if savers connect through it."""

    def __init__(self, url: str, port: int):
        self._direct = url
        self._url = make_conninfo(url, host="127.0.0.1", hostaddr="", port=port)
        self._schema = "langgraph_redis_json_compare"

    @contextmanager
    def saver(self) -> Iterator[Saver]:
        with PostgresSaver.from_conn_string(self._empty()) as saver:
            saver.setup()
            yield saver

    @contextmanager
    def another_saver(self) -> Iterator[Saver]:
        with PostgresSaver.from_conn_string(self._in_schema()) as saver:
            yield saver

    @asynccontextmanager
    async def async_saver(self) -> AsyncIterator[Saver]:
        async with AsyncPostgresSaver.from_conn_string(self._empty()) as saver:
            await saver.setup()
            yield saver

    def _empty(self) -> str:
        self._run(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE")
        self._run(f"CREATE SCHEMA {self._schema}")
        return self._in_schema()

    def _in_schema(self) -> str:
        return make_conninfo(self._url, options=f"-c search_path={self._schema}")

    def close(self) -> None:
        self._run(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE")

    def stored_bytes(self) -> int:
        return int(
            self._run(
                "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c "
                f"WHERE c.relnamespace = '{self._schema}'::regnamespace AND c.relkind = 'r'"
            )
        )

    def processor_seconds(self) -> None:
        return None

    def server(self) -> str:
        return f"PostgreSQL {str(self._run('SHOW server_version')).split()[0]}"

    def _run(self, query: Any) -> Any:
        with psycopg.connect(self._direct, autocommit=True) as connection:
            cursor = connection.execute(query)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None


class SqliteStore:
    """An SQLite database file."""

    package = "langgraph-checkpoint-sqlite"
    network: Network | None = None
    """None: the database is a file."""

    def __init__(self, folder: Path):
        self._file = folder / "checkpoints.sqlite"

    @contextmanager
    def saver(self) -> Iterator[Saver]:
        self._empty()
        with SqliteSaver.from_conn_string(str(self._file)) as saver:
            saver.setup()
            yield saver

    @contextmanager
    def another_saver(self) -> Iterator[Saver]:
        with SqliteSaver.from_conn_string(str(self._file)) as saver:
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

    def processor_seconds(self) -> None:
        return None

    def server(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"


@contextmanager
def redis_store(package: str) -> Iterator[RedisStore]:
    """A private Redis with langgraph-redis-json or langgraph-checkpoint-redis."""
    sync, asynchronous = {
        "langgraph-redis-json": (RedisSaver, AsyncRedisSaver),
        "langgraph-checkpoint-redis": (PeerRedisSaver, PeerAsyncRedisSaver),
    }[package]
    with EmbeddedRedis() as server:
        port = int(server.url.rpartition(":")[2])
        with Network(("127.0.0.1", port)) as network:
            store = RedisStore(server.url, network.port, package, sync, asynchronous)
            store.network = network
            yield store


@contextmanager
def postgres_store() -> Iterator[PostgresStore | None]:
    """A store on `postgres_server`; None without a server."""
    with postgres_server() as url:
        if url is None:
            yield None
            return
        with Network(postgres_address(url)) as network:
            store = PostgresStore(url, network.port)
            store.network = network
            try:
                yield store
            finally:
                store.close()


@contextmanager
def postgres_server() -> Iterator[str | None]:
    """The URL of the server that POSTGRES_URL names, else of a private one.

    None if POSTGRES_URL is not set and PostgreSQL is not installed.
    """
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
            # SIGINT stops the server without waiting for its clients.
            server.send_signal(signal.SIGINT)
            server.wait()


def postgres_address(url: str) -> Address:
    """The host and port of a PostgreSQL server, or the path of its Unix socket."""
    parts = conninfo_to_dict(url)
    host, port = str(parts.get("host") or "127.0.0.1"), int(str(parts.get("port") or 5432))
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)


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

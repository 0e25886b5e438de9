"""The savers that threads are migrated from, each on a store of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.postgres.shallow import AsyncShallowPostgresSaver, ShallowPostgresSaver
from langgraph.checkpoint.redis import AsyncRedisSaver as PeerAsyncRedisSaver
from langgraph.checkpoint.redis import RedisSaver as PeerRedisSaver
from langgraph.checkpoint.redis.ashallow import AsyncShallowRedisSaver
from langgraph.checkpoint.redis.shallow import ShallowRedisSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from langgraph_redis_json import AsyncRedisSaver, RedisSaver

KINDS = ["memory", "sqlite", "postgres", "redis", "own"]

SHALLOW = ["shallow postgres", "shallow redis"]
"""Savers that keep only the newest checkpoint of each namespace."""

OWN_PREFIX = "source:"


class Stores(NamedTuple):
    """Where the savers keep their checkpoints: for this test alone."""

    folder: Path
    postgres: str
    redis: str

    @property
    def sqlite(self) -> str:
        return str(self.folder / "checkpoints.sqlite")

    @contextmanager
    def saver(self, kind: str) -> Iterator[Any]:
        """A synchronous saver."""
        if kind == "memory":
            yield InMemorySaver()
            return
        if kind == "own":
            opened: Any = RedisSaver.from_conn_string(self.redis, key_prefix=OWN_PREFIX)
        elif kind == "sqlite":
            opened = SqliteSaver.from_conn_string(self.sqlite)
        elif kind == "postgres":
            opened = PostgresSaver.from_conn_string(self.postgres)
        elif kind == "shallow postgres":
            opened = ShallowPostgresSaver.from_conn_string(self.postgres)
        elif kind == "shallow redis":
            opened = ShallowRedisSaver.from_conn_string(self.redis)
        else:
            opened = PeerRedisSaver.from_conn_string(self.redis)
        with opened as saver:
            saver.setup()
            yield saver

    @asynccontextmanager
    async def async_saver(self, kind: str) -> AsyncIterator[Any]:
        """An asynchronous saver."""
        if kind == "memory":
            yield InMemorySaver()
            return
        if kind == "own":
            opened: Any = AsyncRedisSaver.from_conn_string(self.redis, key_prefix=OWN_PREFIX)
        elif kind == "sqlite":
            opened = AsyncSqliteSaver.from_conn_string(self.sqlite)
        elif kind == "postgres":
            opened = AsyncPostgresSaver.from_conn_string(self.postgres)
        elif kind == "shallow postgres":
            opened = AsyncShallowPostgresSaver.from_conn_string(self.postgres)
        elif kind == "shallow redis":
            opened = AsyncShallowRedisSaver.from_conn_string(self.redis)
        else:
            opened = PeerAsyncRedisSaver.from_conn_string(self.redis)
        async with opened as saver:
            await saver.setup()
            yield saver

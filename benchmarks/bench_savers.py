"""The savers that `bench.py` measures: a store of each, and the same behind a slow network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import langgraph.checkpoint.redis as peer
import langgraph_checkpoint_plainredis as plain
from bench_network import Proxy
from bench_work import Remote, Saver, Store
from compare_savers import PostgresStore, RedisStore, postgres_server, sqlite_store
from langgraph.checkpoint.memory import InMemorySaver
from psycopg.conninfo import conninfo_to_dict

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis


class Direct(NamedTuple):
    """No network in between: the server's own port."""

    port: int


class MemoryStore:
    """This process's memory."""

    package = "InMemorySaver"

    @contextmanager
    def saver(self) -> Iterator[Saver]:
        yield InMemorySaver()

    @asynccontextmanager
    async def async_saver(self) -> AsyncIterator[Saver]:
        yield InMemorySaver()

    def stored_bytes(self) -> None:
        return None

    def server(self) -> str:
        return "this process's memory"


class PlainRedisStore(RedisStore):
    """A saver that is made and closed in another way."""

    @contextmanager
    def saver(self) -> Iterator[Saver]:
        self._client.flushall()
        saver = plain.RedisSaver(url=self._url)
        yield saver
        saver.close()

    @asynccontextmanager
    async def async_saver(self) -> AsyncIterator[Saver]:
        self._client.flushall()
        saver = plain.AsyncRedisSaver(url=self._url)
        yield saver
        await saver.aclose()


@contextmanager
def all_stores() -> Iterator[tuple[list[Store], list[Remote], str]]:
    """Stores, those with a server behind a proxy too, and the URL of a Redis to PING."""
    with ExitStack() as stack:
        stores: list[Store] = [MemoryStore(), stack.enter_context(sqlite_store())]
        remotes: list[Remote] = []

        def add(host: str, port: int, make: Callable[[Any], Store]) -> None:
            proxy = stack.enter_context(Proxy((host, port)))
            stores.append(make(Direct(port)))
            remotes.append(Remote(make(proxy), proxy))

        if url := stack.enter_context(postgres_server()):
            parts = conninfo_to_dict(url)
            host, port = str(parts.get("host") or "127.0.0.1"), int(parts.get("port") or 5432)
            add(host, port, lambda network: PostgresStore(url, network))
            stack.callback(PostgresStore(url, Direct(port)).close)
        for package, kind, savers in (
            ("langgraph-checkpoint-plainredis", PlainRedisStore, (None, None)),
            ("langgraph-checkpoint-redis", RedisStore, (peer.RedisSaver, peer.AsyncRedisSaver)),
            ("langgraph-redis-json", RedisStore, (RedisSaver, AsyncRedisSaver)),
        ):
            server = stack.enter_context(EmbeddedRedis())
            add(
                "127.0.0.1",
                int(server.url.rpartition(":")[2]),
                lambda network, server=server, package=package, kind=kind, savers=savers: kind(
                    server.url, network, package, *savers
                ),
            )
        yield stores, remotes, server.url

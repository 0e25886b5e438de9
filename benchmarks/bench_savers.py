"""The savers that `bench.py` measures, each with a store, directly and through a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import langgraph.checkpoint.redis as peer
import langgraph_checkpoint_plainredis as plain
from bench_network import Proxy
from bench_work import Remote
from compare_savers import (
    PostgresStore,
    RedisStore,
    postgres_address,
    postgres_server,
    sqlite_store,
)
from langgraph.checkpoint.memory import InMemorySaver
from stores import Saver, Store

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis


class MemoryStore:
    """LangGraph's InMemorySaver."""

    package = "InMemorySaver"

    def __init__(self) -> None:
        self._saver = InMemorySaver()

    @contextmanager
    def saver(self) -> Iterator[Saver]:
        self._saver = InMemorySaver()
        yield self._saver

    @contextmanager
    def another_saver(self) -> Iterator[Saver]:
        yield self._saver

    @asynccontextmanager
    async def async_saver(self) -> AsyncIterator[Saver]:
        yield InMemorySaver()

    def stored_bytes(self) -> None:
        return None

    def processor_seconds(self) -> None:
        return None

    def server(self) -> str:
        return "this process's memory"


class PlainRedisStore(RedisStore):
    """langgraph-checkpoint-plainredis. Its savers have other constructors, and no `setup`."""

    @contextmanager
    def saver(self) -> Iterator[Saver]:
        self._client.flushall()
        saver = plain.RedisSaver(url=self._url)
        yield saver
        saver.close()

    @contextmanager
    def another_saver(self) -> Iterator[Saver]:
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
    """All stores, the same stores behind proxies if they have a server, and the URL of a Redis."""
    with ExitStack() as stack:
        stores: list[Store] = [MemoryStore(), stack.enter_context(sqlite_store())]
        remotes: list[Remote] = []

        def add(host: str, port: int, open_store: Callable[[int], Store]) -> None:
            proxy = stack.enter_context(Proxy((host, port)))
            stores.append(open_store(port))
            remotes.append(Remote(open_store(proxy.port), proxy))

        if url := stack.enter_context(postgres_server()):
            address = postgres_address(url)
            if isinstance(address, str):
                raise ValueError(
                    "POSTGRES_URL names a Unix socket; give it a host and a port, because the "
                    "benchmark reaches the server through a TCP proxy"
                )
            host, port = address
            add(host, port, lambda port: PostgresStore(url, port))
            stack.callback(PostgresStore(url, port).close)
        for package, kind, sync, asynchronous in (
            ("langgraph-checkpoint-plainredis", PlainRedisStore, None, None),
            ("langgraph-checkpoint-redis", RedisStore, peer.RedisSaver, peer.AsyncRedisSaver),
            ("langgraph-redis-json", RedisStore, RedisSaver, AsyncRedisSaver),
        ):
            server = stack.enter_context(EmbeddedRedis())

            def open_store(
                port: int,
                url: str = server.url,
                package: str = package,
                kind: type[RedisStore] = kind,
                classes: tuple[object, object] = (sync, asynchronous),
            ) -> Store:
                return kind(url, port, package, *classes)

            add("127.0.0.1", int(server.url.rpartition(":")[2]), open_store)
        yield stores, remotes, server.url

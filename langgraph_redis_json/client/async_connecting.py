"""Makes the client of a saver from a URL, a client or a connection pool.

`make generate` writes `sync_connecting.py` from this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, Sentinel
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.driver_info import DriverInfo
from redis.exceptions import ResponseError

from langgraph_redis_json import arguments
from langgraph_redis_json.client.clients import CLIENT_NAME, CONNECTIONS, WAIT, is_of_redis_py


class BlockingSentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the primary that Sentinels name. Calls wait for one of them."""


def connect(
    redis: str | Redis | RedisCluster | ConnectionPool | None,
    others: Mapping[str, Any],
    connection_args: Mapping[str, Any] | None,
) -> tuple[Redis | RedisCluster, bool]:
    """The client of a saver, and whether the saver closes it.

    Args:
        redis: the first argument of the caller.
        others: the other arguments that may name the server.
        connection_args: arguments of redis-py, for the client of a URL.

    Raises:
        ValueError: unless exactly one argument names the server, or if ``connection_args`` are
            given with a client.
        TypeError: if the server is not named by a URL, or a client or pool of redis.asyncio.
    """
    given = arguments.one_server(redis, others)
    if isinstance(given, str):
        return _from_url(arguments.url(given), connection_args or {}), True
    kind = f"{type(given).__module__}.{type(given).__name__}"
    if isinstance(given, ConnectionPool):
        client: Redis | RedisCluster = Redis(connection_pool=given)
    elif isinstance(given, (Redis, RedisCluster)):
        client = given
    elif is_of_redis_py(given):
        raise TypeError(
            f"AsyncRedisSaver takes a client or connection pool of redis.asyncio, not {kind}: "
            "use RedisSaver for this one"
        )
    else:
        raise TypeError(
            "AsyncRedisSaver takes a URL, or a client or connection pool of redis.asyncio, "
            f"not {kind}"
        )
    if connection_args:
        raise ValueError(
            "connection_args= are for the client that the saver makes from a URL: leave them out, "
            "and give them to your own client"
        )
    return client, False


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of redis-py for a client of the saver's own: those of the caller, and what
    bounds its connections and tells the server who it is (``CLIENT LIST``)."""
    from langgraph_redis_json import __version__  # which imports this module

    own: dict[str, Any] = {"max_connections": CONNECTIONS, "redis_connect_func": _introduce}
    if not options.keys() & {"lib_name", "lib_version"}:  # redis-py prefers driver_info to these
        own["driver_info"] = DriverInfo().add_upstream_driver(CLIENT_NAME, __version__)
    return {**own, **options}


async def _introduce(connection: Any) -> None:
    """Give a new connection its name. A server may not let its user do this."""
    await connection.on_connect()
    if connection.client_name is None:
        with suppress(ResponseError):
            await connection.send_command("CLIENT", "SETNAME", CLIENT_NAME)
            await connection.read_response()


def _from_url(url: str, connection_args: Mapping[str, Any]) -> Redis:
    options = own_options(connection_args)
    if not url.startswith(arguments.SENTINEL_SCHEME):
        return Redis.from_url(url, **options)
    addresses, service, named = arguments.sentinel_url(url)
    options = {"timeout": WAIT, **options, **named}
    login = {name: named[name] for name in ("username", "password") if name in named}
    make: Any = Sentinel  # redis-py does not annotate it
    sentinels = make(addresses, sentinel_kwargs=options.pop("sentinel_kwargs", login))
    client: Redis = sentinels.master_for(
        service, connection_pool_class=BlockingSentinelPool, **options
    )
    return client

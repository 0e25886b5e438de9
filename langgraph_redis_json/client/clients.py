"""Clients of redis-py: which can be used, and how a saver changes its own."""

from copy import copy
from secrets import choice
from typing import Any, TypeVar

import redis.asyncio.cluster
import redis.cluster

from langgraph_redis_json.errors import UnsuitableServerError

Client = TypeVar("Client")

CLIENT_NAME = "langgraph-redis-json"
"""The name of the saver's own connections in the server's ``CLIENT LIST``."""

CONNECTIONS = 64
"""Connections that a client of the saver's own opens at most, if its URL does not say
(``redis://…?max_connections=…``)."""

WAIT = 60
"""Seconds that a call waits for one of these connections."""


def is_of_redis_py(given: Any) -> bool:
    """Whether this is a client or a connection pool, of redis-py or of redis.asyncio."""
    kinds = (
        *(redis.Redis, redis.cluster.RedisCluster, redis.ConnectionPool),
        *(redis.asyncio.Redis, redis.asyncio.cluster.RedisCluster, redis.asyncio.ConnectionPool),
    )
    return isinstance(given, kinds)


def check_encoding(client: Any) -> None:
    """Raise for a client that does not use UTF-8.

    Raises:
        ValueError: because keys and documents are UTF-8.
    """
    encoding = client.get_encoder().encoding
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        raise ValueError(
            f"the client has encoding={encoding!r}, but keys and documents are utf-8: "
            "leave encoding= out"
        )


def wrong_database(client: Any) -> UnsuitableServerError | None:
    """The error for a client on another database than 0."""
    pool = getattr(client, "connection_pool", None)
    if pool is None or not pool.connection_kwargs.get("db"):
        return None
    return UnsuitableServerError(
        why=f"the client uses database {pool.connection_kwargs['db']}, and Redis indexes only "
        "database 0",
        remedy="Connect to database 0, and keep applications apart with key_prefix=",
    )


def node_of_cluster() -> UnsuitableServerError:
    """The error for a node of a cluster behind a client of one server."""
    return UnsuitableServerError(
        why="it is a node of a Redis Cluster, and the client is that of a single server",
        remedy="Pass a RedisCluster of redis-py (for AsyncRedisSaver that of redis.asyncio) "
        "instead of a URL",
    )


def unsuitable(error: Exception) -> UnsuitableServerError | None:
    """The error for a server without JSON, if this is what Redis says of a script."""
    if "nknown Redis command called from script" not in str(error):
        return None
    return UnsuitableServerError(
        why=f"it does not know a command of Redis JSON or Search ({error})",
        remedy="Use Redis 8, Redis Stack, or a service that offers both Search and JSON",
    )


def bound_pool(client: Any, pool_class: Any) -> None:
    """Let a client of the saver's own wait for one of its connections, instead of opening one for
    every call at the same time.

    Args:
        client: of a single server.
        pool_class: BlockingConnectionPool, of redis-py or redis.asyncio.
    """
    pool = client.connection_pool
    if isinstance(pool, pool_class):
        return  # the pool of a Sentinel's client
    client.connection_pool = pool_class(
        max_connections=pool.max_connections,
        timeout=WAIT,
        connection_class=pool.connection_class,
        **{name: value for name, value in pool.connection_kwargs.items() if name[:5] != "maint"},
    )


class SearchNode:
    """The primary of a cluster that gets the searches of one operation: a cursor is known to the
    node that opened it alone, and redis-py sends searches to any node.

    Attributes:
        node: of redis-py's cluster client; None before the first search.
    """

    def __init__(self) -> None:
        self.node: Any = None
        self._failed: Any = None

    def choose(self, client: Any) -> Any:
        """The same node as before, or a random one that has not just failed."""
        if self.node is None:
            primaries = client.get_primaries()
            others = [node for node in primaries if node != self._failed]
            self.node = choice(others or primaries)
        return self.node

    def fail(self) -> None:
        """Choose another node next time."""
        self._failed, self.node = self.node, None


def with_plain_replies(client: Client) -> Client:
    """The same client, on the same connections, that does not parse JSON: after ``client.json()``,
    which redisvl calls, redis-py would parse the replies that plans read."""
    twin: Any = copy(client)
    twin.auto_close_connection_pool = False
    twin.close = lambda: None  # else the client closes a single connection when it is collected
    twin.response_callbacks = copy(twin.response_callbacks)
    for name in [*twin.response_callbacks]:
        if name.upper().startswith("JSON."):
            del twin.response_callbacks[name]
    found: Client = twin
    return found

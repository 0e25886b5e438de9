"""Connections of redis.asyncio belong to one event loop and to one process."""

import asyncio
from copy import copy
from inspect import signature
from os import getpid
from threading import Lock
from typing import Any
from weakref import proxy

from redis.asyncio import Connection, Redis, SSLConnection
from redis.asyncio.cluster import RedisCluster

AnyClient = Redis | RedisCluster

_of_parent: list[Any] = []
"""Clients of a parent process. A forked process must not finalize their connections: it shares the
kernel's list of what the parent's event loop waits for, and the parent would get no more events."""


class ClientPerLoop:
    """Gives each running event loop a client with connections of its own.

    The first loop gets the given client itself.

    Attributes:
        last: the loop that asked last, other than the loops that `begin_call` was called on.
    """

    def __init__(self, client: AnyClient) -> None:
        self._given = client
        self._process_of_given = getpid()
        self._clients: dict[asyncio.AbstractEventLoop, AnyClient] = {}
        self._process = getpid()
        self._lock = Lock()
        self._given_is_free = True
        self._loop_of_given: asyncio.AbstractEventLoop | None = None
        self._of_one_call: set[asyncio.AbstractEventLoop] = set()
        self.last: asyncio.AbstractEventLoop | None = None

    def begin_call(self) -> None:
        """Say that the running loop ends after one call, with `disconnect`. Calls on other threads
        must not wait for it."""
        self._of_one_call.add(asyncio.get_running_loop())

    def client(self) -> AnyClient:
        """The client of the running event loop."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None or self._process != getpid():
            client = self._add(loop)
        if loop not in self._of_one_call:
            self.last = loop
        return client

    def running(self) -> asyncio.AbstractEventLoop | None:
        """The loop that asked last, if it runs in this process."""
        loop = self.last
        if loop is None or self._process != getpid() or not loop.is_running():
            return None
        return loop

    async def disconnect(self) -> None:
        """Close all connections of the running loop. The client can open others."""
        loop = asyncio.get_running_loop()
        self._of_one_call.discard(loop)
        used = self._clients.pop(loop, None)
        client = used or self._given
        if client is self._given and self._process_of_given != getpid():
            return  # its connections are the parent's
        if isinstance(client, RedisCluster):
            if used:
                await client.aclose()
        else:
            for pool in _pools(client):
                await pool.disconnect()
        if client is self._given:
            self._given_is_free = True

    def _add(self, loop: asyncio.AbstractEventLoop) -> AnyClient:
        with self._lock:
            if self._process != getpid():
                _of_parent.append(self._clients)
                self._clients, self._process = {}, getpid()
                self.last = None  # the parent's loop says here that it runs, and does not
            for closed in [other for other in self._clients if other.is_closed()]:
                dropped = self._clients.pop(closed)
                if dropped is self._given:
                    self._given_is_free = True
                elif isinstance(dropped, RedisCluster):
                    _without_report(dropped)
            client = self._given
            if isinstance(client, RedisCluster):
                if self._loop_of_given not in (None, loop) or self._process_of_given != getpid():
                    client = _with_own_nodes(client)
            elif self._given_is_free:
                if self._loop_of_given not in (None, loop):
                    for pool in _pools(client):
                        _renew(pool)
                self._process_of_given = getpid()
            else:
                client = with_own_connections(client)
            if client is self._given:
                self._given_is_free, self._loop_of_given = False, loop
            self._clients[loop] = client
            return client


def with_own_connections(client: Redis) -> Redis:
    """The same client on other connections."""
    twin = copy(client)
    pool: Any = copy(client.connection_pool)
    twin.connection_pool = pool
    if manager := getattr(pool, "sentinel_manager", None):
        pool.connection_kwargs = {**pool.connection_kwargs, "connection_pool": proxy(pool)}
        pool.sentinel_manager = copy(manager)
        pool.sentinel_manager.sentinels = [*map(with_own_connections, manager.sentinels)]
    _renew(pool)
    return twin


def _with_own_nodes(client: RedisCluster) -> RedisCluster:
    """The same client of a cluster on other connections. redis-py cannot copy one, but keeps most
    arguments of its constructor under their names."""
    manager: Any = client.nodes_manager
    kept = dict(client.connection_kwargs)
    for owner, names in (
        (client, ("retry", "reinitialize_steps", "load_balancing_strategy")),
        (client, ("read_from_replicas", "maint_notifications_config")),
        (manager, ("require_full_coverage", "address_remap")),
    ):
        kept |= {name: value for name in names if (value := getattr(owner, name, None)) is not None}
    if not kept.get("read_from_replicas"):  # redis-py warns of each use
        kept.pop("read_from_replicas", None)
    kept["dynamic_startup_nodes"] = getattr(manager, "_dynamic_startup_nodes", True)
    kept["startup_nodes"] = [*manager.startup_nodes.values()]
    kept["ssl"] = issubclass(kept.get("connection_class", Connection), SSLConnection)
    accepted = signature(RedisCluster.__init__).parameters
    return RedisCluster(**{name: kept[name] for name in accepted if name in kept})


def _without_report(client: Any) -> None:
    """Prepare the client of a cluster, whose loop is closed, for deletion: redis-py would report
    to the running loop, as errors, that the client and its nodes were not closed."""
    client._initialize = True
    manager = client.nodes_manager
    for node in (*manager.nodes_cache.values(), *manager.startup_nodes.values()):
        node._connections.clear()


def _renew(pool: Any) -> None:
    """Prepare a pool without connections for another loop."""
    for name, value in vars(pool).items():
        if isinstance(value, (asyncio.Lock, asyncio.Condition)):
            setattr(pool, name, type(value)())
    pool.reset()


def _pools(client: Redis) -> list[Any]:
    """The pool of a client, and those of its Sentinels."""
    pool = client.connection_pool
    manager = getattr(pool, "sentinel_manager", None)
    return [pool, *(each.connection_pool for each in (manager.sentinels if manager else ()))]

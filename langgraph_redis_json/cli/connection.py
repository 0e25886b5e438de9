"""The server: a saver on the URL and the key prefix that a person typed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import typer
from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import MovedError, NoPermissionError
from redis.retry import Retry

from langgraph_redis_json import arguments
from langgraph_redis_json.cli.options import Settings
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Plan, T
from langgraph_redis_json.client.scripts import send
from langgraph_redis_json.errors import UnsuitableServerError
from langgraph_redis_json.saver import RedisSaver
from langgraph_redis_json.search.queries import SETUP_THREAD
from langgraph_redis_json.storage import keys

CONNECT_SECONDS = 10
"""How long a server may take to accept a connection; ``?socket_connect_timeout=`` changes it."""


@contextmanager
def connect(context: typer.Context) -> Iterator[RedisSaver]:
    """A saver on the server that the options name: see `open_saver`."""
    settings: Settings = context.obj
    with open_saver(settings.url, settings.key_prefix) as saver:
        yield saver


@contextmanager
def open_saver(
    url: str, key_prefix: str, *, named: tuple[str, str] = ("--url", "--key-prefix")
) -> Iterator[RedisSaver]:
    """A saver on a server or a cluster. It has the plain serializer of LangGraph, and commands read
    documents, not objects.

    Args:
        url: its URL.
        key_prefix: its key prefix.
        named: the options that gave both.

    Raises:
        typer.BadParameter: for a URL or a key prefix that cannot be used.
        redis.exceptions.RedisError: if the server does not answer.
    """
    try:
        arguments.key_prefix(key_prefix)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=named[1]) from None
    if url.startswith(arguments.SENTINEL_SCHEME):
        try:
            saver = RedisSaver(url, key_prefix=key_prefix)
        except (ValueError, TypeError) as error:
            raise typer.BadParameter(str(error), param_hint=named[0]) from None
        with saver:
            yield saver
        return
    try:
        options: dict[str, Any] = {
            "socket_connect_timeout": CONNECT_SECONDS,
            "retry": Retry(NoBackoff(), 1),
        }
        single = Redis.from_url(arguments.url(url), **options)
        single.connection_pool.make_connection()  # raises for options that there are not
    except (ValueError, TypeError) as error:
        raise typer.BadParameter(str(error), param_hint=named[0]) from None
    client: Redis | RedisCluster = single
    try:
        saver = RedisSaver(client, key_prefix=key_prefix)
        thread = keys.thread_keys(key_prefix, SETUP_THREAD)
        try:
            is_cluster = run(saver, send(scripts.server_facts(thread))).mode == "cluster"
        except NoPermissionError:  # the command itself says what it may not do
            is_cluster = False
        except UnsuitableServerError as error:
            if not isinstance(error.__cause__, MovedError):
                raise
            is_cluster = True  # the thread's slot is on another node
        if is_cluster:
            client.close()
            client = RedisCluster.from_url(url)
            saver = RedisSaver(client, key_prefix=key_prefix)
        yield saver
    finally:
        client.close()


def run(saver: RedisSaver, plan: Plan[T]) -> T:
    """The result of an operation that is no method of savers."""
    return saver._runner.run(plan)


def server_time(saver: RedisSaver) -> datetime:
    """Now, by the server's clock, in UTC."""

    def ask() -> Plan[Any]:
        [reply] = yield [("TIME",)]
        return reply

    seconds, microseconds = map(int, run(saver, ask()))
    return datetime.fromtimestamp(seconds + microseconds / 1e6, timezone.utc)

"""What names the server: by our names, and by those of other savers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.cluster

from langgraph_redis_json import AsyncRedisSaver, RedisSaver, UnsuitableServerError, arguments
from tests.support.checkpoints import config, ids, put
from tests.support.clients import Saver
from tests.support.servers import IN_MEMORY, Node, running, sentinel

SAVERS: list[type[Saver]] = [RedisSaver, AsyncRedisSaver]
each_kind = pytest.mark.parametrize("kind", SAVERS)


def client_of(kind: type[Saver], url: str) -> Any:
    return (redis if kind is RedisSaver else redis.asyncio).Redis.from_url(url)


@each_kind
@pytest.mark.parametrize("name", ["", "url", "redis_url"])
@pytest.mark.parametrize("way", ["class", "from_conn_string"])
def test_a_url_is_passed_in_each_way(
    redis_url: str, key_prefix: str, kind: Any, name: str, way: str
) -> None:
    make = kind if way == "class" else kind.from_conn_string
    places, names = ((), {name: redis_url}) if name else ((redis_url,), {})
    saver = make(*places, **names, key_prefix=key_prefix, connection_args={"socket_timeout": 7})
    put(saver, "1")
    assert ids(saver.list(config())) == ["1"]
    settings = saver._runner.client.connection_pool.connection_kwargs
    assert settings["socket_timeout"] == 7
    assert saver._runner.owned


@each_kind
@pytest.mark.parametrize("way", ["class", "from_conn_string"])
def test_a_client_is_passed_by_name(redis_url: str, key_prefix: str, kind: Any, way: str) -> None:
    make = kind if way == "class" else kind.from_conn_string
    client = client_of(kind, redis_url)
    saver = make(redis_client=client, key_prefix=key_prefix)
    assert saver._runner.client is client
    assert not saver._runner.owned
    put(saver, "1")
    assert ids(saver.list(config())) == ["1"]
    of_pool = make(redis_client=client.connection_pool, key_prefix=key_prefix)
    assert of_pool._runner.client.connection_pool is client.connection_pool


@each_kind
@pytest.mark.parametrize("way", ["class", "from_conn_string"])
def test_exactly_one_server_is_named(kind: Any, way: str) -> None:
    make = kind if way == "class" else kind.from_conn_string
    url = "redis://localhost"
    with pytest.raises(ValueError, match="no server is named: pass either a URL"):
        make()
    for names in ({"redis_url": url}, {"redis_client": client_of(kind, url)}):
        with pytest.raises(ValueError, match="more than one server is named"):
            make(url, **names)


@each_kind
def test_a_client_of_the_other_kind_names_the_other_saver(kind: Any) -> None:
    ours, other = ("RedisSaver", "AsyncRedisSaver")[:: 1 if kind is RedisSaver else -1]
    theirs = redis.asyncio if kind is RedisSaver else redis
    url = "redis://localhost"
    for given in (theirs.Redis.from_url(url), theirs.ConnectionPool.from_url(url)):
        with pytest.raises(TypeError, match=rf"^{ours} takes .*: use {other} for this one$"):
            kind(redis_client=given)
        with pytest.raises(TypeError, match=f"use {other} for this one"):
            kind(given)
    with pytest.raises(TypeError, match=r"takes a URL, or a client .* not builtins\.int"):
        kind(redis_client=6379)


@each_kind
def test_connection_args_are_refused_beside_a_client(kind: Any) -> None:
    client = client_of(kind, "redis://localhost")
    with pytest.raises(
        ValueError, match="connection_args= are for the client that the saver makes"
    ):
        kind(redis_client=client, connection_args={"socket_timeout": 7})
    kind(redis_client=client, connection_args={})


@each_kind
@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("checkpoint_prefix", "key_prefix="),
        ("checkpoint_write_prefix", "key_prefix="),
        ("conn_string", "redis_url="),
        ("cluster_mode", "RedisCluster"),
        ("key_cache_max_size", "leave it out"),
        ("channel_cache_max_size", "leave it out"),
        ("conn", "redis_client="),
        ("pipe", "leave it out"),
        ("keep_lasst", "help"),
    ],
)
def test_options_of_other_savers_say_what_they_are_called_here(
    kind: Any, option: str, hint: str
) -> None:
    for make in (kind, kind.from_conn_string):
        with pytest.raises(TypeError, match=f"has no option {option}=: .*{hint}"):
            make("redis://localhost", **{option: "x"})


# ---- Sentinels


@pytest.mark.parametrize(
    ("url", "addresses", "service", "options"),
    [
        ("h:1/main", [("h", 1)], "main", {}),
        ("h,[::1]:7/main/", [("h", 26379), ("::1", 7)], "main", {}),
        (
            "u:p%40s@h:1,i:2/main/0?socket_timeout=3",
            [("h", 1), ("i", 2)],
            "main",
            {"username": "u", "password": "p@s", "db": 0, "socket_timeout": 3.0},
        ),
    ],
)
def test_the_url_of_sentinels_is_read(url: str, addresses: Any, service: str, options: Any) -> None:
    found = arguments.sentinel_url(f"redis+sentinel://{url}")
    assert found == (addresses, service, options)


@pytest.mark.parametrize(("url", "why"), [("h:1", "names no service"), (",/main", "host:port")])
@each_kind
def test_a_url_of_sentinels_without_service_or_host_is_refused(
    kind: Any, url: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        kind(f"redis+sentinel://{url}")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of two Sentinels with a password, that watch a primary with the same password."""
    directory: Path = tmp_path_factory.mktemp("watched")
    with ExitStack() as stack:
        primary = stack.enter_context(running(Node(directory / "primary", *IN_MEMORY)))
        ports = [
            stack.enter_context(sentinel(directory / f"sentinel-{number}", primary))
            for number in range(2)
        ]
        with primary.admin() as client:
            client.config_set("requirepass", "secret")
        for port in ports:
            with redis.Redis(port=port) as client:
                client.execute_command("SENTINEL", "SET", "primary", "auth-pass", "secret")
                client.execute_command("SENTINEL", "CONFIG", "SET", "sentinel-pass", "secret")
                client.acl_setuser(
                    "default", enabled=True, passwords=["+secret"], reset_passwords=True
                )
        yield "redis+sentinel://:secret@" + ",".join(f"127.0.0.1:{port}" for port in ports)


@each_kind
def test_sentinels_name_the_primary(watched: str, kind: Any) -> None:
    saver = kind(f"{watched}/primary", key_prefix=f"{kind.__name__}:")
    for number in range(3):
        if kind is AsyncRedisSaver:
            asyncio.run(saver.setup())
        else:
            saver.setup()
        put(saver, f"{number}")
        assert ids(saver.list(config()))[0] == f"{number}"


@each_kind
def test_connections_are_bounded_under_sentinels(watched: str, kind: Any) -> None:
    saver = kind(f"{watched}/primary?max_connections=2", key_prefix="bounded:")
    pool = saver._runner.client.connection_pool
    assert pool.max_connections == 2
    assert pool.timeout == 60


@each_kind
def test_another_database_is_refused_under_sentinels(watched: str, kind: Any) -> None:
    saver = kind(f"{watched}/primary/1")
    with pytest.raises(UnsuitableServerError, match="only database 0"):
        saver.get_tuple(config())

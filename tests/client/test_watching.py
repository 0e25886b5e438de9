"""What a saver tells of itself: its log, and its name on the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.driver_info import DriverInfo

import langgraph_redis_json
from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from tests.support.checkpoints import config, each_saver, ids, put
from tests.support.clients import Client, MakeSaver

NAME = "langgraph_redis_json"

each_kind = pytest.mark.parametrize("kind", [RedisSaver, AsyncRedisSaver])


# ---- the log


def logged(caplog: pytest.LogCaptureFixture, begin: str) -> list[str]:
    return [
        text for name, _, text in caplog.record_tuples if name == NAME and text.startswith(begin)
    ]


@each_saver
def test_slow_calls_are_logged_if_asked_for(
    make_saver: MakeSaver, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    saver = make_saver(client, log_slower_than=0)
    caplog.clear()
    put(saver, "1")
    saver.get_tuple(config())
    assert ids(saver.list(config())) == ["1"]
    lines = [line.split() for line in logged(caplog, "A slow call: ")]
    # A listing is several trips, between which the caller works.
    assert [line[3] for line in lines] == ["put", "get_tuple", "list", "list"]
    assert 0 <= float(lines[0][5]) < 60
    with pytest.raises(ValueError, match="no thread"):
        saver.get_tuple({"configurable": {}})
    assert len(logged(caplog, "A slow call: get_tuple")) == 2  # a call that fails, too


@each_saver
@pytest.mark.parametrize("seconds", [None, 3600])
def test_fast_calls_are_not_logged(
    make_saver: MakeSaver, client: Client, caplog: pytest.LogCaptureFixture, seconds: Any
) -> None:
    saver = make_saver(client, log_slower_than=seconds)
    put(saver, "1")
    assert ids(saver.list(config())) == ["1"]
    assert logged(caplog, "A slow call: ") == []


@each_kind
@pytest.mark.parametrize(
    ("seconds", "error"),
    [("1", TypeError), (True, TypeError), (-1, ValueError), (float("nan"), ValueError)],
)
def test_a_threshold_that_is_no_time_is_refused(
    kind: Any, seconds: Any, error: type[Exception]
) -> None:
    for make in (kind, kind.from_conn_string):
        with pytest.raises(error, match="log_slower_than"):
            make("redis://localhost", log_slower_than=seconds)
    with pytest.raises(error, match="log_slower_than"):
        kind.from_conn_info(log_slower_than=seconds)


@each_saver
def test_the_building_of_indexes_is_logged(
    make_saver: MakeSaver, client: Client, caplog: pytest.LogCaptureFixture, key_prefix: str
) -> None:
    with caplog.at_level(logging.INFO, NAME):
        make_saver(client)
        assert len(logged(caplog, f"Created the index {key_prefix}")) == 3
        assert len(logged(caplog, f"The index {key_prefix}")) == 3
        caplog.clear()
        make_saver(client)
        assert logged(caplog, "") == []


@each_saver
def test_a_second_try_is_logged(
    make_saver: MakeSaver,
    client: Client,
    caplog: pytest.LogCaptureFixture,
    redis_client: redis.Redis,
) -> None:
    saver = make_saver(client)
    put(saver, "1", {"list": ["x" * 500] * 9}, {"list": 1})
    put(make_saver(client, setup=False), "2", {"list": ["x" * 500] * 10}, {"list": 2}, parent="1")
    with caplog.at_level(logging.DEBUG, NAME):
        redis_client.script_flush()
        saver.get_tuple(config(checkpoint_id="1"))
        assert logged(caplog, "The server does not know a script: sends its text.")
        saver.delete_thread("thread")
        put(saver, "3", {"list": ["x" * 500] * 10}, {"list": 3}, parent="1")
        assert logged(caplog, "put sends values again that Redis lacks")


# ---- the name on the server


def connections(admin: redis.Redis, name: str) -> list[dict[str, str]]:
    return [found for found in admin.client_list() if found["name"] == name]


def made_by(kind: Any, way: str, url: str, **options: Any) -> Any:
    if way == "URL":
        return kind(url, **options)
    where = redis.connection.parse_url(url)
    return kind.from_conn_info(**{**where, **options})


@each_kind
@pytest.mark.parametrize("way", ["URL", "address"])
def test_the_server_knows_who_is_connected(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, kind: Any, way: str
) -> None:
    before = len(connections(redis_client, "langgraph-redis-json"))
    found: list[dict[str, str]] = []
    use(
        made_by(kind, way, redis_url, key_prefix=key_prefix),
        lambda: found.extend(connections(redis_client, "langgraph-redis-json")),
    )
    assert len(found) > before
    version = langgraph_redis_json.__version__
    assert f"redis-py(langgraph-redis-json_v{version})" in {each["lib-name"] for each in found}


@each_kind
def test_a_name_of_ones_own_stays(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, kind: Any
) -> None:
    found: list[dict[str, str]] = []
    library = DriverInfo("my-app")
    options: dict[str, Any] = {"client_name": f"mine-{kind.__name__}", "driver_info": library}
    use(
        kind(redis_url, key_prefix=key_prefix, connection_args=options),
        lambda: found.extend(connections(redis_client, f"mine-{kind.__name__}")),
    )
    assert [each["lib-name"] for each in found] == ["my-app"]


@each_kind
def test_a_user_may_be_forbidden_to_name_its_connections(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, kind: Any
) -> None:
    redis_client.execute_command(
        *("ACL", "SETUSER", key_prefix, "reset", "on", ">secret", "~*", "&*", "+@all"),
        *("-client|setname", "-client|setinfo"),
    )
    args = {"username": key_prefix, "password": "secret"}
    use(kind(redis_url, key_prefix=key_prefix, connection_args=args), lambda: None)
    redis_client.acl_deluser(key_prefix)


def use(saver: Any, look: Callable[[], None]) -> None:
    """Look at the server while a saver has a connection."""
    if isinstance(saver, RedisSaver):
        with saver:
            assert saver.get_tuple(config()) is None
            look()
        return

    async def main() -> None:
        async with saver:
            assert await saver.aget_tuple(config()) is None
            look()

    asyncio.run(main())

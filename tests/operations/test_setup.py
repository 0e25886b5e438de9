"""setup, and servers that are unsuitable or fail later."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.cache import CacheConfig

from langgraph_redis_json import (
    AsyncRedisSaver,
    RedisSaver,
    UnsuitableServerError,
    embedded,
)
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.search import queries
from langgraph_redis_json.search.fields import SCHEMAS
from langgraph_redis_json.search.queries import index_name
from tests.support.checkpoints import (
    BIG,
    config,
    each_saver,
    get_tuple,
    ids,
    indexed,
    own_indexes,
    put,
    stored,
)
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.commands import COMMANDS


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    """A server whose users and settings may be changed."""
    with EmbeddedRedis() as started:
        yield started


@pytest.fixture
def admin(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client
        client.flushall()


def setup_error(saver: type[Saver], url: str, **options: Any) -> str:
    """Why setup refuses a server."""

    async def asynchronously() -> None:
        async with AsyncRedisSaver.from_conn_string(url, **options) as made:
            await made.setup()

    def setup() -> None:
        if saver is AsyncRedisSaver:
            return asyncio.run(asynchronously())
        with RedisSaver.from_conn_string(url, **options) as made:
            made.setup()

    with pytest.raises(UnsuitableServerError) as raised:
        setup()
    return str(raised.value)


SAVERS: list[type[Saver]] = [RedisSaver, AsyncRedisSaver]


# ---- once, twice, eight times at once


def test_setup_makes_the_indexes(saver: Saver, redis_client: redis.Redis, key_prefix: str) -> None:
    assert len(own_indexes(redis_client, key_prefix)) == len(SCHEMAS)
    for which in SCHEMAS:
        assert indexed(redis_client, index_name(key_prefix, which)) == 0
    # The check of the server's commands leaves nothing behind.
    assert list(redis_client.scan_iter(f"{key_prefix}*")) == []


@each_saver
def test_a_second_setup_changes_nothing(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    for number in range(3):
        saver = make_saver(client)
        put(saver, f"{number}")
        found = indexed(redis_client, index_name(key_prefix, "checkpoints"))
        assert found == number + 1
        assert len(ids(saver.list(None))) == number + 1


@each_saver
def test_setup_indexes_stored_documents(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client, setup=False)
    count = 1_500
    for number in range(count):
        put(saver, f"{number:04}", metadata={"even": number % 2 == 0})
    saver.put_writes(config(checkpoint_id="0001"), [("__error__", 1)], "task")
    made = make_saver(client)
    assert len(ids(made.list(None, filter={"even": True}))) == count // 2
    for which, expected in {"checkpoints": count, "writes": 1, "threads": 1}.items():
        assert indexed(redis_client, index_name(key_prefix, which)) == expected


EIGHT = """
import os, sys
from langgraph_redis_json import RedisSaver

url, *prefixes = sys.argv[1:]
for prefix in prefixes:
    starting, start = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            os.close(start)
            saver = RedisSaver(url, key_prefix=prefix)
            saver.get_tuple({"configurable": {"thread_id": "connects"}})
            os.read(starting, 1)  # until all are there
            saver.setup()
            list(saver.list(None))
            os._exit(0)
        children.append(child)
    os.close(start)
    print([os.waitpid(child, 0)[1] for child in children])
"""


def test_eight_processes_may_call_setup_at_once(server: EmbeddedRedis, admin: redis.Redis) -> None:
    prefixes = [f"eight-{number}:" for number in range(2)]
    done = subprocess.run(
        [sys.executable, "-c", EIGHT, server.url, *prefixes],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [str([0] * 8)] * len(prefixes), done.stderr
    for prefix in prefixes:
        assert len(own_indexes(admin, prefix)) == len(SCHEMAS)


def test_setup_takes_one_connection(server: EmbeddedRedis, admin: redis.Redis) -> None:
    with RedisSaver.from_conn_string(server.url) as saver:
        before = admin.info("stats")["total_connections_received"]
        saver.setup()
        assert admin.info("stats")["total_connections_received"] == before + 1


async def test_setup_and_asetup_are_the_same_on_async_redis_saver(server: EmbeddedRedis) -> None:
    async with AsyncRedisSaver.from_conn_string(server.url, key_prefix="two:") as saver:
        await saver.asetup()
        assert [found async for found in saver.alist(None)] == []
    with RedisSaver.from_conn_string(server.url, key_prefix="three:") as saver:
        await saver.asetup()
        assert list(saver.list(None)) == []


@pytest.mark.parametrize("kind", SAVERS)
def test_the_default_key_prefix_is_langgraph(
    server: EmbeddedRedis, admin: redis.Redis, kind: type[Saver]
) -> None:
    admin.flushall()  # other tests may have left indexes
    saver: Any = kind(server.url)
    assert saver.key_prefix == "langgraph:"
    with RedisSaver.from_conn_string(server.url) as other:
        other.setup()
        saver.put_writes(put(saver, "1", {"big": BIG, "list": [BIG]}), [("channel", 1)], "task")
        assert ids(other.list(None)) == ["1"]
    assert {key.partition("{")[0] for key in admin.scan_iter()} == {
        f"langgraph:{kind}:"
        for kind in ("blob", "checkpoint", "contents", "log", "thread", "writes")
    }
    for which in ("checkpoints", "writes", "threads"):
        assert index_name(saver.key_prefix, which) == f"langgraph:{which}"
        assert admin.execute_command("FT.INFO", f"langgraph:{which}")
    assert len(own_indexes(admin, "langgraph:")) == len(admin.execute_command("FT._LIST"))


# ---- servers that do not do


@pytest.fixture(scope="module")
def bare_server() -> Iterator[Callable[..., str]]:
    """Starts a Redis with only some modules, and returns its URL."""
    binary, modules = embedded._find_server()

    def end(process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()

    def start(*names: str) -> str:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        path = directory / "socket"  # no other process can take it, as it could take a port
        command = [str(binary), "--port", "0", "--unixsocket", str(path), "--save", ""]
        for name in names:
            command += ["--loadmodule", str(modules / name)]
        process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True)
        stack.callback(end, process)
        assert process.stdout is not None
        while "Ready to accept connections" not in process.stdout.readline():
            assert process.poll() is None
        return f"unix://{path}"

    with ExitStack() as stack:
        yield start


@pytest.mark.parametrize(
    ("modules", "missing"),
    [((), "JSON"), (("redisearch.so",), "JSON"), (("rejson.so",), "Search")],
    ids=["neither", "Search alone", "JSON alone"],
)
def test_a_server_without_search_or_json_is_refused(
    bare_server: Callable[..., str], modules: tuple[str, ...], missing: str
) -> None:
    url = bare_server(*modules)
    for saver in SAVERS:
        message = setup_error(saver, url)
        assert f"a command of Redis {missing}" in message
        assert "Use Redis 8" in message
    with redis.Redis.from_url(url) as client:
        assert client.keys() == []


@pytest.mark.parametrize("saver", SAVERS)
def test_a_server_without_json_is_refused_where_setup_was_forgotten(
    bare_server: Callable[..., str], saver: type[Saver]
) -> None:
    with pytest.raises(UnsuitableServerError, match="Redis 8, Redis Stack"):
        put(saver(bare_server("redisearch.so")), "1")


@pytest.mark.parametrize("saver", SAVERS)
def test_another_database_is_refused(
    saver: type[Saver], server: EmbeddedRedis, admin: redis.Redis
) -> None:
    message = setup_error(saver, f"{server.url}/1", key_prefix="one:")
    assert "only database 0" in message
    assert "key_prefix" in message
    assert own_indexes(admin, "one:") == []
    with RedisSaver.from_conn_string(server.url, key_prefix="one:") as made:
        made.setup()
    assert "only database 0" in setup_error(saver, f"{server.url}/1", key_prefix="one:")


@pytest.mark.parametrize("saver", SAVERS)
def test_calls_raise_connection_error_without_a_server(saver: type[Saver]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{probe.getsockname()[1]}"
        made = saver(url)
        with pytest.raises(redis.ConnectionError):
            made.get_tuple(config())
        with pytest.raises(redis.ConnectionError):
            list(made.list(None))
        with pytest.raises(redis.ConnectionError):
            put(made, "1")


# ---- users who may not run everything


def commands_run(admin: redis.Redis) -> set[str]:
    found = {name.removeprefix("cmdstat_").upper() for name in admin.info("commandstats")}
    # The commands that clients send when they connect, those of this function, and those that the
    # Search of Redis 8 sends itself.
    others = ("HELLO", "CLIENT", "INFO", "CONFIG")
    return {name for name in found if name.split("|")[0] not in others and name[:4] != "_FT."}


def test_the_listed_commands_are_all_that_the_savers_run(
    server: EmbeddedRedis, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With small pages, few names take several pages.
    monkeypatch.setattr(queries, "NAMES", 2)
    admin.script_flush()
    with RedisSaver.from_conn_string(server.url) as saver:
        admin.config_resetstat()
        saver.setup()
        checked = commands_run(admin)
        admin.config_resetstat()
        for number in range(1, 4):
            grown = {"big": f"{number}{BIG}", "list": [f"{n}{BIG}" for n in range(number)]}
            made = put(saver, f"{number}", grown, metadata={"run_id": "run"})
            for _ in range(2):
                saver.put_writes(made, [("channel", 1), ("__interrupt__", 1)], "task")
            saver.get_tuple(made)
        saver.get_delta_channel_history(config=config(checkpoint_id="3"), channels=["big"])
        list(saver.list(config()))
        list(saver.list(None))
        list(saver.list(None, limit=1))
        saver.copy_thread("thread", "copy")
        saver.prune(["copy"])
        saver.delete_for_runs(["run"])
        saver.delete_thread("thread")
        run = commands_run(admin)
    assert {"FT.SEARCH", "FT.AGGREGATE", "FT.CURSOR", "EVALSHA", "EVAL"} <= run
    assert run <= checked, "setup checks less than is run"
    assert checked == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("again", [False, True], ids=["first", "after another's setup"])
def test_the_error_names_a_command_that_the_user_may_not_run(
    server: EmbeddedRedis, admin: redis.Redis, command: str, again: bool
) -> None:
    admin.script_flush()
    if again:
        with RedisSaver.from_conn_string(server.url) as saver:
            saver.setup()
            put(saver, "1")
    admin.execute_command(
        *("ACL", "SETUSER", "limited", "reset", "on", ">secret", "~*", "&*", "+@all"),
        f"-{command}",
    )
    url = server.url.replace("redis://", "redis://limited:secret@")
    for kind in SAVERS:
        message = setup_error(kind, url)
        assert f"may not run {command} " in message


def test_the_error_names_a_client_command_that_the_user_may_not_run(
    server: EmbeddedRedis, admin: redis.Redis
) -> None:
    admin.execute_command(
        *("ACL", "SETUSER", "limited", "reset", "on", ">secret", "~*", "&*", "+@all"),
        "-client|tracking",
    )
    url = server.url.replace("redis://", "redis://limited:secret@")
    with (
        redis.Redis.from_url(url, protocol=3, cache_config=CacheConfig()) as client,
        pytest.raises(UnsuitableServerError, match=r"may not run CLIENT\|TRACKING "),
    ):
        RedisSaver(client).setup()


def test_the_error_names_a_key_that_the_user_may_not_use(
    server: EmbeddedRedis, admin: redis.Redis
) -> None:
    admin.execute_command(
        *("ACL", "SETUSER", "limited", "reset", "on", ">secret", "~team:*", "&*", "+@all")
    )
    url = server.url.replace("redis://", "redis://limited:secret@")
    for saver in SAVERS:
        message = setup_error(saver, url, key_prefix="teams:app:")
        assert "may not use the key teams:app:contents:{" in message
        assert "Let the user use the keys teams:app:*" in message


def test_a_user_with_only_the_listed_commands_can_do_everything(
    server: EmbeddedRedis, admin: redis.Redis
) -> None:
    admin.execute_command(
        *("ACL", "SETUSER", "careful", "reset", "on", ">secret", "~*", "-@all"),
        *(f"+{command}" for command in COMMANDS),
    )
    url = server.url.replace("redis://", "redis://careful:secret@")
    with RedisSaver.from_conn_string(url, key_prefix="app:") as saver:
        saver.setup()
        saver.put_writes(put(saver, "1", {"big": BIG}), [("channel", 1)], "task")
        put(saver, "2", {"big": BIG}, parent="1")
        assert ids(saver.list(None, filter={"step": 1})) == ["2", "1"]
        saver.copy_thread("thread", "copy")
        saver.prune(["copy"])
        assert ids(saver.list(config("copy"))) == ["2"]
        saver.get_delta_channel_history(config=config(), channels=["big"])
        saver.delete_thread("thread")


def test_a_user_of_other_keys_is_refused(server: EmbeddedRedis, admin: redis.Redis) -> None:
    admin.execute_command(
        *("ACL", "SETUSER", "neighbour", "reset", "on", ">secret", "~other:*", "+@all")
    )
    url = server.url.replace("redis://", "redis://neighbour:secret@")
    message = setup_error(RedisSaver, url, key_prefix="app:")
    assert "access a key" in message or "one of the keys" in message
    with RedisSaver.from_conn_string(url, key_prefix="app:") as saver:
        with pytest.raises(redis.exceptions.NoPermissionError):
            put(saver, "1")
        assert admin.keys() == []


# ---- a full server


@pytest.fixture
def full(server: EmbeddedRedis, admin: redis.Redis) -> Iterator[redis.Redis]:
    yield admin
    admin.config_set("maxmemory", 0)


@each_saver
def test_a_full_server_raises_and_changes_nothing(
    full: redis.Redis, server: EmbeddedRedis, client: Client
) -> None:
    with RedisSaver.from_conn_string(server.url, key_prefix="full:") as other:
        other.setup()
        for number in (1, 2):
            made = put(other, f"{number}", {"big": f"{number}{BIG}"}, {"big": number})
            other.put_writes(made, [("channel", 1), ("__interrupt__", 1)], "task")
        put(other, "1", thread_id="other")
    before = stored(full, "full:")
    saver = client.saver(server.url, key_prefix="full:")
    assert saver.get_tuple(made) is not None
    full.config_set("maxmemory-policy", "noeviction")
    full.config_set("maxmemory", 1)
    for call in (
        lambda: put(saver, "3"),
        lambda: put(saver, "3", {"big": BIG}),
        lambda: put(saver, "1"),
        lambda: put(saver, "1", thread_id="new"),
        lambda: saver.put_writes(made, [("channel", 2), ("__interrupt__", 2)], "task"),
        lambda: saver.put_writes(made, [("channel", 2)], "task 2"),
        lambda: saver.copy_thread("thread", "copy"),
    ):
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            call()
        assert stored(full, "full:") == before
    # Stored checkpoints can be read, and operations that free memory work.
    assert ids(saver.list(config())) == ["2", "1"]
    pending = get_tuple(saver, made).pending_writes or []
    assert pending[0][1] == "__interrupt__"
    saver.prune(["thread"])
    assert ids(saver.list(config())) == ["2"]
    saver.delete_thread("thread")
    assert ids(saver.list(config())) == []


# ---- threads of another saver


def make_other_index(admin: redis.Redis, name: str, prefix: str = "checkpoint:") -> None:
    """The index of langgraph-checkpoint-redis."""
    admin.execute_command(
        *("FT.CREATE", name, "ON", "JSON", "PREFIX", 1, prefix),
        *("SCHEMA", "$.thread_id", "AS", "thread_id", "TAG"),
    )


def warnings_of_setup(kind: type[Saver], url: str) -> list[str]:
    async def asynchronously() -> None:
        async with AsyncRedisSaver(url, key_prefix="app:") as saver:
            await saver.setup()

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        if kind is AsyncRedisSaver:
            asyncio.run(asynchronously())
        else:
            RedisSaver(url, key_prefix="app:").setup()
    return [str(each.message) for each in found if each.category is UserWarning]


@pytest.mark.parametrize("kind", SAVERS)
@pytest.mark.parametrize("name", ["checkpoint", "checkpoints"])
def test_setup_warns_of_threads_of_another_saver(
    server: EmbeddedRedis, admin: redis.Redis, kind: type[Saver], name: str
) -> None:
    make_other_index(admin, name)
    assert warnings_of_setup(kind, server.url) == []  # it has no threads
    admin.execute_command("JSON.SET", "checkpoint:1::1", "$", '{"thread_id": "1"}')
    [message] = warnings_of_setup(kind, server.url)
    assert "threads of langgraph-checkpoint-redis, and none of this saver" in message
    assert "langgraph_redis_json.migration" in message
    put(kind(server.url, key_prefix="app:"), "1")
    assert warnings_of_setup(kind, server.url) == []


@pytest.mark.parametrize("kind", SAVERS)
def test_setup_does_not_warn_of_other_indexes(
    server: EmbeddedRedis, admin: redis.Redis, kind: type[Saver]
) -> None:
    make_other_index(admin, "documents")
    admin.execute_command("JSON.SET", "checkpoint:1::1", "$", '{"thread_id": "1"}')
    assert warnings_of_setup(kind, server.url) == []

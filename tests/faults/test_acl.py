"""docs/acl.conf allows what the savers need, and nothing else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from langgraph.checkpoint.conformance import checkpointer_test, validate
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import BIG, config, each_saver, get_tuple, ids, put
from tests.support.clients import ACL_USER, Client, Saver, acl_for
from tests.support.commands import COMMANDS
from tests.support.project import ROOT
from tests.support.record import tried
from tests.support.servers import cluster

FILE = ROOT / "docs" / "acl.conf"
CLIENTS = {
    *("INFO", "CLUSTER|GETKEYSINSLOT", "CLUSTER|SLOTS", "COMMAND", "ASKING", "PING"),
    *("CLIENT|SETNAME", "CLIENT|SETINFO"),
}
"""What setup can do without, what clients of a cluster ask, health checks, and names."""


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that includes the file, for its user."""
    users = acl_for("test-", tmp_path_factory.mktemp("acl"))
    with EmbeddedRedis(options=["--include", str(users)]) as server:
        yield server.url.replace("redis://", f"redis://{ACL_USER}")


def test_the_file_allows_the_commands_that_the_savers_run() -> None:
    text = FILE.read_text(encoding="utf-8")
    [user] = re.findall("^user .*", text, re.MULTILINE)
    allowed = {word[1:].upper() for word in user.split() if word.startswith("+")}
    assert allowed == {*COMMANDS, *CLIENTS}
    explained = set(re.findall(r"[a-z][a-z._|]+", text[: text.index("\nuser ")].lower()))
    assert {name.lower() for name in allowed} <= explained


@each_saver
def test_every_operation_works(saver: Saver, redis_url: str) -> None:
    for number in range(3):
        made = put(
            saver,
            f"{number}",
            {"big": f"{number}{BIG}", "list": [f"{n}{BIG}" for n in range(number + 1)]},
            parent=f"{number - 1}" if number else None,
            metadata={"run_id": "run"},
        )
        saver.put_writes(made, [("channel", 1), ("__interrupt__", 1)], "task")
    assert get_tuple(saver, config()).checkpoint["id"] == "2"
    assert ids(saver.list(None, filter={"run_id": "run"})) == ["2", "1", "0"]
    assert ids(saver.list(None, limit=1)) == ["2"]
    saver.get_delta_channel_history(config=config(), channels=["channel"])
    saver.copy_thread("thread", "copy")
    saver.prune(["copy"])
    assert ids(saver.list(config("copy"))) == ["2"]
    saver.delete_for_runs(["run"])
    assert ids(saver.list(None)) == []
    saver.delete_thread("thread")
    with redis.Redis.from_url(redis_url) as other:
        with pytest.raises(redis.exceptions.NoPermissionError):
            other.get("test-1")
        with pytest.raises(redis.exceptions.NoPermissionError):
            other.flushall()


@each_saver
def test_keys_of_other_applications_are_refused(
    client: Client, redis_url: str, redis_client: redis.Redis
) -> None:
    other = client.saver(redis_url, key_prefix="others:")
    for call in (
        lambda: other.get_tuple(config()),
        lambda: put(other, "1"),
        lambda: other.delete_thread("thread"),
    ):
        with pytest.raises(redis.exceptions.ResponseError, match=r"NOPERM|permission|access"):
            call()
    assert redis_client.keys("others:*") == []


@pytest.mark.parametrize("kind", [RedisSaver, AsyncRedisSaver])
async def test_both_savers_conform(kind: type[Saver], redis_url: str, key_prefix: str) -> None:
    @checkpointer_test(name=kind.__name__)
    async def checkpointer() -> AsyncIterator[Saver]:
        if kind is RedisSaver:
            with RedisSaver.from_conn_string(redis_url, key_prefix=key_prefix) as made:
                made.setup()
                yield made
        else:
            async with AsyncRedisSaver.from_conn_string(redis_url, key_prefix=key_prefix) as made:
                await made.setup()
                yield made

    assert (await validate(checkpointer)).conformance_level() == "FULL"
    tried(f"Conformance under `docs/acl.conf` (`{kind.__name__}`)", 1, lost=0, torn=0)


@pytest.mark.filterwarnings("ignore:The Search of this Redis Cluster")
async def test_savers_work_on_a_cluster(tmp_path: Path) -> None:
    options = ("--include", str(acl_for("app:", tmp_path)))
    login: dict[str, Any] = {"host": "127.0.0.1", "username": "app", "password": "change-me"}
    with cluster(tmp_path, *options) as nodes:
        port = nodes.primaries[0].port
        with RedisCluster(port=port, **login) as client:
            made = RedisSaver(client, key_prefix="app:")
            made.setup()
            assert ids([get_tuple(made, put(made, "1", {"big": BIG}))]) == ["1"]
            slot = client.keyslot("{thread}")
            source = nodes.owner(slot)
            nodes.move(slot, next(node for node in nodes.primaries if node is not source))
            put(made, "2", {"big": BIG})
            assert ids(made.list(config(), filter={"step": 1})) == ["2", "1"]
        async with AsyncRedisCluster(port=port, **login) as client:
            other = AsyncRedisSaver(client, key_prefix="app:")
            await other.setup()
            assert [found.checkpoint["id"] async for found in other.alist(config())] == ["2", "1"]

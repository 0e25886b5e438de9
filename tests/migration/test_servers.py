"""langgraph-redis-json migrate between servers of other kinds: clusters, and those of Sentinels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.cluster import RedisCluster

from langgraph_redis_json import RedisSaver
from tests.migration.test_migration import fill
from tests.support.checkpoints import config, ids, put
from tests.support.command_line import Cli
from tests.support.servers import IN_MEMORY, Node, cluster, running, sentinel


@pytest.fixture
def cluster_port(tmp_path: Path) -> Iterator[int]:
    """A cluster whose Search has no coordinator."""
    with cluster(tmp_path) as nodes:
        yield nodes.primaries[1].port


@pytest.mark.filterwarnings("ignore:The Search of this Redis Cluster")
def test_to_a_cluster_and_back(
    target: RedisSaver, cli: Cli, redis_url: str, key_prefix: str, cluster_port: int
) -> None:
    url = f"redis://127.0.0.1:{cluster_port}"
    fill(target, 7, 2)
    forth = cli(
        "migrate", "--from", redis_url, "--from-prefix", key_prefix, "--verify", "--url", url
    )
    assert forth.lines[1] == "Compared 28 checkpoints: 28 are the same."
    with RedisCluster(host="127.0.0.1", port=cluster_port) as client:
        put(
            RedisSaver(client, key_prefix=key_prefix), "00002", thread_id="thread-3", parent="00001"
        )
    back = cli("migrate", "--from", url, "--from-prefix", key_prefix, "--verify")
    assert back.lines[0].startswith("7 threads with 29 checkpoints: copied 1, completed 0, ")
    assert ids(target.list(config("thread-3"))) == ["00002", "00001", "00000"]
    same = ["migrate", "--url", url, "--from-prefix", key_prefix, "--from"]
    shown = cli(*same, url.replace("127.0.0.1", "localhost"), code=2)
    assert "The source and the target are the same" in shown.err


def test_from_the_server_that_sentinels_name(target: RedisSaver, cli: Cli, tmp_path: Path) -> None:
    with (
        running(Node(tmp_path / "primary", *IN_MEMORY)) as primary,
        sentinel(tmp_path / "sentinel", primary) as port,
    ):
        url = f"redis+sentinel://127.0.0.1:{port}/primary"
        with RedisSaver(url) as source:
            source.setup()
            fill(source, 2, 2)
        shown = cli("migrate", "--from", url, "--from-prefix", "langgraph:", "--verify")
        assert shown.lines[1] == "Compared 8 checkpoints: 8 are the same."
        named = cli("--url", url, "--key-prefix", "langgraph:", "threads", "--json")
        assert {row["thread_id"] for row in named.rows} == {"thread-0", "thread-1"}
    shown = cli("migrate", "--from", "redis+sentinel://x", "--from-prefix", "a:", code=2)
    assert "--from" in shown.err


def test_a_damaged_checkpoint_is_told(
    target: RedisSaver, cli: Cli, redis_url: str, key_prefix: str
) -> None:
    with RedisSaver(redis_url, key_prefix=f"{key_prefix}source:") as source:
        source.setup()
        for number in ("1", "2", "3"):
            put(source, number, parent=f"{int(number) - 1}" if number > "1" else None)
        key = f"{source.key_prefix}checkpoint:{{thread}}::2"
        client = source._runner.client
        client.execute_command("JSON.SET", key, "$.format", "99")
        shown = cli("migrate", "--from", redis_url, "--from-prefix", source.key_prefix, code=1)
        assert "copied 2," in shown.lines[0]
        assert "The old saver cannot read 1 checkpoints: not copied." in shown.err
        client.delete(key)
        shown = cli("migrate", "--from", redis_url, "--from-prefix", source.key_prefix, code=1)
        assert "The old saver cannot read 1 checkpoints: not copied." in shown.err

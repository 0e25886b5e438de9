"""The command line on other servers: a cluster, and a user with few permissions."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from redis.cluster import RedisCluster

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.clients import ACL_USER, acl_for
from tests.support.command_line import Cli
from tests.support.conversation import fill
from tests.support.servers import cluster


def test_a_cluster_without_a_search_coordinator(tmp_path: Path, cli: Cli) -> None:
    """Everything within a thread works; across threads the command says why not."""
    with cluster(tmp_path) as nodes:
        port = nodes.primaries[0].port
        with RedisCluster(host="127.0.0.1", port=port) as client:
            fill(RedisSaver(client), turns=3)
        url = ["--url", f"redis://127.0.0.1:{port}"]
        shown = cli("setup", *url)
        assert "has no coordinator" in shown.err
        assert shown.out == "The server is suitable for all that is done within a thread.\n"
        # The threads are on different nodes.
        for thread_id, said in {"order-7": "It is in Faro.", "long-1": "Answer 2."}.items():
            assert said in cli("messages", thread_id, *url).out
            assert "○" in cli("history", thread_id, *url).out
            assert thread_id in cli("show", thread_id, *url).out
        assert cli("messages", "order-77", *url, code=1).err == ('There is no thread "order-77".\n')
        for command in (["threads"], ["stats"], ["delete", "--all", "--yes"]):
            assert "has no coordinator" in cli(*command, *url, code=1).err
        assert cli("prune", "long-1", "--yes", *url).out == "long-1: 8 checkpoints deleted\n"
        assert cli("copy", "long-1", "long-2", *url).out == "long-1: copied to long-2\n"
        cli("expire", "long-1", "--in", "1d", "--yes", *url)
        cli("pin", "long-1", *url)
        cli("delete", "order-7", "--yes", *url)
        cli("messages", "order-7", *url, code=1)


def test_a_user_with_the_permissions_of_a_saver(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/acl.conf suffices, but for the bytes of stats."""
    prefix = "test-few:"
    with EmbeddedRedis(options=["--include", str(acl_for("test-", tmp_path))]) as server:
        monkeypatch.setenv("REDIS_URL", server.url.replace("redis://", f"redis://{ACL_USER}"))
        monkeypatch.setenv("LANGGRAPH_REDIS_KEY_PREFIX", prefix)
        cli("setup")
        with RedisSaver(server.url, key_prefix=prefix) as saver:
            fill(saver, turns=3)
        for command in ("messages", "history", "show"):
            cli(command, "order-7")
        first, second, *_ = [
            row["checkpoint_id"] for row in cli("history", "order-7", "--json").rows
        ]
        cli("diff", "order-7", first, second)
        assert len(cli("threads", "--json").rows) == 4
        shown = cli("stats", "--json")
        assert shown.err.startswith("Warning: the bytes of threads are not counted: ")
        assert (shown.rows[0]["checkpoints"], shown.rows[0]["bytes"]) == (9 + 3 + 6 + 8, 0)
        cli("copy", "order-7", "copy")
        cli("expire", "copy", "--in", "1d", "--yes")
        cli("pin", "copy")
        cli("prune", "copy", "--yes")
        cli("delete", "--filter", "user=ada", "--yes")
        assert "does not let this user" in cli("threads", "--key-prefix", "other:", code=1).err
        with redis.Redis.from_url(server.url) as client:
            client.acl_setuser("weak", enabled=True, nopass=True, keys=["*"], commands=["+ping"])
            client.acl_setuser("app", enabled=True, commands=["+memory|usage"])
        weak = server.url.replace("redis://", "redis://weak:any@")
        rows = cli("doctor", "--json", "--url", weak, code=1).rows
        assert "rights" in [row["code"] for row in rows if row["severity"] == "error"]
        assert cli("stats", "--json").rows[0]["bytes"] > 0

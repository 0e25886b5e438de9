"""setup creates the indexes, and shows how far it is; stats counts."""

from __future__ import annotations

import re
from typing import Any

import pytest
import redis
from langchain_core.messages import HumanMessage

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.search.fields import SCHEMAS
from tests.support.checkpoints import found_keys, put
from tests.support.command_line import Cli, Terminal, environment, run_process


def test_setup(redis_client: redis.Redis, redis_url: str, key_prefix: str) -> None:
    done = run_process(["setup"], environment(redis_url, key_prefix))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "The server is suitable, and its search indexes are up to date.\n"
    found = redis_client.execute_command("FT._LIST")
    assert len([name for name in found if name.startswith(key_prefix)]) == len(SCHEMAS)


def _setup_of_many(client: redis.Redis, redis_url: str, key_prefix: str) -> Terminal:
    """Run setup on a terminal, where the server has 20,001 checkpoints to index."""
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        put(saver, "1")
    key = f"{key_prefix}checkpoint:{{thread}}::1"
    document = client.execute_command("JSON.GET", key, ".")
    pipeline = client.pipeline(transaction=False)
    for number in range(20_000):
        pipeline.execute_command("JSON.SET", f"{key}-{number}", "$", document)
    pipeline.execute()
    return Terminal(["setup"], environment(redis_url, key_prefix))


def test_a_terminal_gets_a_bar(redis_client: redis.Redis, redis_url: str, key_prefix: str) -> None:
    terminal = _setup_of_many(redis_client, redis_url, key_prefix)
    assert terminal.wait() == 0
    assert "Building the search indexes" in terminal.text
    shares = {*re.findall(r"(\d+)%", terminal.text)}
    assert shares > {"0", "100"}
    assert terminal.text.endswith(
        "The server is suitable, and its search indexes are up to date.\n"
    )


def test_ctrl_c_says_that_the_server_goes_on(
    redis_client: redis.Redis, redis_url: str, key_prefix: str
) -> None:
    terminal = _setup_of_many(redis_client, redis_url, key_prefix)
    terminal.wait_for("%")
    terminal.type("\x03")
    assert terminal.wait() == 130
    words = " ".join(terminal.text.split())
    assert "Stopped by Ctrl-C. The server goes on building the indexes; run setup again" in words
    done = run_process(["setup"], environment(redis_url, key_prefix))
    assert (done.returncode, done.stderr) == (0, "")
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        found: Any = client.execute_command(
            "FT.SEARCH", f"{key_prefix}checkpoints", "*", "LIMIT", 0, 0
        )
    assert found == [20_001]


def test_stats_counts_everything(cli: Cli, talks: redis.Redis) -> None:
    total, *others = cli("stats", "--json").rows
    keys = [*talks.scan_iter("langgraph:*", count=1_000)]
    assert {name: total[name] for name in total if "bytes" not in name} == {
        "kind": "total",
        "threads": 4,
        "idle": 2,
        "interrupted": 1,
        "error": 1,
        "checkpoints": sum(key.startswith("langgraph:checkpoint:") for key in keys),
        "messages": 60 + 2 + 2 + 5,
        "keys": len(keys),
    }
    assert total["bytes"] == sum(talks.memory_usage(key) or 0 for key in keys)
    found = [one for one in others if one["kind"] == "thread"]
    assert [one["bytes"] for one in found] == sorted((o["bytes"] for o in found), reverse=True)
    assert found[0]["thread_id"] == "long-1"
    assert found[0]["messages"] == 60
    assert sum(one["bytes"] for one in found) == total["bytes"]
    indexes = [one for one in others if one["kind"] == "index"]
    assert [one["index"] for one in indexes] == [f"langgraph:{which}" for which in SCHEMAS]
    assert indexes[0]["documents"] == total["checkpoints"]
    assert sum(one["bytes"] for one in indexes) == total["index_bytes"] > 0


def test_stats_for_people(cli: Cli, talks_url: str) -> None:
    lines = cli("stats", "--top", "2").lines
    assert " ".join(lines[0].split()) == "threads 4 2 idle, 1 interrupted, 1 error"
    heaviest = lines.index("")
    assert lines[heaviest + 1].startswith("heaviest threads")
    assert lines[heaviest + 2].split()[0] == "long-1"
    assert lines[heaviest + 4] == ""
    terminal = Terminal(["stats"], environment(talks_url))
    assert terminal.wait() == 0
    assert "Counting" in terminal.text
    assert all(len(line) <= 80 for line in terminal.text.splitlines()[1:])


def test_stats_counts_short_conversations(
    own: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str
) -> None:
    """They may be in a blob, or in the checkpoint itself, or in a channel of another name."""
    for number, length in enumerate(range(0, 400, 10)):
        talk = [HumanMessage("x" * length), HumanMessage("y")]
        put(own, "1", {"messages": talk}, thread_id=f"{number}")
    put(own, "1", {"talk": [HumanMessage("Hi")]}, thread_id="other")
    assert own_cli("stats", "--json").rows[0]["messages"] == 81
    assert found_keys(redis_client, key_prefix, "blob")


def test_stats_of_nothing(own_cli: Cli) -> None:
    total, *_ = own_cli("stats", "--json").rows
    assert total["threads"] == total["messages"] == total["bytes"] == 0
    assert own_cli("stats").lines[0].split() == ["threads", "0"]


@pytest.mark.parametrize("count", [120])
def test_stats_of_several_pages(own: RedisSaver, own_cli: Cli, count: int) -> None:
    for number in range(count):
        put(own, "1", thread_id=f"a:{number}")
    put(own, "1", thread_id="")
    total, *others = own_cli("stats", "--json", "--top", "0").rows
    assert (total["threads"], total["keys"]) == (count + 1, 3 * (count + 1))
    assert [one["kind"] for one in others] == ["index"] * len(SCHEMAS)

"""What docs/migrating.md says of other packages."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import metadata
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.redis import RedisSaver as PeerRedisSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.redis import RedisStore
from langgraph.types import Command

from langgraph_redis_json import RedisSaver, migration
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import config, get_tuple, put
from tests.support.command_line import COMMAND, environment
from tests.support.graphs import THREAD, nested
from tests.support.project import ROOT
from tests.support.sources import Stores

PAGE = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
PEER: Any = metadata("langgraph-checkpoint-redis")
README = str(PEER.get_payload())
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as started:
        yield started


def migrate(url: str, source: str, *options: str) -> str:
    command = [*COMMAND, "migrate", "--from", source, *options]
    env = environment(url)
    subprocess.run([*COMMAND, "setup"], env=env, check=True, capture_output=True)
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["RedisSaver", "AsyncRedisSaver"])
def test_the_example_of_the_other_redis_saver_runs_after_one_import_and_one_command(
    server: EmbeddedRedis, kind: str
) -> None:
    """That of its README, where it puts, gets and lists a checkpoint."""
    line = {
        "RedisSaver": "from langgraph.checkpoint.redis import RedisSaver",
        "AsyncRedisSaver": "from langgraph.checkpoint.redis.aio import AsyncRedisSaver",
    }[kind]
    [code, *_] = [
        each for each in EXAMPLES if f"{line}\n" in each and ".put(" in each.replace("aput", "put")
    ]
    code = code.replace("redis://localhost:6379", server.url)
    assert f"| `{line}` | `from langgraph_redis_json import {kind}` |" in PAGE

    def run(code: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(code, names)
        if "main" in names and "asyncio.run" not in code:
            asyncio.run(names["main"]())
        return names

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(code)
    shown = migrate(server.url, server.url, "--verify")
    assert "1 thread with 1 checkpoint: copied 1" in shown
    with RedisSaver(server.url) as saver:
        before = get_tuple(saver, config("1"))
        assert before.checkpoint["channel_values"]["my_key"] == "meow"
        names = run(code.replace(line, f"from langgraph_redis_json import {kind}"))
        after = get_tuple(saver, config("1"))
        assert after.checkpoint["channel_values"] == before.checkpoint["channel_values"]
    if kind == "RedisSaver":
        assert names["loaded_checkpoint"]["channel_values"]["my_key"] == "meow"
        assert len(names["checkpoints"]) == 1


def test_the_python_example_runs(
    server: EmbeddedRedis, stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    from tests.migration.test_migration import fill

    with stores.saver("sqlite") as source:
        fill(source, 1, 2)
        exec(code.replace("redis://localhost:6379", server.url), {"old_saver": source})
    assert "all_checkpoints=4" in capsys.readouterr().out


def test_every_saver_on_the_page_exists() -> None:
    for module, name in re.findall(r"`from (langgraph[\w.]+) import (\w+)`", PAGE):
        __import__(module)
        assert hasattr(sys.modules[module], name)


def test_the_old_application_goes_on_after_a_migration(server: EmbeddedRedis) -> None:
    """The way back."""
    builder = StateGraph(MessagesState).add_node("node", lambda state: {"messages": ["answer"]})
    builder.add_edge(START, "node")
    with PeerRedisSaver.from_conn_string(server.url) as source:
        source.setup()
        graph = builder.compile(checkpointer=source)
        given: Any = {"configurable": {"thread_id": "1"}}
        given_state: Any = {"messages": ["question"]}
        graph.invoke(given_state, given)
        migrate(server.url, server.url)
        assert len(graph.invoke(given_state, given)["messages"]) == 4


@pytest.mark.parametrize("kind", ["redis", "postgres", "sqlite"])
def test_the_old_application_goes_on_with_what_it_had(
    stores: Stores, target: RedisSaver, kind: str
) -> None:
    memory = InMemorySaver()
    with stores.saver(kind) as source:
        for saver in (source, memory):
            nested(saver).invoke({"ask": True}, THREAD)
        assert migration.migrate(source, target, verify=True).is_complete
        for saver in (target, memory):  # the new application has written
            nested(saver).invoke(Command(resume="new"), THREAD)
            nested(saver).invoke({"ask": True}, THREAD)
        assert nested(source).get_state(THREAD).interrupts
        [code] = re.findall(r"```python\n# back.py\n(.*?)```", PAGE, re.DOTALL)
        names: dict[str, Any] = {}
        exec(code, names)
        source.delete_thread("thread")
        names["copy_back"]("thread", target, source)
        asked = [nested(saver).get_state(THREAD).interrupts for saver in (source, memory)]
        assert [one.value for one in asked[0]] == [one.value for one in asked[1]] == ["leaf?"]
        found, expected = (
            nested(saver).invoke(Command(resume="old"), THREAD) for saver in (source, memory)
        )
        assert found == expected
        if kind == "redis":
            return  # it lists the checkpoints of subgraphs too
        history = [[*nested(saver).get_state_history(THREAD)] for saver in (source, memory)]
        assert [one.values for one in history[0]] == [one.values for one in history[1]]


def test_another_prefix_of_the_other_redis_saver_is_migrated_in_python(
    stores: Stores, target: RedisSaver
) -> None:
    for prefix in ("app[1]", "app1"):
        with PeerRedisSaver.from_conn_string(
            stores.redis, checkpoint_prefix=prefix, checkpoint_write_prefix=f"{prefix}_write"
        ) as source:
            source.setup()
            source.put_writes(put(source, "1", thread_id=prefix), [("a", 1)], "task")
    with PeerRedisSaver.from_conn_string(
        stores.redis, checkpoint_prefix="app[1]", checkpoint_write_prefix="app[1]_write"
    ) as source:
        source.setup()
        report = migration.migrate(source, target, verify=True)
    assert report.is_complete, report
    assert [row.thread_id for row in target.threads()] == ["app[1]"]
    assert get_tuple(target, config("app[1]")).pending_writes == [("task", "a", 1)]


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_stores_work_beside_this_saver(server: EmbeddedRedis, postgres_url: str, kind: str) -> None:
    def node(state: MessagesState, *, store: BaseStore) -> dict[str, Any]:
        count = len(store.search(("facts", "ada")))
        store.put(("facts", "ada"), f"fact {count}", {"n": count})
        return {"messages": [("ai", f"knows {count}")]}

    opened: Any = (
        RedisStore.from_conn_string(server.url)
        if kind == "redis"
        else PostgresStore.from_conn_string(postgres_url)
    )
    with RedisSaver(server.url) as saver, opened as store:
        saver.setup()
        store.setup()
        builder = StateGraph(MessagesState).add_node(node).add_edge(START, "node")
        graph = builder.compile(checkpointer=saver, store=store)
        given: Any = {"configurable": {"thread_id": "1"}}
        hello: Any = {"messages": ["Hello"]}
        for _ in range(3):
            state = graph.invoke(hello, given)
        said = [message.content for message in state["messages"][1::2]]
        assert said == ["knows 0", "knows 1", "knows 2"]
        saver.prune(["1"])
        saver.delete_thread("1")
        saver.setup()
        assert len(store.search(("facts", "ada"))) == 3
        assert list(saver.threads()) == []
    if kind == "postgres":
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP TABLE store, store_migrations CASCADE")

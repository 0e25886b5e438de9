"""Sources that keep only the newest checkpoint of each namespace."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.migration import amigrate, migrate, sources
from tests.migration.test_command import options
from tests.support.checkpoints import config, get_tuple, ids, put
from tests.support.command_line import Cli
from tests.support.graphs import THREAD, nested
from tests.support.sources import SHALLOW, Stores

pytestmark = pytest.mark.filterwarnings("ignore:.*Shallow.* is deprecated:DeprecationWarning")

each_kind = pytest.mark.parametrize("kind", SHALLOW)


@each_kind
def test_what_it_has_is_copied(stores: Stores, target: RedisSaver, kind: str) -> None:
    said = [AIMessage("hello", id="1")]
    with stores.saver(kind) as source:
        for number in ("1", "2", "3"):
            for thread_id, checkpoint_ns in [("a", ""), ("a", "sub"), ("b", "")]:
                written = put(
                    source,
                    number,
                    {"n": number, "said": said},
                    thread_id=thread_id,
                    checkpoint_ns=checkpoint_ns,
                )
                source.put_writes(written, [("n", number), ("said", said)], "y", "path 1")
                source.put_writes(written, [("n", "other")], "x", "path 2")
        report = migrate(source, target, verify=True)
        only = migrate(source, target, ["b", "c"])
    assert report.is_complete, report
    assert (report.threads, report.copied, report.verified) == (2, 3, 3)
    assert (only.threads, only.checkpoints, only.missing) == (1, 1, ["c"])
    found = get_tuple(target, config("a", "sub"))
    assert found.checkpoint["id"] == "3"
    assert found.checkpoint["channel_values"] == {"n": "3", "said": said}
    assert found.pending_writes == [("y", "n", "3"), ("y", "said", said), ("x", "n", "other")]
    assert found.parent_config is None
    assert report.hidden_writes == 0


def play(saver: Any) -> None:
    nested(saver).invoke({"ask": False}, THREAD)
    assert "__interrupt__" in nested(saver).invoke({"ask": True}, THREAD)


@each_kind
def test_a_waiting_graph_goes_on_after_two_runs(
    stores: Stores, target: RedisSaver, kind: str
) -> None:
    memory = InMemorySaver()
    with stores.saver(kind) as source:
        for saver in (memory, source):
            play(saver)
        assert migrate(source, target, verify=True).is_complete
        assert migrate(source, target, verify=True).copied == 0
        for saver in (memory, source):  # the old application goes on, and asks again
            nested(saver).invoke(Command(resume="old"), THREAD)
            nested(saver).invoke({"ask": True}, THREAD)
        report = migrate(source, target, verify=True)
        assert report.is_complete, report
        assert report.continued == []
        assert 0 < report.copied < report.checkpoints
        found, expected = (
            nested(saver).invoke(Command(resume="new"), THREAD) for saver in (target, memory)
        )
        assert found == expected
        # The new application has gone on, so this thread is left alone.
        nested(source).invoke(Command(resume="too late"), THREAD)
        last = migrate(source, target)
    assert last.continued == ["thread"]
    assert last.copied == last.updated == 0
    assert nested(target).get_state(THREAD).values == found


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="interrupt() in awaited graphs needs Python 3.11"
)
@each_kind
async def test_an_asynchronous_one_is_copied(
    stores: Stores, redis_url: str, key_prefix: str, kind: str
) -> None:
    memory = InMemorySaver()
    async with (
        stores.async_saver(kind) as source,
        AsyncRedisSaver(redis_url, key_prefix=key_prefix) as target,
    ):
        await target.setup()
        for saver in (memory, source):
            await nested(saver).ainvoke({"ask": True}, THREAD)
        report = await amigrate(source, target, verify=True)
        assert report.is_complete, report
        assert report.copied == report.verified == 3
        found, expected = [
            await nested(saver).ainvoke(Command(resume="yes"), THREAD) for saver in (target, memory)
        ]
    assert found == expected


@each_kind
def test_the_command_finds_that_a_source_is_shallow(
    stores: Stores, target: RedisSaver, cli: Cli, kind: str, postgres_source: str
) -> None:
    memory = InMemorySaver()
    with stores.saver(kind) as source:
        for saver in (memory, source):
            play(saver)
    command = options(stores, kind.removeprefix("shallow "), postgres_source)
    shown = cli(*command, "--verify")
    assert shown.lines[0].startswith("1 thread with 5 checkpoints: copied 5, completed 0, sent ")
    assert shown.lines[1] == "Compared 5 checkpoints: 5 are the same."
    assert shown.err == ""
    found, expected = (
        nested(saver).invoke(Command(resume="yes"), THREAD) for saver in (target, memory)
    )
    assert found == expected


def test_both_savers_of_redis_on_one_server_are_copied(
    stores: Stores, target: RedisSaver, cli: Cli
) -> None:
    with stores.saver("redis") as whole, stores.saver("shallow redis") as shallow:
        for number in ("1", "2"):
            put(whole, number, {"a": 1.5}, {"a": number}, thread_id="whole")
            put(shallow, number, {"a": 2.5}, {"a": number}, thread_id="shallow")
        assert migrate(shallow, target).checkpoints == 1  # a shallow saver has no other
    cli(*options(stores, "redis"), "--verify")
    assert ids(target.list(config("whole"))) == ["2", "1"]
    assert ids(target.list(config("shallow"))) == ["2"]


@each_kind
def test_many_namespaces_are_copied(
    stores: Stores, target: RedisSaver, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "PAGE", 2)
    with stores.saver(kind) as source:
        for number in range(5):
            put(source, "1", {"a": 1}, checkpoint_ns=f"n{number}")
        put(source, "1", {"a": 1}, thread_id="")
        report = migrate(source, target)
    assert (report.checkpoints, report.copied) == (6, 6)


@each_kind
def test_a_checkpoint_that_is_replaced_meanwhile_is_told(
    stores: Stores, target: RedisSaver, kind: str
) -> None:
    with stores.saver(kind) as source:
        put(source, "1", {"a": 1}, thread_id="a")
        put(source, "1", {"a": 1}, thread_id="b")

        def replace(told: Any) -> None:
            if told.checkpoints == 1:
                put(source, "2", {"a": 2}, thread_id="b")
                source.put_writes(config("b", "", "2"), [("a", 3)], "task")

        report = migrate(source, target, verify=True, on_progress=replace)
        assert (report.copied, report.verified, report.gone) == (1, 1, 1)
        assert not report.is_complete
        again = migrate(source, target, verify=True)
    assert again.is_complete, again
    assert (again.copied, again.gone) == (1, 0)
    assert get_tuple(target, config("b")).pending_writes == [("task", "a", 3)]

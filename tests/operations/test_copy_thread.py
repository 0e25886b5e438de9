"""copy_thread copies a whole thread; the copy is independent of its source."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.types import INTERRUPT

from langgraph_redis_json import MissingDocumentError
from langgraph_redis_json.operations.copy_thread import FIRST
from langgraph_redis_json.search.queries import index_name
from tests.support.accounting import account
from tests.support.checkpoints import (
    BIG,
    config,
    each_saver,
    found_keys,
    get_tuple,
    ids,
    indexed,
    names,
    put,
    stored,
)
from tests.support.clients import Client, MakeSaver, Saver


def renamed(found: CheckpointTuple, thread_id: str) -> CheckpointTuple:
    """The same checkpoint as another thread has it."""

    def rename(given: RunnableConfig) -> RunnableConfig:
        return {"configurable": {**given["configurable"], "thread_id": thread_id}}

    parent = found.parent_config
    return found._replace(config=rename(found.config), parent_config=parent and rename(parent))


@pytest.fixture
def copied(saver: Saver) -> Saver:
    """A thread of several namespaces, and its copy."""
    for number in range(1, 6):
        for checkpoint_ns in ("", "sub"):
            written = put(
                saver,
                f"{number}",
                {"big": f"{number // 2}{BIG}", "messages": [HumanMessage("é\0")]},
                {"big": number // 2, "messages": 1},
                checkpoint_ns=checkpoint_ns,
                parent=f"{number - 1}",
                metadata={"step": number, "ratio": 0.1 + 0.2, "thread": "thread"},
            )
            saver.put_writes(written, [("channel", number), (INTERRUPT, BIG)], "task", "path")
    saver.put_writes(config(checkpoint_id="6"), [("early", 1)], "task")
    saver.copy_thread("thread", "copy")
    return saver


def test_a_copy_equals_its_source_except_for_the_thread_id(
    copied: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    original = list(copied.list(config("thread", None)))
    assert len(original) == 10
    assert list(copied.list(config("copy", None))) == [renamed(o, "copy") for o in original]
    for checkpoint_ns in ("", "sub"):
        newest = get_tuple(copied, config("thread", checkpoint_ns))
        assert get_tuple(copied, config("copy", checkpoint_ns)) == renamed(newest, "copy")
    assert ids(copied.list(config("copy"), filter={"step": 2})) == ["2"]
    assert sorted(names(copied.list(None, filter={"step": 2}))) == [
        (thread_id, checkpoint_ns, "2")
        for thread_id in ("copy", "thread")
        for checkpoint_ns in ("", "sub")
    ]
    put(copied, "6", thread_id="copy")
    assert get_tuple(copied, config("copy")).pending_writes == [("task", "early", 1)]
    for which, count in {"checkpoints": 10, "writes": 10}.items():
        index = index_name(key_prefix, which)
        assert indexed(redis_client, index, "@thread_id:{thread}") == count
        assert indexed(redis_client, index, "@thread_id:{copy}") == count + (which == "checkpoints")
    assert indexed(redis_client, index_name(key_prefix, "threads"), "*") == 2


@each_saver
@pytest.mark.parametrize(("changed", "other"), [("thread", "copy"), ("copy", "thread")])
def test_source_and_copy_are_independent(
    copied: Saver, redis_client: redis.Redis, key_prefix: str, changed: str, other: str
) -> None:
    def documents() -> dict[str, Any]:
        return {
            key: document
            for key, document in stored(redis_client, key_prefix).items()
            if f":{{{other}}}" in key
        }

    before = documents()
    assert len(before) > 20
    put(copied, "5", {"big": f"changed{BIG}"}, {"big": 2}, thread_id=changed)
    put(copied, "7", {"big": f"new{BIG}"}, {"big": 3}, thread_id=changed)
    copied.put_writes(config(changed, "", "5"), [(INTERRUPT, "changed")], "task")
    copied.prune([changed])
    copied.delete_thread(changed)
    assert documents() == before
    assert len(ids(copied.list(config(other, None)))) == 10


@each_saver
def test_the_target_keeps_its_own_checkpoints(saver: Saver) -> None:
    put(saver, "1", {"channel": "source"})
    put(saver, "1", {"channel": "target"}, thread_id="target")
    put(saver, "2", {"channel": "target"}, thread_id="target")
    saver.copy_thread("thread", "target")
    assert [found.checkpoint["channel_values"] for found in saver.list(config("target"))] == [
        {"channel": "target"},
        {"channel": "source"},
    ]


@each_saver
def test_documents_that_a_copy_replaces_are_freed(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    # The logs of each copy have new names; those of the replaced copy are freed.
    said = [{"n": n, "text": BIG[:100]} for n in range(3 * FIRST)]
    for number in range(1, 4):
        values = {"big": f"{number}{BIG}", "list": said[: number * FIRST]}
        put(saver, f"{number}", values, {"big": number, "list": number})
    for _ in range(2):
        saver.copy_thread("thread", "copy")
        account(redis_client, key_prefix)
        assert saver.get(config("copy")) == saver.get(config())
    assert len(found_keys(redis_client, key_prefix, "log")) == 2


@each_saver
def test_copying_a_missing_thread_does_nothing(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver.copy_thread("thread", "copy")
    assert found_keys(redis_client, key_prefix) == []


@each_saver
@pytest.mark.parametrize(("source", "target"), [("thread", "thread"), (7, "7")])
def test_copying_a_thread_onto_itself_is_refused(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, source: Any, target: Any
) -> None:
    put(saver, "1", {"big": BIG}, thread_id=source)
    before = stored(redis_client, key_prefix)
    with pytest.raises(ValueError, match="onto itself"):
        saver.copy_thread(source, target)
    assert stored(redis_client, key_prefix) == before


@each_saver
def test_a_long_thread_is_copied_completely(make_saver: MakeSaver, client: Client) -> None:
    saver = make_saver(client)
    count = 4 * FIRST + 1
    for number in range(count):
        put(saver, f"{number:04}", {"big": f"{number}{BIG}"}, {"big": number})
    saver.copy_thread("thread", "copy")
    found = [found.checkpoint["channel_values"]["big"] for found in saver.list(config("copy"))]
    assert found == [f"{number}{BIG}" for number in range(count - 1, -1, -1)]


@each_saver
@pytest.mark.parametrize("kind", ["checkpoint", "writes", "blob", "log"])
def test_a_missing_document_raises(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, kind: str
) -> None:
    values = {"blob": BIG, "list": [BIG]}
    made = put(saver, "1", values, dict.fromkeys(values, 1))
    saver.put_writes(made, [("channel", 1)], "task")
    [key] = found_keys(redis_client, key_prefix, kind)
    redis_client.delete(key)
    with pytest.raises(MissingDocumentError) as raised:
        saver.copy_thread("thread", "copy")
    assert key in str(raised.value)


@each_saver
def test_a_log_that_lost_items_raises(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    put(saver, "1", {"list": [BIG, BIG]}, {"list": 1})
    [key] = found_keys(redis_client, key_prefix, "log")
    redis_client.json().arrpop(key, "$.items")
    with pytest.raises(MissingDocumentError) as raised:
        saver.copy_thread("thread", "copy")
    assert key in str(raised.value)


@each_saver
def test_the_copy_of_a_checkpoint_without_writes_has_none(saver: Saver) -> None:
    put(saver, "1")
    saver.copy_thread("thread", "copy")
    saver.put_writes(config("copy", "", "1"), [(INTERRUPT, 1)], "task")
    saver.copy_thread("thread", "copy")
    assert get_tuple(saver, config("copy")).pending_writes == []
    assert {found.status for found in saver.threads()} == {"idle"}

"""put_writes stores pending writes, which come back in order, each once."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import redis
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import WRITES_IDX_MAP, writes_sort_key
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, SCHEDULED
from langgraph.types import Interrupt, Send

from langgraph_redis_json.storage import keys
from langgraph_redis_json.storage.documents import FORMAT
from tests.support.checkpoints import (
    BIG,
    config,
    each_saver,
    found_keys,
    get_tuple,
    indexed,
    put,
    stored,
    strange,
)
from tests.support.clients import Saver

SPECIAL = [ERROR, INTERRUPT, RESUME, SCHEDULED]


def pending(saver: Saver, checkpoint_id: str = "1", checkpoint_ns: str = "") -> list[Any]:
    found = get_tuple(saver, config("thread", checkpoint_ns, checkpoint_id)).pending_writes
    assert found is not None
    return found


def test_writes_come_back_as_they_were(saver: Saver) -> None:
    written = put(saver, "1")
    values = [AIMessage("é\0"), Send("node", {"a": {1}}), None, BIG, Interrupt("why?"), b"\xff"]
    saver.put_writes(written, [(f"channel {v!r:.9}", v) for v in values], "task", "path")
    found = pending(saver)
    assert found == [("task", f"channel {v!r:.9}", v) for v in values]
    assert [type(value) for _, _, value in found] == [type(value) for value in values]
    [listed] = saver.list(config())
    assert listed.pending_writes == found


def test_writes_are_ordered_by_path_task_and_index(saver: Saver) -> None:
    put(saver, "1")
    paths = ["", "~__pregel_pull, b", "~__pregel_pull, a", "~__pregel_push, 10", "é"]
    expected = []
    for number, (path, task) in enumerate(itertools.product(paths, ["b", "a", "c:"])):
        task_id = f"{99 - number}{task}"
        writes = [(f"channel {n}", [path, task_id, n]) for n in range(11)]
        writes[number % 11] = (SPECIAL[number % 4], [path, task_id, "special"])
        saver.put_writes(config(checkpoint_id="1"), writes, task_id, path)
        for index, (channel, value) in enumerate(writes):
            order = writes_sort_key(path, task_id, WRITES_IDX_MAP.get(channel, index))
            expected.append((order, (task_id, channel, value)))
    assert pending(saver) == [write for _, write in sorted(expected)]


@each_saver
def test_a_regular_write_keeps_its_first_value_and_its_path(saver: Saver) -> None:
    written = put(saver, "1")
    saver.put_writes(written, [("a", "first"), ("b", "first")], "task", "z")
    saver.put_writes(written, [("other", "second")], "task", "a")
    saver.put_writes(written, [("x", 2), ("y", 2), ("c", "added")], "task", "z")
    saver.put_writes(written, [("a", "another task's")], "task 2", "y")
    assert pending(saver) == [
        ("task 2", "a", "another task's"),
        ("task", "a", "first"),
        ("task", "b", "first"),
        ("task", "c", "added"),
    ]


@each_saver
@pytest.mark.parametrize("channel", SPECIAL)
def test_a_special_write_keeps_its_last_value(saver: Saver, channel: str) -> None:
    written = put(saver, "1")
    saver.put_writes(written, [(channel, "in one call"), (channel, "last")], "task", "b")
    assert pending(saver) == [("task", channel, "last")]
    saver.put_writes(written, [("regular", 1), (channel, "in another call")], "task", "a")
    # A special write takes no place from the regular ones, which count on.
    saver.put_writes(written, [("regular", 2), ("regular 2", 2)], "task", "b")
    assert pending(saver) == [
        ("task", channel, "in another call"),
        ("task", "regular", 1),
        ("task", "regular 2", 2),
    ]


@each_saver
def test_writes_may_arrive_before_their_checkpoint(saver: Saver) -> None:
    saver.put_writes(config(checkpoint_id="1"), [("a", 1), (INTERRUPT, BIG)], "task")
    assert saver.get_tuple(config(checkpoint_id="1")) is None
    assert saver.get_tuple(config()) is None
    assert list(saver.list(config())) == []
    assert list(saver.list(None)) == []
    put(saver, "1")
    put(saver, "1", parent="0")
    assert pending(saver) == [("task", INTERRUPT, BIG), ("task", "a", 1)]


@each_saver
def test_writes_belong_to_one_checkpoint(saver: Saver) -> None:
    names = [("", "1"), ("", "1:2"), ("", "10"), ("", "1;"), ("1", "1"), ("sub:1", "1"), ("", "0")]
    for checkpoint_ns, checkpoint_id in names:
        put(saver, checkpoint_id, checkpoint_ns=checkpoint_ns)
        saver.put_writes(
            config("thread", checkpoint_ns, checkpoint_id),
            [("channel", [checkpoint_ns, checkpoint_id])],
            "task",
        )
    for checkpoint_ns, checkpoint_id in names:
        value = [checkpoint_ns, checkpoint_id]
        assert pending(saver, checkpoint_id, checkpoint_ns) == [("task", "channel", value)]


@each_saver
@strange
def test_any_task_id_path_and_channel_works(saver: Saver, text: str) -> None:
    written = put(saver, "1")
    saver.put_writes(written, [(text, text)], text, text)
    saver.put_writes(written, [(text, 2)], f"{text}2", f"{text}2")
    assert pending(saver) == [(text, text, text), (f"{text}2", text, 2)]


@each_saver
def test_many_tasks_may_write(saver: Saver) -> None:
    # More tasks than Lua hands to one call.
    written = put(saver, "1")
    for number in range(1_100):
        saver.put_writes(written, [("channel", number)], f"{number:04}")
    assert [value for _, _, value in pending(saver)] == list(range(1_100))
    saver.put_writes(written, [(f"{n}", n) for n in range(10_000)], "9999")
    assert len(pending(saver)) == 11_100


@each_saver
def test_many_writes_cost_few_commands(saver: Saver, redis_client: redis.Redis) -> None:
    """Whatever the number of writes, the script asks once which of them are there already."""
    written = put(saver, "1")
    saver.put_writes(written, [("a", 0)], "first task")
    many = [(f"channel {number}", number) for number in range(2_000)]
    redis_client.config_resetstat()
    saver.put_writes(written, many, "task")
    commands = redis_client.info("commandstats")
    assert commands["cmdstat_json.type"]["calls"] == 1
    assert commands["cmdstat_json.merge"]["calls"] == 1
    # Sent again, all are there.
    saver.put_writes(written, [(channel, -1) for channel, _ in many], "task")
    saver.put_writes(written, [*many[:5], ("new", 1)], "second task")
    saver.put_writes(written, [("other", 2), *many[1:5], ("other", 3)], "second task")
    first, second = ("first task", "a", 0), [("second task", *write) for write in many[:5]]
    expected = [first, *second, ("second task", "new", 1), *[("task", *write) for write in many]]
    assert pending(saver) == expected


def test_no_writes_store_nothing(saver: Saver, redis_client: redis.Redis, key_prefix: str) -> None:
    saver.put_writes(config(checkpoint_id="1"), [], "task")
    assert found_keys(redis_client, key_prefix) == []


@each_saver
@pytest.mark.parametrize("checkpoint_id", [None, ""])
def test_a_config_without_a_checkpoint_id_is_refused(
    saver: Saver, checkpoint_id: str | None
) -> None:
    with pytest.raises(ValueError, match="checkpoint_id is missing"):
        saver.put_writes(config(checkpoint_id=checkpoint_id), [("a", 1)], "task")


@each_saver
def test_a_value_that_the_serializer_refuses_writes_nothing(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    written = put(saver, "1")
    before = stored(redis_client, key_prefix)
    with pytest.raises(TypeError, match="serializable: object"):
        saver.put_writes(written, [("good", 1), ("bad", object())], "task")
    assert stored(redis_client, key_prefix) == before


@each_saver
def test_interrupts_and_errors_are_found_by_search(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for number, channel in enumerate([INTERRUPT, ERROR, ERROR, "b"]):
        saver.put_writes(config(checkpoint_id=f"{number}"), [("a", 1), (channel, 1)], "task")
    saver.put_writes(config(checkpoint_id="3"), [(INTERRUPT, 1)], "another task")
    for channel, count in {INTERRUPT: 2, ERROR: 2, "a": 0, "b": 0, RESUME: 0}.items():
        query = f"@channel:{{{channel}}}"
        assert indexed(redis_client, f"{key_prefix}writes", query) == count


@each_saver
@strange
def test_the_writes_document_names_its_checkpoint(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, text: str
) -> None:
    checkpoint_id = text.replace("\0", "") or "1"
    saver.put_writes(config(text, text, checkpoint_id), [("channel", 1)], "task")
    [key] = found_keys(redis_client, key_prefix, "writes")
    document = json.loads(redis_client.execute_command("JSON.GET", key))
    assert document.pop("writes")
    assert document == {
        "format": FORMAT,
        "thread_id": text,
        "checkpoint_ns": text,
        "checkpoint_id": checkpoint_id,
    }


@each_saver
def test_writes_of_an_expired_thread_are_ignored(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    put(saver, "1")
    saver.put_writes(config(checkpoint_id="1"), [("a", "old"), (INTERRUPT, "old")], "task")
    # What is left when a process dies while it gives a long thread another deadline.
    redis_client.delete(keys.thread_keys(key_prefix, "thread").contents)
    put(saver, "1")
    assert pending(saver) == []
    assert [found.status for found in saver.threads()] == ["idle"]
    saver.put_writes(config(checkpoint_id="1"), [("a", "new")], "task")
    assert pending(saver) == [("task", "a", "new")]

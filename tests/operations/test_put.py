"""put stores a checkpoint completely or not at all."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, get_checkpoint_metadata
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT

from langgraph_redis_json.client.scripts import with_source
from langgraph_redis_json.operations import put as put_operation
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import keys
from langgraph_redis_json.storage.cache import LARGE, Cache
from tests.support.checkpoints import (
    BIG,
    checkpoint,
    config,
    each_saver,
    found_keys,
    get_tuple,
    ids,
    names,
    own_indexes,
    put,
    stored,
    strange,
)
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.waiting import server_time


def thread_document(client: redis.Redis, key_prefix: str) -> Any:
    """The thread document, None if there is none."""
    found = client.execute_command("JSON.GET", f"{key_prefix}thread:{{thread}}")
    return found and json.loads(found)


def test_a_checkpoint_comes_back_as_it_was_put(saver: Saver) -> None:
    values = {
        "messages": [HumanMessage(BIG, id="1"), AIMessage("é\0", id="2")],
        "small": {"a": [1, 2.5, None, True, {1, 2}]},
        "nothing": None,
    }
    made = checkpoint(
        str(uuid6()),
        values,
        {"messages": "2.1", "small": 3, "nothing": 0.5},
        updated_channels=["small"],
    )
    metadata: Any = {"source": "loop", "step": -1, "parents": {"": "x"}, "ratio": 0.1 + 0.2}
    parent = str(uuid6())
    given = config(checkpoint_ns="sub:1|sub:2", checkpoint_id=parent)

    returned = saver.put(given, made, metadata, made["channel_versions"])

    assert returned == config(checkpoint_ns="sub:1|sub:2", checkpoint_id=made["id"])
    found = get_tuple(saver, returned)
    assert found.checkpoint == made
    assert type(found.checkpoint["channel_values"]["messages"][0]) is HumanMessage
    assert type(found.checkpoint["channel_values"]["small"]["a"][4]) is set
    assert type(found.checkpoint["channel_versions"]["nothing"]) is float
    assert found.metadata == metadata
    assert found.config == returned
    assert found.parent_config == given
    assert found.pending_writes == []


def test_a_first_checkpoint_has_no_parent(saver: Saver) -> None:
    assert get_tuple(saver, put(saver, "1")).parent_config is None


@each_saver
def test_metadata_is_cleaned_as_langgraph_does_but_for_writes(saver: Saver) -> None:
    given: RunnableConfig = {
        "configurable": {
            **config()["configurable"],
            "user_id": "ada",
            "tries": 3,
            "__pregel_secret": "no",
            "an_object": object(),
        },
        "metadata": {"run_id": "run", "step": 99, "langgraph_node": "no", "nul": "a\0b"},
    }
    metadata: Any = {"source": "input", "step": 1, "writes": {"no": 1}, "also": "\0"}
    made = checkpoint("1")
    found = get_tuple(saver, saver.put(given, made, metadata, {}))
    assert found.metadata == get_checkpoint_metadata(given, metadata)
    assert found.metadata == {
        "writes": {"no": 1},
        "source": "input",
        "step": 1,
        "also": "",
        "run_id": "run",
        "nul": "ab",
        "user_id": "ada",
        "tries": 3,
    }


@each_saver
@pytest.mark.parametrize("new_versions", [{}, {"small": 1}, {"big": 1}])
def test_values_of_unchanged_channels_are_stored_too(
    saver: Saver, new_versions: ChannelVersions
) -> None:
    values = {"small": 1, "big": BIG}
    returned = saver.put(config(), checkpoint("1", values), {}, new_versions)
    assert get_tuple(saver, returned).checkpoint["channel_values"] == values


@each_saver
@pytest.mark.parametrize("value", ["small", BIG])
def test_a_value_without_a_version_is_stored_too(saver: Saver, value: str) -> None:
    for checkpoint_id in ("1", "2"):
        put(saver, checkpoint_id, {"channel": value + checkpoint_id}, {})
    for checkpoint_id in ("1", "2"):
        found = get_tuple(saver, config(checkpoint_id=checkpoint_id))
        assert found.checkpoint["channel_values"] == {"channel": value + checkpoint_id}
        assert found.checkpoint["channel_versions"] == {}


@each_saver
def test_a_large_value_is_stored_once_for_all_checkpoints(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for step in range(5):
        made = checkpoint(f"{step}", {"big": BIG, "step": step})
        saver.put(config(), made, {}, {"step": step} if step else made["channel_versions"])
    assert len(found_keys(redis_client, key_prefix, "blob")) == 1
    for step, found in zip(range(4, -1, -1), saver.list(config()), strict=True):
        assert found.checkpoint["channel_values"] == {"big": BIG, "step": step}


@each_saver
@pytest.mark.parametrize("size", [0, 10, len(BIG), 2 * LARGE])
def test_a_value_that_the_caller_changes_later_is_stored_as_it_was(
    make_saver: MakeSaver, client: Client, size: int
) -> None:
    saver, other = make_saver(client), make_saver(client, setup=False)
    value = bytearray(b"a" * size)
    returned = put(saver, "1", {"channel": value})
    value.extend(b"later")
    for each in (saver, other):
        found = get_tuple(each, returned).checkpoint["channel_values"]
        assert found == {"channel": bytearray(b"a" * size)}


@each_saver
def test_versions_of_different_types_are_different(saver: Saver) -> None:
    versions = [1, 1.0, "1", "1.0"]
    for number, version in enumerate(versions):
        put(saver, f"{number}", {"big": f"{number}{BIG}"}, {"big": version})
    for number, version in enumerate(versions):
        found = get_tuple(saver, config(checkpoint_id=f"{number}")).checkpoint
        assert found["channel_values"] == {"big": f"{number}{BIG}"}
        assert found["channel_versions"] == {"big": version}
        assert type(found["channel_versions"]["big"]) is type(version)


@each_saver
def test_a_lost_blob_is_sent_again(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    put(saver, "1", {"big": BIG})
    redis_client.delete(*found_keys(redis_client, key_prefix, "blob"))
    saver.put(config(checkpoint_id="1"), checkpoint("2", {"big": BIG}), {}, {})
    assert get_tuple(saver, config()).checkpoint["channel_values"] == {"big": BIG}


def test_nothing_is_stored_while_a_blob_is_missing(
    redis_client: redis.Redis, key_prefix: str
) -> None:
    made = checkpoint("1", {"big": BIG, "new": BIG})
    context = Context(key_prefix, JsonPlusSerializer(), Cache(), {})
    plan = put_operation.put(context, config(), made, {}, {"new": 1})
    [command] = next(plan)  # looks for the value of the channel that is not new
    [command] = plan.send([redis_client.execute_command(*with_source(command))])
    reply = redis_client.execute_command(*with_source(command))
    missing, *rest = reply
    assert missing == [keys.blob_entry("", "big", 1)]
    assert rest == [[], None]
    assert found_keys(redis_client, key_prefix) == []
    [command] = plan.send([reply])
    reply = redis_client.execute_command(*with_source(command))
    assert reply == [[], [], None]
    assert len(found_keys(redis_client, key_prefix, "blob")) == 2
    with pytest.raises(StopIteration):
        plan.send([reply])


@each_saver
def test_putting_a_checkpoint_again_replaces_it(saver: Saver) -> None:
    put(saver, "1", {"a": 1, "b": BIG}, parent="0", metadata={"old": 1})
    put(saver, "1", {"a": 2}, {"a": 2}, metadata={"new": 1})
    [found] = saver.list(config())
    assert found.checkpoint["channel_values"] == {"a": 2}
    assert found.metadata == {"new": 1}
    assert found.parent_config is None


@each_saver
@pytest.mark.parametrize(
    ("values", "metadata"),
    [({"big": BIG, "bad": object()}, {}), ({"big": BIG}, {"bad": object()})],
    ids=["value", "metadata"],
)
def test_a_value_that_the_serializer_refuses_writes_nothing(
    saver: Saver,
    redis_client: redis.Redis,
    key_prefix: str,
    values: dict[str, Any],
    metadata: dict[str, Any],
) -> None:
    put(saver, "1", {"big": "y" + BIG})
    before = stored(redis_client, key_prefix)
    with pytest.raises(TypeError, match="serializable: object"):
        put(saver, "2", values, dict.fromkeys(values, 2), metadata=metadata)
    assert stored(redis_client, key_prefix) == before


@each_saver
def test_put_works_before_setup(make_saver: MakeSaver, client: Client) -> None:
    saver = make_saver(client, setup=False)
    returned = put(saver, "1", {"big": BIG})
    saver.put_writes(returned, [("channel", 1)], "task")
    found = get_tuple(saver, returned)
    assert found.checkpoint["channel_values"] == {"big": BIG}
    assert found.pending_writes == [("task", "channel", 1)]
    assert ids(saver.list(config())) == ["1"]


# ---- ids


@each_saver
@strange
def test_any_thread_id_works(saver: Saver, text: str) -> None:
    assert put(saver, "1", {"big": BIG}, thread_id=text) == config(text, "", "1")
    assert get_tuple(saver, config(text)).checkpoint["channel_values"] == {"big": BIG}
    assert names(saver.list(config(text))) == [(text, "", "1")]
    assert names(saver.list(None)) == [(text, "", "1")]
    assert names(saver.list(config(text), filter={"step": 1})) == [(text, "", "1")]
    saver.delete_thread(text)
    assert saver.get_tuple(config(text)) is None


@each_saver
@strange
def test_any_namespace_works(saver: Saver, text: str) -> None:
    put(saver, "1", {"big": BIG}, checkpoint_ns=text)
    put(saver, "2", checkpoint_ns="other")
    assert get_tuple(saver, config(checkpoint_ns=text)).checkpoint["id"] == "1"
    assert names(saver.list(config(checkpoint_ns=text))) == [("thread", text, "1")]
    assert ids(saver.list(config(checkpoint_ns=text), filter={"step": 1})) == ["1"]
    assert names(saver.list(None))[1] == ("thread", text, "1")


@each_saver
@strange
def test_any_checkpoint_id_works(saver: Saver, text: str) -> None:
    if "\0" in text:
        with pytest.raises(ValueError, match="checkpoint_id must not contain a NUL"):
            put(saver, text)
        with pytest.raises(ValueError, match="checkpoint_id must not contain a NUL"):
            saver.get_tuple(config(checkpoint_id=text))
    elif not text:
        with pytest.raises(ValueError, match="checkpoint_id is missing"):
            put(saver, text)
    else:
        returned = put(saver, text, {"big": BIG})
        saver.put_writes(returned, [("channel", 1)], "task")
        child = put(saver, text + "2", parent=text)
        assert get_tuple(saver, returned).checkpoint["id"] == text
        assert get_tuple(saver, returned).pending_writes == [("task", "channel", 1)]
        assert get_tuple(saver, child).pending_writes == []
        assert get_tuple(saver, config()).parent_config == returned
        assert ids(saver.list(config())) == [text + "2", text]
        assert ids(saver.list(config(), before=child)) == [text]
        assert ids(saver.list(None, before=child)) == [text]


@each_saver
@strange
def test_any_channel_name_and_metadata_key_works(saver: Saver, text: str) -> None:
    values = {text: BIG, f"{text}2": text}
    metadata: Any = {f"key {text}": {text: [text]}}
    returned = put(saver, "1", values, metadata=metadata)
    found = get_tuple(saver, returned)
    assert found.checkpoint["channel_values"] == values
    assert found.metadata == metadata
    saver.prune(["thread"])
    assert get_tuple(saver, returned).checkpoint["channel_values"] == values


@each_saver
def test_ids_that_look_alike_when_joined_stay_apart(saver: Saver) -> None:
    parts = ["a", "b", "a:b", "a:", ":a", "a;.b", "a%3Ab", "A", "{a}", "a|(", "~", ""]
    put_there = []
    for thread_id in parts:
        for checkpoint_ns in parts:
            put(saver, "1:2", {"big": f"{thread_id}/{checkpoint_ns}{BIG}"}, thread_id=thread_id,
                checkpoint_ns=checkpoint_ns)  # fmt: skip
            put_there.append((thread_id, checkpoint_ns, "1:2"))
    for name in put_there:
        found = get_tuple(saver, config(*name)).checkpoint
        assert found["channel_values"]["big"] == f"{name[0]}/{name[1]}{BIG}"
    assert sorted(names(saver.list(None))) == sorted(put_there)
    saver.delete_thread("a")
    left = [name for name in put_there if name[0] != "a"]
    assert sorted(names(saver.list(None))) == sorted(left)


@each_saver
@pytest.mark.parametrize(
    "thread_id",
    [7, -7, 2**80, UUID("12345678-1234-5678-1234-567812345678")],
    ids=["int", "negative", "long", "UUID"],
)
def test_a_thread_id_may_be_a_number_or_a_uuid(saver: Saver, thread_id: Any) -> None:
    returned = put(saver, "1", thread_id=thread_id)
    assert returned == config(thread_id, "", "1")
    saver.put_writes(returned, [("channel", 1)], "task")
    found = get_tuple(saver, config(thread_id))
    assert found.config == returned
    assert found.pending_writes == [("task", "channel", 1)]
    assert ids(saver.list(config(thread_id))) == ["1"]
    assert names(saver.list(None)) == [(str(thread_id), "", "1")]
    saver.copy_thread(thread_id, "copy")
    saver.prune([thread_id])
    saver.delete_thread(thread_id)
    assert names(saver.list(None)) == [("copy", "", "1")]


CALLS = [
    lambda saver, given: saver.put(given, checkpoint("1"), {}, {}),
    lambda saver, given: saver.put_writes(given, [("channel", 1)], "task"),
    lambda saver, given: saver.get(given),
    lambda saver, given: saver.get_tuple(given),
    lambda saver, given: list(saver.list(given)),
    lambda saver, given: saver.get_delta_channel_history(config=given, channels=["channel"]),
]


@each_saver
@pytest.mark.parametrize(
    ("configurable", "error", "message"),
    [
        ({"checkpoint_ns": ""}, ValueError, "names no thread"),
        ({"thread_id": None}, ValueError, "names no thread"),
        ({"thread_id": 1.5}, TypeError, "thread_id must be text, not float"),
        ({"thread_id": True}, TypeError, "thread_id must be text, not bool"),
        ({"thread_id": b"a"}, TypeError, "thread_id must be text, not bytes"),
        ({"thread_id": "\ud800"}, ValueError, "thread_id holds half a surrogate"),
        ({"thread_id": "a", "checkpoint_ns": 1}, TypeError, "checkpoint_ns must be text"),
        ({"thread_id": "a", "checkpoint_id": 1}, TypeError, "checkpoint_id must be text"),
    ],
)
def test_an_invalid_config_is_refused(
    saver: Saver,
    redis_client: redis.Redis,
    key_prefix: str,
    configurable: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    for call in CALLS:
        with pytest.raises(error, match=message):
            call(saver, {"configurable": configurable})
    assert found_keys(redis_client, key_prefix) == []


@each_saver
@pytest.mark.parametrize("thread_id", [None, 1.5, b"a"])
def test_an_invalid_thread_id_is_refused(saver: Saver, thread_id: Any) -> None:
    with pytest.raises(TypeError, match="thread_id must be text"):
        saver.delete_thread(thread_id)
    with pytest.raises(TypeError, match="thread_id must be text"):
        saver.prune([thread_id])
    with pytest.raises(TypeError, match="thread_id must be text"):
        saver.copy_thread("a", thread_id)


@each_saver
def test_key_prefixes_keep_applications_apart(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    # The keys of the other prefixes begin like the keys of the first one.
    hostile = '") | @thread_id:(*'
    prefixes = [key_prefix, *(f"{key_prefix}{text}" for text in ("checkpoint:", hostile, "é", " "))]
    savers = [make_saver(client, key_prefix=prefix) for prefix in prefixes]
    for number, saver in enumerate(savers):
        put(saver, f"{number}", {"big": BIG}, metadata={"who": number})
    for number, saver in enumerate(savers):
        assert ids(saver.list(None)) == [f"{number}"]
        assert ids(saver.list(config())) == [f"{number}"]
    for number, saver in enumerate(savers[1:], 1):
        saver.delete_thread("thread")
        assert saver.get_tuple(config()) is None
        assert ids(savers[0].list(None)) == ["0"], number


@each_saver
@pytest.mark.parametrize("prefix", ["", "a{b", "a}b", "{app}:", "a\0b", "\0"])
def test_an_invalid_key_prefix_is_refused(
    make_saver: MakeSaver, client: Client, prefix: str
) -> None:
    with pytest.raises(ValueError, match=r"must not contain \{, \} or NUL"):
        make_saver(client, setup=False, key_prefix=prefix)
    for make in (client.saver.from_conn_string, client.saver):
        with pytest.raises(ValueError, match=r"must not contain \{, \} or NUL"):
            make("redis://127.0.0.1:1", key_prefix=prefix)
    with pytest.raises(ValueError, match=r"must not contain \{, \} or NUL"):
        client.saver.from_conn_info(key_prefix=prefix)


@each_saver
@pytest.mark.parametrize("prefix", [None, b"app:", 7])
def test_a_key_prefix_that_is_not_text_is_refused(
    make_saver: MakeSaver, client: Client, prefix: Any
) -> None:
    with pytest.raises(TypeError, match="key_prefix must be text"):
        make_saver(client, setup=False, key_prefix=prefix)


@each_saver
def test_every_key_begins_with_exactly_the_key_prefix(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    prefix = f"{key_prefix}no-colon"
    saver = make_saver(client, key_prefix=prefix)
    values = {"big": BIG, "list": [BIG]}
    saver.put_writes(put(saver, "1", values), [(INTERRUPT, 1)], "task")
    found = found_keys(redis_client, key_prefix)
    assert [key.partition("{")[0] for key in found] == [
        f"{prefix}{kind}:" for kind in ("blob", "checkpoint", "contents", "log", "thread", "writes")
    ]
    assert own_indexes(redis_client, prefix) == own_indexes(redis_client, key_prefix)
    assert {name.rsplit("_v", 1)[0] for name in own_indexes(redis_client, key_prefix)} == {
        f"{prefix}{which}" for which in ("checkpoints", "threads", "writes")
    }


# ---- the thread document


@each_saver
def test_the_thread_document_describes_the_latest_root_checkpoint(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    begun = server_time(redis_client)
    put(saver, "2", metadata={"source": "loop", "step": 2, "user": "ada"})
    put(saver, "1", metadata={"source": "input", "step": 1, "user": "bob"})
    put(saver, "3", checkpoint_ns="sub", metadata={"step": 3})
    ended = server_time(redis_client)
    found = thread_document(redis_client, key_prefix)
    assert found["checkpoint_id"] == "2"
    assert found["thread_id"] == "thread"
    assert found["status"] == "idle"
    assert found["metadata"] == {"source": "loop", "step": 2, "user": "ada"}
    assert begun <= found["updated_at"] <= ended


@each_saver
@pytest.mark.parametrize(
    ("channel", "status"), [(INTERRUPT, "interrupted"), (ERROR, "error"), ("channel", "idle")]
)
@pytest.mark.parametrize("writes_first", [True, False])
def test_the_thread_status_does_not_depend_on_the_order_of_put_and_put_writes(
    saver: Saver,
    redis_client: redis.Redis,
    key_prefix: str,
    channel: str,
    status: str,
    writes_first: bool,
) -> None:
    put(saver, "1")
    steps = [
        lambda: put(saver, "2", parent="1"),
        lambda: saver.put_writes(config(checkpoint_id="2"), [(channel, "x")], "task"),
    ]
    for step in reversed(steps) if writes_first else steps:
        step()
    found = thread_document(redis_client, key_prefix)
    assert (found["checkpoint_id"], found["status"]) == ("2", status)
    # What an older checkpoint was, or a subgraph is, does not count.
    put(saver, "3", parent="2")
    saver.put_writes(config(checkpoint_id="2"), [(channel, "y")], "task 2")
    saver.put_writes(config(checkpoint_ns="sub", checkpoint_id="3"), [(channel, "x")], "task")
    found = thread_document(redis_client, key_prefix)
    assert (found["checkpoint_id"], found["status"]) == ("3", "idle")

"""The documents of messages: written with their checkpoint, treated as the thread's other keys."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import redis
from langchain_core.messages import HumanMessage, RemoveMessage
from langgraph.checkpoint.base import ChannelVersions
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, MessagesState, StateGraph

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Command
from langgraph_redis_json.operations import garbage
from langgraph_redis_json.operations import put as put_operation
from langgraph_redis_json.storage import keys
from tests.support.accounting import account
from tests.support.checkpoints import checkpoint, config, each_saver, found_keys, members, put
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.growing_lists import LENGTHS, Conversation, traffic
from tests.support.messages import (
    LONG,
    Chat,
    ai,
    documents,
    human,
    ids,
    numbered,
    texts,
)
from tests.support.plans import execute

pytestmark = each_saver


@pytest.fixture
def saver(make_saver: MakeSaver, client: Client) -> Saver:
    return make_saver(client, message_search=True)


def commands_of(saver: Saver, chat: Chat, *more: Any) -> list[Command]:
    """The commands of a put of more messages, which is not carried out."""
    versions: ChannelVersions = {"messages": "99.0"}
    made = checkpoint("00099", {"messages": [*chat.messages, *more]}, versions)
    of_parent = config(chat.thread_id, "", chat.last)
    plan = put_operation.put(saver._context, of_parent, made, {"step": 9}, versions)
    batch = next(plan)
    while not batch:  # a long step follows
        batch = plan.send([])
    plan.close()
    return batch


def str_of(argument: Any) -> str:
    return argument.decode() if isinstance(argument, bytes) else str(argument)


def test_a_document(saver: Saver, redis_client: redis.Redis, key_prefix: str) -> None:
    Chat(saver, "order:7", "sub").say(human("m1", "Where is\nmy parcel?"))
    [key] = found_keys(redis_client, key_prefix, "message")
    assert key.startswith(f"{key_prefix}message:{{order;.7}}:id:")
    [document] = documents(redis_client, key_prefix)
    [token] = document.pop("tokens").split(",")
    assert len(token) == 16
    assert document == {
        "format": 1,
        "role": "human",
        "text": "Where is\nmy parcel?",
        "words": "is my",
        "thread_id": "order:7",
        "message_id": "m1",
        "checkpoint_ns": "sub",
        "checkpoint_id": "00001",
        "created_at": 1767323001000 - 200_000,
    }
    account(redis_client, key_prefix)


# ---- what it costs


def test_without_message_search_a_put_is_as_before(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    """Also on a server on which other savers search messages."""
    on, off = make_saver(client, message_search=True), make_saver(client)
    chat = Chat(off)
    chat.put(numbered(range(5)))
    [command] = commands_of(off, chat, *numbered([5]))
    verb, _, count, contents, order, item, entry, document = map(str_of, command)
    assert (verb, count, contents) == ("EVALSHA", "1", f"{key_prefix}contents:{{thread}}")
    assert "messages" not in json.loads(order)
    assert json.loads(item)["tagged"]["fields"]["id"] == "5"
    assert entry == "c::00099"
    assert "searchable" not in json.loads(document)
    sent, calls = {}, {}
    for saver in (off, on):
        chat = Chat(saver, "off" if saver is off else "on")
        chat.put(numbered(range(5)))
        redis_client.config_resetstat()
        sent[saver is on] = traffic(redis_client, lambda: chat.say(*numbered([5])))[0]  # noqa: B023
        stats: Any = redis_client.info("commandstats")
        calls[saver is on] = {
            name.removeprefix("cmdstat_"): stat["calls"]
            for name, stat in stats.items()
            if not name.startswith(("cmdstat_config", "cmdstat_info"))
        }
    assert {name.upper(): count for name, count in calls[False].items()} == {
        **dict.fromkeys(("EVALSHA", "ZMSCORE", "JSON.ARRAPPEND", "PEXPIRETIME"), 1),
        **dict.fromkeys(("ZADD", "ZREVRANGEBYLEX", "ZRANGEBYLEX", "TIME"), 1),
        "JSON.SET": 2,
    }
    assert calls[True] == {**calls[False], "json.set": 3}
    assert sent[False] < sent[True]


def test_a_put_sends_only_new_messages(saver: Saver, redis_client: redis.Redis) -> None:
    conversation = Conversation()
    sent = []
    for length in LENGTHS:
        conversation.grow(saver, length)
        redis_client.config_resetstat()
        sent.append(traffic(redis_client, lambda: conversation.step(saver))[0])
        stats: Any = redis_client.info("commandstats")
        assert stats["cmdstat_json.set"]["calls"] == 3  # checkpoint, thread, message
    assert max(sent) - min(sent) < 30, sent


def test_a_new_saver_sends_only_new_messages(
    saver: Saver, make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    chat = Chat(saver)
    chat.put(numbered(range(20)))
    other = make_saver(client, message_search=True)
    assert other.get_tuple(config()) is not None
    chat.saver = other
    [command] = commands_of(other, chat, *numbered([20]))
    order, _, entry, document, *_ = map(str_of, command[4:])
    assert json.loads(order)["messages"] == 1
    assert entry.startswith("m:id:")
    assert json.loads(document)["message_id"] == "20"
    chat.say(*numbered([20]))
    assert len(ids(other, "parcel")) == 21
    account(redis_client, key_prefix)


def test_a_list_that_is_stored_again_sends_no_known_messages(
    saver: Saver, redis_client: redis.Redis
) -> None:
    """Many removed messages make the list start another log."""
    chat = Chat(saver)
    chat.put(numbered(range(200)))
    chat.messages = list(numbered(range(150, 155)))
    [command] = commands_of(saver, chat, *numbered([200]))
    order, *arguments = map(str_of, command[4:])
    assert "appended" not in json.loads(order)
    assert json.loads(order)["messages"] == 1
    assert json.loads(arguments[1])["message_id"] == "200"


def test_a_short_list_sends_only_new_messages(saver: Saver) -> None:
    """It stands in the checkpoint itself, whole in each."""
    chat = Chat(saver)
    chat.say(human("a", "parcel"))
    [command] = commands_of(saver, chat, human("b", "parcel"))
    assert json.loads(str_of(command[4]))["messages"] == 1
    chat.say(human("b", "parcel"))
    [command] = commands_of(saver, chat)
    assert "messages" not in json.loads(str_of(command[4]))


def test_a_document_that_does_not_change_is_not_written_again(
    saver: Saver, make_saver: MakeSaver, client: Client, redis_client: redis.Redis
) -> None:
    """A saver that has not read the thread sends all messages."""
    chat = Chat(saver)
    chat.put(numbered(range(20)))
    chat.saver = make_saver(client, message_search=True)
    redis_client.config_resetstat()
    chat.put([*numbered(range(20)), human("new", "parcel")])
    stats: Any = redis_client.info("commandstats")
    assert stats["cmdstat_json.set"]["calls"] == 4  # a log, the checkpoint, the thread, a message
    assert len(ids(chat.saver, "parcel")) == 21


def test_many_new_messages(saver: Saver, redis_client: redis.Redis, key_prefix: str) -> None:
    chat = Chat(saver)
    values = numbered(range(2_500))
    assert len(commands_of(saver, chat, *values)) == 1
    chat.put(values)
    assert len(ids(saver, "parcel")) == 2_500
    account(redis_client, key_prefix)
    marked = redis_client.execute_command(
        "JSON.GET", f"{key_prefix}checkpoint:{{thread}}::00001", "$.searchable"
    )
    assert json.loads(marked) == [1]
    # All have documents, so that one more message costs one more.
    [command] = commands_of(saver, chat, human("one more", "parcel"))
    assert [str_of(one)[:2] for one in command].count("m:") == 1


# ---- edited, removed, forked


@pytest.mark.parametrize("longer", ["", LONG], ids=["inline", "log"])
def test_an_edited_message_has_its_new_text(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, longer: str
) -> None:
    chat = Chat(saver)
    chat.say(human("a", f"parcel{longer}"), human("b", f"umbrella{longer}"))
    chat.put([human("a", f"letter{longer}"), human("b", f"umbrella{longer}")])
    assert ids(saver, "parcel") == []
    [row] = saver.search_messages("letter")
    # Where it was first is still where it was first.
    assert row.config["configurable"]["checkpoint_id"] == "00001"
    chat.put([human("a", ""), human("b", f"umbrella{longer}")])
    assert ids(saver, "letter") == []
    assert ids(saver, "umbrella") == ["b"]
    account(redis_client, key_prefix)


def test_an_edit_takes_words_and_language_with_it(
    saver: Saver, make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    chat = Chat(saver)
    chat.put([human("a", "first\nsecond")])
    [document] = documents(redis_client, key_prefix)
    assert document["words"] == "first second"
    chat.saver = make_saver(client, message_search={"language": "german"})
    chat.put([human("a", "plain")])
    [document] = documents(redis_client, key_prefix)
    assert document["language"] == "german"
    assert "words" not in document


@pytest.mark.parametrize("longer", ["", LONG], ids=["inline", "log"])
def test_a_removed_message_is_found_until_its_checkpoints_are_pruned(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, longer: str
) -> None:
    chat = Chat(saver)
    chat.say(human("a", f"parcel{longer}"), human("b", f"parcel{longer}"))
    chat.put([human("b", f"parcel{longer}")])
    assert ids(saver, "parcel") == ["a", "b"]
    saver.prune(["thread"])
    assert ids(saver, "parcel") == ["b"]
    [row] = saver.search_messages("parcel")
    assert row.config["configurable"]["checkpoint_id"] == "00001"  # which is gone
    account(redis_client, key_prefix)


def test_removed_messages_of_a_graph(saver: Saver) -> None:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("reply", lambda state: {"messages": [ai(None, "what umbrella")]})
    graph.add_edge(START, "reply")
    compiled = graph.compile(checkpointer=saver)
    thread: Any = {"configurable": {"thread_id": "1"}}
    compiled.invoke({"messages": [HumanMessage("my parcel", id="m")]}, thread)
    compiled.update_state(thread, {"messages": [RemoveMessage("m")]})
    assert ids(saver, "parcel") == ["m"]
    [row] = saver.search_messages("parcel")
    state = compiled.get_state(row.config)
    assert [message.id for message in state.values["messages"]] == ["m"]
    saver.prune(["1"])
    assert ids(saver, "parcel") == []
    assert len(ids(saver, "umbrella")) == 1


def test_messages_of_all_forks_are_found(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    chat = Chat(saver)
    first = chat.put(numbered(range(3)))
    chat.say(human("left", f"parcel{LONG}"))
    chat.put([*numbered(range(3)), human("right", f"parcel{LONG}")], parent=first)
    assert ids(saver, "parcel") == ["0", "1", "2", "left", "right"]
    account(redis_client, key_prefix)
    saver.prune(["thread"])
    assert ids(saver, "parcel") == ["0", "1", "2", "right"]
    account(redis_client, key_prefix)


def test_a_message_in_two_namespaces_is_found_once(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    chat, sub = Chat(saver), Chat(saver, checkpoint_ns="sub")
    chat.put(numbered(range(3)))
    sub.put(numbered(range(4)))
    assert ids(saver, "parcel") == ["0", "1", "2", "3"]
    account(redis_client, key_prefix)
    chat.put([])
    saver.prune(["thread"])
    assert ids(saver, "parcel") == ["0", "1", "2", "3"]


# ---- with the thread


def test_messages_go_with_their_thread(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    Chat(saver, "1").put(numbered(range(3)))
    Chat(saver, "2").say(human("other", "parcel"))
    saver.delete_thread("1")
    assert ids(saver, "parcel") == ["other"]
    account(redis_client, key_prefix)
    saver.delete_thread("2")
    assert found_keys(redis_client, key_prefix) == [f"{key_prefix}setup:messages"]


def test_a_thread_without_table_of_contents_is_deleted_with_its_messages(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    Chat(saver).put(numbered(range(3)))
    redis_client.delete(f"{key_prefix}contents:{{thread}}")
    saver.delete_thread("thread")
    assert found_keys(redis_client, key_prefix) == [f"{key_prefix}setup:messages"]


def test_messages_expire_with_their_thread(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client, message_search=True, ttl={"default_ttl": 60})
    chat = Chat(saver)
    chat.put(numbered(range(3)))
    account(redis_client, key_prefix)
    saver.expire("thread", 5)
    chat.say(*numbered([3]))
    account(redis_client, key_prefix)
    saver.pin("thread")
    chat.say(*numbered([4]))
    account(redis_client, key_prefix)
    assert "d:never" in members(redis_client, f"{key_prefix}contents:{{thread}}")
    saver.expire("thread", 1 / 60_000)
    while redis_client.exists(f"{key_prefix}contents:{{thread}}"):
        pass
    assert ids(saver, "parcel") == []


def test_a_copy_has_the_messages(
    saver: Saver, make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    """Also if the copying saver does not search messages."""
    chat = Chat(saver, "1", user_id="ada")
    chat.put(numbered(range(60)))
    chat.put(numbered(range(30)))
    make_saver(client).copy_thread("1", "2")
    saver.copy_thread("1", "3")
    rows = list(saver.search_messages("parcel", limit=None))
    assert [sum(row.thread_id == name for row in rows) for name in "123"] == [60] * 3
    assert len(ids(saver, "parcel", filter={"user_id": "ada"})) == 180
    account(redis_client, key_prefix)
    # The copy goes on as its original does.
    copy = Chat(saver, "3")
    copy.messages, copy.last, copy.steps = chat.messages, chat.last, chat.steps
    copy.say(human("new", "parcel"))
    assert len(ids(saver, "parcel")) == 181
    saver.copy_thread("1", "3")
    assert len(ids(saver, "parcel")) == 181
    account(redis_client, key_prefix)


def test_delete_for_runs(saver: Saver, redis_client: redis.Redis, key_prefix: str) -> None:
    chat = Chat(saver, run_id="1")
    chat.say(human("a", "parcel"))
    chat.metadata = {"run_id": "2"}
    chat.put([human("b", "parcel")])
    saver.delete_for_runs(["1"])
    assert ids(saver, "parcel") == ["b"]
    account(redis_client, key_prefix)


def test_keep_last_collects_documents_now_and_then(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client, message_search=True, keep_last=2)
    chat = Chat(saver)
    counts = []
    for number in range(150):
        chat.put(numbered(range(max(0, number - 9), number + 1)))
        counts.append(len(found_keys(redis_client, key_prefix, "message")))
    assert 11 <= counts[-1] <= max(counts) <= 11 + put_operation.MOST_DROPPED + 1
    saver.prune(["thread"])
    assert len(ids(saver, "parcel")) == 10
    account(redis_client, key_prefix)


# ---- faults


def test_a_put_whose_log_was_lost_stores_its_messages(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    chat = Chat(saver)
    chat.put(numbered(range(3)))
    for kind in ("log", "message"):
        redis_client.delete(*found_keys(redis_client, key_prefix, kind))
    chat.say(*numbered([3]))
    assert ids(saver, "parcel") == ["0", "1", "2", "3"]


def test_a_put_whose_checkpoint_was_lost_stores_its_messages(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    chat = Chat(saver)
    chat.say(human("a", "parcel"))  # which no log has
    saver.delete_thread("thread")
    chat.say(human("b", "parcel"))
    assert ids(saver, "parcel") == ["a", "b"]
    account(redis_client, key_prefix)


def test_a_put_that_is_refused_stores_no_message(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    chat = Chat(saver)
    chat.put(numbered(range(3)))
    [command] = commands_of(saver, chat, *numbered([3]))
    redis_client.delete(*found_keys(redis_client, key_prefix, "log"))
    missing, *_ = redis_client.execute_command(*command)
    assert len(missing) == 1
    assert ids(saver, "parcel") == ["0", "1", "2"]


def test_a_document_of_an_expired_thread_is_replaced(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    chat = Chat(saver)
    chat.say(human("a", "parcel"))
    redis_client.delete(f"{key_prefix}contents:{{thread}}")
    chat.say(human("b", "umbrella"))
    rows = {row.message_id: row for row in saver.search_messages("parcel")}
    assert rows["a"].config["configurable"]["checkpoint_id"] == "00002"


@pytest.mark.parametrize("at", range(8))
def test_a_message_that_comes_back_while_documents_are_collected(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str, at: int
) -> None:
    """Another process puts it again before any batch of a collection."""
    sync = client._replace(saver=RedisSaver)
    saver = make_saver(sync, message_search=True)
    chat = Chat(saver)
    chat.put(numbered(range(3)))
    chat.put(numbered(range(2)))
    thread = keys.thread_keys(key_prefix, "thread")
    execute(saver, [scripts.delete_checkpoints(thread, ["c::00001"]).command])
    other = make_saver(sync, message_search=True)
    assert other.get_tuple(config()) is not None
    plan = garbage.collect(thread)
    batch, number = next(plan), 0
    with suppress(StopIteration):
        while True:
            if number == at:
                chat.saver = other
                chat.put(numbered(range(3)))
            number += 1
            batch = plan.send(execute(saver, batch))
    if number > at:
        assert ids(saver, "parcel") == ["0", "1", "2"]
        account(redis_client, key_prefix, garbage=True)
    else:
        assert at > 5


# ---- what cannot be searched


def test_nothing_of_an_encrypted_thread_is_readable(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")
    saver = make_saver(client, message_search=True, serde=serde)
    chat = Chat(saver)
    chat.say(human("a", "parcel"))
    chat.put([human("b", f"parcel{LONG}")] * 20, other=human("c", "parcel"))
    saver.copy_thread("thread", "copy")
    make_saver(client, message_search=True, serde=serde)
    assert ids(saver, "parcel") == []
    for key in found_keys(redis_client, key_prefix):
        if "contents:" not in key:
            assert "parcel" not in redis_client.execute_command("JSON.GET", key)
    assert texts(redis_client, key_prefix) == []


class Own(JsonPlusSerializer):
    """A serializer whose data may be anything, although it says that it is msgpack."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return super().dumps_typed(obj)


def test_messages_of_a_serializer_of_ones_own(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    given: Any = {"messages": [human("m", "parcel")], "one": human("n", "parcel")}
    versions: ChannelVersions = {"messages": "1", "one": "1"}
    for id_, search, new in (("1", False, versions), ("2", True, {}), ("3", True, versions)):
        saver = make_saver(client, setup=not search, message_search=search, serde=Own())
        saver.get_tuple(config())
        saver.put(config(checkpoint_id="1"), checkpoint(id_, given, versions), {}, new)
    assert texts(redis_client, key_prefix) == []


def test_other_savers_put_into_the_same_thread(saver: Saver, make_saver: MakeSaver) -> None:
    """A checkpoint of a saver without message_search gets its documents with the next put."""
    off = make_saver(Client(RedisSaver, 3, False))
    values = {"messages": numbered(range(3)), "one": human("one", "parcel"), "text": "parcel"}
    put(off, "1", values)
    assert saver.get_tuple(config()) is not None
    # The next put has no new messages, and no new versions of the channels that have them.
    versions: ChannelVersions = {**dict.fromkeys(values, 1), "other": 2}
    made = checkpoint("2", {**values, "other": 1}, versions)
    saver.put(config(checkpoint_id="1"), made, {}, {"other": 2})
    assert ids(saver, "parcel") == ["0", "1", "2", "one"]

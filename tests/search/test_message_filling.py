"""setup() writes the documents of messages that are stored already."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Any

import pytest
import redis
from langgraph.checkpoint.base import ChannelVersions
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langgraph_redis_json import RedisSaver, TriesExhaustedError
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.operations import fill_messages
from langgraph_redis_json.operations import put as put_operation
from langgraph_redis_json.storage.ranges import Ranges
from tests.support.accounting import account
from tests.support.checkpoints import (
    checkpoint,
    config,
    each_saver,
    found_keys,
    own_indexes,
    put,
    stored,
)
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.interleaving import run_with_break
from tests.support.messages import LONG, Chat, ai, documents, found, human, ids, numbered
from tests.support.plans import execute
from tests.support.work import in_threads

SYNC = Client(RedisSaver, 3, False)


def state_of(client: redis.Redis, key_prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        client.execute_command("JSON.GET", f"{key_prefix}setup:messages")
    )
    return found


def fill_some(saver: Any, batches: int) -> list[float]:
    """Begin to fill, and be killed after some batches of threads."""
    filling = fill_messages.fill(saver._context)
    shares: list[float] = []
    found = next(filling)
    while len(shares) < batches:
        if isinstance(found, float):
            shares.append(found)
            found = next(filling)
        else:
            found = filling.send(execute(saver, found))
    filling.close()
    return shares


def test_a_thread_document_without_a_time_stops_nothing(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    off = make_saver(SYNC)
    for thread_id in ("damaged", "whole"):
        Chat(off, thread_id).say(human(thread_id, "parcel"))
    redis_client.execute_command("JSON.DEL", f"{key_prefix}thread:{{damaged}}", "$.updated_at")
    on = make_saver(SYNC, message_search=True)
    assert ids(on, "parcel") == ["damaged", "whole"]


@pytest.mark.parametrize("trips", range(1, 4))
def test_a_process_that_dies_while_it_stores_many_messages(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, trips: int
) -> None:
    """All messages that are found have a checkpoint, and the next put stores the others."""

    class Cut(Exception):
        pass

    def cut() -> None:
        raise Cut

    saver: Any = make_saver(SYNC, message_search=True)
    values: list[Any] = [*numbered(range(2_500))]
    versions: ChannelVersions = {"messages": "1.thread"}
    made = checkpoint("00001", {"messages": values}, versions)
    plan = put_operation.put(saver._context, config(), made, {"step": 1}, versions)
    with pytest.raises(Cut):
        run_with_break(saver, plan, trips, cut)
    rows = found(saver, "parcel", limit=None)
    assert len(rows) == min(1_000 * trips, 2_500)
    assert all(saver.get_tuple(row.config) for row in rows[::500])
    other = make_saver(SYNC, message_search=True)
    assert other.get_tuple(config()) is not None  # as a graph does before it goes on
    chat = Chat(other)
    chat.messages, chat.last, chat.steps = values, "00001", 1
    chat.say(human("one more", "parcel"))
    assert len(ids(saver, "parcel")) == 2_501
    account(redis_client, key_prefix)


@each_saver
def test_all_stored_messages_are_found(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    """As if the saver had always searched messages."""
    off = make_saver(client)
    chat = Chat(off, "inline")
    chat.say(human("a", "parcel"))
    chat.put([human("b", "parcel")])
    chat = Chat(off, "log", user_id="ada")
    chat.put(numbered(range(150)))
    chat.put(numbered(range(100, 160)))
    chat.put([*numbered(range(100, 160)), human("edited", f"parcel{LONG}")])
    chat.put([*numbered(range(100, 160)), human("edited", f"umbrella{LONG}")])
    chat = Chat(off, "others")
    chat.put([], alone=human("alone", f"parcel{LONG}"), short=ai("short", "parcel"))
    chat.put([], snapshot=_DeltaSnapshot([human("snapshot", "parcel"), human(None, "parcel")]))
    Chat(off, "log", "sub").put(numbered(range(200, 203)))
    put(off, "1", {"text": "parcel"}, thread_id="no messages")
    shares: list[float] = []
    on = make_saver(client, setup=False, message_search=True)
    make_saver(client, message_search=True)
    assert ids(on, "parcel") == sorted(
        [*"ab", *map(str, range(160)), "alone", "short", "snapshot", "", "200", "201", "202"]
    )
    assert ids(on, "umbrella") == ["edited"]
    [row] = on.search_messages("umbrella")
    assert row.config["configurable"]["checkpoint_id"] == "00003"
    assert ids(on, "umbrella", filter={"user_id": "ada"}) == ["edited"]
    account(redis_client, key_prefix)
    assert shares == []


def test_progress_is_reported(make_saver: MakeSaver, redis_url: str, key_prefix: str) -> None:
    off = make_saver(SYNC)
    for number in range(fill_messages.THREADS * 3):
        Chat(off, f"{number}").say(human("m", "parcel"))
    shares: list[float] = []
    with RedisSaver(redis_url, key_prefix=key_prefix, message_search=True) as on:
        on.setup(on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-3:] == pytest.approx([0.5 + 1 / 6, 0.5 + 2 / 6, 1])


def test_setup_goes_on_where_it_was_killed(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    off = make_saver(SYNC)
    count = fill_messages.THREADS * 3
    for number in range(count):
        Chat(off, f"{number:02}").say(human(f"{number}", "parcel"))
    off.setup()
    on = make_saver(SYNC, setup=False, message_search=True)
    assert fill_some(on, 1) == pytest.approx([1 / 3])
    assert len(documents(redis_client, key_prefix)) == count / 3
    # Nothing tells of a document that is deleted here, so it would come back if setup began again.
    gone = sorted(found_keys(redis_client, key_prefix, "message"))[0]
    redis_client.delete(gone)
    assert fill_some(on, 1) == pytest.approx([2 / 3])
    on.setup()
    assert len(documents(redis_client, key_prefix)) == count - 1
    redis_client.execute_command("JSON.DEL", f"{key_prefix}setup:messages")
    for key in found_keys(redis_client, key_prefix, "checkpoint"):
        redis_client.execute_command("JSON.DEL", key, "$.searchable")
    on.setup()
    assert len(ids(on, "parcel")) == count
    account(redis_client, key_prefix)


def test_several_processes_fill_at_the_same_time(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    off = make_saver(SYNC)
    count = fill_messages.THREADS * 2
    for number in range(count):
        Chat(off, f"{number:02}").put(numbered(range(4)))
    savers = [make_saver(SYNC, setup=False, message_search=True) for _ in range(3)]

    def setup(saver: Saver) -> None:
        saver.setup()

    with in_threads(setup, savers):
        pass
    assert len(ids(savers[0], "parcel")) == count * 4
    account(redis_client, key_prefix)


def test_a_repeated_setup_writes_nothing(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    off = make_saver(SYNC)
    Chat(off).put(numbered(range(3)))
    on = make_saver(SYNC, message_search=True)
    Chat(on, "2").put(numbered(range(3)))
    on.setup()
    before, indexes = stored(redis_client, key_prefix), own_indexes(redis_client, key_prefix)
    redis_client.config_resetstat()
    on.setup()
    stats: Any = redis_client.info("commandstats")
    assert stored(redis_client, key_prefix) == before
    assert own_indexes(redis_client, key_prefix) == indexes
    # Two for the check of the commands, two for the progress.
    assert stats["cmdstat_json.set"]["calls"] == 4


def test_messages_of_other_savers_since_the_last_setup(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    on, off = make_saver(SYNC, message_search=True), make_saver(SYNC)
    chat = Chat(on)
    chat.put(numbered(range(3)))
    chat.saver = off
    chat.say(*numbered([3]))
    Chat(off, "2").say(human("other", "parcel"))
    assert ids(on, "parcel") == ["0", "1", "2"]
    on.setup()
    assert ids(on, "parcel") == ["0", "1", "2", "3", "other"]
    account(redis_client, key_prefix)


def test_threads_that_did_not_change_are_not_read_again(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    on = make_saver(SYNC, message_search=True)
    until = f"{2**53}"
    redis_client.execute_command("JSON.SET", f"{key_prefix}setup:messages", "$.filled_until", until)
    Chat(make_saver(SYNC)).say(human("m", "parcel"))
    on.setup()
    assert ids(on, "parcel") == []
    assert state_of(redis_client, key_prefix)["filled_until"] == int(until)


def test_tool_calls_are_added_later(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    calls: Any = [{"name": "find", "args": {"town": "Lisbon"}, "id": "1"}]
    chat = Chat(make_saver(SYNC, message_search=True))
    chat.say(ai("m", "parcel", tool_calls=calls))
    state = f"{key_prefix}setup:messages"
    redis_client.execute_command("JSON.SET", state, "$.filled_until", f"{2**53}")
    on = make_saver(SYNC, message_search={"tool_calls": True})
    assert ids(on, "lisbon parcel") == ["m"]
    # A saver without tool calls takes none away from the documents of others.
    make_saver(SYNC, message_search=True)
    assert ids(on, "lisbon parcel") == ["m"]


def test_a_damaged_thread_does_not_stop_the_others(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    off = make_saver(SYNC)
    for thread in "123":
        Chat(off, thread).put(numbered(range(2)))
    redis_client.execute_command(
        "JSON.SET", f"{key_prefix}checkpoint:{{2}}::00001", "$.format", "99"
    )
    on = make_saver(SYNC, message_search=True)
    assert {row.thread_id for row in on.search_messages("parcel")} == {"1", "3"}
    assert "The messages of a thread cannot be searched" in caplog.text
    assert f"{key_prefix}checkpoint:{{2}}::00001" in caplog.text


def test_a_number_that_no_log_has_takes_no_memory(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, caplog: Any
) -> None:
    """Somebody has altered it. All items up to there would be looked for."""
    off = make_saver(SYNC)
    put(off, "1", {"messages": [human(f"{number}", f"parcel {LONG}") for number in range(20)]})
    [key] = found_keys(redis_client, key_prefix, "checkpoint")
    path = '$.channel_values["messages"].log[0][2]'
    redis_client.execute_command("JSON.SET", key, path, "1" * 15)
    make_saver(SYNC, message_search=True)
    assert f"it refers to item {int('1' * 15) - 1} of a log" in caplog.text


def test_a_thread_that_always_changes_ends_setup_with_an_error(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    off = make_saver(SYNC)
    chat = Chat(off)
    chat.put(numbered(range(3)))
    on = make_saver(SYNC, setup=False, message_search=True)
    filling: Any = fill_messages.fill(on._context)
    found = next(filling)

    def fill() -> None:
        nonlocal found
        while True:
            if found[0][0] == "EVALSHA":  # the thread was read
                chat.say(human(f"{chat.steps}", "parcel"))
            found = filling.send(execute(on, found))

    with pytest.raises(TriesExhaustedError, match=r"Call setup\(\) again"):
        fill()


@pytest.mark.parametrize("keep_last", [None, 1])
def test_an_edit_meanwhile_is_not_undone(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, keep_last: int | None
) -> None:
    chat = Chat(make_saver(SYNC))
    chat.put([human("m", f"parcel{LONG}")])
    on = make_saver(SYNC, setup=False, message_search=True, keep_last=keep_last)
    filling: Any = fill_messages.fill(on._context)
    found = next(filling, None)
    while found is not None:
        if not isinstance(found, float) and found[0][0] == "EVALSHA" and chat.saver is not on:
            chat.saver = on
            chat.put([human("m", f"umbrella{LONG}")])
        replies = None if isinstance(found, float) else execute(on, found)
        with suppress(StopIteration):
            found = filling.send(replies)
            continue
        found = None
    assert chat.saver is on
    [document] = documents(redis_client, key_prefix)
    assert document["text"].startswith("umbrella")


def test_filled_documents_expire_with_their_thread(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    off = make_saver(SYNC, ttl={"default_ttl": 60})
    Chat(off).put(numbered(range(3)))
    make_saver(SYNC, message_search=True)
    account(redis_client, key_prefix)


def test_filling_beside_writers(make_saver: MakeSaver, key_prefix: str) -> None:
    """Some search messages, some do not; some threads are deleted."""
    with EmbeddedRedis() as server:
        client = redis.Redis.from_url(server.url, decode_responses=True)
        off = RedisSaver(server.url)
        off.setup()
        chats = [Chat(off, f"{number}") for number in range(40)]
        for chat in chats:
            chat.put(numbered(range(10)))
        on = RedisSaver(server.url, message_search=True)
        stop = threading.Event()

        def write(half: int) -> None:
            for round_ in range(1_000):
                for chat in chats[half::2]:
                    if stop.is_set() and round_ > 2:
                        return
                    chat.saver = (on, off)[half]
                    chat.say(human(f"{chat.steps}-{chat.thread_id}", "parcel"))

        with in_threads(write, [0, 1]):
            on.setup()
            off.delete_thread("39")
            stop.set()
        on.setup()
        rows = list(on.search_messages("parcel", limit=None))
        expected = [
            (chat.thread_id, message.id)
            for chat in chats
            if on.get({"configurable": {"thread_id": chat.thread_id}})
            for message in chat.messages
        ]
        found = [(row.thread_id, row.message_id) for row in rows]
        missing = {*expected} - {*found}
        # What thread 39 had before it was deleted is gone.
        assert {thread for thread, _ in missing} <= {"39"}
        assert len(found) == len({*found})
        assert {*found} <= {*expected}
        account(client, "langgraph:")
        for saver in (on, off):
            saver.close()
        client.close()


def test_ranges_of_new_items() -> None:
    ranges = Ranges()
    assert ranges.add(0, 5) == [(0, 5)]
    assert ranges.add(0, 7) == [(5, 7)]
    assert ranges.add(2, 6) == []
    assert ranges.add(10, 12) == [(10, 12)]
    assert ranges.add(3, 15) == [(7, 10), (12, 15)]
    assert ranges.add(20, 21) == [(20, 21)]
    assert ranges.add(15, 20) == [(15, 20)]
    assert ranges.add(0, 22) == [(21, 22)]

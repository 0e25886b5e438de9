"""Indexes are made, extended and replaced while savers read and write."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
import redis

from langgraph_redis_json import (
    IndexIncompleteError,
    IndexMissingError,
    RedisSaver,
    UnindexedDocumentsError,
    UnsuitableServerError,
)
from langgraph_redis_json.client.clients import SearchNode
from langgraph_redis_json.client.plan import Command, Plan, Replies
from langgraph_redis_json.client.replies import index_info
from langgraph_redis_json.client.sync_runner import SyncRunner
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.operations import setup
from langgraph_redis_json.operations.list import search_sort_keys
from langgraph_redis_json.search import filters, indexes, queries
from langgraph_redis_json.search.fields import SCHEMAS
from langgraph_redis_json.search.queries import index_name
from tests.support.altering import Altering
from tests.support.checkpoints import each_saver, found_keys, ids, indexed, own_indexes, put
from tests.support.clients import ACL_USER, Client, MakeSaver, Saver
from tests.support.plans import proceed
from tests.support.waiting import wait_until

SYNC = Client(RedisSaver, 3, False)


def live(client: redis.Redis, alias: str) -> str:
    """The name of the index behind an alias."""
    reply: Any = client.execute_command("FT.INFO", alias)
    found = reply["index_name"] if isinstance(reply, dict) else reply[1]
    return str(found)


@pytest.fixture
def many(make_saver: MakeSaver) -> Saver:
    """A saver after setup, with 500 checkpoints in 10 threads."""
    saver = make_saver(SYNC)
    for number in range(500):
        put(saver, f"{number:03}", thread_id=f"{number % 10}", metadata={"n": number, "x": "y"})
    return saver


@pytest.fixture
def alias(key_prefix: str) -> str:
    return index_name(key_prefix, "checkpoints")


def create_by_hand(client: redis.Redis, key_prefix: str, name: str, *fields: str) -> None:
    """An index as a user, or another version, would have made it."""
    words = fields or ("$.tokens", "AS", "tokens", "TAG")
    client.execute_command(
        *("FT.CREATE", name, "ON", "JSON", "PREFIX", 1, f"{key_prefix}checkpoint:{{"),
        *("SCHEMA", *words),
    )


def test_setup_adds_missing_fields(
    many: Saver, make_saver: MakeSaver, redis_client: redis.Redis, alias: str, key_prefix: str
) -> None:
    saver = make_saver(SYNC, metadata_fields={"n": "numeric", "x": "tag"})
    added = own_indexes(redis_client, key_prefix)
    make_saver(SYNC)
    make_saver(SYNC, metadata_fields={"x": "tag"})
    assert own_indexes(redis_client, key_prefix) == added
    assert len(added) == len(SCHEMAS)
    assert indexed(redis_client, alias, "@n:[0 499] @x:{y}") == 500
    assert len(ids(saver.list(None, filter={"n": {"$gte": 400}}))) == 100


@pytest.mark.parametrize(
    "how", ["dropped", "alias dropped", "plain", "older", "altered", "foreign"]
)
def test_an_unsuitable_index_is_replaced(
    many: Saver,
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    alias: str,
    key_prefix: str,
    how: str,
) -> None:
    run = redis_client.execute_command
    now = live(redis_client, alias)
    if how == "alias dropped":
        run("FT.ALIASDEL", alias)
    else:
        run("FT.DROPINDEX", now)
    if how == "plain":  # as made before aliases were used
        create_by_hand(redis_client, key_prefix, alias)
    elif how in ("older", "altered", "foreign"):
        digest = now.rpartition("_")[2]
        name = {
            "older": f"{alias}_v0_{digest}",
            "altered": now,
            "foreign": f"{key_prefix}mine",
        }[how]
        create_by_hand(redis_client, key_prefix, name)
        run("FT.ALIASADD", alias, name)
    saver = make_saver(SYNC)
    assert live(redis_client, alias).startswith(f"{alias}_v{indexes.VERSION}_")
    assert len(ids(saver.list(None, filter={"x": "y"}))) == 500
    assert indexed(redis_client, alias, "@step:[-inf +inf] | @format:[1 1]") == 500
    left = [name for name in own_indexes(redis_client, key_prefix) if "checkpoints" in name]
    assert left == [live(redis_client, alias)]
    # An index of the user is not dropped.
    assert (f"{key_prefix}mine" in own_indexes(redis_client, key_prefix)) is (how == "foreign")
    # Documents were not touched.
    assert len(found_keys(redis_client, key_prefix, "checkpoint")) == 500


def test_setup_drops_indexes_that_a_killed_setup_left(
    many: Saver, make_saver: MakeSaver, redis_client: redis.Redis, alias: str, key_prefix: str
) -> None:
    now = live(redis_client, alias)
    create_by_hand(redis_client, key_prefix, f"{alias}_v1_abcdef")
    create_by_hand(redis_client, key_prefix, f"{alias}_v99_abcdef")
    make_saver(SYNC)
    # Indexes of a newer version are not dropped.
    left = [name for name in own_indexes(redis_client, key_prefix) if "checkpoints" in name]
    assert left == sorted([now, f"{alias}_v99_abcdef"])


@each_saver
def test_an_index_of_a_newer_version_is_refused(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, alias: str, key_prefix: str
) -> None:
    put(make_saver(client), "1")
    redis_client.execute_command("FT.DROPINDEX", live(redis_client, alias))
    newer = f"{alias}_v{indexes.VERSION + 1}_abcdef"
    create_by_hand(redis_client, key_prefix, newer)
    redis_client.execute_command("FT.ALIASADD", alias, newer)
    with pytest.raises(UnsuitableServerError, match=r"newer version .* Upgrade the package"):
        make_saver(client)
    assert live(redis_client, alias) == newer


def copies(client: redis.Redis, key: str, count: int) -> None:
    """Copies of a document, without entries in a table of contents."""
    document = client.execute_command("JSON.GET", key, ".")
    pipeline = client.pipeline(transaction=False)
    for number in range(count):
        pipeline.execute_command("JSON.SET", f"{key}-{number:05}", "$", document)
    pipeline.execute()


def test_readers_and_writers_go_on_while_an_index_is_replaced(
    many: Saver, make_saver: MakeSaver, redis_client: redis.Redis, alias: str, key_prefix: str
) -> None:
    """No answer lacks a document that was stored before the search."""
    copies(redis_client, f"{key_prefix}checkpoint:{{0}}::000", 8_000)
    reader = make_saver(SYNC, setup=False)
    assert isinstance(reader, RedisSaver)
    query = filters.read({"x": "y"}, {}).expression()

    def find_all() -> list[bytes]:
        return reader._runner.run(search_sort_keys(reader._context, query))

    done = threading.Event()
    counts: list[tuple[int, int]] = []
    errors: list[redis.RedisError] = []
    written = 8_500

    def read() -> None:
        while not done.is_set():
            before = written
            try:
                counts.append((before, len(find_all())))
            except redis.RedisError as error:
                errors.append(error)

    def replace(kind: str) -> None:
        make_saver(SYNC, metadata_fields={"n": kind})

    reading = threading.Thread(target=read)
    reading.start()
    try:
        for kind in ("tag", "numeric", "tag"):  # of which each needs an index of its own
            setting = threading.Thread(target=replace, args=(kind,))
            setting.start()
            answered = len(counts)
            while setting.is_alive() or (len(counts) == answered and not errors):
                put(many, f"9{written}", thread_id="new", metadata={"n": written, "x": "y"})
                written += 1
            setting.join()
    finally:
        done.set()
        reading.join()
    assert errors == []
    assert len(counts) >= 3
    assert [count for count in counts if count[1] < count[0]] == []
    assert len(find_all()) == written
    left = [name for name in own_indexes(redis_client, key_prefix) if "checkpoints" in name]
    assert len(left) == 1


@each_saver
def test_a_document_that_cannot_be_indexed_raises(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, alias: str, key_prefix: str
) -> None:
    """The error names it, and the index is unchanged: the old one, or none."""
    saver = make_saver(client, setup=False)
    put(saver, "1")
    bad = f"{key_prefix}checkpoint:{{thread}}::2"
    redis_client.execute_command("JSON.SET", bad, "$", '{"format":1,"created_at":"seven"}')
    for _ in range(2):
        with pytest.raises(UnindexedDocumentsError, match="1 documents") as raised:
            make_saver(client)
        assert bad in str(raised.value)
        with pytest.raises(IndexMissingError):
            list(saver.list(None))
        assert own_indexes(redis_client, key_prefix) == [] or alias not in str(
            own_indexes(redis_client, key_prefix)
        )
    redis_client.delete(bad)
    make_saver(client)
    assert ids(saver.list(None)) == ["1"]
    redis_client.execute_command("JSON.SET", bad, "$", '{"format":1,"created_at":"seven"}')
    with pytest.raises(UnindexedDocumentsError):
        make_saver(client)
    assert ids(saver.list(None)) == ["1"]
    redis_client.delete(bad)
    make_saver(client)
    assert ids(saver.list(None)) == ["1"]


def test_a_search_raises_while_the_server_fills_its_index(
    many: Saver, redis_url: str, alias: str, key_prefix: str
) -> None:
    """As after a restart: searches raise until the index has all documents."""
    field = ("$[?(@.n>=0)].n", "AS", "z", "NUMERIC")
    url = redis_url.replace(ACL_USER, "")  # docs/acl.conf does not permit FT.ALTER
    with RedisSaver(url, key_prefix=key_prefix) as saver:
        saver._runner = runner = Altering(saver._runner.client, owned=True)
        # The server does not index between the commands of one pipeline.
        runner.before = ("FT.ALTER", alias, "SCHEMA", "ADD", *field)
        with pytest.raises(IndexIncompleteError):
            list(saver.list(None, filter={"x": "y"}))

        def answers() -> bool:
            try:
                assert len(ids(saver.list(None, filter={"x": "y"}))) == 500
            except IndexIncompleteError:
                return False
            return True

        wait_until(answers)


def test_processes_may_declare_different_fields_at_once(
    redis_url: str, key_prefix: str, many: Saver
) -> None:
    """In the end the index has the fields of all processes, in whatever order they came."""
    savers = [
        RedisSaver(redis_url, key_prefix=key_prefix, metadata_fields={f"f{n}": "numeric"})
        for n in range(4)
    ]
    setting = [threading.Thread(target=saver.setup) for saver in savers]
    for thread in setting:
        thread.start()
    for thread in setting:
        thread.join()
    for n, saver in enumerate(savers):
        put(saver, "f", thread_id="f", metadata={f"f{n}": 1})
        assert ids(saver.list(None, filter={f"f{n}": {"$gt": 0}})) == ["f"]
        saver.close()


def test_two_processes_do_not_change_an_alias_at_once(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    """One is about to name its index when the other looks."""
    one, other = (
        make_saver(SYNC, setup=False, metadata_fields={name: "numeric"}) for name in ("n", "m")
    )
    make_saver(SYNC)
    assert isinstance(other, RedisSaver)
    schema = indexes.schema(key_prefix, "checkpoints", one._context.metadata_fields)
    commands: Sequence[Command] = []
    while not commands or commands[0][0] != "FT.ALIASUPDATE":
        plan = indexes._build(key_prefix, schema, clustered=False)
        with suppress(StopIteration):
            commands = next(plan)
            while commands[0][0] != "FT.ALIASUPDATE":
                commands = proceed(one, plan, commands)
    for _ in range(5):
        assert other._runner.run(setup.build_indexes(other._context)) < 1
    with suppress(StopIteration):
        while True:
            commands = proceed(one, plan, commands)
    other.setup()
    info = redis_client.execute_command("FT.INFO", index_name(key_prefix, "checkpoints"))
    assert {"n", "m"} <= {*index_info(info).fields}
    assert found_keys(redis_client, key_prefix) == []  # no lock is left


def test_a_process_that_looked_before_another_changed_the_alias_does_not_undo_that(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    make_saver(SYNC)
    slow, fast = (
        make_saver(SYNC, setup=False, metadata_fields={name: "numeric"}) for name in ("n", "m")
    )
    assert isinstance(slow, RedisSaver)
    assert isinstance(fast, RedisSaver)
    alias = index_name(key_prefix, "checkpoints")
    schema = indexes.schema(key_prefix, "checkpoints", slow._context.metadata_fields)
    commands: Sequence[Command] = []
    while not commands or commands[0][0] != "EVALSHA":  # the lock
        plan = indexes._build(key_prefix, schema, clustered=False)
        with suppress(StopIteration):
            commands = next(plan)
            while commands[0][0] != "EVALSHA":
                commands = proceed(slow, plan, commands)
    before = live(redis_client, alias)
    others = indexes.schema(key_prefix, "checkpoints", fast._context.metadata_fields)
    while live(redis_client, alias) == before:  # and then fast is killed
        fast._runner.run(indexes._build(key_prefix, others, clustered=False))
    with suppress(StopIteration):
        while True:
            commands = proceed(slow, plan, commands)
    assert "m" in index_info(redis_client.execute_command("FT.INFO", alias)).fields
    slow.setup()
    assert {"n", "m"} <= {*index_info(redis_client.execute_command("FT.INFO", alias)).fields}


def test_an_index_that_another_process_dropped_replaces_nothing(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    """The other one takes the index that is being built for one that a killed process left."""
    fitting = make_saver(SYNC, metadata_fields={"n": "numeric"})
    put(fitting, "1", metadata={"n": 1})
    slow = make_saver(SYNC, setup=False, metadata_fields={"m": "numeric"})
    assert isinstance(slow, RedisSaver)
    schema = indexes.schema(key_prefix, "checkpoints", slow._context.metadata_fields)
    commands: Sequence[Command] = []
    while not commands or commands[0][0] != "EVALSHA":  # the lock
        plan = indexes._build(key_prefix, schema, clustered=False)
        with suppress(StopIteration):
            commands = next(plan)
            while commands[0][0] != "EVALSHA":
                commands = proceed(slow, plan, commands)
    fitting.setup()
    with suppress(StopIteration):
        while True:
            commands = proceed(slow, plan, commands)
    assert ids(fitting.list(None, filter={"n": {"$gt": 0}})) == ["1"]
    slow.setup()
    info = redis_client.execute_command("FT.INFO", index_name(key_prefix, "checkpoints"))
    assert {"n", "m"} <= {*index_info(info).fields}


def test_a_process_that_dies_while_it_changes_an_alias_holds_up_others_for_a_while(
    make_saver: MakeSaver, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = make_saver(SYNC)
    assert isinstance(saver, RedisSaver)
    monkeypatch.setattr(indexes, "LOCKED", 50)
    alias = index_name(key_prefix, "threads")
    live = saver._runner.run(indexes.info(alias))
    begun = []

    def step() -> Plan[None]:
        begun.append(1)
        yield [("PING",)]

    def changed() -> bool:
        plan = indexes._while_live(key_prefix, alias, live, [step()])
        return saver._runner.run(plan) is None

    dying = indexes._while_live(key_prefix, alias, live, [step()])
    commands = next(dying)
    while commands != [("PING",)]:
        commands = proceed(saver, dying, commands)
    wait_until(changed)
    assert len(begun) == 2


# ---- progress


@each_saver
def test_on_progress_is_called_while_an_index_fills(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    event_loop_thread: asyncio.AbstractEventLoop,
    alias: str,
    key_prefix: str,
) -> None:
    saver = make_saver(client)
    put(saver, "1")
    copies(redis_client, f"{key_prefix}checkpoint:{{thread}}::1", 8_000)
    told: list[float] = []

    def set_up() -> None:
        setting = saver.asetup(on_progress=told.append)
        asyncio.run_coroutine_threadsafe(setting, event_loop_thread).result()

    for _ in range(100):  # a fast machine sometimes finishes before setup first looks
        redis_client.execute_command("FT.DROPINDEX", live(redis_client, alias))
        set_up()
        if told:
            break
    assert told == sorted(told)
    assert 0 <= told[0] <= told[-1] < 1
    assert indexed(redis_client, alias) == 8_001
    told.clear()
    set_up()
    assert told == []


# ---- a server that gives parts


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as started:
        yield started


def test_a_partial_search_result_is_never_returned(server: EmbeddedRedis) -> None:
    """The server may return a partial result after a millisecond, and the searches take longer."""
    with RedisSaver(server.url) as saver, redis.Redis.from_url(server.url) as client:
        saver.setup()
        copy = put(saver, "0000", metadata={"x": "y"})["configurable"]["thread_id"]
        source = client.execute_command("JSON.GET", f"langgraph:checkpoint:{{{copy}}}::0000", ".")
        pipeline = client.pipeline(transaction=False)
        count = 60_000
        for number in range(1, count):
            entry = f"c::{number:05}"
            text = source.replace(b'"0000"', b'"%05d"' % number)
            key = f"langgraph:checkpoint:{{{copy}}}{entry[1:]}"
            pipeline.execute_command("JSON.SET", key, "$", text)
            pipeline.zadd(f"langgraph:contents:{{{copy}}}", {entry: 0})
        pipeline.execute()
        for name, value in (("TIMEOUT", 1), ("ON_TIMEOUT", "RETURN")):
            client.execute_command("FT.CONFIG", "SET", name, value)
        search = ("FT.SEARCH", "langgraph:checkpoints", "*", "SORTBY", "checkpoint_id")

        def is_a_part() -> bool:
            part = client.execute_command(*search)
            return bool((part[b"total_results"] if isinstance(part, dict) else part[0]) < count)

        # A fast machine sometimes finishes within a millisecond.
        assert any(is_a_part() for _ in range(100)), "no answer is a part: nothing is tested"
        query = filters.read({"x": "y"}, {}).expression()
        found = saver._runner.run(search_sort_keys(saver._context, query))
        assert len(found) == len(set(found)) == count
        newest = [f"{number:05}" for number in range(count - 1, count - 21, -1)]
        assert ids(saver.list(None, limit=20)) == newest
        assert ids(saver.list(None, filter={"x": "y"}, limit=20)) == newest


class Losing(SyncRunner):
    """Its first cursors have expired when it reads the next page."""

    lost = 0

    def execute(self, client: Any, commands: Sequence[Command], searches: SearchNode) -> Replies:
        if commands[0][0] == "FT.CURSOR" and self.lost < 2:
            self.lost += 1
            super().execute(client, [("FT.CURSOR", "DEL", *commands[0][2:4])], searches)
        return super().execute(client, commands, searches)


def test_a_lost_cursor_is_opened_again(
    many: Saver, redis_url: str, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "NAMES", 4)
    calls: list[tuple[Callable[[Saver], list[Any]], int]] = [
        (lambda saver: ids(saver.list(None)), 500),
        (lambda saver: list(saver.threads()), 10),
    ]
    for call, expected in calls:
        with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
            saver._runner = runner = Losing(saver._runner.client, owned=True)
            assert len(call(saver)) == expected
            assert runner.lost == 2

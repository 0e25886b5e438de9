"""The life of the indexes: made, added to, and replaced while others read and write."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from langgraph_redis_json.fields import SCHEMAS

from langgraph_redis_json import (
    IndexIncompleteError,
    IndexMissingError,
    RedisSaver,
    UnindexedDocumentsError,
    UnsuitableServerError,
    finding,
    indexes,
)
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import each_saver, found_keys, ids, indexed, own_indexes, put
from tests.support.clients import Client, MakeSaver, Saver
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
    """An index as a person, or another version, would have made it."""
    words = fields or ("$.tokens", "AS", "tokens", "TAG")
    client.execute_command(
        *("FT.CREATE", name, "ON", "JSON", "PREFIX", 1, f"{key_prefix}checkpoint:{{"),
        *("SCHEMA", *words),
    )


def test_fields_are_added(
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
def test_an_index_that_is_not_as_it_should_be(
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
    if how == "plain":  # of before there were aliases
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
    # An index of a person's is not ours to drop.
    assert (f"{key_prefix}mine" in own_indexes(redis_client, key_prefix)) is (how == "foreign")
    # Documents were not touched.
    assert len(found_keys(redis_client, key_prefix, "checkpoint")) == 500


def test_what_a_killed_setup_has_left(
    many: Saver, make_saver: MakeSaver, redis_client: redis.Redis, alias: str, key_prefix: str
) -> None:
    now = live(redis_client, alias)
    create_by_hand(redis_client, key_prefix, f"{alias}_v1_abcdef")
    create_by_hand(redis_client, key_prefix, f"{alias}_v99_abcdef")
    make_saver(SYNC)
    # What a newer version has begun is its own.
    left = [name for name in own_indexes(redis_client, key_prefix) if "checkpoints" in name]
    assert left == sorted([now, f"{alias}_v99_abcdef"])


@each_saver
def test_an_index_of_a_newer_version(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, alias: str, key_prefix: str
) -> None:
    put(make_saver(client), "1")
    redis_client.execute_command("FT.DROPINDEX", live(redis_client, alias))
    create_by_hand(redis_client, key_prefix, f"{alias}_v2_abcdef")
    redis_client.execute_command("FT.ALIASADD", alias, f"{alias}_v2_abcdef")
    with pytest.raises(UnsuitableServerError, match=r"newer version .* Upgrade the package"):
        make_saver(client)
    assert live(redis_client, alias) == f"{alias}_v2_abcdef"


def copies(client: redis.Redis, key: str, count: int) -> None:
    """So many documents like the one at a key, in no table of contents."""
    document = client.execute_command("JSON.GET", key, ".")
    pipeline = client.pipeline(transaction=False)
    for number in range(count):
        pipeline.execute_command("JSON.SET", f"{key}-{number:05}", "$", document)
    pipeline.execute()


def test_readers_and_writers_go_on_while_an_index_is_replaced(
    many: Saver, make_saver: MakeSaver, redis_client: redis.Redis, alias: str, key_prefix: str
) -> None:
    """Every answer is whole: none lacks what was there before the question."""
    copies(redis_client, f"{key_prefix}checkpoint:{{0}}::000", 8_000)
    reader = make_saver(SYNC, setup=False)
    assert isinstance(reader, RedisSaver)
    query = reader._plans._filter({"x": "y"}).expression()
    done = threading.Event()
    counts: list[tuple[int, int]] = []
    errors: list[redis.RedisError] = []
    written = 8_500

    def read() -> None:
        while not done.is_set():
            before = written
            try:
                counts.append((before, len(reader._runner.run(reader._plans._search(query)))))
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
    assert len(reader._runner.run(reader._plans._search(query))) == written
    left = [name for name in own_indexes(redis_client, key_prefix) if "checkpoints" in name]
    assert len(left) == 1


@each_saver
def test_a_document_that_no_index_takes(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, alias: str, key_prefix: str
) -> None:
    """It is named, and the rest is as it was: the old index, or none."""
    saver = make_saver(client, setup=False)
    put(saver, "1")
    bad = f"{key_prefix}checkpoint:{{thread}}::2"
    redis_client.execute_command("JSON.SET", bad, "$", '{"format":1,"step":"seven"}')
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
    redis_client.execute_command("JSON.SET", bad, "$", '{"format":1,"step":"seven"}')
    with pytest.raises(UnindexedDocumentsError):
        make_saver(client)
    assert ids(saver.list(None)) == ["1"]
    redis_client.delete(bad)
    make_saver(client)
    assert ids(saver.list(None)) == ["1"]


class Altering(RedisSaver):
    """A saver that sends a command before its next ones, in the same pipeline."""

    before: tuple[Any, ...] | None = None

    def _execute(self, commands: Any) -> Any:
        if self.before is None:
            return super()._execute(commands)
        before, self.before = self.before, None
        return super()._execute([before, *commands])[1:]


def test_a_search_raises_while_the_server_fills_its_index(
    many: Saver, redis_url: str, alias: str, key_prefix: str
) -> None:
    """As after a restart: searches raise until the index has all documents."""
    field = ("$[?(@.n>=0)].n", "AS", "z", "NUMERIC")
    with Altering(redis_url, key_prefix=key_prefix) as saver:
        # The server does not index between the commands of one pipeline.
        saver.before = ("FT.ALTER", alias, "SCHEMA", "ADD", *field)
        with pytest.raises(IndexIncompleteError):
            list(saver.list(None, filter={"x": "y"}))

        def answers() -> bool:
            try:
                assert len(ids(saver.list(None, filter={"x": "y"}))) == 500
            except IndexIncompleteError:
                return False
            return True

        wait_until(answers)


def test_processes_with_fields_of_their_own(redis_url: str, key_prefix: str, many: Saver) -> None:
    """Each has its field in the end, whoever was first."""
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


# ---- progress


def test_a_bar_needs_rich(make_saver: MakeSaver, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = make_saver(SYNC, setup=False)
    saver.setup(progress=True)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    saver.setup()
    with pytest.raises(ImportError, match=r'pip install "langgraph-redis-json\[progress\]"'):
        saver.setup(progress=True)


def test_a_bar_shows_what_is_done(
    many: Saver, make_saver: MakeSaver, redis_client: redis.Redis, alias: str, monkeypatch: Any
) -> None:
    shown: list[float] = []

    class Bar:
        def __init__(self, **_: Any) -> None:
            pass

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def add_task(self, what: str, total: float) -> int:
            assert (what, total) == ("Indexing checkpoints", 1.0)
            return 0

        def update(self, task: int, completed: float) -> None:
            shown.append(completed)

    monkeypatch.setattr("rich.progress.Progress", Bar)
    redis_client.execute_command("FT.DROPINDEX", live(redis_client, alias))
    many.setup(progress=True)
    assert all(0 <= share < 1 for share in shown)


# ---- a server that gives parts


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as started:
        yield started


def test_no_answer_is_a_part(server: EmbeddedRedis) -> None:
    """The server may give one after a millisecond, and the searches take longer."""
    with RedisSaver(server.url) as saver, redis.Redis.from_url(server.url) as client:
        saver.setup()
        copy = put(saver, "0000", metadata={"x": "y"})["configurable"]["thread_id"]
        source = client.execute_command("JSON.GET", f"checkpoint:{{{copy}}}::0000", ".")
        pipeline = client.pipeline(transaction=False)
        count = 60_000
        for number in range(1, count):
            entry = f"c::{number:05}"
            text = source.replace(b'"0000"', b'"%05d"' % number)
            pipeline.execute_command("JSON.SET", f"checkpoint:{{{copy}}}{entry[1:]}", "$", text)
            pipeline.zadd(f"contents:{{{copy}}}", {entry: 0})
        pipeline.execute()
        for name, value in (("TIMEOUT", 1), ("ON_TIMEOUT", "RETURN")):
            client.execute_command("FT.CONFIG", "SET", name, value)
        search = ("FT.SEARCH", "checkpoints", "*", "SORTBY", "checkpoint_id")

        def is_a_part() -> bool:
            part = client.execute_command(*search)
            return bool((part[b"total_results"] if isinstance(part, dict) else part[0]) < count)

        # A fast machine is now and then done in time.
        assert any(is_a_part() for _ in range(100)), "no answer is a part: nothing is tested"
        plans = saver._plans
        found = saver._runner.run(plans._search(plans._filter({"x": "y"}).expression()))
        assert len(found) == len(set(found)) == count
        newest = [f"{number:05}" for number in range(count - 1, count - 21, -1)]
        assert ids(saver.list(None, limit=20)) == newest
        assert ids(saver.list(None, filter={"x": "y"}, limit=20)) == newest


class Losing(RedisSaver):
    """A saver whose first cursors are gone when it goes on reading, as after some minutes."""

    lost = 0

    def _execute(self, commands: Any) -> Any:
        if commands[0][0] == "FT.CURSOR" and self.lost < 2:
            self.lost += 1
            super()._execute([("FT.CURSOR", "DEL", *commands[0][2:4])])
        return super()._execute(commands)


def test_a_cursor_that_is_lost(
    many: Saver, redis_url: str, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "NAMES", 4)
    calls: list[tuple[Callable[[Saver], list[Any]], int]] = [
        (lambda saver: ids(saver.list(None)), 500),
        (lambda saver: list(saver.threads()), 10),
    ]
    for call, expected in calls:
        with Losing(redis_url, key_prefix=key_prefix) as saver:
            assert len(call(saver)) == expected
            assert saver.lost == 2

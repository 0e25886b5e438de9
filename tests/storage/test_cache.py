"""The cache: cached values are neither sent nor read again, and never wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from langgraph_redis_json import MissingDocumentError, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.storage import cache, list_logs
from langgraph_redis_json.storage.cache import Cache, CachedCheckpoint, Slice, StoredChannel
from langgraph_redis_json.storage.json_codec import Dumped
from tests.support.checkpoints import config, each_saver, found_keys, put
from tests.support.clients import Client, MakeSaver
from tests.support.growing_lists import LENGTHS, WORDS, Conversation, Logs, Thread, items, traffic


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A server for this test alone, so that its statistics belong to the test."""
    with EmbeddedRedis() as server:
        yield server.url


@each_saver
@pytest.mark.parametrize("target", [config(), config(checkpoint_id="newest")], ids=["newest", "id"])
def test_get_does_not_read_cached_values(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, target: Any
) -> None:
    saver = make_saver(client)
    conversation = Conversation()
    answered: list[int] = []
    read_again: list[int] = []
    for length in LENGTHS:
        conversation.grow(saver, length)
        if "checkpoint_id" in target["configurable"]:
            target = config(checkpoint_id=f"{length - 1:08}")
        for reader, sizes in ((saver, answered), (make_saver(client, setup=False), read_again)):
            for _ in range(2):
                sizes.append(traffic(redis_client, lambda: reader.get_tuple(target))[1])  # noqa: B023
                found = reader.get_tuple(target)
                assert found is not None
                assert found.checkpoint["channel_values"]["messages"] == conversation.messages
    assert max(answered) - min(answered) < 300, answered
    assert max(answered) < 2_000
    # Values of another saver are read once.
    for size, length in zip(read_again[::2], LENGTHS, strict=True):
        assert size > length * len(WORDS)
    assert read_again[1::2] == answered[1::2]


@each_saver
def test_get_does_not_read_cached_large_values(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis
) -> None:
    values = {"text": WORDS * 10, "bytes": b"\xff" * 200_000, "list": [WORDS, {"a": 1}] * 50}
    saver, other = make_saver(client), make_saver(client, setup=False)
    for number in range(3):
        put(
            saver,
            f"{number}",
            {**values, "count": number},
            {**dict.fromkeys(values, 1), "count": number},
        )
        sizes = {}
        for reader in (saver, other):
            sizes[reader] = traffic(redis_client, lambda: reader.get_tuple(config()))[1]  # noqa: B023
            found = reader.get_tuple(config())
            assert found is not None
            assert found.checkpoint["channel_values"] == {**values, "count": number}
        assert sizes[saver] < 2_000 < 200_000 < sizes[other]
    saver.delete_thread("thread")
    put(
        other, "2", {**values, "text": "other words" * 100}, {**dict.fromkeys(values, 2), "text": 3}
    )
    found = saver.get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"] == {**values, "text": "other words" * 100}


@each_saver
@pytest.mark.parametrize("id_", [None, "00001"])
def test_a_checkpoint_that_another_saver_replaced_is_read_again(
    make_saver: MakeSaver, client: Client, id_: str | None
) -> None:
    """Another saver has stored other lists under the same checkpoint id."""
    thread = Thread()
    one, other = make_saver(client), make_saver(client, setup=False)
    thread.put(one, items(0, 10))
    for start, stop in ((0, 12), (5, 9), (20, 30), (0, 1)):
        thread.check_one(one, id_)
        thread.expected["00001"] = items(start, stop)
        thread.put_again(other, "00001")
        thread.check_one(one, id_)
        other.delete_thread(thread.thread_id)
        thread.expected["00001"] = items(start + 50, stop + 50)
        thread.put_again(make_saver(client, setup=False), "00001")
        thread.check_one(one, id_)
    thread.put(one, items(50, 55))
    thread.check(one)


@each_saver
@pytest.mark.parametrize("other_steps", [1, 2])
@pytest.mark.parametrize("then", ["put", "get", "get and put"])
def test_the_cache_is_not_used_after_the_server_lost_steps(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    other_steps: int,
    then: str,
) -> None:
    """After a failover a log has other items than the saver's cache says, but as many."""
    thread = Thread()
    saver, other = make_saver(client), make_saver(client, setup=False)
    thread.put(saver, items(0, 10))
    before = {key: redis_client.dump(key) for key in found_keys(redis_client, key_prefix)}
    lost = thread.put(saver, items(0, 10 + other_steps))
    for key in found_keys(redis_client, key_prefix):
        redis_client.delete(key)
    for key, dump in before.items():
        assert dump is not None
        redis_client.restore(key, 0, dump)
    value = thread.expected.pop(lost)
    thread.check_one(other)
    for step in range(other_steps):
        thread.put(other, [*thread.last, *items(100 + step, 101 + step)])
    [log] = found_keys(redis_client, key_prefix, "log")
    assert redis_client.execute_command("JSON.ARRLEN", log, ".items") == len(value)
    if then != "put":
        thread.check_one(saver)
    thread.put(saver, [*(value if then == "put" else thread.last), *items(200, 201)])
    thread.check(other)
    thread.check_one(saver)


@each_saver
@pytest.mark.parametrize("kind", ["log", "blob"])
@pytest.mark.parametrize("checkpoint_id", [None, "1"])
def test_a_cached_value_does_not_hide_a_missing_document(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    kind: str,
    checkpoint_id: str | None,
) -> None:
    """A saver with a cached value still reports that its document is missing."""
    saver = make_saver(client)
    values = {"list": items(0, 10), "other": items(10, 20), "text": WORDS, "words": WORDS * 2}
    put(saver, "1", values)
    target = config(checkpoint_id=checkpoint_id)
    found = saver.get_tuple(target)
    assert found is not None
    assert found.checkpoint["channel_values"] == values
    gone = found_keys(redis_client, key_prefix, kind)[0]
    redis_client.delete(gone)
    with pytest.raises(MissingDocumentError) as raised:
        saver.get_tuple(target)
    assert gone in str(raised.value)


# ---- several checkpoints of a namespace

STEPS = 12


@each_saver
@pytest.mark.parametrize("by_list", [False, True], ids=["get_tuple", "and list"])
def test_reading_an_old_checkpoint_of_a_running_thread_stores_no_item_again(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    by_list: bool,
) -> None:
    """As a user interface does that shows the history of a thread that runs."""
    saver, thread = make_saver(client), Thread()
    thread.put(saver, items(0, 10))
    for step in range(STEPS):
        thread.check_one(saver, "00001")
        if by_list:
            thread.check(saver)
        thread.put(saver, [*thread.last, *items(10 + step, 11 + step)])
    stored_logs = Logs(redis_client, key_prefix)
    assert stored_logs.items() == 10 + STEPS
    assert len(stored_logs.keys()) == 1
    thread.check(make_saver(client, setup=False))


@each_saver
@pytest.mark.parametrize("read", [False, True], ids=["put", "get and put"])
def test_two_branches_in_turn_store_each_item_once(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    read: bool,
) -> None:
    """Each branch continues its own list. The branches share the items before the fork."""
    saver, thread = make_saver(client), Thread()
    fork = thread.put(saver, items(0, 10))
    tips = [fork, fork]
    for step in range(STEPS):
        for branch, tip in enumerate(tips):
            if read:
                thread.check_one(saver, tip)
            number = 100 * (branch + 1) + step
            value = [*thread.expected[tip], *items(number, number + 1)]
            tips[branch] = thread.put(saver, value, parent=tip)
    stored_logs = Logs(redis_client, key_prefix)
    assert stored_logs.items() == 10 + 2 * STEPS
    # The second branch cannot add to the log of the first one.
    assert len(stored_logs.keys()) == 2
    thread.check(make_saver(client, setup=False))
    for tip in tips:
        thread.check_one(saver, tip)


@each_saver
def test_the_newest_and_the_recently_used_checkpoints_stay(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis
) -> None:
    saver, thread = make_saver(client), Thread()
    ids = [
        thread.put(saver, items(0, 10 + number)) for number in range(3 * cache.MOST_OF_NAMESPACE)
    ]
    newest, used = ids[-1], ids[0]

    def received(id_: str) -> int:
        """Bytes that the server sends for a checkpoint."""
        return traffic(redis_client, lambda: thread.check_one(saver, id_))[1]

    whole = received(used)
    assert received(used) < whole / 2
    for id_ in ids[1:-1]:
        assert received(id_) > whole / 2, id_  # it was not in the cache
        assert received(used) < whole / 2, id_
    assert received(newest) < whole / 2
    # The others are dropped, the one that was used least recently first.
    recent = [used, ids[-2], ids[-3]][: cache.MOST_OF_NAMESPACE - 1]
    for id_ in recent:
        assert received(id_) < whole / 2, id_
    assert received(ids[1]) > whole / 2


def test_a_namespace_has_few_checkpoints_in_the_cache() -> None:
    made = Cache()
    most = cache.MOST_OF_NAMESPACE

    def held(checkpoint_ns: str = "") -> list[int]:
        return [n for n in range(100) if made.get("t", checkpoint_ns, f"c::{n:02}").entry]

    def put(number: int, replaced: str = "") -> None:
        made.put("t", "", CachedCheckpoint(f"c::{number:02}", {}), replaced)

    made.put("t", "sub", CachedCheckpoint("c::05", {}))
    for number in range(most):
        put(number)
    assert held() == list(range(most))
    put(0)  # used again
    put(50)
    assert held() == [0, *range(2, most), 50]
    assert made.newest("t", "").entry == "c::50"
    for number in range(10, 10 + most - 1):
        put(number)
    assert held() == [*range(10, 10 + most - 1), 50]
    put(51, "c::50")  # the next step of a run takes the place of its parent
    assert held() == [*range(10, 10 + most - 1), 51]
    put(51)
    assert held() == [*range(10, 10 + most - 1), 51]
    made.drop("t", "", "c::51")
    assert held() == [*range(10, 10 + most - 1)]
    assert made.newest("t", "").entry == f"c::{10 + most - 2}"
    assert held("sub") == [5]
    assert made.newest("t", "sub").entry == "c::05"
    assert made.newest("t", "other") == cache.NOTHING


# ---- the size of the cache

UNIT = 200_000
"""Bytes, of which one is more than what a cache adds for all checkpoints of the test."""


def cached(text: int, value: int = 0) -> CachedCheckpoint:
    """A checkpoint with a channel.

    Args:
        text: the size of what stands for the value in the checkpoint, in units.
        value: the size of the value, in units.
    """
    stored = StoredChannel(
        "1",
        b"x" * (text * UNIT),
        slices=[Slice("l::list:1", 0, 1)],
        item_hashes=list_logs.hashes_of([b"x"]),
        dumped=Dumped("msgpack", b"x" * (value * UNIT)) if value else None,
        items_size=value * UNIT,
    )
    return CachedCheckpoint("c::1", {"list": stored})


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_CHECKPOINTS", 10)
    monkeypatch.setattr(cache, "MOST_BYTES", 100 * UNIT + UNIT // 2)
    made = Cache()

    def put(thread: int, text: int, value: int = 0) -> None:
        made.put(f"{thread}", "", cached(text, value))

    def held() -> dict[int, int]:
        """Thread -> how many units of it are in the cache."""
        found = {n: made.get(f"{n}", "", "c::1").channels.get("list") for n in range(50)}
        return {
            n: (len(one.text) + (len(one.dumped.data) if one.dumped else 0)) // UNIT
            for n, one in found.items()
            if one is not None
        }

    for n in range(20):
        put(n, 1)
    assert held() == dict.fromkeys(range(10, 20), 1)
    put(10, 50)  # used again, so not the next to be evicted
    put(20, 40)
    assert held() == {**dict.fromkeys(range(12, 20), 1), 10: 50, 20: 40}
    put(21, 9)
    assert held() == {19: 1, 10: 50, 20: 40, 21: 9}
    put(22, 101)
    assert held() == {}
    for _ in range(30):
        put(1, 60)
    assert held() == {1: 60}
    # The values of the least recently used threads are evicted first; their hashes stay.
    put(2, 1, 20)
    put(3, 1, 10)
    put(2, 1, 20)
    assert held() == {1: 60, 2: 21, 3: 11}
    put(4, 1, 6)
    assert held() == {1: 60, 2: 21, 3: 11, 4: 7}
    put(5, 1, 1)
    assert held() == {1: 60, 2: 21, 3: 1, 4: 7, 5: 2}
    left = made.get("3", "", "c::1")
    assert left.held == []
    assert made.get("2", "", "c::1").held == ["l::list:1"]
    assert left.channels["list"].items_hash == cache.hash_of(b"x" * (10 * UNIT))
    assert left.channels["list"].begins(b"x" * (10 * UNIT), 0)
    put(6, 99)
    assert held() == {5: 1, 6: 99}
    # The values of one checkpoint get a quarter of the cache at most.
    put(6, 9)
    put(7, 1, 26)
    assert held()[7] == 1
    put(7, 1, 25)
    assert held()[7] == 26
    for n in range(10, 30):
        put(n, 1, 1)
    assert held() == dict.fromkeys(range(20, 30), 2)


def check_accounting(made: Cache) -> None:
    """Check what the cache says of its size and of its namespaces against what it holds."""
    sizes = {}
    for key, one in made._checkpoints.items():
        assert key[2] == one.entry
        sizes[key] = 1_000 + sum(
            cache.CHANNEL_BYTES
            + len(stored.text)
            + 8 * len(stored.item_hashes)
            + 300 * len(stored.slices)
            + (len(stored.dumped.data) if stored.dumped else 0)
            for stored in one.channels.values()
        )
    assert made._sizes == sizes
    assert made._bytes == sum(sizes.values()) <= cache.MOST_BYTES
    assert len(sizes) <= cache.MOST_CHECKPOINTS
    namespaces: dict[tuple[str, str], list[str]] = {}
    for contents, checkpoint_ns, entry in made._checkpoints:
        namespaces.setdefault((contents, checkpoint_ns), []).append(entry)
    assert made._entries == namespaces  # also in the order of their use
    assert all(len(entries) <= cache.MOST_OF_NAMESPACE for entries in namespaces.values())
    with_values = {key for key, one in made._checkpoints.items() if one.size}
    assert with_values <= {*made._with_values} <= {*made._checkpoints}


@pytest.mark.parametrize("seed", range(5))
def test_the_accounting_is_right_after_any_operations(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(cache, "MOST_CHECKPOINTS", 12)
    monkeypatch.setattr(cache, "MOST_BYTES", 300_000)
    choose, made = random.Random(seed), Cache()
    lost_values = dropped = 0

    def stored(text: int, count: int, value: int) -> StoredChannel:
        return StoredChannel(
            "1",
            b"x" * text,
            slices=[Slice(f"l::{n}:1", 0, 1) for n in range(count)],
            item_hashes=list_logs.hashes_of([b"x"] * count),
            dumped=Dumped("msgpack", b"x" * value) if value else None,
        )

    for _ in range(2_000):
        contents, checkpoint_ns = f"{choose.randrange(3)}", choose.choice(["", "sub"])
        entry, other = (f"c::{choose.randrange(7)}" for _ in range(2))
        if choose.random() < 0.2:
            made.drop(contents, checkpoint_ns, entry)
            assert made.get(contents, checkpoint_ns, entry) == cache.NOTHING
            dropped += 1
        else:
            found = {
                f"{n}": stored(
                    choose.randrange(500),
                    choose.randrange(4),
                    choose.choice([0, 10, 9_000, 50_000]),
                )
                for n in range(choose.randrange(4))
            }
            replaced = choose.choice(["", other])
            made.put(contents, checkpoint_ns, CachedCheckpoint(entry, found), replaced)
            kept = made.get(contents, checkpoint_ns, entry)
            assert kept.entry == entry
            assert {*kept.channels} == {*found}
            lost_values += kept.channels != found
            if replaced not in ("", entry):
                assert made.get(contents, checkpoint_ns, replaced) == cache.NOTHING
        check_accounting(made)
    assert lost_values > 10 < dropped
    for key in list(made._checkpoints):
        made.drop(*key)
    check_accounting(made)
    assert made._bytes == 0
    assert [*made._entries, *made._with_values, *made._sizes] == []


def test_the_accounting_of_a_saver_is_right(make_saver: MakeSaver) -> None:
    saver, thread = make_saver(Client(RedisSaver, 3, False)), Thread()
    other = make_saver(Client(RedisSaver, 3, False), setup=False)
    for number in range(6):
        thread.put(saver, items(0, 10 + number))
        thread.check_one(saver, "00001")
        thread.put_again(other, "00001")
        check_accounting(saver._cache)
    saver.delete_thread(thread.thread_id)
    assert saver.get_tuple(thread.config()) is None
    check_accounting(saver._cache)


def test_a_value_is_known_by_its_beginning() -> None:
    """With and without the cached bytes."""
    stored = cached(0, 1).channels["list"]
    for one in (stored, stored.without_value()):
        assert one.begins(b"[" + b"x" * UNIT + b"more", 1)
        assert not one.begins(b"[" + b"x" * (UNIT - 1) + b"ymore", 1)
        assert not one.begins(b"[" + b"x" * (UNIT - 1), 1)

"""What a saver remembers it neither sends nor reads again, and it is never wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from langgraph_redis_json import MissingDocumentError
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import config, each_saver, found_keys, put
from tests.support.clients import Client, MakeSaver
from tests.support.growing_lists import LENGTHS, WORDS, Conversation, Thread, items, traffic


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A server that nobody else uses: its counts are this test's own."""
    with EmbeddedRedis() as server:
        yield server.url


@each_saver
@pytest.mark.parametrize("target", [config(), config(checkpoint_id="newest")], ids=["newest", "id"])
def test_a_get_does_not_read_what_the_saver_remembers(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, target: Any
) -> None:
    saver = make_saver(client)
    conversation = Conversation()
    answered: list[int] = []
    anew: list[int] = []
    for length in LENGTHS:
        conversation.grow(saver, length)
        if "checkpoint_id" in target["configurable"]:
            target = config(checkpoint_id=f"{length - 1:08}")
        for reader, sizes in ((saver, answered), (make_saver(client, setup=False), anew)):
            for _ in range(2):
                sizes.append(traffic(redis_client, lambda: reader.get_tuple(target))[1])  # noqa: B023
                found = reader.get_tuple(target)
                assert found is not None
                assert found.checkpoint["channel_values"]["messages"] == conversation.messages
    assert max(answered) - min(answered) < 300, answered
    assert max(answered) < 2_000
    # What another has stored is read once.
    for size, length in zip(anew[::2], LENGTHS, strict=True):
        assert size > length * len(WORDS)
    assert anew[1::2] == answered[1::2]


@each_saver
def test_a_get_does_not_read_large_values_that_the_saver_remembers(
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
def test_a_checkpoint_that_others_have_stored_again(
    make_saver: MakeSaver, client: Client, id_: str | None
) -> None:
    """Under its id there are other lists than a saver remembers."""
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
def test_a_server_that_lost_the_last_steps(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    other_steps: int,
    then: str,
) -> None:
    """After a failover other items stand where a saver has put its own: just as many."""
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
def test_what_is_gone_is_missed(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    kind: str,
    checkpoint_id: str | None,
) -> None:
    """A saver that remembers a value does not hide that others will not find it."""
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

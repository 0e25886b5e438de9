"""A long conversation: each step sends only new items, and each item is stored once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest
import redis
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import config, each_saver, found_keys
from tests.support.clients import Client, MakeSaver
from tests.support.growing_lists import LENGTHS, WORDS, Conversation, traffic


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A server for this test alone, so that its statistics belong to the test."""
    with EmbeddedRedis() as server:
        yield server.url


@each_saver
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("window", [None, 20])
def test_a_put_sends_only_new_items(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    restarted: bool,
    window: int | None,
) -> None:
    saver = make_saver(client)
    conversation = Conversation(window)
    sent = []
    for length in LENGTHS:
        conversation.grow(saver, length)
        if restarted:
            saver = make_saver(client, setup=False)
            assert saver.get_tuple(config()) is not None
        sent.append(traffic(redis_client, lambda: conversation.step(saver))[0])  # noqa: B023
    _, message = JsonPlusSerializer().dumps_typed(conversation.messages[-1])
    assert len(message) < max(sent) <= 4 * len(message)
    assert max(sent) - min(sent) < 30, sent  # numbers get longer


@each_saver
def test_reading_a_window_skips_items_outside_it(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis
) -> None:
    saver = make_saver(client)
    conversation = Conversation(window=20)
    answered = []
    for length in LENGTHS:
        conversation.grow(saver, length)
        reader = make_saver(client, setup=False)
        answered.append(traffic(redis_client, lambda: reader.get_tuple(config()))[1])  # noqa: B023
    assert max(answered) - min(answered) < 300, answered


@each_saver
def test_memory_grows_linearly_with_the_conversation(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client)

    def used() -> int:
        # The documents' own bytes: the server's `used_memory` also counts buffers, tables
        # that grow by doubling, and what the indexes have not yet cleaned up.
        keys = found_keys(redis_client, key_prefix)
        return sum(redis_client.memory_usage(key, samples=0) or 0 for key in keys)

    conversation = Conversation()
    conversation.grow(saver, 200)
    half = used()
    conversation.grow(saver, 400)
    whole = used()
    assert 200 * len(WORDS) < half
    assert whole <= 2.1 * half

    texts: Counter[str] = Counter()
    for key in found_keys(redis_client, key_prefix):
        if "contents:" not in key:
            texts.update(
                re.findall(r"<(\d{4})> lorem", redis_client.execute_command("JSON.GET", key))
            )
    assert texts == {f"{number:04}": 1 for number in range(400)}

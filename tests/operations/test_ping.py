"""ping: whether the saver can be used now."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import redis

from langgraph_redis_json import AsyncRedisSaver, IndexMissingError, RedisSaver
from tests.support.checkpoints import each_saver
from tests.support.clients import Client, MakeSaver, Saver


def test_a_saver_that_was_set_up_is_ready(saver: Saver) -> None:
    assert saver.ping() is True


@each_saver
def test_a_saver_without_indexes_is_not_ready(make_saver: MakeSaver, client: Client) -> None:
    saver = make_saver(client, setup=False)
    with pytest.raises(IndexMissingError, match=r"setup\(\)"):
        saver.ping()


@pytest.mark.parametrize("kind", [RedisSaver, AsyncRedisSaver])
def test_a_saver_without_a_server_is_not_ready(kind: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(redis.ConnectionError):
            kind(f"redis://127.0.0.1:{probe.getsockname()[1]}").ping()

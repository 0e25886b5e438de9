"""get_channel_values: the state without the rest."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import Send

from langgraph_redis_json import MissingDocumentError
from tests.support.checkpoints import BIG, checkpoint, config, each_saver, found_keys, put
from tests.support.clients import Saver

VALUES = {"number": 1.5, "big": BIG, "list": [f"{n}{BIG}" for n in range(3)], "none": None}


def test_the_state_is_that_of_get_tuple(saver: Saver) -> None:
    put(saver, "1", {"old": 1})
    saver.put_writes(put(saver, "2", VALUES, parent="1"), [("channel", 1)], "task")
    put(saver, "1", {"sub": 2}, checkpoint_ns="sub")
    assert saver.get_channel_values(config()) == VALUES
    assert saver.get_channel_values(config(checkpoint_id="1")) == {"old": 1}
    assert saver.get_channel_values(config(checkpoint_ns="sub")) == {"sub": 2}


@each_saver
def test_a_checkpoint_that_does_not_exist_has_no_state(saver: Saver) -> None:
    assert saver.get_channel_values(config()) is None
    put(saver, "1")
    assert saver.get_channel_values(config(checkpoint_id="2")) is None
    assert saver.get_channel_values(config()) == {}


@each_saver
def test_tasks_of_old_versions_come_from_the_parent(saver: Saver) -> None:
    parent = put(saver, "1")
    saver.put_writes(parent, [(TASKS, Send("node", 1))], "task")
    saver.put(parent, checkpoint("2", {"a": 1}, v=1), {}, {"a": 1})
    assert saver.get_channel_values(config()) == {"a": 1, TASKS: [Send("node", 1)]}


@each_saver
def test_a_lost_value_raises(saver: Saver, redis_client: redis.Redis, key_prefix: str) -> None:
    put(saver, "1", VALUES)
    redis_client.delete(*found_keys(redis_client, key_prefix, "blob"))
    with pytest.raises(MissingDocumentError):
        saver.get_channel_values(config())


@each_saver
@pytest.mark.parametrize("given", ["thread", {"configurable": {}}])
def test_a_config_without_a_thread_is_refused(saver: Saver, given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="config"):
        saver.get_channel_values(given)

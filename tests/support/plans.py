"""Runs the steps of an operation one by one, so that a test can act between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.client.plan import Command
from tests.support.clients import Saver


def execute(saver: Saver, commands: Sequence[Command]) -> list[Any]:
    """The replies to a batch of commands of a plan of RedisSaver."""
    assert isinstance(saver, RedisSaver)
    return saver._runner.execute(saver._runner._plain, commands)

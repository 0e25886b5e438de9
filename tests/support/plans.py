"""Runs the steps of an operation one by one, so that a test can act between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.client.clients import SearchNode
from langgraph_redis_json.client.plan import Command, Plan
from tests.support.clients import Saver


def execute(saver: Saver, commands: Sequence[Command]) -> list[Any]:
    """The replies to a batch of commands of a plan of RedisSaver."""
    assert isinstance(saver, RedisSaver)
    return saver._runner.execute(saver._runner._plain, commands, SearchNode())


def proceed(saver: Saver, plan: Plan[Any], commands: Sequence[Command]) -> list[Command]:
    """Send a batch of a plan; gives the next one. An error of the server is raised in the plan."""
    try:
        replies = execute(saver, commands)
    except ResponseError as error:
        return plan.throw(error)
    return plan.send(replies)

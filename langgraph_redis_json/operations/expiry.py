"""pin and expire: when threads expire."""

from typing import Any

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.scripts import Call, DeadlineReply, send
from langgraph_redis_json.errors import ThreadMissingError, TriesExhaustedError
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import keys
from langgraph_redis_json.storage.keys import ThreadKeys

TRIES = 100
"""How often a change of the deadline begins again because another process changed it meanwhile."""


def pin(context: Context, thread_id: Any) -> Plan[None]:
    given = arguments.thread_id(thread_id)
    thread = keys.thread_keys(context.key_prefix, given)
    if not (yield from _move_deadline(thread, scripts.move_deadline(thread, "pin"))):
        raise ThreadMissingError(thread_id=given)


def expire(context: Context, thread_id: Any, minutes: float) -> Plan[None]:
    given = arguments.thread_id(thread_id)
    thread = keys.thread_keys(context.key_prefix, given)
    milliseconds = arguments.milliseconds("the lifetime", minutes)
    if not (
        yield from _move_deadline(thread, scripts.move_deadline(thread, "expire", milliseconds))
    ):
        raise ThreadMissingError(thread_id=given)


def use(thread: ThreadKeys, new_deadline: int) -> Plan[None]:
    """Give a thread that was used the new deadline that a script has replied with."""
    yield from _move_deadline(thread, scripts.move_deadline(thread, "use", new_deadline))


def finish(thread: ThreadKeys, pending_deadline: int) -> Plan[None]:
    """Give all keys of a thread the pending deadline that another process has not finished."""
    yield from _move_deadline(thread, scripts.move_deadline(thread, "continue", pending_deadline))


def _move_deadline(thread: ThreadKeys, call: Call[DeadlineReply]) -> Plan[bool]:
    """Send a call of move_deadline.lua, and continue until all keys have the deadline.

    Returns:
        Whether the thread existed.
    """
    reply = yield from send(call)
    existed = reply.exists
    # If the thread is deleted meanwhile, nothing is left to do.
    restarts, after = 0, ""
    while reply.exists and reply.continue_after is not None:
        restarts, after = restarts + (reply.continue_after <= after), reply.continue_after
        if restarts == TRIES:
            raise TriesExhaustedError(
                what=f"changing the deadline of the thread at {thread.contents}",
                times=TRIES,
                why="each time another process changed it meanwhile",
                remedy="The last change that is completed counts.",
            )
        reply = yield from send(scripts.move_deadline(thread, "continue", reply.deadline, after))
    return existed

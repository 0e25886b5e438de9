"""delete_thread: delete everything of a thread."""

from datetime import datetime
from typing import Any

from redis.crc import key_slot

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Command, Plan
from langgraph_redis_json.client.replies import text
from langgraph_redis_json.client.scripts import send
from langgraph_redis_json.errors import TriesExhaustedError
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import keys
from langgraph_redis_json.storage.keys import KINDS, ThreadKeys

CHUNK = 250
"""Keys that one call deletes, so that other clients need not wait long."""

TRIES = 100
"""Calls in a row after which fewer keys must be left."""


def delete_thread(
    context: Context, thread_id: Any, updated_at: datetime | None = None
) -> Plan[bool]:
    """Delete a thread.

    Args:
        context: the saver's.
        thread_id: the thread.
        updated_at: delete it only if it has not changed since this time, which its summary has.

    Returns:
        Whether it had not changed.
    """
    thread = keys.thread_keys(context.key_prefix, arguments.thread_id(thread_id))
    when = None if updated_at is None else round(updated_at.timestamp() * 1000)
    reply = yield from send(scripts.delete_thread(thread, CHUNK, when))
    if reply.has_changed:
        return False
    if reply.contents_are_lost:
        yield from _delete_unlisted(context, thread)
    least, tries = reply.left, 0
    while reply.left:
        if tries == TRIES:
            raise TriesExhaustedError(
                what=f"deleting the thread at {thread.contents}",
                times=TRIES,
                why="other processes write to the thread",
                remedy="Stop them, then delete the thread again.",
            )
        reply = yield from send(scripts.delete_thread(thread, CHUNK))
        tries = tries + 1 if reply.left >= least else 0
        least = min(least, reply.left)
    return True


def _delete_unlisted(context: Context, thread: ThreadKeys) -> Plan[None]:
    """Delete the keys of a thread that lost its table of contents: search the server for them."""
    starts = tuple(f"{thread.prefix}{kind}:{thread.tag}" for kind in KINDS.values())
    cursor, more = 0, True
    while more:
        if context.clustered:
            slot = key_slot(thread.contents.encode())
            command: Command = ("CLUSTER GETKEYSINSLOT", slot, 1_000_000_000)
            [found] = yield [command]
        else:
            [(position, found)] = yield [("SCAN", cursor, "COUNT", 1_000)]
            cursor = int(position)
        of_thread = [key for key in map(text, found) if key.startswith(starts)]
        if of_thread:
            yield [("UNLINK", *of_thread)]
        more = cursor != 0

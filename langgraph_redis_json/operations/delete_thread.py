"""delete_thread: delete everything of a thread."""

from typing import Any

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.scripts import send
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import keys

CHUNK = 250
"""Keys that one call deletes, so that other clients need not wait long."""


def delete_thread(context: Context, thread_id: Any) -> Plan[None]:
    thread = keys.thread_keys(context.key_prefix, arguments.thread_id(thread_id))
    while (yield from send(scripts.delete_thread(thread, CHUNK))):
        pass

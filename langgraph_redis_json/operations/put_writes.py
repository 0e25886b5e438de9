"""put_writes: store a task's writes beside their checkpoint, in one trip."""

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.long_steps import are_long
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.scripts import send
from langgraph_redis_json.operations import expiry
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import documents, keys


def put_writes(
    context: Context,
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
) -> Plan[None]:
    target = arguments.target(config)
    identity = arguments.identity(target, target.checkpoint_id)
    if not writes:
        return
    if context.on_loop and are_long([value for _, value in writes]):
        yield []
    members = documents.build_writes(writes, task_id, task_path, context.serde)
    thread = keys.thread_keys(context.key_prefix, identity.thread_id)
    new_deadline = yield from send(
        scripts.put_writes(
            thread,
            keys.writes_entry(identity.entry),
            members,
            format=documents.FORMAT,
            ttl=context.ttl,
        )
    )
    if new_deadline is not None:
        yield from expiry.use(thread, new_deadline)

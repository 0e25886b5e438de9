"""get_tuple: read a checkpoint with its pending writes, in one trip."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from langgraph_redis_json import arguments
from langgraph_redis_json.arguments import Target
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.long_steps import LONG
from langgraph_redis_json.client.plan import Command, Plan
from langgraph_redis_json.errors import MissingDocumentError
from langgraph_redis_json.operations import expiry
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import keys, loading
from langgraph_redis_json.storage.cache import CachedCheckpoint
from langgraph_redis_json.storage.keys import ThreadKeys
from langgraph_redis_json.storage.loading import DecodedCheckpoint, Row, StaleCacheError


def get_tuple(context: Context, config: RunnableConfig) -> Plan[CheckpointTuple | None]:
    found = yield from _get(context, config)
    if found is None:
        return None
    row, decoded = found
    metadata = loading.load_metadata(decoded, context.serde)
    thread_id = arguments.target(config).given_thread_id
    return loading.load_checkpoint(row, decoded, metadata, context.serde, thread_id)


def get_channel_values(context: Context, config: RunnableConfig) -> Plan[dict[str, Any] | None]:
    found = yield from _get(context, config)
    return None if found is None else loading.load_channel_values(*found, context.serde)


def _get(context: Context, config: RunnableConfig) -> Plan[tuple[Row, DecodedCheckpoint] | None]:
    target = arguments.target(config)
    thread = keys.thread_keys(context.key_prefix, target.thread_id)
    ttl = context.ttl if context.refresh_on_read else 0
    return (yield from _read(context, thread, target, ttl))


def read_to_cache(context: Context, thread: ThreadKeys, target: Target) -> Plan[CachedCheckpoint]:
    """Read a checkpoint, the newest of its namespace if the target names none, into the cache."""
    yield from _read(context, thread, target, 0)
    return context.cache.newest(thread.contents, target.checkpoint_ns or "")


def _read(
    context: Context, thread: ThreadKeys, target: Target, ttl: int
) -> Plan[tuple[Row, DecodedCheckpoint] | None]:
    """A checkpoint, the newest of its namespace if the target names none; None if there is none."""
    checkpoint_ns = target.checkpoint_ns or ""
    entries, large = None, []
    if target.checkpoint_id is None:
        cached = context.cache.newest(thread.contents, checkpoint_ns)
        # The large blobs that the newest checkpoint probably has, because the cached one has them.
        large = [
            stored.blob
            for stored in cached.channels.values()
            if stored.is_large and stored.blob and stored.dumped is None
        ]
    else:
        entries = [keys.checkpoint_entry(checkpoint_ns, target.checkpoint_id)]
        cached = context.cache.get(thread.contents, checkpoint_ns, entries[0])
    order: dict[str, Any] = {
        "namespace": checkpoint_ns and keys.escape(checkpoint_ns),
        "cached": cached.entry,
        "held": cached.held,
        "ttl": ttl,
    }
    call = scripts.read(thread, entries, separately=large, **order)
    read_large: list[Command] = [("JSON.MGET", *map(thread.key, large), ".")] if large else []
    replies = yield [call.command, *read_large]
    blobs = dict(zip(large, replies[1], strict=True)) if large else {}
    if None in blobs.values():  # deleted, so there is a newer checkpoint
        call, blobs = scripts.read(thread, entries, **order), {}
        replies = yield [call.command]
    reply = call.read(replies[0])
    if reply.new_deadline is not None:
        yield from expiry.use(thread, reply.new_deadline)
    if reply.contents_are_lost:
        raise MissingDocumentError(key=thread.key("t"), missing=thread.contents)
    for row in loading.rows(thread, target.thread_id, reply, cached, blobs):
        if not row.read.is_named:
            return None
        if context.on_loop:
            size = row.size
            if size <= LONG < size + (cached.size if row.cached else 0):
                yield []
        try:
            decoded = loading.decode_checkpoint(row, context.serde)
        except StaleCacheError:  # another process has stored this checkpoint again
            context.cache.drop(thread.contents, checkpoint_ns, row.read.entry)
            return (yield from _read(context, thread, target, ttl))
        context.cache.put(thread.contents, checkpoint_ns, loading.to_cache(row, decoded))
        return row, decoded
    return None

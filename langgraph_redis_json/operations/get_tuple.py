"""get_tuple: read a checkpoint with its pending writes, in one trip."""

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.serde.types import TASKS

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.long_steps import LONG
from langgraph_redis_json.client.plan import Plan, send
from langgraph_redis_json.client.scripts import ReadReply
from langgraph_redis_json.operations import expiry
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import keys, loading
from langgraph_redis_json.storage.cache import NOTHING, CachedCheckpoint
from langgraph_redis_json.storage.keys import ThreadKeys
from langgraph_redis_json.storage.loading import DecodedCheckpoint, Row, StaleCacheError


def get_tuple(context: Context, config: RunnableConfig) -> Plan[CheckpointTuple | None]:
    target = arguments.target(config)
    checkpoint_ns = target.checkpoint_ns or ""
    thread = keys.thread_keys(context.key_prefix, target.thread_id)
    cached = context.cache.get(thread.contents, checkpoint_ns)
    ttl = context.ttl if context.refresh_on_read else 0
    blobs: Mapping[str, bytes] = {}
    if target.checkpoint_id is None:
        reply, blobs = yield from _read_newest(thread, checkpoint_ns, cached, ttl)
    else:
        entry = keys.checkpoint_entry(checkpoint_ns, target.checkpoint_id)
        held = cached.held if cached.entry == entry else ()
        reply = yield from send(
            scripts.read_checkpoints(thread, [entry], cached=cached.entry, held=held, ttl=ttl)
        )
    if reply.new_deadline is not None:
        yield from expiry.use(thread, reply.new_deadline)
    for row in loading.rows(thread, target.thread_id, reply, cached, blobs):
        if not row.read.is_named:
            return None
        if context.on_loop:
            size = row.size
            if size <= LONG < size + (cached.size if row.cached else 0):
                yield []
        try:
            decoded = loading.decode_checkpoint(row)
        except StaleCacheError:  # another process has stored this checkpoint again
            context.cache.put(thread.contents, checkpoint_ns, NOTHING)
            return (yield from get_tuple(context, config))
        context.cache.put(thread.contents, checkpoint_ns, loading.to_cache(row, decoded))
        metadata = loading.load_metadata(decoded, context.serde)
        return (yield from load(context, row, decoded, metadata, target.given_thread_id))
    return None


def _read_newest(
    thread: ThreadKeys, checkpoint_ns: str, cached: CachedCheckpoint, ttl: int
) -> Plan[tuple[ReadReply, Mapping[str, bytes]]]:
    """Read the newest checkpoint of a namespace.

    The same trip reads the large blobs that it probably has, because the cached one has them.
    """
    namespace = keys.escape(checkpoint_ns)
    large = [
        stored.blob
        for stored in cached.channels.values()
        if stored.blob and stored.is_large and stored.dumped is None
    ]
    if large:
        call = scripts.read_newest(
            thread, namespace, cached=cached.entry, held=cached.held, separately=large, ttl=ttl
        )
        reply, found = yield [call.command, ("JSON.MGET", *map(thread.key, large), ".")]
        if None not in found:
            return call.read(reply), dict(zip(large, found, strict=True))
        # A blob was deleted, so there is a newer checkpoint.
    reply = yield from send(
        scripts.read_newest(thread, namespace, cached=cached.entry, held=cached.held, ttl=ttl)
    )
    return reply, {}


def load(
    context: Context,
    row: Row,
    decoded: DecodedCheckpoint,
    metadata: CheckpointMetadata,
    thread_id: Any,
) -> Plan[CheckpointTuple]:
    """A checkpoint as LangGraph's type.

    Args:
        context: the saver's.
        row: the checkpoint as the server holds it.
        decoded: the same, decoded.
        metadata: its metadata.
        thread_id: the thread as the caller spells it.
    """
    sends: list[Any] = []
    parent = decoded.parent_checkpoint_id
    if decoded.v < 4 and parent is not None:
        # Before version 4 LangGraph kept a checkpoint's tasks among its parent's writes.
        entry = keys.checkpoint_entry(row.identity.checkpoint_ns, parent)
        reply = yield from send(scripts.read_checkpoints(row.thread, [entry]))
        [parent_row] = loading.rows(row.thread, row.identity.thread_id, reply)
        writes = loading.load_writes(parent_row, context.serde, [TASKS])
        sends = [value for _, _, value in writes]
    return loading.load_checkpoint(row, decoded, metadata, sends, context.serde, thread_id)

"""get_tuple: read a checkpoint with its pending writes, in one trip."""

from collections.abc import Mapping

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.long_steps import LONG
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.scripts import ReadReply, send
from langgraph_redis_json.operations import expiry
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import keys, loading
from langgraph_redis_json.storage.cache import NOTHING, CachedCheckpoint
from langgraph_redis_json.storage.keys import ThreadKeys
from langgraph_redis_json.storage.loading import StaleCacheError


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
        call = scripts.read(thread, [entry], cached=cached.entry, held=held, ttl=ttl)
        reply = yield from send(call)
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
        given = target.given_thread_id
        return loading.load_checkpoint(row, decoded, metadata, context.serde, given)
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
        call = scripts.read(
            thread,
            None,
            namespace=namespace,
            cached=cached.entry,
            held=cached.held,
            separately=large,
            ttl=ttl,
        )
        reply, found = yield [call.command, ("JSON.MGET", *map(thread.key, large), ".")]
        if None not in found:
            return call.read(reply), dict(zip(large, found, strict=True))
        # A blob was deleted, so there is a newer checkpoint.
    call = scripts.read(
        thread, None, namespace=namespace, cached=cached.entry, held=cached.held, ttl=ttl
    )
    return (yield from send(call)), {}

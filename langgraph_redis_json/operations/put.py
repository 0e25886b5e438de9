"""put: store a checkpoint, whole or not at all, in one trip."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    get_serializable_checkpoint_metadata,
)
from redis.exceptions import RedisError, ResponseError

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.long_steps import are_long
from langgraph_redis_json.client.plan import Command, Plan
from langgraph_redis_json.operations import expiry, prune
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import channels, documents, keys
from langgraph_redis_json.storage.cache import NOTHING, CachedCheckpoint
from langgraph_redis_json.storage.keys import ThreadKeys


def put(
    context: Context,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
) -> Plan[RunnableConfig]:
    target = arguments.target(config)
    identity = arguments.identity(target, checkpoint["id"])
    checkpoint_ns, entry = identity.checkpoint_ns, identity.entry
    metadata = get_serializable_checkpoint_metadata(config, metadata)
    thread = keys.thread_keys(context.key_prefix, identity.thread_id)
    cached = context.cache.get(thread.contents, checkpoint_ns)
    missing: set[str] = set()
    while True:
        if context.on_loop and are_long(_values_to_send(checkpoint, new_versions, cached)):
            yield []
        storage = channels.store(
            thread, identity, checkpoint, new_versions, context.serde, cached.channels, missing
        )
        document = documents.build_checkpoint(
            thread,
            identity,
            target.checkpoint_id,
            checkpoint,
            metadata,
            new_versions,
            storage.texts,
            context.serde,
        )
        separate = storage.sent_separately
        call = scripts.store(
            thread,
            # The checkpoint comes last: a reader that sees it finds everything that it needs.
            [*storage.documents.items(), (entry, document.text)],
            cached=cached.entry if storage.expected or storage.appended else "",
            expected=storage.expected,
            appended=storage.appended,
            inherited=document.inherited,
            shared_bytes=document.shared_bytes,
            sent_separately=separate,
            ttl=context.ttl,
            keep_last=context.keep_last,
            has_deltas=document.has_deltas,
        )
        try:
            commands = _send_separately(thread, separate, context.ttl) if separate else ()
            *_, reply = yield [*commands, call.command]
        except ResponseError as error:
            if separate:
                # A full server may have refused the entry, and stored the blob a moment later.
                with suppress(RedisError):  # the caller learns of the first error
                    yield [scripts.delete_unnamed(thread, separate).command]
            raise error
        stored = scripts.read_store_reply(reply)
        if not stored.missing and not stored.changed_by_others:
            break
        missing |= stored.missing
        cached = cached._replace(
            channels=channels.without(cached.channels, missing, stored.changed_by_others)
        )
        if cached.entry in missing:
            cached = NOTHING
    context.cache.put(thread.contents, checkpoint_ns, CachedCheckpoint(entry, storage.channels))
    if stored.new_deadline is not None:
        yield from expiry.use(thread, stored.new_deadline)
    if stored.surplus:
        yield from prune.keep_newest(context, thread, entry, stored)
    return {
        "configurable": {
            "thread_id": target.given_thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": identity.checkpoint_id,
        }
    }


def _values_to_send(
    checkpoint: Checkpoint, new_versions: ChannelVersions, cached: CachedCheckpoint
) -> Iterable[object]:
    return [
        value
        for channel, value in (checkpoint.get("channel_values") or {}).items()
        if channel in new_versions or channel not in cached.channels
    ]


def _send_separately(thread: ThreadKeys, blobs: Mapping[str, bytes], ttl: int) -> Iterable[Command]:
    """The commands that store large blobs before the script that refers to them."""
    for entry, document in blobs.items():
        # The entry comes first: so the blob is deleted with the thread if nothing else follows.
        yield ("ZADD", thread.contents, 0, entry)
        yield ("JSON.SET", thread.key(entry), "$", document)
    yield scripts.expire_unless_referenced(thread, blobs, 2 * ttl).command

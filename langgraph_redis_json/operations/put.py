"""put: store a checkpoint, whole or not at all, in one trip."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    get_checkpoint_metadata,
)
from redis.exceptions import RedisError, ResponseError

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.long_steps import are_long
from langgraph_redis_json.client.plan import Command, Plan
from langgraph_redis_json.client.scripts import send
from langgraph_redis_json.errors import TriesExhaustedError
from langgraph_redis_json.operations import expiry, garbage, get_tuple, prune
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.operations.table_of_contents import pages
from langgraph_redis_json.storage import channels, documents, keys
from langgraph_redis_json.storage.cache import NOTHING, CachedCheckpoint
from langgraph_redis_json.storage.keys import ThreadKeys
from langgraph_redis_json.storage.messages import NewMessages

logger = logging.getLogger("langgraph_redis_json")

TRIES = 10
"""How often a put sends what the server lacks. The second time it sends everything."""


MOST_MESSAGES = 1_000
"""Documents of messages that the script of a put stores together with the checkpoint. If there are
more, further trips store the others, so that other clients need not wait long."""


MOST_DROPPED = 32
"""With keep_last, messages that were removed from the state before their documents are collected.
That reads all messages that are left, so it is not done at each put."""


def put(
    context: Context,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
) -> Plan[RunnableConfig]:
    target = arguments.target(config)
    identity = arguments.identity(target, checkpoint["id"])
    checkpoint_ns, entry, parent = identity.checkpoint_ns, identity.entry, target.checkpoint_id
    metadata = get_checkpoint_metadata(config, metadata)
    thread = keys.thread_keys(context.key_prefix, identity.thread_id)
    values = checkpoint.get("channel_values") or {}
    parent_entry = keys.checkpoint_entry(checkpoint_ns, parent) if parent else ""
    cached = context.cache.get(thread.contents, checkpoint_ns, parent_entry)
    if not cached.entry:
        cached = context.cache.newest(thread.contents, checkpoint_ns)
    if not cached.entry and not values.keys() <= new_versions.keys():
        # LangGraph's contract: a channel that is not among the new versions has the value that its
        # version had before. So the value is the stored one, whatever the cache has.
        cached = yield from get_tuple.read_to_cache(context, thread, target)
    search = context.message_search
    messages: NewMessages | None = None
    missing: set[str] = set()
    for _ in range(TRIES):
        if context.on_loop and are_long(_to_encode(checkpoint, metadata, new_versions, cached)):
            yield []
        if search is not None:
            messages = NewMessages(
                identity,
                documents.created_at(checkpoint.get("ts")),
                search,
                known=cached.searchable >= search.level,
            )
        storage = channels.store(
            thread,
            identity,
            checkpoint,
            new_versions,
            context.serde,
            cached.channels,
            missing,
            messages,
        )
        found = [] if messages is None else [*messages.documents.items()]
        is_searchable = search is not None and len(found) <= MOST_MESSAGES
        document = documents.build_checkpoint(
            thread,
            identity,
            parent,
            checkpoint,
            metadata,
            new_versions,
            storage.texts,
            context.serde,
            search.level if search is not None and is_searchable else 0,
        )
        separate = storage.sent_separately
        relies_on_cached = storage.expected or storage.appended or (messages and messages.known)
        call = scripts.store(
            thread,
            # The checkpoint comes last: a reader that sees it finds everything that it needs.
            [*storage.documents.items(), (entry, document.text)],
            cached=cached.entry if relies_on_cached else "",
            expected=storage.expected,
            appended=storage.appended,
            inherited=document.inherited,
            shared_bytes=document.shared_bytes,
            sent_separately=separate,
            messages=found[:MOST_MESSAGES],
            ttl=context.ttl,
        )
        commands = [*_send_separately(thread, separate, context.ttl)] if separate else []
        commands.append(call.command)
        if context.keep_last:
            keep = scripts.keep_newest(thread, entry, context.keep_last, document.has_deltas)
            commands.append(keep.command)
        try:
            replies = yield commands
        except ResponseError as error:
            if separate:
                # A full server may have refused the entry, and stored the blob a moment later.
                with suppress(RedisError):  # the caller learns of the first error
                    yield [scripts.delete_unnamed(thread, separate).command]
            raise error
        stored = call.read(replies[-2 if context.keep_last else -1])
        if not stored.missing and not stored.changed_by_others:
            break
        logger.debug("put sends values again that Redis lacks or others have changed: %s", stored)
        missing |= stored.missing
        cached = cached._replace(
            channels=channels.without(cached.channels, missing, stored.changed_by_others)
        )
        if cached.entry in missing:
            cached = NOTHING
    else:
        raise TriesExhaustedError(
            what=f"storing the checkpoint at key {thread.key(entry)}",
            times=TRIES,
            why=f"each time Redis had lost what was stored for it just before ({sorted(missing)})",
            remedy="Nothing was stored. A server that deletes keys when it is full does this: set "
            "maxmemory-policy to noeviction, or give the server more memory.",
        )
    if search is not None and not is_searchable:
        yield from _store_later(context, thread, entry, found[MOST_MESSAGES:], search.level)
    added, is_due = CachedCheckpoint(entry, storage.channels), False
    if search is not None and messages is not None:
        dropped = cached.dropped + messages.dropped
        is_due = dropped >= max(MOST_DROPPED, context.keep_last) and context.keep_last > 0
        added = added._replace(searchable=search.level, dropped=0 if is_due else dropped)
    context.cache.put(thread.contents, checkpoint_ns, added, replaced=parent_entry)
    if stored.new_deadline is not None:
        yield from expiry.use(thread, stored.new_deadline)
    if context.keep_last:
        yield from prune.keep_newest(thread, entry, context.keep_last, keep.read(replies[-1]))
        if is_due:
            yield from garbage.collect(thread)
    return {
        "configurable": {
            "thread_id": target.given_thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": identity.checkpoint_id,
        }
    }


def _store_later(
    context: Context,
    thread: ThreadKeys,
    entry: str,
    messages: Sequence[tuple[str, bytes]],
    level: int,
) -> Plan[None]:
    """Store documents of messages that are too many for the script of their checkpoint, and then
    mark it as searchable. If the process dies before, the next put or setup() stores them."""
    for page in pages(messages, MOST_MESSAGES):
        stored = yield from send(
            scripts.store(thread, [], cached=entry, messages=page, ttl=context.ttl)
        )
        if stored.missing:  # the checkpoint was deleted meanwhile
            return
    with suppress(ResponseError):  # the same, or the server is full
        yield [("JSON.SET", thread.key(entry), "$.searchable", level)]


def _to_encode(
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
    cached: CachedCheckpoint,
) -> Iterable[object]:
    """What a put encodes: the metadata, the versions, and the values that it may send."""
    yield metadata
    yield checkpoint.get("versions_seen")
    for channel, value in (checkpoint.get("channel_values") or {}).items():
        if channel in new_versions or channel not in cached.channels:
            yield value


def _send_separately(thread: ThreadKeys, blobs: Mapping[str, bytes], ttl: int) -> Iterable[Command]:
    """The commands that store large blobs before the script that refers to them."""
    for entry, document in blobs.items():
        # The entry comes first: so the blob is deleted with the thread if nothing else follows.
        yield ("ZADD", thread.contents, 0, entry)
        yield ("JSON.SET", thread.key(entry), "$", document)
    yield scripts.expire_unless_referenced(thread, blobs, 2 * ttl).command

"""get_delta_channel_history: the writes from which DeltaChannel state is rebuilt."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import DeltaChannelHistory, PendingWrite

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.scripts import send
from langgraph_redis_json.errors import MissingDocumentError, TriesExhaustedError
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import keys, loading
from langgraph_redis_json.storage.keys import ThreadKeys

TRIES = 100
"""How often the walk begins again because ancestors were deleted meanwhile."""

PAGE = 25
"""Ancestors that the first trip reads; each further trip reads twice as many."""


def get_delta_channel_history(
    context: Context, config: RunnableConfig, channels: Sequence[str]
) -> Plan[Mapping[str, DeltaChannelHistory]]:
    target = arguments.target(config)
    checkpoint_ns = target.checkpoint_ns or ""
    thread = keys.thread_keys(context.key_prefix, target.thread_id)
    entry = None
    if target.checkpoint_id is not None:
        entry = keys.checkpoint_entry(checkpoint_ns, target.checkpoint_id)
    for _ in range(TRIES):
        found = yield from _walk(context, thread, target.thread_id, checkpoint_ns, entry, channels)
        if found is not None:
            return found
        # Another process pruned the ancestors meanwhile. The rest of the thread has all it needs.
        if entry is not None:
            [score] = yield [("ZSCORE", thread.contents, entry)]
            if score is None:
                raise MissingDocumentError(key=thread.key(entry), missing=thread.key(entry))
    raise TriesExhaustedError(
        what=f"reading the ancestors of a checkpoint of the thread at {thread.contents}",
        times=TRIES,
        why="each time another process deleted some of them meanwhile",
        remedy="Try again when the thread is not pruned.",
    )


def _walk(
    context: Context,
    thread: ThreadKeys,
    thread_id: str,
    checkpoint_ns: str,
    entry: str | None,
    channels: Sequence[str],
) -> Plan[Mapping[str, DeltaChannelHistory] | None]:
    """Walk from a checkpoint to its ancestors, back to where each channel has a value.

    Args:
        context: the saver's.
        thread, thread_id, checkpoint_ns: of the checkpoint.
        entry: of the checkpoint; None for the newest one.
        channels: the channels.

    Returns:
        None if ancestors were deleted meanwhile.
    """
    writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
    seeds: dict[str, Any] = {}
    inclusive, size = False, PAGE
    while len(seeds) < len(writes):
        open_channels = [channel for channel in writes if channel not in seeds]
        reply = yield from send(
            scripts.read_ancestors(
                thread,
                keys.escape(checkpoint_ns),
                entry,
                inclusive=inclusive,
                limit=size,
                channels=open_channels,
            )
        )
        for row in loading.rows(thread, thread_id, reply.read):
            decoded = loading.decode_checkpoint(row, context.serde, open_channels)
            # A checkpoint's own writes come after its value, and lead to its child.
            for write in reversed(loading.load_writes(row, context.serde, open_channels)):
                writes[write[1]].append(write)
            for channel in [c for c in open_channels if c in decoded.channel_values]:
                seeds[channel] = context.serde.loads_typed(decoded.channel_values[channel])
                open_channels.remove(channel)
        if reply.was_deleted:
            return None
        entry, inclusive, size = reply.next_entry, True, size * 2
        if entry is None:
            break
    history: dict[str, DeltaChannelHistory] = {}
    for channel in writes:
        history[channel] = {"writes": writes[channel][::-1]}
        if channel in seeds:
            history[channel]["seed"] = seeds[channel]
    return history

"""prune: delete checkpoints that a thread no longer needs; and the same for keep_last.

Every checkpoint keeps the ancestors from which its delta channels are rebuilt.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.scripts import KeepNewestReply, Walk, send
from langgraph_redis_json.operations import delete_thread, garbage, table_of_contents
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import keys
from langgraph_redis_json.storage.keys import ThreadKeys

CHUNK = 25
"""Checkpoints that one call deletes, with their pending writes."""


def prune(
    context: Context, thread_ids: Sequence[Any], strategy: str, keep_last: int | None = None
) -> Plan[None]:
    count = arguments.kept(strategy, keep_last)
    for thread_id in arguments.several("thread_ids", thread_ids):
        if not count:
            yield from delete_thread.delete_thread(context, thread_id)
            continue
        yield from prune_thread(context, thread_id, count)


def prune_thread(
    context: Context, thread_id: Any, keep_last: int = 1, *, dry_run: bool = False
) -> Plan[int]:
    """Delete the checkpoints of a thread but the newest ones of each namespace, and those that
    these need.

    Args:
        context: the saver's.
        thread_id: the thread.
        keep_last: how many checkpoints of each namespace are kept.
        dry_run: delete nothing.

    Returns:
        How many checkpoints were deleted, or would be.
    """
    thread = keys.thread_keys(context.key_prefix, arguments.thread_id(thread_id))
    checkpoints, writes = yield from table_of_contents.entries(thread, "c:", "w:")
    # Entries sort by namespace, then by id: the last ones of a namespace are its newest.
    found: dict[str, list[str]] = {}
    for entry in checkpoints:
        found.setdefault(entry.split(":")[1], []).append(entry)
    newest = {namespace: entries[-keep_last:] for namespace, entries in found.items()}
    oldest_kept = {namespace: entries[0] for namespace, entries in newest.items()}
    # A call of a subgraph is finished where no kept checkpoint has created it.
    finished = yield from _of_finished_calls(thread, [*oldest_kept.values()])
    kept = {
        entry
        for namespace, entries in newest.items()
        if oldest_kept[namespace] not in finished
        for entry in entries
    }
    late = [
        entry
        for entry in _without_checkpoint(checkpoints, writes)
        if entry < oldest_kept.get(entry.split(":")[1], "")
    ]
    doomed = yield from delete_checkpoints(thread, sorted([*checkpoints, *late]), kept, dry_run)
    return len({*doomed}.intersection(checkpoints))


def keep_newest(thread: ThreadKeys, new: str, count: int, reply: KeepNewestReply) -> Plan[None]:
    """Delete all but the newest checkpoints of a namespace, where the script after a put has left
    some. This is not done at each put, so that its cost does not grow with keep_last.

    Args:
        thread: its keys.
        new: the entry of a new checkpoint, which stays.
        count: how many checkpoints are kept.
        reply: the script's.
    """
    if reply.has_deltas:
        # Ancestors that delta channels need stay: the more there are, the more seldom.
        pause = 1 << max(0, (reply.surplus // 4).bit_length() - 1)
        is_due = reply.surplus and reply.surplus % pause == 0
    else:
        is_due = reply.surplus > count // 4
    if not is_due:
        return
    start, _, _ = new.rpartition(":")
    checkpoints, writes = yield from table_of_contents.entries(
        thread, f"{start}:", f"w{start[1:]}:"
    )
    kept = checkpoints[-count:]
    late = [entry for entry in _without_checkpoint(checkpoints, writes) if entry < min(kept)]
    yield from delete_checkpoints(thread, sorted([*checkpoints, *late]), {*kept, new})


def delete_checkpoints(
    thread: ThreadKeys,
    checkpoints: Sequence[str],
    kept: Collection[str],
    dry_run: bool = False,
) -> Plan[list[str]]:
    """Delete the checkpoints of a thread that are neither kept nor needed by a kept one, and the
    blobs and logs that no checkpoint refers to any more.

    Args:
        thread: its keys.
        checkpoints: the entries of all its checkpoints, in order.
        kept: the entries of those that are kept.
        dry_run: delete nothing.

    Returns:
        The entries of the checkpoints that were deleted, or would be.
    """
    needed = {*kept, *(yield from _ancestors_needed(thread, kept))}
    doomed = [entry for entry in checkpoints if entry not in needed]
    if dry_run:
        return doomed
    for page in table_of_contents.pages(doomed, CHUNK):
        yield [scripts.delete_checkpoints(thread, page).command]
    yield from garbage.collect(thread)
    return doomed


def _without_checkpoint(checkpoints: Sequence[str], writes: Sequence[str]) -> list[str]:
    """The entries of checkpoints that do not exist and have pending writes.

    The writes may have come before their checkpoint, or after it was deleted: LangGraph saves them
    in the background.
    """
    existing = {*checkpoints}
    return [entry for entry in (f"c{write[1:]}" for write in writes) if entry not in existing]


def _ancestors_needed(thread: ThreadKeys, kept: Collection[str]) -> Plan[set[str]]:
    """The ancestors from which the delta channels of the kept checkpoints are rebuilt."""
    walked: set[tuple[str, str]] = set()
    # The newest one comes first: most walks end on the way of an earlier walk.
    for page in table_of_contents.pages(sorted(kept, reverse=True), table_of_contents.PAGE):
        walks: list[Walk] = [(entry, None) for entry in page]
        while walks:
            reply = yield from send(scripts.needed_ancestors(thread, walks))
            walked |= reply.walked
            # This also ends a walk around a chain of parents that somebody has made a circle.
            walks = [
                (entry, rest)
                for entry, channels in reply.unfinished
                if (rest := [channel for channel in channels if (entry, channel) not in walked])
            ]
    return {entry for entry, _ in walked}


# ---- subgraphs


class NewestOfNamespace(NamedTuple):
    """The newest checkpoint of a namespace: its id, and the parents in its metadata."""

    checkpoint_id: str
    parents: Any


def is_finished(checkpoint_ns: str, parents: Any, newest: Mapping[str, NewestOfNamespace]) -> bool:
    """Whether a namespace belongs to one call of a subgraph that no later run continues.

    The namespace of a call ends in the id of its task. That id follows from the checkpoint of the
    outer graph that created the task. Once the outer graph has a newer checkpoint, it creates
    other tasks.

    Args:
        checkpoint_ns: the namespace.
        parents: the namespaces of the outer graphs -> the checkpoint that each was at.
        newest: namespace -> its newest checkpoint.
    """
    names = [part for part in checkpoint_ns.split("|") if not part.isdigit()]
    if not names or ":" not in names[-1] or not isinstance(parents, dict):
        return False  # a root graph, or a subgraph that keeps its state from call to call
    outer_graphs = [ns for ns in parents if not ns or checkpoint_ns.startswith(f"{ns}|")]
    if not outer_graphs:
        return False
    outer = max(outer_graphs, key=len)
    if outer not in newest:
        return outer != "" and is_finished(outer, parents, newest)
    # LangGraph saves in the background: the outer graph's checkpoint may come after the call's.
    created_by, last = parents[outer], newest[outer]
    return isinstance(created_by, str) and (
        created_by < last.checkpoint_id or is_finished(outer, last.parents, newest)
    )


def _of_finished_calls(thread: ThreadKeys, newest: Sequence[str]) -> Plan[set[str]]:
    """Those of the newest checkpoints whose namespaces `is_finished`."""
    found: dict[str, NewestOfNamespace] = {}
    entry_of: dict[str, str] = {}
    if len(newest) == 1:
        return set()
    for page in table_of_contents.pages(newest, table_of_contents.PAGE):
        fields = yield from table_of_contents.read_paths(thread, page, ["$.metadata.parents"])
        for entry, [parents] in fields.items():
            _, checkpoint_ns, checkpoint_id = keys.identity_of_entry("", entry)
            entry_of[checkpoint_ns] = entry
            found[checkpoint_ns] = NewestOfNamespace(checkpoint_id, parents and parents[0])
    return {
        entry_of[checkpoint_ns]
        for checkpoint_ns, last in found.items()
        if is_finished(checkpoint_ns, last.parents, found)
    }

"""Garbage collection: delete blobs and logs that no checkpoint refers to, and the documents of
messages that no checkpoint has.

This takes many short calls, and others write meanwhile. A checkpoint that is stored meanwhile may
refer to a blob that is about to be deleted. So a collection first marks all blobs and logs that
seem unneeded (client/scripts/collect_garbage.lua): from then on a put that needs one sends it
again. Then the collection reads all references once more, which finds those of checkpoints that
were stored before the marks.
"""

from collections.abc import Sequence
from secrets import token_urlsafe

from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.operations import stored_messages, table_of_contents
from langgraph_redis_json.storage import messages
from langgraph_redis_json.storage.keys import ThreadKeys


def collect(thread: ThreadKeys) -> Plan[None]:
    """Delete all blobs and logs of a thread that no checkpoint refers to, and the documents of
    messages that no checkpoint has."""
    blobs, logs, of_messages, checkpoints, marked = yield from table_of_contents.entries(
        thread, "b:", "l:", "m:", "c:", "x"
    )
    if not blobs and not logs and not of_messages and not marked:
        return
    needed = yield from _references(thread, checkpoints)
    if of_messages:
        needed |= yield from _messages(thread, checkpoints)
    unneeded = [entry for entry in blobs + logs + of_messages if entry not in needed]
    number = token_urlsafe(6)
    for page in table_of_contents.pages(unneeded, table_of_contents.PAGE):
        yield [scripts.collect_garbage(thread, "mark", number, page).command]
    # An earlier collection that was cut short has left its marks.
    for page in table_of_contents.pages(marked, table_of_contents.PAGE):
        yield [scripts.collect_garbage(thread, "adopt", number, page).command]
    candidates = [*unneeded, *(mark[1:].rpartition(" ")[0] for mark in marked)]
    if not candidates:
        return
    [checkpoints] = yield from table_of_contents.entries(thread, "c:")
    needed = yield from _references(thread, checkpoints)
    if any(entry.startswith("m:") for entry in candidates):
        needed |= yield from _messages(thread, checkpoints)
    for page in table_of_contents.pages(candidates, table_of_contents.PAGE):
        kept = [entry for entry in page if entry in needed]
        gone = [entry for entry in page if entry not in needed]
        calls = [
            scripts.collect_garbage(thread, "keep", number, kept),
            scripts.collect_garbage(thread, "free", number, gone),
        ]
        yield [call.command for call, some in zip(calls, (kept, gone), strict=True) if some]


def _references(thread: ThreadKeys, checkpoints: Sequence[str]) -> Plan[set[str]]:
    """The entries of the blobs and logs that checkpoints refer to."""
    found: set[str] = set()
    paths = ["$.channel_values.*.blob", "$.channel_values.*.log[*][0]"]
    for page in table_of_contents.pages(checkpoints, table_of_contents.PAGE):
        for both in (yield from table_of_contents.read_paths(thread, page, paths)).values():
            # Anything else was altered by hand: the saver reports it when it loads the checkpoint.
            found.update(
                entry for keys in both for key in keys if (entry := thread.find_entry(key))
            )
    return found


def _messages(thread: ThreadKeys, checkpoints: Sequence[str]) -> Plan[set[str]]:
    """The entries of the documents of all messages that checkpoints have."""
    found: set[str] = set()
    places = yield from stored_messages.find(thread, checkpoints)
    for page in table_of_contents.pages(places, stored_messages.PAGE):
        for _, fields in (yield from stored_messages.read(thread, page)):
            found.add(messages.entry_of(fields))
    return found

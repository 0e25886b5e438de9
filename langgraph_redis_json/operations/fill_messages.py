"""setup() with message_search: write the documents of messages that are stored already.

A checkpoint all of whose messages have documents says so in its member ``searchable``. A put that
builds on another checkpoint writes the documents of all its messages. So threads that are used get
their documents by themselves, and this fills the others.
"""

import logging
from typing import NamedTuple

import orjson

from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Listing, Plan
from langgraph_redis_json.client.replies import search_page
from langgraph_redis_json.client.scripts import send_all
from langgraph_redis_json.errors import (
    CheckpointError,
    CoordinatorMissingError,
    IndexIncompleteError,
    MessagesMissingError,
    TriesExhaustedError,
)
from langgraph_redis_json.operations import stored_messages, table_of_contents
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.operations.threads import age
from langgraph_redis_json.search import queries
from langgraph_redis_json.search.filters import EVERYTHING
from langgraph_redis_json.storage import keys, messages
from langgraph_redis_json.storage.documents import FORMAT
from langgraph_redis_json.storage.keys import ThreadKeys
from langgraph_redis_json.storage.loading import DAMAGE, damaged, parse
from langgraph_redis_json.storage.messages import MessageSearch

logger = logging.getLogger("langgraph_redis_json")

THREADS = 20
"""Threads after which the progress is stored."""

PAGE = 200
"""Documents that one call stores or marks, so that other clients need not wait long."""

CALLS = 5
"""Such calls in one trip."""

TRIES = 50
"""How often a thread is read again because other processes changed it meanwhile."""

OVERLAP, CLUSTERS_OVERLAP = 10_000, 600_000
"""Milliseconds by which a server's clock may be set back, and by which the clocks of the servers of
a cluster may differ."""


class State(NamedTuple):
    """How far setup() is, in all processes.

    Attributes:
        level: `MessageSearch.level` of the documents.
        filled_until: all threads have documents that did not change after this time, in
            milliseconds since 1970; None until the first time that all have.
        after: while a process fills: the key of the last thread that is done.
        until: `filled_until` when all threads are done.
        share: how much is done.
    """

    level: int
    filled_until: int | None = None
    after: str = ""
    until: int = 0
    share: float = 0.0


def _key(context: Context) -> str:
    return f"{context.key_prefix}setup:messages"


def _read(context: Context) -> Plan[State | None]:
    [text] = yield [("JSON.GET", _key(context), ".")]
    if text is None:
        return None
    try:
        members = parse(text)
        del members["format"]
        return State(**members)
    except DAMAGE as error:
        raise damaged(_key(context), error) from error


def _write(context: Context, state: State) -> Plan[None]:
    text = orjson.dumps({"format": FORMAT, **state._asdict()})
    yield [("JSON.SET", _key(context), "$", text)]


def check(context: Context) -> Plan[None]:
    """Check that the documents are complete.

    Raises:
        CoordinatorMissingError: on a cluster whose Search sees one node only.
        MessagesMissingError: if no setup() has begun to write them.
        IndexIncompleteError: if it has not written them all.
    """
    if context.clustered and not (yield from queries.has_coordinator()):
        raise CoordinatorMissingError
    state = yield from _read(context)
    index = queries.index_name(context.key_prefix, "messages")
    if state is None:
        raise MessagesMissingError(index=index)
    if state.filled_until is None:
        raise IndexIncompleteError(
            index=index,
            why=f"setup() has written the documents of only {state.share:.0%} of the messages",
        )


def fill(context: Context) -> Listing[float]:
    """Write the documents of all messages that have none. Several processes may do so at the same
    time, and another process goes on where one was killed.

    Yields:
        How much is done, from 0 to 1.
    """
    search = context.message_search
    if search is None:
        return
    if context.clustered and not (yield from queries.has_coordinator()):
        return
    state = (yield from _read(context)) or State(search.level)
    if state.level < search.level:
        state = State(search.level)
    threads, changed_at = yield from _changed_threads(context, state.filled_until)
    if not state.after:
        overlap = CLUSTERS_OVERLAP if context.clustered else OVERLAP
        state = state._replace(until=changed_at - overlap)
    done = sum(key <= state.after for key in threads)
    for page in table_of_contents.pages(threads[done:], THREADS):
        for key in page:
            yield from _fill_thread(context, search, key)
        done += len(page)
        share = done / len(threads)
        state = state._replace(after=page[-1], share=share)
        yield from _write(context, state)
        yield share
    yield from _write(context, State(state.level, max(state.until, state.filled_until or 0)))


def look_at_all(context: Context) -> Plan[None]:
    """Let the next setup() look at all threads, not only at those that changed since the last one.

    Searches go on meanwhile.
    """
    state = yield from _read(context)
    if state is not None and state.filled_until:
        yield from _write(context, state._replace(filled_until=0))


def _changed_threads(context: Context, since: int | None) -> Plan[tuple[list[str], int]]:
    """The keys of the thread documents that changed since a time, in order, and the time of the
    last change."""
    query = EVERYTHING if since is None else f"@updated_at:[{since} +inf]"
    index = queries.index_name(context.key_prefix, "threads")
    command = queries.whole_search(index, query, "@__key", "@updated_at")

    def read() -> Plan[tuple[list[str], int]]:
        found: set[str] = set()
        last = 0
        reply = yield from queries.search(context, index, (), command)
        while True:
            rows, cursor = search_page(reply)
            for row in rows:
                found.add(row["__key"])
                last = max(last, age(row))
            if not cursor:
                return sorted(found), last
            reply = yield from queries.next_page(context, index, cursor)

    return (yield from queries.with_retries(context, read))


def _fill_thread(context: Context, search: MessageSearch, key: str) -> Plan[None]:
    thread_id = keys.thread_of_key(key)
    thread = keys.thread_keys(context.key_prefix, thread_id)
    try:
        for _ in range(TRIES):
            if (yield from _try_to_fill(search, thread, thread_id)):
                return
    except CheckpointError as error:
        # One damaged checkpoint must not keep all other threads from being searched.
        logger.error("The messages of a thread cannot be searched. %s", error)
        return
    raise TriesExhaustedError(
        what=f"writing the documents of the messages of the thread at {thread.contents}",
        times=TRIES,
        why="each time other processes changed the thread meanwhile",
        remedy="Nothing is lost. Call setup() again when fewer processes write to the thread.",
    )


def _try_to_fill(search: MessageSearch, thread: ThreadKeys, thread_id: str) -> Plan[bool]:
    """Write the documents of one thread.

    Returns:
        Whether no other process changed the thread meanwhile.
    """
    [checkpoints] = yield from table_of_contents.entries(thread, "c:")
    # Entries sort by namespace, then by id: the last one of a namespace is its newest.
    newest = [*{entry.split(":")[1]: entry for entry in checkpoints}.values()]
    unmarked: list[str] = []
    for page in table_of_contents.pages(checkpoints, PAGE):
        levels = yield from table_of_contents.read_paths(thread, page, ["$.searchable"])
        unmarked += [
            entry for entry, [found] in levels.items() if not found or not found[0] >= search.level
        ]
    if not unmarked:
        return True
    places = yield from stored_messages.find(thread, checkpoints)
    first: dict[str, stored_messages.Place] = {}
    documents: dict[str, bytes] = {}
    for some_places in table_of_contents.pages(places, stored_messages.PAGE):
        for place, fields in (yield from stored_messages.read(thread, some_places)):
            entry = messages.entry_of(fields)
            of_first = first.setdefault(entry, place)
            # The last text of an edited message counts.
            documents[entry] = messages.build(
                fields,
                keys.identity_of_entry(thread_id, of_first.checkpoint),
                of_first.created_at,
                search,
            )
    calls = [
        scripts.fill_messages(thread, len(checkpoints), newest, some)
        for some in table_of_contents.pages(documents.items(), PAGE)
    ]
    calls += [
        scripts.fill_messages(
            thread, len(checkpoints), newest, marked=some_unmarked, level=search.level
        )
        for some_unmarked in table_of_contents.pages(unmarked, PAGE)
    ]
    for trip in table_of_contents.pages(calls, CALLS):
        if not all((yield from send_all([*trip]))):
            return False
    return True

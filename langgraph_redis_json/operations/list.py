"""list: find checkpoints, newest first, and read them in pages.

A listing first finds names: the sort keys of checkpoints (`storage/keys.py`). Within a thread they
come from its table of contents, across threads from a search. Then it reads pages of checkpoints
while the caller iterates. A search only proposes: each checkpoint is checked against the filter.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from redisvl.query.filter import FilterExpression

from langgraph_redis_json import arguments
from langgraph_redis_json.arguments import Target
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.long_steps import LONG
from langgraph_redis_json.client.plan import Command, Listing, Plan
from langgraph_redis_json.client.replies import search_keys, search_page, text
from langgraph_redis_json.client.scripts import send_all
from langgraph_redis_json.errors import DamagedDocumentError, MissingDocumentError
from langgraph_redis_json.operations import table_of_contents
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.search import filters, queries
from langgraph_redis_json.search.filters import Filter
from langgraph_redis_json.storage import keys, loading
from langgraph_redis_json.storage.keys import AFTER_ALL
from langgraph_redis_json.storage.loading import Row

logger = logging.getLogger("langgraph_redis_json")

PAGE = 25
"""Checkpoints that one trip reads. They take the memory of a listing, however long it is."""

NAMES = 5_000
"""Entries of a table of contents that one trip reads."""

MOST_NAMES = 50_000
"""Names that a listing holds at a time, some 7 MB. It looks for further names when it has read
these."""


class Wanted(NamedTuple):
    """What a listing looks for.

    Attributes:
        target: the thread, namespace and checkpoint; None for all threads.
        filter: what the metadata must meet.
        before: only checkpoints whose id sorts before this one; None for all.
        clustered: whether this is a Redis Cluster, where a thread is on one node and an index on
            all.
    """

    target: Target | None
    filter: Filter
    before: str | None
    clustered: bool

    @property
    def in_thread(self) -> Target | None:
        """The target, if its names come from the thread's table of contents."""
        return self.target if self.clustered or not self.filter.conditions else None

    def expression(self) -> FilterExpression:
        """The search, if the names come from that."""
        clauses = []
        if self.target is not None:
            clauses.append(filters.in_thread(self.target.thread_id))
            if self.target.checkpoint_ns is not None:
                clauses.append(filters.in_namespace(self.target.checkpoint_ns))
        return self.filter.expression(*clauses)

    def bounds(self) -> tuple[bytes, bytes]:
        """The bounds of the wanted sort keys: from the first up to, not with, the second."""
        start, end = b"", AFTER_ALL
        if self.target is not None and self.target.checkpoint_id is not None:
            start, end = keys.sort_keys_of_id(self.target.checkpoint_id)
        if self.before is not None:
            end = min(end, keys.sort_keys_of_id(self.before)[0])
        return start, end

    @property
    def page(self) -> int:
        """How many names the listing looks for at a time."""
        if self.in_thread and self.in_thread.checkpoint_ns is not None:
            return NAMES  # they come in order
        return MOST_NAMES

    def sorted_by_server(self, limit: int | None) -> int | None:
        """The limit, if the server itself can tell which checkpoints are the newest."""
        if limit is None or limit > queries.MOST_SORTED:
            return None
        if self.in_thread:
            return None if self.filter.conditions else limit
        return limit if self.filter.is_exact and self.bounds() == (b"", AFTER_ALL) else None


def list_checkpoints(
    context: Context,
    config: RunnableConfig | None,
    filter: Mapping[str, Any] | None,
    before: RunnableConfig | None,
    limit: int | None,
) -> Listing[CheckpointTuple]:
    # Wrong arguments raise at once, not when the caller iterates.
    target = arguments.target(config) if config else None
    end = arguments.before(before)
    limit = arguments.limit(limit)
    found = filters.read(filter, {name: one.type for name, one in context.metadata_fields.items()})
    return _list(context, Wanted(target, found, end, context.clustered), limit)


def _list(context: Context, wanted: Wanted, limit: int | None) -> Listing[CheckpointTuple]:
    left = limit
    start, end = wanted.bounds()
    seen: Collection[bytes] = ()
    # First as many names as the limit; more only if some of these do not match.
    few = wanted.sorted_by_server(limit)
    while left is None or left > 0:
        most = few or wanted.page
        if few:
            found = yield from _newest(context, wanted, few)
        else:
            found = yield from _names(context, wanted, start, end, most)
        if not found and wanted.target is not None:
            yield from table_of_contents.check(
                keys.thread_keys(context.key_prefix, wanted.target.thread_id)
            )
        unseen = [name for name in found if name not in seen]
        first = 0
        while page := unseen[first : first + (PAGE if left is None else min(PAGE, left))]:
            rows = yield from _read(context, page)
            first += len(rows)
            for row in rows:
                if not row.read.is_named:  # deleted meanwhile
                    continue
                if context.on_loop and row.size > LONG:
                    yield []
                checkpoint = _load(context, wanted, row)
                if checkpoint is not None:
                    yield checkpoint
                    left = None if left is None else left - 1
            if left == 0:
                return
        if len(found) < most:
            return
        end, seen = found[-1], ()
        if few:  # the server may have left out others with the same checkpoint id
            end = keys.sort_keys_of_id(keys.identity_of_sort_key(end).checkpoint_id)[1]
            few, seen = None, set(found)


def _load(context: Context, wanted: Wanted, row: Row) -> CheckpointTuple | None:
    """A checkpoint, if it matches the filter. One that is damaged is reported in the log and left
    out, so that the listing shows all others."""
    given = wanted.target.given_thread_id if wanted.target else row.identity.thread_id
    try:
        decoded = loading.decode_checkpoint(row, context.serde)
        metadata = loading.load_metadata(decoded, context.serde)
        if not wanted.filter.matches(metadata):
            return None
        return loading.load_checkpoint(row, decoded, metadata, context.serde, given)
    except (MissingDocumentError, DamagedDocumentError) as error:
        logger.error("A listing leaves out a checkpoint. %s", error)
        return None


def _read(context: Context, sort_keys: Sequence[bytes]) -> Plan[list[Row]]:
    """The checkpoints with these sort keys, in order; only the first ones, if they are large."""
    identities = list(map(keys.identity_of_sort_key, sort_keys))
    entries: dict[str, list[str]] = defaultdict(list)
    for identity in identities:
        entries[identity.thread_id].append(identity.entry)
    threads = {thread_id: keys.thread_keys(context.key_prefix, thread_id) for thread_id in entries}
    replies = yield from send_all(
        [scripts.read(threads[thread_id], of_thread) for thread_id, of_thread in entries.items()]
    )
    found = {
        row.identity: row
        for thread_id, reply in zip(entries, replies, strict=True)
        for row in loading.rows(threads[thread_id], thread_id, reply)
    }
    return [found[identity] for identity in takewhile(found.__contains__, identities)]


# ---- names


def _newest(context: Context, wanted: Wanted, most: int) -> Plan[list[bytes]]:
    """The sort keys of the newest so many checkpoints, newest first."""
    if not wanted.in_thread:
        index = queries.index_name(context.key_prefix, "checkpoints")

        def command(most: int) -> Command:
            return (
                *("FT.SEARCH", index, str(wanted.expression()), "NOCONTENT"),
                *("SORTBY", "checkpoint_id", "DESC", "LIMIT", 0, most, *queries.WHOLE_ANSWER),
            )

        found = yield from queries.newest(
            context, index, wanted.filter.fields, most, command, search_keys, str
        )
        if found is not None:
            return sorted(map(keys.sort_key_of_key, found), reverse=True)
    return (yield from _names(context, wanted, *wanted.bounds(), most))


def _names(
    context: Context, wanted: Wanted, start: bytes, end: bytes, most: int
) -> Plan[list[bytes]]:
    """The newest so many sort keys from start up to end, newest first; fewer if there are no
    more."""
    target = wanted.in_thread
    if target is None:
        found = search_sort_keys(
            context, wanted.expression(), wanted.filter.fields, start, end, most
        )
    elif target.checkpoint_ns is None:
        found = _in_thread(context, target, start, end, most)
    else:
        found = _in_namespace(context, target, target.checkpoint_ns, start, end, most)
    return (yield from found)


def _in_namespace(
    context: Context, target: Target, checkpoint_ns: str, start: bytes, end: bytes, most: int
) -> Plan[list[bytes]]:
    # Entries of one namespace are in the order of sort keys.
    thread = keys.thread_keys(context.key_prefix, target.thread_id)
    head = keys.checkpoint_entry(checkpoint_ns, "").encode()
    first, last = (head + sort_key.partition(b"\0")[0] for sort_key in (start, end))
    [entries] = yield [
        (
            *("ZREVRANGEBYLEX", thread.contents, b"(" + last, b"[" + first),
            *("LIMIT", 0, most),
        )
    ]
    return [keys.sort_key_of_entry(thread.tag, text(entry)) for entry in entries]


def _in_thread(
    context: Context, target: Target, start: bytes, end: bytes, most: int
) -> Plan[list[bytes]]:
    thread = keys.thread_keys(context.key_prefix, target.thread_id)

    def page(last: bytes) -> Plan[Any]:
        [reply] = yield [
            (
                *("ZREVRANGEBYLEX", thread.contents, b"(" + last, "[c:"),
                *("LIMIT", 0, NAMES),
            )
        ]
        return reply

    def read(reply: Any) -> tuple[list[bytes], Plan[Any] | None]:
        entries = list(map(text, reply))
        found = [keys.sort_key_of_entry(thread.tag, entry) for entry in entries]
        return found, page(entries[-1].encode()) if len(entries) == NAMES else None

    reply = yield from page(b"c:" + AFTER_ALL)
    return (yield from _newest_of(reply, read, start, end, most))


def search_sort_keys(
    context: Context,
    query: FilterExpression,
    used: Collection[str] = (),
    start: bytes = b"",
    end: bytes = AFTER_ALL,
    most: int | None = None,
) -> Plan[list[bytes]]:
    """The sort keys of the checkpoints that a search finds, newest first.

    Args:
        context: the saver's.
        query: the search.
        used: the user's metadata fields that it uses.
        start, end: only sort keys from the first up to, not with, the second.
        most: the newest so many; None for all.
    """
    index = queries.index_name(context.key_prefix, "checkpoints")

    def read(reply: Any) -> tuple[list[bytes], Plan[Any] | None]:
        rows, cursor = search_page(reply)
        found = [keys.sort_key_of_key(row["__key"]) for row in rows]
        return found, queries.next_page(context, index, cursor) if cursor else None

    def search() -> Plan[list[bytes]]:
        command = queries.whole_search(index, query, "@__key")
        reply = yield from queries.search(context, index, used, command)
        return (yield from _newest_of(reply, read, start, end, most))

    return (yield from queries.with_retries(context, search))


def _newest_of(
    reply: Any,
    read: Callable[[Any], tuple[list[bytes], Plan[Any] | None]],
    start: bytes,
    end: bytes,
    most: int | None,
) -> Plan[list[bytes]]:
    """The newest sort keys in a reply and those that follow it, newest first.

    Args:
        reply: the first reply.
        read: gives the sort keys in a reply, and the plan that asks for the next one.
        start, end: only sort keys from the first up to, not with, the second.
        most: how many; None for all.
    """
    found: list[bytes] = []
    while True:
        sort_keys, next_page = read(reply)
        found += [sort_key for sort_key in sort_keys if start <= sort_key < end]
        if next_page is None:
            # A document that is written again while a cursor reads comes twice.
            return sorted(set(found), reverse=True)[:most]
        if most is not None and len(found) > most:
            found = sorted(set(found), reverse=True)[:most]
        reply = yield from next_page

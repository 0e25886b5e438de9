"""threads: find threads by their thread documents, the one that changed last first."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from time import time
from typing import Any, NamedTuple

from langgraph.checkpoint.base import CheckpointMetadata
from langgraph.checkpoint.serde.base import SerializerProtocol
from redisvl.query.filter import FilterExpression, Num, Tag

from langgraph_redis_json import arguments
from langgraph_redis_json.client.plan import Command, Listing, Plan
from langgraph_redis_json.client.replies import search_documents, search_page
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.search import filters, queries
from langgraph_redis_json.search.filters import Filter
from langgraph_redis_json.storage import loading
from langgraph_redis_json.storage.loading import DAMAGE, damaged

logger = logging.getLogger("langgraph_redis_json")

# The scripts decide the status of a thread: client/scripts/parts/thread_document.lua.
STATUSES = ("idle", "interrupted", "error")

PAGE = 100
"""Documents that one trip reads."""

RECENT = (3_600_000, 24 * 3_600_000, 30 * 24 * 3_600_000)
"""Milliseconds before now. To sort all threads blocks the server for longer the more there are. So
a listing without a filter first asks for those that changed in these times."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)


class ThreadSummary(NamedTuple):
    """A thread, as ``threads`` returns it.

    Attributes:
        thread_id: as text.
        checkpoint_id: of the newest checkpoint of the thread's root graph.
        metadata: of that checkpoint.
        step: of that checkpoint; None if its metadata has no integer there.
        updated_at: when the thread last changed, by the server's clock, in UTC: a checkpoint or a
            status was stored, or something was deleted.
        status: ``"interrupted"`` if the newest checkpoint waits for a person, ``"error"`` if a task
            after it failed, else ``"idle"``.
    """

    thread_id: str
    checkpoint_id: str
    metadata: CheckpointMetadata
    step: int | None
    updated_at: datetime
    status: str


class Selection(NamedTuple):
    """The threads that a listing looks for.

    Attributes:
        filter: what the metadata must meet.
        status: None for any.
        updated_before, updated_after: when the threads have last changed; None for any time.
    """

    filter: Filter
    status: str | None
    updated_before: datetime | None
    updated_after: datetime | None

    def expression(self) -> FilterExpression:
        """The search for these threads."""
        clauses = [] if self.status is None else [Tag("status") == self.status]
        if self.updated_before is not None or self.updated_after is not None:
            # The index has whole milliseconds: the last one before, the first one after.
            first, last = "-inf", "+inf"
            if self.updated_after is not None:
                first = f"{(self.updated_after - _EPOCH) // _MILLISECOND + 1}"
            if self.updated_before is not None:
                last = f"{-((_EPOCH - self.updated_before) // _MILLISECOND) - 1}"
            clauses.append(FilterExpression(f"@updated_at:[{first} {last}]"))
        return self.filter.expression(*clauses)

    def has(self, thread: ThreadSummary) -> bool:
        """Whether a thread is one of these."""
        before, after = self.updated_before, self.updated_after
        return (
            self.status in (None, thread.status)
            and (before is None or thread.updated_at < before)
            and (after is None or thread.updated_at > after)
            and self.filter.matches(thread.metadata)
        )


def list_threads(
    context: Context,
    filter: Mapping[str, Any] | None,
    status: str | None,
    updated_before: datetime | None,
    updated_after: datetime | None,
    limit: int | None,
) -> Listing[ThreadSummary]:
    # Wrong arguments raise at once, not when the caller iterates.
    if status is not None and status not in STATUSES:
        raise ValueError(
            f"there is no status {status!r:.100}: use one of {', '.join(STATUSES)}, or None"
        )
    limit = arguments.limit(limit)
    kinds = {name: one.type for name, one in context.metadata_fields.items()}
    selection = Selection(
        filters.read(filter, kinds),
        status,
        arguments.moment("updated_before", updated_before),
        arguments.moment("updated_after", updated_after),
    )
    return _list_threads(context, selection, limit)


def list_selected(
    context: Context,
    filter: Mapping[str, Any] | None,
    status: str | None,
    updated_before: datetime | None,
    updated_after: datetime | None,
) -> Listing[ThreadSummary]:
    """The threads that are to be deleted or pruned.

    Raises:
        ValueError: if nothing says which threads these are.
    """
    if filter is None and (status, updated_before, updated_after) == (None, None, None):
        raise ValueError(
            "nothing says which threads are meant: pass a filter, a status, updated_before or "
            "updated_after; for all threads pass filter={}"
        )
    return list_threads(context, filter, status, updated_before, updated_after, None)


def _list_threads(
    context: Context, selection: Selection, limit: int | None
) -> Listing[ThreadSummary]:
    index = queries.index_name(context.key_prefix, "threads")
    filter, query = selection.filter, selection.expression()
    seen: set[str] = set()
    # First as many threads as the limit; more only if some of these do not match.
    if limit is not None and limit <= queries.MOST_SORTED and filter.is_exact:
        if limit <= 0:
            return
        rows = None
        for age in () if filter.conditions or selection.updated_before else RECENT:
            recent = query & (Num("updated_at") >= int(time() * 1000) - age)
            rows = yield from _newest(context, index, recent, filter.fields, limit)
            if rows is None or len(rows) == limit:
                break
        else:
            rows = yield from _newest(context, index, query, filter.fields, limit)
        for summary in _summaries(rows or (), selection, context.serde):
            yield summary
            seen.add(summary.thread_id)
        if rows is not None and (len(rows) < limit or len(seen) == limit):
            return
    left = None if limit is None else limit - len(seen)
    names = yield from queries.with_retries(
        context, lambda: _by_age(context, index, query, filter.fields)
    )
    while names and left != 0:
        page = [names.pop()[:-8].decode() for _ in range(min(len(names), PAGE))]
        documents = yield [("JSON.GET", key, ".") for key in page]
        rows = list(zip(page, documents, strict=True))
        for summary in _summaries(rows, selection, context.serde):
            if summary.thread_id not in seen and left != 0:
                yield summary
                left = None if left is None else left - 1


def _newest(
    context: Context, index: str, query: FilterExpression, used: Collection[str], most: int
) -> Plan[list[tuple[str, bytes | None]] | None]:
    """The keys and documents of the threads that changed last; see `queries.newest`."""

    def command(most: int) -> Command:
        return (
            *("FT.SEARCH", index, str(query), "SORTBY", "updated_at", "DESC"),
            *("LIMIT", 0, most, "RETURN", 1, "$", *queries.WHOLE_ANSWER),
        )

    return (
        yield from queries.newest(
            context, index, used, most, command, search_documents, lambda row: row[0]
        )
    )


def _by_age(
    context: Context, index: str, query: FilterExpression, used: Collection[str]
) -> Plan[list[bytes]]:
    """The keys of all threads that a search finds, the one that changed last at the end. Each key
    is followed by 8 bytes of its time."""
    found: list[bytes] = []
    command = queries.whole_search(index, query, "@__key", "@updated_at")
    reply = yield from queries.search(context, index, used, command)
    while True:
        rows, cursor = search_page(reply)
        # Bytes take less memory than tuples, and there may be many threads.
        found += [row["__key"].encode() + age(row).to_bytes(8, "big") for row in rows]
        if not cursor:
            break
        reply = yield from queries.next_page(context, index, cursor)
    found.sort()
    # A thread that changes while a cursor reads comes twice.
    last = [one for one, next_ in pairwise([*found, b""]) if one[:-8] != next_[:-8]]
    last.sort(key=lambda one: one[-8:])
    return last


def age(row: Mapping[str, str]) -> int:
    """The time in a row of the search; 0 if somebody has altered it, so that the document is read
    and reported."""
    found = row.get("updated_at", "")
    return int(found) if found.isdecimal() and len(found) < 16 else 0


def names_of_all(context: Context, index: str) -> Plan[list[str]]:
    """The keys of all thread documents, that of the thread that changed first at the beginning."""
    names = yield from queries.with_retries(
        context, lambda: _by_age(context, index, filters.EVERYTHING, ())
    )
    return [name[:-8].decode() for name in names]


def _summaries(
    rows: Iterable[tuple[str, bytes | None]],
    selection: Selection,
    serde: SerializerProtocol,
) -> Iterator[ThreadSummary]:
    """The threads whose documents exist and match."""
    for key, document in rows:
        if document is None:  # deleted meanwhile
            continue
        try:
            fields = loading.parse(document)
            metadata = loading.load_stored_metadata(fields, serde)
            for name in ("thread_id", "checkpoint_id", "status"):
                if not isinstance(fields[name], str):
                    raise ValueError(f"its {name} is {fields[name]!r:.100}, not text")
            step = metadata.get("step")
            summary = ThreadSummary(
                fields["thread_id"],
                fields["checkpoint_id"],
                metadata,
                step if type(step) is int else None,
                _EPOCH + timedelta(milliseconds=fields["updated_at"]),
                fields["status"],
            )
        except DAMAGE as error:
            logger.error("A listing leaves out a thread. %s", damaged(key, error))
            continue
        if selection.has(summary):
            yield summary

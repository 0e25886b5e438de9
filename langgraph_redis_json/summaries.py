"""Threads at a glance: from the document that each thread has."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any, NamedTuple

from langgraph.checkpoint.base import CheckpointMetadata
from redis.exceptions import ResponseError
from redisvl.query.filter import FilterExpression, Tag

from langgraph_redis_json import indexes, loading
from langgraph_redis_json.commands import Command, Listing, Plan, search_documents, search_page
from langgraph_redis_json.filters import Filter
from langgraph_redis_json.finding import (
    NEWEST,
    WHOLE_ANSWER,
    Finding,
    is_too_many,
    next_page,
    whole_search,
    with_cursor,
)

STATUSES = ("idle", "interrupted", "error")

PAGE = 100
"""Documents that one trip reads."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class ThreadSummary(NamedTuple):
    """A thread at a glance, as ``threads`` gives it.

    Attributes:
        thread_id: as text.
        checkpoint_id: the thread's latest checkpoint, that of its root graph.
        metadata: that checkpoint's.
        step: that checkpoint's, None if its metadata has no integer there.
        updated_at: when the thread last changed, by the server's clock, in UTC: a checkpoint or a
            status came, or something was deleted.
        status: ``"interrupted"`` if the latest checkpoint waits for a person, ``"error"`` if a task
            after it failed, else ``"idle"``.
    """

    thread_id: str
    checkpoint_id: str
    metadata: CheckpointMetadata
    step: int | None
    updated_at: datetime
    status: str


@dataclass
class Summaries(Finding):
    """The operation on the threads' own documents."""

    def list_threads(
        self, filter: Any, status: str | None, limit: int | None
    ) -> Listing[ThreadSummary]:
        if status is not None and status not in STATUSES:
            raise ValueError(
                f"there is no status {status!r:.100}: use one of {', '.join(STATUSES)}, or None"
            )
        return self._list_threads(self._filter(filter), status, limit)

    def _list_threads(
        self, filter: Filter, status: str | None, limit: int | None
    ) -> Listing[ThreadSummary]:
        index = indexes.name(self.key_prefix, "threads")
        clauses = [] if status is None else [Tag("status") == status]
        query = filter.expression(*clauses)
        seen: set[str] = set()
        # First as many as are wanted; more, only if some of these turn out not to match.
        if limit is not None and limit <= NEWEST and filter.is_exact:
            if limit <= 0:
                return
            rows = yield from self._newest_threads(index, query, filter, limit)
            for summary in self._summaries(rows or (), filter, status):
                yield summary
                seen.add(summary.thread_id)
            if rows is not None and (len(rows) < limit or len(seen) == limit):
                return
        left = None if limit is None else limit - len(seen)
        names = yield from with_cursor(lambda: self._threads_by_age(index, query, filter))
        while names and left != 0:
            page = [names.pop()[:-8].decode() for _ in range(min(len(names), PAGE))]
            documents = yield [("JSON.GET", key, ".") for key in page]
            rows = list(zip(page, documents, strict=True))
            for summary in self._summaries(rows, filter, status):
                if summary.thread_id not in seen and left != 0:
                    yield summary
                    left = None if left is None else left - 1

    def _newest_threads(
        self, index: str, query: FilterExpression, filter: Filter, most: int
    ) -> Plan[list[tuple[str, bytes | None]] | None]:
        """The keys and documents of the threads that changed last, None if the server does not
        give so many at once."""
        command: Command = (
            *("FT.SEARCH", index, str(query), "SORTBY", "updated_at", "DESC"),
            *("LIMIT", 0, most, "RETURN", 1, "$", *WHOLE_ANSWER),
        )
        try:
            reply = yield from self._ask(index, filter, command)
        except ResponseError as error:
            if is_too_many(error):
                return None
            raise
        return search_documents(reply)

    def _threads_by_age(
        self, index: str, query: FilterExpression, filter: Filter
    ) -> Plan[list[bytes]]:
        """The keys of all threads that a query finds, the one that changed last at the end,
        each with 8 bytes more."""
        found: list[bytes] = []
        command = whole_search(index, query, "@__key", "@updated_at")
        reply = yield from self._ask(index, filter, command)
        while True:
            rows, cursor = search_page(reply)
            # In few bytes, for there may be many threads.
            found += [
                row["__key"].encode() + int(row["updated_at"]).to_bytes(8, "big") for row in rows
            ]
            if not cursor:
                break
            [reply] = yield [next_page(index, cursor)]
        found.sort()
        # A thread that changes while a cursor reads comes twice.
        last = [one for one, next_ in pairwise([*found, b""]) if one[:-8] != next_[:-8]]
        last.sort(key=lambda one: one[-8:])
        return last

    def _summaries(
        self, rows: Iterable[tuple[str, bytes | None]], filter: Filter, status: str | None
    ) -> Iterator[ThreadSummary]:
        """Those of the documents that are there and match."""
        for key, document in rows:
            if document is None:  # deleted meanwhile
                continue
            with loading.reading(key):
                fields = loading.parse(document)
                metadata = loading.load_stored_metadata(fields["metadata"], self.serde)
                summary = ThreadSummary(
                    fields["thread_id"],
                    fields["checkpoint_id"],
                    metadata,
                    fields.get("step"),
                    _EPOCH + timedelta(milliseconds=fields["updated_at"]),
                    fields["status"],
                )
            if status in (None, summary.status) and filter.matches(metadata):
                yield summary

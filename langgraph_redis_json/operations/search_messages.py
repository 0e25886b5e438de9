"""search_messages: find messages by their words.

The message index proposes. Its documents have no metadata of their threads, which changes; so a
filter is first asked of the thread index. If few threads match, the search names them. If many do,
the threads of the messages that it finds are looked at.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.base import SerializerProtocol
from redisvl.query.filter import FilterExpression, Tag

from langgraph_redis_json import arguments
from langgraph_redis_json.client.plan import Command, Listing, Plan
from langgraph_redis_json.client.replies import search_documents, search_keys, search_page
from langgraph_redis_json.errors import IndexMissingError, MessagesMissingError
from langgraph_redis_json.operations import fill_messages
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.operations.table_of_contents import pages
from langgraph_redis_json.operations.threads import PAGE
from langgraph_redis_json.search import filters, queries, words
from langgraph_redis_json.search.filters import Filter
from langgraph_redis_json.storage import keys, loading
from langgraph_redis_json.storage.keys import ThreadKeys
from langgraph_redis_json.storage.loading import DAMAGE, damaged
from langgraph_redis_json.storage.messages import MessageSearch

logger = logging.getLogger("langgraph_redis_json")

MOST_THREADS = 1_000
"""Threads that a search of messages names."""

SCORER: Command = ("SCORER", "BM25STD")

ROLES = {"user": "human", "assistant": "ai"}
"""Other names of roles, which LangChain takes too."""


class FoundMessage(NamedTuple):
    """A message, as ``search_messages`` returns it.

    Attributes:
        thread_id: as text.
        message_id: None if the message has none.
        role: ``"human"``, ``"ai"``, ``"tool"``, ``"system"``, or the role of a ChatMessage.
        time: of the first checkpoint that had the message, in UTC; None if that had no time.
        snippet: the part of its text, or of its tool calls, around the first of the words, on one
            line, with the words marked.
        text: what the message says; content blocks one a line.
        config: of the first checkpoint that had the message. It may have been deleted since.
    """

    thread_id: str
    message_id: str | None
    role: str
    time: datetime | None
    snippet: str
    text: str
    config: RunnableConfig


class Search(NamedTuple):
    """What is searched for.

    Attributes:
        words: of `words.read`.
        filter: on the metadata of the threads.
        role: None for any.
        since, until: milliseconds since 1970, both included; None for any time.
        newest_first: whether the order is that of time, not of rank.
        marks: the texts before and after a marked word.
        language: for the words.
    """

    words: Sequence[str]
    filter: Filter
    role: str | None
    since: int | None
    until: int | None
    newest_first: bool
    marks: tuple[str, str]
    language: str

    def query(self, threads: Sequence[str] | None) -> FilterExpression:
        """The search.

        Args:
            threads: tokens of the threads to search in; None for all.
        """
        clauses = [words.clause(self.words)]
        # Any other role is checked in Python only.
        if self.role is not None and re.fullmatch("[A-Za-z0-9]+", self.role):
            clauses.append(str(Tag("role") == self.role))
        if self.since is not None or self.until is not None:
            low = "-inf" if self.since is None else self.since
            high = "+inf" if self.until is None else self.until
            clauses.append(f"@created_at:[{low} {high}]")
        if threads is not None:
            clauses.append(f"@tokens:{{{'|'.join(threads)}}}")
        return FilterExpression(" ".join(clauses))

    def found(self, fields: Mapping[str, Any]) -> FoundMessage | None:
        """A message by its document; None if it is not one that is searched for."""
        role, time = fields["role"], fields.get("created_at")
        if self.role not in (None, role):
            return None
        return FoundMessage(
            fields["thread_id"],
            fields.get("message_id"),
            role,
            None if time is None else datetime.fromtimestamp(time / 1000, timezone.utc),
            words.snippet([fields["text"], fields.get("tool_calls", "")], self.words, self.marks),
            fields["text"],
            loading.config_of(
                fields["thread_id"], fields["checkpoint_ns"], fields["checkpoint_id"]
            ),
        )


def search_messages(
    context: Context,
    text: str,
    filter: Mapping[str, Any] | None,
    role: str | None,
    since: datetime | None,
    until: datetime | None,
    newest_first: bool,
    limit: int | None,
    marks: tuple[str, str],
) -> Listing[FoundMessage]:
    # Wrong arguments raise at once, not when the caller iterates.
    if not isinstance(role, (str, type(None))):
        raise TypeError(f"role must be text or None, not {role!r:.100}")
    if not isinstance(marks, tuple) or [*map(type, marks)] != [str, str]:
        raise TypeError(f'marks must be two texts, such as ("<b>", "</b>"), not {marks!r:.100}')
    wanted = words.read(text)
    settings = context.message_search or MessageSearch()
    search = Search(
        wanted,
        filters.read(filter, {name: one.type for name, one in context.metadata_fields.items()}),
        None if role is None else ROLES.get(role, role),
        _milliseconds(arguments.moment("since", since)),
        _milliseconds(arguments.moment("until", until)),
        newest_first,
        marks,
        settings.language,
    )
    return _search_messages(context, search, arguments.limit(limit))


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)


def _search_messages(context: Context, search: Search, limit: int | None) -> Listing[FoundMessage]:
    if limit == 0:
        return
    yield from fill_messages.check(context)
    threads: Sequence[str] | None = None
    if search.filter.conditions:
        threads = yield from _threads(context, search.filter)
        if threads is not None and not threads:
            return
    checked = _Checked(context, search)
    returned: set[str] = set()
    # First as many messages as the limit; more only if some of these are not wanted.
    if limit is not None and limit <= queries.MOST_SORTED:
        rows = yield from _first(context, search, threads, limit)
        for key, message in (yield from checked.messages(rows or ())):
            yield message
            returned.add(key)
        if rows is not None and (len(rows) < limit or len(returned) == limit):
            return
    left = None if limit is None else limit - len(returned)
    names = yield from queries.with_retries(context, lambda: _all(context, search, threads))
    for page in pages(names, PAGE):
        if left == 0:
            return
        documents = yield [("JSON.GET", key, ".") for key in page]
        rows = list(zip(page, documents, strict=True))
        for key, message in (yield from checked.messages(rows)):
            if key not in returned and left != 0:
                yield message
                left = None if left is None else left - 1


def _threads(context: Context, filter: Filter) -> Plan[list[str] | None]:
    """The tokens of the threads that a filter finds; None if they are too many to name."""
    index = queries.index_name(context.key_prefix, "threads")

    def command(most: int) -> Command:
        query = str(filter.expression())
        return ("FT.SEARCH", index, query, "NOCONTENT", "LIMIT", 0, most, *queries.WHOLE_ANSWER)

    found = yield from queries.newest(
        context, index, filter.fields, MOST_THREADS, command, search_keys, str
    )
    if found is None or len(found) == MOST_THREADS:
        return None
    return sorted(keys.thread_token(keys.thread_of_key(key)) for key in found)


def _command(
    context: Context, search: Search, threads: Sequence[str] | None, verb: str, *rest: Any
) -> Command:
    index = queries.index_name(context.key_prefix, "messages")
    query = str(search.query(threads))
    return (verb, index, query, "LANGUAGE", search.language, *rest, *queries.WHOLE_ANSWER)


def _search(context: Context, command: Command) -> Plan[Any]:
    index = queries.index_name(context.key_prefix, "messages")
    try:
        return (yield from queries.search(context, index, (), command))
    except IndexMissingError as error:
        raise MessagesMissingError(index=index) from error


def _first(
    context: Context, search: Search, threads: Sequence[str] | None, most: int
) -> Plan[list[tuple[str, bytes | None]] | None]:
    """The keys and documents of the first messages; see `queries.newest`."""
    order: Command = ("SORTBY", "created_at", "DESC") if search.newest_first else SCORER

    def command(most: int) -> Command:
        returned: Command = ("LIMIT", 0, most, "RETURN", 1, "$")
        return _command(context, search, threads, "FT.SEARCH", *order, *returned)

    index = queries.index_name(context.key_prefix, "messages")
    try:
        return (
            yield from queries.newest(
                context, index, (), most, command, search_documents, lambda row: row[0]
            )
        )
    except IndexMissingError as error:
        raise MessagesMissingError(index=index) from error


def _all(context: Context, search: Search, threads: Sequence[str] | None) -> Plan[list[str]]:
    """The keys of all messages that the index finds, in order."""
    scores: Command = () if search.newest_first else (*SCORER, "ADDSCORES")
    loaded: Command = ("LOAD", 2, "@__key", "@created_at", "WITHCURSOR", "COUNT", queries.NAMES)
    command = _command(context, search, threads, "FT.AGGREGATE", *scores, *loaded)
    reply = yield from _search(context, command)
    found: dict[str, tuple[float, float]] = {}
    while True:
        rows, cursor = search_page(reply)
        for row in rows:
            time = float(row.get("created_at", 0))
            found[row["__key"]] = (float(row.get("__score", 0)), time)
        if not cursor:
            return sorted(found, key=lambda key: found[key], reverse=True)
        reply = yield from queries.next_page(context, str(command[1]), cursor)


class _Checked:
    """Checks the messages that the index proposes."""

    def __init__(self, context: Context, search: Search) -> None:
        self._prefix = context.key_prefix
        self._serde: SerializerProtocol = context.serde
        self._search = search
        self._threads: dict[str, bool] = {}

    def messages(
        self, rows: Iterable[tuple[str, bytes | None]]
    ) -> Plan[list[tuple[str, FoundMessage]]]:
        """Those that are wanted, with their keys."""
        found: list[tuple[str, FoundMessage]] = []
        for key, document in rows:
            if document is None:  # deleted meanwhile
                continue
            try:
                message = self._search.found(loading.parse(document))
            except DAMAGE as error:
                logger.error("A search leaves out a message. %s", damaged(key, error))
                continue
            if message is not None:
                found.append((key, message))
        yield from self._read_threads({message.thread_id for _, message in found})
        return [(key, message) for key, message in found if self._threads[message.thread_id]]

    def _read_threads(self, thread_ids: set[str]) -> Plan[None]:
        """Learn which threads exist and match the filter. (A message may outlive its thread for a
        moment while both expire.)"""
        new = sorted(thread_ids - self._threads.keys())
        if not new:
            return
        threads = [keys.thread_keys(self._prefix, thread_id) for thread_id in new]
        replies = yield [
            *(("EXISTS", thread.contents) for thread in threads),
            *(("JSON.GET", thread.key("t"), ".") for thread in threads),
        ]
        for thread_id, thread, exists, document in zip(
            new, threads, replies[: len(new)], replies[len(new) :], strict=True
        ):
            self._threads[thread_id] = bool(exists) and self._matches(thread, document)

    def _matches(self, thread: ThreadKeys, document: bytes | None) -> bool:
        if not self._search.filter.conditions:
            return True
        if document is None:
            return False
        try:
            metadata = loading.load_stored_metadata(loading.parse(document), self._serde)
        except DAMAGE as error:
            logger.error("A search leaves out a thread. %s", damaged(thread.key("t"), error))
            return False
        return self._search.filter.matches(metadata)

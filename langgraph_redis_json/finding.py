"""Which checkpoints there are, and what the server holds of them: parts of plans."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, NamedTuple, TypeVar

from langgraph.checkpoint.serde.base import SerializerProtocol
from redis.exceptions import ResponseError
from redisvl.query.filter import FilterExpression

from langgraph_redis_json import configs, filters, indexes, keys
from langgraph_redis_json.commands import Command, Plan, script, search_keys, search_page, text
from langgraph_redis_json.errors import CoordinatorMissingError, IndexMissingError
from langgraph_redis_json.fields import Fields
from langgraph_redis_json.filters import Filter
from langgraph_redis_json.keys import CheckpointName, ThreadKeys
from langgraph_redis_json.lifetimes import FOR_EVER, Lifetimes
from langgraph_redis_json.loading import Row, rows
from langgraph_redis_json.memory import Memory

T = TypeVar("T")

NAMES = 5_000
"""Names that one trip brings, so that the server is soon free again."""

NAMES_KEPT = 50_000
"""Names that a listing holds at a time, however long it is: some 7 MB. What is beyond them it
looks for again when it gets there."""

NEWEST = 1000
"""Names that a search is asked to sort, at most."""

# No time limit: past one the server gives part of the answer for the whole.
WHOLE_ANSWER: Command = ("TIMEOUT", 0, "DIALECT", 2)


class Wanted(NamedTuple):
    """What a listing is to find.

    Attributes:
        target: the thread, namespace and checkpoint that it is about; None for all.
        filter: what the metadata must meet.
        end: only checkpoints before this one; None for all.
        clustered: whether this is a cluster, where a thread is in one place and an index in all.
    """

    target: configs.Target | None
    filter: Filter
    end: str | None
    clustered: bool

    @property
    def in_contents(self) -> configs.Target | None:
        """The target, if its checkpoints are taken from the thread's table of contents."""
        return self.target if self.clustered or not self.filter.conditions else None

    def expression(self) -> FilterExpression:
        """What to search for otherwise."""
        clauses = []
        if self.target is not None:
            clauses.append(filters.in_thread(self.target.thread_id))
            if self.target.checkpoint_ns is not None:
                clauses.append(filters.in_namespace(self.target.checkpoint_ns))
        return self.filter.expression(*clauses)

    def positions(self) -> tuple[bytes, bytes]:
        """The positions that it may find, from the first up to the second."""
        start, end = b"", keys.LAST
        if self.target is not None and self.target.checkpoint_id is not None:
            start, end = keys.positions_of(self.target.checkpoint_id)
        if self.end is not None:
            end = min(end, keys.positions_of(self.end)[0])
        return start, end

    @property
    def page(self) -> int:
        """Names that the listing looks for at a time."""
        if self.in_contents and self.in_contents.checkpoint_ns is not None:
            return NAMES  # they come in order
        return NAMES_KEPT

    def few(self, limit: int | None) -> int | None:
        """The limit, if Redis itself can tell which the newest so many are."""
        if limit is None or limit > NEWEST:
            return None
        if self.in_contents:
            return None if self.filter.conditions else limit
        return limit if self.filter.is_exact and self.positions() == (b"", keys.LAST) else None


@dataclass
class Finding:
    """What every plan knows.

    Attributes:
        key_prefix: stands in front of every key and index name; "" for none.
        serde: the saver's serializer.
        memory: what the saver remembers.
        metadata_fields: the user's own fields of the indexes.
        clustered: whether the client is one of a Redis Cluster.
        on_loop: whether plans run on an event loop that must not wait for long work.
        lifetimes: how long threads live.
    """

    key_prefix: str
    serde: SerializerProtocol
    memory: Memory
    metadata_fields: Fields = field(default_factory=dict)
    clustered: bool = False
    on_loop: bool = False
    lifetimes: Lifetimes = FOR_EVER

    def _filter(self, filter: Any) -> Filter:
        """A caller's filter, checked."""
        kinds = {name: field.type for name, field in self.metadata_fields.items()}
        return filters.read(filter, kinds)

    def _newest(self, wanted: Wanted, most: int) -> Plan[list[bytes]]:
        """The positions of the newest so many that a listing may find, newest first."""
        if not wanted.in_contents:
            index = indexes.name(self.key_prefix, "checkpoints")
            command: Command = (
                *("FT.SEARCH", index, str(wanted.expression()), "NOCONTENT"),
                *("SORTBY", "checkpoint_id", "DESC", "LIMIT", 0, most, *WHOLE_ANSWER),
            )
            try:
                reply = yield from self._ask(index, wanted.filter, command)
            except ResponseError as error:
                if not is_too_many(error):
                    raise
            else:
                return sorted(map(keys.position_of_key, search_keys(reply)), reverse=True)
        return (yield from self._positions(wanted, *wanted.positions(), most))

    def _positions(self, wanted: Wanted, start: bytes, end: bytes, most: int) -> Plan[list[bytes]]:
        """The newest so many positions from start up to end, newest first; fewer if there are no
        more."""
        target = wanted.in_contents
        if target is None:
            found = self._search(wanted.expression(), wanted.filter, start, end, most)
        elif target.checkpoint_ns is None:
            found = self._in_thread(target, start, end, most)
        else:
            found = self._in_namespace(target, target.checkpoint_ns, start, end, most)
        return (yield from found)

    def _in_namespace(
        self, target: configs.Target, checkpoint_ns: str, start: bytes, end: bytes, most: int
    ) -> Plan[list[bytes]]:
        # Here entries are in the order of positions.
        thread = self._thread(target.thread_id)
        head = keys.checkpoint_entry(checkpoint_ns, "").encode()
        first, last = (head + position.partition(b"\0")[0] for position in (start, end))
        [entries] = yield [
            (
                *("ZREVRANGEBYLEX", thread.contents, b"(" + last, b"[" + first),
                *("LIMIT", 0, most),
            )
        ]
        return [keys.position_of_entry(thread.tag, text(entry)) for entry in entries]

    def _in_thread(
        self, target: configs.Target, start: bytes, end: bytes, most: int
    ) -> Plan[list[bytes]]:
        thread = self._thread(target.thread_id)

        def command(last: bytes) -> Command:
            return (
                *("ZREVRANGEBYLEX", thread.contents, b"(" + last, "[c:"),
                *("LIMIT", 0, NAMES),
            )

        def read(entries: Any) -> tuple[list[bytes], Command | None]:
            names = list(map(text, entries))
            positions = [keys.position_of_entry(thread.tag, name) for name in names]
            more = len(names) == NAMES
            return positions, command(names[-1].encode()) if more else None

        [reply] = yield [command(b"c:" + keys.LAST)]
        return (yield from _newest_of(reply, read, start, end, most))

    def _search(
        self,
        query: FilterExpression,
        filter: Filter = filters.ANY,
        start: bytes = b"",
        end: bytes = keys.LAST,
        most: int | None = None,
    ) -> Plan[list[bytes]]:
        index = indexes.name(self.key_prefix, "checkpoints")

        def read(reply: Any) -> tuple[list[bytes], Command | None]:
            found, cursor = search_page(reply)
            positions = [keys.position_of_key(row["__key"]) for row in found]
            return positions, next_page(index, cursor) if cursor else None

        def search() -> Plan[list[bytes]]:
            reply = yield from self._ask(index, filter, whole_search(index, query, "@__key"))
            return (yield from _newest_of(reply, read, start, end, most))

        return (yield from with_cursor(search))

    def _ask(self, index: str, filter: Filter, command: Command) -> Plan[Any]:
        """The reply to a search, from an index of which the same trip says that it can answer.

        Raises:
            CoordinatorMissingError: on a cluster, if the search goes over one node alone.
            IndexMissingError, IndexIncompleteError, MetadataFieldMissingError: see there.
        """
        if self.clustered and not (yield from indexes.has_coordinator(self.key_prefix)):
            raise CoordinatorMissingError
        with _needed(index):
            info, reply = yield [("FT.INFO", index), command]
        indexes.check_answers(index, info, filter.fields, self.metadata_fields)
        return reply

    def _read(self, names: Sequence[CheckpointName]) -> Plan[list[Row]]:
        """The rows of checkpoints, in the order of their names; only of the first ones, if they are
        large."""
        entries: dict[str, list[str]] = defaultdict(list)
        for thread_id, checkpoint_ns, checkpoint_id in names:
            entries[thread_id].append(keys.checkpoint_entry(checkpoint_ns, checkpoint_id))
        replies = yield [
            script("read", self._thread(thread_id), 0, "", 0, ":", *wanted)
            for thread_id, wanted in entries.items()
        ]
        found = {
            row.name: row
            for thread_id, reply in zip(entries, replies, strict=True)
            for row in rows(self._thread(thread_id), thread_id, reply)
        }
        return [found[name] for name in takewhile(found.__contains__, names)]

    def _entries(self, thread: ThreadKeys, *starts: str) -> Plan[list[list[str]]]:
        """The entries that begin with each of some texts, in order."""
        found: list[list[str]] = [[] for _ in starts]
        after = {number: f"[{start}" for number, start in enumerate(starts)}
        while after:
            replies = yield [
                (
                    *("ZRANGEBYLEX", thread.contents, start),
                    *(b"(" + starts[number].encode() + keys.LAST, "LIMIT", 0, NAMES),
                )
                for number, start in after.items()
            ]
            for number, reply in zip([*after], replies, strict=True):
                found[number] += map(text, reply)
                if len(reply) == NAMES:
                    after[number] = f"({found[number][-1]}"
                else:
                    del after[number]
        return found

    def _documents(self, thread: ThreadKeys, entries: Sequence[str]) -> Plan[list[bytes | None]]:
        [found] = yield [("JSON.MGET", *map(thread.key, entries), ".")]
        return list(found)

    def _thread(self, thread_id: str) -> ThreadKeys:
        return keys.thread_keys(self.key_prefix, thread_id)


def whole_search(index: str, query: FilterExpression, *fields: str) -> Command:
    # A cursor without SORTBY is the one way to results that the server does not cap.
    return (
        *("FT.AGGREGATE", index, str(query), "LOAD", len(fields)),
        *fields,
        *("WITHCURSOR", "COUNT", NAMES, *WHOLE_ANSWER),
    )


def with_cursor(search: Callable[[], Plan[T]]) -> Plan[T]:
    """Do a search that reads a cursor; once more where that is lost, because setup() has put
    another index in the place of this one, or because it was not read for minutes."""
    for _ in range(2):
        try:
            return (yield from search())
        except ResponseError as error:
            if "cursor" not in str(error).lower():
                raise
    return (yield from search())


def next_page(index: str, cursor: int) -> Command:
    return ("FT.CURSOR", "READ", index, cursor, "COUNT", NAMES)


def is_too_many(error: ResponseError) -> bool:
    """Whether the server says that it gives no search so many results."""
    return "exceeds maximum" in str(error)  # the message names its MAXSEARCHRESULTS


def _newest_of(
    reply: Any,
    read: Callable[[Any], tuple[list[bytes], Command | None]],
    start: bytes,
    end: bytes,
    most: int | None,
) -> Plan[list[bytes]]:
    """The newest so many (all if None) of the positions from start up to end that a reply brings,
    and those that follow; newest first.

    Args:
        read: what a reply brings, and the command for the next one.
    """
    found: list[bytes] = []
    while True:
        positions, command = read(reply)
        found += [position for position in positions if start <= position < end]
        if command is None:
            # What is written again while a cursor reads comes twice.
            return sorted(set(found), reverse=True)[:most]
        if most is not None and len(found) > most:
            found = sorted(set(found), reverse=True)[:most]
        [reply] = yield [command]


@contextmanager
def _needed(index: str) -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        if indexes.is_missing(error):
            raise IndexMissingError(index=index) from error
        raise

"""Which checkpoints there are, and what the server holds of them: parts of plans."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from redis.exceptions import ResponseError
from redisvl.query.filter import FilterExpression

from langgraph_redis_json import configs, filters, indexes, keys
from langgraph_redis_json.commands import Command, Plan, script, search_keys, search_page, text
from langgraph_redis_json.errors import CoordinatorMissingError, IndexMissingError
from langgraph_redis_json.keys import CheckpointName, ThreadKeys
from langgraph_redis_json.lifetimes import FOR_EVER, Lifetimes
from langgraph_redis_json.loading import Row, rows
from langgraph_redis_json.memory import Memory

SEARCH_PAGE = 10_000
"""Names that one trip of a search brings."""

NAMES = 5_000
"""Entries of a table of contents that one trip brings, so that the server is soon free again."""

NEWEST = 1000
"""Names that a search is asked to sort, at most."""

# No time limit: past one the server gives part of the answer for the whole.
_WHOLE_ANSWER: Command = ("TIMEOUT", 0, "DIALECT", 2)


@dataclass(frozen=True)
class Finding:
    """What every plan knows.

    Attributes:
        key_prefix: stands in front of every key and index name; "" for none.
        serde: the saver's serializer.
        memory: what the saver remembers.
        clustered: whether the client is one of a Redis Cluster.
        lifetimes: how long threads live.
    """

    key_prefix: str
    serde: SerializerProtocol
    memory: Memory
    clustered: bool = False
    lifetimes: Lifetimes = FOR_EVER

    def _names(
        self,
        target: configs.Target | None,
        filter: Mapping[str, Any],
        end: str | None,
        most: int | None,
    ) -> Plan[list[CheckpointName]]:
        """What a listing may find, newest first.

        Args:
            target: the thread, namespace and checkpoint that it is about; None for all.
            filter: metadata pairs.
            end: only checkpoints before this one.
            most: the newest so many; all if None.
        """
        if target is not None and (not filter or self.clustered):
            # On a cluster a thread is in one place, and an index is in all.
            names = yield from self._names_in_contents(target, end, most)
        else:
            wanted = target or configs.Target("", None, None, None)
            query = filters.expression(target and target.thread_id, wanted.checkpoint_ns, filter)
            if most is None:
                names = yield from self._search(query)
            else:
                names = yield from self._newest(query, most)
        names = [
            name
            for name in names
            if (end is None or name.checkpoint_id < end)
            and (not target or target.checkpoint_id in (None, name.checkpoint_id))
        ]
        return sorted(names, key=_age, reverse=True)

    def _names_in_contents(
        self, target: configs.Target, end: str | None, most: int | None
    ) -> Plan[list[CheckpointName]]:
        thread = self._thread(target.thread_id)
        count = -1
        if target.checkpoint_ns is None:
            start = "c:"
            stop_at = b"(" + start.encode() + keys.LAST
        else:
            start = keys.checkpoint_entry(target.checkpoint_ns, "")
            stop_at = b"(" + start.encode() + (keys.escape(end).encode() if end else keys.LAST)
            if most is not None:
                count = most
        [entries] = yield [
            (
                *("ZREVRANGEBYLEX", thread.contents, stop_at, "[" + start),
                *("LIMIT", 0, count),
            )
        ]
        return [keys.checkpoint_of_entry(target.thread_id, text(entry)) for entry in entries]

    def _newest(self, query: FilterExpression, most: int) -> Plan[list[CheckpointName]]:
        """The newest so many of the checkpoints that a query finds."""
        yield from self._see_all_threads()
        index = indexes.name(self.key_prefix, "checkpoints")
        command: Command = (
            *("FT.SEARCH", index, str(query), "NOCONTENT", "SORTBY", "checkpoint_id", "DESC"),
            *("LIMIT", 0, most, *_WHOLE_ANSWER),
        )
        try:
            with _needed(index):
                [reply] = yield [command]
        except ResponseError as error:
            if "exceeds maximum" in str(error):  # of this server's MAXSEARCHRESULTS
                return (yield from self._search(query))
            raise
        return [keys.checkpoint_of_key(key) for key in search_keys(reply)]

    def _search(
        self, query: FilterExpression, page: int | None = None
    ) -> Plan[list[CheckpointName]]:
        """All checkpoints that a query finds, in no order, so many with each trip."""
        yield from self._see_all_threads()
        index = indexes.name(self.key_prefix, "checkpoints")
        # A cursor without SORTBY is the one way to results that the server does not cap.
        command: Command = (
            *("FT.AGGREGATE", index, str(query), "LOAD", 1, "@__key"),
            *("WITHCURSOR", "COUNT", page or SEARCH_PAGE, *_WHOLE_ANSWER),
        )
        found: list[CheckpointName] = []
        while True:
            with _needed(index):
                [reply] = yield [command]
            rows, cursor = search_page(reply)
            found += [keys.checkpoint_of_key(row["__key"]) for row in rows]
            if not cursor:
                return found
            command = ("FT.CURSOR", "READ", index, cursor, "COUNT", page or SEARCH_PAGE)

    def _see_all_threads(self) -> Plan[None]:
        """See that a search goes over all threads.

        Raises:
            CoordinatorMissingError: if it goes over those of one node.
        """
        if self.clustered and not (yield from indexes.has_coordinator(self.key_prefix)):
            raise CoordinatorMissingError

    def _read(self, names: Sequence[CheckpointName]) -> Plan[list[Row]]:
        """The rows of checkpoints, in the order of their names."""
        entries: dict[str, list[str]] = defaultdict(list)
        for thread_id, checkpoint_ns, checkpoint_id in names:
            entries[thread_id].append(keys.checkpoint_entry(checkpoint_ns, checkpoint_id))
        replies = yield [
            script("read", self._thread(thread_id), 0, "-", *wanted)
            for thread_id, wanted in entries.items()
        ]
        found = {
            row.name: row
            for thread_id, reply in zip(entries, replies, strict=True)
            for row in rows(self._thread(thread_id), thread_id, reply)
        }
        return [found[name] for name in names]

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


def can_be_cut(
    target: configs.Target | None, filter: Mapping[str, Any], end: str | None, limit: int | None
) -> bool:
    """Whether Redis itself can tell which the newest so many of a listing are."""
    if limit is None or limit > NEWEST or (target and target.checkpoint_id):
        return False
    in_contents = target is not None and not filter
    return in_contents or (end is None and filters.is_exact(filter))


def _age(name: CheckpointName) -> tuple[str, str, str]:
    return name.checkpoint_id, name.checkpoint_ns, name.thread_id


@contextmanager
def _needed(index: str) -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        if indexes.is_missing(error):
            raise IndexMissingError(index=index) from error
        raise

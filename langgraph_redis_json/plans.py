"""What each operation does, in order, written once for both savers.

A plan is a generator that knows no client and no ``await``: it yields a batch of commands,
is sent their replies, and returns its result. A listing also yields what it has found.
"""

from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import TASKS
from redis.exceptions import ResponseError
from redisvl.query.filter import FilterExpression

from langgraph_redis_json import configs, documents, filters, indexes, keys
from langgraph_redis_json.commands import (
    Argument,
    Command,
    pairs,
    script,
    search_keys,
    search_page,
    text,
)
from langgraph_redis_json.documents import Row
from langgraph_redis_json.errors import IndexMissingError
from langgraph_redis_json.keys import CheckpointName, ThreadKeys

T = TypeVar("T")
Replies = list[Any]
Plan = Generator[list[Command], Replies, T]
Listing = Generator[list[Command] | CheckpointTuple, Replies, None]

PAGE = 25
"""Checkpoints that one trip reads: the memory of a listing, whatever its length."""

CHUNK = 1000
"""Keys that one call deletes: other clients wait for no more than that."""

SEARCH_PAGE = 10_000
"""Names that one trip of a search brings."""


NEWEST = 1000
"""Names that a search is asked to sort, at most."""

# No time limit: past one the server gives part of the answer for the whole.
_WHOLE_ANSWER: Command = ("TIMEOUT", 0, "DIALECT", 2)


@dataclass(frozen=True)
class Plans:
    """The operations of one saver.

    Attributes:
        key_prefix: stands in front of every key and index name; "" for none.
        serde: the saver's serializer.
    """

    key_prefix: str
    serde: SerializerProtocol

    def setup(self) -> Plan[None]:
        return indexes.setup(self.key_prefix)

    def indexes_are_building(self) -> Plan[bool]:
        return indexes.are_building(self.key_prefix)

    # ---- one checkpoint

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Plan[RunnableConfig]:
        target = configs.target(config)
        name = CheckpointName(
            target.thread_id,
            target.checkpoint_ns or "",
            _required("checkpoint_id", configs.checkpoint_id(checkpoint["id"])),
        )
        built = documents.build_checkpoint(
            name,
            target.checkpoint_id,
            checkpoint,
            get_serializable_checkpoint_metadata(config, metadata),
            new_versions,
            self.serde,
        )
        entry = keys.checkpoint_entry(name.checkpoint_ns, name.checkpoint_id)
        thread = self._thread(name.thread_id)
        sent, expected = dict(built.new), dict(built.old)
        while True:
            # The checkpoint comes last: whoever sees it finds all that it needs.
            [missing] = yield [
                _store(thread, [*sent.items(), (entry, built.document)], expected, built.inherited)
            ]
            if not missing:
                break
            for blob in map(text, missing):
                sent[blob] = expected.pop(blob)
        return {
            "configurable": {
                "thread_id": target.given_thread_id,
                "checkpoint_ns": name.checkpoint_ns,
                "checkpoint_id": name.checkpoint_id,
            }
        }

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> Plan[None]:
        target = configs.target(config)
        name = CheckpointName(
            target.thread_id,
            target.checkpoint_ns or "",
            _required("checkpoint_id", target.checkpoint_id),
        )
        if not writes:
            return
        head, by_index = documents.build_writes(name, writes, task_id, task_path, self.serde)
        entry = keys.write_entry(name.checkpoint_ns, name.checkpoint_id, task_id)
        arguments = [part for index, write in by_index.items() for part in (index, write)]
        yield [script("put_writes", self._thread(name.thread_id), entry, head, *arguments)]

    def get_tuple(self, config: RunnableConfig) -> Plan[CheckpointTuple | None]:
        target = configs.target(config)
        thread = self._thread(target.thread_id)
        checkpoint_ns = target.checkpoint_ns or ""
        if target.checkpoint_id is None:
            command = script("read", thread, keys.escape(checkpoint_ns))
        else:
            entry = keys.checkpoint_entry(checkpoint_ns, target.checkpoint_id)
            command = script("read", thread, "-", entry)
        [reply] = yield [command]
        for row in _rows(thread, target.thread_id, reply):
            if row.named:
                return (yield from self._load(row, {}, target.given_thread_id))
        return None

    def _load(
        self, row: Row, filter: Mapping[str, Any], thread_id: Any
    ) -> Plan[CheckpointTuple | None]:
        """The row as a checkpoint, None if its metadata does not match."""
        decoded = documents.decode_checkpoint(row)
        metadata = documents.load_metadata(decoded, self.serde)
        if not filters.matches(filter, metadata):
            return None
        sends: list[Any] = []
        parent = decoded.parent_checkpoint_id
        if decoded.v < 4 and parent is not None:
            # Before version 4 a checkpoint's tasks were kept among its parent's writes.
            entry = keys.checkpoint_entry(row.name.checkpoint_ns, parent)
            [reply] = yield [script("read", row.thread, "-", entry)]
            [parent_row] = _rows(row.thread, row.name.thread_id, reply)
            writes = documents.load_writes(parent_row, self.serde, [TASKS])
            sends = [value for _, _, value in writes]
        return documents.load_checkpoint(row, decoded, metadata, sends, self.serde, thread_id)

    # ---- many checkpoints

    def list_checkpoints(
        self,
        config: RunnableConfig | None,
        filter: Mapping[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Listing:
        target = configs.target(config) if config else None
        filter = filter or {}
        end = configs.checkpoint_id((before or {}).get("configurable", {}).get("checkpoint_id"))
        left = limit
        seen: set[CheckpointName] = set()
        # First as many as are wanted; all, only if some of these turn out not to match.
        few = limit if _can_be_cut(target, filter, end, limit) else None
        for most in (few, None) if few is not None else (None,):
            if left is not None and left <= 0:
                return
            names = yield from self._names(target, filter, end, most)
            unseen = iter([name for name in names if name not in seen])
            while page := list(islice(unseen, PAGE if left is None else min(PAGE, left))):
                for row in (yield from self._read(page)):
                    if not row.named:  # deleted meanwhile
                        continue
                    given = target.given_thread_id if target else row.name.thread_id
                    found = yield from self._load(row, filter, given)
                    if found is not None:
                        yield found
                        left = None if left is None else left - 1
                if left == 0:
                    return
            if most is None or len(names) < most:
                return
            seen.update(names)

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
        if target is not None and not filter:
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

    def _search(self, query: FilterExpression) -> Plan[list[CheckpointName]]:
        """All checkpoints that a query finds, in no order."""
        index = indexes.name(self.key_prefix, "checkpoints")
        # A cursor without SORTBY is the one way to results that the server does not cap.
        command: Command = (
            *("FT.AGGREGATE", index, str(query), "LOAD", 1, "@__key"),
            *("WITHCURSOR", "COUNT", SEARCH_PAGE, *_WHOLE_ANSWER),
        )
        found: list[CheckpointName] = []
        while True:
            with _needed(index):
                [reply] = yield [command]
            rows, cursor = search_page(reply)
            found += [keys.checkpoint_of_key(row["__key"]) for row in rows]
            if not cursor:
                return found
            command = ("FT.CURSOR", "READ", index, cursor, "COUNT", SEARCH_PAGE)

    def _read(self, names: Sequence[CheckpointName]) -> Plan[list[Row]]:
        """The rows of checkpoints, in the order of their names."""
        entries: dict[str, list[str]] = defaultdict(list)
        for thread_id, checkpoint_ns, checkpoint_id in names:
            entries[thread_id].append(keys.checkpoint_entry(checkpoint_ns, checkpoint_id))
        replies = yield [
            script("read", self._thread(thread_id), "-", *wanted)
            for thread_id, wanted in entries.items()
        ]
        rows = {
            row.name: row
            for thread_id, reply in zip(entries, replies, strict=True)
            for row in _rows(self._thread(thread_id), thread_id, reply)
        }
        return [rows[name] for name in names]

    def get_delta_channel_history(
        self, config: RunnableConfig, channels: Sequence[str]
    ) -> Plan[Mapping[str, DeltaChannelHistory]]:
        target = configs.target(config)
        checkpoint_ns = target.checkpoint_ns or ""
        writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        entry = ""
        if target.checkpoint_id is not None:
            entry = keys.checkpoint_entry(checkpoint_ns, target.checkpoint_id)
        start, size = "after", PAGE
        thread = self._thread(target.thread_id)
        while len(seeds) < len(writes):
            open_channels = [channel for channel in writes if channel not in seeds]
            [reply] = yield [
                script(
                    *("ancestors", thread, keys.escape(checkpoint_ns), entry, start, size),
                    *open_channels,
                )
            ]
            for row in _rows(thread, target.thread_id, reply):
                decoded = documents.decode_checkpoint(row, channels=open_channels)
                # A checkpoint's own writes come after its value, and lead to its child.
                for write in reversed(documents.load_writes(row, self.serde, open_channels)):
                    writes[write[1]].append(write)
                for channel in [c for c in open_channels if c in decoded.channel_values]:
                    seeds[channel] = self.serde.loads_typed(decoded.channel_values[channel])
                    open_channels.remove(channel)
            entry, start, size = text(reply[2]), "from", size * 2
            if not entry:
                break
        history: dict[str, DeltaChannelHistory] = {}
        for channel in writes:
            history[channel] = {"writes": writes[channel][::-1]}
            if channel in seeds:
                history[channel]["seed"] = seeds[channel]
        return history

    # ---- whole threads

    def delete_thread(self, thread_id: Any) -> Plan[None]:
        thread = self._thread(configs.thread(thread_id))
        left = True
        while left:
            [left] = yield [script("delete_thread", thread, CHUNK)]

    def copy_thread(self, source_thread_id: Any, target_thread_id: Any) -> Plan[None]:
        target_id = configs.thread(target_thread_id)
        source, target = self._thread(configs.thread(source_thread_id)), self._thread(target_id)
        if source == target:
            raise ValueError(f"cannot copy the thread {target_id!r} onto itself")
        # Checkpoints come last: whoever sees one in the copy finds all that it needs.
        for kind in "bwc":
            entries = yield from self._entries(source, kind)
            for page in _pages(entries, PAGE):
                texts = yield from self._documents(source, page)
                copies = [
                    (entry, documents.retarget(document, target_id))
                    for entry, document in zip(page, texts, strict=True)
                    if document is not None
                ]
                yield [_store(target, copies)]

    def prune(self, thread_ids: Sequence[Any], strategy: str) -> Plan[None]:
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(
                f'there is no pruning strategy {strategy!r}: use "keep_latest" or "delete"'
            )
        for thread_id in configs.several("thread_ids", thread_ids):
            if strategy == "delete":
                yield from self.delete_thread(thread_id)
                continue
            thread = self._thread(configs.thread(thread_id))
            entries = yield from self._entries(thread, "c")
            # Entries sort by namespace, then by id: the last one of a namespace is its newest.
            newest = {entry.split(":")[1]: entry for entry in entries}.values()
            yield from self._delete_checkpoints(thread, entries, set(newest))

    def delete_for_runs(self, run_ids: Sequence[str]) -> Plan[None]:
        runs = set(map(configs.run, configs.several("run_ids", run_ids)))
        if not runs:
            return
        names = yield from self._search(filters.runs_expression(runs))
        for thread_id in dict.fromkeys(name.thread_id for name in names):
            thread = self._thread(thread_id)
            entries = yield from self._entries(thread, "c")
            lineages = yield from self._lineages(thread, entries)
            kept = {entry for entry in lineages if lineages[entry].run_id not in runs}
            yield from self._delete_checkpoints(thread, entries, kept, lineages)

    def _delete_checkpoints(
        self,
        thread: ThreadKeys,
        entries: Sequence[str],
        kept: set[str],
        lineages: Mapping[str, documents.Lineage] | None = None,
    ) -> Plan[None]:
        """Delete those of a thread's checkpoints that are not kept, nor needed by a kept one."""
        if lineages is None:
            lineages = yield from self._lineages(thread, list(kept))
            if any(lineage.delta_channels for lineage in lineages.values()):
                lineages = yield from self._lineages(thread, entries)
        needed = kept | documents.ancestors_needed(lineages, kept)
        gone = [entry for entry in entries if entry not in needed]
        if gone:
            yield [script("delete_checkpoints", thread, *gone)]

    def _lineages(
        self, thread: ThreadKeys, entries: Sequence[str]
    ) -> Plan[dict[str, documents.Lineage]]:
        found: dict[str, documents.Lineage] = {}
        for page in _pages(entries, 4 * PAGE):
            texts = yield from self._documents(thread, page)
            for entry, document in zip(page, texts, strict=True):
                if document is not None:
                    found[entry] = documents.lineage(thread.key(entry), document)
        return found

    def _entries(self, thread: ThreadKeys, kind: str) -> Plan[list[str]]:
        start = f"{kind}:"
        [entries] = yield [
            ("ZRANGEBYLEX", thread.contents, "[" + start, b"(" + start.encode() + keys.LAST)
        ]
        return list(map(text, entries))

    def _documents(self, thread: ThreadKeys, entries: Sequence[str]) -> Plan[list[bytes | None]]:
        [found] = yield [("JSON.MGET", *map(thread.key, entries), ".")]
        return list(found)

    def _thread(self, thread_id: str) -> ThreadKeys:
        return keys.thread_keys(self.key_prefix, thread_id)


@contextmanager
def _needed(index: str) -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        if indexes.is_missing(error):
            raise IndexMissingError(index=index) from error
        raise


def _store(
    thread: ThreadKeys,
    stored: Iterable[tuple[str, bytes]],
    expected: Collection[str] = (),
    inherited: Mapping[str, bytes] = MappingProxyType({}),
) -> Command:
    arguments: list[Argument] = [len(expected), *expected, len(inherited)]
    for entry, document in [*inherited.items(), *stored]:
        arguments += [entry, document]
    return script("store", thread, *arguments)


def _rows(thread: ThreadKeys, thread_id: str, reply: Any) -> Iterable[Row]:
    """What the scripts read and ancestors return."""
    blobs = {text(entry): document for entry, document in pairs(reply[1])}
    for entry, document, writes, named in reply[0]:
        yield Row(
            keys.checkpoint_of_entry(thread_id, text(entry)),
            thread,
            document,
            {text(write): document for write, document in pairs(writes)},
            blobs,
            bool(named),
        )


def _can_be_cut(
    target: configs.Target | None, filter: Mapping[str, Any], end: str | None, limit: int | None
) -> bool:
    """Whether Redis itself can tell which the newest so many of a listing are."""
    if limit is None or limit > NEWEST or (target and target.checkpoint_id):
        return False
    in_contents = target is not None and not filter
    return in_contents or (end is None and filters.is_exact(filter))


def _age(name: CheckpointName) -> tuple[str, str, str]:
    return name.checkpoint_id, name.checkpoint_ns, name.thread_id


def _pages(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[first : first + size] for first in range(0, len(items), size))


def _required(what: str, value: str | None) -> str:
    if value is None:
        raise ValueError(f"the {what} is missing: it says which checkpoint this belongs to")
    return value

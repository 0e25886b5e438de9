"""What each operation does, in order, written once for both savers.

A plan is a generator that knows no client and no ``await``: it yields a batch of commands,
is sent their replies, and returns its result. A listing also yields what it has found.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

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
from langgraph.checkpoint.serde.types import TASKS
from redis.exceptions import RedisError, ResponseError

from langgraph_redis_json import channels, configs, documents, indexes, keys, loading
from langgraph_redis_json.commands import Command, Listing, Plan, script, store, text
from langgraph_redis_json.errors import MissingDocumentError
from langgraph_redis_json.finding import Wanted
from langgraph_redis_json.keys import CheckpointName, ThreadKeys
from langgraph_redis_json.loading import DecodedCheckpoint, OtherValuesError, Row, rows
from langgraph_redis_json.memory import NOTHING, Remembered
from langgraph_redis_json.summaries import Summaries
from langgraph_redis_json.threads import WholeThreads
from langgraph_redis_json.weights import LONG, are_long

PAGE = 25
"""Checkpoints that one trip reads: the memory of a listing, whatever its length."""


@dataclass
class Plans(WholeThreads, Summaries):
    """The operations of one saver."""

    def check_server(self) -> Plan[None]:
        return indexes.check_server(
            self.key_prefix, self.clustered, expiring=self.lifetimes.ttl > 0
        )

    def build_indexes(self) -> Plan[float]:
        return indexes.build(self.key_prefix, self.metadata_fields, self.clustered)

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
        metadata = get_serializable_checkpoint_metadata(config, metadata)
        entry = keys.checkpoint_entry(name.checkpoint_ns, name.checkpoint_id)
        thread = self._thread(name.thread_id)
        remembered = self.memory.recall(thread.contents, name.checkpoint_ns)
        known = remembered.channels
        lost: set[str] = set()
        while True:
            if self.on_loop and are_long(
                value
                for channel, value in (checkpoint.get("channel_values") or {}).items()
                if channel in new_versions or channel not in known
            ):
                yield []
            stored = channels.store_channels(
                name, checkpoint, new_versions, self.serde, known, lost
            )
            document, summary, inherited = documents.build_checkpoint(
                name,
                target.checkpoint_id,
                checkpoint,
                metadata,
                new_versions,
                stored.texts,
                self.serde,
            )
            whole = store(
                thread,
                # The checkpoint comes last: whoever sees it finds all that it needs.
                [*stored.documents.items(), (entry, document)],
                remembered=remembered.checkpoint if stored.expected or stored.appended else "",
                expected=stored.expected,
                appended=stored.appended,
                inherited=inherited,
                summary=summary,
                aside=stored.aside,
                ttl=self.lifetimes.ttl,
                keep=self.lifetimes.keep_last,
            )
            try:
                aside = self._send_aside(thread, stored.aside) if stored.aside else ()
                *_, reply = yield [*aside, whole]
            except ResponseError as error:
                if stored.aside:
                    # A full server may have refused the name, and taken the blob a moment later.
                    with suppress(RedisError):  # what went wrong first is to be told
                        yield [script("forget_unnamed", thread, *stored.aside)]
                raise error
            missing, grown, due, worn, too_many = reply
            if not missing and not grown:
                break
            lost.update(map(text, missing))
            known = channels.without(known, lost, set(map(text, grown)))
            if remembered.checkpoint in lost:
                remembered, known = NOTHING, {}
        known = stored.known
        if worn:
            # Lists are written anew whose log is mostly dead: with older checkpoints that goes.
            known = channels.without(known, set(map(text, worn)), ())
        self.memory.learn(thread.contents, name.checkpoint_ns, Remembered(known, entry))
        if due is not None:
            yield from self._live_on(thread, due)
        if too_many:
            yield from self._keep_last(thread, entry, self.lifetimes.keep_last)
        return {
            "configurable": {
                "thread_id": target.given_thread_id,
                "checkpoint_ns": name.checkpoint_ns,
                "checkpoint_id": name.checkpoint_id,
            }
        }

    def _send_aside(self, thread: ThreadKeys, blobs: Mapping[str, bytes]) -> Iterable[Command]:
        """Commands that store large blobs, before the script that refers to them."""
        for blob, document in blobs.items():
            # Named before it is there, it is deleted with the thread if this goes no further.
            yield ("ZADD", thread.contents, 0, blob)
            yield ("JSON.SET", thread.key(blob), "$", document)
        yield script("lend", thread, 2 * self.lifetimes.ttl, *blobs)

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
        if self.on_loop and are_long(value for _, value in writes):
            yield []
        found = documents.build_writes(writes, task_id, task_path, self.serde)
        thread = self._thread(name.thread_id)
        [due] = yield [
            script(
                *("put_writes", thread, self.lifetimes.ttl),
                *(keys.writes_entry(name.checkpoint_ns, name.checkpoint_id), documents.FORMAT),
                *(part for key_and_write in found.items() for part in key_and_write),
            )
        ]
        if due is not None:
            yield from self._live_on(thread, due)

    def get_tuple(self, config: RunnableConfig) -> Plan[CheckpointTuple | None]:
        target = configs.target(config)
        thread = self._thread(target.thread_id)
        checkpoint_ns = target.checkpoint_ns or ""
        remembered = self.memory.recall(thread.contents, checkpoint_ns)
        blobs: Mapping[str, bytes] = {}
        if target.checkpoint_id is None:
            reply, blobs = yield from self._read_newest(thread, checkpoint_ns, remembered)
        else:
            entry = keys.checkpoint_entry(checkpoint_ns, target.checkpoint_id)
            [reply] = yield [self._read_script(thread, remembered, ":", entry)]
        if reply[3] is not None:
            yield from self._live_on(thread, reply[3])
        for row in rows(thread, target.thread_id, reply, blobs, remembered):
            if not row.named:
                return None
            held = remembered.size if row.known else 0
            if self.on_loop and row.size <= LONG < row.size + held:
                yield []
            try:
                decoded = loading.decode_checkpoint(row)
            except OtherValuesError:  # the checkpoint was stored again
                self.memory.learn(thread.contents, checkpoint_ns, NOTHING)
                return (yield from self.get_tuple(config))
            remembered = loading.remembered(row, decoded)
            self.memory.learn(thread.contents, checkpoint_ns, remembered)
            metadata = loading.load_metadata(decoded, self.serde)
            return (yield from self._load(row, decoded, metadata, target.given_thread_id))
        return None

    def _read_script(self, thread: ThreadKeys, remembered: Remembered, *wanted: str) -> Command:
        """Read what is not remembered of the wanted checkpoint."""
        held = remembered.held
        return script(
            "read", thread, self._read_ttl, remembered.checkpoint, len(held), *held, *wanted
        )

    @property
    def _read_ttl(self) -> int:
        return self.lifetimes.ttl if self.lifetimes.refresh_on_read else 0

    def _read_newest(
        self, thread: ThreadKeys, checkpoint_ns: str, remembered: Remembered
    ) -> Plan[tuple[Any, Mapping[str, bytes]]]:
        """What scripts/read.lua says of a namespace's newest checkpoint; and the large blobs that
        it probably has, for so the last one had, read beside it in the same trip."""
        namespace = keys.escape(checkpoint_ns)
        large = [
            known.entry
            for known in remembered.channels.values()
            if known.entry and known.is_large and known.dumped is None
        ]
        if large:
            reply, found = yield [
                self._read_script(thread, remembered, namespace, *large),
                ("JSON.MGET", *map(thread.key, large), "."),
            ]
            if None not in found:
                return reply, dict(zip(large, found, strict=True))
            # Deleted: there is a newer checkpoint.
        [reply] = yield [self._read_script(thread, remembered, namespace)]
        return reply, {}

    def _load(
        self, row: Row, decoded: DecodedCheckpoint, metadata: CheckpointMetadata, thread_id: Any
    ) -> Plan[CheckpointTuple]:
        sends: list[Any] = []
        parent = decoded.parent_checkpoint_id
        if decoded.v < 4 and parent is not None:
            # Before version 4 a checkpoint's tasks were kept among its parent's writes.
            entry = keys.checkpoint_entry(row.name.checkpoint_ns, parent)
            [reply] = yield [script("read", row.thread, 0, "", 0, ":", entry)]
            [parent_row] = rows(row.thread, row.name.thread_id, reply)
            writes = loading.load_writes(parent_row, self.serde, [TASKS])
            sends = [value for _, _, value in writes]
        return loading.load_checkpoint(row, decoded, metadata, sends, self.serde, thread_id)

    def list_checkpoints(
        self,
        config: RunnableConfig | None,
        filter: Mapping[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Listing[CheckpointTuple]:
        # What is wrong with these is said at once, not when the listing is iterated.
        target = configs.target(config) if config else None
        end = configs.checkpoint_id((before or {}).get("configurable", {}).get("checkpoint_id"))
        wanted = Wanted(target, self._filter(filter), end, self.clustered)
        return self._list(wanted, limit)

    def _list(self, wanted: Wanted, limit: int | None) -> Listing[CheckpointTuple]:
        left = limit
        start, end = wanted.positions()
        seen: Collection[bytes] = ()
        # First as many as are wanted; more, only if some of these turn out not to match.
        few = wanted.few(limit)
        while left is None or left > 0:
            most = few or wanted.page
            if few:
                positions = yield from self._newest(wanted, few)
            else:
                positions = yield from self._positions(wanted, start, end, most)
            unseen = [position for position in positions if position not in seen]
            first = 0
            while page := unseen[first : first + (PAGE if left is None else min(PAGE, left))]:
                found = yield from self._read(list(map(keys.checkpoint_at, page)))
                first += len(found)
                for row in found:
                    if not row.named:  # deleted meanwhile
                        continue
                    if self.on_loop and row.size > LONG:
                        yield []
                    given = wanted.target.given_thread_id if wanted.target else row.name.thread_id
                    decoded = loading.decode_checkpoint(row)
                    metadata = loading.load_metadata(decoded, self.serde)
                    if wanted.filter.matches(metadata):
                        yield (yield from self._load(row, decoded, metadata, given))
                        left = None if left is None else left - 1
                if left == 0:
                    return
            if len(positions) < most:
                return
            end, seen = positions[-1], ()
            if few:  # the server may have left out others of the same checkpoint id
                end = keys.positions_of(keys.checkpoint_at(end).checkpoint_id)[1]
                few, seen = None, set(positions)

    def get_delta_channel_history(
        self, config: RunnableConfig, channels: Sequence[str]
    ) -> Plan[Mapping[str, DeltaChannelHistory]]:
        target = configs.target(config)
        checkpoint_ns = target.checkpoint_ns or ""
        thread = self._thread(target.thread_id)
        entry = ""
        if target.checkpoint_id is not None:
            entry = keys.checkpoint_entry(checkpoint_ns, target.checkpoint_id)
        while True:
            found = yield from self._history(
                thread, target.thread_id, checkpoint_ns, entry, channels
            )
            if found is not None:
                return found
            # The ancestors were pruned meanwhile. What is left of the thread has all that it needs.
            if entry:
                [there] = yield [("ZSCORE", thread.contents, entry)]
                if there is None:
                    raise MissingDocumentError(key=thread.key(entry), missing=thread.key(entry))

    def _history(
        self,
        thread: ThreadKeys,
        thread_id: str,
        checkpoint_ns: str,
        entry: str,
        channels: Sequence[str],
    ) -> Plan[Mapping[str, DeltaChannelHistory] | None]:
        """The history of a checkpoint's channels; None if ancestors were deleted meanwhile.

        Args:
            entry: the checkpoint's, "" for the newest one.
        """
        writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        start, size = "after", PAGE
        while len(seeds) < len(writes):
            open_channels = [channel for channel in writes if channel not in seeds]
            [reply] = yield [
                script(
                    *("ancestors", thread, keys.escape(checkpoint_ns), entry, start, size),
                    *open_channels,
                )
            ]
            for row in rows(thread, thread_id, reply):
                decoded = loading.decode_checkpoint(row, channels=open_channels)
                # A checkpoint's own writes come after its value, and lead to its child.
                for write in reversed(loading.load_writes(row, self.serde, open_channels)):
                    writes[write[1]].append(write)
                for channel in [c for c in open_channels if c in decoded.channel_values]:
                    seeds[channel] = self.serde.loads_typed(decoded.channel_values[channel])
                    open_channels.remove(channel)
            if reply[3] is None:
                return None
            entry, start, size = text(reply[3]), "from", size * 2
            if not entry:
                break
        history: dict[str, DeltaChannelHistory] = {}
        for channel in writes:
            history[channel] = {"writes": writes[channel][::-1]}
            if channel in seeds:
                history[channel]["seed"] = seeds[channel]
        return history


def _required(what: str, value: str | None) -> str:
    if value is None:
        raise ValueError(f"the {what} is missing: it says which checkpoint this belongs to")
    return value

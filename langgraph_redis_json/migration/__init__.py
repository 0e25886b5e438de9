"""Copies threads from any saver of LangGraph to one of ours.

    from langgraph_redis_json.migration import migrate

    report = migrate(old_saver, RedisSaver("redis://localhost:6379"), verify=True)

A migration may be stopped at any time, and run again: it copies what the target lacks. So a team
migrates while the old application runs, stops it, migrates again, which takes as long as reading
the names, and starts the new one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from redis.exceptions import RedisError

from langgraph_redis_json.aio import AsyncRedisSaver
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.errors import CheckpointError
from langgraph_redis_json.migration.comparing import (
    Losses,
    differences,
    plain_checkpoint,
)
from langgraph_redis_json.migration.names import Name, Names
from langgraph_redis_json.migration.sources import (
    OwnSource,
    Read,
    Source,
    config_of,
    run_now,
    source_of,
)
from langgraph_redis_json.operations import get_tuple, ping, put, put_writes, table_of_contents
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.saver import RedisSaver
from langgraph_redis_json.search.queries import SETUP_THREAD
from langgraph_redis_json.storage import json_codec, keys

__all__ = ["Difference", "Progress", "Report", "SameSaverError", "amigrate", "migrate"]

T = TypeVar("T")

MOST_TOLD = 100
"""Differences and unreadable checkpoints that a report describes. It counts all."""

UNREADABLE = (*json_codec.UNREADABLE, CheckpointError)
"""What savers raise for a checkpoint that was altered, or whose types they do not know. Their
servers' errors are not among these: they end the migration."""

PARENTS = 32
"""Checkpoints of a thread whose channel versions are remembered."""


class SameSaverError(ValueError):
    """The source and the target are one server with one key_prefix: give one of them another."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@dataclass(frozen=True)
class Progress:
    """How far a migration is. Each number is of this run.

    Attributes:
        threads: threads that are done.
        all_threads: threads of the source.
        checkpoints: checkpoints that are done: copied, or there already.
        all_checkpoints: checkpoints of the source; 0 while their names are read.
        bytes: bytes that were sent to the target.
        seconds: how long it has taken.
        seconds_left: how long it will take at this pace; None at the beginning.
    """

    threads: int
    all_threads: int
    checkpoints: int
    all_checkpoints: int
    bytes: int
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True)
class Difference:
    """A checkpoint that could not be read, or that the target has otherwise than the source.

    Attributes:
        thread_id, checkpoint_ns, checkpoint_id: the checkpoint.
        what: the error, or the parts that differ.
    """

    thread_id: Any
    checkpoint_ns: str
    checkpoint_id: str
    what: str


@dataclass
class Report:
    """What a migration has done.

    Attributes:
        threads: threads of the source.
        checkpoints: checkpoints of the source.
        copied: checkpoints that were copied in this run.
        updated: checkpoints that were there already and got further pending writes.
        bytes: bytes that were sent to the target.
        seconds: how long it took.
        continued: threads that were left alone, because the target has gone on with them: it has
            checkpoints that the source never had.
        missing: ids that were asked for, and of which the source has no checkpoint.
        unreadable: number of checkpoints that the source itself could not read, so that they are
            not in the target.
        gone: number of checkpoints that the source deleted, or a shallow saver replaced by a newer
            one, after it had told their names. The next run copies what took their place.
        verified: number of checkpoints that were compared; 0 without ``verify``.
        different: number of those that differ.
        told: the first of the unreadable and different ones.
        messages_as_dicts, doubtful_floats: what ``langgraph-checkpoint-redis`` has changed itself:
            dicts that were messages, and floats whose last digit may be another. They are copied as
            they are.
        hidden_writes: pending writes that the source's own ``get_tuple`` leaves out. They are
            copied.
    """

    threads: int = 0
    checkpoints: int = 0
    copied: int = 0
    updated: int = 0
    bytes: int = 0
    seconds: float = 0.0
    continued: list[Any] = field(default_factory=list)
    missing: list[Any] = field(default_factory=list)
    unreadable: int = 0
    gone: int = 0
    verified: int = 0
    different: int = 0
    told: list[Difference] = field(default_factory=list)
    messages_as_dicts: int = 0
    doubtful_floats: int = 0
    hidden_writes: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether the target has everything that the source has, as far as was looked."""
        return not (
            self.unreadable or self.gone or self.different or self.continued or self.missing
        )


def migrate(
    source: BaseCheckpointSaver[Any],
    target: RedisSaver | AsyncRedisSaver,
    thread_ids: Sequence[Any] | None = None,
    *,
    verify: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
) -> Report:
    """Copy threads from a saver to one of ours.

    All checkpoints of all namespaces are copied, oldest first, with their ids, parents, channel
    versions, metadata and pending writes. A checkpoint that the target has is not copied again;
    where the old application may have gone on since, its pending writes are compared and completed.
    The ``keep_last`` of the target deletes nothing meanwhile, its ``ttl`` begins.

    Args:
        source: a synchronous saver of LangGraph, whose ``setup`` was called.
        target: a saver whose `setup` was called.
        thread_ids: only these threads. None: all.
        verify: read both savers again after each thread, and compare by the serializer's bytes.
        on_progress: called after each checkpoint, and while the names are read.

    Returns:
        The `Report`.

    Raises:
        TypeError: for an asynchronous source, which `amigrate` copies, and for anything but savers.
        SameSaverError: if source and target are the same, by whatever URLs.
        IndexMissingError: if the target's `setup` was not called.
        Exception: of Redis and of the source's server; run the migration again after one.
    """
    _check_target(target)
    if isinstance(target, RedisSaver):
        run: Any = target._runner.run

        async def run_plan(plan: Plan[T]) -> T:
            result: T = run(plan)
            return result
    else:
        runner = target._runner

        async def run_plan(plan: Plan[T]) -> T:
            return runner.wait(lambda: runner.run(plan))

    work = _Migration(target, run_plan, verify, on_progress)
    return run_now(work.run(source, thread_ids, on_loop=False))


async def amigrate(
    source: BaseCheckpointSaver[Any],
    target: RedisSaver | AsyncRedisSaver,
    thread_ids: Sequence[Any] | None = None,
    *,
    verify: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
) -> Report:
    """`migrate` on an event loop, from any saver. Synchronous savers are called in threads."""
    _check_target(target)
    if isinstance(target, RedisSaver):
        run: Any = target._runner.run

        async def run_plan(plan: Plan[T]) -> T:
            result: T = await asyncio.to_thread(run, plan)
            return result
    else:
        run_plan = target._runner.run
    work = _Migration(target, run_plan, verify, on_progress)
    return await work.run(source, thread_ids, on_loop=True)


def _check_target(target: Any) -> None:
    if not isinstance(target, (RedisSaver, AsyncRedisSaver)):
        raise TypeError(
            f"the target must be a RedisSaver or AsyncRedisSaver, not {type(target).__name__}"
        )


class _Migration:
    def __init__(
        self,
        target: RedisSaver | AsyncRedisSaver,
        run_plan: Callable[[Plan[Any]], Any],
        verify: bool,
        on_progress: Callable[[Progress], object] | None,
    ) -> None:
        self._run_plan = run_plan
        # What the new application does not keep, it deletes itself.
        self._context: Context = target._context._replace(keep_last=0)
        self._verify = verify
        self._on_progress = on_progress
        self._report = Report()
        self._losses = Losses()
        self._began = monotonic()
        self._threads = self._checkpoints = 0
        # When it began, and the checkpoints that were done then. What the last run has copied is
        # passed over so fast that it says nothing of the time that is left.
        self._first_copy: tuple[float, int] | None = None
        # An EncryptedSerializer gives other bytes each time.
        self._serde = getattr(target.serde, "serde", target.serde)

    async def run(
        self, saver: BaseCheckpointSaver[Any], thread_ids: Sequence[Any] | None, on_loop: bool
    ) -> Report:
        await self._run_plan(ping.ping(self._context))
        source = await source_of(saver, on_loop=on_loop)
        prefix = self._context.key_prefix
        if isinstance(source, OwnSource) and source.saver.key_prefix == prefix:
            asked = scripts.server_info(keys.thread_keys(prefix, SETUP_THREAD), ["server"])
            theirs = await source.run(scripts.send(asked))
            ours = await self._run_plan(scripts.send(asked))
            if _run_id(theirs) == _run_id(ours) != "":
                raise SameSaverError
        names = Names()
        try:
            self._tell()
            await source.tell(names, thread_ids)
            self._report.threads, self._report.checkpoints = names.count()
            there = {*map(str, names.threads())}
            self._report.missing = [one for one in thread_ids or () if str(one) not in there]
            for thread_id in names.threads():
                await self._thread(source, names, thread_id)
                self._threads += 1
                self._tell()
        finally:
            names.close()
        self._report.messages_as_dicts = self._losses.messages_as_dicts
        self._report.doubtful_floats = self._losses.doubtful_floats
        self._report.seconds = monotonic() - self._began
        return self._report

    def _tell(self) -> None:
        if self._on_progress is None:
            return
        seconds = monotonic() - self._began
        left = None
        began, before = self._first_copy or (0.0, 0)
        if self._checkpoints > before:
            pace = (seconds - began) / (self._checkpoints - before)
            left = pace * (self._report.checkpoints - self._checkpoints)
        self._on_progress(
            Progress(
                self._threads,
                self._report.threads,
                self._checkpoints,
                self._report.checkpoints,
                self._report.bytes,
                seconds,
                left,
            )
        )

    async def _thread(self, source: Source, names: Names, thread_id: Any) -> None:
        thread = keys.thread_keys(self._context.key_prefix, str(thread_id))
        [entries] = await self._run_plan(table_of_contents.entries(thread, "c:"))
        there = {*entries}
        failed: set[str] = set()  # what was reported already
        new_parents: set[str] = set()  # checkpoints that the source has gone on from
        parents_there: set[str] = set()  # checkpoints that the target has gone on from
        unknown = {*there}
        newest = ""  # of the checkpoints that both have
        shared: set[str] = set()  # their namespaces
        for name in names.checkpoints(thread_id):
            entry, parent = _entries(name)
            unknown.discard(entry)
            if entry in there:
                newest = name.checkpoint_id
                shared.add(name.checkpoint_ns)
            (parents_there if entry in there else new_parents).add(parent)
        if await self._went_on(thread, str(thread_id), unknown, newest, shared):
            # Pending writes and checkpoints of the source could undo what the target has done.
            self._report.continued.append(thread_id)
            self._checkpoints += sum(1 for _ in names.checkpoints(thread_id))
            return
        versions: OrderedDict[str, Any] = OrderedDict()
        for name in names.checkpoints(thread_id):
            entry, _ = _entries(name)
            if entry not in there:
                self._first_copy = self._first_copy or (
                    monotonic() - self._began,
                    self._checkpoints,
                )
                await self._copy(source, names, name, versions, failed)
            elif entry in new_parents or entry not in parents_there:
                # The old application may have written here since the last migration.
                await self._update(source, names, name, failed)
            self._checkpoints += 1
            self._tell()
        if self._verify:
            for name in names.checkpoints(thread_id):
                await self._compare(source, names, name, failed)

    async def _went_on(
        self,
        thread: keys.ThreadKeys,
        thread_id: str,
        unknown: set[str],
        newest: str,
        shared: set[str],
    ) -> bool:
        """Whether the target itself has stored checkpoints that the source does not have.

        The source may have had them and lost them since. Then they are older than one that was
        copied later. Or they are of a shallow saver, which replaces a namespace's only checkpoint,
        and stores no parents.
        """
        later = []
        for entry in unknown:
            _, checkpoint_ns, checkpoint_id = keys.identity_of_entry(thread_id, entry)
            if checkpoint_id > newest:
                if checkpoint_ns in shared:
                    return True
                later.append(entry)
        for page in table_of_contents.pages(later, table_of_contents.PAGE):
            found = await self._run_plan(
                table_of_contents.read_paths(thread, page, ["$.parent_checkpoint_id"])
            )
            if any(parent for [parent] in found.values()):
                return True
        return False

    async def _copy(
        self,
        source: Source,
        names: Names,
        name: Name,
        versions: OrderedDict[str, Any],
        failed: set[str],
    ) -> None:
        read = await self._read(source, names, name, failed)
        if read is None:
            return
        found = read.found
        await self._put_writes(name, read)
        values = found.checkpoint["channel_values"]
        entry, parent = _entries(name)
        before = versions.get(parent, {})
        # The target takes a channel that is not among these from the parent.
        new_versions = {
            channel: version
            for channel, version in found.checkpoint["channel_versions"].items()
            if channel not in values or before.get(channel) != version
        }
        if source.loses_types:
            for channel in values.keys() & new_versions.keys():
                self._losses.look_at(values[channel])
            for _, _, value in found.pending_writes or []:
                self._losses.look_at(value)
        config: RunnableConfig = {
            "configurable": {
                "thread_id": name.thread_id,
                "checkpoint_ns": name.checkpoint_ns,
                "checkpoint_id": _parent_id(found),
            }
        }
        await self._send(
            put.put(self._context, config, found.checkpoint, found.metadata, new_versions)
        )
        versions[entry] = found.checkpoint["channel_versions"]
        if len(versions) > PARENTS:
            versions.popitem(last=False)
        self._report.copied += 1
        self._report.hidden_writes += read.hidden_writes

    async def _put_writes(self, name: Name, read: Read) -> None:
        """Copy the pending writes. They come before their checkpoint: so a checkpoint that exists
        after a kill has all of them."""
        of_task: dict[str, list[tuple[str, Any]]] = {}
        for task_id, channel, value in read.found.pending_writes or []:
            of_task.setdefault(task_id, []).append((channel, value))
        for number, (task_id, writes) in enumerate(of_task.items()):
            # Where the source does not tell the path, this one keeps the order.
            path = f"{number:08}" if read.task_paths is None else read.task_paths.get(task_id, "")
            plan = put_writes.put_writes(self._context, config_of(name), writes, task_id, path)
            await self._send(plan)

    async def _update(self, source: Source, names: Names, name: Name, failed: set[str]) -> None:
        read = await self._read(source, names, name, failed)
        target = await self._get(name)
        if read is None or target is None:
            return
        parts = differences(read.found, target, self._serde)
        if "pending writes" in parts:
            await self._put_writes(name, read)
            self._report.updated += 1

    async def _compare(self, source: Source, names: Names, name: Name, failed: set[str]) -> None:
        read = await self._read(source, names, name, failed)
        if read is None:
            return
        target = await self._get(name)
        self._report.verified += 1
        parts = ["missing"]
        if target is not None:
            parts = differences(read.found, target, self._serde)
        if parts:
            self._report.different += 1
            self._describe(name, ", ".join(parts))

    async def _read(
        self, source: Source, names: Names, name: Name, failed: set[str]
    ) -> Read | None:
        """A checkpoint of the source; None if it is gone, or cannot be read, which is reported
        once."""
        entry, _ = _entries(name)
        try:
            read = await source.read(name, names)
        except UNREADABLE as error:
            if entry not in failed:
                self._report.unreadable += 1
                self._describe(name, f"{type(error).__name__}: {error}")
            failed.add(entry)
            return None
        # A shallow saver gives the newest checkpoint, whichever was asked for.
        if read is None or read.found.checkpoint["id"] != name.checkpoint_id:
            self._report.gone += entry not in failed
            failed.add(entry)
            return None
        return read._replace(found=plain_checkpoint(read.found))

    async def _get(self, name: Name) -> CheckpointTuple | None:
        found: CheckpointTuple | None = await self._run_plan(
            get_tuple.get_tuple(self._context, config_of(name))
        )
        return found

    def _describe(self, name: Name, what: str) -> None:
        if len(self._report.told) < MOST_TOLD:
            self._report.told.append(Difference(*name[:3], what))

    async def _send(self, plan: Plan[Any]) -> None:
        await self._run_plan(self._counted(plan))

    def _counted(self, plan: Plan[T]) -> Plan[T]:
        """The same plan, whose bytes are counted."""
        try:
            commands = next(plan)
            while True:
                self._report.bytes += sum(
                    len(argument)
                    for command in commands
                    for argument in command
                    if not isinstance(argument, int)
                )
                try:
                    replies = yield commands
                except RedisError as error:
                    commands = plan.throw(error)
                else:
                    commands = plan.send(replies)
        except StopIteration as done:
            result: T = done.value
            return result


def _run_id(info: scripts.ServerInfoReply) -> str:
    """What a server calls itself since its start; "" if it may not be asked. On a cluster this is
    the node of one thread, which is the same on both sides."""
    for line in info.sections[0].splitlines():
        name, _, value = line.partition(":")
        if name == "run_id":
            return value
    return ""


def _entries(name: Name) -> tuple[str, str]:
    """How the target calls a checkpoint and its parent; "" for no parent."""
    parent = name.parent_checkpoint_id
    return (
        keys.checkpoint_entry(name.checkpoint_ns, name.checkpoint_id),
        keys.checkpoint_entry(name.checkpoint_ns, parent) if parent else "",
    )


def _parent_id(found: CheckpointTuple) -> str | None:
    if found.parent_config is None:
        return None
    parent: str | None = found.parent_config["configurable"].get("checkpoint_id")
    return parent

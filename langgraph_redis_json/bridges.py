"""Each saver also serves calls of the other kind, so that nobody meets NotImplementedError."""

import asyncio
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import wait
from os import getpid
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from langgraph_redis_json.base import BaseRedisSaver
from langgraph_redis_json.commands import Finished, Replies
from langgraph_redis_json.summaries import ThreadSummary
from langgraph_redis_json.weights import is_large

T = TypeVar("T")


_inherited: list[Any] = []
"""Connections of a parent process. If they were finalized here, they would leave what the parent's
event loop waits for, too, for the kernel has that but once; and the parent would wait for ever."""


async def _in_threads(found: Iterator[T]) -> AsyncIterator[T]:
    while (item := await asyncio.to_thread(next, found, None)) is not None:
        yield item


class AsyncInThreads(BaseRedisSaver):
    """The ``a*`` methods of a saver, by its others in threads."""

    def _begin(self) -> None:
        """Nothing to do before an operation."""

    def _go_on(self, plan: Generator[T, Replies, Any], replies: Replies) -> T:
        return plan.send(replies)

    def setup(self, *, progress: bool = False) -> None:
        raise NotImplementedError

    def threads(
        self,
        filter: dict[str, Any] | None = None,
        *,
        status: str | None = None,
        limit: int | None = None,
    ) -> Iterator[ThreadSummary]:
        raise NotImplementedError

    async def asetup(self, *, progress: bool = False) -> None:
        """Awaits `setup`."""
        await asyncio.to_thread(self.setup, progress=progress)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        return _in_threads(self.list(config, filter=filter, before=before, limit=limit))

    def athreads(
        self,
        filter: dict[str, Any] | None = None,
        *,
        status: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[ThreadSummary]:
        """`threads`, for ``async for``."""
        return _in_threads(self.threads(filter, status=status, limit=limit))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await asyncio.to_thread(self.prune, thread_ids, strategy=strategy)

    def pin(self, thread_id: str) -> None:
        raise NotImplementedError

    async def apin(self, thread_id: str) -> None:
        """Awaits `pin`."""
        await asyncio.to_thread(self.pin, thread_id)

    def expire(self, thread_id: str, minutes: float) -> None:
        raise NotImplementedError

    async def aexpire(self, thread_id: str, minutes: float) -> None:
        """Awaits `expire`."""
        await asyncio.to_thread(self.expire, thread_id, minutes)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await asyncio.to_thread(
            self.get_delta_channel_history, config=config, channels=channels
        )


class SyncOnLoop(BaseRedisSaver):
    """The other methods of a saver that is awaited, by its ``a*`` methods on its event loop.

    They are for other threads than the loop's. Where no loop runs, a call runs one of its own.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    """Where the saver was last awaited."""

    _on_loop = True

    _is_alone = False
    """Whether a call runs on an event loop of its own."""

    _process = 0
    """The process in which it was."""

    _redis: Redis | RedisCluster

    def _begin(self) -> None:
        """See that the connections are those of this event loop and process."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self._process != getpid():
            self._leave_loop()
            self._loop, self._process = loop, getpid()

    async def _go_on(self, plan: Generator[T, Replies, Any], replies: Replies) -> T:
        """The next step of a plan; one that takes long in a thread, while the loop goes on."""

        def step() -> T:
            try:
                return plan.send(replies)
            except StopIteration as done:
                raise Finished(done.value) from None

        if not replies or is_large(replies):
            return await asyncio.to_thread(step)
        return step()

    def _leave_loop(self) -> None:
        """Drop connections that can not even be closed any more: those of a loop that is closed,
        and those that a parent process goes on using."""
        if self._loop is None or not (self._loop.is_closed() or self._process != getpid()):
            return
        if isinstance(self._redis, Redis):
            pool: Any = self._redis.connection_pool
            if self._process != getpid():
                _inherited.append(vars(pool).copy())
            pool.reset()

    def athreads(
        self,
        filter: dict[str, Any] | None = None,
        *,
        status: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[ThreadSummary]:
        raise NotImplementedError

    def _has_loop(self) -> bool:
        """Whether the saver is awaited on an event loop, one that goes on after the call."""
        if self._is_alone or self._loop is None or self._process != getpid():
            return False
        return self._loop.is_running()

    def _wait(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError(
                "this call would block the event loop that it runs on: await the method of "
                "the same name with an a in front (aget_tuple, aput, alist …), or use RedisSaver"
            )
        loop = self._loop
        if loop is not None and self._has_loop():
            future = asyncio.run_coroutine_threadsafe(call(), loop)
            while not wait([future], timeout=1).done:
                if loop.is_closed():
                    raise RuntimeError(
                        "the event loop on which this saver is awaited ended before this call did; "
                        "whether it was carried out is not known"
                    )
            return future.result()

        async def alone() -> T:
            self._is_alone = True
            try:
                return await call()
            finally:
                # Connections do not outlive the event loop that they were made on.
                self._loop, self._is_alone = None, False
                if isinstance(self._redis, Redis):
                    await self._redis.connection_pool.disconnect()
                else:
                    await self._redis.aclose()

        with self._turns:  # another thread's call must not rely on this one's event loop
            return asyncio.run(alone())

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._wait(lambda: self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        return self._following(self.alist(config, filter=filter, before=before, limit=limit))

    def threads(
        self,
        filter: dict[str, Any] | None = None,
        *,
        status: str | None = None,
        limit: int | None = None,
    ) -> Iterator[ThreadSummary]:
        """`athreads`, for other threads than the event loop's."""
        return self._following(self.athreads(filter, status=status, limit=limit))

    def _following(self, found: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> T | None:
            return await anext(found, None)

        async def everything() -> Sequence[T]:
            return [item async for item in found]

        if self._has_loop():
            while (item := self._wait(following)) is not None:
                yield item
        else:  # a loop of one's own would end the listing with each call
            yield from self._wait(everything)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self._wait(lambda: self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self._wait(lambda: self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        self._wait(lambda: self.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._wait(lambda: self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._wait(lambda: self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._wait(lambda: self.aprune(thread_ids, strategy=strategy))

    async def apin(self, thread_id: str) -> None:
        raise NotImplementedError

    def pin(self, thread_id: str) -> None:
        """Waits for `apin`."""
        self._wait(lambda: self.apin(thread_id))

    async def aexpire(self, thread_id: str, minutes: float) -> None:
        raise NotImplementedError

    def expire(self, thread_id: str, minutes: float) -> None:
        """Waits for `aexpire`."""
        self._wait(lambda: self.aexpire(thread_id, minutes))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return self._wait(lambda: self.aget_delta_channel_history(config=config, channels=channels))

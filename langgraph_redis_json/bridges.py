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
from copy import copy
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
from typing_extensions import Self

from langgraph_redis_json.base import BaseRedisSaver
from langgraph_redis_json.commands import Finished, Replies
from langgraph_redis_json.loops import Home, disconnect, with_own_connections
from langgraph_redis_json.summaries import ThreadSummary
from langgraph_redis_json.weights import is_large

T = TypeVar("T")


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

    _on_loop = True

    _redis: Redis | RedisCluster

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._home = Home()

    def _begin(self) -> None:
        self._home.settle(self._redis)

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

    def athreads(
        self,
        filter: dict[str, Any] | None = None,
        *,
        status: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[ThreadSummary]:
        raise NotImplementedError

    def _wait(self, call: Callable[[Self], Coroutine[Any, Any, T]]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError(
                "this call would block the event loop that it runs on: await the method of "
                "the same name with an a in front (aget_tuple, aput, alist …), or use RedisSaver"
            )
        loop = self._home.loop
        if loop is not None and self._home.is_awake():
            future = asyncio.run_coroutine_threadsafe(call(self), loop)
            while not wait([future], timeout=1).done:
                if loop.is_closed():
                    raise RuntimeError(
                        "the event loop on which this saver is awaited ended before this call did; "
                        "whether it was carried out is not known"
                    )
            return future.result()
        if isinstance(self._redis, Redis):
            return asyncio.run(self._alone(call))
        with self._turns:  # a cluster's client is one for all
            return asyncio.run(self._alone(call))

    async def _alone(self, call: Callable[[Self], Coroutine[Any, Any, T]]) -> T:
        """A call on an event loop of its own, which connections do not outlive: by a clone with
        connections of its own, for another thread may begin to await this saver meanwhile."""
        clone = copy(self)
        clone._home = Home()
        if isinstance(self._redis, Redis):
            clone._redis = with_own_connections(self._redis)
        try:
            return await call(clone)
        finally:
            await disconnect(clone._redis)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._wait(lambda saver: saver.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        def found(saver: Self) -> AsyncIterator[CheckpointTuple]:
            return saver.alist(config, filter=filter, before=before, limit=limit)

        return self._following(found(self), found)

    def threads(
        self,
        filter: dict[str, Any] | None = None,
        *,
        status: str | None = None,
        limit: int | None = None,
    ) -> Iterator[ThreadSummary]:
        """`athreads`, for other threads than the event loop's."""

        def found(saver: Self) -> AsyncIterator[ThreadSummary]:
            return saver.athreads(filter, status=status, limit=limit)

        return self._following(found(self), found)

    def _following(
        self, found: AsyncIterator[T], again: Callable[[Self], AsyncIterator[T]]
    ) -> Iterator[T]:
        async def following(_: Self) -> T | None:
            return await anext(found, None)

        async def everything(saver: Self) -> Sequence[T]:
            return [item async for item in again(saver)]

        if self._home.is_awake():
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
        return self._wait(lambda saver: saver.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self._wait(lambda saver: saver.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        self._wait(lambda saver: saver.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._wait(lambda saver: saver.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._wait(lambda saver: saver.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._wait(lambda saver: saver.aprune(thread_ids, strategy=strategy))

    async def apin(self, thread_id: str) -> None:
        raise NotImplementedError

    def pin(self, thread_id: str) -> None:
        """Waits for `apin`."""
        self._wait(lambda saver: saver.apin(thread_id))

    async def aexpire(self, thread_id: str, minutes: float) -> None:
        raise NotImplementedError

    def expire(self, thread_id: str, minutes: float) -> None:
        """Waits for `aexpire`."""
        self._wait(lambda saver: saver.aexpire(thread_id, minutes))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return self._wait(
            lambda saver: saver.aget_delta_channel_history(config=config, channels=channels)
        )

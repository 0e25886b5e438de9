"""AsyncRedisSaver: the checkpointer for graphs that are awaited."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ClusterError, NoScriptError, RedisError, TryAgainError
from typing_extensions import Self

from langgraph_redis_json.base import CONNECTIONS, MetadataFields, with_plain_replies
from langgraph_redis_json.bridges import SyncOnLoop
from langgraph_redis_json.commands import (
    MOVING,
    Command,
    Finished,
    Listing,
    Plan,
    Replies,
    in_cluster,
    is_moving,
    with_source,
)
from langgraph_redis_json.progress import progress_bar
from langgraph_redis_json.summaries import ThreadSummary

if TYPE_CHECKING:
    from redisvl.index import AsyncSearchIndex

T = TypeVar("T")


class AsyncRedisSaver(SyncOnLoop):
    """Keeps LangGraph checkpoints in Redis, as RedisJSON documents.

    Call `setup` once for a server, then compile graphs with it. It may be shared by tasks.
    Its other methods (``get_tuple``, ``put`` …) serve calls from other threads than the event
    loop's, for a graph that is now and then invoked; where all are, take `RedisSaver`.

    Args:
        redis: a URL, a client (of a single server, Sentinel-made or of a cluster) or a
            connection pool. Only what a URL opened is closed by `aclose`.
        key_prefix: stands in front of every key and index name, so that applications can
            share a server.
        serde: the serializer; LangGraph's JsonPlusSerializer if None.
        metadata_fields: metadata keys that the search indexes shall have as fields, each with
            ``"tag"`` (text as a whole, True or False), ``"numeric"`` or ``"text"`` (words); or the
            path of a redisvl schema that has such fields. `list` and `threads` then find ranges of
            numbers by the index. `setup` adds the fields.
        ttl: ``{"default_ttl": minutes, "refresh_on_read": bool}``: a thread vanishes, whole, when
            it was not used for so long (or up to a quarter longer). ``put`` and ``put_writes``
            use it; ``get_tuple`` does if ``refresh_on_read``, which is False if absent. None:
            threads do not vanish, but for those that another saver or `expire` lets expire.
        keep_last: how many checkpoints of each namespace of a thread are kept: each ``put``
            deletes older ones, but for those that a ``DeltaChannel`` of a kept one is rebuilt
            from. None: all.

    Raises:
        ValueError, TypeError: for a field's name, its type or a schema that does not do; for a
            ``ttl`` or ``keep_last`` that says nothing, or not enough.
        FileNotFoundError: if there is no such schema.

    Example:
        ```python
        async with AsyncRedisSaver.from_conn_string("redis://localhost:6379") as saver:
            await saver.setup()
            graph = builder.compile(checkpointer=saver)
        ```
    """

    def __init__(
        self,
        redis: str | Redis | RedisCluster | ConnectionPool,
        *,
        key_prefix: str = "",
        serde: SerializerProtocol | None = None,
        metadata_fields: MetadataFields | None = None,
        ttl: Mapping[str, Any] | None = None,
        keep_last: int | None = None,
    ) -> None:
        super().__init__(
            key_prefix=key_prefix,
            serde=serde,
            metadata_fields=metadata_fields,
            ttl=ttl,
            keep_last=keep_last,
        )
        self._owns_redis = isinstance(redis, str)
        self._client: Redis | RedisCluster
        if isinstance(redis, str):
            self._client = Redis.from_url(redis, max_connections=CONNECTIONS)
        elif isinstance(redis, ConnectionPool):
            self._client = Redis(connection_pool=redis)
        elif isinstance(redis, (Redis, RedisCluster)):
            self._client = redis
        else:
            raise TypeError(
                "AsyncRedisSaver takes a URL, or a client or connection pool of redis.asyncio, "
                f"not {type(redis).__module__}.{type(redis).__name__}"
            )
        self._redis = self._client
        if isinstance(self._client, Redis):
            self._redis = with_plain_replies(self._client)
        self._clustered = isinstance(self._redis, RedisCluster)

    @classmethod
    def from_conn_string(
        cls,
        url: str | None = None,
        *,
        redis_client: Redis | RedisCluster | None = None,
        key_prefix: str = "",
        serde: SerializerProtocol | None = None,
        metadata_fields: MetadataFields | None = None,
        ttl: Mapping[str, Any] | None = None,
        keep_last: int | None = None,
    ) -> Self:
        """A saver on a server's URL, or on a client of yours; use it in an ``async with`` block.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py reads them.
            redis_client: instead of a URL; it stays open after the block.
            key_prefix, serde, metadata_fields, ttl, keep_last: as for the class.

        Raises:
            ValueError: unless there is either a URL or a client.
        """
        if (url is None) == (redis_client is None):
            raise ValueError("pass either a URL or redis_client=")
        return cls(
            url or redis_client,  # type: ignore[arg-type]
            key_prefix=key_prefix,
            serde=serde,
            metadata_fields=metadata_fields,
            ttl=ttl,
            keep_last=keep_last,
        )

    @classmethod
    def from_conn_info(
        cls,
        *,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        key_prefix: str = "",
        serde: SerializerProtocol | None = None,
        metadata_fields: MetadataFields | None = None,
        ttl: Mapping[str, Any] | None = None,
        keep_last: int | None = None,
        **connection: Any,
    ) -> Self:
        """A saver on a server's address; use it in an ``async with`` block.

        Args:
            host, port: the server's address.
            db: the database; Redis indexes only 0, and `setup` refuses others.
            key_prefix, serde, metadata_fields, ttl, keep_last: as for the class.
            connection: further arguments of redis-py's client: username, password, ssl …
        """
        saver = cls(
            Redis(host=host, port=port, db=db, **{"max_connections": CONNECTIONS, **connection}),
            key_prefix=key_prefix,
            serde=serde,
            metadata_fields=metadata_fields,
            ttl=ttl,
            keep_last=keep_last,
        )
        saver._owns_redis = True
        return saver

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that the saver opened itself."""
        if self._owns_redis:
            self._begin()
            await self._client.aclose()

    async def setup(self, *, progress: bool = False) -> None:
        """Check the server, and make the search indexes or bring them up to date; do so once before
        use, and after each upgrade.

        Doing it again, from several processes at once too, changes nothing. Where an index is not
        as its schema, another one is made beside it and takes its place when it is complete.
        Documents are not touched, others may go on writing, and searches are answered by the old
        index until then. Where documents are there already this returns when they are indexed.

        Args:
            progress: whether to show a bar while documents are indexed. It needs rich, which the
                extra ``progress`` brings.

        Raises:
            UnsuitableServerError: if the server lacks Search or JSON, if the client is on
                another database than 0, if its user may not run what the saver needs, or if an
                index was made by a newer version.
            UnindexedDocumentsError: if the server cannot index some documents.
            ImportError: if there shall be a bar and rich is not installed.
        """
        with progress_bar(progress, "Indexing checkpoints") as show:
            await self._run(self._plans.check_server())
            while (share := await self._run(self._plans.build_indexes())) < 1:
                show(share)
                await sleep(0.02)

    asetup = setup

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that a config names, with its pending writes. One round trip.

        Args:
            config: ``configurable`` has ``thread_id``; ``checkpoint_ns`` ("" if absent, the
                root graph); ``checkpoint_id`` (the newest if absent).

        Returns:
            None if there is none. Pending writes are in the order of ``writes_sort_key``.

        Raises:
            ValueError, TypeError: for a config without a thread, or with ids of wrong types.
            MissingDocumentError, DamagedDocumentError: if a document was lost or altered.
        """
        return await self._run(self._plans.get_tuple(config))

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, newest first, read in pages while they are iterated.

        Args:
            config: the thread; and the namespace, where ``checkpoint_ns`` is present ("" is
                the root graph alone); and the ``checkpoint_id``. None for all threads.
            filter: metadata keys and the JSON values they must have, or dicts of operators,
                ``{"step": {"$gte": 3, "$lt": 9}}``: ``$eq``, ``$ne``, ``$in`` with a list, and
                ``$gt``, ``$gte``, ``$lt``, ``$lte`` with a number or a text. A key that is not
                there counts as None.
            before: only checkpoints whose id sorts before this config's ``checkpoint_id``.
            limit: at most so many; 0 is none, None all.

        Raises:
            ValueError, TypeError: at once, for a filter or a config that does not do.
            IndexMissingError: if a filter, or None for all threads, needs the index that
                `setup` makes; MetadataFieldMissingError, if that lacks a field;
                IndexIncompleteError, while the server fills it, after a restart say.
            MissingDocumentError, DamagedDocumentError: as `get_tuple`.
        """
        return self._iterate(self._plans.list_checkpoints(config, filter, before, limit))

    def athreads(
        self,
        filter: dict[str, Any] | None = None,
        *,
        status: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[ThreadSummary]:
        """Threads at a glance, the one that changed last first: "this user's conversations", "what
        waits for a person". A limit of up to 1,000 costs one round trip.

        Args:
            filter: as for `list`, on the metadata of each thread's latest checkpoint.
            status: only those that are ``"interrupted"`` (wait for a person), ``"error"`` (a task
                failed) or ``"idle"``.
            limit: at most so many; 0 is none, None all.

        Returns:
            One `ThreadSummary` for each thread that has a checkpoint of its root graph. Without a
            limit these are all that were there when the iteration began, and not deleted since.

        Raises:
            ValueError, TypeError: at once, for a filter or a status that does not do.
            IndexMissingError, MetadataFieldMissingError, IndexIncompleteError: as `list`.
            DamagedDocumentError: if a thread's document was altered.
        """
        return self._iterate(self._plans.list_threads(filter, status, limit))

    @property
    def checkpoints_index(self) -> AsyncSearchIndex:
        """redisvl's index over the checkpoints, on this saver's client, for queries of your own.

        What they find has the fields of ``schemas/checkpoints.yaml`` and your metadata_fields.

        Raises:
            ValueError: for a client with ``protocol=3``, whose replies redisvl does not read.
        """
        # Few need it, and it takes long to import.
        from redisvl.index import AsyncSearchIndex

        schema = self._checkpoints_schema(self._client)
        return AsyncSearchIndex(schema, redis_client=self._client)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, whole or not at all. One round trip.

        Args:
            config: the thread and namespace; its ``checkpoint_id`` is the parent's.
            checkpoint: the state. All its channel values are stored that are not yet.
            metadata: source, step, and whatever else `list` shall filter by.
            new_versions: the versions of the channels that changed.

        Returns:
            The config that names the stored checkpoint.

        Raises:
            ValueError, TypeError: for a config without a thread, or with ids of wrong types.
            Exception: the serializer's own for a value that it does not take, and Redis's.
        """
        return await self._run(self._plans.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store a task's writes beside a checkpoint, which may come later. One round trip.

        An ordinary write that is there already stays as it is; one to a special channel
        (error, interrupt, resume, scheduled) is replaced.

        Args:
            config: the checkpoint.
            writes: pairs of channel and value.
            task_id: the task that wrote.
            task_path: its path, by which pending writes are sorted.

        Raises:
            ValueError, TypeError: for a config without thread or checkpoint.
            Exception: the serializer's own for a value that it does not take, and Redis's.
        """
        await self._run(self._plans.put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete everything of a thread. One round trip for each 250 keys."""
        await self._run(self._plans.delete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs, in all threads, with their pending writes.

        A checkpoint from which a surviving one rebuilds a ``DeltaChannel`` is kept.

        Args:
            run_ids: values of the metadata key ``run_id``.

        Raises:
            IndexMissingError: if `setup` was not called.
        """
        await self._run(self._plans.delete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy everything of a thread to another; what the other has under the same ids is
        replaced.

        Raises:
            ValueError: if they are the same thread.
        """
        await self._run(self._plans.copy_thread(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete what threads no longer need.

        Args:
            thread_ids: the threads.
            strategy: ``"keep_latest"`` keeps the newest checkpoint of each namespace, and the
                ancestors from which it rebuilds a ``DeltaChannel``; ``"delete"`` keeps nothing.

        Raises:
            ValueError: for another strategy.
        """
        await self._run(self._plans.prune(thread_ids, strategy))

    async def apin(self, thread_id: str) -> None:
        """Let a thread live for ever, whatever its savers' ``ttl``, until `expire` or deletion.
        One round trip for each 2,000 keys.

        Raises:
            ThreadMissingError: if there is no such thread (any more).
        """
        await self._run(self._plans.pin(thread_id))

    async def aexpire(self, thread_id: str, minutes: float) -> None:
        """Let a thread vanish, whole, so many minutes from now. One round trip for each 2,000 keys.

        Where a saver with a ``ttl`` uses it later, it lives at least that long again, but never
        shorter for being used. It is no longer pinned.

        Args:
            thread_id: the thread.
            minutes: more than 0; parts of a minute are fine.

        Raises:
            ThreadMissingError: if there is no such thread (any more).
            ValueError, TypeError: for other minutes.
        """
        await self._run(self._plans.expire(thread_id, minutes))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What ``DeltaChannel`` state is rebuilt from. One round trip for each page of ancestors.

        Args:
            config: the checkpoint; the newest one without ``checkpoint_id``.
            channels: the channels to look for.

        Returns:
            For each channel its ``writes`` in the ancestors, oldest first, back to the nearest
            ancestor that has a value, which is the ``seed`` (absent if none has).

        Raises:
            MissingDocumentError: if the checkpoint is not there, pruned since it was read say: what
                led to it is then not known any more.
        """
        return await self._run(self._plans.get_delta_channel_history(config, channels))

    async def _run(self, plan: Plan[T]) -> T:
        self._begin()
        try:
            commands = next(plan)
            while True:
                try:
                    replies = await self._execute(commands)
                except RedisError as error:
                    commands = plan.throw(error)
                else:
                    commands = await self._go_on(plan, replies)
        except (StopIteration, Finished) as done:
            result: T = done.value
            return result

    async def _iterate(self, listing: Listing[T]) -> AsyncIterator[T]:
        self._begin()
        try:
            step = next(listing)
            while True:
                if not isinstance(step, list):
                    yield step
                    step = next(listing)
                    continue
                try:
                    replies = await self._execute(step)
                except RedisError as error:
                    step = listing.throw(error)
                else:
                    step = await self._go_on(listing, replies)
        except (StopIteration, Finished):
            return

    async def _execute(self, commands: Sequence[Command]) -> Replies:
        if not self._clustered:
            return await self._send(commands)
        commands = list(map(in_cluster, commands))
        for _ in range(MOVING):
            try:
                return await self._send(commands)
            except (TryAgainError, ClusterError) as error:
                if not is_moving(error):
                    raise
            await sleep(0.05)
        return await self._send(commands)

    async def _send(self, commands: Sequence[Command]) -> Replies:
        """One network round trip, and another where a script is new to the server."""
        replies: Replies = []
        if not commands:
            return replies
        # (redis-py's client-side cache refuses other commands by themselves, and stays out of
        # pipelines.)
        if len(commands) == 1 and (self._clustered or commands[0][0] == "EVALSHA"):
            call: Any = self._redis.execute_command
            try:
                return [await call(*commands[0])]
            except NoScriptError:
                return [await call(*with_source(commands[0]))]
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies = await pipeline.execute(raise_on_error=False)
        # What was carried out is not done again: it may fail then, on a full server say.
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            pipeline = self._redis.pipeline(transaction=False)
            for at in unknown:
                pipeline.execute_command(*with_source(commands[at]))
            again = await pipeline.execute(raise_on_error=False)
            for at, reply in zip(unknown, again, strict=True):
                replies[at] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

"""AsyncRedisSaver: the checkpointer for graphs that are awaited.

`make generate` writes `saver.py` from this file.
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.cluster import RedisCluster
from typing_extensions import Never, Self

from langgraph_redis_json import arguments
from langgraph_redis_json.bridges import blocking, blocking_iteration
from langgraph_redis_json.client.async_connecting import connect, own_options
from langgraph_redis_json.client.async_runner import AsyncRunner
from langgraph_redis_json.operations import (
    copy_thread,
    delete_for_runs,
    delete_thread,
    expiry,
    fill_messages,
    get_delta_channel_history,
    get_tuple,
    ping,
    prune,
    put,
    put_writes,
    search_messages,
    setup,
    threads,
)
from langgraph_redis_json.operations import list as listing
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.operations.search_messages import FoundMessage
from langgraph_redis_json.operations.threads import ThreadSummary
from langgraph_redis_json.search import fields, indexes
from langgraph_redis_json.search.fields import MetadataFields
from langgraph_redis_json.storage.cache import Cache
from langgraph_redis_json.storage.keys import next_version

if TYPE_CHECKING:
    from redisvl.index import AsyncSearchIndex


class AsyncRedisSaver(BaseCheckpointSaver[str]):
    """Stores LangGraph checkpoints in Redis, as RedisJSON documents.

    Call `setup` once for a server, then compile graphs with the saver. Tasks may share it. Its
    methods without ``a`` are for callers on another thread than the event loop, for a graph that is
    sometimes invoked; for a graph that is always invoked use `RedisSaver`.

    Args:
        redis: a URL (see `from_conn_string`), a client (of a single server, of a Sentinel or of a
            cluster) or a connection pool. `aclose` closes only what a URL opened.
        url, redis_url, redis_client: the same by name, as other savers call it.
        connection_args: as for `from_conn_string`.
        key_prefix: every key and index name begins with exactly this text, so that applications
            can share a server.
        serde: the serializer; None for LangGraph's JsonPlusSerializer.
        metadata_fields: metadata keys that the search indexes get as fields, each with ``"tag"``
            (text as a whole, True or False), ``"numeric"`` or ``"text"`` (words); or the path of a
            redisvl schema with such fields. `alist` and `athreads` then find ranges of numbers by
            the index. `setup` adds the fields.
        ttl: ``{"default_ttl": minutes, "refresh_on_read": bool}``: a thread expires, with all its
            keys, when it was not used for so long, or up to a quarter longer. ``put`` and
            ``put_writes`` are uses; ``get_tuple`` is one if ``refresh_on_read``, which is False if
            absent. None, ``{}``, and None or -1 as minutes: threads do not expire, except those
            that another saver or `aexpire` lets expire.
        keep_last: how many checkpoints of each namespace of a thread are kept. Each ``put`` deletes
            older ones, except those from which a ``DeltaChannel`` of a kept one is rebuilt. Above
            64 it deletes them in batches, so that up to a quarter more are kept. None: all.
        message_search: whether `asearch_messages` can find the messages that the saver stores; each
            new message then costs a small document. Or ``{"language": name, "tool_calls": bool}``:
            the language of most messages ("english" if absent), whose words are found in all their
            forms, and whether the names and arguments of called tools are found too. All savers
            with the same key_prefix should have the same setting. `setup` creates the index, and
            the documents of messages that are stored already.
        log_slower_than: seconds; the log ``langgraph_redis_json`` warns of each call, and each page
            of a listing, that takes so long. None: of none.

    Raises:
        ValueError, TypeError: for a server, a key_prefix, a metadata field, a ``ttl``, a
            ``keep_last`` or a ``message_search`` that cannot be used, and for an option that the
            saver does not have.
        FileNotFoundError: if the schema of the metadata fields does not exist.

    Example:
        ```python
        async with AsyncRedisSaver.from_conn_string("redis://localhost:6379") as saver:
            await saver.setup()
            graph = builder.compile(checkpointer=saver)
        ```
    """

    def __init__(
        self,
        redis: str | Redis | RedisCluster | ConnectionPool | None = None,
        *,
        url: str | None = None,
        redis_url: str | None = None,
        redis_client: Redis | RedisCluster | ConnectionPool | None = None,
        connection_args: Mapping[str, Any] | None = None,
        key_prefix: str = "langgraph:",
        serde: SerializerProtocol | None = None,
        metadata_fields: MetadataFields | None = None,
        ttl: Mapping[str, Any] | int | None = None,
        keep_last: int | None = None,
        message_search: bool | Mapping[str, Any] = False,
        log_slower_than: float | None = None,
        **unknown: Never,
    ) -> None:
        arguments.refuse_unknown(type(self).__name__, unknown)
        super().__init__(serde=serde)
        self.key_prefix = arguments.key_prefix(key_prefix)
        self._metadata_fields = fields.read(metadata_fields)
        self._lifetime = arguments.lifetime(ttl, keep_last)
        self._message_search = arguments.message_search(message_search)
        self._cache = Cache()
        others = {"url": url, "redis_url": redis_url, "redis_client": redis_client}
        client, owned = connect(redis, others, connection_args)
        # A clone by with_allowlist() shares the runner and the cache.
        slow = arguments.seconds("log_slower_than", log_slower_than)
        self._runner = AsyncRunner(client, owned=owned, log_slower_than=slow)

    @classmethod
    def from_conn_string(
        cls,
        url: str | None = None,
        *,
        redis_url: str | None = None,
        redis_client: Redis | RedisCluster | ConnectionPool | None = None,
        connection_args: Mapping[str, Any] | None = None,
        key_prefix: str = "langgraph:",
        serde: SerializerProtocol | None = None,
        metadata_fields: MetadataFields | None = None,
        ttl: Mapping[str, Any] | int | None = None,
        keep_last: int | None = None,
        message_search: bool | Mapping[str, Any] = False,
        log_slower_than: float | None = None,
        **unknown: Never,
    ) -> Self:
        """A saver on the URL of a server, or on a client; use it in an ``async with`` block.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py reads them. At most 64
                connections are opened, for which calls wait; ``?max_connections=`` changes that.
                ``redis+sentinel://host:port,host:port/service`` asks Sentinels for the primary; a
                password in it is that of the Sentinels too, unless ``connection_args`` has
                ``sentinel_kwargs``.
            redis_url: the same.
            redis_client: instead of a URL; it stays open after the block.
            connection_args: further arguments of redis-py for the client that is made from the URL;
                those in the URL itself win.
            key_prefix, serde, metadata_fields, ttl, keep_last, message_search, log_slower_than: as
                for the class.

        Raises:
            ValueError: unless there is either a URL or a client.
            TypeError: for an option that the saver does not have.
        """
        arguments.refuse_unknown(f"{cls.__name__}.from_conn_string", unknown)
        return cls(
            url,
            redis_url=redis_url,
            redis_client=redis_client,
            connection_args=connection_args,
            key_prefix=key_prefix,
            serde=serde,
            metadata_fields=metadata_fields,
            ttl=ttl,
            keep_last=keep_last,
            message_search=message_search,
            log_slower_than=log_slower_than,
        )

    @classmethod
    def from_conn_info(
        cls,
        *,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        key_prefix: str = "langgraph:",
        serde: SerializerProtocol | None = None,
        metadata_fields: MetadataFields | None = None,
        ttl: Mapping[str, Any] | int | None = None,
        keep_last: int | None = None,
        message_search: bool | Mapping[str, Any] = False,
        log_slower_than: float | None = None,
        **connection: Any,
    ) -> Self:
        """A saver on the address of a server; use it in an ``async with`` block.

        Args:
            host, port: the server's address.
            db: the database. Redis indexes only database 0, and `setup` refuses others.
            key_prefix, serde, metadata_fields, ttl, keep_last, message_search, log_slower_than: as
                for the class.
            connection: further arguments of redis-py's client: username, password, ssl,
                max_connections (64 if absent; calls wait for one of them) …
        """
        client = Redis(host=host, port=port, db=db, **own_options(connection))
        saver = cls(
            client,
            key_prefix=key_prefix,
            serde=serde,
            metadata_fields=metadata_fields,
            ttl=ttl,
            keep_last=keep_last,
            message_search=message_search,
            log_slower_than=log_slower_than,
        )
        saver._runner = AsyncRunner(client, owned=True, log_slower_than=log_slower_than)
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
        await self._runner.aclose()

    async def setup(self, *, on_progress: Callable[[float], object] | None = None) -> None:
        """Check the server, and create the search indexes or bring them up to date. Call this once
        before use, and after each upgrade of this package.

        A repeated call changes nothing; several processes may call it at the same time. If an index
        differs from its schema, setup builds another one beside it, and searches use the old one
        until the new one is complete. Documents are not changed, and other processes may go on
        writing. If the server has documents already, setup returns when they are indexed.

        With ``message_search``, setup also writes the documents of messages that are stored
        already. If it is killed, the next call goes on from there. Later calls look only at threads
        that changed since.

        If the server has threads of ``langgraph-checkpoint-redis`` and none of this saver, setup
        warns once: they are found after ``langgraph_redis_json.migration`` has copied them.

        Args:
            on_progress: called with the share that is done, from 0 to 1, while setup works.

        Raises:
            UnsuitableServerError: if the server lacks Search or JSON, if the client uses another
                database than 0, if its user may not run a command that the saver needs, or if a
                newer version of this package created an index.
            UnindexedDocumentsError: if the server cannot index some documents.
            TriesExhaustedError: if the server does not go on, for ten minutes or more.
        """
        await self._runner.run(setup.check_server(self._context))
        progress = setup.Progress()
        part = 1 if self._message_search is None else 0.5
        while (share := await self._runner.run(setup.build_indexes(self._context))) < 1:
            progress.check(share)
            if on_progress is not None:
                on_progress(share * part)
            await sleep(0.02)
        async for share in self._runner.iterate(fill_messages.fill(self._context)):
            if on_progress is not None:
                on_progress(part + share * part)
        await self._runner.run(setup.look_for_others(self._context))

    async def aping(self) -> bool:
        """Check that the saver can be used now, for a readiness probe. One round trip.

        Returns:
            True.

        Raises:
            ConnectionError, TimeoutError: redis-py's, if the server cannot be reached.
            IndexMissingError: if `setup` was not called.
            IndexIncompleteError: while the server fills an index, after a restart for example.
            Exception: Redis's, while it loads its data or refuses the user.
        """
        return await self._runner.run(ping.ping(self._context))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that a config names, with its pending writes. One round trip.

        Args:
            config: its ``configurable`` has ``thread_id``; ``checkpoint_ns`` (absent: "", the root
                graph); ``checkpoint_id`` (absent: the newest).

        Returns:
            None if there is no such checkpoint. Pending writes are in the order of LangGraph's
            ``writes_sort_key``.

        Raises:
            ValueError, TypeError: for a config without a thread, or with ids of wrong types.
            MissingDocumentError, DamagedDocumentError: if a document was lost or altered.
        """
        return await self._runner.run(get_tuple.get_tuple(self._context, config))

    async def aget_channel_values(self, config: RunnableConfig) -> dict[str, Any] | None:
        """The state in the checkpoint that a config names, without its metadata, versions and
        pending writes. One round trip.

        Args:
            config: as for `aget_tuple`.

        Returns:
            Channel -> value; None if there is no such checkpoint.

        Raises:
            ValueError, TypeError, MissingDocumentError, DamagedDocumentError: as `aget_tuple`.
        """
        return await self._runner.run(get_tuple.get_channel_values(self._context, config))

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, newest first. They are read in pages while the caller iterates.

        Args:
            config: the thread; the namespace, if ``checkpoint_ns`` is present ("" is the root graph
                alone); the ``checkpoint_id``, if present. None for all threads.
            filter: metadata key -> the JSON value that it must have, or a dict of operators,
                ``{"step": {"$gte": 3, "$lt": 9}}``: ``$eq``, ``$ne``, ``$in`` with a list, and
                ``$gt``, ``$gte``, ``$lt``, ``$lte`` with a number or a string. An absent key counts
                as None.
            before: only checkpoints whose id sorts before this config's ``checkpoint_id``.
            limit: at most so many; 0 for none, None for all.

        Raises:
            ValueError, TypeError: at once, for a filter or a config that cannot be used.
            IndexMissingError: if a filter, or None for all threads, needs the index that `setup`
                creates; MetadataFieldMissingError, if the index lacks a field;
                IndexIncompleteError, while the server fills the index, after a restart for example.
            MissingDocumentError, DamagedDocumentError: as `aget_tuple`.
        """
        return self._runner.iterate(
            listing.list_checkpoints(self._context, config, filter, before, limit)
        )

    def athreads(
        self,
        filter: dict[str, Any] | None = None,
        *,
        status: str | None = None,
        updated_before: datetime | None = None,
        updated_after: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[ThreadSummary]:
        """Threads, the one that changed last first: "this user's conversations", "which threads
        wait for a person". A limit of up to 1,000 costs one round trip.

        Args:
            filter: as for `alist`, on the metadata of each thread's newest checkpoint.
            status: only threads that are ``"interrupted"`` (wait for a person), ``"error"`` (a task
                failed) or ``"idle"``.
            updated_before: only threads that last changed before this time, which has a timezone;
                a `ThreadSummary` has the time, by the server's clock.
            updated_after: only threads that last changed after this time.
            limit: at most so many; 0 for none, None for all.

        Returns:
            One `ThreadSummary` for each thread that has a checkpoint of its root graph. Without a
            limit these are all threads that existed when the iteration began, without those that
            were deleted since.

        Raises:
            ValueError, TypeError: at once, for a filter, a status or a time that cannot be used.
            IndexMissingError, MetadataFieldMissingError, IndexIncompleteError: as `alist`.
            DamagedDocumentError: if a thread document was altered.
        """
        return self._runner.iterate(
            threads.list_threads(
                self._context, filter, status, updated_before, updated_after, limit
            )
        )

    def asearch_messages(
        self,
        text: str,
        *,
        filter: dict[str, Any] | None = None,
        role: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        newest_first: bool = False,
        limit: int | None = 20,
        marks: tuple[str, str] = ("**", "**"),
    ) -> AsyncIterator[FoundMessage]:
        """Messages with all of some words, the best ones first (by RediSearch's BM25). Needs
        ``message_search``: see ``docs/search.md``. A limit of up to 1,000 costs three round trips,
        with a filter four.

        Words are found in any case, and in the forms of the saver's language. Chinese is divided
        into words. Punctuation between words does not matter, and nothing in the text is an
        operator: for RediSearch's query language use `messages_index`.

        Args:
            text: the words, with blanks or punctuation between them.
            filter: as for `athreads`, on the metadata of the newest checkpoint of each thread.
            role: only messages of ``"human"`` (or ``"user"``), ``"ai"`` (or ``"assistant"``),
                ``"tool"``, ``"system"``, or a ChatMessage's role.
            since, until: only messages whose first checkpoint was stored in this time, both
                included, to the millisecond; with a time zone.
            newest_first: order by time, not by rank.
            limit: at most so many; 0 for none, None for all.
            marks: the texts before and after each of the words in the snippets.

        Returns:
            One `FoundMessage` for each message. What becomes of messages that were edited, removed
            or pruned is in ``docs/search.md``.

        Raises:
            ValueError, TypeError: at once, for arguments that cannot be used, also for a text of
                punctuation or of words such as "the" alone.
            MessagesMissingError: if `setup` of a saver with ``message_search`` was never called;
                IndexIncompleteError, while it fills the index, or the server does.
            IndexMissingError, MetadataFieldMissingError: as `alist`.
        """
        return self._runner.iterate(
            search_messages.search_messages(
                self._context, text, filter, role, since, until, newest_first, limit, marks
            )
        )

    @property
    def checkpoints_index(self) -> AsyncSearchIndex:
        """redisvl's index over the checkpoints, on this saver's client, for queries of your own.

        The results have the fields of ``schemas/checkpoints.yaml`` and your metadata_fields.

        Raises:
            ValueError: for a client with ``protocol=3``, whose replies redisvl does not read.
        """
        return self._redisvl_index("checkpoints")

    @property
    def messages_index(self) -> AsyncSearchIndex:
        """redisvl's index over the messages of savers with ``message_search``, on this saver's
        client, for all of RediSearch's query language.

        The results have the fields of ``schemas/messages.yaml``.

        Raises:
            ValueError: as `checkpoints_index`.
        """
        return self._redisvl_index("messages")

    def _redisvl_index(self, which: str) -> AsyncSearchIndex:
        from redisvl.index import AsyncSearchIndex  # takes long to import, and few callers need it

        client = self._runner.client
        pool = getattr(client, "connection_pool", None)
        if pool is not None and pool.connection_kwargs.get("protocol") in (3, "3"):
            raise ValueError(
                "redisvl does not read the replies of a client with protocol=3: give the saver a "
                "client without it, or create a redisvl index on another client"
            )
        schema = indexes.schema(self.key_prefix, which, self._metadata_fields)
        return AsyncSearchIndex(schema, redis_client=client)

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
            checkpoint: the state. All channel values that the server lacks are stored.
            metadata: source, step, and all other keys that `alist` can filter by.
            new_versions: the versions of the channels that changed.

        Returns:
            The config that names the stored checkpoint.

        Raises:
            ValueError, TypeError: for a config without a thread, or with ids of wrong types.
            Exception: the serializer's own for a value that it does not take, and Redis's.
        """
        return await self._runner.run(
            put.put(self._context, config, checkpoint, metadata, new_versions)
        )

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store a task's writes beside a checkpoint, which may come later. One round trip.

        An ordinary write that exists already stays as it is; a write to a special channel (error,
        interrupt, resume, scheduled) is replaced. This is LangGraph's contract.

        Args:
            config: names the checkpoint.
            writes: pairs of channel and value.
            task_id: the task that wrote.
            task_path: its path, by which pending writes are sorted.

        Raises:
            ValueError, TypeError: for a config without thread or checkpoint.
            Exception: the serializer's own for a value that it does not take, and Redis's.
        """
        await self._runner.run(
            put_writes.put_writes(self._context, config, writes, task_id, task_path)
        )

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete everything of a thread. One round trip for each 250 keys."""
        await self._runner.run(delete_thread.delete_thread(self._context, thread_id))

    async def adelete_threads(
        self,
        filter: dict[str, Any] | None = None,
        *,
        status: str | None = None,
        updated_before: datetime | None = None,
        updated_after: datetime | None = None,
        dry_run: bool = False,
        on_thread: Callable[[ThreadSummary], object] | None = None,
    ) -> int:
        """Delete all threads that a search finds: those that nobody has used for 30 days, for
        example. A thread that changes after the search has found it stays.

        The threads are read in pages and deleted one by one. If the call is stopped, call it again.

        Args:
            filter, status, updated_before, updated_after: as for `athreads`. Pass at least one of
                them; ``filter={}`` means all threads.
            dry_run: delete nothing.
            on_thread: called with each thread when it was deleted, or would be. What it raises
                stops the call.

        Returns:
            How many threads were deleted, or would be.

        Raises:
            ValueError, TypeError: as `athreads`, and if nothing says which threads are meant.
            IndexMissingError, MetadataFieldMissingError, IndexIncompleteError: as `alist`.
        """
        count = 0
        found = threads.list_selected(self._context, filter, status, updated_before, updated_after)
        async for thread in self._runner.iterate(found):
            if not dry_run and not await self._runner.run(
                delete_thread.delete_thread(self._context, thread.thread_id, thread.updated_at)
            ):
                continue
            count += 1
            if on_thread is not None:
                on_thread(thread)
        return count

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs, in all threads, with their pending writes.

        A checkpoint from which a remaining one rebuilds a ``DeltaChannel`` is kept.

        Args:
            run_ids: values of the metadata key ``run_id``.

        Raises:
            IndexMissingError: if `setup` was not called.
        """
        await self._runner.run(delete_for_runs.delete_for_runs(self._context, run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy everything of a thread to another. Checkpoints of the other thread with the same ids
        are replaced.

        Raises:
            ValueError: if they are the same thread.
        """
        await self._runner.run(
            copy_thread.copy_thread(self._context, source_thread_id, target_thread_id)
        )

    async def aprune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: str = "keep_latest",
        keep_last: int | None = None,
    ) -> None:
        """Delete the checkpoints that threads no longer need.

        Args:
            thread_ids: the threads.
            strategy: ``"keep_latest"`` keeps the newest checkpoint of each namespace, and the
                ancestors from which it rebuilds a ``DeltaChannel``; ``"delete"`` keeps nothing.
            keep_last: how many of the newest checkpoints of each namespace are kept, instead of
                one; 0 for none.

        Raises:
            ValueError, TypeError: for another strategy or number, or if they contradict each other.
        """
        await self._runner.run(prune.prune(self._context, thread_ids, strategy, keep_last))

    async def aprune_threads(
        self,
        filter: dict[str, Any] | None = None,
        *,
        status: str | None = None,
        updated_before: datetime | None = None,
        updated_after: datetime | None = None,
        dry_run: bool = False,
        on_thread: Callable[[ThreadSummary, int], object] | None = None,
    ) -> int:
        """Prune all threads that a search finds, as `aprune` does with ``"keep_latest"``.

        Args:
            filter, status, updated_before, updated_after, dry_run: as for `adelete_threads`.
            on_thread: called with each thread when it was pruned, or would be, and the number of
                its checkpoints that were deleted. What it raises stops the call.

        Returns:
            How many checkpoints were deleted, or would be.

        Raises:
            ValueError, TypeError: as `adelete_threads`.
            IndexMissingError, MetadataFieldMissingError, IndexIncompleteError: as `alist`.
        """
        count = 0
        found = threads.list_selected(self._context, filter, status, updated_before, updated_after)
        async for thread in self._runner.iterate(found):
            plan = prune.prune_thread(self._context, thread.thread_id, dry_run=dry_run)
            deleted = await self._runner.run(plan)
            count += deleted
            if on_thread is not None:
                on_thread(thread, deleted)
        return count

    async def apin(self, thread_id: str) -> None:
        """Let a thread never expire, whatever the ``ttl`` of savers, until `aexpire` or deletion.
        One round trip for each 2,000 keys.

        Raises:
            ThreadMissingError: if there is no such thread (any more).
        """
        await self._runner.run(expiry.pin(self._context, thread_id))

    async def aexpire(self, thread_id: str, minutes: float) -> None:
        """Let a thread expire, with all its keys, so many minutes from now. One round trip for each
        2,000 keys.

        If a saver with a ``ttl`` uses the thread later, it lives at least that long again, and
        never shorter because it was used. A pinned thread is no longer pinned.

        Args:
            thread_id: the thread.
            minutes: more than 0; fractions are allowed.

        Raises:
            ThreadMissingError: if there is no such thread (any more).
            ValueError, TypeError: for other minutes.
        """
        await self._runner.run(expiry.expire(self._context, thread_id, minutes))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """The writes from which ``DeltaChannel`` state is rebuilt. One round trip for each page of
        ancestors.

        Args:
            config: the checkpoint; without ``checkpoint_id`` the newest one.
            channels: the channels to look for.

        Returns:
            For each channel its ``writes`` in the ancestors, oldest first, back to the nearest
            ancestor that has a value. That value is the ``seed``, absent if no ancestor has one.

        Raises:
            MissingDocumentError: if the checkpoint does not exist, because it was pruned since it
                was read, for example. Its ancestors are not known then.
        """
        return await self._runner.run(
            get_delta_channel_history.get_delta_channel_history(self._context, config, channels)
        )

    def get_next_version(self, current: str | int | None, channel: None) -> str:
        """The version of a channel after `current`: text that sorts as it counts, with a random
        second part, so that two forks of a thread never share one."""
        return next_version(current)

    @property
    def _context(self) -> Context:
        # Each call makes one, because a clone has another serializer, and users may set one.
        return Context(
            self.key_prefix,
            self.serde,
            self._cache,
            self._metadata_fields,
            self._runner.clustered,
            True,  # on_loop
            *self._lifetime,
            self._message_search,
        )

    # For callers of the other kind: see bridges.py.
    asetup = setup
    ping = blocking(aping)
    get_tuple = blocking(aget_tuple)
    get_channel_values = blocking(aget_channel_values)
    list = blocking_iteration(alist)
    threads = blocking_iteration(athreads)
    search_messages = blocking_iteration(asearch_messages)
    put = blocking(aput)
    put_writes = blocking(aput_writes)
    delete_thread = blocking(adelete_thread)
    delete_threads = blocking(adelete_threads)
    delete_for_runs = blocking(adelete_for_runs)
    copy_thread = blocking(acopy_thread)
    prune = blocking(aprune)
    prune_threads = blocking(aprune_threads)
    pin = blocking(apin)
    expire = blocking(aexpire)
    get_delta_channel_history = blocking(aget_delta_channel_history)

"""What a migration asks a source: the names of all checkpoints, and one checkpoint after another.

LangGraph's interface has no way to list names alone, and `list` of some savers reads everything at
once or ends at 10,000 checkpoints. So the savers that many people have are asked in their own
languages; all others by `list`.

The functions are coroutines. Where the saver is synchronous and the migration too, nothing in them
waits: see `run_now`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, PendingWrite

from langgraph_redis_json.aio import AsyncRedisSaver
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.errors import CheckpointError
from langgraph_redis_json.migration.names import Name, Names, WriteName
from langgraph_redis_json.operations import scan, table_of_contents
from langgraph_redis_json.saver import RedisSaver
from langgraph_redis_json.storage import keys

T = TypeVar("T")

PAGE = 1_000
"""Names that one query reads."""

PROBE: RunnableConfig = {
    "configurable": {"thread_id": "langgraph_redis_json.migration", "checkpoint_ns": ""}
}
"""A thread that no application has."""


class Read(NamedTuple):
    """A checkpoint as a source has it.

    Attributes:
        found: the checkpoint; its pending writes are in the order of LangGraph's writes_sort_key.
        task_paths: task id -> the path by which its pending writes are sorted; None if the source
            does not tell it.
        hidden_writes: pending writes that the saver itself does not return.
    """

    found: CheckpointTuple
    task_paths: dict[str, str] | None = None
    hidden_writes: int = 0


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("the source or the target waits for an event loop: await amigrate() instead")


class Source:
    """Any saver, asked by LangGraph's interface.

    Args:
        saver: the saver.
        asynchronous: whether its asynchronous methods are called.
        threads: whether its synchronous methods are called in threads.
    """

    package = "the source"
    loses_types = False
    """Whether the saver gives dicts for messages, and floats with other last digits."""

    def __init__(self, saver: Any, *, asynchronous: bool, threads: bool) -> None:
        self.saver = saver
        self.asynchronous = asynchronous
        self.threads = threads

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """The result of a synchronous function."""
        if self.threads:
            return await asyncio.to_thread(function, *args, **kwargs)
        return function(*args, **kwargs)

    async def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if self.asynchronous:
            found: CheckpointTuple | None = await self.saver.aget_tuple(config)
            return found
        return await self.call(self.saver.get_tuple, config)

    async def tell(self, names: Names, thread_ids: Sequence[Any] | None) -> None:
        """Tell the names of all checkpoints, or of those of some threads."""
        configs: Iterable[RunnableConfig | None] = [None]
        if thread_ids is not None:
            configs = [{"configurable": {"thread_id": thread_id}} for thread_id in thread_ids]
        for config in configs:
            async for found in self._list(config):
                names.add(_name_of(found))

    async def read(self, name: Name, names: Names) -> Read | None:
        """A checkpoint; None if it was deleted meanwhile."""
        found = await self.get_tuple(config_of(name))
        return None if found is None else Read(found, await self._task_paths(name, found))

    async def _task_paths(self, name: Name, found: CheckpointTuple) -> dict[str, str] | None:
        return None

    async def _list(self, config: RunnableConfig | None) -> AsyncIterator[CheckpointTuple]:
        if self.asynchronous:
            async for found in self.saver.alist(config):
                yield found
            return
        listed = await self.call(lambda: iter(self.saver.list(config)))
        while (item := await self.call(next, listed, None)) is not None:
            yield item


class MemorySource(Source):
    """`InMemorySaver`."""

    package = "InMemorySaver"

    async def _task_paths(self, name: Name, found: CheckpointTuple) -> dict[str, str] | None:
        writes = self.saver.writes.get(name[:3], {})
        return {task_id: path for task_id, _, _, path in writes.values()}


class OwnSource(Source):
    """One of our savers: another server, or another prefix of the same."""

    package = "langgraph-redis-json"

    async def run(self, plan: Plan[T]) -> T:
        """The result of a plan on the source."""
        if self.asynchronous:
            result: T = await self.saver._runner.run(plan)
            return result
        return await self.call(self.saver._runner.run, plan)

    async def tell(self, names: Names, thread_ids: Sequence[Any] | None) -> None:
        """Tables of contents are read for the names: they need no index, and no values are read."""
        if thread_ids is not None:
            for thread_id in thread_ids:
                await self._tell_thread(names, str(thread_id))
            return
        async for page in self._scan():
            for key in page:
                # A key may come twice, and so may its names.
                await self._tell_thread(names, keys.thread_of_key(key))

    async def _scan(self) -> AsyncIterator[tuple[str, ...]]:
        pages = self.saver._runner.iterate(scan.scan(self.saver._context, "contents:"))
        if self.asynchronous:
            async for page in pages:
                yield page
            return
        while (page := await self.call(next, pages, None)) is not None:
            yield page

    async def _tell_thread(self, names: Names, thread_id: str) -> None:
        thread = keys.thread_keys(self.saver.key_prefix, thread_id)
        [entries] = await self.run(table_of_contents.entries(thread, "c:"))
        for page in table_of_contents.pages(entries, table_of_contents.PAGE):
            try:
                parents = await self.run(
                    table_of_contents.read_paths(thread, page, ["$.parent_checkpoint_id"])
                )
            except CheckpointError:
                parents = {}  # one of them is damaged: the migration finds out which
            for entry in page:
                _, checkpoint_ns, checkpoint_id = keys.identity_of_entry(thread_id, entry)
                [parent] = parents.get(entry, [[]])
                names.add(Name(thread_id, checkpoint_ns, checkpoint_id, next(iter(parent), None)))

    async def _task_paths(self, name: Name, found: CheckpointTuple) -> dict[str, str] | None:
        if not found.pending_writes:
            return {}
        thread = keys.thread_keys(self.saver.key_prefix, str(name.thread_id))
        entry = keys.checkpoint_entry(name.checkpoint_ns, name.checkpoint_id)
        command = ("JSON.GET", thread.key(keys.writes_entry(entry)), "$.writes")

        def plan() -> Any:
            [reply] = yield [command]
            return reply

        reply = await self.run(plan())
        if reply is None:
            return None  # they were written since
        [writes] = orjson.loads(reply)
        written = [orjson.loads(one) if isinstance(one, str) else one for one in writes.values()]
        return {one["task_id"]: one["task_path"] for one in written}


class SqlSource(Source):
    """The savers whose tables are ``checkpoints`` and a table of writes."""

    writes: str
    """The name of the table of writes."""
    mark: str
    """What stands for an argument in a query."""

    async def rows(self, query: str, arguments: Sequence[Any]) -> list[Any]:
        raise NotImplementedError

    async def tell(self, names: Names, thread_ids: Sequence[Any] | None) -> None:
        if thread_ids is None:
            await self._tell(names, "", ())
            return
        for thread_id in thread_ids:
            await self._tell(names, f"thread_id = {self.mark} AND ", (str(thread_id),))

    async def _tell(self, names: Names, condition: str, arguments: Sequence[Any]) -> None:
        # The primary key, so each page is a range of its index.
        order = "thread_id, checkpoint_ns, checkpoint_id"
        after: Sequence[Any] = ("", "", "")
        while True:
            page = await self.rows(
                f"SELECT {order}, parent_checkpoint_id FROM checkpoints WHERE {condition}({order}) "
                f"> ({self.mark}, {self.mark}, {self.mark}) ORDER BY {order} LIMIT {PAGE}",
                (*arguments, *after),
            )
            for row in page:
                names.add(Name(*row))
            if len(page) < PAGE:
                return
            after = page[-1][:3]

    async def _task_paths(self, name: Name, found: CheckpointTuple) -> dict[str, str] | None:
        if not found.pending_writes:
            return {}
        query = (
            f"SELECT DISTINCT task_id, task_path FROM {self.writes} WHERE thread_id = {self.mark} "
            f"AND checkpoint_ns = {self.mark} AND checkpoint_id = {self.mark}"
        )
        paths: dict[str, str] = dict(await self.rows(query, name[:3]))
        return paths


class PostgresSource(SqlSource):
    """``langgraph-checkpoint-postgres``."""

    package = "langgraph-checkpoint-postgres"
    writes = "checkpoint_writes"
    mark = "%s"

    async def rows(self, query: str, arguments: Sequence[Any]) -> list[Any]:
        if self.asynchronous:
            async with self.saver._cursor() as cursor:
                await cursor.execute(query, arguments)
                return [tuple(row.values()) for row in await cursor.fetchall()]

        def fetch() -> list[Any]:
            with self.saver._cursor() as cursor:
                cursor.execute(query, arguments)
                return [tuple(row.values()) for row in cursor.fetchall()]

        return await self.call(fetch)


class ShallowPostgresSource(PostgresSource):
    """The shallow savers of ``langgraph-checkpoint-postgres``: one row for each namespace."""

    async def _tell(self, names: Names, condition: str, arguments: Sequence[Any]) -> None:
        after: Sequence[Any] = ("", "")
        follows = ">="
        while True:
            page = await self.rows(
                "SELECT thread_id, checkpoint_ns, checkpoint->>'id' FROM checkpoints WHERE "
                f"{condition}(thread_id, checkpoint_ns) {follows} (%s, %s) "
                f"ORDER BY thread_id, checkpoint_ns LIMIT {PAGE}",
                (*arguments, *after),
            )
            for thread_id, checkpoint_ns, checkpoint_id in page:
                names.add(Name(thread_id, checkpoint_ns, checkpoint_id, None))
            if len(page) < PAGE:
                return
            after, follows = page[-1][:2], ">"


class SqliteSource(SqlSource):
    """``langgraph-checkpoint-sqlite``."""

    package = "langgraph-checkpoint-sqlite"
    writes = "writes"
    mark = "?"

    async def _task_paths(self, name: Name, found: CheckpointTuple) -> dict[str, str] | None:
        if not getattr(self.saver, "_has_task_path", True):
            return None  # a database of an old version, which may not be changed
        return await super()._task_paths(name, found)

    async def rows(self, query: str, arguments: Sequence[Any]) -> list[Any]:
        if self.asynchronous:
            async with self.saver.lock, self.saver.conn.execute(query, arguments) as cursor:
                return [*await cursor.fetchall()]

        def fetch() -> list[Any]:
            with self.saver.cursor(transaction=False) as cursor:
                return [*cursor.execute(query, arguments)]

        return await self.call(fetch)


class RedisSource(Source):
    """``langgraph-checkpoint-redis``.

    Its documents are read for the names and the pending writes: its `list` ends at 10,000, and its
    savers hide the writes that came before their checkpoint. Its shallow savers have keys without
    the checkpoint's id, and no parents; this reads both kinds, as a URL does not say which saver
    an application has.
    """

    package = "langgraph-checkpoint-redis"
    loses_types = True
    is_shallow = False
    """Whether the saver itself is a shallow one, which sees no other checkpoints."""

    async def tell(self, names: Names, thread_ids: Sequence[Any] | None) -> None:
        wanted = None if thread_ids is None else {str(thread_id) for thread_id in thread_ids}
        prefix = _literally(getattr(self.saver, "_checkpoint_prefix", "checkpoint"))
        async for _, found in self._documents(f"{prefix}:*", "parent_checkpoint_id"):
            if wanted is None or found[0] in wanted:
                thread_id, checkpoint_ns, checkpoint_id, parent = found
                if parent is None or not self.is_shallow:
                    names.add(Name(thread_id, checkpoint_ns, checkpoint_id, _plain(parent) or None))
        prefix = _literally(getattr(self.saver, "_checkpoint_write_prefix", "checkpoint_write"))
        async for key, found in self._documents(f"{prefix}:*", "task_path", "task_id", "idx"):
            if wanted is None or found[0] in wanted:
                thread_id, checkpoint_ns, checkpoint_id, path, task_id, idx = found
                checkpoint = (thread_id, checkpoint_ns, checkpoint_id)
                names.add_writes([WriteName(*checkpoint, path or "", task_id, int(idx), key)])

    async def read(self, name: Name, names: Names) -> Read | None:
        full = await self.get_tuple(config_of(name))
        found = full or await self._shallow(name)
        if found is None:
            return None
        writes: list[PendingWrite] = []
        paths: dict[str, str] = {}
        stored = names.write_keys(name)
        members = ("$.task_id", "$.channel", "$.type", "$.blob")
        replies = await self._send([("JSON.GET", key, *members) for _, key in stored])
        for (path, _), reply in zip(stored, replies, strict=True):
            if reply is None:
                continue  # it was deleted meanwhile
            values = _parsed(reply)
            task_id, channel, kind, blob = (values[member][0] for member in members)
            value = self.saver.serde.loads_typed((kind, self.saver._decode_blob(blob)))
            writes.append((task_id, channel, value))
            paths[task_id] = path
        hidden = len(writes) - len(full.pending_writes or []) if full else 0
        return Read(found._replace(pending_writes=writes), paths, max(0, hidden))

    async def _shallow(self, name: Name) -> CheckpointTuple | None:
        """The newest checkpoint of a namespace that a shallow saver has stored on this server."""
        prefix = getattr(self.saver, "_checkpoint_prefix", "checkpoint")
        key = f"{prefix}:{name.thread_id}:{name.checkpoint_ns}"
        [reply] = await self._send([("JSON.GET", key)])
        if reply is None:
            return None
        document = reply if isinstance(reply, dict) else orjson.loads(reply)
        checkpoint, metadata = document["checkpoint"], document["metadata"]
        if isinstance(checkpoint, str):
            checkpoint = orjson.loads(checkpoint)
        if isinstance(metadata, str):
            metadata = orjson.loads(metadata)
        values: Any = self.saver._deserialize_channel_values(checkpoint.get("channel_values", {}))
        config = config_of(name._replace(checkpoint_id=checkpoint["id"]))
        checkpoint["channel_values"] = values
        return CheckpointTuple(config, checkpoint, metadata, None, [])

    async def _documents(self, pattern: str, *more: str) -> AsyncIterator[tuple[str, list[Any]]]:
        """The keys that match a pattern, and of each document the names of its checkpoint and other
        members."""
        members = ("thread_id", "checkpoint_ns", "checkpoint_id", *more)
        paths = [f"$.{member}" for member in members]
        async for page in self._keys(pattern):
            replies = await self._send([("JSON.GET", key, *paths) for key in page])
            for key, reply in zip(page, replies, strict=True):
                values = {} if reply is None else _parsed(reply)
                found = [next(iter(values.get(path, [])), None) for path in paths]
                if None not in found[:3]:  # else it was deleted, or is not of this saver
                    yield key, [*map(_plain, found[:3]), *found[3:]]

    async def _keys(self, pattern: str) -> AsyncIterator[list[str]]:
        scan = partial(self.saver._redis.scan_iter, pattern, count=PAGE)
        page: list[str] = []
        if self.asynchronous:
            async for key in scan():
                page.append(_text(key))
                if len(page) == PAGE:
                    yield page
                    page = []
        else:
            iterator = iter(scan())
            while (key := await self.call(next, iterator, None)) is not None:
                page.append(_text(key))
                if len(page) == PAGE:
                    yield page
                    page = []
        yield page

    async def _send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        if not commands:
            return []
        pipeline = self.saver._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        if self.asynchronous:
            replies: list[Any] = await pipeline.execute()
            return replies
        return await self.call(pipeline.execute)


class ShallowRedisSource(RedisSource):
    """The shallow savers of ``langgraph-checkpoint-redis``."""

    is_shallow = True


_NOTHING = {"__empty__": "", "00000000-0000-0000-0000-000000000000": "", "None": ""}
"""How ``langgraph-checkpoint-redis`` spells an empty id or namespace."""

_SOURCES: dict[str, type[Source]] = {
    "langgraph.checkpoint.memory": MemorySource,
    "langgraph.checkpoint.postgres.shallow": ShallowPostgresSource,
    "langgraph.checkpoint.postgres": PostgresSource,
    "langgraph.checkpoint.sqlite": SqliteSource,
    "langgraph.checkpoint.redis.shallow": ShallowRedisSource,
    "langgraph.checkpoint.redis.ashallow": ShallowRedisSource,
    "langgraph.checkpoint.redis": RedisSource,
    "langgraph_redis_json": OwnSource,
}
"""The package of a saver's class -> how it is asked."""


async def source_of(saver: BaseCheckpointSaver[Any], *, on_loop: bool) -> Source:
    """How to ask a saver.

    Args:
        saver: the saver.
        on_loop: whether the migration runs on an event loop.

    Raises:
        TypeError: if it is no saver, or if it is asynchronous and the migration is not.
    """
    if not isinstance(saver, BaseCheckpointSaver):
        raise TypeError(f"the source must be a saver of LangGraph, not {type(saver).__name__}")
    kind: type[Source] = Source
    for base in type(saver).__mro__:
        for package, one in _SOURCES.items():
            if kind is Source and f"{base.__module__}.".startswith(f"{package}."):
                kind = one
    if on_loop and not isinstance(saver, RedisSaver):
        try:
            await saver.aget_tuple(PROBE)
            return kind(saver, asynchronous=True, threads=False)
        except NotImplementedError:
            pass
    # The asynchronous savers of LangGraph have their event loop as an attribute. Their synchronous
    # methods would wait for it, for ever if it does not run.
    if isinstance(saver, AsyncRedisSaver) or hasattr(saver, "loop"):
        raise TypeError(f"{type(saver).__name__} is asynchronous: await amigrate() instead")
    source = kind(saver, asynchronous=False, threads=on_loop)
    try:
        await source.get_tuple(PROBE)
    except NotImplementedError as error:
        raise TypeError(
            f"{type(saver).__name__} is asynchronous: await amigrate() instead"
        ) from error
    return source


def config_of(name: Name) -> RunnableConfig:
    """The config that names a checkpoint of the source."""
    thread_id, checkpoint_ns, checkpoint_id, _ = name
    return {
        "configurable": {
            "thread_id": thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": checkpoint_id,
        }
    }


def _name_of(found: CheckpointTuple) -> Name:
    named = found.config["configurable"]
    parent = found.parent_config["configurable"]["checkpoint_id"] if found.parent_config else None
    return Name(named["thread_id"], named.get("checkpoint_ns", ""), named["checkpoint_id"], parent)


def _plain(value: Any) -> Any:
    return _NOTHING.get(value, value)


def _literally(text: str) -> str:
    """A pattern of SCAN that matches only this text."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


def _parsed(reply: Any) -> dict[str, list[Any]]:
    """The reply to JSON.GET with several paths; the saver's client may have parsed it."""
    found: dict[str, list[Any]] = reply if isinstance(reply, dict) else orjson.loads(reply)
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

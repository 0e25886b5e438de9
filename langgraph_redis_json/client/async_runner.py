"""Runs plans on a client of redis.asyncio.

`make generate` writes `sync_runner.py` from this file.
"""

import asyncio  # async only
import logging
from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import wait  # async only
from contextvars import copy_context  # async only
from time import monotonic
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, PipelineCommand, RedisCluster
from redis.exceptions import (
    ClusterError,
    MovedError,
    NoScriptError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from langgraph_redis_json.client.clients import (
    SearchNode,
    bound_pool,
    check_encoding,
    node_of_cluster,
    unsuitable,
    with_plain_replies,
    wrong_database,
)
from langgraph_redis_json.client.event_loops import ClientPerLoop  # async only
from langgraph_redis_json.client.groups import Groups  # async only
from langgraph_redis_json.client.long_steps import executor, is_large  # async only
from langgraph_redis_json.client.plan import Command, Listing, Plan, Replies, is_search
from langgraph_redis_json.client.scripts import in_cluster, with_source
from langgraph_redis_json.errors import BlockingCallError  # async only

T = TypeVar("T")

logger = logging.getLogger("langgraph_redis_json")

MOVING_TRIES = 120
"""How often a call is tried again while the slot of its thread is moved. redis-py itself tries for
nearly half a second each time."""


# async only: begin
class Finished(Exception):
    """StopIteration of a plan, which a coroutine may not raise."""

    def __init__(self, value: Any) -> None:
        self.value = value


# async only: end


class AsyncRunner:
    """Runs the plans of one saver and its clones.

    Args:
        client: of a server or of a cluster.

    Attributes:
        client: the same.
        owned: whether `aclose` closes the client.
        log_slower_than: seconds after which the log names a call; None for no call.
        clustered: whether the client is that of a cluster.
    """

    def __init__(
        self, client: Redis | RedisCluster, *, owned: bool, log_slower_than: float | None = None
    ) -> None:
        check_encoding(client)
        if owned and isinstance(client, Redis):
            bound_pool(client, BlockingConnectionPool)
        self._refusal = wrong_database(client)
        self.client = client
        self.owned = owned
        self.log_slower_than = log_slower_than
        self.clustered = isinstance(client, RedisCluster)
        self._plain = client if isinstance(client, RedisCluster) else with_plain_replies(client)
        # async only: begin
        self._groups = Groups(_exchange)
        self._clients = ClientPerLoop(self._plain)
        # async only: end

    async def run(self, plan: Plan[T]) -> T:
        """The result of an operation."""
        if self._refusal:
            raise self._refusal
        client, searches = self._clients.client(), SearchNode()
        began = None if self.log_slower_than is None else monotonic()
        try:
            commands = next(plan)
            while True:
                try:
                    replies = await self.execute(client, commands, searches)
                except RedisError as error:
                    searches.fail()
                    commands = plan.throw(error)
                else:
                    commands = await self._step(plan, replies)
        except (StopIteration, Finished) as done:
            result: T = done.value
            return result
        finally:
            if began is not None:
                self._log_if_slow(plan, began)

    async def iterate(self, listing: Listing[T]) -> AsyncIterator[T]:
        """The items that a listing finds."""
        if self._refusal:
            raise self._refusal
        client, searches = self._clients.client(), SearchNode()
        try:
            found = next(listing)
            while True:
                if not isinstance(found, list):
                    yield found
                    found = next(listing)
                    continue
                began = None if self.log_slower_than is None else monotonic()
                try:
                    replies = await self.execute(client, found, searches)
                except RedisError as error:
                    searches.fail()
                    found = listing.throw(error)
                else:
                    found = await self._step(listing, replies)
                finally:
                    if began is not None:
                        self._log_if_slow(listing, began)
        except (StopIteration, Finished):
            return

    def _log_if_slow(self, plan: Any, began: float) -> None:
        seconds = monotonic() - began
        if self.log_slower_than is not None and seconds >= self.log_slower_than:
            name = plan.__name__.lstrip("_")
            logger.warning("A slow call: %s took %.3f seconds.", name, seconds)

    async def execute(
        self, client: Redis | RedisCluster, commands: Sequence[Command], searches: SearchNode
    ) -> Replies:
        """Send a batch of commands. On a cluster, try again while a slot is moved."""
        if not isinstance(client, RedisCluster):
            try:
                # async only: begin
                if len(commands) == 1 and commands[0][0] == "EVALSHA":
                    return _checked([await self._groups.send(client, commands[0])])
                # async only: end
                return await _send(client, commands)
            except MovedError as error:
                raise node_of_cluster() from error
        if is_search(commands):
            await client.initialize()  # async only
            return await _on_node(searches.choose(client), commands)
        commands = [in_cluster(command) for command in commands]
        for number in range(MOVING_TRIES):
            try:
                return await _send(client, commands)
            except (TryAgainError, ClusterError) as error:
                # redis-py tries for half a second itself, and then raises the latter.
                if not isinstance(error, TryAgainError) and "TTL exhausted" not in str(error):
                    raise
                level = logging.DEBUG if number else logging.INFO
                logger.log(level, "The slot of a thread is moved: tries its call again. %s", error)
            await sleep(0.05)
        return await _send(client, commands)

    async def aclose(self) -> None:
        """Close the client's connections, if the saver opened them."""
        if self.owned:
            await self._clients.disconnect()

    # async only: begin
    async def _step(self, plan: Any, replies: Replies) -> Any:
        """The next step of a plan. A long step runs in a thread, so that the event loop goes on."""

        def step() -> Any:
            try:
                return plan.send(replies)
            except StopIteration as done:
                raise Finished(done.value) from None

        if not replies or is_large(replies):
            context = copy_context()
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(executor(), context.run, step)
        return step()

    def wait(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine, for a caller on another thread than the saver's event loop.

        If no event loop runs the saver, the call runs one of its own.
        """
        _refuse_on_loop()
        loop = self._clients.running()
        if loop is not None:
            future = asyncio.run_coroutine_threadsafe(call(), loop)
            while not wait([future], timeout=1).done:
                if not loop.is_running():
                    raise RuntimeError(
                        "the event loop on which this saver is awaited stopped before this call "
                        "ended; whether the call was carried out is not known"
                    )
            return future.result()
        return asyncio.run(self._alone(call))

    def wait_for_each(self, iterate: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
        """The items of an asynchronous iterator, for a caller on another thread."""
        found = iterate()  # wrong arguments raise at once

        async def following() -> T | None:
            return await anext(found, None)

        async def everything() -> list[T]:
            return [item async for item in iterate()]

        def items() -> Iterator[T]:
            if self._clients.running() is None:
                # An event loop of the call's own ends with it, and the iteration with the loop.
                yield from self.wait(everything)
                return
            while (item := self.wait(following)) is not None:
                yield item

        return items()

    async def _alone(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        self._clients.begin_call()
        try:
            return await call()
        finally:
            await self._clients.disconnect()

    # async only: end


async def _send(client: Redis | RedisCluster, commands: Sequence[Command]) -> Replies:
    """One round trip; a second one for scripts that the server does not know yet."""
    return _checked(await _exchange(client, commands)) if commands else []


def _checked(replies: Replies) -> Replies:
    """The replies, unless one of them is an error."""
    for reply in replies:
        if isinstance(reply, Exception):
            if refusal := unsuitable(reply):
                raise refusal from reply
            raise reply
    return replies


async def _exchange(client: Redis | RedisCluster, commands: Sequence[Command]) -> Replies:
    """As `_send`; but errors of the server stand among the replies."""
    # redis-py's client-side cache refuses commands that are not in a pipeline, but not scripts.
    if len(commands) == 1 and (commands[0][0] == "EVALSHA" or isinstance(client, RedisCluster)):
        call: Any = client.execute_command
        try:
            try:
                return [await call(*commands[0])]
            except NoScriptError:
                logger.debug("The server does not know a script: sends its text.")
                return [await call(*with_source(commands[0]))]
        except ResponseError as error:
            return [error]
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    replies: Replies = await pipeline.execute(raise_on_error=False)
    # Only the unknown scripts are sent again: other commands may fail the second time.
    unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if unknown:
        logger.debug("The server does not know a script: sends its text.")
        pipeline = client.pipeline(transaction=False)
        for at in unknown:
            pipeline.execute_command(*with_source(commands[at]))
        again = await pipeline.execute(raise_on_error=False)
        for at, reply in zip(unknown, again, strict=True):
            replies[at] = reply
    return replies


# async only: begin
async def _on_node(node: ClusterNode, commands: Sequence[Command]) -> Replies:
    """One round trip to one node of a cluster. (The pipeline of a cluster's client would send a
    command that failed again, to any node.)"""
    sent = [PipelineCommand(at, *command) for at, command in enumerate(commands)]
    await node.execute_pipeline(sent)
    for command in sent:
        if isinstance(command.result, Exception):
            raise unsuitable(command.result) or command.result
    return [command.result for command in sent]


def _refuse_on_loop() -> None:
    """Refuse a blocking call on an event loop.

    Raises:
        BlockingCallError: on an event loop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BlockingCallError


# async only: end

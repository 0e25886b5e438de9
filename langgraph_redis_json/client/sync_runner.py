"""Runs plans on a client of redis-py.

`make generate` writes this file from `async_runner.py`: change that one.
"""

import logging
from collections.abc import Iterator, Sequence
from time import monotonic, sleep
from typing import Any, TypeVar

from redis import BlockingConnectionPool, Redis
from redis.cluster import RedisCluster
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
from langgraph_redis_json.client.plan import Command, Listing, Plan, Replies, is_search
from langgraph_redis_json.client.scripts import in_cluster, with_source

T = TypeVar("T")

logger = logging.getLogger("langgraph_redis_json")

MOVING_TRIES = 120
"""How often a call is tried again while the slot of its thread is moved. redis-py itself tries for
nearly half a second each time."""


class SyncRunner:
    """Runs the plans of one saver and its clones.

    Args:
        client: of a server or of a cluster.

    Attributes:
        client: the same.
        owned: whether `close` closes the client.
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

    def run(self, plan: Plan[T]) -> T:
        """The result of an operation."""
        if self._refusal:
            raise self._refusal
        client, searches = self._plain, SearchNode()
        began = None if self.log_slower_than is None else monotonic()
        try:
            commands = next(plan)
            while True:
                try:
                    replies = self.execute(client, commands, searches)
                except RedisError as error:
                    searches.fail()
                    commands = plan.throw(error)
                else:
                    commands = plan.send(replies)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            if began is not None:
                self._log_if_slow(plan, began)

    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        """The items that a listing finds."""
        if self._refusal:
            raise self._refusal
        client, searches = self._plain, SearchNode()
        try:
            found = next(listing)
            while True:
                if not isinstance(found, list):
                    yield found
                    found = next(listing)
                    continue
                began = None if self.log_slower_than is None else monotonic()
                try:
                    replies = self.execute(client, found, searches)
                except RedisError as error:
                    searches.fail()
                    found = listing.throw(error)
                else:
                    found = listing.send(replies)
                finally:
                    if began is not None:
                        self._log_if_slow(listing, began)
        except StopIteration:
            return

    def _log_if_slow(self, plan: Any, began: float) -> None:
        seconds = monotonic() - began
        if self.log_slower_than is not None and seconds >= self.log_slower_than:
            name = plan.__name__.lstrip("_")
            logger.warning("A slow call: %s took %.3f seconds.", name, seconds)

    def execute(
        self, client: Redis | RedisCluster, commands: Sequence[Command], searches: SearchNode
    ) -> Replies:
        """Send a batch of commands. On a cluster, try again while a slot is moved."""
        if not isinstance(client, RedisCluster):
            try:
                return _send(client, commands)
            except MovedError as error:
                raise node_of_cluster() from error
        if is_search(commands):
            return _send(client.get_redis_connection(searches.choose(client)), commands)
        commands = [in_cluster(command) for command in commands]
        for number in range(MOVING_TRIES):
            try:
                return _send(client, commands)
            except (TryAgainError, ClusterError) as error:
                # redis-py tries for half a second itself, and then raises the latter.
                if not isinstance(error, TryAgainError) and "TTL exhausted" not in str(error):
                    raise
                level = logging.DEBUG if number else logging.INFO
                logger.log(level, "The slot of a thread is moved: tries its call again. %s", error)
            sleep(0.05)
        return _send(client, commands)

    def close(self) -> None:
        """Close the client's connections, if the saver opened them."""
        if self.owned:
            self.client.close()


def _send(client: Redis | RedisCluster, commands: Sequence[Command]) -> Replies:
    """One round trip; a second one for scripts that the server does not know yet."""
    return _checked(_exchange(client, commands)) if commands else []


def _checked(replies: Replies) -> Replies:
    """The replies, unless one of them is an error."""
    for reply in replies:
        if isinstance(reply, Exception):
            if refusal := unsuitable(reply):
                raise refusal from reply
            raise reply
    return replies


def _exchange(client: Redis | RedisCluster, commands: Sequence[Command]) -> Replies:
    """As `_send`; but errors of the server stand among the replies."""
    # redis-py's client-side cache refuses commands that are not in a pipeline, but not scripts.
    if len(commands) == 1 and (commands[0][0] == "EVALSHA" or isinstance(client, RedisCluster)):
        call: Any = client.execute_command
        try:
            try:
                return [call(*commands[0])]
            except NoScriptError:
                logger.debug("The server does not know a script: sends its text.")
                return [call(*with_source(commands[0]))]
        except ResponseError as error:
            return [error]
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    replies: Replies = pipeline.execute(raise_on_error=False)
    # Only the unknown scripts are sent again: other commands may fail the second time.
    unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if unknown:
        logger.debug("The server does not know a script: sends its text.")
        pipeline = client.pipeline(transaction=False)
        for at in unknown:
            pipeline.execute_command(*with_source(commands[at]))
        again = pipeline.execute(raise_on_error=False)
        for at, reply in zip(unknown, again, strict=True):
            replies[at] = reply
    return replies

"""Runs plans on a client of redis-py.

`make generate` writes this file from `async_runner.py`: change that one.
"""

from collections.abc import Iterator, Sequence
from time import sleep
from typing import Any, TypeVar

from redis import BlockingConnectionPool, Redis
from redis.cluster import RedisCluster
from redis.exceptions import (
    ClusterError,
    NoScriptError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from langgraph_redis_json.client.clients import (
    SearchNode,
    bound_pool,
    check_encoding,
    unsuitable,
    with_plain_replies,
    wrong_database,
)
from langgraph_redis_json.client.plan import Command, Listing, Plan, Replies, is_search
from langgraph_redis_json.client.scripts import in_cluster, with_source

T = TypeVar("T")

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
        clustered: whether the client is that of a cluster.
    """

    def __init__(self, client: Redis | RedisCluster, *, owned: bool) -> None:
        check_encoding(client)
        if owned and isinstance(client, Redis):
            bound_pool(client, BlockingConnectionPool)
        self._refusal = wrong_database(client)
        self.client = client
        self.owned = owned
        self.clustered = isinstance(client, RedisCluster)
        self._plain = client if isinstance(client, RedisCluster) else with_plain_replies(client)

    def run(self, plan: Plan[T]) -> T:
        """The result of an operation."""
        if self._refusal:
            raise self._refusal
        client, searches = self._plain, SearchNode()
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
                try:
                    replies = self.execute(client, found, searches)
                except RedisError as error:
                    searches.fail()
                    found = listing.throw(error)
                else:
                    found = listing.send(replies)
        except StopIteration:
            return

    def execute(
        self, client: Redis | RedisCluster, commands: Sequence[Command], searches: SearchNode
    ) -> Replies:
        """Send a batch of commands. On a cluster, try again while a slot is moved."""
        if not isinstance(client, RedisCluster):
            return _send(client, commands)
        if is_search(commands):
            return _send(client.get_redis_connection(searches.choose(client)), commands)
        commands = [in_cluster(command) for command in commands]
        for _ in range(MOVING_TRIES):
            try:
                return _send(client, commands)
            except (TryAgainError, ClusterError) as error:
                # redis-py tries for half a second itself, and then raises the latter.
                if not isinstance(error, TryAgainError) and "TTL exhausted" not in str(error):
                    raise
            sleep(0.05)
        return _send(client, commands)

    def close(self) -> None:
        """Close the client's connections, if the saver opened them."""
        if self.owned:
            self.client.close()


def _send(client: Redis | RedisCluster, commands: Sequence[Command]) -> Replies:
    """One round trip; a second one for scripts that the server does not know yet."""
    if not commands:
        return []
    # redis-py's client-side cache refuses commands that are not in a pipeline, but not scripts.
    if len(commands) == 1 and (commands[0][0] == "EVALSHA" or isinstance(client, RedisCluster)):
        call: Any = client.execute_command
        try:
            try:
                return [call(*commands[0])]
            except NoScriptError:
                return [call(*with_source(commands[0]))]
        except ResponseError as error:
            if refusal := unsuitable(error):
                raise refusal from error
            raise
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    replies: Replies = pipeline.execute(raise_on_error=False)
    # Only the unknown scripts are sent again: other commands may fail the second time.
    unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if unknown:
        pipeline = client.pipeline(transaction=False)
        for at in unknown:
            pipeline.execute_command(*with_source(commands[at]))
        again = pipeline.execute(raise_on_error=False)
        for at, reply in zip(unknown, again, strict=True):
            replies[at] = reply
    for reply in replies:
        if isinstance(reply, Exception):
            raise unsuitable(reply) or reply
    return replies

"""setup: check the server. `search/indexes.py` builds the indexes."""

import re
from warnings import warn

from redis.exceptions import NoPermissionError, ResponseError

from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.clients import node_of_cluster
from langgraph_redis_json.client.plan import Command, Plan
from langgraph_redis_json.client.replies import document_count, text
from langgraph_redis_json.client.scripts import send, with_source
from langgraph_redis_json.errors import (
    CoordinatorMissingError,
    TriesExhaustedError,
    UnsuitableServerError,
)
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.search import indexes
from langgraph_redis_json.search.fields import SCHEMAS
from langgraph_redis_json.search.queries import (
    ASK_NODES,
    ASK_SLOTS,
    NOTHING,
    SETUP_THREAD,
    has_coordinator,
    index_name,
)
from langgraph_redis_json.storage import keys

STALLED = 30_000
"""Steps after which setup() gives up a server that does not go on: ten minutes or more."""


class Progress:
    """Ends setup() if the share that is done stays the same."""

    def __init__(self) -> None:
        self._share, self._steps = -1.0, 0

    def check(self, share: float) -> None:
        """Remember the share after a step.

        Raises:
            TriesExhaustedError: if it was the same after the last `STALLED` steps.
        """
        self._steps = self._steps + 1 if share == self._share else 1
        self._share = share
        if self._steps == STALLED:
            raise TriesExhaustedError(
                what="building the search indexes",
                times=STALLED,
                why=f"each time the server said that {share:.0%} was done",
                remedy="Look at FT.INFO of the indexes, then call setup() again.",
            )


def check_server(context: Context) -> Plan[None]:
    """Check that the server has, and lets this user run, all commands that a saver runs.

    A cluster whose Search has no coordinator gets no indexes, which would each have the threads of
    one node, but a warning.

    Raises:
        UnsuitableServerError: if the server, its database or the user's permissions do not suffice.
    """
    yield from _check_commands(context.key_prefix)
    yield from _check_facts(context)
    if context.clustered and not (yield from has_coordinator()):
        warn(str(CoordinatorMissingError()), stacklevel=2)
        return
    yield from check_search(context)


def build_indexes(context: Context) -> Plan[float]:
    """Do the next step to build the indexes; see `indexes.build`."""
    schemas = SCHEMAS if context.message_search is None else (*SCHEMAS, "messages")
    return indexes.build(context.key_prefix, context.metadata_fields, context.clustered, schemas)


OTHER_SAVERS_INDEXES = ("checkpoint", "checkpoints")
"""The names of the index that ``langgraph-checkpoint-redis`` creates, today and before."""


def look_for_others(context: Context) -> Plan[None]:
    """Warn if the server has the threads of ``langgraph-checkpoint-redis`` and none of this saver:
    somebody has changed the saver, and would find all conversations empty."""
    if context.clustered and not (yield from has_coordinator()):
        return
    [names] = yield [("FT._LIST",)]
    others = [name for name in map(text, names) if name in OTHER_SAVERS_INDEXES]
    if not others:
        return
    own = index_name(context.key_prefix, SCHEMAS[0])
    try:
        counts = map(document_count, (yield [("FT.INFO", name) for name in (own, *others)]))
    except ResponseError:
        return  # the user may not look at the index, or somebody has just dropped it
    if next(counts) == 0 and any(counts):
        warn(
            "this Redis has threads of langgraph-checkpoint-redis, and none of this saver. It does "
            "not read them: copy them with langgraph_redis_json.migration (docs/migrating.md)",
            stacklevel=2,
        )


def _check_commands(key_prefix: str) -> Plan[None]:
    thread = keys.thread_keys(key_prefix, SETUP_THREAD)
    check = scripts.check_commands(thread)
    try:
        yield [with_source(check.command)]
    except NoPermissionError as error:
        if "key" in str(error):
            raise UnsuitableServerError(
                why=f"its user may not use the key {thread.contents} ({error})",
                remedy=f"Let the user use the keys {key_prefix}*, with ACL SETUSER",
            ) from error
        raise _forbidden("EVAL", error) from error
    try:
        failures = yield from send(check)
    except NoPermissionError as error:
        raise _forbidden("EVALSHA", error) from error
    for command, message in failures:
        if "unknown" in message.lower():
            module = "Search" if command.startswith("FT.") else "JSON"
            raise UnsuitableServerError(
                why=f"it does not know {command}, a command of Redis {module}",
                remedy="Use Redis 8, Redis Stack, or a service that offers both Search and JSON",
            )
        raise _forbidden(command, message)


def _check_facts(context: Context) -> Plan[None]:
    """Refuse a cluster behind a client of one server. Warn of a server that deletes keys when it is
    full."""
    thread = keys.thread_keys(context.key_prefix, SETUP_THREAD)
    policy, mode = yield from send(scripts.server_facts(thread))
    if mode == "cluster" and not context.clustered:
        raise node_of_cluster()
    if policy.startswith("allkeys") or (context.ttl and policy.startswith("volatile")):
        warn(
            f"this Redis deletes keys when it is full (maxmemory-policy {policy}), so threads can "
            "lose checkpoints that they need: set maxmemory-policy to noeviction",
            stacklevel=2,
        )


def check_search(context: Context) -> Plan[None]:
    """Run the commands of indexes on an index that does not exist."""
    no_index = index_name(context.key_prefix, SCHEMAS[0]) + "_probe"
    batches: list[list[Command]] = [
        [("FT.CREATE", no_index, "ON", "JSON", "SCHEMA")],
        [("FT.INFO", no_index)],
        [("FT.SEARCH", no_index, "*")],
        [("FT.AGGREGATE", no_index, "*")],
        [("FT.CURSOR", "DEL", no_index, 0)],
        [("FT.ALIASUPDATE", no_index, no_index)],
        [("FT.DROPINDEX", no_index)],
    ]
    if context.clustered:
        batches += [[("FT.PROFILE", no_index, "SEARCH", "QUERY", *NOTHING)], [ASK_NODES, ASK_SLOTS]]
    for commands in batches:
        try:
            yield commands
        except NoPermissionError as error:
            raise _forbidden(commands[0][0], error) from error
        except ResponseError as error:
            message = str(error).lower()
            if "db != 0" in message or "database 0" in message:
                raise UnsuitableServerError(
                    why="Redis indexes only database 0, and the client uses another",
                    remedy="Connect to database 0, and keep applications apart with key_prefix=",
                ) from error


def _forbidden(command: object, message: object) -> UnsuitableServerError:
    # The message may name another command, which the client sends when it connects.
    if named := re.search(r"run the '(.+?)' command", str(message)):
        command = named[1].upper()
    return UnsuitableServerError(
        why=f"its user may not run {command} ({message})",
        remedy="Let the user run it, with ACL SETUSER",
    )

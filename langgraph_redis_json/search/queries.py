"""Searches: the commands, and the checks that the index can answer them completely."""

import logging
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from redis.exceptions import ResponseError
from redisvl.query.filter import FilterExpression

from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Command, Plan
from langgraph_redis_json.client.replies import index_info, indexed_share
from langgraph_redis_json.client.scripts import send
from langgraph_redis_json.errors import (
    CoordinatorMissingError,
    IndexIncompleteError,
    IndexMissingError,
    MetadataFieldMissingError,
)
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.search import fields
from langgraph_redis_json.storage import keys

T = TypeVar("T")

logger = logging.getLogger("langgraph_redis_json")

NAMES = 5_000
"""Keys that one trip of a search returns, so that the server is soon free again."""

MOST_SORTED = 1_000
"""Results that the server is asked to sort, at most."""

# Without a time limit: past its limit the server would return part of the answer as all of it.
WHOLE_ANSWER: Command = ("TIMEOUT", 0, "DIALECT", 2)

SETUP_THREAD = "langgraph_redis_json setup"
"""A thread id that no application uses: commands for the server as a whole name its keys."""


def index_name(key_prefix: str, which: str) -> str:
    """The alias of an index.

    Args:
        key_prefix: the saver's.
        which: "checkpoints", "writes" or "threads".
    """
    return key_prefix + str(fields.built_in(which).index.name)


def is_missing(error: ResponseError) -> bool:
    """Whether the server says that there is no such index."""
    message = str(error).lower()
    return "no such index" in message or "unknown index name" in message


def is_too_many(error: ResponseError) -> bool:
    """Whether the server says that it returns no search so many results."""
    return "exceeds maximum" in str(error)  # the message names its MAXSEARCHRESULTS


def has_coordinator(key_prefix: str) -> Plan[bool]:
    """Whether the Search of a cluster can search all nodes."""
    thread = keys.thread_keys(key_prefix, SETUP_THREAD)
    return (yield from send(scripts.has_coordinator(thread)))


def search(context: Context, index: str, used: Collection[str], command: Command) -> Plan[Any]:
    """The reply to a search, from an index that has all documents and fields.

    The server reports neither of these: it finds nothing by a field that the index lacks, and finds
    part of the documents while it fills the index, after a restart for example. So the same trip
    asks for both.

    Args:
        context: the saver's.
        index: its alias.
        used: the user's metadata fields that the search uses.
        command: the search.

    Raises:
        CoordinatorMissingError: on a cluster whose Search sees one node only.
        IndexMissingError, IndexIncompleteError, MetadataFieldMissingError: see their messages.
    """
    if context.clustered and not (yield from has_coordinator(context.key_prefix)):
        raise CoordinatorMissingError
    try:
        info, reply = yield [("FT.INFO", index), command]
    except ResponseError as error:
        if is_missing(error):
            raise IndexMissingError(index=index) from error
        raise
    if (share := indexed_share(info)) < 1:
        raise IndexIncompleteError(index=index, share=f"{share:.0%}")
    live = index_info(info).fields if used else {}
    for name in used:
        field = live.get(name)
        if field is None or field.path != context.metadata_fields[name].path:
            raise MetadataFieldMissingError(index=index, field=name)
    return reply


def whole_search(index: str, query: FilterExpression, *loaded: str) -> Command:
    """A search for all matches, in no order.

    A cursor without SORTBY is the one way to results that the server does not cap.

    Args:
        index: its alias.
        query: what to search for.
        loaded: the fields to return.
    """
    return (
        *("FT.AGGREGATE", index, str(query), "LOAD", len(loaded)),
        *loaded,
        *("WITHCURSOR", "COUNT", NAMES, *WHOLE_ANSWER),
    )


def next_page(index: str, cursor: int) -> Command:
    """Read a cursor."""
    return ("FT.CURSOR", "READ", index, cursor, "COUNT", NAMES)


def with_cursor(search: Callable[[], Plan[T]]) -> Plan[T]:
    """Run a search that reads a cursor. If the cursor is lost, run it again, twice at most: setup()
    has replaced the index, or nobody read the cursor for minutes."""
    for _ in range(2):
        try:
            return (yield from search())
        except ResponseError as error:
            if "cursor" not in str(error).lower():
                raise
            logger.info("The cursor of a search was lost: searches again. %s", error)
    return (yield from search())

"""Searches: the commands, and the checks that the index can answer them completely."""

import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, TypeVar

from redis.exceptions import ConnectionError, ResponseError
from redisvl.query.filter import FilterExpression

from langgraph_redis_json.client.plan import Command, Plan
from langgraph_redis_json.client.replies import (
    SearchNodes,
    index_info,
    indexed_share,
    profiled_shards,
    search_nodes,
    slot_owners,
)
from langgraph_redis_json.errors import (
    CoordinatorMissingError,
    IndexIncompleteError,
    IndexMissingError,
    MetadataFieldMissingError,
)
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.search import fields

T = TypeVar("T")

logger = logging.getLogger("langgraph_redis_json")

NAMES = 5_000
"""Keys that one trip of a search returns, so that the server is soon free again."""

TRIES = 2
"""How often a search is tried again after its cursor or its node was lost."""

MOST_SORTED = 1_000
"""Results that the server is asked to sort, at most."""

# Without a time limit: past its limit the server would return part of the answer as all of it.
WHOLE_ANSWER: Command = ("TIMEOUT", 0, "DIALECT", 2)

NOTHING: Command = ("*", "INKEYS", 1, "no key")
"""A search that finds nothing, by any index."""

# The first asks the Search of a node, the second the node itself. As two words, because redis-py
# changes the reply to the command that it knows.
NODES: Command = ("SEARCH.CLUSTERINFO",)
SLOTS: Command = ("CLUSTER", "SLOTS")

SETUP_THREAD = "langgraph_redis_json setup"
"""A thread id that no application uses: commands for the server as a whole name its keys."""


def index_name(key_prefix: str, which: str) -> str:
    """The alias of an index.

    Args:
        key_prefix: the saver's.
        which: "checkpoints", "writes", "threads" or "messages".
    """
    return key_prefix + str(fields.built_in(which).index.name)


def is_missing(error: ResponseError) -> bool:
    """Whether the server says that there is no such index."""
    message = str(error).lower()
    return "no such index" in message or "unknown index name" in message


def has_coordinator() -> Plan[bool]:
    """Whether the Search of a cluster can search all nodes."""
    return (yield from _search_nodes()) is not None


def copies() -> Plan[int]:
    """How often a row can come in the reply to a search on a cluster."""
    found = yield from _search_nodes()
    return found.copies if found else 1


def _search_nodes() -> Plan[SearchNodes | None]:
    """The nodes of the cluster that a search asks; None without a coordinator."""
    try:
        [reply] = yield [NODES]
    except ResponseError as error:
        if "unknown command" in str(error).lower():
            return None
        raise
    return search_nodes(reply)


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
    try:
        info, reply = yield from _tried_again(
            context, lambda: _ask(context, index, ("FT.INFO", index), command)
        )
    except ResponseError as error:
        if context.clustered and not (yield from has_coordinator()):
            raise CoordinatorMissingError from error
        if is_missing(error):
            raise IndexMissingError(index=index) from error
        if used:  # Search 8 refuses a field that it does not know, or that has another type
            [info] = yield [("FT.INFO", index)]
            _check_fields(context, index, used, info)
        raise
    if (share := indexed_share(info)) < 1:
        raise IndexIncompleteError(
            index=index,
            why=f"the server has indexed {share:.0%} of them, for example after a restart. setup() "
            "returns when the index is complete",
        )
    _check_fields(context, index, used, info)
    return reply


def _check_fields(context: Context, index: str, used: Collection[str], info: Any) -> None:
    """Check that an index has the user's metadata fields that a search uses."""
    live = index_info(info).fields if used else {}
    for name in used:
        field = live.get(name)
        if field is None or field.path != context.metadata_fields[name].path:
            raise MetadataFieldMissingError(index=index, field=name)


def _ask(context: Context, index: str, *commands: Command) -> Plan[list[Any]]:
    """The replies to commands of one search, to which all nodes have contributed.

    On a cluster the coordinator leaves out a node to which it has no connection, and does not say
    so. An empty search before and after the commands, in the same trip, tells how many nodes
    answer. The coordinator must also know all nodes that have slots.
    """
    if not context.clustered:
        return (yield [*commands])
    empty: Command = (
        *("FT.PROFILE", index, "SEARCH", "LIMITED", "QUERY", *NOTHING),
        *("LIMIT", 0, 0, *WHOLE_ANSWER),
    )
    # A node that has not searched yet knows no others before the first search.
    nodes_before, before, *replies, after, nodes_after, slots = yield [
        *(NODES, empty),
        *commands,
        *(empty, NODES, SLOTS),
    ]
    for nodes, profile in ((nodes_before, before), (nodes_after, after)):
        wanted, answered = search_nodes(nodes).shards, profiled_shards(profile)
        if answered < wanted:
            raise IndexIncompleteError(
                index=index,
                why=f"of {wanted} parts of the cluster only {answered} answered, for example "
                "because a node has failed",
            )
    if unknown := slot_owners(slots) - search_nodes(nodes_after).ids:
        raise IndexIncompleteError(
            index=index, why=f"its Search does not know yet the nodes {sorted(unknown)}"
        )
    return replies


def _tried_again(context: Context, search: Callable[[], Plan[T]]) -> Plan[T]:
    """Run a search on a cluster again if its node or others did not answer, twice at most. When
    slots move, the coordinator may leave out nodes for a moment."""
    if context.clustered:
        for _ in range(TRIES):
            with suppress(ConnectionError, IndexIncompleteError):
                return (yield from search())
    return (yield from search())


def newest(
    context: Context,
    index: str,
    used: Collection[str],
    most: int,
    command: Callable[[int], Command],
    rows_of: Callable[[Any], list[T]],
) -> Plan[list[T] | None]:
    """The first rows of a search that the server sorts, each once.

    On a cluster a node whose slots are not in one range sends each of its rows several times. The
    search is then sent again, for so many more rows.

    Args:
        context: the saver's.
        index: its alias.
        used: the user's metadata fields that the search uses.
        most: how many rows.
        command: the search for a number of rows.
        rows_of: reads the rows in a reply.

    Returns:
        Fewer rows than `most` only if there are no more; None if the server does not return so
        many.
    """
    asked = most
    for is_last in (False, True):
        if asked > MOST_SORTED:
            break
        try:
            reply = yield from search(context, index, used, command(asked))
        except ResponseError as error:
            if "exceeds maximum" in str(error):  # the message names its MAXSEARCHRESULTS
                break
            raise
        rows = rows_of(reply)
        distinct = [*dict.fromkeys(rows)]
        if len(rows) < asked or len(distinct) >= most:
            return distinct[:most]
        if not is_last:
            asked = most * (yield from copies())
    return None


def whole_search(index: str, query: FilterExpression | str, *loaded: str) -> Command:
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


def next_page(context: Context, index: str, cursor: int) -> Plan[Any]:
    """Read a cursor."""
    command: Command = ("FT.CURSOR", "READ", index, cursor, "COUNT", NAMES)
    [reply] = yield from _ask(context, index, command)
    return reply


def with_cursor(context: Context, search: Callable[[], Plan[T]]) -> Plan[T]:
    """Run a search that reads a cursor. If the cursor is lost, run it again, twice at most: setup()
    has replaced the index, nobody read the cursor for minutes, or a node of the cluster failed."""
    for _ in range(TRIES):
        try:
            return (yield from _tried_again(context, search))
        except ResponseError as error:
            if "cursor" not in str(error).lower():
                raise
            logger.info("The cursor of a search was lost: searches again. %s", error)
    return (yield from search())

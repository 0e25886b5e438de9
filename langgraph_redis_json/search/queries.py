"""Searches: the commands, and the checks that the index can answer them completely."""

import logging
from collections.abc import Callable, Collection
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

RETRIES = 2
"""How often a search is tried again after its cursor or its node was lost."""

MOST_SORTED = 1_000
"""Results that the server is asked to sort, at most."""

# Without a time limit: past its limit the server would return part of the answer as all of it.
WHOLE_ANSWER: Command = ("TIMEOUT", 0, "DIALECT", 2)

NOTHING: Command = ("*", "INKEYS", 1, "no key")
"""A search that finds nothing, by any index."""

ASK_NODES: Command = ("SEARCH.CLUSTERINFO",)
"""Asks the coordinator of a node which nodes it knows."""

ASK_SLOTS: Command = ("CLUSTER", "SLOTS")
"""Asks a node who owns the slots. (redis-py would change the reply to "CLUSTER SLOTS", as one
word.)"""

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
    """How many times a search on a cluster may return one row; see `SearchNodes.copies`."""
    found = yield from _search_nodes()
    return found.copies if found else 1


def _search_nodes() -> Plan[SearchNodes | None]:
    """The nodes of the cluster that a search asks; None without a coordinator."""
    try:
        try:
            [reply] = yield [ASK_NODES]
        except ConnectionError:
            [reply] = yield [ASK_NODES]  # goes to another node
    except ResponseError as error:
        if "unknown command" in str(error).lower():
            return None
        raise
    return search_nodes(reply)


def search(context: Context, index: str, used: Collection[str], command: Command) -> Plan[Any]:
    """The reply to a search, from an index that has all documents and fields.

    A server does not report either: Search 2 finds nothing by a field that the index lacks, and
    each finds part of the documents while it fills the index, after a restart for example. So the
    same trip asks for both.

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
        info, reply = yield from ask(context.clustered, index, ("FT.INFO", index), command)
    except ResponseError as error:
        if context.clustered and not (yield from has_coordinator()):
            raise CoordinatorMissingError from error
        if is_missing(error):
            raise IndexMissingError(index=index) from error
        if used:  # Search 8 refuses a field that it does not know, or that has another type
            [info] = yield [("FT.INFO", index)]
            _check_fields(context, index, used, info)
        raise
    check_complete(index, info)
    _check_fields(context, index, used, info)
    return reply


def check_complete(index: str, info: Any) -> None:
    """Check by ``FT.INFO`` that an index has all documents.

    Raises:
        IndexIncompleteError: if the server is still filling the index.
    """
    if (share := indexed_share(info)) < 1:
        raise IndexIncompleteError(
            index=index,
            why=f"the server has indexed {share:.0%} of them, for example after a restart. setup() "
            "returns when the index is complete",
        )


def _check_fields(context: Context, index: str, used: Collection[str], info: Any) -> None:
    """Check that an index has the user's metadata fields that a search uses."""
    live = index_info(info).fields if used else {}
    for name in used:
        field = live.get(name)
        if field is None or field.path != context.metadata_fields[name].path:
            raise MetadataFieldMissingError(index=index, field=name)


def ask(clustered: bool, index: str, *commands: Command) -> Plan[list[Any]]:
    """The replies to commands of one search, to which all nodes have contributed.

    On a cluster the coordinator leaves out a node to which it has no connection, and does not say
    so. An empty search before and after the commands, in the same trip, tells how many nodes
    answer. The coordinator must also know all nodes that have slots.

    Raises:
        IndexIncompleteError: if a node has not answered.
    """
    if not clustered:
        return (yield [*commands])
    empty: Command = (
        *("FT.PROFILE", index, "SEARCH", "LIMITED", "QUERY", *NOTHING),
        *("LIMIT", 0, 0, *WHOLE_ANSWER),
    )
    nodes_before, before, *replies, after, nodes_after, slots = yield [
        *(ASK_NODES, empty),
        *commands,
        *(empty, ASK_NODES, ASK_SLOTS),
    ]
    nodes = search_nodes(nodes_after)
    # A node that has not searched yet knows no others before the first search.
    wanted = search_nodes(nodes_before).shards or nodes.shards
    for shards, profile in ((wanted, before), (nodes.shards, after)):
        answered = profiled_shards(profile)
        if answered < shards:
            raise IndexIncompleteError(
                index=index,
                why=f"of {shards} parts of the cluster only {answered} answered, for example "
                "because a node has failed",
            )
    if unknown := slot_owners(slots) - nodes.ids:
        raise IndexIncompleteError(
            index=index, why=f"its Search does not know yet the nodes {sorted(unknown)}"
        )
    return replies


def with_retries(context: Context, search: Callable[[], Plan[T]]) -> Plan[T]:
    """Run a search again, twice at most, if its cursor is lost: setup() has replaced the index, or
    nobody read the cursor for minutes. On a cluster also if its node fails, or if not all nodes
    have answered: while slots move, the coordinator changes what it knows between two commands.
    """
    for _ in range(RETRIES):
        try:
            return (yield from search())
        except (ConnectionError, IndexIncompleteError) as error:
            if not context.clustered:
                raise
            logger.info("Not all nodes of the cluster answered a search: searches again. %s", error)
        except ResponseError as error:
            # A node says ERRCLUSTER for a moment after its start.
            if "cursor" not in str(error).lower() and "ERRCLUSTER" not in str(error):
                raise
            logger.info("The cursor of a search was lost: searches again. %s", error)
    return (yield from search())


def newest(
    context: Context,
    index: str,
    used: Collection[str],
    most: int,
    command: Callable[[int], Command],
    rows_of: Callable[[Any], list[T]],
    key_of: Callable[[T], str],
) -> Plan[list[T] | None]:
    """The first rows of a search, each once.

    On a cluster a node whose slots are not in one range sends each of its rows several times. The
    search is then sent again, for so many more rows.

    Args:
        context: the saver's.
        index: its alias.
        used: the user's metadata fields that the search uses.
        most: how many rows.
        command: the search for a number of rows.
        rows_of: reads the rows in a reply.
        key_of: the key of a row. Two nodes may have different documents of one key for a moment.

    Returns:
        Fewer rows than `most` only if there are no more; None if the server does not return so
        many.
    """
    asked = most
    for is_last in (False, True):
        if asked > MOST_SORTED:
            break
        try:
            reply = yield from with_retries(
                context,
                lambda: search(context, index, used, command(asked)),  # noqa: B023
            )
        except ResponseError as error:
            if "exceeds maximum" in str(error):  # of MAXSEARCHRESULTS
                break
            raise
        rows = rows_of(reply)
        distinct: dict[str, T] = {}
        for row in rows:
            distinct.setdefault(key_of(row), row)
        if len(rows) < asked or len(distinct) >= most:
            return [*distinct.values()][:most]
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
    [reply] = yield from ask(context.clustered, index, command)
    return reply

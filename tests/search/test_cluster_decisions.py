"""What plans do with the replies of a cluster: `tests/cluster` sees the same on a real one.

The replies have the forms that a cluster of three nodes with Redis 8.2 and Search 8.0 gave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from redis.exceptions import ConnectionError, ResponseError

from langgraph_redis_json import (
    CoordinatorMissingError,
    IndexIncompleteError,
    IndexMissingError,
    MetadataFieldMissingError,
)
from langgraph_redis_json.client.clients import SearchNode
from langgraph_redis_json.client.plan import Command, Plan, is_search
from langgraph_redis_json.client.replies import (
    profiled_shards,
    search_keys,
    search_nodes,
    slot_owners,
)
from langgraph_redis_json.operations import ping
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.search import fields, indexes, queries
from langgraph_redis_json.storage.cache import Cache

NODES = ["a" * 40, "b" * 40, "c" * 40]
"""The ids of three primaries."""

UNKNOWN_COMMAND = ResponseError("unknown command 'SEARCH.CLUSTERINFO', with args beginning with: ")
NO_INDEX = ResponseError("No such index checkpoints")
NO_CURSOR = ResponseError("Cursor not found, id: 474354898")
JUST_STARTED = ResponseError("ERRCLUSTER Uninitialized cluster state, could not perform command")
UNKNOWN_FIELD = ResponseError("Unknown field at offset 0 near score")


def context(*, clustered: bool = True, **metadata_fields: Any) -> Context:
    return Context(
        "", JsonPlusSerializer(), Cache(), fields.read(metadata_fields), clustered=clustered
    )


# ---- replies


def cluster_info(ranges: Sequence[str], *, resp3: bool = False) -> Any:
    """The reply to SEARCH.CLUSTERINFO: the owner of each range of slots."""
    if resp3:
        slots: list[Any] = [
            {b"start": at, b"end": at, b"nodes": [{b"id": owner.encode(), b"role": b"master self"}]}
            for at, owner in enumerate(ranges)
        ]
        return {b"num_partitions": len(ranges), b"slots": slots}
    slots = [[at, at, [owner, "127.0.0.1", 1, "master "]] for at, owner in enumerate(ranges)]
    return ["num_partitions", len(ranges), "cluster_type", "redis_oss", "slots", *slots]


def slots_of(owners: Sequence[str]) -> Any:
    """The reply to CLUSTER SLOTS."""
    return [[at, at, [b"127.0.0.1", 1, owner.encode(), []]] for at, owner in enumerate(owners)]


def profile(shards: int, *, resp3: bool = False) -> Any:
    """The reply to FT.PROFILE of an empty search."""
    told = [["Total profile time", "0"]] * shards
    if resp3:
        return {b"Results": {}, b"Profile": {b"Shards": told, b"Coordinator": {}}}
    return [[0], ["Shards", told, "Coordinator", []]]


def info(*names: str) -> Any:
    """The reply to FT.INFO of an index with numeric fields of the user's."""
    paths = {name: str(fields.read({name: "numeric"})[name].path) for name in names}
    attributes = [
        ["identifier", path, "attribute", name, "type", "NUMERIC"] for name, path in paths.items()
    ]
    errors = ["indexing failures", 0, "last indexing error", "N/A"]
    return [
        *("index_name", "checkpoints", "index_definition", ["prefixes", ["checkpoint:"]]),
        *("attributes", attributes, "percent_indexed", "1", "indexing", 0),
        *("Index Errors", [*errors, "last indexing error key", "N/A"]),
    ]


def found(*names: str) -> Any:
    return [len(names), *names]


def searched(
    reply: Any, *, answered: int = 3, ranges: Sequence[str] = NODES, owners: Sequence[str] = NODES
) -> Callable[[Sequence[Command]], Any]:
    """The replies to a batch that search() sends."""

    def replies(commands: Sequence[Command]) -> list[Any]:
        given = {
            "SEARCH.CLUSTERINFO": cluster_info(ranges),
            "FT.PROFILE": profile(answered),
            "FT.INFO": info("score"),
            "CLUSTER": slots_of(owners),
        }
        return [given.get(str(name), reply) for name, *_ in commands]

    return replies


def run(plan: Plan[Any], answers: Sequence[Any]) -> tuple[Any, list[list[Command]]]:
    """Run a plan with these answers to its batches; an error is raised there.

    Returns:
        The result, and the batches.
    """
    sent = []
    commands = next(plan)
    for answer in answers:
        sent.append(commands)
        try:
            if isinstance(answer, Exception):
                commands = plan.throw(answer)
            else:
                commands = plan.send(answer(commands) if callable(answer) else answer)
        except StopIteration as done:
            return done.value, sent
    raise AssertionError(f"the plan wants more: {commands}")


def search(of: Context, *used: str) -> Plan[Any]:
    return queries.search(of, "checkpoints", used, ("FT.SEARCH", "checkpoints", "*"))


# ---- whether all nodes have answered


@pytest.mark.parametrize("resp3", [False, True])
def test_replies_tell_how_many_nodes_answer(resp3: bool) -> None:
    ranges = [*NODES, NODES[0], NODES[0]]
    told = search_nodes(cluster_info(ranges, resp3=resp3))
    assert told == (5, {*NODES}, 3)
    assert profiled_shards(profile(2, resp3=resp3)) == 2
    assert slot_owners(slots_of(ranges)) == {*NODES}


@pytest.mark.parametrize("resp3", [False, True])
def test_a_node_that_has_not_searched_yet_knows_no_nodes(resp3: bool) -> None:
    reply: Any = ["num_partitions", 0, "cluster_type", "redis_oss", "slots", None]
    if resp3:
        reply = {"num_partitions": 0, "slots": None}
    assert search_nodes(reply) == (0, set(), 1)
    # Before the first search it says so, and after it knows all.
    whole = searched(found("k"))

    def replies(commands: Sequence[Command]) -> list[Any]:
        return [reply, *whole(commands)[1:]]

    assert run(search(context()), [replies])[0] == found("k")

    def part(commands: Sequence[Command]) -> list[Any]:
        return [reply, profile(2), *whole(commands)[2:]]

    with pytest.raises(IndexIncompleteError):
        run(search(context()), [part])


def test_a_whole_answer_takes_one_trip() -> None:
    reply, sent = run(search(context()), [searched(found("k"))])
    assert reply == found("k")
    assert len(sent) == 1
    names = [command[0] for command in sent[0]]
    # The empty searches come before and after the search, each beside what its node knows.
    expected = ["SEARCH.CLUSTERINFO", "FT.PROFILE", "FT.INFO", "FT.SEARCH", "FT.PROFILE"]
    assert names == [*expected, "SEARCH.CLUSTERINFO", "CLUSTER"]


def test_a_single_server_is_asked_no_more_than_before() -> None:
    _, sent = run(search(context(clustered=False)), [[info(), found("k")]])
    assert [command[0] for command in sent[0]] == ["FT.INFO", "FT.SEARCH"]


@pytest.mark.parametrize("answered", [(2, 3), (3, 2), (0, 0)], ids=str)
def test_a_part_of_an_answer_is_an_error(answered: tuple[int, int]) -> None:
    """A node may fail before the search or during it."""

    def replies(commands: Sequence[Command]) -> list[Any]:
        given = searched(found("k"))(commands)
        given[1], given[4] = map(profile, answered)
        return given

    of = context()

    def again() -> Plan[Any]:
        return (yield from queries.with_retries(of, lambda: search(of)))

    with pytest.raises(IndexIncompleteError, match="of 3 parts of the cluster only"):
        run(again(), [replies] * 3)
    # An answer that is whole the third time counts.
    reply, sent = run(again(), [replies, replies, searched(found("k"))])
    assert reply == found("k")
    assert len(sent) == 3


def test_a_node_that_the_search_does_not_know_yet_is_an_error() -> None:
    new = "d" * 40
    with pytest.raises(IndexIncompleteError, match=f"does not know yet the nodes .*{new}"):
        run(search(context()), [searched(found("k"), owners=[*NODES, new])])


def test_a_node_without_slots_is_not_needed() -> None:
    reply, _ = run(search(context()), [searched(found("k"), owners=NODES[:2])])
    assert reply == found("k")


def test_a_page_of_a_cursor_is_checked_too() -> None:
    def plan() -> Plan[Any]:
        return queries.next_page(context(), "checkpoints", 7)

    reply, sent = run(plan(), [searched("page")])
    assert reply == "page"
    assert sent[0][2][:2] == ("FT.CURSOR", "READ")
    with pytest.raises(IndexIncompleteError):
        run(plan(), [searched("page", answered=2)])


# ---- which node, and how often


class Client:
    """What SearchNode asks of a cluster's client."""

    def get_primaries(self) -> list[str]:
        return [*NODES]


def test_all_searches_of_an_operation_go_to_one_node() -> None:
    for _ in range(20):
        node = SearchNode()
        first = node.choose(Client())
        assert {node.choose(Client()) for _ in range(20)} == {first}
        node.fail()
        assert node.choose(Client()) != first
    assert len({SearchNode().choose(Client()) for _ in range(200)}) == 3


def test_searches_go_to_a_node_and_other_commands_to_those_of_their_keys() -> None:
    assert is_search([("FT._LIST",)])
    assert is_search([("FT.INFO", "i"), ("FT.SEARCH", "i", "*")])
    assert is_search([queries.ASK_NODES, queries.ASK_SLOTS])
    assert not is_search([("EVALSHA", "0", 1, "key")])
    assert not is_search([("JSON.GET", "key")])
    assert not is_search([])


@pytest.mark.parametrize("lost", [NO_CURSOR, JUST_STARTED, ConnectionError("gone")], ids=str)
def test_a_lost_cursor_begins_the_search_again(lost: Exception) -> None:
    of = context()

    def whole() -> Plan[Any]:
        first = yield from queries.search(of, "checkpoints", (), ("FT.AGGREGATE", "checkpoints"))
        second = yield from queries.next_page(of, "checkpoints", 7)
        return [first, second]

    one, two = searched("one"), searched("two")
    # The page of a cursor that is lost may belong to a node that has just started: so the error
    # comes from the page, not from the question for a coordinator.
    result, sent = run(queries.with_retries(of, whole), [one, lost, one, lost, one, two])
    assert result == ["one", "two"]
    assert len(sent) == 6
    with pytest.raises(type(lost)):
        run(queries.with_retries(of, whole), [one, lost] * 3)


@pytest.mark.parametrize("lost", [NO_CURSOR, ConnectionError("gone")], ids=str)
def test_searches_are_not_tried_for_ever(lost: Exception) -> None:
    def whole() -> Plan[Any]:
        return (yield from queries.next_page(context(), "checkpoints", 7))

    with pytest.raises(type(lost)):
        run(queries.with_retries(context(), whole), [lost] * 100)


def test_a_single_server_that_is_gone_is_asked_once() -> None:
    of = context(clustered=False)
    with pytest.raises(ConnectionError):
        run(queries.with_retries(of, lambda: search(of)), [ConnectionError("gone")])


# ---- duplicates


def newest(of: Context, most: int) -> Plan[Any]:
    return queries.newest(
        of,
        "checkpoints",
        (),
        most,
        lambda most: ("FT.SEARCH", "checkpoints", most),
        search_keys,
        str,
    )


def test_a_search_with_duplicates_is_sent_again_for_more_rows() -> None:
    """One node has three ranges of slots, and sends each row three times."""
    ranges = [*NODES, NODES[0], NODES[0]]
    whole: Any = {"answered": 5, "ranges": ranges}
    rows, sent = run(
        newest(context(), 4),
        [
            searched(found("x", "x", "x", "y"), **whole),
            [cluster_info(ranges)],
            searched(found(*"xxxyzzzuuuww"), **whole),
        ],
    )
    assert rows == [*"xyzu"]
    assert [command[2] for batch in sent for command in batch if command[0] == "FT.SEARCH"] == [
        4,
        12,
    ]


@pytest.mark.parametrize("reply", ["", "x", "xx", "xxy", "xyxy"])
def test_fewer_rows_than_asked_for_are_all_rows(reply: str) -> None:
    rows, sent = run(newest(context(), 5), [searched(found(*reply))])
    assert rows == [*dict.fromkeys(reply)]
    assert len(sent) == 1


def test_rows_without_duplicates_take_one_trip() -> None:
    rows, sent = run(newest(context(), 3), [searched(found(*"xyz"))])
    assert rows == [*"xyz"]
    assert len(sent) == 1


def test_a_row_that_two_nodes_have_for_a_moment_comes_once() -> None:
    def rows_of(reply: Any) -> list[tuple[str, str]]:
        return [(row[:1], row) for row in reply[1:]]

    plan = queries.newest(
        context(),
        "checkpoints",
        (),
        2,
        lambda most: ("FT.SEARCH", "checkpoints", most),
        rows_of,
        lambda row: row[0],
    )
    ranges = [*NODES, NODES[0]]
    whole: Any = {"answered": 4, "ranges": ranges}
    rows, _ = run(
        plan,
        [
            searched(found("a new", "a old"), **whole),
            [cluster_info(ranges)],
            searched(found("a new", "a old", "b", "c"), **whole),
        ],
    )
    assert rows == [("a", "a new"), ("b", "b")]


def test_many_duplicates_take_the_way_of_a_cursor() -> None:
    ranges = [NODES[0]] * 400
    whole: Any = {"answered": 400, "ranges": ranges, "owners": NODES[:1]}
    rows, _ = run(newest(context(), 3), [searched(found(*"xxx"), **whole), [cluster_info(ranges)]])
    assert rows is None
    # Slots moved between the two searches.
    few: Any = {"answered": 3}
    rows, _ = run(
        newest(context(), 3),
        [
            searched(found(*"xxx"), **few),
            [cluster_info([*NODES, NODES[0]])],
            searched(found(*"xxxxxx"), **few),
        ],
    )
    assert rows is None


def test_duplicates_of_a_node_with_one_range_do_not_begin_a_search_without_end() -> None:
    rows, sent = run(
        newest(context(), 3),
        [searched(found(*"xxx")), [cluster_info(NODES)], searched(found(*"xxx"))],
    )
    assert rows is None
    assert len(sent) == 3


def test_more_rows_than_the_server_sorts_take_the_way_of_a_cursor() -> None:
    too_many = ResponseError("LIMIT exceeds maximum of 1000000")
    assert run(newest(context(clustered=False), 3), [too_many])[0] is None


# ---- errors


def test_a_cluster_without_a_coordinator_is_named() -> None:
    for first in (UNKNOWN_COMMAND, NO_INDEX):
        with pytest.raises(CoordinatorMissingError):
            run(search(context()), [first, UNKNOWN_COMMAND])
    with pytest.raises(IndexMissingError):
        run(search(context()), [NO_INDEX, [cluster_info(NODES)]])


@pytest.mark.parametrize(
    "error",
    [UNKNOWN_FIELD, ResponseError("Expected a NUMERIC field at offset 1 near score")],
    ids=["missing", "another type"],
)
def test_a_field_that_search_8_refuses_is_named(error: ResponseError) -> None:
    of = context(clustered=False, score="numeric", other="numeric")
    with pytest.raises(MetadataFieldMissingError, match='the metadata field "other"'):
        run(search(of, "score", "other"), [error, [info("score")]])
    # Another error of a search whose fields are all there stays as it is.
    with pytest.raises(ResponseError) as caught:
        run(search(of, "score"), [error, [info("score")]])
    assert caught.value is error


@pytest.mark.parametrize("clustered", [False, True])
def test_a_probe_raises_while_the_server_fills_its_index(clustered: bool) -> None:
    filling = [*info(), "percent_indexed", "0.25"]
    filling[filling.index("indexing") + 1] = 1
    filling[filling.index("percent_indexed") + 1] = "0.25"
    if clustered:  # where an index may not exist
        assert run(ping.ping(context()), [[b"PONG"]])[0] is True
        return
    with pytest.raises(IndexIncompleteError, match="the server has indexed 25% of them"):
        run(ping.ping(context(clustered=False)), [[b"PONG", filling]])


# ---- setup


def test_an_index_that_a_node_lacks_is_built_again() -> None:
    """A node that joined after setup() has no index, and the coordinator does not say so."""
    wanted = indexes.schema("", "threads", {})
    live = _live(wanted)
    plan = indexes._build("", wanted, clustered=True)
    _, sent = run(plan, [[live], NO_INDEX, NO_INDEX, [b"OK"]])
    asked = [[command[0] for command in batch] for batch in sent]
    assert asked[0] == ["FT.INFO"]
    assert "FT.SEARCH" in asked[1]
    assert asked[2:] == [["FT.INFO"], ["FT.CREATE"]]
    share, _ = run(
        indexes._build("", wanted, clustered=True),
        [[live], searched(found()), [[live[1].encode()]]],
    )
    assert share == 1
    # While a node does not answer, setup() waits.
    share, _ = run(
        indexes._build("", wanted, clustered=True), [[live], searched(found(), answered=2)]
    )
    assert share == indexes.NOT_YET


def _live(wanted: Any) -> Any:
    """The reply to FT.INFO of an index as its schema."""
    attributes = []
    for name, field in indexes._definitions(wanted).items():
        words = ["identifier", field.path, "attribute", name, "type", field.kind]
        attributes.append([*words, *field.options])
    errors = ["indexing failures", 0, "last indexing error", "N/A"]
    return [
        *("index_name", f"threads_v{indexes.VERSION}_0"),
        *("index_definition", ["prefixes", [wanted.index.prefix]]),
        *("attributes", attributes, "percent_indexed", "1", "indexing", 0),
        *("Index Errors", [*errors, "last indexing error key", "N/A"]),
    ]

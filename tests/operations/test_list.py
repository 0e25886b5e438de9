"""list returns all requested checkpoints, newest first."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import redis
from langchain_core.messages import HumanMessage

from langgraph_redis_json import AsyncRedisSaver, IndexMissingError, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.operations import list as listing
from langgraph_redis_json.operations.list import PAGE
from langgraph_redis_json.search import queries
from tests.support.checkpoints import BIG, STRANGE, config, each_saver, ids, names, put, spelled
from tests.support.clients import Client, MakeSaver, Saver


@pytest.fixture
def three_threads(saver: Saver) -> Saver:
    """Ids 1 to 9 in turn over three threads, each with a root and a subgraph."""
    for number in range(1, 10):
        put(
            saver,
            f"{number}",
            {"big": BIG, "number": number},
            thread_id="abc"[number % 3],
            checkpoint_ns="" if number < 7 else "sub",
            parent=f"{number - 1}",
            metadata={"source": "loop", "step": number, "even": number % 2 == 0},
        )
        saver.put_writes(
            config("abc"[number % 3], "" if number < 7 else "sub", f"{number}"),
            [("channel", number)],
            "task",
        )
    return saver


BEFORE_5 = {"configurable": {"checkpoint_id": "5"}}


CASES: list[tuple[Any, dict[str, Any], str]] = [
    (None, {}, "987654321"),
    (None, {"limit": 4}, "9876"),
    (None, {"limit": 0}, ""),
    (None, {"limit": 99}, "987654321"),
    (None, {"before": BEFORE_5}, "4321"),
    (None, {"before": BEFORE_5, "limit": 2}, "43"),
    (None, {"filter": {"even": True}}, "8642"),
    (None, {"filter": {"even": True}, "limit": 3}, "864"),
    (None, {"filter": {"even": True}, "before": BEFORE_5}, "42"),
    (None, {"filter": {"even": True}, "before": BEFORE_5, "limit": 1}, "4"),
    (None, {"filter": {"even": True, "step": 6}}, "6"),
    (None, {"filter": {"even": True, "step": 5}}, ""),
    (None, {"filter": {}}, "987654321"),
    (config("b", None), {}, "741"),
    (config("b", ""), {}, "41"),
    (config("b", "sub"), {}, "7"),
    (config("b", "other"), {}, ""),
    (config("d", None), {}, ""),
    (config("b", None), {"limit": 2}, "74"),
    (config("b", None), {"limit": 0}, ""),
    (config("b", ""), {"limit": 1}, "4"),
    (config("b", None), {"before": config("b", "", "4")}, "1"),
    (config("b", ""), {"before": BEFORE_5, "limit": 1}, "4"),
    (config("b", ""), {"before": BEFORE_5}, "41"),
    (config("b", None), {"before": {"configurable": {}}}, "741"),
    (config("b", None), {"filter": {"even": False}}, "71"),
    (config("b", ""), {"filter": {"even": False}}, "1"),
    (config("b", "sub"), {"filter": {"even": False}, "limit": 5}, "7"),
    (config("b", None), {"filter": {"even": False}, "before": BEFORE_5}, "1"),
    (config("b", "", "4"), {}, "4"),
    (config("b", None, "4"), {}, "4"),
    (config("b", "sub", "4"), {}, ""),
    (config("b", "", "4"), {"before": BEFORE_5, "limit": 1}, "4"),
    (config("b", "", "4"), {"before": config("b", "", "4")}, ""),
    (config("b", "", "1"), {"limit": 1}, "1"),
    (config("b", "", "1"), {"filter": {"even": False}, "limit": 1}, "1"),
    (config("b", "", "4"), {"filter": {"even": False}}, ""),
    (config("a", "", "4"), {}, ""),
]


def test_list_returns_the_requested_checkpoints(three_threads: Saver) -> None:
    for given, more, expected in CASES:
        found = list(three_threads.list(given, **more))
        assert "".join(ids(found)) == expected, (given, more)
        for item in found:
            number = int(item.checkpoint["id"])
            assert item == three_threads.get_tuple(item.config)
            assert item.checkpoint["channel_values"] == {"big": BIG, "number": number}
            assert item.pending_writes == [("task", "channel", number)]
            assert item.config["configurable"]["thread_id"] == "abc"[number % 3]


@each_saver
def test_list_is_newest_first_across_threads_and_namespaces(saver: Saver) -> None:
    given = ["1", "10", "2", "Z", "a", "é", "\uffff", "\U0001f600", "A", "0a", "_", "~", "|", ":"]
    for number, checkpoint_id in enumerate(given):
        put(
            saver,
            checkpoint_id,
            thread_id=f"{number % 3}",
            checkpoint_ns=f"{number % 2 or ''}",
            metadata={"step": number % 4},
        )
    newest_first = sorted(given, reverse=True)
    assert ids(saver.list(None)) == newest_first
    for limit in range(len(given) + 1):
        # Here the server's order decides which checkpoints are the newest.
        assert ids(saver.list(None, limit=limit)) == newest_first[:limit]
        assert (
            ids(saver.list(None, filter={"step": 1}, limit=limit))
            == [found for found in newest_first if given.index(found) % 4 == 1][:limit]
        )
    for number, checkpoint_id in enumerate(given):
        older = [found for found in newest_first if found < checkpoint_id]
        before = config(checkpoint_id=checkpoint_id)
        assert ids(saver.list(None, before=before)) == older
        thread_id = f"{number % 3}"
        assert ids(saver.list(config(thread_id, None), before=before)) == [
            found for found in older if f"{given.index(found) % 3}" == thread_id
        ]
        assert ids(saver.list(config("0", ""), before=before)) == [
            found for found in older if given.index(found) % 6 == 0
        ]


@each_saver
def test_the_same_checkpoint_id_may_be_in_many_threads(saver: Saver) -> None:
    for number in range(60):
        put(saver, "1", thread_id=f"{number:02}", checkpoint_ns=f"{number % 2}")
    found = names(saver.list(None))
    assert len(set(found)) == 60
    assert names(saver.list(None, limit=7))[0] in found
    assert len(set(names(saver.list(None, limit=7)))) == 7


@each_saver
def test_listed_messages_are_message_objects(saver: Saver) -> None:
    put(saver, "1", {"messages": [HumanMessage("hello")]})
    for found in (saver.list(config()), saver.list(None), saver.list(None, filter={"step": 1})):
        [item] = found
        assert item.checkpoint["channel_values"] == {"messages": [HumanMessage("hello")]}


@each_saver
def test_a_listing_is_lazy_and_survives_deletion(saver: Saver) -> None:
    count = 3 * PAGE
    for number in range(count):
        put(saver, f"{number:04}", checkpoint_ns="sub")
    listing = saver.list(config(checkpoint_ns=None))
    assert isinstance(listing, Iterator)
    assert next(listing).checkpoint["id"] == f"{count - 1:04}"
    saver.delete_thread("thread")
    assert len(list(listing)) < PAGE
    assert list(saver.list(config(checkpoint_ns=None))) == []


def test_a_listing_works_without_a_running_event_loop(
    make_saver: MakeSaver, redis_url: str, key_prefix: str
) -> None:
    writer = make_saver(Client(RedisSaver, 3, False))
    count = PAGE + 5
    for number in range(count):
        put(writer, f"{number:04}")
    saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)
    for _ in range(2):
        assert list(saver.list(config())) == list(writer.list(config()))
        assert len(list(saver.list(None))) == count
        assert len(list(saver.list(None, filter={"step": 1}, limit=7))) == 7
        assert next(saver.list(config())).checkpoint["id"] == f"{count - 1:04}"


# ---- filters


class Colour(enum.Enum):
    RED = "red"


class Text(str, enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


DIFFERENT: list[Any] = [
    *(True, False, 0, 1, 2, -1, 0.5, 1e300, 2**63, -(2**63), 2**64 - 1, 0.1 + 0.2, 0.3),
    *("", "1", "true", "null", "None", "red", "RED", "Red", "r*", "red blue", BIG, BIG + "y"),
    *(["red"], ["red", "blue"], ["blue", "red"], [["red"]], [], [1], [True], [None]),
    *({}, {"a": 1}, {"a": True}, {"a": {"b": [1, {"c": None}]}}, {"a": None}, {"a": "1"}),
    *(text for text in STRANGE.values() if text and "\0" not in text),
    *("-red", "@a:{b}", "red|blue", "(red)", "$x", "%red%", "[0 1]", "a\\", "\u2028", "=>[KNN]"),
    *('"} | @tokens:{*', "*", "}", "' OR 1=1 --", "\ufeff", "é", "e\u0301"),
]
"""JSON values of which no two are the same."""


def test_a_filter_matches_exactly_its_value(saver: Saver) -> None:
    for number, value in enumerate(DIFFERENT):
        put(saver, f"{number:03}", metadata={"key": value, "step": 1})
    for number, value in enumerate(DIFFERENT):
        for given in ({"key": value}, {"key": value, "step": 1}):
            assert ids(saver.list(None, filter=given)) == [f"{number:03}"], repr(value)
    assert ids(saver.list(None, filter={"key": "not there"})) == []


@each_saver
@pytest.mark.parametrize(
    ("stored", "given"),
    [
        (1, 1.0),
        (1.0, 1),
        (0, -0.0),
        (2.0**70, 2**70),
        ([1, {"a": 2.0}], (1.0, {"a": 2})),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (None, None),
        ("red", Text.RED),
        (1, Number.ONE),
        (Decimal(1), 1),
        (1, Decimal(1)),
        (b"\xff", b"\xff"),
        ({1: "a"}, {1: "a"}),
        (Colour.RED, Colour.RED),
        ({1, 2}, {2, 1}),
        (HumanMessage("a"), HumanMessage("a")),
        ([HumanMessage("a")], [HumanMessage("a")]),
    ],
    ids=repr,
)
def test_equal_values_match_each_other(saver: Saver, stored: Any, given: Any) -> None:
    put(saver, "1", metadata={"key": stored})
    put(saver, "2", metadata={"key": "another"})
    put(saver, "3", metadata={"another": stored})
    if given is None:
        assert ids(saver.list(None, filter={"key": None})) == ["3", "1"]
        assert ids(saver.list(None, filter={"key": None}, limit=1)) == ["3"]
    else:
        assert ids(saver.list(None, filter={"key": given})) == ["1"]
        assert ids(saver.list(None, filter={"key": given}, limit=1)) == ["1"]
        assert ids(saver.list(config(), filter={"key": given, "another": None})) == ["1"]


@each_saver
@pytest.mark.parametrize("given", [float("nan"), Colour.RED, {1, 2}, object(), b"red"], ids=spelled)
def test_a_value_that_is_not_json_matches_equal_values(saver: Saver, given: Any) -> None:
    put(saver, "1", metadata={"key": "red"})
    put(saver, "2", metadata={"key": [1, 2]})
    put(saver, "3", metadata={"key": None})
    assert ids(saver.list(None, filter={"key": given})) == []


@each_saver
def test_any_key_can_be_filtered_by(saver: Saver) -> None:
    keys = [*STRANGE.values(), "run_id", "source", "thread_id", "a.b", "$.a", "a[0]", "a"]
    for number, key in enumerate(keys):
        put(saver, f"{number:02}", metadata={key: "value"})
    for number, key in enumerate(keys):
        assert ids(saver.list(None, filter={key: "value"})) == [f"{number:02}"]
    assert len(ids(saver.list(None, filter=dict.fromkeys(["no", "keys"])))) == len(keys)


@each_saver
def test_metadata_of_an_unexpected_type_is_found(saver: Saver) -> None:
    given = {"source": 5, "step": "seven", "run_id": {"a": 1}, "created_at": "?", "tokens": 1}
    put(saver, "1", metadata=given)
    assert [item.metadata for item in saver.list(None, filter=given)] == [given]


@each_saver
def test_replaced_metadata_is_not_found(saver: Saver) -> None:
    put(saver, "1", metadata={"colour": "red"})
    put(saver, "1", metadata={"colour": "blue"})
    assert ids(saver.list(None, filter={"colour": "red"})) == []
    assert ids(saver.list(None, filter={"colour": "blue"})) == ["1"]


@each_saver
def test_python_decides_what_matches(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for number in range(1, 6):
        put(saver, f"{number}", metadata={"colour": "blue" if number == 1 else "red"})
    blue, *red = (f"{key_prefix}checkpoint:{{thread}}::{number}" for number in range(1, 6))
    tokens = redis_client.execute_command("JSON.GET", blue, "$.tokens").removeprefix("[")[:-1]
    for key in red:
        # As if the tokens of two values were the same.
        redis_client.execute_command("JSON.SET", key, "$.tokens", tokens)
    assert ids(saver.list(None, filter={"colour": "blue"})) == ["1"]
    assert ids(saver.list(None, filter={"colour": "blue"}, limit=1)) == ["1"]
    assert ids(saver.list(None, filter={"colour": "blue"}, limit=3)) == ["1"]


# ---- the index


@each_saver
def test_filters_before_setup_raise(make_saver: MakeSaver, client: Client) -> None:
    saver = make_saver(client, setup=False)
    put(saver, "1")
    searches: list[tuple[Any, dict[str, Any]]] = [
        (None, {}),
        (config(), {"filter": {"step": 1}}),
        (None, {"limit": 1}),
    ]
    for given, more in searches:
        with pytest.raises(IndexMissingError, match=r"call setup\(\) once"):
            list(saver.list(given, **more))
    assert list(saver.list(None, limit=0)) == []
    assert ids(saver.list(config())) == ["1"]
    assert ids(saver.list(config(), filter={})) == ["1"]


# ---- many


def test_a_long_thread_is_listed_completely(
    make_saver: MakeSaver, redis_client: redis.Redis
) -> None:
    saver = make_saver(Client(RedisSaver, 3, False))
    count = 2_500
    for number in range(count):
        put(saver, f"{number:04}", metadata={"step": number, "even": number % 2 == 0})
    newest_first = [f"{number:04}" for number in range(count - 1, -1, -1)]
    assert ids(saver.list(config())) == newest_first
    assert ids(saver.list(config(), filter={"even": True})) == newest_first[1::2]
    assert ids(saver.list(config(), limit=1_000)) == newest_first[:1_000]
    assert ids(saver.list(None, limit=1_300)) == newest_first[:1_300]
    middle = config(checkpoint_id="1250")
    assert ids(saver.list(config(), before=middle)) == newest_first[-1_250:]


@each_saver
@pytest.mark.parametrize("most", [1, 7, 100])
def test_a_listing_over_several_pages_of_names_is_complete(
    saver: Saver, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    for number in range(30):
        for checkpoint_ns in ("", "sub"):
            metadata = {"even": number % 2 == 0}
            put(saver, f"{number:02}", checkpoint_ns=checkpoint_ns, metadata=metadata)
        put(saver, f"{number:02}", thread_id="other", metadata={"even": False})
    monkeypatch.setattr(queries, "NAMES", 3)
    monkeypatch.setattr(listing, "NAMES", 3)
    monkeypatch.setattr(listing, "MOST_NAMES", most)
    newest_first = [f"{number:02}" for number in range(29, -1, -1)]
    assert ids(saver.list(config())) == newest_first
    assert ids(saver.list(config("thread", None))) == [id_ for id_ in newest_first for _ in "ab"]
    assert ids(saver.list(None)) == [id_ for id_ in newest_first for _ in "abc"]
    assert ids(saver.list(config(), filter={"even": True})) == newest_first[1::2]
    assert (
        ids(saver.list(None, filter={"even": {"$ne": True}}, limit=50))
        == [id_ for id_ in newest_first for _ in ("abc" if int(id_) % 2 else "a")][:50]
    )


def test_the_result_cap_of_the_server_does_not_limit_a_listing() -> None:
    with EmbeddedRedis() as server, RedisSaver.from_conn_string(server.url) as saver:
        with redis.Redis.from_url(server.url) as client:
            for cap in ("MAXSEARCHRESULTS", "MAXAGGREGATERESULTS"):
                client.execute_command("FT.CONFIG", "SET", cap, 50)
        saver.setup()
        for number in range(180):
            put(saver, f"{number:03}", thread_id=f"{number % 7}")
        newest_first = [f"{number:03}" for number in range(179, -1, -1)]
        assert ids(saver.list(None)) == newest_first
        for limit in (10, 49, 50, 51, 120, 180, 200):
            assert ids(saver.list(None, limit=limit)) == newest_first[:limit]
            assert ids(saver.list(None, filter={"step": 1}, limit=limit)) == newest_first[:limit]

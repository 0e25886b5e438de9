"""search_messages: what it finds, and what it refuses."""

# ruff: noqa: RUF001 - other alphabets are what some tests are about

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from pydantic import BaseModel
from redisvl.query import FilterQuery
from redisvl.query.filter import Tag, Text

from langgraph_redis_json import (
    FoundMessage,
    IndexIncompleteError,
    IndexMissingError,
    MessagesMissingError,
    MetadataFieldMissingError,
    RedisSaver,
)
from langgraph_redis_json.operations import search_messages
from langgraph_redis_json.search import queries, words
from tests.support.checkpoints import STRANGE, checkpoint, config, each_saver, put, strange
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.messages import LONG, Chat, ai, found, human, ids, numbered
from tests.support.strategies import examples

PARCELS = [
    human("m1", "Where is my parcel? It should be in Lisbon."),
    ai("m2", "Your parcels left Lisbon yesterday."),
    human("m3", "And the umbrella?"),
]


@pytest.fixture
def saver(make_saver: MakeSaver, client: Client) -> Saver:
    return make_saver(client, message_search=True)


@pytest.fixture
def one(make_saver: MakeSaver) -> Saver:
    """One saver, for tests that depend on no client."""
    return make_saver(each_saver.args[1][0].values[0], message_search=True)


def test_it_finds_messages_with_all_words(saver: Saver) -> None:
    chat = Chat(saver, "order-7", user_id="ada")
    chat.say(*PARCELS[:1])
    chat.say(*PARCELS[1:])
    rows = found(saver, "parcel lisbon")
    assert sorted(row.message_id or "" for row in rows) == ["m1", "m2"]
    [row] = [row for row in rows if row.message_id == "m2"]
    assert row == FoundMessage(
        thread_id="order-7",
        message_id="m2",
        role="ai",
        time=datetime(2026, 1, 2, 3, 0, 2, tzinfo=timezone.utc),
        snippet="Your **parcels** left **Lisbon** yesterday.",
        text="Your parcels left Lisbon yesterday.",
        config=config("order-7", "", "00002"),
    )
    assert saver.get_tuple(row.config) is not None
    assert ids(saver, "umbrella parcel") == []
    assert found(saver, "parcel", limit=0) == []
    assert len(found(saver, "parcel", limit=1)) == 1
    assert found(saver, "umbrella", marks=("<", ">"))[0].snippet == "And the <umbrella>?"


def test_messages_come_by_rank_or_by_time(saver: Saver) -> None:
    chat = Chat(saver)
    chat.say(human("1", "parcel parcel parcel"))
    chat.say(human("2", f"one parcel{LONG}"))
    chat.say(human("3", "a parcel"))
    for limit in (3, None):
        ranked = [row.message_id for row in saver.search_messages("parcel", limit=limit)]
        assert (ranked[0], ranked[-1]) == ("1", "2")
        newest = saver.search_messages("parcel", newest_first=True, limit=limit)
        assert [row.message_id for row in newest] == ["3", "2", "1"]
    [first] = saver.search_messages("parcel", newest_first=True, limit=1)
    assert first.message_id == "3"


def test_a_role_and_a_time(saver: Saver) -> None:
    chat = Chat(saver)
    for message in (
        human("human", "parcel"),
        ai("ai", "parcel"),
        ToolMessage("parcel", id="tool", tool_call_id="1"),
        SystemMessage("parcel", id="system"),
        ChatMessage(content="parcel", id="clerk", role="the clerk}"),
    ):
        chat.say(message)
    for role in ("human", "ai", "tool", "system"):
        assert ids(saver, "parcel", role=role) == [role]
    assert ids(saver, "parcel", role="user") == ["human"]
    assert ids(saver, "parcel", role="assistant") == ["ai"]
    assert ids(saver, "parcel", role="the clerk}") == ["clerk"]
    for role in ("", "*", "human | ai", "Human", "the clerk"):
        assert ids(saver, "parcel", role=role) == []
    second = datetime(2026, 1, 2, 3, 0, 2, tzinfo=timezone.utc)
    assert ids(saver, "parcel", since=second) == ["ai", "clerk", "system", "tool"]
    assert ids(saver, "parcel", until=second) == ["ai", "human"]
    assert ids(saver, "parcel", since=second, until=second) == ["ai"]
    elsewhere = second.astimezone(timezone(timedelta(hours=5)))
    assert ids(saver, "parcel", since=elsewhere, until=elsewhere, role="ai") == ["ai"]
    assert ids(saver, "parcel", since=second + timedelta(days=1)) == []


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["a", "b", "c"]),
    ({"user_id": "ada"}, ["a"]),
    ({"user_id": {"$in": ["ada", "bob"]}}, ["a", "b"]),
    ({"user_id": {"$ne": "ada"}}, ["b", "c"]),
    ({"user_id": None}, ["c"]),
    ({"vip": True}, ["a"]),
    ({"vip": 1}, ["b"]),
    ({"score": {"$gte": 0.5}}, ["b"]),
    ({"step": {"$lt": 2}, "vip": True}, ["a"]),
    ({"user_id": '"} | @tokens:{*'}, []),
]


@pytest.mark.parametrize("most_threads", [0, 1, 1_000])
def test_a_filter_on_the_metadata_of_threads(
    saver: Saver, monkeypatch: pytest.MonkeyPatch, most_threads: int
) -> None:
    """However many threads match: few are named in the search, many are looked at."""
    monkeypatch.setattr(search_messages, "MOST_THREADS", most_threads)
    Chat(saver, "1", user_id="ada", vip=True, score=0.25).say(human("a", "parcel"))
    Chat(saver, "2", user_id="bob", vip=1, score=0.5).say(human("b", "parcel"))
    Chat(saver, "3").say(human("c", "parcel"))
    for filter, expected in FILTERS:
        assert ids(saver, "parcel", filter=filter) == expected, filter
        if expected:
            [row] = found(saver, "parcel", filter=filter, limit=1)
            assert row.message_id in expected


def test_a_message_is_found_once(one: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the first search finds too few of the threads that match."""
    monkeypatch.setattr(search_messages, "MOST_THREADS", 0)
    for number, user in enumerate(["ada", "bob", "bob", "ada"]):
        chat = Chat(one, f"{number}", user_id=user)
        chat.steps = number
        chat.say(human(f"{number}", "parcel"))
    for limit, expected in ((1, ["3"]), (2, ["3", "0"]), (3, ["3", "0"])):
        rows = one.search_messages(
            "parcel", filter={"user_id": "ada"}, newest_first=True, limit=limit
        )
        assert [row.message_id for row in rows] == expected


def test_a_message_without_a_time(one: Saver) -> None:
    made = checkpoint("1", {"messages": [human("m", "parcel")]}, {"messages": "1"}, ts="soon")
    one.put(config(), made, {"step": 1}, {"messages": "1"})
    for newest_first in (False, True):
        [row] = one.search_messages("parcel", newest_first=newest_first)
        assert row.time is None
    long_ago = datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert ids(one, "parcel", since=long_ago) == ids(one, "parcel", until=long_ago) == []


def test_a_filter_applies_to_the_newest_checkpoint(one: Saver) -> None:
    chat = Chat(one, user_id="ada")
    chat.say(human("a", "parcel"))
    chat.metadata = {"user_id": "bob"}
    chat.say(human("b", "parcel"))
    assert ids(one, "parcel", filter={"user_id": "ada"}) == []
    assert ids(one, "parcel", filter={"user_id": "bob"}) == ["a", "b"]


@strange
def test_strange_ids_and_metadata(saver: Saver, text: str) -> None:
    for other in ["other", *STRANGE.values()]:
        chat = Chat(saver, other or "empty", user_id=other)
        chat.say(human(f"of {other}", "parcel"))
    filter = {"user_id": text.replace("\0", "")}  # LangGraph drops a NUL from metadata
    assert ids(saver, "parcel", filter=filter) == [f"of {text}"]
    [row] = saver.search_messages("parcel", filter=filter)
    assert row.thread_id == (text or "empty")


def test_many_messages_without_a_limit(one: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "NAMES", 100)
    chat = Chat(one)
    chat.put(numbered(range(1_200)))
    assert len(ids(one, "parcel")) == 1_200
    assert len(found(one, "parcel", limit=1_100)) == 1_100
    chat.say(human("last", "parcel"))
    newest = [row.time for row in one.search_messages("parcel", newest_first=True, limit=None)]
    assert len(newest) == 1_201
    assert newest[0] != newest[1] == newest[-1]


LANGUAGES = [
    ("Die Häuser in Köln", ["häuser", "HÄUSER", "köln"], ["haus in berlin"]),
    ("ПРИВЕТ, мир!\nСпасибо", ["привет", "Мир", "спасибо привет"], ["пока"]),
    ("¿Dónde está? “Parcel”", ["dónde", "DÓNDE ESTÁ", "parcel"], ["donde esta el"]),
    ("我的包裹在哪里？我在北京", ["包裹", "北京", "我的包裹", "包裹 北京", "我"], ["上海", "京北"]),
    ("荷物はどこですか。東京タワー", ["荷物", "タワー", "東京", "どこ", "東"], ["京都"]),
    ("내 소포는 어디에 있나요?", ["소포는", "어디에"], ["서울"]),
    ("พัสดุของฉันอยู่ที่ไหน", ["พัสดุ", "ที่ไหน"], ["กรุงเทพ"]),
    ("أين طردي؟ في لشبونة", ["طردي", "لشبونة"], ["باريس"]),
    ("मेरा पार्सल कहाँ है", ["पार्सल", "कहाँ"], ["दिल्ली"]),
    ("first line\nsecond\r\nthird\tfourth", ["first", "second", "third fourth"], ["fifth"]),
    ("C:\\temp\\new `code_name` a@b.example", ["temp", "code_name", "b.example"], ["code"]),
    ("nul\0after", ["nul", "after"], ["before"]),
    ("逹畗 🎉 5%の猫", ["逹畗", "5", "猫"], ["畗逹"]),
    ("ﬁrst ＦＵＬＬ cafe\u0301", ["first", "full", "café"], ["cafe latte"]),
]


@pytest.mark.parametrize(("text", "searched", "others"), LANGUAGES)
def test_text_in_any_language(
    one: Saver, text: str, searched: list[str], others: list[str]
) -> None:
    Chat(one).say(human("m", text))
    for query in searched:
        [row] = found(one, query)
        assert "**" in row.snippet, query
        assert row.text == text
    for query in others:
        assert found(one, query) == [], query


def test_words_in_the_forms_of_a_language(make_saver: MakeSaver, client: Client) -> None:
    german = make_saver(client, message_search={"language": "german"})
    Chat(german).say(human("m", "Die Häuser stehen"), human("n", "我的包裹"))
    assert ids(german, "Haus") == ["m"]
    assert ids(german, "包裹") == ["n"]


ANY_TEXT = st.text() | st.text("@{}()[]|\\\"'~*-_:;$%!?<>=^&,.+#/` \n\tab1é包か", max_size=30)


@examples(100)
@given(text=ANY_TEXT)
def test_any_text_is_found_by_itself(one_for_all: Saver, text: str) -> None:
    try:
        words.read(text)
    except ValueError:
        with pytest.raises(ValueError, match="search for"):
            one_for_all.search_messages(text)
        return
    number = f"n{abs(hash(text))}"
    Chat(one_for_all, number).say(human(number, text))
    assert number in ids(one_for_all, text)
    assert number in ids(one_for_all, text, role="human", newest_first=True)


@examples(150)
@given(text=ANY_TEXT)
def test_no_text_breaks_out(one_for_all: Saver, text: str) -> None:
    """Whatever is searched for, role, time and filter hold."""
    Chat(one_for_all, "secret", user_id="bob").say(ai("secret", "a b 1 é 包裹 か ab a1"))
    try:
        rows = found(one_for_all, text, role="human", filter={"user_id": "ada"}, limit=None)
    except ValueError:
        return
    assert rows == []


@pytest.fixture(scope="module")
def one_for_all(redis_url: str) -> Iterator[RedisSaver]:
    prefix = f"test-{uuid4().hex[:12]}:"
    with RedisSaver(redis_url, key_prefix=prefix, message_search=True) as saver:
        saver.setup()
        yield saver
        client = redis.Redis.from_url(redis_url)
        for index in client.execute_command("FT._LIST"):
            if index.decode().startswith(prefix):
                client.execute_command("FT.DROPINDEX", index)
        for key in client.scan_iter(f"{prefix}*", count=1_000):
            client.unlink(key)
        client.close()


# ---- which messages


class Special(HumanMessage):
    """A class of a user's own."""


CONTENTS: dict[str, tuple[Any, list[str], list[str]]] = {
    "blocks": (
        human(
            "m",
            [
                {"type": "text", "text": "see this parcel"},
                "and lisbon",
                {"type": "image", "base64": "umbrella"},
            ],
        ),
        ["parcel lisbon"],
        ["umbrella", "image"],
    ),
    "tool calls": (
        ai("m", "", tool_calls=[{"name": "find_parcel", "args": {"town": "Lisbon"}, "id": "1"}]),
        [],
        ["lisbon", "find_parcel"],
    ),
    "numbers": (
        human("m", "parcel", additional_kwargs={"x": 0.1 + 0.2, "y": b"z"}),
        ["parcel"],
        [],
    ),
    "bytes": (human("m", "parcel", additional_kwargs={"x": b"z"}), ["parcel"], []),
    "a class of a user's own": (Special(content="my parcel", id="m"), ["parcel"], []),
    "long": (human("m", f"parcel{LONG} lisbon"), ["parcel lisbon"], []),
    "without text": (human("m", []), [], ["parcel"]),
}


@pytest.mark.parametrize("where", ["list", "log", "alone", "snapshot", "mixed list"])
@pytest.mark.parametrize("what", CONTENTS)
def test_messages_in_any_channel(one: Saver, what: str, where: str) -> None:
    message, found_by, not_found_by = CONTENTS[what]
    value = {
        "list": [message],
        "log": [message, *numbered(range(3, 6))],
        "alone": message,
        "snapshot": _DeltaSnapshot([message]),
        "mixed list": [1, "parcel", {"content": "lisbon"}, message, *numbered(range(3, 6))],
    }[where]
    Chat(one).put([], other=value)
    for text in found_by:
        assert "m" in ids(one, text)
    for text in not_found_by:
        assert ids(one, text) == [] or text == "parcel"


def test_tool_calls_if_asked(make_saver: MakeSaver, client: Client) -> None:
    saver = make_saver(client, message_search={"tool_calls": True})
    calls: Any = [{"name": "find_parcel", "args": {"town": "São Paulo", "n": [7, True]}, "id": "1"}]
    Chat(saver).say(ai("m", "", tool_calls=calls))
    for text in ("find_parcel", "são town", "7"):
        assert ids(saver, text) == ["m"]
    assert ids(saver, "true") == []
    [row] = found(saver, "paulo")
    assert (row.text, row.snippet) == ("", "find_parcel town São **Paulo** n 7")


def test_a_message_without_an_id(one: Saver) -> None:
    chat = Chat(one)
    chat.say(human(None, "a parcel"), human(None, "a parcel"), ai(None, "a parcel"))
    chat.say(human(None, "an umbrella"))
    assert [row.message_id for row in found(one, "parcel")] == [None, None]
    assert [row.role for row in found(one, "umbrella")] == ["human"]


class Numbered(HumanMessage):
    """A class of a user's own, whose ids are numbers."""

    id: int | None = None  # type: ignore[assignment]


def test_an_id_that_is_not_text(one: Saver) -> None:
    Chat(one).say(Numbered(content="parcel", id=7), Numbered(content="a parcel", id=7))
    assert [row.message_id for row in found(one, "parcel")] == [None, None]


class Letter(BaseModel):
    """A class of a user's own that looks much like a message."""

    content: str
    type: str = "human"


def test_other_values_are_no_messages(one: Saver) -> None:
    values = {"content": "parcel", "type": "human", "additional_kwargs": {}, "response_metadata": 1}
    tag = {"$class": "a.B", "fields": values}
    Chat(one).put([], plain=values, tag=tag, list=[tag, values] * 10, text="parcel")
    letters = [Letter(content="parcel"), human("m", "umbrella")]
    Chat(one, "2").put(letters, log=letters * 10)
    assert found(one, "parcel") == []
    assert len(found(one, "umbrella")) == 1


# ---- queries of one's own


def test_the_index_for_redisvl(make_saver: MakeSaver, redis_client: redis.Redis) -> None:
    saver = make_saver(each_saver.args[1][1].values[0], message_search=True)
    Chat(saver, "order:7").say(*PARCELS)
    reply: Any = redis_client.execute_command(
        *("FT.SEARCH", f"{saver.key_prefix}messages", "@thread_id:{order\\:7} parcel -left"),
        *("NOCONTENT", "DIALECT", 2),
    )
    assert reply["total_results"] if isinstance(reply, dict) else reply[0] == 1


def test_the_index_of_a_synchronous_saver(redis_url: str, key_prefix: str) -> None:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        saver = RedisSaver(client, key_prefix=key_prefix, message_search=True)
        saver.setup()
        Chat(saver, "order-7").say(*PARCELS)
        query = FilterQuery(
            filter_expression=(Text("text") % "parcel") & (Tag("role") == "ai"),
            return_fields=["message_id", "thread_id"],
        )
        [row] = saver.messages_index.query(query)
        assert (row["message_id"], row["thread_id"]) == ("m2", "order-7")
    with (
        redis.Redis.from_url(redis_url, protocol=3) as client,
        pytest.raises(ValueError, match="protocol=3"),
    ):
        _ = RedisSaver(client, key_prefix=key_prefix).messages_index


# ---- wrong arguments, and indexes that cannot answer


@each_saver
def test_wrong_arguments_raise_at_once(make_saver: MakeSaver, client: Client) -> None:
    saver = make_saver(client, setup=False)
    now: Any = datetime(2026, 1, 2)
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, "no word to search for", {"text": "?"}),
        (TypeError, "must be text", {"text": 7}),
        (TypeError, "role must be text or None", {"role": 1}),
        (ValueError, "since has no timezone", {"since": now}),
        (TypeError, "until must be a datetime", {"until": "yesterday"}),
        (ValueError, "limit is -1", {"limit": -1}),
        (ValueError, "unknown operator", {"filter": {"a": {"$x": 1}}}),
        (TypeError, "marks must be two texts", {"marks": "**"}),
        (TypeError, "marks must be two texts", {"marks": ("a", 1)}),
    ]
    for error, message, options in wrong:
        with pytest.raises(error, match=message):
            saver.search_messages(**{"text": "parcel", **options})


@pytest.mark.parametrize(
    ("given_", "error", "message"),
    [
        ("yes", TypeError, "message_search is True, False, or like"),
        ({"lang": "german"}, ValueError, 'it knows "language" and "tool_calls"'),
        ({"language": "klingon"}, ValueError, "'klingon' is not one of arabic, "),
        ({"tool_calls": 1}, TypeError, "tool_calls must be True or False"),
    ],
)
def test_wrong_settings(
    make_saver: MakeSaver, given_: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_saver(each_saver.args[1][0].values[0], setup=False, message_search=given_)


@each_saver
def test_a_search_before_setup(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    off = make_saver(client)
    Chat(off).say(human("m", "parcel"))
    with pytest.raises(MessagesMissingError, match="message_search=True"):
        found(off, "parcel")
    on = make_saver(client, message_search=True)
    assert ids(off, "parcel") == ids(on, "parcel") == ["m"]
    for name in redis_client.execute_command("FT._LIST"):
        if name.startswith(f"{key_prefix}messages"):
            redis_client.execute_command("FT.DROPINDEX", name)
    with pytest.raises(IndexMissingError, match=f'"{key_prefix}messages" does not exist'):
        found(on, "parcel")
    make_saver(client, message_search=True)
    assert ids(on, "parcel") == ["m"]


def test_a_range_of_a_field_that_the_thread_index_lacks(one: Saver, make_saver: MakeSaver) -> None:
    other = make_saver(
        each_saver.args[1][0].values[0],
        setup=False,
        message_search=True,
        metadata_fields={"score": "numeric"},
    )
    with pytest.raises(MetadataFieldMissingError):
        found(other, "parcel", filter={"score": {"$gt": 1}})


def test_a_damaged_document_is_left_out_and_reported(
    one: Saver, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    Chat(one).say(human("a", "parcel"), human("b", "parcel"))
    [key] = [
        key
        for key in redis_client.scan_iter(f"{one.key_prefix}message:*")
        if '"b"' in str(redis_client.execute_command("JSON.GET", key, ".message_id"))
    ]
    redis_client.execute_command("JSON.DEL", key, "$.checkpoint_id")
    assert ids(one, "parcel") == ["a"]
    assert f"The document at key {key} cannot be read" in caplog.text


def test_a_thread_that_lost_its_table_of_contents_is_not_found(
    one: Saver, redis_client: redis.Redis
) -> None:
    """The same holds while a thread expires: its table of contents may go a moment earlier."""
    Chat(one).say(human("a", "parcel"))
    put(one, "1", thread_id="other")
    redis_client.delete(f"{one.key_prefix}contents:{{thread}}")
    assert ids(one, "parcel") == []


def test_an_index_that_is_not_filled_yet(one: Saver, redis_client: redis.Redis) -> None:
    state = f"{one.key_prefix}setup:messages"
    redis_client.execute_command("JSON.SET", state, "$.filled_until", "null")
    redis_client.execute_command("JSON.SET", state, "$.share", "0.25")
    with pytest.raises(IndexIncompleteError, match="only 25% of the messages"):
        found(one, "parcel")
    one.setup()
    assert found(one, "parcel") == []

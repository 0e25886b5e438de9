"""search finds messages; setup --messages lets it find those that are stored already."""

from __future__ import annotations

import pytest

from langgraph_redis_json import RedisSaver
from tests.support.command_line import Cli, Terminal, environment
from tests.support.messages import Chat, ai, human


@pytest.fixture
def said(own: RedisSaver, own_cli: Cli) -> RedisSaver:
    """Two threads, whose messages can be searched."""
    chat = Chat(own, "order-7", user="ada")
    chat.say(human("m1", "Where is my parcel? In Lisbon?"))
    chat.say(ai("m2", "Two\x1b[1m parcels\x07 are\nin Lisbon."))
    Chat(own, "order:8", user="bob").say(human("m3", "My parcel is late."))
    own_cli("setup", "--messages")
    return own


def test_it_shows_messages_with_all_words(said: RedisSaver, own_cli: Cli) -> None:
    shown = own_cli("search", "lisbon", "parcel")
    assert sorted(shown.lines) == [
        "  Two␛[1m parcels␇ are in Lisbon.",
        "  Where is my parcel? In Lisbon?",
        "ai  order-7  2026-01-02 03:00",
        "human  order-7  2026-01-02 03:00",
    ]
    assert shown.err == ""


def test_json_has_one_object_a_line(said: RedisSaver, own_cli: Cli) -> None:
    [row] = own_cli("search", "late", "--json").rows
    assert row == {
        "thread_id": "order:8",
        "checkpoint_ns": "",
        "checkpoint_id": "00001",
        "message_id": "m3",
        "role": "human",
        "time": "2026-01-02T03:00:01+00:00",
        "snippet": "My parcel is **late**.",
        "text": "My parcel is late.",
    }


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], ["m1", "m2", "m3"]),
        (["--filter", "user=ada"], ["m1", "m2"]),
        (["--filter", "user=ada", "--role", "ai"], ["m2"]),
        (["--role", "user"], ["m1", "m3"]),
        (["--role", "clerk"], []),
        (["--older-than", "1d"], ["m1", "m2", "m3"]),
        (["--newer-than", "1d"], []),
        (["--limit", "0"], ["m1", "m2", "m3"]),
    ],
)
def test_options_choose_messages(
    said: RedisSaver, own_cli: Cli, options: list[str], found: list[str]
) -> None:
    shown = own_cli("search", "parcel", "--json", *options)
    assert sorted(row["message_id"] for row in shown.rows) == found
    assert shown.err == ("" if found else "No message has 'parcel'.\n")


def test_the_newest_first(said: RedisSaver, own_cli: Cli) -> None:
    shown = own_cli("search", "parcel", "--newest", "--limit", "1", "--json")
    assert [row["message_id"] for row in shown.rows] == ["m2"]
    assert shown.err == "There are more messages: see --limit.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "?!"], "there is no word to search for in '?!'"),
        (["search", "the"], "are in nearly every message"),
        (["search"], "Missing argument"),
        (["search", "a1", "--filter", "user"], "'user' is no condition"),
        (["search", "a1", "--newer-than", "soon"], "'soon' is no age"),
        (["search", "a1", "--language", "klingon"], "'klingon' is not one of arabic"),
        (["setup", "--language", "german"], "they need --messages"),
    ],
)
def test_wrong_usage(own: RedisSaver, own_cli: Cli, arguments: list[str], message: str) -> None:
    shown = own_cli(*arguments, code=2)
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_before_setup(own: RedisSaver, own_cli: Cli) -> None:
    shown = own_cli("search", "parcel", code=1)
    assert "langgraph-redis-json setup --messages first" in shown.err


def test_tool_calls(own: RedisSaver, own_cli: Cli) -> None:
    calls = [{"name": "find", "args": {"town": "Porto"}, "id": "1", "type": "tool_call"}]
    Chat(own, "1").say(ai("m", "", tool_calls=calls))
    own_cli("setup", "--messages", "--tool-calls")
    [row] = own_cli("search", "porto", "--json").rows
    assert row["snippet"] == "find town **Porto**"


def test_the_forms_of_a_language(own: RedisSaver, own_cli: Cli) -> None:
    Chat(own, "1").say(human("m", "Die Häuser stehen."))
    own_cli("setup", "--messages", "--language", "german")
    [row] = own_cli("search", "Haus", "--language", "german", "--json").rows
    assert row["message_id"] == "m"


def test_a_long_snippet_is_indented(own: RedisSaver, redis_url: str, key_prefix: str) -> None:
    Chat(own, "1").say(human("m", "The parcel has travelled by land and by sea. " * 20))
    with RedisSaver(redis_url, key_prefix=key_prefix, message_search=True) as searching:
        searching.setup()
    terminal = Terminal(["search", "parcel"], environment(redis_url, key_prefix))
    assert terminal.wait() == 0
    lines = terminal.text.splitlines()
    assert len(lines) > 2
    assert all(line.startswith("  ") and 2 < len(line) <= 80 for line in lines[1:])


def test_a_terminal_shows_the_words_in_bold(
    said: RedisSaver, redis_url: str, key_prefix: str
) -> None:
    terminal = Terminal(["search", "late"], environment(redis_url, key_prefix))
    assert terminal.wait() == 0
    assert "My parcel is late." in terminal.text
    assert "\x1b[1;4mlate\x1b[0m" in terminal.raw
    assert "\x01" not in terminal.raw

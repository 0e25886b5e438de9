"""threads lists threads: which ones, and what it says of each."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
import redis

from langgraph_redis_json import RedisSaver
from tests.support.checkpoints import put
from tests.support.command_line import Cli, Terminal, environment

ALL = ["order-7", "order-8", "order:9", "long-1"]


def test_a_row_has_what_a_person_wants_to_know(cli: Cli) -> None:
    head, *lines = cli("threads").lines
    assert head.split("  ")[0] == "thread"
    assert [line.split()[0] for line in lines] == ALL
    words = [line.split(maxsplit=5) for line in lines]
    assert [word[1:3] for word in words] == [
        ["interrupted", "4"],
        ["error", "1"],
        ["idle", "1"],
        ["idle", "88"],
    ]
    assert words[1][5] == "ai: The depot was asked."
    assert words[3][5] == "ai: Answer 29."
    # Nothing is cut at 80 columns, and no line ends in blanks.
    assert all(line == line.rstrip() for line in lines)
    assert len(lines[0]) > 80


def test_json_has_one_object_a_line(cli: Cli) -> None:
    rows = cli("threads", "--json").rows
    assert [row["thread_id"] for row in rows] == ALL
    assert rows[1]["status"] == "error"
    assert rows[1]["metadata"]["score"] == 0.25
    assert rows[1]["last_message"]["text"] == "The depot was asked."
    age = datetime.now(timezone.utc) - datetime.fromisoformat(rows[0]["updated_at"])
    assert 0 <= age.total_seconds() < 3600


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--status", "interrupted"], ["order-7"]),
        (["--filter", "user=ada"], ["order-7", "order-8"]),
        (["--filter", "user=ada", "--filter", "score<0.5"], ["order-8"]),
        (["--filter", "score>=0.25", "--filter", "score < 0.9"], ["order-8"]),
        (["--filter", "user!=ada"], ["order:9", "long-1"]),
        (["--filter", "user>b"], ["order:9", "long-1"]),
        (["--filter", "vip=true"], ["order:9"]),
        (["--filter", "vip=True"], []),
        (["--filter", "turn=29"], ["long-1"]),
        (["--filter", 'turn="29"'], []),
        (["--filter", "step>50"], ["long-1"]),
        (["--older-than", "1h"], []),
        (["--newer-than", "1.5h", "--status", "idle"], ["order:9", "long-1"]),
    ],
)
def test_options_choose_threads(cli: Cli, options: list[str], found: list[str]) -> None:
    shown = cli("threads", "--json", *options)
    assert [row["thread_id"] for row in shown.rows] == found
    assert shown.err == ("" if found else "There are no such threads.\n")


def test_a_value_finds_the_number_and_the_text(own: RedisSaver, own_cli: Cli) -> None:
    for thread_id, value in {"number": 7, "text": "7", "other": "seven"}.items():
        put(own, "1", thread_id=thread_id, metadata={"order": value})
    found = {row["thread_id"] for row in own_cli("threads", "--json", "--filter", "order=7").rows}
    assert found == {"number", "text"}
    rows = own_cli("threads", "--json", "--filter", 'order="7"').rows
    assert [row["thread_id"] for row in rows] == ["text"]


def test_age_is_by_the_clock_of_the_server(
    own: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str
) -> None:
    now = int(redis_client.time()[0]) * 1000
    for days in (1, 10, 100):
        put(own, "1", thread_id=f"{days}")
        key = f"{key_prefix}thread:{{{days}}}"
        redis_client.execute_command("JSON.SET", key, "$.updated_at", now - days * 86_400_000)
    found = own_cli("threads", "--json", "--older-than", "5d", "--newer-than", "5w").rows
    assert [row["thread_id"] for row in found] == ["10"]


def test_a_limit_says_that_there_are_more(cli: Cli) -> None:
    shown = cli("threads", "--limit", "2", "--json")
    assert [row["thread_id"] for row in shown.rows] == ALL[:2]
    assert shown.err == "There are more threads: see --limit.\n"
    assert cli("threads", "--limit", "4").err == ""
    assert len(cli("threads", "--limit", "0", "--json").rows) == 4


def test_only_the_last_message_is_read(cli: Cli, talks: redis.Redis) -> None:
    before = int(talks.info("stats")["total_net_output_bytes"])
    cli("threads", "--filter", "user=eve")
    row = int(talks.info("stats")["total_net_output_bytes"]) - before
    before = int(talks.info("stats")["total_net_output_bytes"])
    cli("messages", "long-1")
    whole = int(talks.info("stats")["total_net_output_bytes"]) - before
    # The indexes' FT.INFO is most of the first.
    assert row < whole


def test_a_terminal_of_80_columns_gets_80_columns(talks_url: str) -> None:
    terminal = Terminal(["threads"], environment(talks_url))
    assert terminal.wait() == 0
    lines = terminal.text.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert [line.split()[0] for line in lines[1:]] == ALL
    assert "order-7  interrupted" in terminal.text
    assert "…" in lines[1]
    # Colours are for a terminal.
    assert "\x1b[33minterrupted" in terminal.raw


def test_a_terminal_says_after_the_table_that_there_are_more(talks_url: str) -> None:
    terminal = Terminal(["threads", "--limit", "1"], environment(talks_url))
    assert terminal.wait() == 0
    assert terminal.text.splitlines()[1:][0].startswith("order-7 ")
    assert terminal.text.endswith("\nThere are more threads: see --limit.\n")


def test_without_a_terminal_there_are_no_colours(cli: Cli) -> None:
    for command in (["threads"], ["messages", "order-7"], ["history", "order-7"], ["stats"]):
        assert "\x1b" not in cli(*command).out

"""Every example of docs/search.md runs and finds what the page says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.types import Interrupt

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import put
from tests.support.project import ROOT

PAGE = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
QUESTIONS = [section for section in SECTIONS if re.match(r"\d+\. ", section)]
[MESSAGES] = [section for section in SECTIONS if section.startswith("Search in messages")]
PYTHON, SHELL = (re.compile(rf"```{kind}\n(.*?)```", re.DOTALL) for kind in ("python", "sh"))

TALK: list[BaseMessage] = [
    HumanMessage("Where is my late parcel? In Lisbon?", id="m1"),
    AIMessage("Two parcels are in Lisbon.", id="m2"),
]
for turn in range(9):
    TALK += [HumanMessage(f"Sure? {turn}", id=f"q{turn}"), AIMessage(f"Yes. {turn}", id=f"a{turn}")]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as started:
        yield started


@pytest.fixture(scope="module")
def saver(server: EmbeddedRedis) -> Iterator[RedisSaver]:
    """Three threads: two of Ada's, one of which waits, and a long one of Bob's."""
    names: dict[str, Any] = {}
    code = PYTHON.findall(PAGE)[0].replace("redis://localhost:6379", server.url)
    exec(code, names)
    made: RedisSaver = names["saver"]
    ada = {"user_id": "ada", "source": "loop", "score": 0.9}
    letter = {"messages": [HumanMessage("Where is my passport?", id="l1")]}
    first, second, third, fourth = (f"1f0c-000{number}" for number in range(1, 5))
    put(made, first, letter, thread_id="order-6", metadata={**ada, "step": 1, "run_id": "run-1"})
    put(
        made,
        second,
        {"messages": TALK[:10]},
        thread_id="order-7",
        metadata={**ada, "step": 2, "run_id": "run-2"},
    )
    asked = put(
        made,
        third,
        {"messages": TALK},
        {"messages": "2"},
        thread_id="order-7",
        parent=second,
        metadata={**ada, "step": 3, "topic": "two late parcels", "score": 0.25},
    )
    made.put_writes(asked, [("__interrupt__", [Interrupt("Refund?", id="i")])], "task")
    late = {"messages": [HumanMessage("My parcel is late.", id="m3")]}
    bob = {"user_id": "bob", "source": "input", "step": 12}
    put(made, fourth, late, thread_id="order-8", metadata=bob)
    yield made
    made.close()


class Answer(NamedTuple):
    """What the examples of a question find.

    Attributes:
        python: texts that the Python lines print.
        command: texts that the command line prints.
        redis: what each redis-cli line finds: keys of documents, ids of messages, rows.
    """

    python: set[str]
    command: set[str]
    redis: list[set[str]]


SAID = {f"{message.text}" for message in TALK}
IDS = {f"{message.id}" for message in TALK}

ANSWERS = [
    Answer({"'user_id': 'ada'", "messages"}, {"order-7", "ada", "20 messages"}, [{"{order-7}"}]),
    Answer(
        SAID,
        SAID,
        [IDS, {"1f0c-0003"}, {"langgraph:log:{order-7}::messages:…", "0", "20"}, SAID],
    ),
    Answer(
        {"order-7 human Where is my late **parcel**?", "order-7 ai", "order-8 human"},
        {"order-7", "order-8", "Two parcels are in Lisbon."},
        [{"m1", "m2", "m3"}],
    ),
    Answer(
        {"order-6", "order-7", "order-8"},
        {"order-6", "order-7", "order-8"},
        [{"{order-6}", "{order-7}", "{order-8}"}],
    ),
    Answer({"order-7"}, {"order-7"}, [{"{order-7}"}]),
    Answer({"Refund?"}, {"waits for an answer to: Refund?"}, [{"{order-7}::1f0c-0003"}]),
    Answer({"order-6", "order-7"}, {"order-6", "order-7"}, [{"{order-6}", "{order-7}"}]),
    Answer(
        {"order-6 1", "order-7 2", "order-7 3"},
        {"1f0c-0002", "1f0c-0003", "messages +10"},
        [{"{order-6}::1f0c-0001", "{order-7}::1f0c-0002", "{order-7}::1f0c-0003"}],
    ),
    Answer({"order-8 12"}, {"order-8"}, [{"{order-8}"}]),
    Answer({"order-7 0.25"}, {"order-7"}, [{"{order-7}::1f0c-0003"}]),
    Answer({"order-7"}, {"order-7"}, [{"order-7"}]),
    Answer(
        {"run-1 1", "run-2 2"}, {"1f0c-0002"}, [{"{order-6}::1f0c-0001", "{order-7}::1f0c-0002"}]
    ),
    Answer(set(), {"2 ada", "1 bob"}, [{"ada 2", "bob 1"}]),
]


def examples(section: str) -> tuple[list[str], list[str]]:
    """The lines for the command line and those for redis-cli."""
    lines = [line.strip() for line in SHELL.findall(section)]
    for line in lines:
        assert line.startswith(("langgraph-redis-json ", "redis-cli "))
        assert "\n" not in line
    ours = [line for line in lines if line.startswith("langgraph-redis-json ")]
    return ours, [line for line in lines if line not in ours]


def words(line: str) -> list[str]:
    """The words of a line, as the prompt of redis-cli and RedisInsight's Workbench read it: in
    single quotes a backslash means nothing, but for ``\\'``."""
    assert '"' not in re.sub(r"'[^']*'", "", line)
    return [quoted or plain for quoted, plain in re.findall(r"'([^']*)'|(\S+)", line)]


def found(reply: Any, command: list[str]) -> set[str]:
    """What a reply of RESP2 has: keys without their beginning, ids of messages, or rows."""
    if command[0] == "FT.AGGREGATE":
        return {" ".join(row[1::2]) for row in reply[1:]}
    if command[0] == "JSON.GET":
        values = json.loads(reply)
        if isinstance(values[0], dict):
            [values] = values[0]["log"]
        return {re.sub(r"[\w-]{16}$", "…", f"{value}") for value in values}
    assert reply[0] == len(reply[1::2])
    if command[1] == "langgraph:messages":
        return {json.loads(fields[-1])["message_id"] for fields in reply[2::2]}
    return {re.sub("^langgraph:[a-z]+:", "", key) for key in reply[1::2]}


def run_in_shell(line: str, server: EmbeddedRedis) -> str:
    """What a line of a shell prints; blanks at the begin of its lines are left out."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        env={**os.environ, "REDIS_URL": server.url, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), line
    return done.stdout


def test_the_page_has_thirteen_questions_with_four_answers_each() -> None:
    titles = [question.partition("\n")[0] for question in QUESTIONS]
    assert [title.partition(".")[0] for title in titles] == [f"{n}" for n in range(1, 14)]
    assert titles[:3] == [
        "1. I have a thread's id",
        "2. Show me the conversation",
        "3. Who spoke of parcels?",
    ]
    for question, answer in zip(QUESTIONS, ANSWERS, strict=True):
        assert "RedisInsight:" in question
        ours, theirs = examples(question)
        assert (len(PYTHON.findall(question)), len(ours)) == (1, 1)
        assert len(theirs) == len(answer.redis)


@pytest.mark.parametrize("number", range(1, 14))
def test_the_python_examples_find_what_they_say(
    saver: RedisSaver, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    [code] = PYTHON.findall(QUESTIONS[number - 1])
    names: dict[str, Any] = {"saver": saver}
    exec(code, names)
    assert_found(capsys.readouterr().out, ANSWERS[number - 1].python, code)
    if number == 13:
        assert names["counts"] == {"ada": 2, "bob": 1}


@pytest.mark.parametrize("number", range(1, 14))
def test_the_examples_of_the_command_line_find_what_they_say(
    saver: RedisSaver, server: EmbeddedRedis, number: int
) -> None:
    [line], _ = examples(QUESTIONS[number - 1])
    assert_found(run_in_shell(line, server), ANSWERS[number - 1].command, line)


def assert_found(shown: str, expected: set[str], example: str) -> None:
    for wanted in expected:
        assert wanted in shown, example
    for other in {"order-6", "order-7", "order-8"} - set(re.findall(r"order-\d", str(expected))):
        assert other not in shown or not re.search(r"order-\d", str(expected))


@pytest.mark.parametrize("number", range(1, 14))
def test_the_redis_cli_examples_find_what_they_say(
    saver: RedisSaver, server: EmbeddedRedis, number: int
) -> None:
    _, lines = examples(QUESTIONS[number - 1])
    log = re.compile(r"langgraph:log:\S+messages:([\w-]{16})")
    seen = None
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True) as client:
        for line, expected in zip(lines, ANSWERS[number - 1].redis, strict=True):
            if seen and (named := log.search(line)):
                line = line.replace(named[1], seen[1])
            # In a shell, and pasted into RedisInsight, it is the same command.
            program, *command = shlex.split(line)
            assert (program, command) == ("redis-cli", words(line.removeprefix("redis-cli ")))
            reply: Any = client.execute_command(*command)
            assert found(reply, command) == expected, line
            seen = log.search(f"{reply}".replace('"', " ")) or seen


# ---- messages


def test_the_python_examples_of_messages(
    server: EmbeddedRedis, saver: RedisSaver, capsys: pytest.CaptureFixture[str]
) -> None:
    first, filtered, query = PYTHON.findall(MESSAGES)
    names: dict[str, Any] = {"RedisSaver": RedisSaver}
    exec(first.replace("redis://localhost:6379", server.url), names)
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[:2] for line in lines) == [["order-7", "ai"], ["order-7", "human"]]
    assert any(line.endswith("Two **parcels** are in **Lisbon**.") for line in lines)
    exec(filtered.replace("2026", "2025"), names)
    assert capsys.readouterr().out == "order-7 m1 Where is my late **parcel**? In Lisbon?\n"
    exec(query, names)
    assert capsys.readouterr().out == "['My parcel is late.']\n"
    names["saver"].close()


def test_the_shell_examples_of_messages(saver: RedisSaver, server: EmbeddedRedis) -> None:
    [ours], theirs = examples(MESSAGES)
    rows = [json.loads(line) for line in run_in_shell(f"{ours} --json", server).splitlines()]
    assert {row["message_id"] for row in rows} == {"m1", "m2"}
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True) as client:
        for line, expected in zip(theirs, [{"m1", "m2"}, {"m1"}], strict=True):
            program, *command = shlex.split(line)
            assert program == "redis-cli"
            assert words(line) == [program, *command]
            assert found(client.execute_command(*command), command) == expected
    assert "RedisInsight:" in MESSAGES

"""Every example of docs/search.md runs and finds what the page says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.types import Interrupt

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.cli.app import run
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import put
from tests.support.project import ROOT

PAGE = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
QUESTIONS = [section for section in SECTIONS if re.match(r"\d+\. ", section)]
[MESSAGES] = [section for section in SECTIONS if section.startswith("Messages: ")]
PYTHON, SHELL = (re.compile(rf"```{kind}\n(.*?)```", re.DOTALL) for kind in ("python", "sh"))


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
    put(made, "1", thread_id="order-6", metadata={**ada, "step": 1, "run_id": "run-1"})
    put(made, "2", thread_id="order-7", metadata={**ada, "step": 2, "run_id": "run-2"})
    asked = put(
        made,
        "3",
        thread_id="order-7",
        metadata={**ada, "step": 3, "topic": "two late parcels", "score": 0.25},
    )
    made.put_writes(asked, [("__interrupt__", [Interrupt("Refund?", id="i")])], "task")
    put(made, "4", thread_id="order-8", metadata={"user_id": "bob", "source": "input", "step": 12})
    yield made
    made.close()


EXPECTED = [
    ({"order-6", "order-7", "order-8"}, {"{order-6}", "{order-7}", "{order-8}"}),
    ({"order-7"}, {"{order-7}"}),
    ({"Refund?"}, {"{order-7}::3"}),
    ({"order-6", "order-7"}, {"{order-6}", "{order-7}"}),
    ({"order-6 1", "order-7 2", "order-7 3"}, {"{order-6}::1", "{order-7}::2", "{order-7}::3"}),
    ({"order-8 12"}, {"{order-8}"}),
    ({"order-7 0.25"}, {"{order-7}::3"}),
    ({"order-7"}, {"order-7"}),
    ({"run-1 1", "run-2 2"}, {"{order-6}::1", "{order-7}::2"}),
    (set(), {"ada 2", "bob 1"}),
]
"""What the Python lines of each question print, and what the redis-cli line finds."""


def test_the_page_has_ten_questions() -> None:
    assert [question.split(".")[0] for question in QUESTIONS] == [f"{n}" for n in range(1, 11)]
    assert all("RedisInsight:" in question for question in QUESTIONS)


@pytest.mark.parametrize("number", range(1, 11))
def test_the_python_examples_find_what_they_say(
    saver: RedisSaver, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    [code] = PYTHON.findall(QUESTIONS[number - 1])
    names: dict[str, Any] = {"saver": saver}
    exec(code, names)
    out = capsys.readouterr().out
    expected, _ = EXPECTED[number - 1]
    for wanted in expected:
        assert wanted in out, code
    for other in {"order-6", "order-7", "order-8"} - set(re.findall(r"order-\d", str(expected))):
        assert other not in out
    if number == 10:
        assert names["counts"] == {"ada": 2, "bob": 1}


@pytest.mark.parametrize("number", range(1, 11))
def test_the_redis_cli_examples_find_what_they_say(
    saver: RedisSaver, server: EmbeddedRedis, number: int
) -> None:
    [line] = SHELL.findall(QUESTIONS[number - 1])
    program, *command = shlex.split(line)
    assert program == "redis-cli"
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True) as client:
        reply: Any = client.execute_command(*command)
    if command[0] == "FT.AGGREGATE":
        found = {" ".join(row[1::2]) for row in reply[1:]}
    else:
        keys = [key for key in reply[1:] if isinstance(key, str)]
        assert reply[0] == len(keys)
        found = {re.sub("^langgraph:[a-z]+:", "", key) for key in keys}
    _, expected = EXPECTED[number - 1]
    assert found == expected


# ---- messages


@pytest.fixture(scope="module")
def with_messages(server: EmbeddedRedis, saver: RedisSaver) -> Iterator[RedisSaver]:
    """The saver of the page's first example, on a server where messages are stored already."""
    said: list[tuple[str, str, list[BaseMessage]]] = [
        ("order-7", "ada", [HumanMessage("Where is my late parcel? In Lisbon?", id="m1")]),
        ("order-7", "ada", [AIMessage("Two parcels are in Lisbon.", id="m2")]),
        ("order-8", "bob", [HumanMessage("My parcel is late.", id="m3")]),
    ]
    for number, (thread_id, user_id, messages) in enumerate(said, 5):
        put(
            saver,
            f"{number}",
            {"messages": messages},
            thread_id=thread_id,
            metadata={"user_id": user_id},
        )
    made = RedisSaver(server.url, message_search=True)
    made.setup()
    yield made
    made.close()


def test_the_python_examples_of_messages(
    server: EmbeddedRedis, with_messages: RedisSaver, capsys: pytest.CaptureFixture[str]
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


def test_the_shell_examples_of_messages(
    server: EmbeddedRedis, with_messages: RedisSaver, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True) as client:
        for line in SHELL.findall(MESSAGES):
            program, *command = shlex.split(line)
            if program == "langgraph-redis-json":
                with pytest.raises(SystemExit, match="0"):
                    run([*command, "--url", server.url, "--json"])
                rows = map(json.loads, capsys.readouterr().out.splitlines())
                found.append({row["message_id"] for row in rows})
                continue
            assert program == "redis-cli"
            reply: Any = client.execute_command(*command)
            found.append({json.loads(fields[-1])["message_id"] for fields in reply[2::2]})
    assert found == [{"m1", "m2"}, {"m1", "m2"}, {"m1"}]
    assert "RedisInsight:" in MESSAGES

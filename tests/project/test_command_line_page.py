"""docs/command-line.md shows every command, and what it prints today."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.cli.app import COMMANDS
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.project import ROOT

PAGE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def docs() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "command_line.py"))


def test_each_command_prints_what_the_page_says(docs: dict[str, Any]) -> None:
    shown = docs["BLOCK"].findall(PAGE)
    with EmbeddedRedis() as server:
        docs["filled"](server.url)
        outputs = list(docs["printed"](server.url, PAGE))
    comparable = docs["comparable"]
    for (command, before), (_, now) in zip(shown, outputs, strict=True):
        assert comparable(now) == comparable(before), f"{command}: run make docs"


def test_the_page_shows_every_command(docs: dict[str, Any]) -> None:
    shown = {command.split()[1] for command, _ in docs["BLOCK"].findall(PAGE)}
    # Other pages show the other commands.
    assert shown >= {
        *("setup", "threads", "messages", "history", "show", "diff", "stats"),
        *("delete", "prune", "copy", "pin", "expire"),
    }
    assert shown <= COMMANDS.keys()


def test_the_python_of_the_page_runs(redis_url: str, key_prefix: str) -> None:
    [code] = [part.partition("```")[0] for part in PAGE.split("```python\n")[1:]]
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        saver.setup()
        exec(code, {"saver": saver})

"""docs/command-line.md shows every command, and it and docs/walk.md what they print today."""

from __future__ import annotations

import runpy
from pathlib import Path
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


@pytest.mark.parametrize("name", ["command-line.md", "walk.md"])
def test_each_command_prints_what_the_page_says(
    docs: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    shown = docs["BLOCK"].findall(page)
    with EmbeddedRedis() as server:
        outputs = list(docs["PAGES"][name](server.url, page))
    comparable = docs["comparable"]
    for (command, before), (_, now) in zip(shown, outputs, strict=True):
        assert comparable(now) == comparable(before), f"{command}: run make docs"


def test_the_walk_goes_from_a_user_to_the_fork() -> None:
    page = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")
    commands = [line.split()[2] for line in page.splitlines() if line.startswith("$ ")]
    assert commands == [
        *("threads", "search", "messages", "history", "diff"),
        *("history", "messages", "export"),
    ]
    before, after = (page.split("## The fork")[number] for number in (0, 1))
    assert "Your parcel is in Porto" in before
    assert "Your parcel is in Faro" not in before
    assert "├─○ " in after
    assert "Your parcel is in Faro" in after


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

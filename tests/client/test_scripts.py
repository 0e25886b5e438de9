"""The Lua scripts: what each requires, and the function that calls it."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from langgraph_redis_json.client import scripts

FOLDER = Path(scripts.__file__).with_name("scripts")
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.rglob("*.lua"))}
"""Name -> text of each file."""

FIRST_LINE = re.compile(r"-- requires: ([a-z_]+(?:, [a-z_]+)*)\n")


def required(name: str) -> list[str]:
    """The parts that the first line of a script names."""
    found = FIRST_LINE.match(SOURCES[name])
    assert found is not None, f"{name}.lua does not begin with what it requires"
    return [] if found[1] == "nothing" else found[1].split(", ")


def all_required(name: str) -> set[str]:
    """The parts of a script, and their parts."""
    return {part for direct in required(name) for part in (direct, *all_required(direct))}


PARTS = {part for name in SOURCES for part in required(name)}
WHOLE = sorted(SOURCES.keys() - PARTS)
"""The scripts that are no parts of others."""


def test_the_folder_parts_has_the_parts_alone() -> None:
    assert {path.stem for path in FOLDER.glob("parts/*.lua")} == PARTS - {"nothing"}
    assert sorted(path.stem for path in FOLDER.glob("*.lua")) == WHOLE


@pytest.mark.parametrize("name", SOURCES)
def test_every_required_part_exists(name: str) -> None:
    parts = required(name)
    assert {*parts} <= SOURCES.keys()
    assert len({*parts}) == len(parts)
    assert name not in all_required(name)


@pytest.mark.parametrize("name", SOURCES)
def test_each_part_comes_once_and_before_its_users(name: str) -> None:
    text = scripts.source_of(name)
    assert text.endswith(SOURCES[name])
    needed = {name, *all_required(name)}
    assert {one for one in SOURCES if SOURCES[one] in text} == needed
    assert text.count("-- requires: ") == len(needed)
    for user in needed:
        assert text.count(SOURCES[user]) == 1
        for part in required(user):
            assert text.index(SOURCES[part]) < text.index(SOURCES[user])


@pytest.mark.parametrize("name", sorted(PARTS))
def test_a_part_only_defines_names(name: str) -> None:
    """A part that did anything would do it in each script that requires it."""
    for line in SOURCES[name].splitlines():
        if line and not line.startswith((" ", "}", ")")):
            assert line.startswith(("--", "local ", "end")), line


def test_every_script_has_a_function() -> None:
    """Each function of scripts.py that sends a script names it as the first argument of
    _command()."""
    called: dict[str, list[str]] = {}
    for function in ast.parse(inspect.getsource(scripts)).body:
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_command":
                    assert isinstance(node.args[0], ast.Constant)
                    called.setdefault(str(node.args[0].value), []).append(function.name)
    assert sorted(called) == WHOLE
    assert {name for names in called.values() for name in names} <= vars(scripts).keys()
    assert all(len(names) == 1 for names in called.values())


def test_scripts_are_called_by_the_digest_of_their_text() -> None:
    digests = {name: scripts._digest(name) for name in WHOLE}
    assert len({*digests.values()}) == len(WHOLE)
    for name, digest in digests.items():
        command = ("EVALSHA", digest, 1, "contents", "argument")
        whole = ("EVAL", scripts.source_of(name), 1, "contents", "argument")
        assert scripts.with_source(command) == whole
    assert scripts.with_source(("PING",)) == ("PING",)

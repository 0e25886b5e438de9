"""The generated modules are current: saver.py and client/sync_runner.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import ROOT

GENERATED = ("saver.py", "client/sync_runner.py")


def check(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script on the package in a directory."""
    command = [sys.executable, str(directory / "tools" / "generate_sync.py"), *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package and of the script."""
    ignored = shutil.ignore_patterns("__pycache__", "schemas")
    shutil.copytree(
        ROOT / "langgraph_redis_json", tmp_path / "langgraph_redis_json", ignore=ignored
    )
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_synchronous_modules_are_current() -> None:
    done = check(ROOT, "--check")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("source", "target"), [("aio.py", GENERATED[0]), ("client/async_runner.py", GENERATED[1])]
)
def test_a_change_is_noticed_and_generated(copy: Path, source: str, target: str) -> None:
    package = copy / "langgraph_redis_json"
    before = (package / target).read_text(encoding="utf-8")
    assert check(copy, "--check").returncode == 0
    with (package / source).open("a", encoding="utf-8") as file:
        file.write('\n\nasync def added(name: str = "AsyncRunner") -> None:\n    await sleep(0)\n')
    done = check(copy, "--check")
    assert done.returncode == 1
    assert done.stderr == f"not current, run `make generate`: {Path(target).name}\n"
    assert (package / target).read_text(encoding="utf-8") == before
    assert check(copy).returncode == 0
    after = (package / target).read_text(encoding="utf-8")
    assert after == before + '\n\ndef added(name: str = "SyncRunner") -> None:\n    sleep(0)\n'
    assert check(copy, "--check").returncode == 0


def test_a_phrase_that_no_module_has_is_refused(copy: Path) -> None:
    """Or a module could change without its phrase, and its twin be wrong."""
    aio = copy / "langgraph_redis_json" / "aio.py"
    text = aio.read_text(encoding="utf-8")
    phrase = "use it in an ``async with`` block"
    assert phrase in text
    aio.write_text(text.replace(phrase, "use it as you like"), encoding="utf-8")
    done = check(copy, "--check")
    assert done.returncode == 1
    assert phrase in done.stderr


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_module_is_not_asynchronous(name: str) -> None:
    text = (ROOT / "langgraph_redis_json" / name).read_text(encoding="utf-8")
    assert "async def" not in text
    assert "await " not in text
    assert "# async only" not in text
    assert "redis.asyncio" not in text
    assert "writes this file from" in text

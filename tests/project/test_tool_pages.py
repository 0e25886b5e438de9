"""Every command in docs/doctor.md and docs/export.md runs, and the pages name everything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import put
from tests.support.project import ROOT

DOCS = ROOT / "docs"


def commands(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(options=["--maxmemory", "1gb"]) as started, RedisSaver(started.url) as saver:
        saver.setup()
        for thread_id in ("order-7", "order-8"):
            put(saver, "1", {"a": 1}, thread_id=thread_id, metadata={"user_id": "ada"})
        yield started


@pytest.mark.parametrize("page", ["doctor.md", "export.md"])
def test_each_command_runs(page: str, server: EmbeddedRedis, tmp_path: Path) -> None:
    found = commands(page)
    assert len(found) >= 6
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for command in found:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=tmp_path,
            env={**os.environ, "REDIS_URL": server.url, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done)
    if page == "export.md":
        assert "order-7" in (tmp_path / "order-7.html").read_text(encoding="utf-8")


def test_the_page_has_every_finding() -> None:
    folder = ROOT / "langgraph_redis_json" / "operations" / "doctor"
    codes: set[str] = set()
    for path in folder.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        codes |= {
            *re.findall(r'"(?:warning|error)"(?: if early else "warning")?,\s+"([a-z-]+)"', text)
        }
        codes |= {*re.findall(r'code(?:, what)? = "([a-z-]+)"', text)}
        codes |= {*re.findall(r'"([a-z]+-missing)": \(', text)}
    named = {*re.findall(r"`([a-z-]+)`", (DOCS / "doctor.md").read_text(encoding="utf-8"))}
    assert len(codes) > 30
    assert codes - {"error"} <= named  # "error" is a severity

"""Runs the command line on any server, in this process or in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NamedTuple

import pytest

from langgraph_redis_json.cli.app import run


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The objects that --json printed."""
        return [json.loads(line) for line in self.out.splitlines()]


class CommandLine:
    """Runs commands on one server and key prefix."""

    def __init__(
        self, url: str, key_prefix: str, capture: pytest.CaptureFixture[str] | None = None
    ) -> None:
        self.options = ["--url", url, "--key-prefix", key_prefix]
        self._capture = capture

    def __call__(self, *words: object) -> Done:
        """Run a command in this process."""
        assert self._capture is not None
        self._capture.readouterr()
        with pytest.raises(SystemExit) as left:
            run([*self.options, *map(str, words)])
        out, err = self._capture.readouterr()
        return Done(int(left.value.code or 0), out, err)

    def start(self, *words: object, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command in a process of its own, with pipes."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        command = [sys.executable, "-m", "langgraph_redis_json", *self.options, *map(str, words)]
        return subprocess.Popen(command, **pipes)

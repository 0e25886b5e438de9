"""Running the command line: in this process, as a process of its own, and on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

COMMAND = [sys.executable, "-m", "langgraph_redis_json"]


class Output(NamedTuple):
    """What a command wrote."""

    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The output of --json."""
        return [json.loads(line) for line in self.lines]


class Cli(Protocol):
    """Runs the command line; `code` is the exit code that it must have."""

    def __call__(self, *arguments: str, code: int = 0) -> Output: ...


def environment(url: str, key_prefix: str = "langgraph:") -> dict[str, str]:
    """The environment of a process that runs the command line."""
    # Rich believes these before it asks the terminal.
    inherited = {"COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"}
    return {
        **{name: value for name, value in os.environ.items() if name not in inherited},
        "REDIS_URL": url,
        "LANGGRAPH_REDIS_KEY_PREFIX": key_prefix,
        "TERM": "xterm-256color",
    }


def run_process(arguments: Sequence[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own, without a terminal."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What a terminal obeys: colours, and movements of the cursor."""


class Terminal:
    """The command line on a pseudo-terminal of 80 columns."""

    def __init__(self, arguments: Sequence[str], env: dict[str, str], columns: int = 80) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        # A session of its own, whose terminal this is: so that Ctrl-C reaches it.
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c"),
                "import fcntl, os, sys, termios; os.setsid(); "
                "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])",
                *COMMAND,
                *arguments,
            ],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
        )
        os.close(slave)
        self.raw = ""

    @property
    def text(self) -> str:
        """What was written, without colours."""
        return STYLE.sub("", self.raw).replace("\r\n", "\n")

    def wait_for(self, text: str, seconds: float = 120) -> None:
        """Read until the command has written a text."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert self._read(deadline), f"{text!r} did not come: {self.text}"

    def wait(self, seconds: float = 120, again: str = "") -> int:
        """Read until the command ends, and return its exit code.

        Args:
            seconds: the bound.
            again: typed again each second while nothing comes: Python misses a Ctrl-C that comes
                just before it begins to wait for a key.
        """
        deadline = time.monotonic() + seconds
        while True:
            if again and not select.select([self._master], [], [], 1)[0]:
                assert time.monotonic() < deadline, f"the command did not end: {self.text}"
                self.type(again)
            elif not self._read(deadline):
                break
        os.close(self._master)
        return self.process.wait(seconds)

    def type(self, text: str) -> None:
        """Type a text; ``\\x03`` is Ctrl-C."""
        os.write(self._master, text.encode())

    def _read(self, deadline: float) -> bool:
        """Read what there is; False at the end."""
        ready, _, _ = select.select([self._master], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"the command did not end: {self.text}"
        try:
            found = os.read(self._master, 65536)
        except OSError:  # Linux says so when the command has closed the terminal
            return False
        self.raw += found.decode(errors="replace")
        return bool(found)

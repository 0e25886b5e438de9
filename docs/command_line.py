"""Writes what the commands print in docs/command-line.md and docs/walk.md, from real runs.

python docs/command_line.py
"""

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from langgraph_redis_json import RedisSaver  # noqa: E402
from langgraph_redis_json.embedded import EmbeddedRedis  # noqa: E402
from tests.support.command_line import Terminal, environment  # noqa: E402
from tests.support.complaint import complain  # noqa: E402
from tests.support.conversation import fill  # noqa: E402

COLUMNS = 100

BLOCK = re.compile(r"```console\n\$ (.*)\n((?:.*\n)*?)```\n")
"""A command and what it prints."""

PYTHON = re.compile(r"```python\n(.*?)```\n", re.DOTALL)
"""What an application does between the commands."""

ID = re.compile(r"\b1f[0-9a-f]{6}-[0-9a-f]{4}[0-9a-f-]*")
"""A checkpoint's id, or its beginning."""


def printed(url: str, page: str, names: dict[str, Any] | None = None) -> Iterator[tuple[str, str]]:
    """Each command of the page with what it prints now, in order.

    With `names`, the Python blocks of the page run too, where they stand, and have these names.

    The ids of checkpoints are new in each run. The page's ids are translated by what ``history``
    prints: its first id to the first one, and so on.
    """
    translated: dict[str, str] = {}
    position = 0
    for found in BLOCK.finditer(page):
        for code in PYTHON.findall(page, position, found.start()):
            if names is not None:
                exec(code, names)
        position = found.end()
        command, before = found.groups()
        for old, new in translated.items():
            command = command.replace(old, new)
        terminal = Terminal(shlex.split(command)[1:], environment(url), COLUMNS)
        code = terminal.wait()
        assert code == 0, f"{command} ended with {code}: {terminal.text}"
        # A bar is drawn over, and then away.
        text = re.sub(r".*━.*\n?", "", terminal.text.replace("\r", "\n"))
        output = "".join(f"{line.rstrip()}\n" for line in text.strip("\n").split("\n"))
        if " history " in command:
            translated |= dict(zip(ID.findall(before), ID.findall(output), strict=False))
        yield command, output


def filled(url: str) -> None:
    """Fill a server with the conversations of command-line.md."""
    with RedisSaver(url) as saver:
        saver.setup()
        fill(saver)


def printed_of_walk(url: str, page: str) -> Iterator[tuple[str, str]]:
    """What the commands of walk.md print, on a server that this fills. Files go to the working
    directory."""
    with RedisSaver(url, message_search=True) as saver:
        saver.setup()
        yield from printed(url, page, {"graph": complain(saver)})


def printed_of_page(url: str, page: str) -> Iterator[tuple[str, str]]:
    """What the commands of command-line.md print, on a server that this fills."""
    filled(url)
    yield from printed(url, page)


PAGES: dict[str, Callable[[str, str], Iterator[tuple[str, str]]]] = {
    "command-line.md": printed_of_page,
    "walk.md": printed_of_walk,
}
"""The name of each page -> what its commands print, given a server's URL and the page."""


def comparable(text: str) -> str:
    """A page or an output without what is new in each run: ids, times and sizes."""
    ids: dict[str, str] = {}
    text = ID.sub(lambda found: ids.setdefault(found[0], f"<id {len(ids)}>"), text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "<time>", text)
    text = re.sub(r"\b[\d.]+ [KMG]?B\b", "<size>", text)
    return " ".join(text.split())


def main() -> None:
    for name, printed_of in PAGES.items():
        path = ROOT / "docs" / name
        page = path.read_text(encoding="utf-8")
        with EmbeddedRedis() as server, TemporaryDirectory() as folder:
            os.chdir(folder)
            outputs = printed_of(server.url, page)

            def block(_: re.Match[str], outputs: Iterator[tuple[str, str]] = outputs) -> str:
                command, output = next(outputs)
                return f"```console\n$ {command}\n{output}```\n"

            page = BLOCK.sub(block, page)
            os.chdir(ROOT)
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Writes what the commands print in docs/command-line.md, from a real run.

python docs/command_line.py
"""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from langgraph_redis_json import RedisSaver  # noqa: E402
from langgraph_redis_json.embedded import EmbeddedRedis  # noqa: E402
from tests.support.command_line import Terminal, environment  # noqa: E402
from tests.support.conversation import fill  # noqa: E402

PAGE = Path(__file__).parent / "command-line.md"

COLUMNS = 100

BLOCK = re.compile(r"```console\n\$ (.*)\n((?:.*\n)*?)```\n")
"""A command and what it prints."""

ID = re.compile(r"\b1f[0-9a-f]{6}-[0-9a-f]{4}[0-9a-f-]*")
"""A checkpoint's id, or its beginning."""


def printed(url: str, page: str) -> Iterator[tuple[str, str]]:
    """Each command of the page with what it prints now, in order.

    The ids of checkpoints are new in each run. The page's ids are translated by what ``history``
    prints: its first id to the first one, and so on.
    """
    translated: dict[str, str] = {}
    for command, before in BLOCK.findall(page):
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
    """Fill a server with the conversations of the page."""
    with RedisSaver(url) as saver:
        saver.setup()
        fill(saver)


def comparable(text: str) -> str:
    """A page or an output without what is new in each run: ids, times and sizes."""
    ids: dict[str, str] = {}
    text = ID.sub(lambda found: ids.setdefault(found[0], f"<id {len(ids)}>"), text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "<time>", text)
    text = re.sub(r"\b[\d.]+ [KMG]?B\b", "<size>", text)
    return " ".join(text.split())


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    with EmbeddedRedis() as server:
        filled(server.url)
        outputs = printed(server.url, page)

        def block(_: re.Match[str]) -> str:
            command, output = next(outputs)
            return f"```console\n$ {command}\n{output}```\n"

        page = BLOCK.sub(block, page)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

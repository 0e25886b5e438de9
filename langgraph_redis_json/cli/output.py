"""What people read: tables, JSON lines, progress; errors are one sentence on stderr."""

import json
import logging
import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from typing import Any, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

WIDE = 100_000
"""Columns without a terminal: nothing is cut, because another program reads it."""


def is_terminal() -> bool:
    """Whether a person reads the output as it comes."""
    return sys.stdout.isatty()


def console() -> Console:
    """Where results go."""
    if is_terminal():
        return Console(highlight=False, markup=False, emoji=False)
    return Console(
        highlight=False,
        markup=False,
        emoji=False,
        width=WIDE,
        no_color=True,
        force_terminal=False,
        legacy_windows=False,
    )


# C0 but for line feed and tab, DEL, C1; and what reverses the direction of text. A message may hold
# any of them, and a terminal would obey.
_UNSAFE = {
    **{code: 0x2400 + code for code in range(32) if code not in (9, 10)},
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
}


def safe(text: str) -> str:
    """A text without characters that a terminal obeys."""
    return text.translate(_UNSAFE)


def one_line(text: str, most: int | None = None) -> str:
    """The beginning of a text, on one line."""
    if most is not None:
        text = text[: 4 * most]
    line = " ".join(safe(text).split())
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def print_json(record: Any) -> None:
    """One JSON object on one line."""
    text = json.dumps(record, ensure_ascii=False, default=_json)
    escapes = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
    sys.stdout.write(text.translate(escapes) + "\n")
    sys.stdout.flush()


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def table(*columns: str | tuple[str, dict[str, Any]]) -> Table:
    """An empty table; a column is its name, or its name and rich's options."""
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        name, options = column if isinstance(column, tuple) else (column, {})
        made.add_column(name, **({"overflow": "fold"} | options))
    return made


def show(shown: RenderableType, cut: bool = True) -> None:
    """Print a table or a text. Without a terminal, no line ends in blanks.

    Args:
        shown: what to print.
        cut: whether the lines of a text end at the width of the terminal.
    """
    out = console()
    if is_terminal():
        out.print(shown, soft_wrap=not cut)
        return
    with out.capture() as captured:
        out.print(shown)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().split("\n")[:-1])
    sys.stdout.flush()


def text_of(value: str, style: str = "") -> Text:
    """A text for a table or a line, without characters that a terminal obeys."""
    return Text(safe(value), style=style)


def cut(value: str) -> Text:
    """A text for a table that shows as much of it as fits on one line."""
    return Text(one_line(value), no_wrap=True, overflow="ellipsis")


STYLES = {"interrupted": "yellow", "error": "red", "idle": ""}
"""How a status looks."""


def when(moment: datetime, seconds: bool = False) -> str:
    """A time for people, in UTC."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M{':%S' if seconds else ''}}"


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def progress(
    what: str, total: float | None = None, hidden: bool = False
) -> tuple[AbstractContextManager[Any], "Advance"]:
    """A progress bar on stderr, shown only on a terminal, and unless it is `hidden`.

    Returns:
        A context manager that shows the bar, and a function that takes how much is done.
    """
    shown = not hidden and sys.stderr.isatty()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not shown,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task(what, total=total)
    # Before rich 15, the end of a bar that is not shown is an empty line.
    return bar if shown else nullcontext(), Advance(bar, task)


class Advance:
    """Moves a progress bar."""

    def __init__(self, bar: Progress, task: Any) -> None:
        self._bar, self._task = bar, task

    def __call__(self, completed: float, total: float | None = None) -> None:
        self._bar.update(self._task, completed=completed, total=total)


def complain(message: str) -> None:
    """One sentence on stderr."""
    print(" ".join(safe(message).split()), file=sys.stderr, flush=True)


class LeftOut(logging.Handler):
    """Says in one sentence each what a listing of the library leaves out, and counts that."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        complain(record.getMessage())

    def __enter__(self) -> "LeftOut":
        logging.getLogger("langgraph_redis_json").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("langgraph_redis_json").removeHandler(self)


def fail(message: str, code: int = 1) -> NoReturn:
    """One sentence on stderr, and the end: code 1 for what was not found or needs a hand, 2 for
    wrong usage."""
    complain(message)
    raise typer.Exit(code)

"""Markdown tables, and the places in docs/ where the benchmarks write them."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def replace_block(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name: begin -->`` and ``<!-- name: end -->`` in a page.

    Raises:
        ValueError: if the page lacks one of these two lines.
    """
    old = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    if begin not in old or end not in old:
        raise ValueError(f"{page} lacks the line {begin.strip()!r} or {end!r}; add both")
    head, tail = old[: old.index(begin)], old[old.index(end) :]
    page.write_text(f"{head}{begin}\n{text.strip()}\n\n{tail}", encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table. Its columns are aligned to the left."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def times(ratio: float, unit: str) -> str:
    """A ratio and the unit that it multiplies, as text."""
    return f"{ratio:.2f} × {unit}"  # noqa: RUF001


def measured_by(command: str, *, cores: bool = True) -> str:
    """The sentence that says which command measured, when, with which Python, on how many cores."""
    machine = f" on a machine with {os.cpu_count()} cores," if cores else ""
    return (
        f"Measured by `{command}` on {datetime.now(timezone.utc):%Y-%m-%d},{machine} with "
        f"Python {platform.python_version()}."
    )

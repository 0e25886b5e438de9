"""This saver beside LangGraph's other ones: the same probes, run on real servers.

Prints a Markdown table, and writes it with remarks into docs/comparison.md. PostgreSQL is the
server that POSTGRES_URL names, else a private one from the system's own programs.
"""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from compare_probes import FAILURES, PROBES, Cell, Probe, first_line
from compare_savers import Store, postgres_store, redis_store, sqlite_store
from tqdm import tqdm

PAGE = Path(__file__).parent.parent / "docs" / "comparison.md"
BEGIN, END = "<!-- make compare: begin -->\n", "<!-- make compare: end -->\n"

HEADINGS = {
    "langgraph-redis-json": "this",
    "langgraph-checkpoint-redis": "`-redis`",
    "langgraph-checkpoint-postgres": "`-postgres`",
    "langgraph-checkpoint-sqlite": "`-sqlite`",
}


def main() -> None:
    # Savers log what they refuse to load; the table says what comes of it.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with ExitStack() as stack:
        stores: list[Store | None] = [
            stack.enter_context(redis_store("langgraph-redis-json")),
            stack.enter_context(redis_store("langgraph-checkpoint-redis")),
            stack.enter_context(postgres_store()),
            stack.enter_context(sqlite_store()),
        ]
        rows = [
            [ask(probe, store) for store in stores]
            for probe in tqdm(PROBES, desc="probes", leave=False, disable=None)
        ]
        versions = [
            f"{package} {version(package)}" + (f" on {store.server()}" if store else "")
            for package, store in zip(HEADINGS, stores, strict=True)
        ]
    labels = [(probe.__doc__ or "").strip() for probe in PROBES]
    table = to_table(labels, [[shown(cell) for cell in row] for row in rows])
    print(table)
    parts = [
        f"From `make compare` on {datetime.now(timezone.utc):%Y-%m-%d}, with "
        f"Python {platform.python_version()}:\n",
        "".join(f"- {line}\n" for line in versions),
        table,
        "".join(remarks(labels, rows)),
    ]
    text = PAGE.read_text(encoding="utf-8")
    head, tail = text[: text.index(BEGIN)], text[text.index(END) :]
    PAGE.write_text(head + BEGIN + "\n".join(parts) + tail, encoding="utf-8")


def ask(probe: Probe, store: Store | None) -> Cell:
    if store is None:
        return Cell("not run")
    try:
        return probe(store)
    except FAILURES as error:
        return Cell("no", first_line(error))


def shown(cell: Cell) -> str:
    return f"**{cell.answer}**" if cell.remark and cell.answer == "no" else cell.answer


def to_table(labels: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [["", *HEADINGS.values()], ["---"] * (len(HEADINGS) + 1)]
    lines += [[label, *row] for label, row in zip(labels, rows, strict=True)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def remarks(labels: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """What there is to say about cells, row by row."""
    found = []
    for label, row in zip(labels, rows, strict=True):
        said = [
            f"- {package}: {cell.remark}\n"
            for package, cell in zip(HEADINGS, row, strict=True)
            if cell.remark
        ]
        if said:
            found += [f"**{label}**\n\n", *said, "\n"]
    return found


if __name__ == "__main__":
    main()

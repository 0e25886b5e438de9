"""Compares this saver with LangGraph's other savers: runs the same probes with each of them.

    make compare

Prints a table, and writes it into docs/comparison.md with a reason for each failure. PostgreSQL is
the server that POSTGRES_URL names. Without POSTGRES_URL, a private server is started if PostgreSQL
is installed.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version

from compare_probes import FAILURES, PROBES, Cell, ComparedStore, Probe, first_line
from compare_savers import postgres_store, redis_store, sqlite_store
from docs_page import DOCS, measured_by, replace_block, table
from tqdm import tqdm

HEADINGS = {
    "langgraph-redis-json": "this",
    "langgraph-checkpoint-redis": "`-redis`",
    "langgraph-checkpoint-postgres": "`-postgres`",
    "langgraph-checkpoint-sqlite": "`-sqlite`",
}


def main() -> None:
    # Savers log warnings about values that they do not load; the table shows the result.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with ExitStack() as stack:
        stores: list[ComparedStore | None] = [
            stack.enter_context(redis_store("langgraph-redis-json")),
            stack.enter_context(redis_store("langgraph-checkpoint-redis")),
            stack.enter_context(postgres_store()),
            stack.enter_context(sqlite_store()),
        ]
        rows = [
            [_run(probe, store) for store in stores]
            for probe in tqdm(PROBES, desc="probes", leave=False, disable=None)
        ]
        versions = [
            f"{package} {version(package)}" + (f" on {store.server()}" if store else "")
            for package, store in zip(HEADINGS, stores, strict=True)
        ]
    labels = [(probe.__doc__ or "").strip() for probe in PROBES]
    result = table(
        ["", *HEADINGS.values()],
        [[label, *map(_shown, row)] for label, row in zip(labels, rows, strict=True)],
    )
    print(result)
    parts = [
        f"{measured_by('make compare', cores=False)}\n",
        "".join(f"- {line}\n" for line in versions),
        result,
        "".join(_remarks(labels, rows)),
    ]
    replace_block(DOCS / "comparison.md", "make compare", "\n".join(parts))


def _run(probe: Probe, store: ComparedStore | None) -> Cell:
    if store is None:
        return Cell("not run")
    try:
        return probe(store)
    except FAILURES as error:
        return Cell("no", first_line(error))


def _shown(cell: Cell) -> str:
    return f"**{cell.answer}**" if cell.remark and cell.answer == "no" else cell.answer


def _remarks(labels: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """The remarks of all cells, under the label of their row."""
    found = []
    for label, row in zip(labels, rows, strict=True):
        remarks = [
            f"- {package}: {cell.remark}\n"
            for package, cell in zip(HEADINGS, row, strict=True)
            if cell.remark
        ]
        if remarks:
            found += [f"**{label}**\n\n", *remarks, "\n"]
    return found


if __name__ == "__main__":
    main()

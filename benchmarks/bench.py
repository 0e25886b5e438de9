"""This saver's speed and size beside LangGraph's other ones, by the same work on real servers.

    make bench

All savers take turns in each measurement, so that they meet the same noise: ratios hold where
times do not. Prints tables, and writes them with plots into docs/performance.md. With --quick
everything is smaller, and nothing is written.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import bench_report
from bench_work import QUICK, WORKLOADS, Bench, Sizes
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- make bench: begin -->\n", "<!-- make bench: end -->\n"


def run(bench: Bench, workloads: Sequence[str] = ()) -> None:
    """Do the work, all or what is named, with a progress bar."""
    chosen = [work for work in WORKLOADS if not workloads or work.__name__ in workloads]
    columns = (TextColumn("{task.description:24}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as progress:
        bar = progress.add_task("", total=len(chosen))
        for number, work in enumerate(chosen):

            def advance(what: str, share: float, number: int = number) -> None:
                progress.update(bar, description=what, completed=number + share)

            bench.advance = advance
            work(bench)


def write(bench: Bench, servers: Sequence[str], plots: Mapping[str, str], docs: Path) -> None:
    """Put the tables between the markers of a page, with plots of these names and titles."""
    parts = [
        f"From `make bench` on {datetime.now(timezone.utc):%Y-%m-%d}, on a machine of "
        f"{os.cpu_count()} cores, with Python {platform.python_version()}:\n",
        "".join(f"- {line}\n" for line in servers),
        bench_report.report(bench),
        *(f"![{title}](images/{name}.png)\n" for name, title in plots.items()),
    ]
    page = docs / "performance.md"
    text = page.read_text(encoding="utf-8")
    head, tail = text[: text.index(BEGIN)], text[text.index(END) :]
    page.write_text(head + BEGIN + "\n" + "\n".join(parts) + "\n" + tail, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller, in two minutes")
    parser.add_argument("--docs", type=Path, help="the folder of performance.md (default: docs/)")
    parser.add_argument("work", nargs="*", help=f"of {[work.__name__ for work in WORKLOADS]}")
    options = parser.parse_args()

    import redis
    from bench_savers import all_stores

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with all_stores() as (stores, remotes, url), redis.Redis.from_url(url) as client:
        bench = Bench(QUICK if options.quick else Sizes(), stores, remotes, client.ping)
        gc.freeze()
        run(bench, options.work)
        servers = [
            f"{store.package} on {store.server()}"
            if store.package == "InMemorySaver"
            else f"{store.package} {version(store.package)} on {store.server()}"
            for store in stores
        ]
    print(bench_report.report(bench))
    if docs := options.docs or (None if options.quick or options.work else DOCS):
        write(bench, servers, bench_report.draw(bench, docs / "images"), docs)


if __name__ == "__main__":
    main()

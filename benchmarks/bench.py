"""Measures the speed and the stored size of this saver and of other LangGraph savers.

    make bench

All savers do the same work on real servers, and take turns in each measurement. A busy machine
slows all of them down alike, so ratios are more reliable than times. Prints tables, and writes them
with plots into docs/performance.md. With --quick the work is smaller, and nothing is written.
"""

from __future__ import annotations

import argparse
import gc
import logging
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import bench_report
from bench_work import QUICK, WORKLOADS, Bench, Sizes
from docs_page import DOCS, measured_by, replace_block
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from stores import Store


def run(bench: Bench, workloads: Sequence[str] = ()) -> None:
    """Run the named workloads, or all of them, with a progress bar."""
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
    """Write the figures into performance.md.

    Args:
        servers: the savers with their versions and stores.
        plots: the titles of the plots by their names.
        docs: the folder of the page.
    """
    page = docs / "performance.md"
    images = [f"![{title}](images/{name}.png)\n" for name, title in plots.items()]
    tables = [f"{measured_by('make bench')}\n", bench_report.tables(bench), *images]
    replace_block(page, "make bench summary", bench_report.summary(bench, servers))
    replace_block(page, "make bench tables", "\n".join(tables))
    replace_block(page, "make bench targets", bench_report.report(bench))


def _description(store: Store) -> str:
    """The short name, the package, its version and its store."""
    name, _ = bench_report.SAVERS[store.package]
    package = store.package
    if package != bench_report.MEMORY:
        package = f"{package} {version(package)}"
    return f"`{name}`: {package} on {store.server()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="do less, in a minute")
    parser.add_argument("--docs", type=Path, help="write performance.md in this folder")
    names = [work.__name__ for work in WORKLOADS]
    parser.add_argument("work", nargs="*", help=f"run only these workloads: {', '.join(names)}")
    options = parser.parse_args()
    if unknown := set(options.work) - set(names):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}; choose from {names}")

    import redis
    from bench_savers import all_stores

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with all_stores() as (stores, remotes, url), redis.Redis.from_url(url) as client:
        bench = Bench(QUICK if options.quick else Sizes(), stores, remotes, client.ping)
        gc.freeze()
        run(bench, options.work)
        servers = [_description(store) for store in stores]
    print(bench_report.tables(bench), bench_report.report(bench), sep="\n")
    if docs := options.docs or (None if options.quick or options.work else DOCS):
        write(bench, servers, bench_report.draw(bench, docs / "images"), docs)


if __name__ == "__main__":
    main()

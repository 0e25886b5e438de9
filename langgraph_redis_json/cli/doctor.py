"""doctor: what is wrong with a server and its threads, and mending it."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from langgraph_redis_json.cli.connection import connect, run
from langgraph_redis_json.cli.finding import no_thread
from langgraph_redis_json.cli.options import Json
from langgraph_redis_json.cli.output import (
    complain,
    console,
    fail,
    print_json,
    progress,
    safe,
)
from langgraph_redis_json.operations.doctor import indexes, server, threads, unnamed
from langgraph_redis_json.operations.doctor.finding import Finding, count
from langgraph_redis_json.operations.scan import scan
from langgraph_redis_json.saver import RedisSaver

SAMPLE = 100
"""Threads that the doctor looks at without --all."""

SAMPLE_KEYS = 20_000
"""Keys among which it looks for documents that nothing names, without --all."""

STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(
    context: typer.Context,
    thread_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[THREAD]...", help="Look at these threads instead of a sample."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Look at all threads, not at a sample.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended without loss.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Mend without a question.")] = False,
    json: Json = False,
) -> None:
    """Find what is wrong, and mend it.

    Looks at the server, its search indexes, and a sample of the threads. Applications may go on
    writing. The exit code is 1 if something is wrong that needs a hand, and 0 if there are only
    warnings.
    """
    if thread_ids and everything:
        raise typer.BadParameter("name threads, or take --all")
    with connect(context) as saver:
        found = [*_examined(saver, thread_ids or [], everything)]
        for finding in found:
            _show(finding, json)
        left = found
        to_mend = [finding for finding in found if finding.repair]
        if repair and to_mend:
            if not yes and not _agreed(to_mend):
                complain("Nothing was changed.")
            else:
                left = [finding for finding in found if not finding.repair]
                done = 0
                try:
                    for finding in to_mend:
                        _mend(saver, finding, json)
                        done += 1
                except KeyboardInterrupt:
                    fail(
                        f"Stopped by Ctrl-C after {done:,} of {count(len(to_mend), 'finding')}. "
                        "Nothing is lost; run the same command again to go on.",
                        130,
                    )
        elif repair and not json:
            console().print("There is nothing to mend.")
        elif to_mend and not json:
            console().print(
                f"{count(len(to_mend), 'finding')} can be mended without loss: run doctor --repair."
            )
    if any(finding.severity == "error" for finding in left):
        raise typer.Exit(1)


def _mend(saver: RedisSaver, finding: Finding, json: bool) -> None:
    assert finding.repair
    did = run(saver, finding.repair.plan())
    if json:
        print_json({"mended": finding.code, "subject": finding.subject, "did": did})
    else:
        console().print(f"Mended {safe(finding.subject)}: {safe(did)}.")


def _agreed(to_mend: list[Finding]) -> bool:
    """Show what would be done, and ask."""
    for finding in to_mend:
        assert finding.repair
        typer.echo(f"Would {safe(finding.repair.text)}.", err=True)
    return typer.confirm("Do this?", err=True)


def _examined(saver: RedisSaver, thread_ids: list[str], everything: bool) -> Iterator[Finding]:
    context = saver._context
    of_server = run(saver, server.check_server(context))
    yield from of_server
    if any(one.code == "rights" and one.severity == "error" for one in of_server):
        return  # it may not look at the rest
    of_indexes = run(saver, indexes.check_indexes(context))
    yield from of_indexes
    indexed = {one.code for one in of_indexes} <= {"index", "index-left", "index-foreign"}
    indexed = indexed and bool(of_indexes)
    first: dict[str, list[Finding]] = {}
    bare: unnamed.Entries = {}
    imports: set[str] = set()
    looked_at: set[str] = set()
    keys = 0
    bar, advance = progress("Looking at threads", total=None)
    with bar:
        for page in _pages(saver, thread_ids):
            keys += len(page)
            for thread_id, entries in run(saver, unnamed.find_unnamed(context, page)).items():
                bare.setdefault(thread_id, []).extend(entries)
            for key in page:
                kind, thread_id, _ = unnamed.split(context, key) or ("", "", "")
                if kind == "importing":
                    imports.add(thread_id)
                if kind != "contents" or thread_id in looked_at:
                    continue
                if len(looked_at) == SAMPLE and not everything and not thread_ids:
                    continue
                looked_at.add(thread_id)
                advance(len(looked_at))
                found = run(saver, threads.check_thread(context, thread_id, indexed=indexed))
                if found:
                    first[thread_id] = found
            if not everything and len(looked_at) >= SAMPLE and keys >= SAMPLE_KEYS:
                break
        of_bare = {
            thread_id: run(
                saver, unnamed.check_unnamed(context, thread_id, [*dict.fromkeys(entries)])
            )
            for thread_id, entries in bare.items()
        }
        for thread_id, found in first.items():
            again = run(saver, threads.check_thread(context, thread_id, indexed=indexed))
            # A checkpoint that nothing names may need what seems to be garbage.
            is_whole = (everything or thread_ids) and not of_bare.get(thread_id)
            for one in threads.same(found, again):
                is_garbage = one.code in ("garbage", "marks-left")
                yield one if is_whole or not is_garbage else one._replace(repair=None)
        for found in of_bare.values():
            yield from found
        for thread_id in imports:
            yield from run(saver, unnamed.check_import(context, thread_id))
    what = f"looked at {count(len(looked_at), 'thread')} and {count(keys, 'key')}"
    if not everything and not thread_ids:
        what += "; --all looks at all of them"
    yield Finding("ok", "threads", "threads", what)


def _pages(saver: RedisSaver, thread_ids: list[str]) -> Iterator[tuple[str, ...]]:
    """Pages of keys: all, or those of some threads."""
    context = saver._context
    if not thread_ids:
        yield from saver._runner.iterate(scan(context))
        return
    for thread_id in thread_ids:
        page = tuple(run(saver, unnamed.keys_of(context, thread_id)))
        if not page:
            fail(no_thread(saver, thread_id))
        yield page


def _show(finding: Finding, json: bool) -> None:
    if json:
        fields = finding._asdict()
        fields["repair"] = finding.repair and finding.repair.text
        print_json(fields)
        return
    out = console()
    line = Text()
    line.append(f"{finding.severity:8}", STYLES[finding.severity])
    line.append(f"{safe(finding.subject)}: {safe(finding.what)}.")
    out.print(line, soft_wrap=True)
    for sentence in (finding.means, finding.mends):
        if sentence:
            out.print(f"        {safe(sentence)}", soft_wrap=True)

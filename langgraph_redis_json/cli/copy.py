"""copy: threads to other thread ids."""

from typing import Annotated

import typer

from langgraph_redis_json.cli import reading
from langgraph_redis_json.cli.acting import All, DryRun, ThreadIds, Yes, ask, choose, steps, tell
from langgraph_redis_json.cli.connection import connect, run
from langgraph_redis_json.cli.finding import keys_of
from langgraph_redis_json.cli.options import Filters, Json, OlderThan, Status
from langgraph_redis_json.cli.output import fail, one_line


def copy(
    context: typer.Context,
    thread_ids: ThreadIds = None,
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", metavar="TEXT", help="Copy each thread to TEXT and its id."),
    ] = None,
    filters: Filters = None,
    status: Status = None,
    older_than: OlderThan = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Copy threads to other ids.

    copy SOURCE TARGET copies one thread with all its checkpoints; --prefix copies several. In a
    target that exists, checkpoints with the same ids are replaced; so that is asked before.
    """
    given = thread_ids or []
    if prefix is None and len(given) != 2:
        fail("Pass SOURCE and TARGET; or --prefix, and which threads to copy.", 2)
    if prefix is None and not given[1]:
        fail("TARGET is empty: name the thread to copy to.", 2)
    if prefix == "" or (prefix is None and given[0] == given[1]):
        fail("A thread cannot be copied to itself.", 2)
    with connect(context) as saver:
        sources = given if prefix is not None else given[:1]
        chosen = choose(saver, sources, filters, status, older_than, everything)
        pairs = [
            (one, given[1] if prefix is None else f"{prefix}{one}") for one in chosen.thread_ids
        ]
        there = [
            target for _, target in pairs if run(saver, reading.exists(keys_of(saver, target)))
        ]
        if there and not dry_run:
            ask("Replace checkpoints with the same ids in threads that exist", there, yes)
        with steps("Copying", len(pairs)) as step:
            for source, target in pairs:
                if not dry_run:
                    saver.copy_thread(source, target)
                would = "would be copied" if dry_run else "copied"
                into = ", which exists" if target in there else ""
                what = f"{would} to {one_line(target)}{into}"
                facts = {"target": target, "existed": target in there, "copied": not dry_run}
                tell(json, source, what, **facts)
                step()

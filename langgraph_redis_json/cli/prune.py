"""prune: the checkpoints that threads no longer need."""

import typer

from langgraph_redis_json.cli.acting import (
    All,
    DryRun,
    ThreadIds,
    Yes,
    ask,
    checkpoints,
    choose,
    steps,
    tell,
    threads,
)
from langgraph_redis_json.cli.connection import connect, run
from langgraph_redis_json.cli.options import Filters, Json, OlderThan, Status
from langgraph_redis_json.operations import prune as operation


def prune(
    context: typer.Context,
    thread_ids: ThreadIds = None,
    filters: Filters = None,
    status: Status = None,
    older_than: OlderThan = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete the history of threads.

    All checkpoints are deleted but the newest one of each namespace, and those that it needs. The
    threads can go on. This cannot be undone.
    """
    with connect(context) as saver:
        chosen = choose(saver, thread_ids, filters, status, older_than, everything)
        count = len(chosen.thread_ids)
        if not dry_run:
            ask(f"Delete the history of {threads(count)}", chosen.thread_ids, yes)
        with steps("Pruning", count) as step:
            for thread_id in chosen.thread_ids:
                plan = operation.prune_thread(saver._context, thread_id, dry_run=dry_run)
                deleted = run(saver, plan)
                would = "would be deleted" if dry_run else "deleted"
                what = f"{checkpoints(deleted)} {would}"
                tell(json, thread_id, what, checkpoints=deleted, deleted=not dry_run)
                step()

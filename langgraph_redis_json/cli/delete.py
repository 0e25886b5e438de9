"""delete: threads with everything that belongs to them."""

import typer

from langgraph_redis_json.cli.acting import All, DryRun, ThreadIds, Yes, ask, choose, steps, threads
from langgraph_redis_json.cli.acting import tell as tell_
from langgraph_redis_json.cli.connection import connect
from langgraph_redis_json.cli.options import Filters, Json, OlderThan, Status
from langgraph_redis_json.cli.output import complain
from langgraph_redis_json.operations.threads import ThreadSummary


def delete(
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
    """Delete threads.

    All their checkpoints are deleted too. This cannot be undone.
    """

    def tell(thread_id: str) -> None:
        tell_(json, thread_id, "would be deleted" if dry_run else "deleted", deleted=not dry_run)

    with connect(context) as saver:
        chosen = choose(saver, thread_ids, filters, status, older_than, everything)
        if dry_run:
            for thread_id in chosen.thread_ids:
                tell(thread_id)
            return
        count = len(chosen.thread_ids)
        ask(f"Delete {threads(count)}", chosen.thread_ids, yes)
        with steps("Deleting", count) as step:

            def deleted(row: ThreadSummary) -> None:
                tell(row.thread_id)
                step()

            if chosen.selection is None:
                for thread_id in chosen.thread_ids:
                    saver.delete_thread(thread_id)
                    tell(thread_id)
                    step()
            else:
                left = count - saver.delete_threads(**chosen.selection._asdict(), on_thread=deleted)
                if left:
                    complain(f"{threads(left)} changed meanwhile: not deleted.")

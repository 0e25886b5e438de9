"""pin: let threads never expire."""

import typer

from langgraph_redis_json.cli.acting import All, DryRun, ThreadIds, choose, steps, tell
from langgraph_redis_json.cli.connection import connect
from langgraph_redis_json.cli.options import Filters, Json, OlderThan, Status
from langgraph_redis_json.cli.output import complain
from langgraph_redis_json.errors import ThreadMissingError


def pin(
    context: typer.Context,
    thread_ids: ThreadIds = None,
    filters: Filters = None,
    status: Status = None,
    older_than: OlderThan = None,
    everything: All = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Let threads never expire.

    Whatever the ttl of the savers is; until expire or delete.
    """
    with connect(context) as saver:
        chosen = choose(saver, thread_ids, filters, status, older_than, everything)
        with steps("Pinning", len(chosen.thread_ids)) as step:
            for thread_id in chosen.thread_ids:
                try:
                    if not dry_run:
                        saver.pin(thread_id)
                except ThreadMissingError as error:  # deleted meanwhile
                    complain(str(error))
                    step()
                    continue
                what = "would never expire" if dry_run else "never expires"
                tell(json, thread_id, what, pinned=not dry_run)
                step()

"""expire: let threads expire."""

from datetime import timedelta
from typing import Annotated

import typer

from langgraph_redis_json.arguments import MOST_MINUTES
from langgraph_redis_json.cli.acting import (
    All,
    DryRun,
    ThreadIds,
    Yes,
    ask,
    choose,
    steps,
    tell,
    threads,
)
from langgraph_redis_json.cli.connection import connect, server_time
from langgraph_redis_json.cli.options import Filters, Json, OlderThan, Status, read_age
from langgraph_redis_json.cli.output import complain, when
from langgraph_redis_json.errors import ThreadMissingError


def expire(
    context: typer.Context,
    in_: Annotated[str, typer.Option("--in", metavar="AGE", help="From now: 90m, 12h, 30d, 4w.")],
    thread_ids: ThreadIds = None,
    filters: Filters = None,
    status: Status = None,
    older_than: OlderThan = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Let threads expire.

    The server deletes them, with everything, so long from now. A use of the thread by a saver with
    a ttl gives it more time; pin takes the expiry back.
    """
    minutes = read_age(in_, "--in") / timedelta(minutes=1)
    if not 0 < minutes <= MOST_MINUTES:
        raise typer.BadParameter(
            f"{in_!r} is too long: use pin for threads that never expire"
            if minutes
            else f"{in_!r} is no time from now: write more than 0, such as 30d",
            param_hint="--in",
        )
    with connect(context) as saver:
        chosen = choose(saver, thread_ids, filters, status, older_than, everything)
        count = len(chosen.thread_ids)
        if not dry_run:
            ask(f"Let {threads(count)} expire in {in_}", chosen.thread_ids, yes)
        with steps("Setting deadlines", count) as step:
            for thread_id in chosen.thread_ids:
                deadline = server_time(saver) + timedelta(minutes=minutes)
                try:
                    if not dry_run:
                        saver.expire(thread_id, minutes)
                except ThreadMissingError as error:  # deleted meanwhile
                    complain(str(error))
                    step()
                    continue
                would = "would expire" if dry_run else "expires"
                what = f"{would} at {when(deadline, seconds=True)} UTC"
                tell(json, thread_id, what, expires_at=deadline, changed=not dry_run)
                step()

"""threads: one row for each thread."""

from typing import Annotated

import typer

from langgraph_redis_json.cli.connection import connect, server_time
from langgraph_redis_json.cli.options import (
    Filters,
    Json,
    NewerThan,
    OlderThan,
    Status,
    read_selection,
)
from langgraph_redis_json.cli.output import print_json, print_table, table, when


def threads(
    context: typer.Context,
    filters: Filters = None,
    status: Status = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows at most; 0 for all.")] = 20,
    json: Json = False,
) -> None:
    """List threads, the one that changed last first."""
    with connect(context) as saver:
        selection = read_selection(server_time(saver), filters, status, older_than, newer_than)
        rows = saver.threads(selection.filter, status=selection.status, limit=limit or None)
        made = table("thread", "status", "step", "changed")
        for row in rows:
            if json:
                print_json(row._asdict())
            else:
                made.add_row(row.thread_id, row.status, f"{row.step}", when(row.updated_at))
        if not json:
            print_table(made)

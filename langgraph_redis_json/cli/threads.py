"""threads: one row for each thread."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated

import typer

from langgraph_redis_json.cli import reading, serializers
from langgraph_redis_json.cli.connection import connect, run, server_time
from langgraph_redis_json.cli.options import (
    Filters,
    Json,
    NewerThan,
    OlderThan,
    Status,
    read_selection,
)
from langgraph_redis_json.cli.output import (
    STYLES,
    LeftOut,
    complain,
    cut,
    print_json,
    show,
    table,
    text_of,
    when,
)
from langgraph_redis_json.cli.reading import Reveal
from langgraph_redis_json.cli.values import message_json, message_line
from langgraph_redis_json.operations.threads import ThreadSummary
from langgraph_redis_json.saver import RedisSaver
from langgraph_redis_json.storage import keys
from langgraph_redis_json.storage.keys import CheckpointIdentity
from langgraph_redis_json.storage.plain import Message

PAGE = 20
"""Threads whose last messages are read at a time."""


def threads(
    context: typer.Context,
    filters: Filters = None,
    status: Status = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Annotated[
        int, typer.Option(metavar="NUMBER", min=0, help="Rows at most; 0 for all.")
    ] = 20,
    json: Json = False,
) -> None:
    """List threads, the last changed first.

    The status is interrupted (waits for a person), error (a task failed) or idle. Times are UTC.
    """
    with connect(context) as saver, LeftOut() as left_out:
        reveal = serializers.reveal(context.obj.load)
        selection = read_selection(server_time(saver), filters, status, older_than, newer_than)
        rows = saver.threads(**selection._asdict(), limit=limit + 1 if limit else None)
        shown: list[tuple[ThreadSummary, Message | None]] = []
        count = 0
        for row, message in _with_messages(saver, rows, reveal):
            count += 1
            if limit and count > limit:
                break
            if json:
                last = None if message is None else message_json(message)
                print_json({**row._asdict(), "last_message": last})
            else:
                shown.append((row, message))
        if count == 0:
            complain("There are no such threads." if any(selection) else "There are no threads.")
        elif not json:
            _print(shown)
        if limit and count > limit:
            complain("There are more threads: see --limit.")
        raise typer.Exit(int(left_out.count > 0))


def _print(rows: Sequence[tuple[ThreadSummary, Message | None]]) -> None:
    longest = max(len(row.thread_id) for row, _ in rows)
    made = table(
        # The message gives way to the id, as far as that is a UUID's length.
        ("thread", {"min_width": min(longest, 36)}),
        ("status", {"no_wrap": True}),
        ("step", {"justify": "right", "no_wrap": True}),
        ("changed (UTC)", {"no_wrap": True}),
        "last message",
    )
    for row, message in rows:
        made.add_row(
            text_of(row.thread_id),
            text_of(row.status, STYLES.get(row.status, "")),
            "" if row.step is None else f"{row.step}",
            when(row.updated_at),
            cut(_beginning(message)),
        )
    show(made)


def _beginning(message: Message | None) -> str:
    return "" if message is None else f"{message.role}: {message_line(message)}"


def _with_messages(
    saver: RedisSaver, rows: Iterator[ThreadSummary], reveal: Reveal
) -> Iterator[tuple[ThreadSummary, Message | None]]:
    """Each thread with the last message of its newest checkpoint, if it has one."""
    while page := [*islice(rows, PAGE)]:
        wanted = [
            (
                keys.thread_keys(saver.key_prefix, row.thread_id),
                CheckpointIdentity(row.thread_id, "", row.checkpoint_id),
            )
            for row in page
        ]
        yield from zip(page, run(saver, reading.last_messages(wanted, reveal)), strict=True)

"""messages: a conversation as people read it."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from langgraph_redis_json.cli import reading
from langgraph_redis_json.cli.connection import connect, run
from langgraph_redis_json.cli.finding import (
    CheckpointId,
    Namespace,
    ThreadId,
    checkpoint_of,
    exit_code,
    message_channels,
    report,
)
from langgraph_redis_json.cli.options import Json
from langgraph_redis_json.cli.output import (
    complain,
    one_line,
    print_json,
    safe,
    show,
    size,
    text_of,
)
from langgraph_redis_json.cli.reading import DamagedValueError, StoredCheckpoint
from langgraph_redis_json.cli.values import call_text, message_json, said
from langgraph_redis_json.storage.plain import Message, ToolCall, block_name, is_opaque

PAUSE = 0.5
"""Seconds between two looks at the thread, with --follow."""

FOLD_LINES, FOLD_CHARACTERS = 10, 600
"""A longer text is folded to so much, unless --full."""

ROLES = {"human": "bold green", "ai": "bold cyan", "tool": "bold magenta", "system": "bold yellow"}
"""How a role looks."""


def messages(
    context: typer.Context,
    thread_id: ThreadId,
    checkpoint: CheckpointId = None,
    namespace: Namespace = "",
    channel: Annotated[
        str | None,
        typer.Option(
            "--channel",
            metavar="NAME",
            help="The channel. Default: messages, else each that holds messages.",
        ),
    ] = None,
    last: Annotated[
        int,
        typer.Option(
            "--last",
            metavar="NUMBER",
            min=0,
            help="Only the last so many messages; 0 for all.",
        ),
    ] = 0,
    full: Annotated[bool, typer.Option("--full", help="Do not fold long texts.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show new messages as they come, until Ctrl-C.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the conversation of a thread.

    Who said what, and the calls of tools beside their results. Images are named. Without
    --checkpoint it is the newest state of the thread.
    """
    if follow and checkpoint is not None:
        raise typer.BadParameter(
            "a checkpoint gets no new messages: leave out --follow or --checkpoint",
            param_hint="--follow",
        )
    with connect(context) as saver:
        found = checkpoint_of(saver, context, thread_id, checkpoint, namespace)
        thread = found.thread
        news = run(saver, reading.news(thread, namespace)) if follow else None
        talk = _read(found, channel)
        _show(talk[-last:] if last else talk, full, json)
        if not talk and not follow:
            complain(f"The checkpoint {found.checkpoint_id} has no messages.")
        if not json:
            _show_state(found, is_newest=checkpoint is None)
        report(found)
        if not follow:
            raise typer.Exit(exit_code(found))
        seen = {*map(repr, talk)}
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(PAUSE)
                latest = run(saver, reading.news(thread, namespace))
                if latest == news:
                    continue
                news = latest
                found = checkpoint_of(saver, context, thread_id, None, namespace)
                talk = _read(found, channel)
                _show([one for one in talk if repr(one) not in seen], full, json)
                seen = {*map(repr, talk)}
                if not json:
                    _show_state(found, is_newest=True)
                report(found)


def _read(found: StoredCheckpoint, channel: str | None) -> list[Message]:
    talk: list[Message] = []
    for name in message_channels(found, channel):
        try:
            talk += found.messages(name)
        except DamagedValueError:  # `report` names it
            continue
    if not talk:
        for name in [channel] if channel else found.channels:
            with suppress(DamagedValueError):
                value = found.value(name)
                if is_opaque(value) and name in ("messages", channel):
                    complain(
                        f"The channel {name} is not JSON, but {value['$opaque']} of "
                        f"{size(value['bytes'])}: pass --load MODULE to let a serializer read it."
                    )
    return talk


def _show(talk: Sequence[Message], full: bool, json: bool) -> None:
    if json:
        for message in talk:
            print_json(message_json(message))
        return
    calls = {call.id for message in talk for call in message.tool_calls if call.id}
    results: dict[str | None, list[Message]] = defaultdict(list)
    for message in talk:
        if message.tool_call_id in calls:
            results[message.tool_call_id].append(message)
    for message in talk:
        if message.tool_call_id not in calls:
            show(_one(message, results, full))


def _one(message: Message, results: dict[str | None, list[Message]], full: bool) -> RenderableType:
    """One message, with the tools that it calls and their results."""
    heading = Text(one_line(message.role), style=ROLES.get(message.role, "bold"))
    if message.name:
        heading.append(f" {one_line(message.name)}")
    if message.is_error:
        heading.append(" failed", style="red")
    if message.id:
        heading.append(f"  {one_line(message.id)}", style="dim not bold")
    parts: list[RenderableType] = [heading]
    body = _body(message, full)
    if body.plain:
        parts.append(Padding(body, (0, 0, 0, 2)))
    if message.tool_calls:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(overflow="fold", style="cyan")
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for call in message.tool_calls:
            # An id may come twice, if a model repeats itself.
            found = results[call.id].pop(0) if results[call.id] else None
            grid.add_row(Text(_call(call, full)), "→", _result(found, full))
        parts.append(Padding(grid, (0, 0, 0, 2)))
    return Group(*parts, Text())


def _body(message: Message, full: bool) -> Text:
    """The text of a message, and the names of what is no text."""
    text = _fold(message.text.strip("\n"), full)
    for block in message.blocks:
        text.append("\n" if text.plain else "")
        text.append(f"[{_block(block, full)}]", style="magenta")
    return text


def _block(block: Mapping[str, Any], full: bool) -> str:
    return one_line(block_name(block), None if full else 200)


def _call(call: ToolCall, full: bool) -> str:
    return call_text(call, None if full else FOLD_CHARACTERS // 2)


def _result(message: Message | None, full: bool) -> Text:
    if message is None:
        return Text("no result yet", style="dim")
    text = Text("failed: ", style="red") if message.is_error else Text()
    text.append_text(_body(message, full))
    return text


def _fold(given: str, full: bool) -> Text:
    """A text; of a long one, unless it is wanted in full, the beginning."""
    lines = given.split("\n")
    begin = "\n".join(lines[:FOLD_LINES])[:FOLD_CHARACTERS]
    left = len(given) - len(begin)
    # A fold that hides little is of no use.
    if full or left < FOLD_CHARACTERS // 4:
        return text_of(given)
    text = text_of(begin.rstrip())
    text.append(f" … {left:,} more characters: see --full", style="dim")
    return text


def _show_state(found: StoredCheckpoint, is_newest: bool) -> None:
    """What the thread waits for, or why it failed."""
    for error in found.errors:
        show(Text.assemble(("failed: ", "red"), safe(said(error))))
    if found.interrupts:
        for asked in found.interrupts:
            waits = is_newest and not found.is_answered
            what = "waits for an answer to: " if waits else "asked: "
            answered = " (answered)" if found.is_answered else ""
            show(Text.assemble((what, "yellow"), safe(said(asked)), answered))
    elif found.next_nodes and is_newest and not found.errors:
        nodes = ", ".join(dict.fromkeys(found.next_nodes))
        show(Text.assemble(("next: ", "yellow"), one_line(nodes)))

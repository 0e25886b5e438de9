"""diff: what became of each channel between two checkpoints of a thread."""

import json as json_
from collections.abc import Iterator
from difflib import SequenceMatcher, unified_diff
from typing import Annotated, Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from langgraph_redis_json.cli import reading, serializers
from langgraph_redis_json.cli.connection import connect, run
from langgraph_redis_json.cli.finding import (
    Namespace,
    ThreadId,
    entry_of,
    exit_code,
    report,
    thread_of,
)
from langgraph_redis_json.cli.options import Json
from langgraph_redis_json.cli.output import console, fail, one_line, print_json, show, when
from langgraph_redis_json.cli.reading import DamagedValueError, StoredCheckpoint
from langgraph_redis_json.cli.values import brief, message_json, message_line
from langgraph_redis_json.storage.plain import Message

MOST_COMPARED = 3_000
"""Members of a list that are compared one by one, at most: the time grows with their square."""


class Change(NamedTuple):
    """One difference.

    Attributes:
        channel: where.
        kind: "added", "removed" or "changed".
        before, after: plain data; None where there is none.
        what: "message", "item" or "value".
    """

    channel: str
    kind: str
    what: str
    before: Any
    after: Any


def diff(
    context: typer.Context,
    thread_id: ThreadId,
    a: Annotated[str, typer.Argument(metavar="A", help="The checkpoint to compare with.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
    namespace: Namespace = "",
    json: Json = False,
) -> None:
    """Compare two checkpoints of a thread.

    Channel by channel: - was in A, + is in B. A checkpoint is named by its id, or by a
    beginning that no other has; history shows them.
    """
    with connect(context) as saver:
        thread = thread_of(saver, thread_id)
        reveal = serializers.reveal(context.obj.load)
        entries = [entry_of(saver, thread, one, namespace) for one in (a, b)]
        if entries[0] == entries[1]:
            fail(f"{a} and {b} are the same checkpoint.")
        pair = [
            found
            for entry in entries
            for found in run(saver, reading.read_checkpoints(thread, thread_id, [entry], reveal))
        ]
        if len(pair) < 2:
            fail("One of the checkpoints was deleted in this moment.")
        old, new = pair
        if not (old.fields and new.fields):
            for one in pair:
                report(one)
            raise typer.Exit(1)
        differences = [*compare(old, new)]
        if json:
            for change in differences:
                print_json(change._asdict())
        else:
            _print(old, new, differences)
        for one in pair:
            report(one)
        raise typer.Exit(exit_code(*pair))


def compare(old: StoredCheckpoint, new: StoredCheckpoint) -> Iterator[Change]:
    """The differences between two checkpoints, channel by channel. A channel that cannot be read in
    one of them is left out; the checkpoint's `damages` say why."""
    for name in dict.fromkeys([*old.channels, *new.channels]):
        try:
            yield from _channel(name, old, new)
        except DamagedValueError:
            continue


def _channel(name: str, old: StoredCheckpoint, new: StoredCheckpoint) -> Iterator[Change]:
    if name not in old.channels:
        yield from _whole(name, "added", new)
        return
    if name not in new.channels:
        yield from _whole(name, "removed", old)
        return
    before, after = old.stored(name), new.stored(name)
    if _same(before, after):
        return
    talk, later = old.messages(name), new.messages(name)
    values = old.value(name), new.value(name)
    if (talk or later) and (len(talk), len(later)) == (_count(values[0]), _count(values[1])):
        yield from _messages(name, talk, later)
    elif isinstance(values[0], list) and isinstance(values[1], list):
        yield from _items(name, *values)
    else:
        yield Change(name, "changed", "value", *values)


def _whole(name: str, kind: str, one: StoredCheckpoint) -> Iterator[Change]:
    talk, value = one.messages(name), one.value(name)
    is_new = kind == "added"
    if talk and len(talk) == _count(value):
        for message in talk:
            told = message_json(message)
            yield Change(name, kind, "message", *((None, told) if is_new else (told, None)))
    else:
        yield Change(name, kind, "value", *((None, value) if is_new else (value, None)))


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _same(left: Any, right: Any) -> bool:
    return _text(left) == _text(right)


def _text(value: Any) -> str:
    return json_.dumps(value, sort_keys=True)


def _messages(name: str, old: list[Message], new: list[Message]) -> Iterator[Change]:
    """Messages that were added, removed, or changed: those have the same id."""
    before = {message.id: message for message in old if message.id}
    after = {message.id: message for message in new if message.id}
    changed = {id_ for id_, one in after.items() if id_ in before and one != before[id_]}
    keep = [one for one in old if one.id not in changed]
    kept = [one for one in new if one.id not in changed]
    for change in _items(name, [*map(message_json, keep)], [*map(message_json, kept)]):
        yield change._replace(what="message")
    for id_ in (one.id for one in new):
        if id_ in changed:
            pair = message_json(before[id_]), message_json(after[id_])
            yield Change(name, "changed", "message", *pair)


def _items(name: str, old: list[Any], new: list[Any]) -> Iterator[Change]:
    """Members of a list that were added or removed."""
    begin = 0
    while begin < min(len(old), len(new)) and _same(old[begin], new[begin]):
        begin += 1
    old, new = old[begin:], new[begin:]
    if len(old) * len(new) > MOST_COMPARED**2:
        yield Change(name, "changed", "value", old, new)
        return
    matcher = SequenceMatcher(None, [*map(_text, old)], [*map(_text, new)], autojunk=False)
    for kind, from_, to, start, stop in matcher.get_opcodes():
        if kind in ("delete", "replace"):
            for item in old[from_:to]:
                yield Change(name, "removed", "item", item, None)
        if kind in ("insert", "replace"):
            for item in new[start:stop]:
                yield Change(name, "added", "item", None, item)


# ---- for people


def _print(old: StoredCheckpoint, new: StoredCheckpoint, changes: list[Change]) -> None:
    for sign, one, style in (("-", old, "red"), ("+", new, "green")):
        created = "" if one.created_at is None else f", {when(one.created_at)} UTC"
        step = "" if one.step is None else f" step {one.step}"
        show(
            Text(
                f"{sign} {one_line(one.checkpoint_id)} {one_line(one.source)}{step}{created}",
                style=style,
            )
        )
    if not changes:
        show(Text("\nNo channel differs."))
    last = None
    for change in changes:
        if change.channel != last:
            show(Text(f"\n{one_line(change.channel)}", style="bold"))
            last = change.channel
        for sign, text in _lines(change):
            style = {"-": "red", "+": "green"}.get(sign, "")
            grid = Table.grid(padding=(0, 1))
            grid.add_row(Text(f"  {sign}", style=style), Text(text, style=style, overflow="fold"))
            show(grid)


def _lines(change: Change) -> Iterator[tuple[str, str]]:
    before, after = change.before, change.after
    if change.what == "message":
        if before is not None:
            yield "-", _message(before)
        if after is not None:
            yield "+", _message(after)
    elif change.kind == "changed" and isinstance(before, str) and isinstance(after, str):
        lines = unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=1)
        for line in [*lines][3:]:  # after the names and the first place
            yield ("…", "") if line.startswith("@") else (line[:1], one_line(line[1:]))
    elif change.kind == "changed" and isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            ours, theirs = before.get(key), after.get(key)
            if key not in before or key not in after or not _same(ours, theirs):
                if key in before:
                    yield "-", f"{one_line(key)}: {brief(ours, _most())}"
                if key in after:
                    yield "+", f"{one_line(key)}: {brief(theirs, _most())}"
    else:
        if change.kind != "added":
            yield "-", brief(before, _most())
        if change.kind != "removed":
            yield "+", brief(after, _most())


def _most() -> int:
    """Characters of a value that are shown: five lines."""
    return 5 * min(console().width, 200)


def _message(told: dict[str, Any]) -> str:
    message = Message(**{**told, "tool_calls": (), "blocks": tuple(told["blocks"])})
    calls = [f"{call['name']}({brief(call['args'], 200)})" for call in told["tool_calls"]]
    spoken = filter(None, (message_line(message, _most()), one_line(", ".join(calls))))
    return f"{one_line(f'{message.role} {message.id or str()}')}: {' '.join(spoken)}"

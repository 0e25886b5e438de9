"""history: the tree of a thread's checkpoints."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from rich.text import Text

from langgraph_redis_json.cli import reading
from langgraph_redis_json.cli.connection import connect, run
from langgraph_redis_json.cli.finding import Namespace, ThreadId, no_namespace, report, thread_of
from langgraph_redis_json.cli.options import Json
from langgraph_redis_json.cli.output import (
    complain,
    console,
    fail,
    is_terminal,
    one_line,
    print_json,
    show,
    table,
    when,
)
from langgraph_redis_json.cli.reading import StoredCheckpoint, is_internal
from langgraph_redis_json.cli.values import said
from langgraph_redis_json.operations import table_of_contents
from langgraph_redis_json.saver import RedisSaver
from langgraph_redis_json.storage import keys

SHORTEST = 13
"""Characters of a checkpoint's id on a terminal, at least: the ids of one run begin alike."""

NARROWEST = 24
"""Characters that the last column needs; where there are fewer, two columns have everything."""


class Row(NamedTuple):
    """A checkpoint in the tree.

    Attributes:
        checkpoint: the checkpoint.
        depth: how many branches it is away from the line of the newest checkpoint.
        forks: whether it begins a branch.
        changes: channel -> what became of it since the parent, in words.
    """

    checkpoint: StoredCheckpoint
    depth: int
    forks: bool
    changes: dict[str, str]


def history(
    context: typer.Context,
    thread_id: ThreadId,
    namespace: Namespace = "",
    limit: Annotated[
        int,
        typer.Option(
            "--limit", metavar="NUMBER", min=0, help="The newest so many checkpoints; 0 for all."
        ),
    ] = 100,
    json: Json = False,
) -> None:
    """Show a thread's checkpoints as a tree.

    The oldest comes first. A row has the step, the source, what changed since the parent, and where
    the thread waits or failed. Times are UTC. A fork is indented. The last line without an
    indent is the current state.
    """
    with connect(context) as saver:
        thread = thread_of(saver, thread_id)
        entries = run(saver, reading.checkpoint_entries(thread, namespace))
        if not entries:
            fail(no_namespace(saver, thread, namespace))
        left_out = max(0, len(entries) - limit) if limit else 0
        found: list[StoredCheckpoint] = []
        for page in table_of_contents.pages(entries[left_out:], table_of_contents.PAGE):
            found += run(saver, reading.read_briefly(thread, thread_id, page))
        if left_out:
            complain(f"{left_out:,} older checkpoints are not shown: see --limit.")
        rows = [*tree(found)]
        if json:
            for row in rows:
                print_json(as_json(row))
        else:
            _print(rows)
            _name_others(saver, thread, namespace)
        for one in found:
            report(one)
        raise typer.Exit(int(any(one.damages for one in found)))


def tree(found: Sequence[StoredCheckpoint]) -> Iterator[Row]:
    """The checkpoints of a namespace in the order of the tree: each after its parent, the branches
    of a fork before the line that leads to the newest checkpoint.

    Args:
        found: the checkpoints, oldest first.
    """
    by_id = {one.checkpoint_id: one for one in found}
    children: dict[str | None, list[StoredCheckpoint]] = defaultdict(list)
    for one in found:
        # An id of LangGraph's sorts after its parent's, so nothing is its own ancestor.
        parent = one.parent_id
        known = parent in by_id and parent is not None and parent < one.checkpoint_id
        children[parent if known else None].append(one)
    # The newest checkpoint below each.
    newest = {one.checkpoint_id: one.checkpoint_id for one in found}
    for one in reversed(found):
        for child in children[one.checkpoint_id]:
            newest[one.checkpoint_id] = max(newest[one.checkpoint_id], newest[child.checkpoint_id])
    waiting = [(one, 0, False) for one in reversed(_ordered(children[None], newest))]
    while waiting:
        one, depth, forks = waiting.pop()
        before = by_id.get(one.parent_id or "")
        # The parent of the first one shown may be older than the others.
        is_known = before is not None or one.parent_id is None
        yield Row(one, depth, forks, changes(before, one) if is_known else {})
        following = _ordered(children[one.checkpoint_id], newest)
        waiting += [(main, depth, False) for main in following[-1:]]
        waiting += [(branch, depth + 1, True) for branch in reversed(following[:-1])]


def _ordered(
    siblings: Sequence[StoredCheckpoint], newest: dict[str, str]
) -> list[StoredCheckpoint]:
    return sorted(siblings, key=lambda one: newest[one.checkpoint_id])


def changes(parent: StoredCheckpoint | None, one: StoredCheckpoint) -> dict[str, str]:
    """What became of each channel since the parent, in words."""
    before = {} if parent is None else parent.versions
    names = dict.fromkeys([*one.channels, *(parent.channels if parent else ())])
    found: dict[str, str] = {}
    for name in names:
        if name not in one.channels:
            found[name] = "gone"
        elif parent is None or name not in parent.channels:
            length = one.length(name)
            found[name] = "new" if not length else f"+{length}"
        elif one.versions.get(name) != before.get(name):
            ours, theirs = one.length(name), parent.length(name)
            if ours is None or theirs is None:
                found[name] = "changed"
            elif ours == theirs:
                found[name] = "changed" if ours else ""
            else:
                found[name] = f"{ours - theirs:+}"
    return {name: change for name, change in found.items() if change and not is_internal(name)}


def as_json(row: Row) -> dict[str, Any]:
    """A row for other programs."""
    one = row.checkpoint
    return {
        "checkpoint_id": one.checkpoint_id,
        "checkpoint_ns": one.identity.checkpoint_ns,
        "parent_checkpoint_id": one.parent_id,
        "step": one.step,
        "source": one.source,
        "created_at": one.created_at,
        "depth": row.depth,
        "changes": row.changes,
        "next": one.next_nodes,
        "interrupts": one.interrupts,
        "errors": one.errors,
        "metadata": one.metadata,
        "damages": [str(damage) for damage in one.damages],
    }


def _print(rows: Sequence[Row]) -> None:
    last = max(row.checkpoint.checkpoint_id for row in rows)
    length = _length([row.checkpoint.checkpoint_id for row in rows])
    lines: list[tuple[Text, str, str, str, Text]] = []
    made = table(
        ("checkpoint", {"no_wrap": True}),
        ("step", {"justify": "right", "no_wrap": True}),
        ("source", {"no_wrap": True}),
        ("when (UTC)", {"no_wrap": True}),
        "changed, and where it waits",
    )
    for row in rows:
        one = row.checkpoint
        is_last = one.checkpoint_id == last
        mark = "│ " * (row.depth - 1) + ("├─" if row.forks else "│ ") if row.depth else ""
        name = Text(f"{mark}{'●' if is_last else '○'} {one_line(one.checkpoint_id[:length])}")
        what = Text(", ".join(f"{one_line(k)} {v}" for k, v in row.changes.items()))
        for sentence, style in _state(one, is_last):
            what.append("\n" if what.plain else "")
            what.append(sentence, style=style)
        created = "" if one.created_at is None else when(one.created_at)
        step = "" if one.step is None else f"{one.step}"
        lines.append((name, step, one_line(one.source), created, what))
        made.add_row(*lines[-1])
    taken = sum(max(len(line[column]) for line in lines) + 2 for column in range(4))
    if console().width >= taken + NARROWEST:
        show(made)
        return
    made = table(("checkpoint", {"no_wrap": True}), "step (UTC), changes")
    for name, *facts, what in lines:
        changed = Text("\n").append_text(what) if what.plain else Text()
        made.add_row(name, Text("  ".join(filter(None, map(str, facts)))).append_text(changed))
    show(made)


def _state(one: StoredCheckpoint, is_last: bool) -> Iterator[tuple[str, str]]:
    """Where a checkpoint waits or failed, with a style."""
    for asked in one.interrupts:
        answered = " (answered)" if one.is_answered else ""
        yield f"asks: {one_line(said(asked), 200)}{answered}", "" if one.is_answered else "yellow"
    for error in one.errors:
        yield f"failed: {one_line(said(error), 200)}", "red"
    if is_last and one.next_nodes and not one.errors:
        yield f"next: {one_line(', '.join(dict.fromkeys(one.next_nodes)))}", "yellow"
    for damage in one.damages:
        yield f"damaged: {one_line(damage.why)}", "red"


def _length(ids: Sequence[str]) -> int:
    """How much of each id tells it from the others: all of it without a terminal."""
    longest = max(map(len, ids))
    if not is_terminal():
        return longest
    for length in range(SHORTEST, longest):
        if len({one[:length] for one in ids}) == len(ids):
            return length
    return longest


def _name_others(saver: RedisSaver, thread: keys.ThreadKeys, shown: str) -> None:
    """Name the namespaces that are not shown."""
    counts: dict[str, int] = defaultdict(int)
    for entry in run(saver, reading.checkpoint_entries(thread)):
        counts[keys.identity_of_entry("", entry).checkpoint_ns] += 1
    counts.pop(shown, None)
    if not counts:
        return
    made = table("other namespaces: see --namespace", ("checkpoints", {"justify": "right"}))
    for name, count in counts.items():
        made.add_row(Text(one_line(name) or '"" (the root graph)'), f"{count:,}")
    typer.echo()
    show(made)

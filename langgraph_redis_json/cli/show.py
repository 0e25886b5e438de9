"""show: one checkpoint, or one channel of it."""

from typing import Annotated, Any

import typer
from rich.text import Text

from langgraph_redis_json.cli.connection import connect
from langgraph_redis_json.cli.finding import (
    CheckpointId,
    Namespace,
    ThreadId,
    checkpoint_of,
    exit_code,
    no_channel,
    report,
)
from langgraph_redis_json.cli.options import Json
from langgraph_redis_json.cli.output import (
    complain,
    cut,
    fail,
    one_line,
    print_json,
    safe,
    table,
    text_of,
    when,
)
from langgraph_redis_json.cli.output import show as print_
from langgraph_redis_json.cli.reading import DamagedValueError, StoredCheckpoint
from langgraph_redis_json.cli.values import brief, in_full, message_line, said
from langgraph_redis_json.storage.plain import Message, is_opaque


def show(
    context: typer.Context,
    thread_id: ThreadId,
    channel: Annotated[
        str | None,
        typer.Argument(metavar="CHANNEL", help="The channel whose value is shown in full."),
    ] = None,
    checkpoint: CheckpointId = None,
    namespace: Namespace = "",
    json: Json = False,
) -> None:
    """Show a checkpoint, or one of its channels.

    Its metadata, channels and pending writes; with CHANNEL the whole value of that channel, as
    JSON; a text as it is. Without --checkpoint it is the newest checkpoint.
    """
    with connect(context) as saver:
        found = checkpoint_of(saver, context, thread_id, checkpoint, namespace)
        if channel is not None:
            _show_channel(found, channel, json)
        elif json:
            print_json(_as_json(found))
        else:
            _show_checkpoint(found)
        report(found)
        raise typer.Exit(exit_code(found))


def _show_channel(found: StoredCheckpoint, channel: str, json: bool) -> None:
    if channel not in found.fields.get("channel_values", {}):
        fail(no_channel(found, channel))
    try:
        value = found.value(channel)
    except DamagedValueError:  # `report` names it
        return
    if json:
        print_json({"channel": channel, "value": value})
        return
    if is_opaque(value):
        complain("This value is not JSON: pass --load MODULE to let a serializer read it.")
    print(in_full(value))


def _as_json(found: StoredCheckpoint) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in found.channels:
        try:
            values[name] = found.value(name)
        except DamagedValueError as error:
            values[name] = {"$damaged": str(error.damage)}
    return {
        **found.identity._asdict(),
        "parent_checkpoint_id": found.parent_id,
        "created_at": found.created_at,
        "metadata": found.metadata,
        "next": found.next_nodes,
        "channel_values": values,
        "pending_writes": [
            {name: value for name, value in write._asdict().items() if name != "messages"}
            for write in found.writes
        ],
        "damages": [str(damage) for damage in found.damages],
    }


def _show_checkpoint(found: StoredCheckpoint) -> None:
    facts = table("", "")
    facts.show_header = False
    facts.columns[0].no_wrap = True
    created = found.created_at
    rows = {
        "thread": found.identity.thread_id,
        "namespace": found.identity.checkpoint_ns,
        "checkpoint": found.checkpoint_id,
        "parent": found.parent_id or "none",
        "when": "" if created is None else f"{when(created, seconds=True)} UTC",
        **{
            f"metadata {name}": one_line(said(value), 300) for name, value in found.metadata.items()
        },
        "next": ", ".join(dict.fromkeys(found.next_nodes)),
    }
    for name, value in rows.items():
        if value:
            facts.add_row(Text(one_line(name), style="dim"), text_of(value))
    print_(facts)
    # Not in the table, which would break it into lines: people copy it.
    width = max(len(one_line(name)) for name, value in rows.items() if value)
    print_(Text(f"{'key':{width}}  {safe(found.key)}", overflow="ignore", no_wrap=True), cut=False)
    typer.echo()
    made = table("channel", ("holds", {"no_wrap": True}), "value")
    for name in found.channels:
        made.add_row(text_of(name), *_holds(found, name))
    print_(made)
    writes = [write for write in found.writes if not write.channel.startswith("branch:to:")]
    if writes:
        typer.echo()
        made = table("pending write", "task", "value")
        for write in writes:
            value = write.value
            if write.channel == "__interrupt__" and isinstance(value, list) and len(value) == 1:
                [value] = value
            if isinstance(value, dict) and "value" in value and "$class" in value:
                value = value["value"]
            # The path of a task ends in its node, unless `Send` created the task.
            node = write.task_path.rpartition(", ")[2]
            task = write.task_id[:8] if not node or node.isdigit() else node
            made.add_row(
                text_of(_NAMES.get(write.channel, write.channel)),
                text_of(task),
                cut(", ".join(map(_spoken, write.messages)) or said(value)),
            )
        print_(made)


def _spoken(message: Message) -> str:
    return f"{message.role}: {message_line(message)}"


_NAMES = {
    "__interrupt__": "asks",
    "__resume__": "is answered",
    "__error__": "failed",
    "__scheduled__": "scheduled",
    "__no_writes__": "wrote nothing",
}
"""What LangGraph's special channels mean."""


def _holds(found: StoredCheckpoint, channel: str) -> tuple[str, Text]:
    """What a channel holds, in a word, and the beginning or end of its value."""
    try:
        value = found.value(channel)
        talk = found.messages(channel)
    except DamagedValueError as error:
        return "damaged", Text(one_line(error.damage.why), style="red")
    if talk:
        last = talk[-1]
        return f"{len(talk)} messages", cut(f"… {_spoken(last)}")
    return _kind(value), cut(brief(value))


def _kind(value: Any) -> str:
    if is_opaque(value):
        return "not JSON"
    if isinstance(value, dict):
        if "$class" in value:
            return one_line(str(value["$class"]).rpartition(".")[2], 20)
        return "bytes" if [*value] == ["$bytes"] else f"dict of {len(value)}"
    if isinstance(value, list):
        return f"list of {len(value)}"
    if isinstance(value, str):
        return f"text of {len(value):,}" if len(value) > 60 else "text"
    return {bool: "true or false", int: "number", float: "number"}.get(type(value), "nothing")

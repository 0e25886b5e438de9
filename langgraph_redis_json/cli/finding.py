"""What a person names: a thread, a checkpoint, a channel; and what to say if there is none."""

from collections.abc import Sequence
from typing import Annotated

import typer

from langgraph_redis_json import arguments
from langgraph_redis_json.cli import reading, serializers
from langgraph_redis_json.cli.connection import run
from langgraph_redis_json.cli.output import complain, fail, safe
from langgraph_redis_json.cli.reading import DamagedValueError, StoredCheckpoint
from langgraph_redis_json.saver import RedisSaver
from langgraph_redis_json.storage import keys
from langgraph_redis_json.storage.keys import ThreadKeys

ThreadId = Annotated[str, typer.Argument(metavar="THREAD", help="The thread_id.")]
CheckpointId = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="ID",
        help="The checkpoint: its id, or a beginning that no other has. Default: the newest.",
    ),
]
Namespace = Annotated[
    str,
    typer.Option("--namespace", metavar="NS", help="The checkpoint_ns of a subgraph."),
]


def thread_of(saver: RedisSaver, thread_id: str) -> ThreadKeys:
    """The keys of a thread that exists; else the end, with the nearest ids."""
    thread = keys_of(saver, thread_id)
    if not run(saver, reading.exists(thread)):
        fail(no_thread(saver, thread_id))
    if not run(saver, reading.has_contents(thread)):
        fail(
            f"The thread has lost its table of contents, the key {thread.contents}, so nothing of "
            "it can be read: restore the key from a backup, or delete the thread."
        )
    return thread


def keys_of(saver: RedisSaver, thread_id: str) -> ThreadKeys:
    """The keys of a thread.

    Raises:
        typer.BadParameter: if no thread can have this id.
    """
    try:
        return keys.thread_keys(saver.key_prefix, arguments.thread_id(thread_id))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="THREAD") from None


def no_thread(saver: RedisSaver, thread_id: str) -> str:
    """That there is no such thread, and which ids are near."""
    near = run(saver, reading.nearest_threads(saver._context, thread_id))
    return f'There is no thread "{thread_id}"{did_you_mean(near)}'


def did_you_mean(near: Sequence[str]) -> str:
    """The end of a sentence that names the nearest ids."""
    if not near:
        return "."
    quoted = [f'"{safe(one)}"' for one in near]
    *others, last = quoted
    return f": did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def checkpoint_of(
    saver: RedisSaver,
    context: typer.Context,
    thread_id: str,
    checkpoint_id: str | None,
    checkpoint_ns: str = "",
) -> StoredCheckpoint:
    """A checkpoint that exists, with its values; else the end, with the nearest ids.

    Args:
        saver: on the server.
        context: the command's.
        thread_id: the thread.
        checkpoint_id: its id or the beginning of its id; None for the newest.
        checkpoint_ns: the namespace.
    """
    reveal = serializers.reveal(context.obj.load)
    thread = thread_of(saver, thread_id)
    if checkpoint_id is None:
        found = run(saver, reading.read_newest(thread, thread_id, checkpoint_ns, reveal))
        if found is None:
            fail(no_namespace(saver, thread, checkpoint_ns))
        return found
    entry = entry_of(saver, thread, checkpoint_id, checkpoint_ns)
    read = run(saver, reading.read_checkpoints(thread, thread_id, [entry], reveal))
    if not read:
        fail(f"The checkpoint {checkpoint_id} was deleted in this moment.")
    return read[0]


def entry_of(
    saver: RedisSaver, thread: ThreadKeys, checkpoint_id: str, checkpoint_ns: str = ""
) -> str:
    """The entry of a checkpoint that exists; else the end, with the nearest ids.

    Args:
        saver: on the server.
        thread: the keys of its thread.
        checkpoint_id: its id, or the beginning of its id.
        checkpoint_ns: the namespace.
    """
    entries = run(saver, reading.checkpoint_entries(thread, checkpoint_ns))
    if not entries:
        fail(no_namespace(saver, thread, checkpoint_ns))
    ids = {keys.identity_of_entry("", entry).checkpoint_id: entry for entry in entries}
    if checkpoint_id in ids:
        return ids[checkpoint_id]
    begin = [one for one in ids if checkpoint_id and one.startswith(checkpoint_id)]
    if len(begin) == 1:
        return ids[begin[0]]
    if begin:
        some = ", ".join(map(safe, begin[:3])) + (" …" if len(begin) > 3 else "")
        fail(f'{len(begin)} checkpoints begin with "{checkpoint_id}": {some}')
    near = reading.nearest(checkpoint_id, [*ids][-reading.NEAREST :])
    where = f' in the namespace "{checkpoint_ns}"' if checkpoint_ns else ""
    end = did_you_mean(near) if near else f": the newest one is {safe([*ids][-1])}."
    fail(f'The thread has no checkpoint "{checkpoint_id}"{where}{end}')


def no_namespace(saver: RedisSaver, thread: ThreadKeys, checkpoint_ns: str) -> str:
    entries = run(saver, reading.checkpoint_entries(thread))
    found = [*dict.fromkeys(keys.identity_of_entry("", one).checkpoint_ns for one in entries)]
    if not checkpoint_ns:
        if not found:
            return "The thread has pending writes, and no checkpoint yet."
        some = ", ".join(f'"{safe(one)}"' for one in found[:3])
        return f"The thread has no checkpoint of a root graph; pass --namespace with one of {some}."
    near = [one for one in reading.nearest(checkpoint_ns, found[: reading.NEAREST]) if one]
    others = ", ".join(f'"{safe(one)}"' for one in found[:3] if one)
    has = f": it has {others}." if others else ": it has only the root graph."
    return f'The thread has no namespace "{checkpoint_ns}"{did_you_mean(near) if near else has}'


def message_channels(found: StoredCheckpoint, channel: str | None = None) -> list[str]:
    """The channels of a checkpoint that hold chat messages, "messages" alone if it does.

    Args:
        found: the checkpoint.
        channel: the one that a person named; None for those that hold messages.
    """
    if channel is not None:
        if channel not in found.channels:
            fail(no_channel(found, channel))
        return [channel]
    holding = []
    for name in sorted(found.channels, key=lambda one: one != "messages"):
        try:
            if found.messages(name):
                holding.append(name)
        except DamagedValueError:
            continue
        if name == "messages" and holding:
            break
    return holding


def no_channel(found: StoredCheckpoint, channel: str) -> str:
    """That a checkpoint has no such channel, and which are near."""
    near = reading.nearest(channel, found.channels)
    others = ", ".join(map(safe, found.channels)) or "none"
    end = did_you_mean(near) if near else f"; it has {others}."
    return f'The checkpoint {found.checkpoint_id} has no channel "{channel}"{end}'


def report(found: StoredCheckpoint) -> None:
    """Name the documents that are not whole."""
    for damage in found.damages:
        complain(str(damage))


def exit_code(*found: StoredCheckpoint) -> int:
    """1 if something is not whole, else 0."""
    return int(any(each.damages for each in found))

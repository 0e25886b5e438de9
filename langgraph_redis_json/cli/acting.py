"""What the commands that change threads share: which threads, the question before, Ctrl-C."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any, NamedTuple

import typer

from langgraph_redis_json.cli import reading
from langgraph_redis_json.cli.connection import run, server_time
from langgraph_redis_json.cli.finding import keys_of, no_thread
from langgraph_redis_json.cli.options import Selection, read_selection
from langgraph_redis_json.cli.output import (
    complain,
    fail,
    is_terminal,
    one_line,
    print_json,
    progress,
)
from langgraph_redis_json.saver import RedisSaver

ThreadIds = Annotated[list[str] | None, typer.Argument(metavar="THREAD", help="The thread_ids.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Change nothing, and say what would be changed.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
All = Annotated[bool, typer.Option("--all", help="All threads.")]

NAMED = 10
"""Threads that a question names."""


class Chosen(NamedTuple):
    """The threads that a command changes.

    Attributes:
        thread_ids: the threads, which exist.
        selection: how they were found; None if a person named them.
    """

    thread_ids: list[str]
    selection: Selection | None


def choose(
    saver: RedisSaver,
    thread_ids: Sequence[str] | None,
    filters: Sequence[str] | None,
    status: str | None,
    older_than: str | None,
    everything: bool,
) -> Chosen:
    """The threads that the arguments and options name.

    A thread that changes from now on is not among those that a filter finds: a person has not seen
    it as it is.

    Raises:
        typer.Exit: with the code 2 if they name none, or name them in two ways; with the code 1 if
            one of the threads does not exist.
    """
    now = server_time(saver)
    selection = read_selection(now, filters, status, older_than)
    is_search = everything or any(selection)
    if thread_ids and is_search:
        fail("Pass the ids of threads, or options that find threads; not both.", 2)
    if thread_ids:
        return Chosen(existing(saver, thread_ids, "Nothing was changed."), None)
    if not is_search:
        fail("Say which threads: their ids, or --filter, --status, --older-than, or --all.", 2)
    soon = now + timedelta(milliseconds=1)
    before = selection.updated_before
    selection = selection._replace(updated_before=soon if before is None else min(before, soon))
    found = [row.thread_id for row in saver.threads(**selection._asdict())]
    if not found:
        fail("There are no such threads.")
    return Chosen(found, selection)


def existing(saver: RedisSaver, thread_ids: Sequence[str], nothing: str) -> list[str]:
    """Threads that a person named, each once.

    Args:
        saver: on the server.
        thread_ids: the threads.
        nothing: what the command says at its end if one of them does not exist.

    Raises:
        typer.Exit: with the code 1 if one of them does not exist; the nearest ids are named.
    """
    wanted = [*dict.fromkeys(thread_ids)]
    missing = [one for one in wanted if not _exists(saver, one)]
    for one in missing:
        complain(no_thread(saver, one))
    if missing:
        fail(nothing)
    return wanted


def _exists(saver: RedisSaver, thread_id: str) -> bool:
    return run(saver, reading.exists(keys_of(saver, thread_id)))


def ask(question: str, thread_ids: Sequence[str], yes: bool) -> None:
    """Ask before something is destroyed; without a terminal, refuse.

    Args:
        question: without a question mark; the threads follow it.
        thread_ids: the threads.
        yes: whether a person has said yes already.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        fail(
            "Nothing was changed: there is no terminal to ask at. "
            f"{question}: {named(thread_ids)}? Pass --yes for that.",
            2,
        )
    if not typer.confirm(f"{question}: {named(thread_ids)}?", default=False, err=True):
        fail("Nothing was changed.")


def named(thread_ids: Sequence[str]) -> str:
    """Some threads as part of a sentence."""
    some = ", ".join(one_line(one, 60) for one in thread_ids[:NAMED])
    left = len(thread_ids) - NAMED
    return f"{some} and {left:,} more" if left > 0 else some


def threads(count: int) -> str:
    """A number of threads as part of a sentence."""
    return f"{count:,} thread" if count == 1 else f"{count:,} threads"


def checkpoints(count: int) -> str:
    """A number of checkpoints as part of a sentence."""
    return f"{count:,} checkpoint" if count == 1 else f"{count:,} checkpoints"


class Stopped(Exception):
    """A person pressed Ctrl-C, and the thread that was being changed is finished."""


@contextmanager
def steps(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Change threads one by one: with a progress bar, and so that Ctrl-C stops between two threads,
    never within one.

    Args:
        what: what is done, for the bar.
        total: how many threads there are.

    Yields:
        A function to call after each thread.
    """
    stop, done = False, 0

    def on_signal(number: int, frame: Any) -> None:
        nonlocal stop
        stop = True
        complain("Finishing this thread, then stopping.")

    def step() -> None:
        nonlocal done
        done += 1
        advance(done)
        if stop and done < total:
            raise Stopped

    # On a terminal the lines about the threads show how far it is.
    bar, advance = progress(what, total, hidden=is_terminal())
    before = signal.signal(signal.SIGINT, on_signal)
    try:
        with bar:
            yield step
    except Stopped:
        fail(
            f"Stopped by Ctrl-C after {done:,} of {threads(total)}; the others are as they were. "
            "Run the same command again to go on.",
            130,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def tell(json: bool, thread_id: str, what: str, **facts: Any) -> None:
    """Say what became of one thread: as JSON, or in words.

    Args:
        json: whether another program reads it.
        thread_id: the thread.
        what: in words.
        facts: the members of the JSON object.
    """
    if json:
        print_json({"thread_id": thread_id, **facts})
    else:
        typer.echo(f"{one_line(thread_id)}: {what}")

"""A plan is the steps of an operation, written once for both savers.

A plan is a generator that knows no client and no ``await``. It yields a batch of commands, is sent
their replies, and returns the result of the operation. `sync_runner.py` and `async_runner.py` run
plans. A batch is one network round trip.

On a cluster, a batch that begins with a command of Search goes to one node, the same one for the
whole plan until it fails. The commands of other batches go to the nodes of their keys.

An empty batch says that the next step of the plan takes long: `async_runner.py` then runs the step
in a thread, so that the event loop can go on.
"""

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

Argument = str | bytes | int
Command = tuple[Argument, ...]
"""A command as Redis spells it, ready for ``client.execute_command(*command)``."""

Replies = list[Any]


def is_search(commands: Sequence[Command]) -> bool:
    """Whether a batch is one of searches."""
    return bool(commands) and str(commands[0][0]).startswith(("FT.", "SEARCH."))


Plan = Generator[list[Command], Replies, T]
"""Yields batches of commands, is sent their replies, returns T."""

Listing = Generator[list[Command] | T, Replies, None]
"""A plan that also yields the items that it finds."""

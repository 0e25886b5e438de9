"""The versions of channels."""

from random import random


def next_version(current: str | int | None) -> str:
    """The version of a channel after `current`: counts up, and never repeats on two forks of
    a thread, for its second part is random."""
    count = current if isinstance(current, int) else int((current or "0").split(".")[0])
    return f"{count + 1:032}.{random():016}"

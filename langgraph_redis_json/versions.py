"""The versions of channels."""

from random import choices
from string import ascii_letters, digits


def next_version(current: str | int | None) -> str:
    """The version of a channel after `current`: counts up, and never repeats on two forks of
    a thread, for its second part is random (47 bits)."""
    count = current if isinstance(current, int) else int((current or "0").split(".")[0])
    return f"{count + 1:032}.{''.join(choices(ascii_letters + digits, k=8))}"

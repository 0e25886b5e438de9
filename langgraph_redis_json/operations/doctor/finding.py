"""What the doctor finds."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from langgraph_redis_json.client.plan import Plan

Severity = Literal["ok", "warning", "error"]
"""A fact; something that costs memory or may go wrong later; something that is wrong now."""


class Repair(NamedTuple):
    """What mends a finding without loss, also while applications write.

    Attributes:
        text: what it does, as an order: "delete 3 blobs that no checkpoint refers to".
        plan: does it, and says what it did.
    """

    text: str
    plan: Callable[[], Plan[str]]


class Finding(NamedTuple):
    """Something that the doctor has found.

    Attributes:
        severity: see `Severity`.
        code: the kind of finding, for programs: "log-missing".
        subject: what it is about: "server", the name of an index, or the id of a thread.
        what: what was found.
        means: what that means for users; empty for a fact.
        mends: what mends it; empty for a fact.
        repair: None if only a person can mend it.
    """

    severity: Severity
    code: str
    subject: str
    what: str
    means: str = ""
    mends: str = ""
    repair: Repair | None = None


MOST_NAMED = 3
"""Keys that a finding names."""


def some(keys: Sequence[str]) -> str:
    """The first keys of some, and how many there are more."""
    more = f" and {len(keys) - MOST_NAMED:,} more" if len(keys) > MOST_NAMED else ""
    return ", ".join(keys[:MOST_NAMED]) + more


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"

"""How long threads live, and how many checkpoints they keep: a saver's settings, checked."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

LONGEST = 100_000 * 365 * 24 * 60
"""Minutes that a thread may be told to live."""


class Lifetimes(NamedTuple):
    """A saver's settings.

    Attributes:
        ttl: milliseconds that a thread lives after its last use, at least; 0 for ever.
        refresh_on_read: whether ``get_tuple`` is a use; ``put`` and ``put_writes`` always are.
        keep_last: how many checkpoints of each namespace are kept; 0 for all.
    """

    ttl: int = 0
    refresh_on_read: bool = False
    keep_last: int = 0


FOR_EVER = Lifetimes()


def lifetimes(ttl: Mapping[str, Any] | None, keep_last: int | None) -> Lifetimes:
    """A saver's settings, as its callers spell them.

    Raises:
        ValueError, TypeError: if that says nothing, or nothing that can be done.
    """
    if keep_last is not None:
        if type(keep_last) is not int:
            raise TypeError(f"keep_last must be a number of checkpoints, not {keep_last!r:.100}")
        if keep_last < 1:
            raise ValueError(
                f"keep_last is {keep_last}: keep at least 1 checkpoint, or leave it out to keep all"
            )
    if ttl is None:
        return Lifetimes(keep_last=keep_last or 0)
    if not isinstance(ttl, Mapping):
        raise TypeError(
            f'ttl must be like {{"default_ttl": 60, "refresh_on_read": True}}, not {ttl!r:.100}'
        )
    if unknown := ttl.keys() - {"default_ttl", "refresh_on_read"}:
        raise ValueError(
            f'ttl has {sorted(map(str, unknown))}: it knows "default_ttl" and "refresh_on_read"'
        )
    if "default_ttl" not in ttl:
        raise ValueError('ttl needs "default_ttl", the minutes that threads live after their use')
    refresh = ttl.get("refresh_on_read", False)
    if type(refresh) is not bool:
        raise TypeError(f"refresh_on_read must be True or False, not {refresh!r:.100}")
    return Lifetimes(milliseconds("default_ttl", ttl["default_ttl"]), refresh, keep_last or 0)


def milliseconds(what: str, minutes: Any) -> int:
    """Minutes, whole or not, as milliseconds.

    Raises:
        ValueError, TypeError: if they are none, or not more than 0.
    """
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)):
        raise TypeError(f"{what} must be a number of minutes, not {minutes!r:.100}")
    if not isfinite(minutes) or not 0 < minutes <= LONGEST:
        raise ValueError(
            f"{what} is {minutes} minutes: it must be more than 0 and at most {LONGEST}; for "
            "threads that never vanish leave ttl out, or pin() them"
        )
    return max(1, round(minutes * 60_000))

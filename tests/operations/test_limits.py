"""Listings with a limit across threads: each row that matches comes once.

The server is first asked for as many rows as the limit. If the search finds rows that do not match,
the listing looks for all of them, and must not return the first ones again.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.support.checkpoints import each_saver, put
from tests.support.clients import Saver

ARRANGEMENTS = ["DDD111", "111DDD", "D1D1D1", "1D1D1D", "D11D1D", "1DD1D1", "1DDDDD", "DDDDD1"]
"""Which thread has which metadata: a Decimal is searched like every value that is not JSON, so the
server cannot tell it from 1."""


def fill(saver: Saver, arrangement: str) -> set[str]:
    """Threads with one checkpoint id. Returns those whose metadata is 1."""
    for number, kind in enumerate(arrangement):
        k = Decimal(2) if kind == "D" else 1
        put(saver, "1", thread_id=f"{number}", metadata={"k": k, "number": number})
    return {f"{number}" for number, kind in enumerate(arrangement) if kind == "1"}


@each_saver
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_each_right_row_comes_once(saver: Saver, arrangement: str) -> None:
    right = fill(saver, arrangement)
    for limit in (1, 2, 3, 6, 7, None):
        count = len(right) if limit is None else min(limit, len(right))
        listed = [
            one.config["configurable"]["thread_id"]
            for one in saver.list(None, filter={"k": 1}, limit=limit)
        ]
        assert len(listed) == len({*listed}) == count, listed
        assert {*listed} <= right
        found = [one.thread_id for one in saver.threads({"k": 1}, limit=limit)]
        assert len(found) == len({*found}) == count, found
        assert {*found} <= right

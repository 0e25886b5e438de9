"""The size of the fault tests, and their reports for docs/reliability.md.

FAULTS=long tries each fault many times; FAULTS_RECORD names the file that counts are added to.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

LONG = os.environ.get("FAULTS") == "long"


def times(short: int, long: int) -> int:
    """Number of attempts, in the short and in the long run."""
    return long if LONG else short


def tried(fault: str, count: int, **facts: Any) -> None:
    """Report a fault, the number of attempts, and their outcome.

    Args:
        facts: "checked" and "lost", the numbers of acknowledged calls that were checked and that
            were not found; "torn", the number of partial states; "note", a remark.
    """
    if path := os.environ.get("FAULTS_RECORD"):
        with Path(path).open("a", encoding="utf-8") as file:
            print(json.dumps({"fault": fault, "count": count, **facts}), file=file)

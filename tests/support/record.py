"""How long the tests in this directory take, and what they report for docs/reliability.md.

FAULTS=long tries each fault many times; FAULTS_RECORD names the file that counts are added to.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

LONG = os.environ.get("FAULTS") == "long"


def times(short: int, long: int) -> int:
    """How often to try something."""
    return long if LONG else short


def tried(fault: str, count: int, **facts: Any) -> None:
    """Report a fault, how often it was tried and what came of it.

    Args:
        facts: "checked" and "lost", how many acknowledged calls were looked for afterwards and
            not found; "torn", states that were half there; "note", more to say.
    """
    if path := os.environ.get("FAULTS_RECORD"):
        with Path(path).open("a", encoding="utf-8") as file:
            print(json.dumps({"fault": fault, "count": count, **facts}), file=file)

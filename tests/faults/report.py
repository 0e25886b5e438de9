"""Tries each fault many times, and writes the results into docs/reliability.md.

python tests/faults/report.py [options of pytest]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"
START, END = "<!-- make test-faults: begin -->", "<!-- make test-faults: end -->"


def summed(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each fault, in the order of the tests."""
    rows: dict[str, dict[str, Any]] = {}
    for line in lines:
        row = rows.setdefault(line["fault"], dict.fromkeys(("count", "checked", "lost", "torn"), 0))
        row |= {
            name: row[name] + line.get(name, 0) for name in ("count", "checked", "lost", "torn")
        }
        row |= {"fault": line["fault"], "note": line.get("note", "")}
        row["tells_loss"] = "lost" in line or "torn" in line
    return [*rows.values()]


def table(rows: list[dict[str, Any]]) -> str:
    text = [
        "| fault or load | times | acknowledged calls checked | lost | torn | note |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        numbers = [f"{row['count']:,}", f"{row['checked']:,}" if row["checked"] else ""]
        numbers += [f"{row['lost']:,}", f"{row['torn']:,}"] if row["tells_loss"] else ["", ""]
        text.append(f"| {' | '.join([row['fault'], *numbers, row['note']])} |")
    return "\n".join(text)


def main() -> int:
    with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as record:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", str(HERE), *sys.argv[1:]],
            env={**os.environ, "FAULTS": "long", "FAULTS_RECORD": record.name},
        )
        rows = summed([json.loads(line) for line in record])
    if done.returncode:
        print("Some tests failed: docs/reliability.md is left as it was.", file=sys.stderr)
        return done.returncode
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    told = f"Tried on {date.today():%Y-%m-%d}, on {os.cpu_count()} cores:\n\n{table(rows)}\n"
    PAGE.write_text(f"{before}{START}\n{told}{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

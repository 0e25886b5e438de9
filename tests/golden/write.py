"""Write the golden set of a new format: `python -m tests.golden.write`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import redis

from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.storage.documents import FORMAT
from tests.golden import server, threads


def main() -> None:
    folder = Path(__file__).parent / f"format-{FORMAT}"
    if folder.exists():
        raise SystemExit(f"{folder} exists, and must never change")
    with (
        EmbeddedRedis() as embedded,
        redis.Redis.from_url(embedded.url, decode_responses=True) as client,
    ):
        threads.write(embedded.url)
        files: dict[str, Any] = {
            "server.json": server.dump(client),
            "expected.json": threads.read_all(embedded.url),
        }
        options = ["--url", embedded.url, "--key-prefix", threads.PREFIX]
        exported = subprocess.run(
            [sys.executable, "-m", "langgraph_redis_json", *options, "export", "--all"],
            check=True, capture_output=True,
        ).stdout  # fmt: skip
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(f"{json.dumps(content, indent=1)}\n", "utf-8")
    (folder / "export.jsonl").write_bytes(exported)


if __name__ == "__main__":
    main()

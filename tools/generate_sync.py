"""Writes the synchronous modules from the asynchronous ones: `make generate`.

    python tools/generate_sync.py [--check]

`TWINS` names the modules. Lines with the comment ``# async only``, and blocks between ``# async
only: begin`` and ``# async only: end``, are left out. Words that differ are replaced: see `WORDS`
and `PHRASES`. ``--check`` writes nothing, and fails if a synchronous module is not current.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "langgraph_redis_json"

TWINS = {
    PACKAGE / "client" / "async_connecting.py": PACKAGE / "client" / "sync_connecting.py",
    PACKAGE / "client" / "async_runner.py": PACKAGE / "client" / "sync_runner.py",
    PACKAGE / "aio.py": PACKAGE / "saver.py",
}
"""Asynchronous module -> synchronous module."""

PHRASES = {
    "Runs plans on a client of redis.asyncio.": "Runs plans on a client of redis-py.",
    "for graphs that are awaited": "for graphs that are invoked",
    "`make generate` writes `sync_runner.py` from this file.": (
        "`make generate` writes this file from `async_runner.py`: change that one."
    ),
    "`make generate` writes `sync_connecting.py` from this file.": (
        "`make generate` writes this file from `async_connecting.py`: change that one."
    ),
    "`make generate` writes `saver.py` from this file.": (
        "`make generate` writes this file from `aio.py`: change that one."
    ),
    """\
Tasks may share it. Its
    methods without ``a`` are for callers on another thread than the event loop, for a graph that is
    sometimes invoked; for a graph that is always invoked use `RedisSaver`.
""": """\
Threads may share it. Its
    ``a*`` methods run in threads, for a graph that is sometimes awaited; for a graph that is always
    awaited use `RedisSaver`.
""",
    "pool of redis.asyncio": "pool of redis-py",
    "use it in an ``async with`` block": "use it in a ``with`` block",
    "from asyncio import sleep": "from time import sleep",
    "client.async_runner": "client.sync_runner",
    "client.async_connecting": "client.sync_connecting",
    "True,  # on_loop": "False,  # on_loop",
    "except (StopIteration, Finished)": "except StopIteration",
    "self._clients.client()": "self._plain",
    "await _on_node(searches.choose(client), commands)": (
        "_send(client.get_redis_connection(searches.choose(client)), commands)"
    ),
    "await self._clients.disconnect()": "self.client.close()",
    "await self._step(plan, replies)": "plan.send(replies)",
    "await self._step(listing, replies)": "listing.send(replies)",
}
"""Phrases that differ. Each must occur in an asynchronous module."""

WORDS = {
    "AsyncRedisSaver": "RedisSaver",
    "RedisSaver": "AsyncRedisSaver",
    "AsyncRunner": "SyncRunner",
    "AsyncSearchIndex": "SearchIndex",
    "AsyncIterator": "Iterator",
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "blocking": "awaited",
    "blocking_iteration": "awaited_iteration",
}
"""Words that differ."""

METHODS = (
    *("get_tuple", "get_channel_values", "list", "threads", "put", "put_writes"),
    *("delete_thread", "delete_threads", "delete_for_runs", "prune", "prune_threads"),
    *("search_messages", "copy_thread", "ping", "pin", "expire", "get_delta_channel_history"),
)
"""Each method and its twin with an ``a`` in front change places."""


def synchronous(text: str) -> str:
    """The text of a synchronous module."""
    text = re.sub(r"\n *# async only: begin\n.*?# async only: end(?=\n)", "", text, flags=re.DOTALL)
    text = re.sub(r".*# async only\n", "", text)
    for phrase, twin in PHRASES.items():
        text = text.replace(phrase, twin)
    # Methods change places where they are defined, mentioned and assigned; the operations, which
    # are modules (put.put), stay.
    for method in METHODS:
        text = re.sub(rf"(?<![\w.])a{method}\b", f"<{method}>", text)
        text = re.sub(rf"^(    ){method} = ", rf"\1a{method} = ", text, flags=re.MULTILINE)
        text = text.replace(f"<{method}>", method)
    text = text.replace("    asetup = setup\n", "    asetup = awaited(setup)\n")
    text = re.sub(r"\b(async|await) ", "", text)
    text = text.replace("redis.asyncio", "redis")
    words = re.compile(rf"\b({'|'.join(sorted(WORDS, key=len, reverse=True))})\b")
    return words.sub(lambda found: WORDS[found[0]], text)


def main() -> int:
    sources = {source: source.read_text(encoding="utf-8") for source in TWINS}
    unused = [phrase for phrase in PHRASES if not any(phrase in text for text in sources.values())]
    if unused:
        print(f"PHRASES has phrases that no module has: {unused}", file=sys.stderr)
        return 1
    stale = []
    for source, target in TWINS.items():
        ruff = [sys.executable, "-m", "ruff"]
        text = synchronous(sources[source])
        for command in (["check", "--fix", "--quiet", "--select", "I,F401"], ["format"]):
            name = ["--stdin-filename", str(target), "-"]
            done = subprocess.run(
                [*ruff, *command, *name], input=text, capture_output=True, text=True, check=True
            )
            text = done.stdout
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            stale.append(target.name)
            if "--check" not in sys.argv:
                target.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"not current, run `make generate`: {', '.join(stale)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

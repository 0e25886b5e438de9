"""The command line ``langgraph-redis-json``: see ``docs/command-line.md``.

`app.py` lists the commands; each has a file of its own.
"""

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line."""
    missing = [name for name in ("typer", "rich") if find_spec(name) is None]
    if missing:
        print(
            f"The command line needs {' and '.join(missing)}: "
            'pip install "langgraph-redis-json[cli]"',
            file=sys.stderr,
        )
        raise SystemExit(2)
    from langgraph_redis_json.cli.app import run

    run()

"""Every example runs, more than once on a server, and prints what it should."""

import os
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import redis

from tests.support.project import ROOT

EXAMPLES = ROOT / "examples"

# Text that each example prints, in this order; blanks may be more than one.
LINES = {
    "quickstart.py": [
        # two tool calls, a question, and the answer from another process
        "ai flight_price(Lisbon), flight_price(Porto)",
        "tool Lisbon: 120 euros",
        "tool Porto: 95 euros",
        "ai book_flight(Porto)",
        "Book the flight to Porto? yes",
        "tool Porto is booked",
        "ai Done: Porto is booked.",
        # the history, and what the filter leaves of it
        "5 loop Done: Porto is booked.",
        "-1 input __start__",
        '{"source": "loop", "step": 2}',
        "last message",
        "2 loop model Porto: 95 euros",
        # the fork
        "tool Porto: 210 euros",
        "ai book_flight(Lisbon)",
        "ai Done: Lisbon is booked.",
        "What was before is still there: Done: Porto is booked.",
        # the threads of one user
        "trip-1 Done: Lisbon is booked.",
        "trip-3 Book the flight to Bergen? book_flight(Bergen)",
        # the documents, shortened
        "> JSON.GET",
        '"user_id": "ada"}]',
        "> JSON.GET",
        '["Fly me to Lisbon or Porto, whichever is cheaper."]',
        # the command line
        "> langgraph-redis-json threads",
        "trip-1 idle 6",
        "trip-3 interrupted 3",
        "> langgraph-redis-json messages trip-1",
        "flight_price(city='Porto') → Porto: 210 euros",
        "book_flight(city='Lisbon') → Lisbon is booked",
        "> langgraph-redis-json search porto --role human",
        "human trip-1",
        "Fly me to Lisbon or Porto, whichever is cheaper.",
        "> langgraph-redis-json export trip-1 --html",
        "trip-1.html shows 11 checkpoints. Open it in a browser.",
    ],
}


def run(example: str, *arguments: str, **environment: str) -> str:
    """The output of an example, with runs of blanks replaced by one blank."""
    environment = {**os.environ, "COLUMNS": "80", **environment}
    command = [sys.executable, str(EXAMPLES / example), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        assert done.stderr == ""
    return re.sub("[ ─]+", " ", done.stdout + done.stderr)


def assert_complete(example: str, output: str) -> None:
    at = 0
    for line in LINES[example]:
        found = output.find(line, at)
        assert found >= 0, f"{line!r} is not in\n{output[at:]}"
        at = found + len(line)


def ours(client: redis.Redis) -> set[str]:
    indexes = client.execute_command("FT._LIST")
    return {name for name in [*client.scan_iter(), *indexes] if name.startswith("quickstart:")}


def test_every_example_is_tested() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(LINES)


@pytest.mark.parametrize("example", LINES)
def test_an_example_runs_on_a_server_of_the_user(
    example: str, redis_url: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    kept = run(example, "--keep", REDIS_URL=redis_url, TMPDIR=str(tmp_path))
    assert_complete(example, kept)
    assert len(ours(redis_client)) > 10
    again = run(example, REDIS_URL=redis_url, TMPDIR=str(tmp_path))
    assert again.split("> JSON.GET")[0] == kept.split("> JSON.GET")[0]
    assert ours(redis_client) == set()


def test_the_quickstart_runs_on_its_own_server(tmp_path: Path) -> None:
    output = run("quickstart.py", REDIS_URL="", TMPDIR=str(tmp_path))
    assert_complete("quickstart.py", output)
    threads = output[output.index("5. ") : output.index("6. ")]
    assert "trip-2" not in threads
    [shown] = re.findall(r"JSON.GET \S+ \$\.metadata\n(.*)", output)
    assert orjson.loads(shown)[0]["user_id"] == "ada"
    [path] = re.findall(r"(\S+\.html) shows", output)
    assert Path(path).is_relative_to(tmp_path)
    assert "Done: Lisbon is booked." in Path(path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("url", "why"),
    [("{}/1", "database 0"), ("redis://127.0.0.1:1", "Connection refused")],
    ids=["database", "port"],
)
def test_the_quickstart_explains_why_a_server_is_unsuitable(
    redis_url: str, url: str, why: str
) -> None:
    url = url.format(redis_url.removesuffix("/0"))
    [line] = run("quickstart.py", REDIS_URL=url).splitlines()
    assert line.startswith("REDIS_URL: ")
    assert why in line

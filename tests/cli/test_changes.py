"""delete, prune, copy, pin and expire change the threads that a person means, and no others."""

from __future__ import annotations

import re
from typing import Any

import pytest
import redis

from langgraph_redis_json import RedisSaver
from tests.support.checkpoints import BIG, found_keys, ids, members, put, stored
from tests.support.command_line import Cli, Terminal, environment, run_process

COMMANDS: dict[str, list[str]] = {
    "delete": [],
    "prune": [],
    "copy": ["--prefix", "copy-"],
    "pin": [],
    "expire": ["--in", "30d"],
}
"""Each command with the options that it needs."""

each_command = pytest.mark.parametrize("command", COMMANDS)


@pytest.fixture
def six(own: RedisSaver) -> RedisSaver:
    """Threads t0 to t5, the even ones Ada's, each with three checkpoints."""
    for number in range(6):
        for step in range(3):
            metadata = {"step": step, "user": "ab"[number % 2]}
            put(own, f"{step}", {"x": BIG}, thread_id=f"t{number}", metadata=metadata)
    return own


def threads(saver: RedisSaver) -> list[str]:
    return sorted(row.thread_id for row in saver.threads())


def named(shown: Any) -> list[str]:
    """The threads that --json names."""
    return sorted(row["thread_id"] for row in shown.rows)


@each_command
def test_a_dry_run_changes_nothing(
    six: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str, command: str
) -> None:
    before = stored(redis_client, key_prefix)
    choices: dict[tuple[str, ...], list[str]] = {
        ("t1", "t3", "t1"): ["t1", "t3"],
        ("--filter", "user=a"): ["t0", "t2", "t4"],
        ("--filter", "user=a", "--status", "idle"): ["t0", "t2", "t4"],
        ("--all",): ["t0", "t1", "t2", "t3", "t4", "t5"],
    }
    for choice, found in choices.items():
        shown = own_cli(command, *choice, *COMMANDS[command], "--dry-run", "--json")
        assert named(shown) == found
        words = own_cli(command, *choice, *COMMANDS[command], "--dry-run").lines
        assert len(words) == len(found)
        assert all(" would " in f" {line}" or "would" in line for line in words)
    assert stored(redis_client, key_prefix) == before
    assert own_cli(command, "--older-than", "1d", *COMMANDS[command], "--dry-run", code=1).err == (
        "There are no such threads.\n"
    )


@pytest.mark.parametrize(
    ("command", "question"),
    [
        ("delete", "Delete 1 thread: t1"),
        ("prune", "Delete the history of 1 thread: t1"),
        ("expire", "Let 1 thread expire in 30d: t1"),
    ],
)
def test_without_a_terminal_nothing_is_destroyed_unless_yes(
    six: RedisSaver,
    redis_client: redis.Redis,
    redis_url: str,
    key_prefix: str,
    command: str,
    question: str,
) -> None:
    before = stored(redis_client, key_prefix)
    arguments = [command, "t1", *COMMANDS[command]]
    done = run_process(arguments, environment(redis_url, key_prefix))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Nothing was changed: there is no terminal to ask at. {question}? Pass --yes for that.\n"
    )
    assert stored(redis_client, key_prefix) == before
    done = run_process([*arguments, "--yes"], environment(redis_url, key_prefix))
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(redis_client, key_prefix) != before or command == "expire"


@pytest.mark.parametrize("answer", ["n\r", "\r", "\x03", "y\r"])
def test_a_terminal_is_asked(six: RedisSaver, redis_url: str, key_prefix: str, answer: str) -> None:
    terminal = Terminal(["delete", "--filter", "user=a"], environment(redis_url, key_prefix))
    terminal.wait_for("[y/N]")
    assert "Delete 3 threads: t4, t2, t0? [y/N]" in terminal.text
    terminal.type(answer)
    is_yes = answer == "y\r"
    again = answer if answer == "\x03" else ""
    assert terminal.wait(again=again) == (0 if is_yes else 130 if again else 1)
    assert threads(six) == (["t1", "t3", "t5"] if is_yes else ["t0", "t1", "t2", "t3", "t4", "t5"])
    assert ("Nothing was changed." in terminal.text) is not is_yes
    assert "Traceback" not in terminal.text


@each_command
def test_an_unknown_thread_stops_the_whole_command(
    six: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str, command: str
) -> None:
    before = stored(redis_client, key_prefix)
    yes = [] if command == "pin" else ["--yes"]
    shown = own_cli(command, "t1", "tt2", *COMMANDS[command], *yes, code=1)
    assert shown.out == ""
    assert 'There is no thread "tt2": did you mean "t2"' in shown.err
    assert shown.err.endswith("Nothing was changed.\n")
    assert stored(redis_client, key_prefix) == before


def test_delete(six: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str) -> None:
    assert own_cli("delete", "t0", "t1", "--yes").out == "t0: deleted\nt1: deleted\n"
    assert threads(six) == ["t2", "t3", "t4", "t5"]
    assert named(own_cli("delete", "--filter", "user=a", "--yes", "--json")) == ["t2", "t4"]
    assert threads(six) == ["t3", "t5"]
    own_cli("delete", "--all", "-y")
    assert found_keys(redis_client, key_prefix) == []


def test_a_thread_that_changes_after_the_question_stays(
    six: RedisSaver, redis_url: str, key_prefix: str
) -> None:
    terminal = Terminal(["delete", "--filter", "user=a"], environment(redis_url, key_prefix))
    terminal.wait_for("[y/N]")
    put(six, "9", thread_id="t2", metadata={"user": "a"})
    put(six, "1", thread_id="new", metadata={"user": "a"})
    terminal.type("y\r")
    assert terminal.wait() == 0
    assert threads(six) == ["new", "t1", "t2", "t3", "t5"]
    assert "1 thread changed meanwhile: not deleted." in terminal.text


def test_prune(six: RedisSaver, own_cli: Cli) -> None:
    assert own_cli("prune", "t1", "--dry-run").out == "t1: 2 checkpoints would be deleted\n"
    assert own_cli("prune", "t1", "--yes").out == "t1: 2 checkpoints deleted\n"
    assert own_cli("prune", "t1", "--yes").out == "t1: 0 checkpoints deleted\n"
    rows = own_cli("prune", "--filter", "user=b", "--yes", "--json").rows
    assert {row["thread_id"]: row["checkpoints"] for row in rows} == {"t1": 0, "t3": 2, "t5": 2}
    for thread_id, left in {"t0": ["2", "1", "0"], "t3": ["2"]}.items():
        assert ids(six.list({"configurable": {"thread_id": thread_id}})) == left


def test_copy(six: RedisSaver, own_cli: Cli) -> None:
    assert own_cli("copy", "t1", "new").out == "t1: copied to new\n"
    found = ids(six.list({"configurable": {"thread_id": "new"}}))
    assert found == ids(six.list({"configurable": {"thread_id": "t1"}}))
    # A thread that exists is not overwritten unasked.
    refused = own_cli("copy", "t1", "new", code=2).err
    assert "threads that exist: new? Pass --yes for that." in refused
    assert "TARGET is empty" in own_cli("copy", "t1", "", code=2).err
    assert own_cli("copy", "t1", "new", "-y").out == "t1: copied to new, which exists\n"
    own_cli("copy", "--filter", "user=a", "--prefix", "b:")
    assert threads(six) == ["b:t0", "b:t2", "b:t4", "new", *(f"t{n}" for n in range(6))]


def test_pin_and_expire(
    six: RedisSaver, own_cli: Cli, redis_client: redis.Redis, key_prefix: str
) -> None:
    key = f"{key_prefix}contents:{{t1}}"
    shown = own_cli("expire", "t1", "--in", "2h", "--yes", "--json").rows[0]
    assert 7_190_000 < redis_client.pttl(key) <= 7_200_000
    assert shown["expires_at"].startswith("2")
    assert own_cli("pin", "t1").out == "t1: never expires\n"
    assert redis_client.pttl(key) == -1
    assert "d:never" in members(redis_client, key)
    assert redis_client.pttl(f"{key_prefix}contents:{{t0}}") == -1
    own_cli("expire", "--all", "--in", "1.5d", "-y")
    ttls = [redis_client.pttl(f"{key_prefix}contents:{{t{number}}}") for number in range(6)]
    assert all(129_000_000 < ttl <= 129_600_000 for ttl in ttls)


@pytest.mark.parametrize("command", ["delete", "prune"])
def test_ctrl_c_stops_between_two_threads(
    own: RedisSaver, redis_client: redis.Redis, redis_url: str, key_prefix: str, command: str
) -> None:
    """Whatever is left is whole, and the same command goes on."""
    count = 150
    for number in range(count):
        # Long ids fill the terminal's buffer of 4 KB. So the command waits for somebody to read on,
        # in the middle of its work, when the key is pressed.
        for step in ("1", "2"):
            put(own, step, {"x": BIG}, thread_id=f"{number:03}{'x' * 200}")
    whole = len(found_keys(redis_client, key_prefix)) // count
    arguments = [command, "--all", "--yes"]
    terminal = Terminal(arguments, environment(redis_url, key_prefix))
    terminal.wait_for("deleted")
    terminal.type("\x03")
    assert terminal.wait() == 130
    assert "Traceback" not in terminal.text
    assert "Finishing this thread, then stopping." in terminal.text
    said = re.search(
        r"Stopped by Ctrl-C after (\d+) of 150 threads", " ".join(terminal.text.split())
    )
    assert said is not None
    done = int(said[1])
    assert 0 < done < count
    left = threads(own)
    if command == "delete":
        assert len(left) == count - done
        assert len(found_keys(redis_client, key_prefix)) == whole * len(left)
    else:
        counts = [len(ids(own.list({"configurable": {"thread_id": one}}))) for one in left]
        assert counts.count(1) == done
        assert counts.count(2) == count - done
    again = run_process(arguments, environment(redis_url, key_prefix))
    assert again.returncode == 0
    if command == "delete":
        assert found_keys(redis_client, key_prefix) == []

"""langgraph-redis-json migrate: each source by its URL."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command

from langgraph_redis_json import RedisSaver
from tests.migration.test_migration import fill, spellings
from tests.support.checkpoints import config, get_tuple, put
from tests.support.command_line import Cli, Terminal, environment
from tests.support.graphs import THREAD, nested
from tests.support.sources import OWN_PREFIX, Stores

KINDS = ["sqlite", "postgres", "redis", "own"]


def options(stores: Stores, kind: str, url: Any = None) -> list[str]:
    """How the command names a source."""
    if kind == "own":
        return ["migrate", "--from", stores.redis, "--from-prefix", OWN_PREFIX]
    sources = {
        "sqlite": f"sqlite:{stores.sqlite}",
        "postgres": url,
        "redis": stores.redis,
    }
    return ["migrate", "--from", sources[kind]]


@pytest.mark.parametrize("kind", KINDS)
def test_each_source_is_migrated_by_its_url(
    stores: Stores, target: RedisSaver, cli: Cli, kind: str, postgres_source: str
) -> None:
    with stores.saver(kind) as source:
        fill(source, 3, 4)
        nested(source).invoke({"ask": True}, THREAD)
    command = options(stores, kind, postgres_source)
    shown = cli(*command, "--verify")
    first, second, *_ = shown.lines
    assert first.startswith("4 threads with 32 checkpoints: copied 32, completed 0, sent ")
    assert second == "Compared 32 checkpoints: 32 are the same."
    assert shown.err == ""
    assert (
        cli(*command)
        .lines[0]
        .startswith("4 threads with 32 checkpoints: copied 0, completed 0, sent 0 B in 0:00:00")
    )
    assert nested(target).invoke(Command(resume="yes"), THREAD)["said"][-1] == "after"


@pytest.mark.parametrize("slashes", ["", "///"])
def test_the_file_is_also_spelled_as_a_url(
    stores: Stores, target: RedisSaver, cli: Cli, slashes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stores.saver("sqlite") as source:
        fill(source, 2, 1)
    monkeypatch.chdir(stores.folder)
    cli("migrate", "--from", f"sqlite:{slashes}{Path(stores.sqlite).name}", "--thread", "thread-1")
    assert target.get_tuple(config("thread-0")) is None
    assert target.get_tuple(config("thread-1")) is not None


def test_the_report_is_json_for_other_programs(stores: Stores, cli: Cli) -> None:
    with stores.saver("sqlite") as source:
        fill(source, 2, 3)
    [row] = cli(*options(stores, "sqlite"), "--json", "--verify").rows
    assert row["is_complete"] is True
    assert (row["threads"], row["copied"], row["verified"], row["told"]) == (2, 12, 12, [])


def test_a_thread_that_the_source_does_not_have_is_told(stores: Stores, cli: Cli) -> None:
    with stores.saver("sqlite") as source:
        fill(source, 2, 3)
    shown = cli(*options(stores, "sqlite"), "--thread", "thread-1", "--thread", "nope", code=1)
    assert shown.lines[0].startswith("1 thread with 6 checkpoints: copied 6,")
    assert shown.err == "The source has no thread nope.\n"


def test_what_is_not_complete_is_told_and_ends_with_code_1(stores: Stores, cli: Cli) -> None:
    with stores.saver("sqlite") as source:
        fill(source, 1, 3)
        with source.cursor() as cursor:
            cursor.execute("UPDATE checkpoints SET metadata = 'x' WHERE checkpoint_id = '00001'")
    shown = cli(*options(stores, "sqlite"), "--verify", code=1)
    assert "copied 4," in shown.lines[0]
    assert "The old saver cannot read 2 checkpoints: not copied." in shown.err
    assert "thread-0 sub 00001: JSONDecodeError" in shown.err


def test_what_the_old_saver_changed_is_told(stores: Stores, target: RedisSaver, cli: Cli) -> None:
    lost = {"lc": 1, "type": "constructor", "id": ["no", "such", "Message"], "kwargs": {}}
    with stores.saver("redis") as source:
        source.put_writes(config("thread", "", "1"), [("early", 1)], "task")
        put(source, "1", {"float": 0.1 + 0.2, "said": [lost]})
    shown = cli(*options(stores, "redis"))
    assert "Copied 1 pending writes that the old saver itself does not return." in shown.lines
    assert any(line.startswith("1 floats have so many digits") for line in shown.lines)
    assert "1 messages were dicts in the old saver, and still are." in shown.lines


def test_threads_that_went_on_are_told(stores: Stores, target: RedisSaver, cli: Cli) -> None:
    with stores.saver("sqlite") as source:
        fill(source, 2, 3)
    cli(*options(stores, "sqlite"))
    put(target, "9", thread_id="thread-1")
    shown = cli(*options(stores, "sqlite"), code=1)
    assert "1 threads went on in the target, and were left alone: thread-1" in shown.err


def test_an_encrypted_source_is_read(
    stores: Stores, target: RedisSaver, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "0123456789abcdef")
    serde = EncryptedSerializer.from_pycryptodome_aes()
    with SqliteSaver.from_conn_string(stores.sqlite) as source:
        source.serde = serde
        fill(source, 1, 2)
    cli(*options(stores, "sqlite"), "--load", "langgraph.checkpoint.serde.encrypted", "--verify")
    encrypted = RedisSaver(target._runner.client, key_prefix=target.key_prefix, serde=serde)
    assert get_tuple(encrypted, config("thread-0")).checkpoint["channel_values"]["n"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["migrate"], "--from"),
        (["migrate", "--from", "mysql://x"], '"mysql://x" is no source: write postgresql://'),
        (["migrate", "--from", "sqlite:no/such/file"], "There is no file no/such/file"),
        (["migrate", "--from", "sqlite:x", "--from-prefix", "a:"], "--from-prefix is for a source"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(
    cli: Cli, arguments: list[str], message: str
) -> None:
    assert message in cli(*arguments, code=2).err


def test_the_target_is_no_source(cli: Cli, redis_url: str, key_prefix: str) -> None:
    for url in spellings(redis_url):
        shown = cli("migrate", "--from", url, "--from-prefix", key_prefix, code=2)
        assert "The source and the target are the same" in shown.err


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis"])
def test_the_error_names_the_extra_that_is_missing(
    stores: Stores, cli: Cli, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(stores.sqlite).touch()
    monkeypatch.setitem(sys.modules, f"langgraph.checkpoint.{kind}", None)
    shown = cli(*options(stores, kind, stores.postgres and "postgresql://x"), code=2)
    assert f'pip install "langgraph-redis-json[migrate-{kind}]"' in shown.err


def test_a_server_that_does_not_answer_is_told_in_one_sentence(stores: Stores, cli: Cli) -> None:
    Path(stores.sqlite).write_text("no database, whatever its name says" * 99)
    shown = cli(*options(stores, "sqlite"), code=1)
    assert "SQLite cannot read" in shown.err
    assert shown.err.count("\n") == 1
    shown = cli("migrate", "--from", "postgresql://nobody@127.0.0.1:1/x", code=1)
    assert "PostgreSQL replied with an error" in shown.err
    assert shown.err.count("\n") == 1


def test_a_person_sees_a_bar_and_may_stop_it(
    stores: Stores, target: RedisSaver, redis_url: str, key_prefix: str
) -> None:
    with stores.saver("sqlite") as source:
        fill(source, 30, 40)
    command, env = options(stores, "sqlite"), environment(redis_url, key_prefix)
    stopped = Terminal(command, env, columns=150)
    stopped.wait_for("checkpoints, ")
    stopped.type("\x03")
    assert stopped.wait() == 130
    assert "Run the command again: it goes on where it stopped." in stopped.text
    again = Terminal(command, env, columns=150)
    assert again.wait() == 0
    assert "/30 threads, " in again.text
    assert "/2,400 checkpoints, " in again.text
    assert " left" in again.text
    assert "30 threads with 2,400 checkpoints: copied " in again.text
    assert "copied 2,400" not in again.text

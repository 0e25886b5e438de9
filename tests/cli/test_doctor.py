"""doctor finds each kind of damage, and --repair mends what it can without loss."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import CheckpointTuple

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.operations.doctor import indexes, server, threads
from langgraph_redis_json.operations.doctor.finding import Finding
from langgraph_redis_json.search.queries import index_name
from langgraph_redis_json.storage.keys import ThreadKeys, thread_keys
from tests.support.accounting import account
from tests.support.altering import Altering
from tests.support.checkpoints import BIG, config, found_keys, put
from tests.support.cli_on_servers import CommandLine
from tests.support.clients import ACL_USER
from tests.support.command_line import Terminal, environment
from tests.support.servers import cluster
from tests.support.waiting import server_time, wait_until

Damage = Callable[[redis.Redis, ThreadKeys], Any]

SERVERS_OWN = {"persistence-weak", "memory-unlimited"}
"""Findings about the server that tests run on."""


@pytest.fixture
def url(redis_url: str) -> str:
    return redis_url.replace(ACL_USER, "")


@pytest.fixture
def saver(redis_url: str, key_prefix: str) -> Iterator[RedisSaver]:
    with RedisSaver(redis_url, key_prefix=key_prefix) as made:
        made.setup()
        yield made


@pytest.fixture
def cli(redis_url: str, key_prefix: str, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(redis_url, key_prefix, capsys)


@pytest.fixture
def thread(saver: RedisSaver, key_prefix: str) -> ThreadKeys:
    """A thread with a list in a log, blobs, pending writes, a fork, a subgraph and an interrupt."""
    fill(saver)
    return thread_keys(key_prefix, "thread")


def fill(saver: RedisSaver, thread_id: str = "thread") -> None:
    parent = None
    for number in range(1, 6):
        made = put(
            saver,
            f"{number}",
            {"list": [f"{n}{BIG}" for n in range(4 * number)], "blob": f"{number}{BIG}"},
            {"list": number, "blob": number},
            thread_id=thread_id,
            parent=parent,
        )
        saver.put_writes(made, [("channel", number)], "task")
        parent = f"{number}"
    put(saver, "2b", {"blob": f"fork {BIG}"}, {"blob": 20}, thread_id=thread_id, parent="2")
    put(
        saver,
        "3",
        {"inner": f"inner {BIG}"},
        thread_id=thread_id,
        checkpoint_ns="node:task",
        metadata={"source": "loop", "step": 0, "parents": {"": "3"}},
    )
    waiting = put(saver, "6", {"blob": f"6{BIG}"}, {"blob": 6}, thread_id=thread_id, parent="5")
    saver.put_writes(waiting, [("__interrupt__", "Refund?")], "task")


def all_of(saver: RedisSaver, thread_id: str = "thread") -> list[CheckpointTuple]:
    """Everything that a saver with an empty cache reads."""
    with RedisSaver(saver._runner.client, key_prefix=saver.key_prefix) as fresh:
        return list(fresh.list({"configurable": {"thread_id": thread_id}}))


def findings(cli: CommandLine, *words: object) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what was found about threads and indexes: code -> finding."""
    done = cli("doctor", *words, "--json")
    assert done.err == ""
    rows = [row for row in done.rows if "code" in row and row["severity"] != "ok"]
    return done.code, {row["code"]: row for row in rows if row["code"] not in SERVERS_OWN}


def kinds(client: redis.Redis, thread: ThreadKeys, letter: str) -> list[str]:
    entries: Any = client.zrange(thread.contents, 0, -1)
    return [entry for entry in entries if entry[0] == letter]


def unname(letter: str, *ends: str) -> Damage:
    """Take entries of a kind out of the table of contents."""

    def damage(client: redis.Redis, thread: ThreadKeys) -> None:
        entries = [e for e in kinds(client, thread, letter) if not ends or e.endswith(ends)]
        assert entries
        client.zrem(thread.contents, *entries)

    return damage


def status(client: redis.Redis, thread: ThreadKeys) -> None:
    client.execute_command("JSON.SET", thread.key("t"), "$.status", '"idle"')


def marks(client: redis.Redis, thread: ThreadKeys) -> None:
    """What a process leaves that dies between the steps of a garbage collection."""
    for entry in (*kinds(client, thread, "b"), *kinds(client, thread, "l")):
        client.zrem(thread.contents, entry)
        client.zadd(thread.contents, {f"x{entry} dead": 0})


def garbage(client: redis.Redis, thread: ThreadKeys) -> None:
    for entry in ("b::blob:nobody", "l::list:nobody"):
        client.execute_command("JSON.SET", thread.key(entry), "$", '{"format":1,"items":[]}')
        client.zadd(thread.contents, {entry: 0})


def unnamed_garbage(client: redis.Redis, thread: ThreadKeys) -> None:
    garbage(client, thread)
    client.zrem(thread.contents, "b::blob:nobody", "l::list:nobody")


def keys_expire_early(client: redis.Redis, thread: ThreadKeys) -> None:
    for entry in kinds(client, thread, "b"):
        client.expire(thread.key(entry), 1_000)


def deadline_half_applied(client: redis.Redis, thread: ThreadKeys) -> None:
    """What a process leaves that dies while it gives a thread another deadline."""
    deadline = server_time(client) + 1_000_000
    client.zadd(thread.contents, {f"d:{deadline}": 0})
    client.pexpireat(thread.key(kinds(client, thread, "c")[0]), deadline)


def contents_lost(client: redis.Redis, thread: ThreadKeys) -> None:
    client.unlink(thread.contents)


def contents_and_document_lost(client: redis.Redis, thread: ThreadKeys) -> None:
    client.unlink(thread.contents, thread.key("t"))


def document_lost(client: redis.Redis, thread: ThreadKeys) -> None:
    client.unlink(thread.key("t"))
    client.zrem(thread.contents, "t")


MENDED: dict[str, tuple[Damage, str, int]] = {
    "a checkpoint is not named": (unname("c", "::5"), "unnamed", 1),
    "several checkpoints are not named": (unname("c", "::4", "::5", "::2b"), "unnamed", 1),
    "a subgraph is not named": (unname("c", "node;.task:3"), "unnamed", 1),
    "pending writes are not named": (unname("w", "::3"), "unnamed", 1),
    "blobs are not named": (unname("b"), "reference-unnamed", 1),
    "a log is not named": (unname("l"), "reference-unnamed", 1),
    "the thread document is not named": (unname("t"), "thread-document-missing", 1),
    "the thread document is gone": (document_lost, "thread-document-missing", 1),
    "the status is wrong": (status, "status-wrong", 1),
    "a collection died": (marks, "marks-left", 0),
    "garbage": (garbage, "garbage", 0),
    "garbage without a name": (unnamed_garbage, "garbage-unnamed", 0),
    "keys expire before the thread": (keys_expire_early, "half-expired", 1),
    "a deadline is half applied": (deadline_half_applied, "half-expired", 0),
    "the table of contents is gone": (contents_lost, "contents-missing", 1),
    "and the thread document": (contents_and_document_lost, "contents-missing", 1),
}
"""Damage -> what causes it, the finding, and the exit code before the repair."""


@pytest.mark.parametrize("damage", MENDED)
def test_repair_mends_without_loss(
    damage: str,
    saver: RedisSaver,
    thread: ThreadKeys,
    cli: CommandLine,
    redis_client: redis.Redis,
) -> None:
    cause, code, exit_code = MENDED[damage]
    before, [summary] = all_of(saver), list(saver.threads())
    assert findings(cli, "--all") == (0, {})
    cause(redis_client, thread)
    found = findings(cli, "--all")
    assert code in found[1], found
    assert found[0] == exit_code
    assert found[1][code]["subject"] == "thread"
    assert all(found[1][code][name] for name in ("what", "means", "mends", "repair"))
    done = cli("doctor", "--all", "--repair", "--yes", "--json")
    assert done.code == 0
    assert code in [row["mended"] for row in done.rows if "mended" in row]
    assert findings(cli, "--all") == (0, {})
    assert all_of(saver) == before
    [mended] = saver.threads()
    assert mended._replace(updated_at=summary.updated_at) == summary
    if code not in ("contents-missing", "thread-document-missing"):
        assert mended == summary
    account(redis_client, saver.key_prefix)


def test_a_thread_document_without_a_root_checkpoint(
    saver: RedisSaver, cli: CommandLine, redis_client: redis.Redis
) -> None:
    put(saver, "1", checkpoint_ns="inner")
    put(saver, "1")
    thread = thread_keys(saver.key_prefix, "thread")
    redis_client.unlink(thread.key("c::1"))
    redis_client.zrem(thread.contents, "c::1")
    exit_code, found = findings(cli, "thread")
    assert (exit_code, [*found]) == (1, ["thread-document-left"])
    assert cli("doctor", "thread", "--repair", "--yes").code == 0
    assert list(saver.threads()) == []
    assert len(all_of(saver)) == 1


def delete(letter: str, *ends: str) -> Damage:
    """Delete documents as eviction does: the table of contents still names them."""

    def damage(client: redis.Redis, thread: ThreadKeys) -> None:
        entries = [e for e in kinds(client, thread, letter) if not ends or e.endswith(ends)]
        assert entries
        client.unlink(*map(thread.key, entries))

    return damage


def trim(client: redis.Redis, thread: ThreadKeys) -> None:
    [log] = kinds(client, thread, "l")
    client.execute_command("JSON.ARRTRIM", thread.key(log), "$.items", 0, 13)


def alter(letter: str, end: str, path: str, value: str) -> Damage:
    def damage(client: redis.Redis, thread: ThreadKeys) -> None:
        [entry] = [e for e in kinds(client, thread, letter) if e.endswith(end)]
        client.execute_command("JSON.SET", thread.key(entry), path, value)

    return damage


UNMENDABLE: dict[str, tuple[Damage, str, str]] = {
    "a checkpoint": (delete("c", "::4"), "checkpoint-missing", "checkpoint 6"),
    "the newest checkpoint": (delete("c", "::6"), "checkpoint-missing", "checkpoint 5"),
    "pending writes": (delete("w", "::6"), "writes-missing", "checkpoint 5"),
    "all blobs": (delete("b"), "blob-missing", "no root checkpoint is whole"),
    "a log": (delete("l"), "log-missing", "checkpoint 6"),
    "items of a log": (trim, "items-missing", "checkpoint 6"),
    "a format": (alter("c", "::2", "$.format", "99"), "document-damaged", "backup"),
    "a checkpoint's ids": (
        alter("c", "::2", "$.checkpoint_id", '"x"'),
        "document-damaged",
        "backup",
    ),
    "the versions": (alter("c", "::2", "$.checkpoint", '"{"'), "document-damaged", "backup"),
    "a write": (alter("w", "::2", "$.writes", '{"a:0":"7"}'), "document-damaged", "backup"),
}
"""Lost or altered -> what does it, the finding, and what its advice says."""


@pytest.mark.parametrize("lost", UNMENDABLE)
def test_what_is_lost_is_named_and_nothing_is_changed(
    lost: str,
    saver: RedisSaver,
    thread: ThreadKeys,
    cli: CommandLine,
    redis_client: redis.Redis,
) -> None:
    cause, code, advice = UNMENDABLE[lost]
    cause(redis_client, thread)
    keys, entries = found_keys(redis_client, saver.key_prefix), kinds(redis_client, thread, "c")
    exit_code, found = findings(cli, "thread")
    assert exit_code == 1
    assert code in found
    assert advice in found[code]["mends"]
    assert cli("doctor", "thread", "--repair", "--yes").code == 1
    assert found_keys(redis_client, saver.key_prefix) == keys
    assert kinds(redis_client, thread, "c") == entries


def test_a_damaged_blob_of_the_newest_checkpoint_is_found(
    saver: RedisSaver, thread: ThreadKeys, cli: CommandLine, redis_client: redis.Redis
) -> None:
    for entry in kinds(redis_client, thread, "b"):
        redis_client.execute_command("JSON.SET", thread.key(entry), "$.value", "7")
    exit_code, found = findings(cli, "thread")
    assert (exit_code, [*found]) == (1, ["document-damaged"])


def test_documents_of_an_earlier_life_expire_in_a_week(
    saver: RedisSaver, cli: CommandLine, redis_client: redis.Redis
) -> None:
    """A thread that expired while a process gave it its first deadline, and began again."""
    put(saver, "1", {"blob": BIG})
    thread = thread_keys(saver.key_prefix, "thread")
    redis_client.unlink(thread.contents, thread.key("t"))
    put(saver, "7")
    before = all_of(saver)
    exit_code, found = findings(cli, "--all")
    assert (exit_code, {*found}) == (0, {"leftovers-forever", "garbage-unnamed"})
    assert cli("doctor", "--all", "--repair", "--yes").code == 0
    assert all_of(saver) == before
    left = redis_client.pttl(thread.key("c::1"))
    assert 0 < left <= 7 * 24 * 60 * 60 * 1000
    exit_code, found = findings(cli, "--all")
    assert (exit_code, {*found}) == (0, {"leftovers"})


def test_documents_that_outlive_their_thread_are_no_error(
    saver: RedisSaver, cli: CommandLine, redis_client: redis.Redis
) -> None:
    put(saver, "1", {"blob": BIG})
    saver.expire("thread", 60)
    thread = thread_keys(saver.key_prefix, "thread")
    redis_client.unlink(thread.contents, thread.key("t"))
    exit_code, found = findings(cli, "--all")
    assert (exit_code, [*found]) == (0, ["leftovers"])
    assert found["leftovers"]["repair"] is None


def test_a_rebuilt_thread_keeps_its_deadline(
    saver: RedisSaver, thread: ThreadKeys, cli: CommandLine, redis_client: redis.Redis
) -> None:
    saver.expire("thread", 60)
    deadline = redis_client.pexpiretime(thread.contents)
    redis_client.unlink(thread.contents)
    assert cli("doctor", "--all", "--repair", "--yes").code == 0
    assert redis_client.pexpiretime(thread.contents) == deadline
    account(redis_client, saver.key_prefix)


def test_a_rebuilt_thread_with_several_deadlines_keeps_everything(
    saver: RedisSaver, thread: ThreadKeys, cli: CommandLine, redis_client: redis.Redis
) -> None:
    before = all_of(saver)
    keys_expire_early(redis_client, thread)
    redis_client.unlink(thread.contents)
    assert cli("doctor", "--all", "--repair", "--yes").code == 0
    assert all_of(saver) == before
    account(redis_client, saver.key_prefix)


def test_a_first_checkpoint_that_only_its_child_knows_is_named_again(
    saver: RedisSaver, cli: CommandLine, redis_client: redis.Redis
) -> None:
    put(saver, "1", {"a": 1})
    put(saver, "2", {"a": 2}, parent="1")
    before = all_of(saver)
    redis_client.zrem(f"{saver.key_prefix}contents:{{thread}}", "c::1")
    assert cli("doctor", "thread", "--repair", "--yes").code == 0
    assert len(before) == 2
    assert all_of(saver) == before


def test_a_pin_that_was_cut_short_is_finished(
    saver: RedisSaver, thread: ThreadKeys, cli: CommandLine, redis_client: redis.Redis
) -> None:
    saver.expire("thread", 60)
    redis_client.zadd(thread.contents, {"d:never": 0})
    exit_code, found = findings(cli, "thread")
    assert (exit_code, [*found]) == (1, ["half-expired"])
    assert cli("doctor", "thread", "--repair", "--yes").code == 0
    assert redis_client.pexpiretime(thread.contents) == -1
    account(redis_client, saver.key_prefix)


# ---- asking


def test_repair_shows_what_it_would_do_and_asks(
    saver: RedisSaver,
    thread: ThreadKeys,
    cli: CommandLine,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status(redis_client, thread)
    for answer, code, after in (("n\n", 1, "idle"), ("", 1, "idle"), ("y\n", 0, "interrupted")):
        answers = iter(answer)
        monkeypatch.setattr("sys.stdin", _Input(answer))
        del answers
        done = cli("doctor", "thread", "--repair")
        assert f"Would write {thread.key('t')} again" in done.err
        assert done.code == code
        assert ("Nothing was changed" in done.err) == (code == 1)
        [found] = saver.threads()
        assert found.status == after


class _Input:
    """What a person types."""

    def __init__(self, typed: str) -> None:
        self._lines = iter(typed.splitlines(keepends=True))

    def readline(self) -> str:
        return next(self._lines, "")

    def isatty(self) -> bool:
        return False


def test_ctrl_c_stops_repairs_and_the_next_ones_go_on(
    saver: RedisSaver, redis_client: redis.Redis, redis_url: str, key_prefix: str
) -> None:
    for number in range(300):
        put(saver, "1", {"a": number}, thread_id=f"{number}")
        key = thread_keys(key_prefix, f"{number}").key("t")
        redis_client.execute_command("JSON.SET", key, "$.status", '"error"')
    terminal = Terminal(["doctor", "--all", "--repair"], environment(redis_url, key_prefix))
    terminal.wait_for("Do this?")
    terminal.type("y\r")
    terminal.wait_for("Mended 1")
    terminal.type("\x03")
    assert terminal.wait() == 130
    words = " ".join(terminal.text.split())
    [(done, of)] = re.findall(r"Stopped by Ctrl-C after (\d+) of (\d+) findings", words)
    assert "run the same command again to go on" in words
    assert 0 < int(done) < int(of)
    again = CommandLine(redis_url, key_prefix).start("doctor", "--all", "--repair", "--yes")
    out, _ = again.communicate()
    assert again.returncode == 0
    assert out.count(b"Mended") >= int(of) - int(done) - 1
    with RedisSaver(redis_url, key_prefix=key_prefix) as fresh:
        assert {row.status for row in fresh.threads()} == {"idle"}


def test_a_healthy_server_in_words(saver: RedisSaver, thread: ThreadKeys, cli: CommandLine) -> None:
    done = cli("doctor", "--repair")
    assert done.code == 0
    for part in (
        "Redis ",
        "Search ",
        "JSON ",
        "maxmemory-policy noeviction",
        "the user has all rights",
        "its clock agrees",
        f"{saver.key_prefix}checkpoints: as its schema, and complete",
        "looked at 1 thread",
        "There is nothing to mend.",
    ):
        assert part in done.out
    assert "\x1b" not in done.out


def test_an_unknown_thread(saver: RedisSaver, cli: CommandLine) -> None:
    done = cli("doctor", "nobody")
    assert done.code == 1
    assert done.err == 'There is no thread "nobody".\n'


def test_a_sample_is_said_to_be_one(saver: RedisSaver, cli: CommandLine) -> None:
    for number in range(130):
        put(saver, "1", thread_id=f"{number}")
    assert "looked at 100 threads" in cli("doctor").out
    assert "--all looks at all of them" in cli("doctor").out
    assert "looked at 130 threads" in cli("doctor", "--all").out


# ---- writers


def test_the_doctor_is_right_and_harmless_beside_writers(
    saver: RedisSaver, cli: CommandLine, redis_client: redis.Redis
) -> None:
    """Threads grow, are pruned, copied and deleted meanwhile: nothing is wrong with them, and
    repairs take nothing away."""
    stop = threading.Event()
    failures: list[BaseException] = []
    puts = 0

    def write() -> None:
        nonlocal puts
        try:
            with RedisSaver(saver._runner.client, key_prefix=saver.key_prefix) as other:
                texts: list[str] = []
                while not stop.is_set():
                    puts += 1
                    texts = [*texts[-40:], f"{puts}{BIG}"]
                    values = {"list": texts, "blob": f"{puts}{BIG * 40}"}
                    made = put(other, f"{puts:06}", values, {"list": puts, "blob": puts})
                    other.put_writes(made, [("channel", puts)], "task")
                    assert all_of(other)[0].checkpoint["channel_values"] == values
                    if puts % 5 == 0:
                        other.prune(["thread"])
                        other.copy_thread("thread", "copy")
                    if puts % 7 == 0:
                        other.delete_thread("copy")
        except BaseException as error:
            failures.append(error)
            raise

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(15):
            exit_code, found = findings(cli, "--all", "--repair", "--yes")
            assert exit_code == 0, found
    finally:
        stop.set()
        writer.join()
    assert not failures
    assert puts > 15
    account(redis_client, saver.key_prefix, garbage=True)


def test_only_what_is_found_twice_is_wrong(
    saver: RedisSaver, thread: ThreadKeys, redis_client: redis.Redis
) -> None:
    """A prune that is running, for example, has left its marks when the doctor looks again."""

    def check() -> list[Finding]:
        return saver._runner.run(threads.check_thread(saver._context, "thread"))

    marks(redis_client, thread)
    status(redis_client, thread)
    first = check()
    saver.prune(["thread"])
    status(redis_client, thread)
    garbage(redis_client, thread)  # of a put that has just begun, for example
    assert {one.code for one in first} == {"marks-left", "status-wrong"}
    assert [one.code for one in threads.same(first, check())] == ["status-wrong"]


# ---- the server and its indexes


def test_an_index_that_is_gone_is_built_again(
    saver: RedisSaver, thread: ThreadKeys, cli: CommandLine, redis_client: redis.Redis
) -> None:
    info = redis_client.execute_command("FT.INFO", index_name(saver.key_prefix, "threads"))
    name = info["index_name"] if isinstance(info, dict) else info[1]
    redis_client.execute_command("FT.DROPINDEX", name)
    exit_code, found = findings(cli)
    assert (exit_code, [*found]) == (1, ["index-missing"])
    assert cli("doctor", "--repair", "--yes").code == 0
    assert findings(cli) == (0, {})
    assert [one.thread_id for one in saver.threads()] == ["thread"]


def test_an_index_that_the_server_still_fills(
    saver: RedisSaver, cli: CommandLine, redis_url: str
) -> None:
    for number in range(500):
        put(saver, f"{number:04}", {"n": number})
    with RedisSaver(redis_url.replace(ACL_USER, ""), key_prefix=saver.key_prefix) as other:
        runner = Altering(other._runner.client, owned=False)
        # The server does not index between the commands of one pipeline.
        field = ("$.n", "AS", "n", "NUMERIC")
        alias = index_name(saver.key_prefix, "checkpoints")
        runner.before = ("FT.ALTER", alias, "SCHEMA", "ADD", *field)
        found = runner.run(indexes.check_indexes(other._context))
    [filling] = [one for one in found if one.code == "index-filling"]
    assert filling.severity == "warning"
    assert filling.subject == alias
    assert "% done" in filling.what
    wait_until(lambda: "index-filling" not in findings(cli)[1])


def test_an_index_of_another_shape(
    saver: RedisSaver, thread: ThreadKeys, cli: CommandLine, redis_client: redis.Redis
) -> None:
    alias = index_name(saver.key_prefix, "threads")
    redis_client.execute_command("FT.ALIASDEL", alias)
    name = f"{alias}_v1_abc"
    redis_client.execute_command(
        *("FT.CREATE", name, "ON", "JSON", "PREFIX", 1, f"{saver.key_prefix}thread:{{"),
        *("SCHEMA", "$.status", "AS", "status", "TEXT"),
    )
    redis_client.execute_command("FT.ALIASADD", alias, name)
    exit_code, found = findings(cli)
    assert (exit_code, {*found}) == (1, {"index-differs", "index-left"})
    assert cli("doctor", "--repair", "--yes").code == 0
    assert findings(cli) == (0, {})


def test_an_index_of_a_newer_version(
    saver: RedisSaver, cli: CommandLine, redis_client: redis.Redis
) -> None:
    alias = index_name(saver.key_prefix, "writes")
    name = f"{alias}_v99_abc"
    redis_client.execute_command("FT.CREATE", name, "ON", "JSON", "SCHEMA", "$.a", "AS", "a", "TAG")
    redis_client.execute_command("FT.ALIASUPDATE", alias, name)
    exit_code, found = findings(cli)
    assert exit_code == 1
    assert "Upgrade the package" in found["index-newer"]["mends"]


def test_documents_that_an_index_refuses(
    saver: RedisSaver, thread: ThreadKeys, cli: CommandLine, redis_client: redis.Redis
) -> None:
    key = thread.key("c::2")
    redis_client.execute_command("JSON.SET", key, "$.metadata.step", '"two"')
    exit_code, found = findings(cli, "thread")
    assert (exit_code, {*found}) == (1, {"index-failures"})
    assert key in found["index-failures"]["what"]


def test_a_checkpoint_that_the_index_does_not_have(
    saver: RedisSaver, thread: ThreadKeys, cli: CommandLine, redis_client: redis.Redis
) -> None:
    redis_client.execute_command("JSON.SET", thread.key("c::2"), "$.tokens", '"other"')
    exit_code, found = findings(cli, "thread")
    assert (exit_code, [*found]) == (1, ["not-indexed"])
    assert "7 of 8 checkpoints" in found["not-indexed"]["what"]


@pytest.fixture
def searching(redis_url: str, key_prefix: str) -> Iterator[RedisSaver]:
    """A saver with two messages that can be searched."""
    with RedisSaver(redis_url, key_prefix=key_prefix, message_search=True) as made:
        made.setup()
        said = [HumanMessage("a parcel", id="1"), AIMessage("for Lisbon", id="2")]
        put(made, "1", {"messages": said})
        yield made


def test_the_index_of_messages_is_no_other_application(
    searching: RedisSaver, cli: CommandLine, redis_client: redis.Redis
) -> None:
    prefix = searching.key_prefix
    assert findings(cli, "--all") == (0, {})
    redis_client.execute_command("JSON.SET", f"{prefix}setup:messages", "$.filled_until", "null")
    exit_code, found = findings(cli, "--all")
    assert (exit_code, [*found]) == (0, ["messages-filling"])
    searching.setup()
    redis_client.execute_command("FT.ALIASDEL", index_name(prefix, "messages"))
    exit_code, found = findings(cli, "--all")
    assert (exit_code, [*found]) == (0, ["index-left"])
    assert cli("doctor", "--all", "--repair", "--yes").code == 0
    assert findings(cli, "--all") == (0, {})
    assert len([*searching.search_messages("parcel")]) == 1


def test_a_message_document_that_is_gone(
    searching: RedisSaver, cli: CommandLine, redis_client: redis.Redis
) -> None:
    first, second = found_keys(redis_client, searching.key_prefix, "message")
    redis_client.unlink(first)
    redis_client.expire(second, 10_000)
    exit_code, found = findings(cli, "--all")
    assert exit_code == 1
    assert {*found} == {"message-missing", "half-expired"}
    assert first in found["message-missing"]["what"]


def test_a_rebuilt_thread_has_its_message_documents(
    searching: RedisSaver, cli: CommandLine, redis_client: redis.Redis
) -> None:
    redis_client.unlink(f"{searching.key_prefix}contents:{{thread}}")
    exit_code, found = findings(cli, "--all")
    assert (exit_code, [*found]) == (1, ["contents-missing"])
    assert cli("doctor", "--all", "--repair", "--yes").code == 0
    assert findings(cli, "--all") == (0, {})
    assert len([*searching.search_messages("parcel")]) == 1
    account(redis_client, searching.key_prefix)
    searching.delete_thread("thread")
    assert found_keys(redis_client, searching.key_prefix, "message") == []


@pytest.mark.parametrize("prefix", ["", "{0}", "{0}checkpoint:{{thread"])
def test_an_index_of_another_application(
    prefix: str, saver: RedisSaver, cli: CommandLine, redis_client: redis.Redis
) -> None:
    name = f"{saver.key_prefix}others"
    create = ("FT.CREATE", name, "ON", "JSON")
    only = ("PREFIX", 1, prefix.format(saver.key_prefix)) if prefix else ()
    redis_client.execute_command(*create, *only, "SCHEMA", "$.a", "AS", "a", "TEXT")
    exit_code, found = findings(cli)
    assert (exit_code, [*found]) == (0, ["index-foreign"])
    assert found["index-foreign"]["subject"] == name
    redis_client.execute_command("FT.DROPINDEX", name)
    redis_client.execute_command(
        *create, "PREFIX", 1, f"{saver.key_prefix}other:", "SCHEMA", "$.a", "AS", "a", "TEXT"
    )
    assert findings(cli) == (0, {})


@pytest.mark.parametrize(
    ("settings", "code", "exit_code"),
    [
        ({"maxmemory-policy": "allkeys-lru"}, "eviction", 1),
        ({"maxmemory": "1mb"}, "memory", 1),
        ({"appendonly": "no"}, "persistence-weak", 0),
        ({"maxmemory": "0"}, "memory-unlimited", 0),
    ],
)
def test_settings_of_the_server(
    settings: dict[str, str], code: str, exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with EmbeddedRedis() as started, redis.Redis.from_url(started.url) as client:
        with RedisSaver(started.url) as saver:
            saver.setup()
        for name, value in {"maxmemory": "1gb", "appendonly": "yes", **settings}.items():
            client.config_set(name, value)
        cli = CommandLine(started.url, "langgraph:", capsys)
        done = cli("doctor", "--json")
        found = {row["code"] for row in done.rows if row["severity"] != "ok"}
        assert found == {code}
        assert done.code == exit_code


def test_a_server_that_cannot_write_to_its_disk(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        EmbeddedRedis() as started,
        redis.Redis.from_url(started.url, decode_responses=True) as client,
    ):
        with RedisSaver(started.url) as saver:
            saver.setup()
        # A snapshot cannot replace a folder.
        (
            Path(client.config_get("dir")["dir"]) / client.config_get("dbfilename")["dbfilename"]
        ).mkdir()
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        done = CommandLine(started.url, "langgraph:", capsys)("doctor", "--json")
        assert done.code == 1
        assert "persistence-fails" in {row["code"] for row in done.rows}


def test_clocks_that_differ() -> None:
    for skew, severity, said in (
        (0, "ok", "agrees"),
        (4_000, "ok", "agrees"),
        (-90_000, "warning", "90 s behind"),
        (90_000, "warning", "90 s ahead of"),
    ):
        found = server._clock(1_000_000 + skew, 1_000_000)
        assert found.severity == severity
        assert said in found.what


def test_rights_that_are_missing(
    saver: RedisSaver, redis_client: redis.Redis, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    redis_client.execute_command(
        *("ACL", "SETUSER", "few", "on", ">few", "~*", "+@all", "-json.merge", "-info")
    )
    try:
        there = url.replace("redis://", "redis://few:few@")
        done = CommandLine(there, saver.key_prefix, capsys)("doctor", "--json")
    finally:
        redis_client.execute_command("ACL", "DELUSER", "few")
    assert done.code == 1
    found = {row["code"]: row for row in done.rows}
    assert "JSON.MERGE" in found["rights"]["what"]
    assert found["info-forbidden"]["severity"] == "warning"


def test_a_replica_is_told_from_a_primary(capsys: pytest.CaptureFixture[str]) -> None:
    with EmbeddedRedis() as started, redis.Redis.from_url(started.url) as client:
        with RedisSaver(started.url) as saver:
            saver.setup()
        client.config_set("replica-read-only", "no")
        client.replicaof("127.0.0.1", 1)
        done = CommandLine(started.url, "langgraph:", capsys)("doctor", "--json")
        assert done.code == 1
        [found] = [row for row in done.rows if row["code"] == "replica"]
        assert "127.0.0.1:1" in found["mends"]


def test_a_cluster_without_a_coordinator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from redis.cluster import RedisCluster

    with (
        cluster(tmp_path) as nodes,
        RedisCluster(host="127.0.0.1", port=nodes.primaries[0].port) as client,
    ):
        saver = RedisSaver(client)
        fill(saver)
        fill(saver, "other")
        thread = thread_keys("langgraph:", "thread")
        client.execute_command("JSON.SET", thread.key("t"), "$.status", '"idle"')
        client.zrem(thread.contents, "c::5")
        cli = CommandLine(nodes.primaries[0].url, "langgraph:", capsys)
        exit_code, found = findings(cli, "--all")
        assert exit_code == 1
        assert {*found} == {"coordinator", "status-wrong", "unnamed", "garbage"}
        assert cli("doctor", "--all", "--repair", "--yes").code == 0
        exit_code, found = findings(cli, "--all")
        assert (exit_code, {*found}) == (0, {"coordinator"})
        client.unlink(thread.contents)
        assert cli("doctor", "thread", "--repair", "--yes").code == 0
        assert len(list(saver.list(config()))) == 7
        status_now = client.execute_command("JSON.GET", thread.key("t"), "$.status")
        assert "interrupted" in str(status_now)

"""export | import: exact, resumable, safe beside writers, and all or nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import CheckpointTuple
from redis.cluster import RedisCluster

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.cli.output import size
from langgraph_redis_json.client.clients import SearchNode
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.errors import ImportInterruptedError, TriesExhaustedError
from langgraph_redis_json.operations import export, import_threads
from langgraph_redis_json.storage import export_file
from langgraph_redis_json.storage.keys import thread_keys
from tests.support.accounting import account
from tests.support.checkpoints import BIG, STRANGE, config, found_keys, members, put, stored
from tests.support.cli_on_servers import CommandLine
from tests.support.clients import ACL_USER
from tests.support.graphs import GRAPHS, converse
from tests.support.servers import cluster
from tests.support.waiting import server_time, wait_until

SMALL = 6
"""Threads of the server that most tests export."""


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


class Target:
    """Another part of the server, to import into."""

    def __init__(self, url: str, capture: pytest.CaptureFixture[str]) -> None:
        self.client = redis.Redis.from_url(url.replace(ACL_USER, ""), decode_responses=True)
        self.saver = RedisSaver(self.client, key_prefix="test-target:")
        self.saver.setup()
        self.cli = CommandLine(url, "test-target:", capture)

    def read(self) -> dict[str, list[CheckpointTuple]]:
        return read(self.saver)


@pytest.fixture
def target(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Target]:
    made = Target(redis_url, capsys)
    yield made
    for index in made.client.execute_command("FT._LIST"):
        if index.startswith("test-target:"):
            made.client.execute_command("FT.DROPINDEX", index)
    for key in found_keys(made.client, "test-target:"):
        made.client.unlink(key)
    made.client.close()


def fill(saver: RedisSaver, thread_id: str, checkpoints: int = 8) -> None:
    """A thread with a log, blobs, large blobs, writes, a fork and floats that RedisJSON alters."""
    parent = None
    for number in range(checkpoints):
        values = {
            "list": [f"{n}{BIG}" for n in range(4 * number)],
            "blob": f"{number}{BIG * (200 if number == 3 else 1)}",
            "floats": [random.random() for _ in range(5)],
        }
        versions = {"list": number, "blob": number // 2, "floats": number}
        made = put(saver, f"{number:06}", values, versions, thread_id=thread_id, parent=parent)
        saver.put_writes(made, [("channel", random.random()), ("__error__", "no")], "task")
        parent = f"{number:06}"
    put(
        saver, "000001b", {"blob": f"fork{BIG}"}, {"blob": 77}, thread_id=thread_id, parent="000001"
    )


def read(saver: RedisSaver) -> dict[str, list[CheckpointTuple]]:
    """Everything that a saver with an empty cache reads, by thread."""
    found: dict[str, list[CheckpointTuple]] = {}
    with RedisSaver(saver._runner.client, key_prefix=saver.key_prefix) as fresh:
        for one in fresh.list(None):
            found.setdefault(one.config["configurable"]["thread_id"], []).append(one)
    return found


def contents(client: redis.Redis, prefix: str) -> dict[str, Any]:
    """Each key without its prefix: its content without the prefix, and its deadline."""
    return {
        key.removeprefix(prefix): (
            json.loads(json.dumps(content).replace(prefix, "")),
            client.pexpiretime(key),
        )
        for key, content in stored(client, prefix).items()
    }


def count_documents(client: redis.Redis, prefix: str) -> int:
    """All keys but the tables of contents."""
    return len(found_keys(client, prefix)) - len(found_keys(client, prefix, "contents"))


# ---- exactness


@pytest.mark.parametrize("name", ["threads.jsonl", "threads.jsonl.gz"])
def test_everything_comes_back_exactly(
    name: str, saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    for number in range(SMALL):
        fill(saver, f"thread {number}")
    saver.expire("thread 1", 60)
    saver.pin("thread 2")
    file = tmp_path / name
    done = cli("export", "--all", "-o", file)
    documents = count_documents(target.client, saver.key_prefix)
    told = f"{file} has {SMALL} threads with {documents} documents: {size(file.stat().st_size)}.\n"
    assert done == (0, "", told)
    assert file.read_bytes().startswith(b"\x1f\x8b") == name.endswith(".gz")
    assert os.listdir(tmp_path) == [name]
    done = target.cli("import", file)
    assert done == (0, f"Threads imported: {SMALL}.\n", "")
    assert contents(target.client, "test-target:") == contents(target.client, saver.key_prefix)
    assert target.read() == read(saver)
    assert len(target.read()) == SMALL
    account(target.client, "test-target:")
    again = target.cli("import", file)
    assert again == (
        0,
        f"Threads imported: 0; already there, exactly the same: {SMALL}.\n",
        "",
    )


def test_export_to_import_through_a_pipe_into_another_server(
    saver: RedisSaver, url: str, key_prefix: str
) -> None:
    for number in range(SMALL):
        fill(saver, f"thread {number}")
    with EmbeddedRedis() as other, RedisSaver(other.url, key_prefix=key_prefix) as there:
        there.setup()
        first = CommandLine(url, key_prefix).start("export", "--filter", "step=1")
        second = CommandLine(other.url, key_prefix).start("import", "-", stdin=first.stdout)
        assert first.stdout is not None
        first.stdout.close()
        out, err = second.communicate()
        assert (out, err) == (f"Threads imported: {SMALL}.\n".encode(), b"")
        assert (first.wait(), second.returncode) == (0, 0)
        with (
            redis.Redis.from_url(url, decode_responses=True) as here,
            redis.Redis.from_url(other.url, decode_responses=True) as its,
        ):
            assert contents(its, key_prefix) == contents(here, key_prefix)
            account(its, key_prefix)
        assert read(there) == read(saver)


@pytest.fixture
def talks(saver: RedisSaver) -> Iterator[RedisSaver]:
    """The saver with search in messages, and a thread that has said something."""
    with RedisSaver(saver._runner.client, key_prefix=saver.key_prefix, message_search=True) as made:
        made.setup()
        said = [HumanMessage("a late parcel", id="1"), AIMessage("to Lisbon", id="2")]
        put(made, "1", {"messages": said}, thread_id="order-7", metadata={"user": "ada"})
        yield made


def test_documents_of_messages_are_imported(
    talks: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    assert cli("export", "order-7", "-o", tmp_path / "x").code == 0
    assert target.cli("import", tmp_path / "x").code == 0
    imported = found_keys(target.client, "test-target:", "message")
    assert len(imported) == 2
    account(target.client, "test-target:")
    with RedisSaver(target.client, key_prefix="test-target:", message_search=True) as there:
        there.setup()
        # The fields of the rows are the same: ids, roles, times, the first checkpoint.
        for words in ("parcel", "lisbon"):
            rows = [*there.search_messages(words, filter={"user": "ada"})]
            assert len(rows) == 1
            assert rows == [*talks.search_messages(words)]
        # They belong to the thread.
        there.expire("order-7", 60)
        deadlines = {target.client.pexpiretime(key) for key in imported}
        assert len(deadlines) == 1
        assert min(deadlines) > server_time(target.client)
        there.delete_thread("order-7")
        assert found_keys(target.client, "test-target:", "message") == []
    assert [row.message_id for row in talks.search_messages("parcel")] == ["1"]


def test_an_imported_message_replaces_the_documents_of_the_old_ones(
    talks: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    assert cli("export", "order-7", "-o", tmp_path / "x").code == 0
    with RedisSaver(target.client, key_prefix="test-target:", message_search=True) as there:
        there.setup()
        old = {"messages": [HumanMessage("an old letter", id="9")]}
        put(there, "1", old, thread_id="order-7")
        assert target.cli("import", tmp_path / "x").code == 1
        assert [row.message_id for row in there.search_messages("letter")] == ["9"]
        assert target.cli("import", tmp_path / "x", "--replace").code == 0
        assert [*there.search_messages("letter")] == []
        assert [row.message_id for row in there.search_messages("parcel")] == ["1"]
    account(target.client, "test-target:")


def test_setup_writes_the_documents_of_messages_that_were_exported_without_them(
    saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    said = {"messages": [HumanMessage("a late parcel", id="1")]}
    put(saver, "1", said, thread_id="order-7")
    assert cli("export", "order-7", "-o", tmp_path / "x").code == 0
    with RedisSaver(target.client, key_prefix="test-target:", message_search=True) as there:
        there.setup()
        # As if the last setup() were of a year later: the thread has not changed since.
        path = ("test-target:setup:messages", "$.filled_until")
        target.client.execute_command("JSON.SET", *path, server_time(target.client) + 10**10)
        assert target.cli("import", tmp_path / "x").code == 0
        assert [*there.search_messages("parcel")] == []
        there.setup()
        assert [row.message_id for row in there.search_messages("parcel")] == ["1"]


def test_strange_ids(saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path) -> None:
    for text in STRANGE.values():
        if text:
            put(
                saver,
                text.replace("\0", "0"),
                {text: text},
                {text: text},
                thread_id=text,
                checkpoint_ns=text,
                metadata={text: text, "source": text},
            )
            put(saver, "2", {text: text}, {text: text}, thread_id=text)
    put(saver, "1", {"": BIG}, {"": ""}, thread_id="")
    assert cli("export", "--all", "-o", tmp_path / "x").code == 0
    assert target.cli("import", tmp_path / "x").code == 0
    assert contents(target.client, "test-target:") == contents(target.client, saver.key_prefix)
    assert target.read() == read(saver)


@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_graphs_go_on_where_they_were(
    make: Any, saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    """Subgraphs' namespaces, interrupts, tasks: runs of graphs that are continued on the copy."""
    moves = iter(range(100))

    def move() -> None:
        file = tmp_path / f"{next(moves)}"
        assert cli("export", "--all", "-o", file).code == 0
        assert target.cli("import", file, "--replace").code == 0
        assert contents(target.client, "test-target:") == contents(target.client, saver.key_prefix)
        for key in found_keys(target.client, saver.key_prefix):
            if not key.startswith(f"{saver.key_prefix}checkpoints") and ":{" in key:
                target.client.unlink(key)
        back = tmp_path / f"{next(moves)}"
        assert target.cli("export", "--all", "-o", back).code == 0
        assert cli("import", back).code == 0

    with RedisSaver(saver._runner.client, key_prefix="test-plain:") as plain:
        plain.setup()
        expected = converse(make(plain), lambda: None, "sync")
        plain.delete_thread("thread")
    assert converse(make(saver), move, "sync") == expected


def test_numbers_and_members_that_a_saver_never_stores(
    saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    """Documents that somebody has altered by hand are moved as they are, or not at all."""
    fill(saver, "thread")
    thread = thread_keys(saver.key_prefix, "thread")
    odd = {"a": '{"b":[1.5,"\\u0000\\u2028é\\n",null]}', "big": "18446744073709551615"}
    for path, value in odd.items():
        for entry in ("c::000001", "w::000001", "t"):
            target.client.execute_command("JSON.SET", thread.key(entry), f"$.{path}", value)
    [log] = [entry for entry in members(target.client, thread.contents) if entry[0] == "l"]
    target.client.execute_command("JSON.SET", thread.key(log), "$.note", '{"x":"\\u0007"}')
    target.client.execute_command("JSON.SET", thread.key(log), "$.items[2]", '{"x":[[],{}]}')
    assert cli("export", "thread", "-o", tmp_path / "x").code == 0
    assert target.cli("import", tmp_path / "x").code == 0
    assert contents(target.client, "test-target:") == contents(target.client, saver.key_prefix)


def test_a_damaged_thread_is_moved_as_it_is(
    saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    """What is gone is gone there too; what a dead collection has marked is kept."""
    fill(saver, "thread")
    thread = thread_keys(saver.key_prefix, "thread")
    named = members(target.client, thread.contents)
    marked = [entry for entry in named if entry[0] in "bl"]
    for entry in marked[1:]:
        target.client.zrem(thread.contents, entry)
        target.client.zadd(thread.contents, {f"x{entry} dead": 0})
    target.client.unlink(thread.key("w::000003"), thread.key(marked[0]))
    assert cli("export", "thread", "-o", tmp_path / "x").code == 0
    assert target.cli("import", tmp_path / "x").code == 0
    there = thread_keys("test-target:", "thread")
    assert members(target.client, there.contents) == named
    assert [e for e in named if not target.client.exists(there.key(e))] == [marked[0], "w::000003"]


def test_a_thread_without_a_root_checkpoint_is_exported_by_all(
    saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    put(saver, "1", checkpoint_ns="inner")
    saver.put_writes(config("early", "", "1"), [("a", 1)], "task")
    assert cli("export", "--all", "-o", tmp_path / "x").code == 0
    assert target.cli("import", tmp_path / "x").out == "Threads imported: 2.\n"
    assert contents(target.client, "test-target:") == contents(target.client, saver.key_prefix)


def test_a_cluster(
    saver: RedisSaver, cli: CommandLine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(SMALL):
        fill(saver, f"thread {number}")
    assert cli("export", "--all", "-o", tmp_path / "x").code == 0
    with cluster(tmp_path / "nodes") as nodes:
        for node in nodes.primaries[:2]:
            there = CommandLine(node.url, "test-target:", capsys)
            assert there("import", tmp_path / "x").code == 0
        assert there("export", "--all", "-o", tmp_path / "back").code == 0
        with RedisCluster(host="127.0.0.1", port=nodes.primaries[0].port) as client:
            moved = RedisSaver(client, key_prefix="test-target:")
            for number in range(SMALL):
                given = config(f"thread {number}")
                assert list(moved.list(given)) == list(saver.list(given))

    def threads(name: str) -> dict[Any, set[bytes]]:
        found: dict[Any, set[bytes]] = {}
        for line in (tmp_path / name).read_bytes().splitlines():
            fields = orjson.loads(line)
            current = fields.get("thread", "")
            found.setdefault(current, set())
        return found

    assert threads("back") == threads("x")


# ---- expiry


def test_threads_that_have_expired_are_left_out(
    saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    fill(saver, "thread")
    saver.expire("thread", 0.01)
    file = tmp_path / "x"
    assert cli("export", "thread", "-o", file).code == 0
    deadline = json.loads(file.read_bytes().splitlines()[1])["deadline"]
    wait_until(lambda: server_time(target.client) > deadline + 1_000)
    done = target.cli("import", file)
    assert (done.code, done.out) == (0, "Threads imported: 0.\n")
    assert "left out, because they have expired" in done.err
    assert found_keys(target.client, "test-target:", "checkpoint") == []
    assert target.cli("import", file, "--no-expiry").out == "Threads imported: 1.\n"
    assert len(target.read()["thread"]) == 9
    account(target.client, "test-target:")


# ---- files that cannot be imported


@pytest.fixture
def lines(saver: RedisSaver, cli: CommandLine, tmp_path: Path) -> list[bytes]:
    """The lines of a file with two threads."""
    fill(saver, "one")
    fill(saver, "two")
    assert cli("export", "one", "two", "-o", tmp_path / "whole").code == 0
    return (tmp_path / "whole").read_bytes().splitlines(keepends=True)


def test_a_file_that_is_cut_anywhere(lines: list[bytes], target: Target, tmp_path: Path) -> None:
    whole, file = b"".join(lines), tmp_path / "cut"
    ends = [sum(map(len, lines[:n])) for n in range(len(lines))]
    before = found_keys(target.client, "test-target:")
    for end in (*ends[:: max(1, len(ends) // 12)], *ends[-3:], *(end + 7 for end in ends[-4:])):
        file.write_bytes(whole[:end])
        done = target.cli("import", file)
        assert done.code == 1
        assert "cannot be imported" in done.err
        assert done.err.count("\n") == 1
        compressed = gzip.compress(whole)
        file.write_bytes(compressed[: len(compressed) * end // len(whole)])
        done = target.cli("import", file)
        assert (done.code, done.out) == (1, "")
        assert "cannot be imported" in done.err
    assert found_keys(target.client, "test-target:") == before


def test_a_file_that_was_altered(lines: list[bytes], target: Target, tmp_path: Path) -> None:
    file = tmp_path / "altered"
    before = found_keys(target.client, "test-target:")

    def refused(*changed: bytes) -> str:
        file.write_bytes(b"".join(changed))
        done = target.cli("import", file)
        assert (done.code, done.out) == (1, "")
        assert done.err.count("\n") == 1
        assert found_keys(target.client, "test-target:") == before
        return done.err

    header, start, *rest = lines
    assert "upgrade the package" in refused(
        header.replace(b'"format":1', b'"format":2'), *lines[1:]
    )
    assert "upgrade" in refused(header.replace(b'"documents":1', b'"documents":2'), *lines[1:])
    assert "checksum" in refused(header, start, *rest[:3], *rest[4:])
    assert "checksum" in refused(header, start, rest[0].replace(b"x", b"y", 1), *rest[1:])
    assert "checksum" in refused(header, start.replace(b"false", b"true"), *rest)
    assert "line 1 " in refused(*lines[1:])
    assert "twice" in refused(*lines[:-1], *lines[1:-1], b'{"end":true,"threads":4}\n')
    assert "follows the end" in refused(*lines, lines[-1])
    assert "too early" in refused(header, lines[-1])
    assert "names no document" in refused(header, start, b'{"entry":"z:","document":{}}\n')
    assert "is not a line of an export" in refused(header, start, b"hello\n")
    assert "line 1 " in refused(b"hello\n")
    assert "empty" in refused(b"")


def test_threads_that_exist_are_refused_skipped_or_replaced(
    lines: list[bytes], saver: RedisSaver, target: Target, tmp_path: Path
) -> None:
    file = tmp_path / "whole"
    put(target.saver, "1", {"a": 1}, thread_id="two")
    before = contents(target.client, "test-target:")
    done = target.cli("import", file)
    assert (done.code, done.out) == (1, "")
    assert "exist already with another content: two. " in done.err
    assert contents(target.client, "test-target:") == before
    done = target.cli("import", file, "--skip")
    assert done.code == 0
    assert [*map(len, target.read().values())] == [1, 9]
    done = target.cli("import", file, "--replace")
    assert done.out == "Threads imported: 1; already there, exactly the same: 1.\n"
    assert target.read() == read(saver)
    account(target.client, "test-target:")
    assert target.cli("import", file, "--skip", "--replace").code == 2


# ---- what is asked for wrongly


def test_wrong_usage(saver: RedisSaver, cli: CommandLine, tmp_path: Path) -> None:
    fill(saver, "thread")
    assert cli("export", "-o", tmp_path / "x").code == 2
    assert cli("export", "thread", "--all", "-o", tmp_path / "x").code == 2
    done = cli("export", "thread", "thraed", "-o", tmp_path / "x")
    assert done == (
        1,
        "",
        'There is no thread "thraed": did you mean "thread"?\nNothing was exported.\n',
    )
    done = cli("export", "thread", "-o", tmp_path / "x.html")
    assert done.code == 2
    assert f"pass --html {tmp_path / 'x.html'}" in done.err
    assert os.listdir(tmp_path) == []
    done = cli("export", "thread", "-o", tmp_path / "x")
    assert done.err.startswith(f"{tmp_path / 'x'} has 1 thread with ")
    done = cli("export", "thread", "-o", tmp_path / "x")
    assert done.code == 1
    assert "exists already" in done.err
    done = cli("import", tmp_path / "no-such-file")
    assert done.code == 1
    assert done.err == f"{tmp_path / 'no-such-file'}: No such file or directory.\n"


def test_an_export_of_nothing_is_no_backup(
    saver: RedisSaver, cli: CommandLine, tmp_path: Path
) -> None:
    """A key prefix with a slip in it, for example."""
    for choice in (["--all"], ["--filter", "user=nobody"]):
        done = cli("export", *choice, "-o", tmp_path / "x")
        assert done.code == 1
        assert "There are no such threads: nothing was exported." in done.err
    assert os.listdir(tmp_path) == []


def test_an_import_without_indexes_says_what_searches_need(
    saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    put(saver, "1", {"a": 1}, thread_id="thread")
    cli("export", "thread", "-o", tmp_path / "x")
    for index in target.client.execute_command("FT._LIST"):
        if index.startswith("test-target:"):
            target.client.execute_command("FT.DROPINDEX", index)
    done = target.cli("import", tmp_path / "x")
    assert done.code == 0
    assert done.out == "Threads imported: 1.\n"
    [command] = re.findall(r"run langgraph-redis-json (.*)\.\n", done.err)
    assert cli(*command.split()).code == 0
    assert [row["thread_id"] for row in target.cli("threads", "--json").rows] == ["thread"]
    put(saver, "1", {"a": 1}, thread_id="other")
    cli("export", "other", "-o", tmp_path / "y")
    assert target.cli("import", tmp_path / "y") == (0, "Threads imported: 1.\n", "")


# ---- writers


def run(saver: RedisSaver, thread_id: str, meanwhile: Any) -> list[bytes]:
    """The lines of an export, during which something happens after each line."""
    found: list[bytes] = []
    for line in saver._runner.iterate(export.export_thread(saver._context, thread_id)):
        found.append(line)
        meanwhile(len(found))
    return found


def test_a_thread_that_changes_is_exported_again(saver: RedisSaver) -> None:
    changes: list[Any] = [
        lambda: put(saver, "9", {"a": 1}),
        lambda: saver.put_writes(config("thread", "", "000001"), [("late", 1)], "other task"),
        lambda: saver.put_writes(config("thread", "", "000001"), [("__error__", "x")], "task"),
        lambda: put(saver, "8", {"a": 1}, checkpoint_ns="inner"),
        lambda: saver.copy_thread("other", "thread"),
        lambda: saver.prune(["thread"]),
    ]
    fill(saver, "thread")
    put(saver, "000001", {"a": 1}, thread_id="other")
    for change in changes:
        # When all documents are read, and before it is known whether they are one state.
        last_document = len(run(saver, "thread", lambda n: None)) - 1
        lines = run(
            saver, "thread", lambda n, at=last_document, do=change: do() if n == at else None
        )
        assert lines.count(export.RESTART) == 1
        last = lines[lines.index(export.RESTART) + 1 :]
        assert last == run(saver, "thread", lambda n: None)
    with pytest.raises(TriesExhaustedError, match="changed it meanwhile"):
        run(saver, "thread", lambda n: n % 3 or put(saver, f"{n:06}x", {"a": n}))


def test_each_export_beside_writers_is_a_state_that_the_thread_had(
    saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    """Each put says in each of its parts which one it is."""
    stop = threading.Event()

    def write() -> None:
        with RedisSaver(saver._runner.client, key_prefix=saver.key_prefix) as other:
            texts: list[str] = []
            number = 0
            while not stop.is_set():
                number += 1
                texts = [*texts[-30:], f"{number}{BIG}"]
                made = put(
                    other,
                    f"{number:06}",
                    {"list": texts, "blob": f"{number}{BIG * 30}"},
                    {"list": number, "blob": number},
                    parent=f"{number - 1:06}",
                )
                other.put_writes(made, [("channel", number)], "task")
                if number % 10 == 0:
                    other.prune(["thread"])
                stop.wait(0.02)  # a thread that never rests cannot be exported

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: target.client.exists(f"{saver.key_prefix}contents:{{thread}}"))
        for number in range(10):
            done = cli("export", "thread", "-o", tmp_path / f"{number}")
            assert done.code == 0, done.err
            assert target.cli("import", tmp_path / f"{number}", "--replace").code == 0
            found = target.read()["thread"]
            ids = [int(one.checkpoint["id"]) for one in found]
            assert ids == [*range(ids[0], ids[0] - len(ids), -1)]
            for one, id_ in zip(found, ids, strict=True):
                values = one.checkpoint["channel_values"]
                assert values["list"][-1] == f"{id_}{BIG}"
                assert values["blob"] == f"{id_}{BIG * 30}"
                # The last checkpoint may have no write yet.
                assert one.pending_writes or id_ == ids[0]
            account(target.client, "test-target:", garbage=True)
    finally:
        stop.set()
        writer.join()


def test_a_thread_that_an_application_begins_meanwhile(
    lines: list[bytes], saver: RedisSaver, target: Target
) -> None:
    """Before each trip of the import in turn: the import of that thread is given up, and the
    application's thread is whole."""
    context, runner = target.saver._context, target.saver._runner
    whole = [*export_file.read("file", lines)]
    [end, _] = [at for at, one in enumerate(whole) if isinstance(one, export_file.ThreadEnd)]
    records = whole[: end + 1]
    wanted = {"one": import_threads.Thread("one", "checksum", False, False, False)}
    for at in range(1_000):
        imported = import_threads.import_threads(context, records, wanted)
        batches = 0

        def next_batch(given: Any, imported: Any = imported) -> Any:
            while not isinstance(found := imported.send(given), list):
                given = None
            return found

        try:
            commands = next_batch(None)
            while True:
                if batches == at:
                    put(target.saver, "live", {"a": BIG}, thread_id="one")
                batches += 1
                commands = next_batch(runner.execute(runner._plain, commands, SearchNode()))
        except StopIteration:
            # It came too late to begin the thread, and went on with the imported one.
            assert batches <= at
            break
        except ImportInterruptedError:
            assert batches > at
        assert [one.checkpoint["id"] for one in target.read()["one"]] == ["live"]
        account(target.client, "test-target:")
        target.saver.delete_thread("one")
    assert at > 7


def test_a_server_that_alters_a_number(lines: list[bytes], target: Target, tmp_path: Path) -> None:
    """Another version of RedisJSON may, so the import looks at what it has stored."""

    def with_number(number: str) -> Path:
        changed, checksum = [], hashlib.sha256()
        for line in lines:
            if line.startswith(b'{"entry":"c::000001"'):
                line = line.replace(b'"step":1', b'"step":1,"x":%s' % number.encode())
            if line.startswith(b'{"thread"'):
                checksum = hashlib.sha256()
            if line.startswith(b'{"thread_end"'):
                fields = orjson.loads(line) | {"sha256": checksum.hexdigest()}
                line = orjson.dumps(fields) + b"\n"
            checksum.update(line)
            changed.append(line)
        (tmp_path / "changed").write_bytes(b"".join(changed))
        return tmp_path / "changed"

    def survives(number: float) -> bool:
        client = target.client
        client.execute_command("JSON.SET", "test-target:probe", "$", repr(number))
        return float(str(client.execute_command("JSON.GET", "test-target:probe"))) == number

    altered = next(one for one in iter(random.random, 2) if not survives(one))
    target.client.unlink("test-target:probe")
    before = found_keys(target.client, "test-target:")
    done = target.cli("import", with_number(repr(altered)))
    assert done.code == 1
    assert "with another number or text" in done.err
    assert found_keys(target.client, "test-target:") == before
    # The same number in another spelling is the same number.
    assert target.cli("import", with_number("1.5e2")).code == 0
    assert len(target.read()) == 2


def test_nobody_sees_half_a_thread(lines: list[bytes], target: Target) -> None:
    context = target.saver._context
    records = [*export_file.read("file", lines)]
    wanted = {
        one.thread_id: one
        for one in target.saver._runner.iterate(import_threads.compare(context, records))
    }
    ends = 0

    def watched() -> Iterator[export_file.Record]:
        nonlocal ends
        for record in records:
            assert len(list(target.saver.threads())) == ends
            assert {*map(len, target.read().values())} <= {9}
            assert len(target.read()) == ends
            yield record
            ends += isinstance(record, export_file.ThreadEnd)

    list(target.saver._runner.iterate(import_threads.import_threads(context, watched(), wanted)))
    assert ends == 2


# ---- kills


def test_a_killed_export_goes_on(
    saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    for number in range(60):
        fill(saver, f"{number}", 12)
    for name in ("x", "x.gz"):
        file, partial = tmp_path / name, tmp_path / f"{name}.partial"
        process = cli.start("export", "--all", "-o", file)
        wait_until(lambda: partial.exists() and partial.stat().st_size > 20_000)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not file.exists()
        with partial.open("ab") as out:  # the kill came in the middle of a write
            out.write(b'{"thread":"cu')
        done = cli("export", "0", "-o", file)
        assert done.code == 1
        assert "another export" in done.err
        before = partial.stat().st_size
        done = cli("export", "--all", "-o", file)
        assert done.code == 0
        documents = count_documents(target.client, saver.key_prefix)
        assert f" has 60 threads with {documents:,} documents: " in done.err
        assert file.stat().st_size > before
        assert not partial.exists()
        assert target.cli("import", file).code == 0
        assert contents(target.client, "test-target:") == contents(target.client, saver.key_prefix)


def test_a_killed_import_goes_on(
    saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    for number in range(20):
        fill(saver, f"{number}", 12)
    fill(saver, "long", 400)
    whole = read(saver)
    assert cli("export", "long", *range(20), "-o", tmp_path / "x").code == 0
    staging = thread_keys("test-target:", "long").staging
    for least in (50, 300):
        process = target.cli.start("import", tmp_path / "x")
        wait_until(lambda: target.client.zcard(staging) > least)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: process.poll() is not None)  # noqa: B023
        assert target.read() == {}
        staged = [e for e in members(target.client, staging) if e[:2] != "i:"]
        assert len(staged) >= least
        # Nothing is left if nobody goes on.
        deadline = target.client.pexpiretime(staging)
        assert deadline > 0
        for entry in staged:
            key = thread_keys("test-target:", "long").key(entry)
            assert target.client.pexpiretime(key) == deadline
    doctor = target.cli("doctor", "--all", "--repair", "--yes", "--json")
    assert "import-unfinished" in [row.get("code") for row in doctor.rows]
    assert target.client.zcard(staging) > 300
    assert target.cli("import", tmp_path / "x").out == "Threads imported: 21.\n"
    assert target.read() == whole
    assert contents(target.client, "test-target:") == contents(target.client, saver.key_prefix)
    account(target.client, "test-target:")


def test_an_import_of_another_content_begins_again(
    saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    fill(saver, "long", 300)
    assert cli("export", "long", "-o", tmp_path / "old").code == 0
    saver.prune(["long"])
    assert cli("export", "long", "-o", tmp_path / "new").code == 0
    staging = thread_keys("test-target:", "long").staging
    process = target.cli.start("import", tmp_path / "old")
    wait_until(lambda: target.client.zcard(staging) > 50)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert target.cli("import", tmp_path / "new").code == 0
    assert contents(target.client, "test-target:") == contents(target.client, saver.key_prefix)
    account(target.client, "test-target:")


def test_ctrl_c_says_how_to_go_on(
    saver: RedisSaver, cli: CommandLine, target: Target, tmp_path: Path
) -> None:
    fill(saver, "long", 500)
    assert cli("export", "long", "-o", tmp_path / "x").code == 0
    staging = thread_keys("test-target:", "long").staging
    process = target.cli.start("import", tmp_path / "x")
    wait_until(lambda: target.client.zcard(staging) > 50)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert b"run the same command again to go on" in err
    assert target.read() == {}
    assert target.cli("import", tmp_path / "x").code == 0
    assert target.read() == read(saver)


def test_a_reader_that_stops_ends_the_export(saver: RedisSaver, cli: CommandLine) -> None:
    for number in range(30):
        fill(saver, f"{number}")
    process = cli.start("export", "--all")
    head = subprocess.run(["head", "-1"], stdin=process.stdout, capture_output=True, check=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert json.loads(head.stdout)["format"] == 1
    assert process.stderr.read() == b""
    assert process.wait() == 0

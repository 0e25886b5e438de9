"""What migrate copies, again and again, and what it tells."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import tracemalloc
from typing import Any
from uuid import uuid4

import pytest
import redis
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.types import INTERRUPT, TASKS
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command, Send

from langgraph_redis_json import AsyncRedisSaver, IndexMissingError, RedisSaver
from langgraph_redis_json.migration import Progress, SameSaverError, amigrate, migrate
from tests.support.accounting import account
from tests.support.checkpoints import (
    STRANGE,
    checkpoint,
    config,
    get_tuple,
    ids,
    names,
    put,
    stored,
)
from tests.support.graphs import THREAD, nested
from tests.support.project import ROOT
from tests.support.sources import KINDS, Stores

each_kind = pytest.mark.parametrize("kind", KINDS)


def fill(saver: Any, threads: int, steps: int, first: int = 0) -> None:
    """Threads with two namespaces, whose checkpoints have pending writes."""
    for thread in range(threads):
        for number in range(first, first + steps):
            for checkpoint_ns in ("", "sub"):
                values = {"said": [f"{n}" * 40 for n in range(number % 50)], "n": number}
                written = put(
                    saver,
                    f"{number:05}",
                    values,
                    dict.fromkeys(values, f"{number:05}.{checkpoint_ns}"),
                    thread_id=f"thread-{thread}",
                    checkpoint_ns=checkpoint_ns,
                    parent=f"{number - 1:05}" if number else None,
                    metadata={"source": "loop", "step": number},
                )
                saver.put_writes(written, [("said", number), (INTERRUPT, ["?"])], "b", "path/1")
                saver.put_writes(written, [("n", number), ("said", 2)], "a", "path/2")


# ---- everything, once


@each_kind
def test_all_threads_and_namespaces_are_copied(
    stores: Stores, target: RedisSaver, redis_client: redis.Redis, key_prefix: str, kind: str
) -> None:
    with stores.saver(kind) as source:
        fill(source, 3, 4)
        report = migrate(source, target, verify=True)
    assert report.is_complete, report
    assert (report.threads, report.checkpoints, report.copied) == (3, 24, 24)
    assert len(names(target.list(None))) == 24
    found = get_tuple(target, config("thread-1", "sub", "00002"))
    assert found.parent_config == config("thread-1", "sub", "00001")
    assert found.checkpoint["channel_values"] == {"said": ["0" * 40, "1" * 40], "n": 2}
    assert found.metadata == {"source": "loop", "step": 2}
    # By task path, not by task id.
    assert found.pending_writes == [
        *[("b", INTERRUPT, ["?"]), ("b", "said", 2)],
        *[("a", "n", 2), ("a", "said", 2)],
    ]
    account(redis_client, key_prefix)


@each_kind
def test_only_the_wanted_threads_are_copied(stores: Stores, target: RedisSaver, kind: str) -> None:
    with stores.saver(kind) as source:
        fill(source, 4, 2)
        report = migrate(source, target, ["thread-1", "thread-3", "not there"], verify=True)
    assert (report.threads, report.copied) == (2, 8)
    found = {thread_id for thread_id, _, _ in names(target.list(None))}
    assert found == {"thread-1", "thread-3"}


@pytest.mark.parametrize("kind", ["memory", "sqlite", "own"])
def test_strange_ids_are_copied(stores: Stores, target: RedisSaver, kind: str) -> None:
    texts = [text for text in STRANGE.values() if text and "\0" not in text]
    with stores.saver(kind) as source:
        for text in texts:
            put(source, "1", {"a": text}, thread_id=text, checkpoint_ns=text)
        report = migrate(source, target, verify=True)
    assert report.is_complete, report
    assert {*names(target.list(None))} == {(text, text, "1") for text in texts}


def test_integers_as_thread_ids_are_copied(target: RedisSaver) -> None:
    source = InMemorySaver()
    put(source, "1", {"a": 1}, thread_id=7)
    assert migrate(source, target, verify=True).is_complete
    assert get_tuple(target, config(7)).checkpoint["channel_values"] == {"a": 1}


@each_kind
def test_tasks_of_old_versions_are_copied(stores: Stores, target: RedisSaver, kind: str) -> None:
    """Before version 4 a checkpoint's tasks were among its parent's writes."""
    with stores.saver(kind) as source:
        parent = put(source, "1", {"a": 1}, {"a": "1"})
        source.put_writes(parent, [(TASKS, Send("node", {"x": 1}))], "task")
        made = checkpoint("2", {"a": 2}, {"a": "2"}, v=3)
        source.put(parent, made, {"source": "loop", "step": 1}, made["channel_versions"])
        report = migrate(source, target)
    assert report.copied == 2
    values = get_tuple(target, config()).checkpoint["channel_values"]
    assert values == {"a": 2, TASKS: [Send("node", {"x": 1})]}


class OwnSaver(BaseCheckpointSaver[str]):
    """One that has LangGraph's methods and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = InMemorySaver()
        self.threads: set[threading.Thread] = set()

    def get_tuple(self, config: Any) -> CheckpointTuple | None:
        self.threads.add(threading.current_thread())
        return self.inner.get_tuple(config)

    def list(self, config: Any, **options: Any) -> Any:
        self.threads.add(threading.current_thread())
        return self.inner.list(config, **options)


def test_a_saver_of_ones_own_is_copied(target: RedisSaver) -> None:
    source = OwnSaver()
    fill(source.inner, 2, 3)
    report = migrate(source, target, verify=True)
    assert report.is_complete, report
    assert report.copied == 12
    # It does not tell the paths, so the order of the tasks is that of the list.
    writes = get_tuple(target, config("thread-0")).pending_writes
    assert writes == get_tuple(source.inner, config("thread-0")).pending_writes


def test_keep_last_deletes_nothing_meanwhile(
    stores: Stores, redis_url: str, key_prefix: str
) -> None:
    source = InMemorySaver()
    fill(source, 1, 4)
    with RedisSaver(redis_url, key_prefix=key_prefix, keep_last=1) as target:
        target.setup()
        assert migrate(source, target, verify=True).is_complete
        assert migrate(source, target).copied == 0
        put(target, "9", thread_id="thread-0", parent="00003")
        assert ids(target.list(config("thread-0"))) == ["9"]


@each_kind
def test_threads_are_listed_in_the_order_of_their_last_change(
    stores: Stores, target: RedisSaver, kind: str
) -> None:
    with stores.saver(kind) as source:
        for number, thread_id in enumerate("bcadbec"):
            put(source, f"{number}", thread_id=thread_id)
        migrate(source, target)
    changed = {row.thread_id: row.updated_at for row in target.threads()}
    # Two may be copied within one millisecond.
    assert [changed[thread_id] for thread_id in "adbec"] == sorted(changed.values())
    assert changed["a"] < changed["c"]


# ---- again, and after a kill


def test_a_second_run_reads_only_the_newest_checkpoints(
    target: RedisSaver, source_redis: str
) -> None:
    with RedisSaver(source_redis, key_prefix=f"{uuid4().hex}:") as source:
        source.setup()
        fill(source, 1, 40)
        migrate(source, target)
        client: Any = source._runner.client
        client.config_resetstat()
        assert migrate(source, target).checkpoints == 80
        commands = client.info("commandstats")
        # Of each namespace: to read the newest checkpoint, and the paths of its pending writes.
        assert commands["cmdstat_evalsha"]["calls"] <= 3
        assert commands["cmdstat_json.get"]["calls"] < 20


@each_kind
def test_a_second_run_brings_only_what_is_new(
    stores: Stores, target: RedisSaver, redis_client: redis.Redis, key_prefix: str, kind: str
) -> None:
    with stores.saver(kind) as source:
        fill(source, 3, 3)
        migrate(source, target)
        before = stored(redis_client, key_prefix)
        again = migrate(source, target, verify=True)
        assert again.is_complete
        assert (again.copied, again.updated, again.checkpoints) == (0, 0, 18)
        assert stored(redis_client, key_prefix) == before

        put(source, "00003", {"a": 1}, {"a": "3"}, thread_id="thread-1", parent="00002")
        put(source, "00004", {"a": 2}, {"a": "4"}, thread_id="thread-1", parent="00000")
        source.put_writes(config("thread-1", "", "00000"), [("late", 3)], "late")  # of a fork
        source.put_writes(config("thread-2", "", "00002"), [("late", 1)], "late")  # of the newest
        source.put_writes(config("thread-1", "", "00002"), [("late", 2)], "late")  # of a parent
        third = migrate(source, target, verify=True)
    assert third.is_complete, third
    assert (third.copied, third.updated) == (2, 3)


@each_kind
def test_a_team_moves_while_the_old_application_runs(
    stores: Stores, target: RedisSaver, kind: str
) -> None:
    memory = InMemorySaver()
    with stores.saver(kind) as source:
        for saver in (source, memory):
            nested(saver).invoke({"ask": True}, THREAD)
        migrate(source, target)
        for saver in (source, memory):  # the old application goes on, and asks again
            nested(saver).invoke(Command(resume="old"), THREAD)
            nested(saver).invoke({"ask": True}, THREAD)
        report = migrate(source, target, verify=True)
    assert report.is_complete, report
    assert 0 < report.copied < report.checkpoints
    found, expected = (
        nested(saver).invoke(Command(resume="new"), THREAD) for saver in (target, memory)
    )
    assert found == expected


def test_threads_that_went_on_in_the_target_are_left_alone(target: RedisSaver) -> None:
    source = InMemorySaver()
    fill(source, 2, 3)
    migrate(source, target)
    put(target, "00003", {"a": "new"}, thread_id="thread-0", parent="00002")
    target.put_writes(config("thread-0", "", "00002"), [(INTERRUPT, "answered")], "b", "path/1")
    put(source, "00004", {"a": "old"}, thread_id="thread-0", parent="00002")
    report = migrate(source, target, verify=True)
    assert report.continued == ["thread-0"]
    assert not report.is_complete
    assert report.copied == report.updated == 0
    assert ids(target.list(config("thread-0")))[0] == "00003"
    writes = get_tuple(target, config("thread-0", "", "00002")).pending_writes or []
    assert ("b", INTERRUPT, "answered") in writes


KILLED = """
import sys
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph_redis_json import RedisSaver
from langgraph_redis_json.migration import migrate

file, url, prefix = sys.argv[1:]
with SqliteSaver.from_conn_string(file) as source, RedisSaver(url, key_prefix=prefix) as target:
    migrate(source, target, on_progress=lambda told: print(told.checkpoints, flush=True))
"""


def test_a_migration_is_killed_ten_times(
    stores: Stores, target: RedisSaver, redis_url: str, redis_client: redis.Redis, key_prefix: str
) -> None:
    with stores.saver("sqlite") as source:
        fill(source, 10, 20)
    everything = 10 * 20 * 2
    choose = random.Random(7)
    for number in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, stores.sqlite, redis_url, key_prefix],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert process.stdout is not None
        end = everything * (number + 1) // 12 + choose.randrange(9)
        for line in process.stdout:  # what was copied before is read over quickly
            if int(line) >= end:
                break
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    with stores.saver("sqlite") as source:
        last = migrate(source, target, verify=True)
        assert last.is_complete, last
        assert last.checkpoints == last.verified == everything
        assert 0 < last.copied < everything // 4
        assert migrate(source, target).copied == 0
    account(redis_client, key_prefix)


# ---- what it tells


@each_kind
def test_progress_is_told(stores: Stores, target: RedisSaver, kind: str) -> None:
    told: list[Progress] = []
    with stores.saver(kind) as source:
        fill(source, 2, 3)
        report = migrate(source, target, on_progress=told.append)
    assert (told[0].all_checkpoints, told[0].seconds_left) == (0, None)
    assert [one.checkpoints for one in told[1:]] == [*range(1, 7), 6, *range(7, 13), 12]
    assert [one.threads for one in told[1:]] == [0] * 6 + [1] * 7 + [2]
    assert {one.all_checkpoints for one in told[1:]} == {12}
    assert {one.all_threads for one in told[1:]} == {2}
    assert [one.bytes for one in told] == sorted(one.bytes for one in told)
    assert [one.seconds for one in told] == sorted(one.seconds for one in told)
    assert told[-1].bytes == report.bytes > 1_000
    assert told[-1].seconds_left == 0
    assert all((one.seconds_left or 0) > 0 for one in told[1:-2])


def test_the_time_that_is_left_is_that_of_copying(target: RedisSaver) -> None:
    """Not that of passing over what the last run has copied."""
    source = InMemorySaver()
    fill(source, 2, 20)
    migrate(source, target, ["thread-0"])
    told: list[Progress] = []
    assert migrate(source, target, on_progress=told.append).copied == 40
    passed = [one for one in told if one.checkpoints == 40][-1]
    copying = [one for one in told if 40 < one.checkpoints < 80]
    begins = [
        one.seconds - (one.seconds_left or 0) * (one.checkpoints - 40) / (80 - one.checkpoints)
        for one in copying
    ]
    assert max(begins) - min(begins) < 1e-6
    assert passed.seconds <= begins[0] <= copying[0].seconds


@pytest.mark.parametrize("part", ["channel a", "metadata", "parent", "pending writes", "missing"])
def test_verify_tells_what_differs(
    target: RedisSaver, redis_client: redis.Redis, part: str
) -> None:
    source = InMemorySaver()
    put(source, "1", {"a": 1.5}, {"a": "1"})
    source.put_writes(put(source, "2", {"a": 2.5}, {"a": "2"}, parent="1"), [("a", 1)], "task")
    assert migrate(source, target, verify=True).is_complete
    if part == "pending writes":
        source.writes["thread", "", "2"].clear()
        target.put_writes(config(checkpoint_id="2"), [("a", 3)], "another")
    elif part == "missing":
        target.delete_thread("thread")
        migrate(source, target)
        [key] = redis_client.scan_iter(f"{target.key_prefix}checkpoint:*1")
        redis_client.delete(key)
        redis_client.zrem(f"{target.key_prefix}contents:{{thread}}", "c::1")
    else:
        options: Any = {
            "channel a": {"values": {"a": 2.0}, "parent": "1"},
            "metadata": {"values": {"a": 2.5}, "parent": "1", "metadata": {"step": 7}},
            "parent": {"values": {"a": 2.5}},
        }[part]
        put(target, "2", versions={"a": "2"}, **options)
    report = migrate(source, target, verify=True)
    if part == "missing":
        assert report.is_complete  # it was copied again
        return
    assert not report.is_complete
    assert (report.verified, report.different) == (2, 1)
    [told] = report.told
    assert (told.thread_id, told.checkpoint_ns, told.checkpoint_id) == ("thread", "", "2")
    assert told.what == part


def test_a_checkpoint_that_the_source_cannot_read_is_told(
    stores: Stores, target: RedisSaver
) -> None:
    with stores.saver("sqlite") as source:
        fill(source, 1, 4)
        with source.cursor() as cursor:
            cursor.execute("UPDATE checkpoints SET metadata = 'x' WHERE checkpoint_id = '00002'")
        report = migrate(source, target, verify=True)
    assert (report.copied, report.unreadable, report.verified) == (6, 2, 6)
    assert not report.is_complete
    assert {one.checkpoint_id for one in report.told} == {"00002"}
    assert "JSONDecodeError" in report.told[0].what


def test_what_the_other_redis_saver_changed_is_told(stores: Stores, target: RedisSaver) -> None:
    with stores.saver("redis") as source:
        values = {"float": 0.1 + 0.2, "short": 1.5, "said": [AIMessage("hi", id="1")], "t": (1, 2)}
        written = put(source, "1", values, thread_id="changed")
        source.put_writes(written, [("a", 1)], "task")
        # Its put hides the pending writes that came before.
        source.put_writes(config("hidden", "", "1"), [("early", 1)], "task")
        put(source, "1", thread_id="hidden")
        assert get_tuple(source, config("hidden", "", "1")).pending_writes == []
        report = migrate(source, target, verify=True)
    assert report.is_complete, report
    assert report.doubtful_floats == 1
    assert report.hidden_writes == 1
    assert report.messages_as_dicts == 0
    assert get_tuple(target, config("hidden")).pending_writes == [("task", "early", 1)]
    assert not {"pending_sends", "type"} & {*get_tuple(target, config("changed")).checkpoint}
    copied = get_tuple(target, config("changed")).checkpoint["channel_values"]
    assert copied["said"] == [AIMessage("hi", id="1")]
    assert copied["t"] == [1, 2]


def test_dicts_that_were_messages_are_told(stores: Stores, target: RedisSaver) -> None:
    lost = {"lc": 1, "type": "constructor", "id": ["no", "such", "Message"], "kwargs": {}}
    with stores.saver("redis") as source:
        put(source, "1", {"said": [lost, {"lc": 3}, {"in": lost}]})
        report = migrate(source, target, verify=True)
    assert report.is_complete, report
    assert report.messages_as_dicts == 2


# ---- what it refuses


def test_a_target_without_setup_is_refused(redis_url: str, key_prefix: str) -> None:
    with (
        RedisSaver(redis_url, key_prefix=key_prefix) as target,
        pytest.raises(IndexMissingError, match=r"setup\(\)"),
    ):
        migrate(InMemorySaver(), target)


def test_what_is_no_saver_is_refused(target: RedisSaver) -> None:
    with pytest.raises(TypeError, match="the source must be a saver of LangGraph, not str"):
        migrate("redis://localhost", target)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the target must be a RedisSaver"):
        migrate(InMemorySaver(), InMemorySaver())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis", "own"])
async def test_an_asynchronous_source_is_refused_by_migrate(
    stores: Stores, target: RedisSaver, kind: str
) -> None:
    async with stores.async_saver(kind) as source:
        with pytest.raises(TypeError, match=r"is asynchronous: await amigrate\(\) instead"):
            await asyncio.to_thread(migrate, source, target)


async def test_an_asynchronous_saver_of_ones_own_is_refused_by_migrate(
    target: RedisSaver,
) -> None:
    class AsyncSaver(BaseCheckpointSaver[str]):
        async def aget_tuple(self, config: Any) -> CheckpointTuple | None:
            return None

        async def alist(self, config: Any, **options: Any) -> Any:
            return
            yield

    with pytest.raises(TypeError, match=r"await amigrate\(\)"):
        await asyncio.to_thread(migrate, AsyncSaver(), target)
    assert (await amigrate(AsyncSaver(), target)).threads == 0


# ---- on an event loop


@each_kind
async def test_a_synchronous_source_is_copied_in_threads(
    stores: Stores, redis_url: str, key_prefix: str, kind: str
) -> None:
    async with AsyncRedisSaver(redis_url, key_prefix=key_prefix) as target:
        await target.setup()
        with stores.saver(kind) as source:
            fill(source, 2, 3)
            report = await amigrate(source, target, verify=True)
    assert report.is_complete, report
    assert report.copied == 12


async def test_a_synchronous_target_is_filled_in_threads(target: RedisSaver) -> None:
    source = OwnSaver()
    fill(source.inner, 2, 3)
    assert (await amigrate(source, target, verify=True)).copied == 12
    assert threading.current_thread() not in source.threads  # the event loop goes on


def test_an_asynchronous_target_is_filled_without_an_event_loop(
    redis_url: str, key_prefix: str
) -> None:
    source = InMemorySaver()
    fill(source, 2, 3)
    target = AsyncRedisSaver(redis_url, key_prefix=key_prefix)
    asyncio.run(target.setup())
    assert migrate(source, target, verify=True).copied == 12


# ---- memory


def peak(stores: Stores, target: RedisSaver, checkpoints: int) -> int:
    """The memory that Python allocates at most, while so many checkpoints are migrated."""
    with SqliteSaver.from_conn_string(f"{stores.folder / uuid4().hex}.sqlite") as source:
        source.setup()
        rows, writes = [], []
        for number in range(checkpoints):
            made = checkpoint(f"{number:06}", {"n": number, "said": ["x" * 200] * 5})
            parent = f"{number - 10:06}" if number >= 10 else None
            key = (f"thread-{checkpoints}-{number % 10}", "", f"{number:06}")
            rows.append((*key, parent, *source.serde.dumps_typed(made), b'{"step": 1}'))
            writes.append((*key, "task", 0, "n", *source.serde.dumps_typed(number), ""))
        with source.cursor() as cursor:
            marks = ", ".join("?" * 7)
            cursor.executemany(f"INSERT INTO checkpoints VALUES ({marks})", rows)
            cursor.executemany(
                "INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, "
                "channel, type, value, task_path) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                writes,
            )
        del rows, writes
        tracemalloc.start()
        report = migrate(source, target)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert report.copied == checkpoints
    return most


def test_ten_thousand_checkpoints_take_the_memory_of_a_thousand(
    stores: Stores, target: RedisSaver
) -> None:
    peak(stores, target, 100)
    few, many = peak(stores, target, 1_000), peak(stores, target, 10_000)
    assert many < few + 1_500_000, (few, many)


NAMES = """
import re, sys
from pathlib import Path
from langgraph_redis_json.migration.names import Name, Names

names = Names()
for number in range(int(sys.argv[1])):
    made = f"1ef4f797-8335-6428-8001-{number:012}"
    names.add(Name(f"thread-{number % 1000}", "", made, made))
print(*names.count(), sum(1 for _ in names.threads()))
print(sum(1 for _ in names.checkpoints("thread-1")))
print(re.search(r"VmHWM: +([0-9]+) kB", Path("/proc/self/status").read_text().expandtabs(1))[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the memory of a process")
def test_the_names_of_many_checkpoints_are_not_in_memory() -> None:
    most = []
    for count in (20_000, 400_000):
        command = [sys.executable, "-c", NAMES, f"{count}"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        *counts, kilobytes = map(int, done.stdout.split())
        assert counts == [1_000, count, 1_000, count // 1_000]
        most.append(kilobytes)
    assert most[1] < most[0] + 10_000, most


# ---- the same saver


def spellings(url: str) -> list[str]:
    return [url, f"{url}/0", url.replace("127.0.0.1", "localhost"), f"{url}?protocol=2"]


def test_a_saver_is_not_copied_to_itself_however_its_url_is_spelled(
    target: RedisSaver, redis_url: str, key_prefix: str
) -> None:
    put(target, "1")
    for url in spellings(redis_url):
        with (
            RedisSaver(url, key_prefix=key_prefix) as source,
            pytest.raises(SameSaverError, match="are one server with one key_prefix"),
        ):
            migrate(source, target)


async def test_an_asynchronous_saver_is_not_copied_to_itself(
    target: RedisSaver, redis_url: str, key_prefix: str
) -> None:
    async with AsyncRedisSaver(redis_url, key_prefix=key_prefix) as source:
        with pytest.raises(SameSaverError):
            await amigrate(source, target)


def test_another_server_with_the_same_prefix_is_copied(
    target: RedisSaver, source_redis: str, key_prefix: str
) -> None:
    with RedisSaver(source_redis, key_prefix=key_prefix) as source:
        source.setup()
        put(source, "1")
        assert migrate(source, target, verify=True).copied == 1


# ---- what the source deletes


def test_what_the_source_has_deleted_since_does_not_stop_a_migration(target: RedisSaver) -> None:
    source = InMemorySaver()
    fill(source, 1, 3)
    migrate(source, target)
    copied = [*names(target.list(None))]
    # The old application goes on, and deletes its oldest checkpoints.
    kept = InMemorySaver()
    for number, parent in (("00002", "00001"), ("00003", "00002")):
        for checkpoint_ns in ("", "sub"):
            put(kept, number, thread_id="thread-0", checkpoint_ns=checkpoint_ns, parent=parent)
    report = migrate(kept, target)
    assert report.continued == []
    assert report.is_complete, report
    assert report.copied == 2
    assert len(names(target.list(None))) == len(copied) + 2


def test_what_the_source_deletes_meanwhile_is_told(target: RedisSaver) -> None:
    source = InMemorySaver()
    fill(source, 2, 1)

    def delete(told: Progress) -> None:
        if told.checkpoints == 1:
            source.delete_thread("thread-1")

    report = migrate(source, target, verify=True, on_progress=delete)
    assert (report.copied, report.verified, report.gone) == (2, 2, 2)
    assert not report.is_complete
    assert migrate(source, target, verify=True).is_complete


def test_a_checkpoint_of_another_cipher_is_told(stores: Stores, target: RedisSaver) -> None:
    """LangGraph's cipher asserts that the name of the value's cipher is its own."""

    class Backwards(CipherProtocol):
        def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
            return "backwards", plaintext[::-1]

        def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
            return ciphertext[::-1]

    with stores.saver("sqlite") as source:
        source.serde = EncryptedSerializer(Backwards())
        fill(source, 1, 1)
        source.serde = EncryptedSerializer.from_pycryptodome_aes(key=b"k" * 16)
        report = migrate(source, target)
    assert (report.copied, report.unreadable) == (0, 2)
    assert "AssertionError: Unsupported cipher: backwards" in report.told[0].what


def test_a_checkpoint_that_cannot_be_read_any_more_is_told_by_verify(
    stores: Stores, target: RedisSaver
) -> None:
    with stores.saver("sqlite") as source:
        fill(source, 1, 3)
        assert migrate(source, target, verify=True).is_complete
        with source.cursor() as cursor:
            cursor.execute("UPDATE checkpoints SET metadata = 'x' WHERE checkpoint_id = '00001'")
        report = migrate(source, target, verify=True)
    assert (report.unreadable, len(report.told), report.verified) == (2, 2, 4)

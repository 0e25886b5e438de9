"""threads returns one row for each thread, whatever the order of the calls before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from langgraph_redis_json import (
    IndexMissingError,
    RedisSaver,
    ThreadSummary,
)
from langgraph_redis_json.operations import threads
from langgraph_redis_json.search import queries
from tests.support.checkpoints import BIG, config, each_saver, found_keys, get_tuple, put, strange
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.strategies import examples
from tests.support.waiting import server_time

NO_STATUS = [None, "idle", "interrupted", "error"]


def thread_ids(found: Iterator[ThreadSummary]) -> list[str]:
    return [summary.thread_id for summary in found]


def test_a_row_describes_the_latest_root_checkpoint(
    saver: Saver, redis_client: redis.Redis
) -> None:
    begun = server_time(redis_client)
    put(saver, "1", {"big": BIG}, thread_id="a:b", metadata={"step": 0, "user": "Ada"})
    metadata: Any = {"source": "loop", "step": 1, "when": datetime.now(timezone.utc), "x": 0.1}
    written = put(saver, "2", thread_id="a:b", metadata=metadata)
    put(saver, "9", thread_id="a:b", checkpoint_ns="sub", metadata={"step": 7})
    [row] = saver.threads()
    assert row == ThreadSummary(
        "a:b",
        "2",
        metadata,
        1,
        row.updated_at,
        "idle",
    )
    assert row.updated_at.tzinfo == timezone.utc
    assert begun <= round(row.updated_at.timestamp() * 1000) <= server_time(redis_client)
    saver.put_writes(written, [(INTERRUPT, "May I?")], "task")
    [row] = saver.threads(limit=1)
    assert row.status == "interrupted"
    assert row.checkpoint_id == "2"


@each_saver
def test_threads_returns_the_requested_rows(saver: Saver) -> None:
    for number in range(12):
        at = put(
            saver,
            "1",
            thread_id=f"{number:02}",
            metadata={"step": number, "user": "ab"[number % 2], "score": number / 7},
        )
        if number % 3:
            saver.put_writes(at, [(INTERRUPT if number % 3 == 1 else ERROR, 1)], "task")
    newest_first = [f"{number:02}" for number in range(11, -1, -1)]
    assert sorted(thread_ids(saver.threads()), reverse=True) == newest_first
    searches: list[tuple[dict[str, Any], list[str]]] = [
        ({}, newest_first),
        ({"filter": {"user": "a"}}, newest_first[1::2]),
        ({"status": "interrupted"}, ["10", "07", "04", "01"]),
        ({"status": "error"}, ["11", "08", "05", "02"]),
        ({"status": "idle"}, ["09", "06", "03", "00"]),
        ({"status": "interrupted", "filter": {"user": "a"}}, ["10", "04"]),
        ({"filter": {"step": {"$gte": 3, "$lt": 6}}}, ["05", "04", "03"]),
        ({"filter": {"step": {"$in": [1, 9]}, "user": "b"}}, ["09", "01"]),
        ({"filter": {"score": {"$gt": 1}, "nothing": None}}, newest_first[:4]),
        ({"filter": {"user": {"$ne": "a"}, "step": {"$lt": 5}}}, ["03", "01"]),
        ({"filter": {"user": "c"}}, []),
    ]
    for options, wanted in searches:
        for limit in (None, 0, 1, 2, 50):
            found = thread_ids(saver.threads(**options, limit=limit))
            # Within a millisecond the order is the server's.
            assert len(found) == len(wanted if limit is None else wanted[:limit])
            assert set(found) <= set(wanted)


@each_saver
def test_the_thread_that_changed_last_comes_first(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "NAMES", 3)
    monkeypatch.setattr(threads, "PAGE", 2)
    times = {f"{number}": 1_000 * (number * 7 % 11) for number in range(11)}
    for thread_id, time in times.items():
        put(saver, "1", thread_id=thread_id)
        key = f"{key_prefix}thread:{{{thread_id}}}"
        redis_client.execute_command("JSON.SET", key, "$.updated_at", time)
    newest_first = sorted(times, key=lambda one: -times[one])
    assert thread_ids(saver.threads()) == newest_first
    for limit in range(12):
        assert thread_ids(saver.threads(limit=limit)) == newest_first[:limit]
        # None of these can be cut by the server.
        found = saver.threads(filter={"source": {"$ne": 1}}, limit=limit)
        assert thread_ids(found) == newest_first[:limit]


@each_saver
def test_python_decides_which_threads_match(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for number in range(6):
        put(saver, "1", thread_id=f"{number}", metadata={"user": "a" if number == 0 else "b"})
    first, *others = found_keys(redis_client, key_prefix, "thread")
    tokens = redis_client.execute_command("JSON.GET", first, "$.tokens")[1:-1]
    for key in others:
        redis_client.execute_command("JSON.SET", key, "$.tokens", tokens)
    for limit in (None, 1, 2):
        assert thread_ids(saver.threads({"user": "a"}, limit=limit)) == ["0"]


@each_saver
def test_the_result_cap_of_the_server_does_not_limit_threads(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        put(saver, "1", thread_id=f"{number}")
    monkeypatch.setattr(queries, "MOST_SORTED", 100_000)
    # More than MAXSEARCHRESULTS, 10,000 unless it was raised; then this is as good.
    assert len(thread_ids(saver.threads(limit=50_000))) == 20


@each_saver
def test_threads_may_be_deleted_or_changed_during_a_listing(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "PAGE", 2)
    for number in range(9):
        put(saver, "1", thread_id=f"{number}", metadata={"user": "a"})
    found = saver.threads({"user": "a"})
    begun = [next(found).thread_id, next(found).thread_id]
    left = sorted({f"{number}" for number in range(9)} - set(begun))
    saver.delete_thread(left[0])
    put(saver, "2", thread_id=left[1], metadata={"user": "a"})
    put(saver, "2", thread_id=left[2], metadata={"user": "b"})
    put(saver, "1", thread_id="new", metadata={"user": "a"})
    assert sorted(thread_ids(found)) == [left[1], *left[3:]]
    found = saver.threads(status="idle")
    begun = [next(found).thread_id, next(found).thread_id]
    left = [row.thread_id for row in saver.threads() if row.thread_id not in begun]
    for thread_id in left[:2]:
        at = config(thread_id, "", get_tuple(saver, config(thread_id)).checkpoint["id"])
        saver.put_writes(at, [(INTERRUPT, 1)], "task")
    assert sorted(thread_ids(found)) == sorted(left[2:])


@each_saver
def test_invalid_arguments_are_refused_at_once(
    saver: Saver, make_saver: MakeSaver, client: Client, key_prefix: str
) -> None:
    refused: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"status": "busy"}, ValueError),
        ({"filter": {"a": {"$near": 1}}}, ValueError),
        ({"filter": ["a"]}, TypeError),
    ]
    for options, error in refused:
        with pytest.raises(error):
            saver.threads(**options)
    unset = make_saver(client, setup=False, key_prefix=f"{key_prefix}-nowhere")
    with pytest.raises(IndexMissingError):
        list(unset.threads())


@each_saver
def test_the_log_names_a_damaged_document(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(saver, "1")
    [key] = found_keys(redis_client, key_prefix, "thread")
    for damage in ("$.metadata", "$.checkpoint_id", "$.updated_at", "$.thread_id"):
        before = redis_client.execute_command("JSON.GET", key, ".")
        redis_client.execute_command("JSON.DEL", key, damage)
        caplog.clear()
        assert list(saver.threads(limit=5)) == []
        assert [key in record.getMessage() for record in caplog.records] == [True]
        # All threads, which are sorted here.
        assert list(saver.threads()) == []
        redis_client.execute_command("JSON.SET", key, "$", before)
    assert len(list(saver.threads())) == 1


async def test_both_savers_have_threads_and_athreads(
    make_saver: MakeSaver, redis_url: str, key_prefix: str
) -> None:
    writer = make_saver(Client(RedisSaver, 3, False))
    put(writer, "1")
    assert [row.thread_id async for row in writer.athreads(limit=1)] == ["thread"]


# ---- in any order

RUNS = ["r1", "r2", "r3"]
IDS = ["1", "10", "2", "3", "30"]
steps = st.one_of(
    st.tuples(
        *(st.just("put"), st.sampled_from("ab"), st.sampled_from(["", "", "", "sub"])),
        *(st.sampled_from(IDS), st.sampled_from(RUNS)),
    ),
    st.tuples(
        *(st.just("write"), st.sampled_from("ab"), st.sampled_from(["", "", "", "sub"])),
        *(st.sampled_from(IDS), st.sampled_from([INTERRUPT, ERROR, RESUME, "plain"])),
    ),
    st.tuples(st.just("prune"), st.sampled_from("ab")),
    st.tuples(st.just("runs"), st.sampled_from(RUNS)),
    st.tuples(st.just("delete"), st.sampled_from("ab")),
    st.tuples(st.just("copy"), st.sampled_from("ab")),
)


class Model:
    """A model of the rows, computed from all checkpoints that were put."""

    def __init__(self) -> None:
        self.checkpoints: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.writes: dict[tuple[str, str, str], set[str]] = {}

    def rows(self) -> dict[str, tuple[str, dict[str, Any], str]]:
        rows = {}
        for thread in "abc":
            ids = [id_ for owner, ns, id_ in self.checkpoints if owner == thread and not ns]
            if ids:
                name = (thread, "", max(ids))
                writes = self.writes.get(name, set())
                status = (
                    "interrupted" if INTERRUPT in writes else "error" if ERROR in writes else "idle"
                )
                rows[thread] = (max(ids), self.checkpoints[name], status)
        return rows

    def forget(self, name: tuple[str, str, str]) -> None:
        del self.checkpoints[name]
        self.writes.pop(name, None)


@each_saver
@examples(40)
@given(st.lists(steps, max_size=14))
def test_rows_do_not_depend_on_the_order_of_operations(saver: Saver, steps: list[Any]) -> None:
    for thread in "abc":
        saver.delete_thread(thread)
    model = Model()
    kinds: list[dict[Any, Any]] = [model.checkpoints, model.writes]
    for step, (what, *about) in enumerate(steps):
        match what, about:
            case "put", [thread, ns, id_, run]:
                metadata = {"step": step, "run_id": run, "thread": thread}
                put(saver, id_, thread_id=thread, checkpoint_ns=ns, metadata=metadata)
                model.checkpoints[(thread, ns, id_)] = metadata
            case "write", [thread, ns, id_, channel]:
                saver.put_writes(config(thread, ns, id_), [(channel, step)], f"task {step}")
                model.writes.setdefault((thread, ns, id_), set()).add(channel)
            case "prune", [thread]:
                saver.prune([thread])
                for name in list(model.checkpoints):
                    newer = (thread, name[1])
                    if name[0] == thread and any(
                        other[:2] == newer and other[2] > name[2] for other in model.checkpoints
                    ):
                        model.forget(name)
            case "runs", [run]:
                saver.delete_for_runs([run])
                for name, metadata in list(model.checkpoints.items()):
                    if metadata["run_id"] == run:
                        model.forget(name)
            case "delete", [thread]:
                saver.delete_thread(thread)
                for kept in kinds:
                    for name in [name for name in kept if name[0] == thread]:
                        del kept[name]
            case "copy", [thread]:
                saver.delete_thread("c")
                saver.copy_thread(thread, "c")
                for kept in kinds:
                    for name in [name for name in kept if name[0] == "c"]:
                        del kept[name]
                    for name in [name for name in kept if name[0] == thread]:
                        kept[("c", *name[1:])] = kept[name]
        expected = model.rows()
        for status in NO_STATUS:
            found = list(saver.threads(status=status))
            assert {
                row.thread_id: (row.checkpoint_id, row.metadata, row.status) for row in found
            } == {thread: row for thread, row in expected.items() if status in (None, row[2])}
            assert [row.step for row in found] == [row.metadata["step"] for row in found]
            times = [row.updated_at for row in found]
            assert times == sorted(times, reverse=True)
        for thread in "ab":
            rows = saver.threads({"thread": thread}, limit=5)
            assert {row.thread_id for row in rows} == {
                one for one, row in expected.items() if row[1]["thread"] == thread
            }


@strange
def test_the_index_finds_a_thread_by_its_id(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, text: str
) -> None:
    """As docs/search.md says: a backslash before each character of ASCII but letters, digits, _."""
    # A tag ends at a NUL, is divided at \x1f and trimmed, and an empty one is not indexed.
    if not text or text != text.strip() or {"\0", "\x1f"} & {*text}:
        pytest.skip("no tag can be this")
    saver = make_saver(Client(RedisSaver, 3, False))
    put(saver, "1", thread_id=text)
    put(saver, "1", thread_id=f"{text}x")
    quoted = re.sub(r"([^\w])", r"\\\1", text, flags=re.ASCII) if text.isascii() else text
    found = redis_client.execute_command(
        "FT.SEARCH", f"{key_prefix}threads", f"@thread_id:{{{quoted}}}", "NOCONTENT", "DIALECT", 2
    )
    keys = [row["id"] for row in found["results"]] if isinstance(found, dict) else found[1:]
    assert len(keys) == 1
    document = redis_client.execute_command("JSON.GET", keys[0], "$.thread_id")
    assert json.loads(document) == [text]

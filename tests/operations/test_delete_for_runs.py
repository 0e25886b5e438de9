"""delete_for_runs deletes the checkpoints of runs, and nothing that others need."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
import redis
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT

from langgraph_redis_json import IndexMissingError, RedisSaver
from langgraph_redis_json.search.queries import index_name
from tests.support.checkpoints import (
    BIG,
    config,
    each_saver,
    found_keys,
    get,
    ids,
    indexed,
    names,
    put,
    stored,
    strange,
)
from tests.support.clients import Client, MakeSaver, Saver


def put_run(saver: Saver, checkpoint_id: str, run_id: object, **more: Any) -> None:
    metadata = {"run_id": run_id, **more.pop("metadata", {})}
    saver.put_writes(put(saver, checkpoint_id, metadata=metadata, **more), [(ERROR, 1)], "task")


def test_checkpoints_of_the_runs_are_deleted_in_all_threads(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for number, run_id in enumerate(["one", "two", "three", "two", "one", "ONE", "on*"]):
        for thread_id, checkpoint_ns in [("a", ""), ("a", "sub"), ("b", "")]:
            put_run(
                saver,
                f"{number}",
                run_id,
                values={"big": f"{number}{BIG}"},
                versions={"big": number},
                thread_id=thread_id,
                checkpoint_ns=checkpoint_ns,
            )
    assert saver.delete_for_runs(["one", "three", "none"]) is None
    assert ids(saver.list(config("a", ""))) == ["6", "5", "3", "1"]
    assert ids(saver.list(config("a", "sub"))) == ["6", "5", "3", "1"]
    assert ids(saver.list(None)) == [i for i in "6531" for _ in range(3)]
    for kind in ("checkpoint", "writes", "blob"):
        assert len(found_keys(redis_client, key_prefix, kind)) == 3 * 4
    for which in ("checkpoints", "writes"):
        assert indexed(redis_client, index_name(key_prefix, which)) == 3 * 4
    saver.delete_for_runs(["two", "ONE", "on*"])
    assert found_keys(redis_client, key_prefix) == []


@each_saver
@pytest.mark.parametrize("run_ids", [[], ["none"], ["*"], ["on*"], ["", "o", "ONE"]])
def test_other_runs_are_kept(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, run_ids: list[str]
) -> None:
    put_run(saver, "1", "one")
    put_run(saver, "2", None)
    put(saver, "3")
    before = stored(redis_client, key_prefix)
    saver.delete_for_runs(run_ids)
    assert stored(redis_client, key_prefix) == before


@each_saver
@strange
def test_any_run_id_can_be_deleted(saver: Saver, text: str) -> None:
    put_run(saver, "1", f"{text}2")
    put_run(saver, "2", text)
    saver.delete_for_runs([text.replace("\0", "")])  # as LangGraph stores it in metadata
    assert ids(saver.list(None)) == ["1"]


@each_saver
def test_a_run_id_may_be_a_uuid(saver: Saver) -> None:
    # Graphs are given {"run_id": uuid4()}, and store it in metadata as text.
    run_id = UUID("12345678-1234-5678-1234-567812345678")
    put_run(saver, "1", str(run_id))
    put_run(saver, "2", "another")
    run_ids: list[Any] = [run_id]
    saver.delete_for_runs(run_ids)
    assert ids(saver.list(None)) == ["2"]


@each_saver
@pytest.mark.parametrize("run_ids", ["run", [None], [object()]])
def test_invalid_run_ids_are_refused(saver: Saver, run_ids: Any) -> None:
    for checkpoint_id in "runs":
        put_run(saver, checkpoint_id, checkpoint_id)
    with pytest.raises(TypeError, match=r"run.id"):
        saver.delete_for_runs(run_ids)
    assert len(ids(saver.list(None))) == 4


@each_saver
def test_a_blob_that_another_checkpoint_uses_is_kept(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    put_run(saver, "1", "one", values={"shared": BIG, "own": BIG})
    put_run(saver, "2", "two", values={"shared": BIG})
    saver.delete_for_runs(["one"])
    assert get(saver, config())["channel_values"] == {"shared": BIG}
    assert len(found_keys(redis_client, key_prefix, "blob")) == 1
    saver.delete_for_runs(["two"])
    assert found_keys(redis_client, key_prefix) == []


@each_saver
def test_the_thread_document_is_updated(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    put_run(saver, "1", "one", metadata={"step": 1})
    saver.put_writes(config(checkpoint_id="1"), [(INTERRUPT, 1)], "task 2")
    put_run(saver, "2", "two", metadata={"step": 2})
    saver.delete_for_runs(["two"])
    [key] = found_keys(redis_client, key_prefix, "thread")
    found = json.loads(redis_client.execute_command("JSON.GET", key))
    assert (found["checkpoint_id"], found["status"]) == ("1", "interrupted")
    assert found["metadata"] == {"run_id": "one", "step": 1}
    put_run(saver, "3", "three", checkpoint_ns="sub")
    saver.delete_for_runs(["one"])
    assert found_keys(redis_client, key_prefix, "thread") == []
    assert names(saver.list(None)) == [("thread", "sub", "3")]


@each_saver
def test_ancestors_of_a_delta_channel_are_kept(saver: Saver) -> None:
    delta = {"metadata": {"counters_since_delta_snapshot": {"log": (1, 1)}}}
    put_run(saver, "1", "old", values={"log": ["too old"]})
    put_run(saver, "2", "one", values={"log": ["snapshot"]}, parent="1")
    put_run(saver, "3", "one", versions={"log": 2}, parent="2", **delta)
    put_run(saver, "4", "two", versions={"log": 3}, parent="3", **delta)
    put_run(saver, "5", "one", versions={"log": 4}, parent="4", **delta)
    saver.delete_for_runs(["one", "old"])
    assert ids(saver.list(config())) == ["4", "3", "2"]
    history = saver.get_delta_channel_history(config=config(), channels=["log"])
    assert history["log"]["seed"] == ["snapshot"]
    assert len(history["log"]["writes"]) == 0
    saver.delete_for_runs(["two"])
    assert ids(saver.list(config())) == ["3", "2"]
    saver.delete_for_runs(["one"])
    assert ids(saver.list(config())) == []


def test_ancestors_of_a_fork_of_a_long_thread_are_kept(make_saver: MakeSaver) -> None:
    """Many checkpoints share ancestors, and it takes several calls to find these."""
    saver = make_saver(Client(RedisSaver, 3, False))

    def step(number: int, parent: int | None, run_id: str) -> None:
        values = {"log": ["snapshot"]} if parent is None else {}
        deltas = {} if parent is None else {"log": (1, 1)}
        written = put(
            saver,
            f"{number:04}",
            values,
            {"log": number},
            parent=None if parent is None else f"{parent:04}",
            metadata={"run_id": run_id, "counters_since_delta_snapshot": deltas},
        )
        saver.put_writes(written, [("log", number)], "task")

    for number in range(600):
        step(number, number - 1 if number else None, "kept")
    for number in range(700, 711):
        step(number, number - 1 if number > 700 else 100, "deleted")
    step(711, 710, "kept")
    step(800, 3, "deleted")
    before = saver.get_delta_channel_history(config=config(), channels=["log"])
    saver.delete_for_runs(["deleted"])
    assert ids(saver.list(config())) == [
        f"{n:04}" for n in (*range(711, 699, -1), *range(599, -1, -1))
    ]
    given = config(checkpoint_id="0711")
    after = saver.get_delta_channel_history(config=given, channels=["log"])
    assert after["log"]["seed"] == before["log"]["seed"] == ["snapshot"]
    numbers = [*range(101), *range(700, 711)]
    assert after["log"]["writes"] == [("task", "log", number) for number in numbers]


@each_saver
def test_deletion_ends_despite_a_cycle_of_parents(saver: Saver) -> None:
    """Only a person who edits documents can make such a cycle."""
    delta = {"metadata": {"counters_since_delta_snapshot": {"log": (1, 1)}}}
    for number in range(1, 5):
        parent = f"{number % 4 + 1}"
        put_run(saver, f"{number}", f"{number}", versions={"log": number}, parent=parent, **delta)
    saver.delete_for_runs(["1", "2"])
    assert ids(saver.list(config())) == ["4", "3", "2", "1"]
    saver.prune(["thread"])
    assert ids(saver.list(config())) == ["4", "3", "2", "1"]


def test_many_checkpoints_are_deleted(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(Client(RedisSaver, 3, False))
    for number in range(1_200):
        put(saver, f"{number:04}", metadata={"run_id": "run"})
    saver.delete_for_runs(["run"])
    assert found_keys(redis_client, key_prefix) == []


@each_saver
def test_delete_for_runs_before_setup_raises(make_saver: MakeSaver, client: Client) -> None:
    saver = make_saver(client, setup=False)
    put_run(saver, "1", "one")
    with pytest.raises(IndexMissingError, match=r"call setup\(\) once"):
        saver.delete_for_runs(["one"])
    assert ids(saver.list(config())) == ["1"]

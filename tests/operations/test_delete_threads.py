"""delete_threads and prune_threads reach all threads that a search finds, and no others."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis
from langgraph.checkpoint.serde.types import INTERRUPT

from langgraph_redis_json import ThreadSummary
from langgraph_redis_json.operations import threads
from langgraph_redis_json.search.filters import EVERYTHING
from tests.support.checkpoints import BIG, each_saver, found_keys, ids, put
from tests.support.clients import Saver

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def at(milliseconds: float) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)


def fill(saver: Saver, client: redis.Redis, key_prefix: str, count: int = 9) -> None:
    """Threads "0" to "8", which changed 0 to 8 seconds after 1970; the even ones are Ada's. Each
    has three checkpoints."""
    for number in range(count):
        for step in range(3):
            metadata = {"step": step, "user": "ab"[number % 2]}
            put(saver, f"{step}", {"x": BIG}, thread_id=f"{number}", metadata=metadata)
        key = f"{key_prefix}thread:{{{number}}}"
        client.execute_command("JSON.SET", key, "$.updated_at", number * 1000)


def left(saver: Saver) -> list[str]:
    return sorted(row.thread_id for row in saver.threads())


@each_saver
def test_threads_finds_what_changed_in_a_time(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    fill(saver, redis_client, key_prefix)

    def found(**options: Any) -> list[str]:
        for limit in (1, 3, None):
            rows = [row.thread_id for row in saver.threads(**options, limit=limit)]
            whole = rows if limit is None else [row.thread_id for row in saver.threads(**options)]
            assert rows == whole[:limit]
        return rows

    assert found(updated_before=at(3000)) == ["2", "1", "0"]
    assert found(updated_before=at(3000.001)) == ["3", "2", "1", "0"]
    assert found(updated_after=at(6000)) == ["8", "7"]
    assert found(updated_after=at(5999.999)) == ["8", "7", "6"]
    assert found(updated_after=at(1000), updated_before=at(4000)) == ["3", "2"]
    assert found(updated_after=at(1000), updated_before=at(1000)) == []
    assert found(filter={"user": "a"}, updated_before=at(5000)) == ["4", "2", "0"]
    # A time in another timezone is the same time.
    there = at(3000).astimezone(timezone(timedelta(hours=5)))
    assert found(updated_before=there) == ["2", "1", "0"]


@each_saver
def test_python_decides_which_times_match(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(saver, redis_client, key_prefix, 4)
    monkeypatch.setattr(threads.Selection, "expression", lambda self: EVERYTHING)
    assert [row.thread_id for row in saver.threads(updated_before=at(2000))] == ["1", "0"]
    assert [row.thread_id for row in saver.threads(updated_after=at(2000))] == ["3"]


@each_saver
def test_times_must_say_what_they_mean(saver: Saver) -> None:
    for name in ("updated_before", "updated_after"):
        wrong: list[tuple[Any, type[Exception]]] = [
            (datetime(2026, 1, 1), ValueError),
            ("2026-01-01", TypeError),
            (1767225600, TypeError),
        ]
        for value, error in wrong:
            with pytest.raises(error, match="timezone"):
                saver.threads(**{name: value})


@each_saver
def test_threads_of_a_search_are_deleted(
    saver: Saver,
    redis_client: redis.Redis,
    key_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "PAGE", 2)
    fill(saver, redis_client, key_prefix)
    seen: list[ThreadSummary] = []
    options: dict[str, Any] = {"updated_before": at(7000), "on_thread": seen.append}
    before = found_keys(redis_client, key_prefix)
    assert saver.delete_threads({"user": "a"}, dry_run=True, **options) == 4
    assert [row.thread_id for row in seen] == ["6", "4", "2", "0"]
    assert found_keys(redis_client, key_prefix) == before
    assert saver.delete_threads({"user": "a"}, **options) == 4
    assert seen[:4] == seen[4:]
    assert left(saver) == ["1", "3", "5", "7", "8"]
    assert [key for key in found_keys(redis_client, key_prefix) if "{0}" in key] == []
    assert saver.delete_threads({}) == 5
    assert found_keys(redis_client, key_prefix) == []


@each_saver
def test_threads_of_a_status_are_deleted(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    fill(saver, redis_client, key_prefix, 3)
    waiting = put(saver, "1", thread_id="waits")
    saver.put_writes(waiting, [(INTERRUPT, "May I?")], "task")
    assert saver.delete_threads(status="idle") == 3
    assert left(saver) == ["waits"]


@each_saver
def test_a_thread_that_changes_meanwhile_stays(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    fill(saver, redis_client, key_prefix, 4)

    def change_another(row: ThreadSummary) -> None:
        if row.thread_id == "3":
            key = f"{key_prefix}thread:{{1}}"
            redis_client.execute_command("JSON.SET", key, "$.updated_at", 1001)

    assert saver.delete_threads({}, on_thread=change_another) == 3
    assert left(saver) == ["1"]
    assert ids(saver.list({"configurable": {"thread_id": "1"}})) == ["2", "1", "0"]


@each_saver
def test_an_error_of_the_caller_stops_between_two_threads(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    fill(saver, redis_client, key_prefix, 3)

    def stop(row: ThreadSummary) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        saver.delete_threads({}, on_thread=stop)
    assert left(saver) == ["0", "1"]


@each_saver
def test_nothing_is_deleted_by_mistake(saver: Saver) -> None:
    put(saver, "1")
    for method in (saver.delete_threads, saver.prune_threads):
        with pytest.raises(ValueError, match="for all threads"):
            method()
        with pytest.raises(ValueError, match="no status"):
            method(status="gone")
    assert left(saver) == ["thread"]


@each_saver
def test_threads_of_a_search_are_pruned(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    fill(saver, redis_client, key_prefix, 4)
    put(saver, "1", thread_id="0", checkpoint_ns="sub")
    seen: list[tuple[str, int]] = []

    def note(row: ThreadSummary, deleted: int) -> None:
        seen.append((row.thread_id, deleted))

    before = found_keys(redis_client, key_prefix)
    assert saver.prune_threads({"user": "a"}, dry_run=True, on_thread=note) == 4
    assert seen == [("2", 2), ("0", 2)]
    assert found_keys(redis_client, key_prefix) == before
    assert saver.prune_threads({"user": "a"}, on_thread=note) == 4
    assert seen[2:] == seen[:2]
    assert ids(saver.list({"configurable": {"thread_id": "2"}})) == ["2"]
    assert len(ids(saver.list({"configurable": {"thread_id": "1"}}))) == 3
    assert saver.prune_threads({"user": "a"}, updated_before=at(10_000)) == 0

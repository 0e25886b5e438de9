"""Operations on whole threads take several steps; other savers write between any two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
import redis

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.operations import copy_thread as copy_thread_operation
from langgraph_redis_json.operations import delete_for_runs as delete_for_runs_operation
from langgraph_redis_json.operations import delete_thread as delete_thread_operation
from langgraph_redis_json.operations import prune as prune_operation
from langgraph_redis_json.operations import table_of_contents
from tests.support.accounting import account
from tests.support.checkpoints import BIG, checkpoint, config, get_tuple, ids, put
from tests.support.clients import Client, MakeSaver
from tests.support.interleaving import fill, items, run_with_break
from tests.support.plans import execute

SAVER = Client(RedisSaver, 3, False)


def fork(saver: RedisSaver, thread_id: str, parent: str, checkpoint_id: str) -> Any:
    """Continue from a checkpoint: the blob is unchanged, the list grows."""
    found = get_tuple(saver, config(thread_id, "", parent))
    values = dict(found.checkpoint["channel_values"])
    values["list"] = [*values["list"], *items(100)]
    versions = {**found.checkpoint["channel_versions"], "list": checkpoint_id}

    def go_on() -> None:
        made = checkpoint(checkpoint_id, values, versions)
        written = saver.put(found.config, made, {"step": 9}, {"list": checkpoint_id})
        saver.put_writes(written, [("channel", "new")], "task")

    return values, go_on


@pytest.fixture
def savers(make_saver: MakeSaver) -> tuple[RedisSaver, RedisSaver]:
    pair: Any = make_saver(SAVER), make_saver(SAVER, setup=False)
    return pair


def every_step() -> Iterator[int]:
    """Step numbers. The caller stops when the plan has no such step."""
    return count()


PLANS: dict[str, Callable[[RedisSaver, str], Any]] = {
    "prune": lambda saver, thread_id: prune_operation.prune(
        saver._context, [thread_id], "keep_latest"
    ),
    "delete_for_runs": lambda saver, thread_id: delete_for_runs_operation.delete_for_runs(
        saver._context, ["1"]
    ),
    "delete_thread": lambda saver, thread_id: delete_thread_operation.delete_thread(
        saver._context, thread_id
    ),
}


@pytest.mark.parametrize("verb", PLANS)
@pytest.mark.parametrize("parent", ["1", "2", "5", "8"])
@pytest.mark.parametrize("checkpoint_id", ["0", "9"])  # the oldest, the newest
def test_checkpoints_put_during_an_operation_are_complete(
    savers: tuple[RedisSaver, RedisSaver],
    redis_client: redis.Redis,
    key_prefix: str,
    verb: str,
    parent: str,
    checkpoint_id: str,
) -> None:
    deleter, writer = savers
    for step in every_step():
        thread_id = f"thread {step}"
        fill(deleter, thread_id)
        values, go_on = fork(writer, thread_id, parent, checkpoint_id)
        if not run_with_break(deleter, PLANS[verb](deleter, thread_id), step, go_on):
            assert step > 0
            break
        found = deleter.get_tuple(config(thread_id, "", checkpoint_id))
        if found is None:  # put before the names were read, and an old one
            assert step == 0 or verb == "delete_thread"
        else:
            assert found.checkpoint["channel_values"] == values, step
            assert found.pending_writes == [("task", "channel", "new")]
        for each in deleter.list(config(thread_id)):  # no reader misses a document
            assert each.checkpoint["channel_values"].keys() == {"blob", "list"}
        account(redis_client, key_prefix, garbage=True)
        deleter.prune([thread_id])
        assert found is None or deleter.get_tuple(config(thread_id, "")) is not None
        account(redis_client, key_prefix)
        deleter.delete_thread(thread_id)


@pytest.mark.parametrize("other", ["prune", "delete_for_runs"])
def test_two_operations_may_free_documents_at_once(
    savers: tuple[RedisSaver, RedisSaver], redis_client: redis.Redis, key_prefix: str, other: str
) -> None:
    one, two = savers
    for step in every_step():
        thread_id = f"thread {step}"
        fill(one, thread_id)
        newest = one.get_tuple(config(thread_id))

        def meanwhile(thread_id: str = thread_id) -> None:
            two._runner.run(PLANS[other](two, thread_id))

        if not run_with_break(one, PLANS["prune"](one, thread_id), step, meanwhile):
            break
        assert one.get_tuple(config(thread_id)) == newest
        account(redis_client, key_prefix)
        one.delete_thread(thread_id)


def test_an_interrupted_sweep_leaves_nothing_for_good(
    savers: tuple[RedisSaver, RedisSaver], redis_client: redis.Redis, key_prefix: str
) -> None:
    class Cut(Exception):
        pass

    def cut() -> None:
        raise Cut

    one, two = savers
    for step in every_step():
        thread_id = f"thread {step}"
        fill(one, thread_id)
        newest = one.get_tuple(config(thread_id))
        try:
            if not run_with_break(one, PLANS["prune"](one, thread_id), step, cut):
                break
        except Cut:
            pass
        assert two.get_tuple(config(thread_id)) == newest
        values, go_on = fork(two, thread_id, "8", "9")
        go_on()
        assert get_tuple(one, config(thread_id)).checkpoint["channel_values"] == values
        two.prune([thread_id])
        assert get_tuple(one, config(thread_id)).checkpoint["channel_values"] == values
        account(redis_client, key_prefix)
        two.delete_thread(thread_id)
    account(redis_client, key_prefix)


CHANGES: dict[str, Callable[[RedisSaver, str], Any]] = {
    "the source is pruned": lambda saver, step: saver.prune([f"thread {step}"]),
    "the source is deleted": lambda saver, step: saver.delete_thread(f"thread {step}"),
    "the copy is pruned": lambda saver, step: saver.prune([f"copy {step}"]),
    "the copy is deleted": lambda saver, step: saver.delete_thread(f"copy {step}"),
    "both grow": lambda saver, step: [
        fork(saver, f"{which} {step}", "8", "9")[1]()
        for which in ("thread", "copy")
        if saver.get_tuple(config(f"{which} {step}", "", "8"))
    ],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("onto", ["nothing", "a thread"])
def test_a_copy_is_complete_while_threads_change(
    savers: tuple[RedisSaver, RedisSaver],
    redis_client: redis.Redis,
    key_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    onto: str,
) -> None:
    monkeypatch.setattr(copy_thread_operation, "FIRST", 2)
    monkeypatch.setattr(copy_thread_operation, "PAGE", 2)
    monkeypatch.setattr(table_of_contents, "PAGE", 2)
    one, two = savers
    for step in every_step():
        source, copy = f"thread {step}", f"copy {step}"
        fill(one, source)
        if onto == "a thread":
            fill(one, copy)
        whole = {found.checkpoint["id"]: found for found in one.list(config(source))}
        plan = copy_thread_operation.copy_thread(one._context, source, copy)
        if not run_with_break(one, plan, step, lambda: CHANGES[change](two, f"{step}")):  # noqa: B023
            assert len(ids(one.list(config(copy)))) == 8
            account(redis_client, key_prefix)
            break
        for found in [*one.list(config(source)), *one.list(config(copy))]:
            if found.checkpoint["id"] != "9":
                expected = whole[found.checkpoint["id"]]
                assert found.checkpoint == expected.checkpoint
                assert found.pending_writes == expected.pending_writes
        account(redis_client, key_prefix, garbage=True)
        one.prune([source, copy])
        account(redis_client, key_prefix)
        one.prune([source, copy], strategy="delete")
    one.prune([source, copy], strategy="delete")
    account(redis_client, key_prefix)


@pytest.mark.parametrize("onto", ["nothing", "a thread"])
def test_a_copy_can_be_pruned_many_times(
    savers: tuple[RedisSaver, RedisSaver],
    redis_client: redis.Redis,
    key_prefix: str,
    onto: str,
) -> None:
    one, two = savers
    fill(one, "thread")
    if onto == "a thread":
        fill(one, "copy")
    whole = {found.checkpoint["id"]: found for found in one.list(config("thread"))}
    plan = copy_thread_operation.copy_thread(one._context, "thread", "copy")
    commands = next(plan)
    with suppress(StopIteration):
        for step in count():
            if step < 60:
                two.prune(["copy"])
            commands = plan.send(execute(one, commands))
    assert step > 60
    for found in one.list(config("copy")):
        assert found.checkpoint == whole.pop(found.checkpoint["id"]).checkpoint
    assert not whole
    account(redis_client, key_prefix, garbage=True)


def test_two_sweeps_leave_what_a_put_needs(savers: tuple[RedisSaver, RedisSaver]) -> None:
    one, other = savers
    put(one, "0", {"small": 1})
    blob = {"blob": BIG}
    put(one, "1", blob, metadata={"run_id": "run"})
    seen = other.get_tuple(config())
    assert seen is not None

    def marks(commands: Any) -> bool:
        return any("mark" in command for command in commands)

    def frees(commands: Any) -> bool:
        return any("free" in command for command in commands)

    def until(plan: Any, reached: Callable[[Any], bool]) -> Any:
        commands = next(plan)
        while not reached(commands):
            commands = plan.send(execute(one, commands))
        return commands

    def finish(plan: Any, commands: Any) -> None:
        try:
            while True:
                commands = plan.send(execute(one, commands))
        except StopIteration:
            pass

    # Both found no reference. The second one also marked the blob and found no reference again.
    first, second = (
        delete_for_runs_operation.delete_for_runs(one._context, ["run"]),
        prune_operation.prune(one._context, ["thread"], "keep_latest"),
    )
    marking = until(first, marks)
    freeing = until(second, frees)
    other.put(seen.config, checkpoint("2", blob), {"step": 2}, {})
    looking = first.send(execute(one, marking))
    finish(second, freeing)
    finish(first, looking)
    for saver in savers:
        assert get_tuple(saver, config()).checkpoint["channel_values"] == blob

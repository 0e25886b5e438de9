"""get_delta_channel_history returns what LangGraph's InMemorySaver returns."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import ERROR
from langgraph.types import Send

from langgraph_redis_json import DamagedDocumentError, MissingDocumentError, RedisSaver
from langgraph_redis_json.operations import get_delta_channel_history as history_operation
from langgraph_redis_json.operations.get_delta_channel_history import PAGE
from tests.support.checkpoints import BIG, checkpoint, config, each_saver, found_keys, put
from tests.support.clients import Client, Saver
from tests.support.plans import execute


class Both:
    """The saver under test, and an InMemorySaver that gets the same calls."""

    def __init__(self, saver: Saver) -> None:
        self.saver = saver
        self.memory = InMemorySaver()

    def step(
        self,
        checkpoint_id: str,
        parent: str | None,
        values: dict[str, Any] | None = None,
        writes: list[tuple[str, Any]] | None = None,
        checkpoint_ns: str = "",
    ) -> None:
        values = values or {}
        versions = dict.fromkeys(("a", "b", *values), f"{checkpoint_id}.0")
        given = config("thread", checkpoint_ns, checkpoint_id)
        for each in (self.saver, self.memory):
            each.put(
                config("thread", checkpoint_ns, parent),
                checkpoint(checkpoint_id, values, versions),
                {},
                {channel: versions[channel] for channel in values},
            )
            for number, write in enumerate(writes or []):
                # The tasks are written in another order than that of their paths.
                each.put_writes(given, [write, ("other", 1)], f"task {number}", f"{-number % 7}")

    def assert_alike(self, given: Any, channels: list[str]) -> dict[str, Any]:
        found = self.saver.get_delta_channel_history(config=given, channels=channels)
        assert found == self.memory.get_delta_channel_history(config=given, channels=channels)
        assert list(found) == list(dict.fromkeys(channels))
        return dict(found)


@pytest.fixture
def both(saver: Saver) -> Both:
    return Both(saver)


ALL = [["a"], ["b"], ["a", "b"], ["b", "a", "none"], ["none"], [], ["a", "a"]]


def test_history_of_chains_and_forks_matches_in_memory_saver(both: Both) -> None:
    for checkpoint_ns in ("", "sub:1"):
        steps: list[tuple[str, str | None, dict[str, Any]]] = [
            ("1", None, {"a": [f"small{checkpoint_ns}"], "b": BIG}),
            ("2", "1", {}),
            ("3", "2", {"a": BIG, "b": None}),
            ("4", "3", {}),
            ("5", "4", {}),
            ("6", "3", {}),
            ("7", "6", {"b": 0}),
            ("8", "7", {}),
            ("9", None, {}),
        ]
        for checkpoint_id, parent, values in steps:
            writes = [
                (channel, Send(f"{channel}{checkpoint_ns}", [checkpoint_id, number]))
                for number in range(3)
                for channel in "ab"
            ]
            both.step(checkpoint_id, parent, values, writes, checkpoint_ns)
        for checkpoint_id in (None, *"123456789"):
            for channels in ALL:
                both.assert_alike(config("thread", checkpoint_ns, checkpoint_id), channels)
    newest = both.assert_alike(config(checkpoint_ns=None, checkpoint_id="5"), ["a", "b"])
    assert newest["a"]["seed"] == BIG
    assert len(newest["a"]["writes"]) == 6
    both.assert_alike(config("another thread"), ["a"])


@each_saver
def test_history_over_several_pages_matches_in_memory_saver(both: Both) -> None:
    # The seeds are on both sides of a page's end.
    count = 4 * PAGE + 2
    both.step("0000", None, {"c": BIG})
    for number in range(1, count):
        values: dict[str, Any] = {}
        if number == count - PAGE:
            values["a"] = BIG
        if number == count - PAGE - 1:
            values["b"] = number
        writes = [("a", number), ("b", [number]), ("c", {number}), ("d", 1), (ERROR, number)]
        both.step(f"{number:04}", f"{number - 1:04}", values, writes)
    for checkpoint_id in (None, "0000", "0001", f"{count - 2:04}"):
        for channels in (["a"], ["b", "a"], ["c"], ["d"], ["a", "b", "c", "d"]):
            both.assert_alike(config(checkpoint_id=checkpoint_id), channels)
    found = both.assert_alike(config(), ["c", "d"])
    assert len(found["c"]["writes"]) == count - 2
    assert "seed" not in found["d"]


@each_saver
def test_the_chain_ends_at_a_missing_ancestor(both: Both) -> None:
    both.step("2", "1", {}, [("a", 2)])
    both.step("3", "2", {}, [("a", 3)])
    found = both.assert_alike(config(), ["a"])
    assert found["a"]["writes"] == [("task 0", "a", 2)]


@each_saver
def test_any_channel_name_and_id_works(both: Both) -> None:
    channels = ["a:b", "{a}", "$..*", "é\0", "'\"", "", "x" * 2_000]
    before = None
    for number, checkpoint_id in enumerate(["0:{", "1;}~", "2|é", "3"]):
        values = dict.fromkeys(channels[number::4], f"{number}{BIG}")
        both.step(checkpoint_id, before, values, [(channel, number) for channel in channels])
        before = checkpoint_id
    for checkpoint_id in ("0:{", "1;}~", "2|é", "3"):
        both.assert_alike(config(checkpoint_id=checkpoint_id), channels)


@each_saver
def test_the_error_names_a_damaged_ancestor(
    both: Both, redis_client: redis.Redis, key_prefix: str
) -> None:
    for number in range(1, 4):
        both.step(f"{number}", f"{number - 1}")
    key = found_keys(redis_client, key_prefix, "checkpoint")[0]
    redis_client.execute_command("JSON.SET", key, "$.format", 9)
    with pytest.raises(DamagedDocumentError) as raised:
        both.saver.get_delta_channel_history(config=config(), channels=["a"])
    assert key in str(raised.value)


@pytest.mark.parametrize("client", [Client(RedisSaver, 3, False)], indirect=True)
@pytest.mark.parametrize("asked", [None, "kept", "pruned"])
def test_history_during_a_prune_is_complete_or_raises(saver: RedisSaver, asked: str | None) -> None:
    count = 2 * PAGE
    put(saver, "000", {"a": 0}, {"a": 0})
    for number in range(1, count):
        delta = {"counters_since_delta_snapshot": {"a": (1, 1)}}
        parent = f"{number - 1:03}"
        made = put(saver, f"{number:03}", versions={"a": number}, parent=parent, metadata=delta)
        saver.put_writes(made, [("a", number)], "task")

    def snapshot() -> None:
        parent, newest = f"{count:03}", f"{count + 1:03}"
        put(saver, parent, {"a": "all"}, {"a": count}, parent=f"{count - 1:03}")
        put(saver, newest, versions={"a": count + 1}, parent=parent, metadata=delta)
        saver.prune(["thread"])

    place = {None: None, "kept": f"{count + 1:03}", "pruned": f"{count - 1:03}"}[asked]
    plan = history_operation.get_delta_channel_history(
        saver._context, config("thread", "", place), ["a"]
    )

    def history() -> Any:
        try:
            commands = next(plan)
            if asked == "kept":
                snapshot()
            commands = plan.send(execute(saver, commands))
            if asked != "kept":
                snapshot()
            while True:
                commands = plan.send(execute(saver, commands))
        except StopIteration as done:
            return done.value

    if asked == "pruned":
        with pytest.raises(MissingDocumentError):
            history()
    else:
        assert history() == {"a": {"writes": [], "seed": "all"}}


@each_saver
def test_history_of_a_pruned_checkpoint_raises(saver: Saver) -> None:
    """Another process with keep_last may prune between the two calls of graph.get_state()."""
    for number in range(1, 4):
        made = put(saver, f"{number}", {"a": 1}, parent=f"{number - 1}" if number > 1 else None)
        saver.put_writes(made, [("b", number)], "task")
    found = saver.get_tuple(config())
    assert found is not None
    put(saver, "4", {"a": 1}, parent="3")
    saver.prune(["thread"])
    with pytest.raises(MissingDocumentError, match="pruned meanwhile, read it again"):
        saver.get_delta_channel_history(config=found.config, channels=["b"])

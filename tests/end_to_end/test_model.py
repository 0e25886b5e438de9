"""Random sequences of operations give the same results as LangGraph's InMemorySaver.

InMemorySaver has no copy_thread, prune and delete_for_runs; `Model` adds them in few lines.
Two differences are meant: in filters True is not 1, and a listing is newest first over
everything listed, where InMemorySaver's goes thread by thread and namespace by namespace.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from itertools import count
from typing import Any

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from langgraph.checkpoint.base import ChannelVersions, CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, SCHEDULED, _DeltaSnapshot
from redis import Redis, RedisCluster

from langgraph_redis_json import (
    AsyncRedisSaver,
    CoordinatorMissingError,
    MissingDocumentError,
    RedisSaver,
)
from tests.support.checkpoints import config
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.strategies import examples

# Names that carelessly built keys would confuse, or that a
# search index cuts, folds or escapes.
THREADS = ["a", "a:b", "b", "{a}", "A", "é", "a|b", ""]
NAMESPACES = ["", "a", "b", "a:b", "b:a|{1}", "é" * 300]
IDS = ["1", "10", "2", "A", "a", "a:b", "a;b", "a|b", "{a}", "~", "é", "x" * 300, "a b"]
RUNS = ["r", "R", "r:1", "é"]

DELTA = "delta"
CHANNELS = ["c", "a:b", "é", DELTA]
CHANGES = ["same", "same", "small", "large", "emptied", "edited"]
CHANGES += ["grown", "grown", "grown", "trimmed", "trimmed"]
ITEM = {"text": "y" * 300}

METADATA = {
    "source": ["loop", "input", "fork"],
    "step": [-1, 0, 1],
    "run_id": RUNS,
    "user": ["Ann", "ann", "a,b", " ", "", None],
    "any.$[key]": [1, 1.0, True, "1", {"a": [1, None]}, {"a": [True, None]}, [], 0.1 + 0.2],
}


def pairs(**also: Any) -> st.SearchStrategy[dict[str, Any]]:
    one_of_each = {key: st.sampled_from(values) for key, values in {**METADATA, **also}.items()}
    return st.sets(st.sampled_from(list(one_of_each)), max_size=3).flatmap(
        lambda keys: st.fixed_dictionaries({key: one_of_each[key] for key in sorted(keys)})
    )


def same_json(left: Any, right: Any) -> bool:
    """Equality in which True is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    return isinstance(left, bool) is isinstance(right, bool) and left == right


class Model(InMemorySaver):
    def versions(self, thread: str, ns: str, id_: str) -> dict[str, Any]:
        found: dict[str, Any] = self.serde.loads_typed(self.storage[thread][ns][id_][0])
        return found["channel_versions"]

    def has_value(self, thread: str, ns: str, channel: str, version: Any) -> bool:
        return self.blobs.get((thread, ns, channel, version), ("empty",))[0] != "empty"

    def copy_thread(self, source: str, target: str) -> None:
        for ns, checkpoints in self.storage.get(source, {}).items():
            self.storage[target][ns].update(checkpoints)
            for id_ in checkpoints:
                self.writes.pop((target, ns, id_), None)
        for key, writes in [*self.writes.items()]:
            if key[0] == source:
                # A checkpoint's writes are copied as a whole, as the checkpoint is.
                self.writes[(target, *key[1:])] = {**writes}
        for (thread, *rest), blob in [*self.blobs.items()]:
            if thread == source:
                self.blobs[(target, *rest)] = blob  # type: ignore[index]

    def keep_latest(self, thread: str) -> None:
        newest = {(ns, max(ids)) for ns, ids in self.storage.get(thread, {}).items() if ids}
        for ns, newest_id in newest:
            for key in [*self.writes]:
                late = key[:2] == (thread, ns) and key[2] < newest_id
                if late and key[2] not in self.storage[thread][ns]:
                    del self.writes[key]
        self.keep(thread, newest)

    def delete_for_runs(self, runs: Iterable[str]) -> None:
        for thread in [*self.storage]:
            self.keep(
                thread,
                {
                    (ns, id_)
                    for ns, checkpoints in self.storage[thread].items()
                    for id_, (_, metadata, _) in checkpoints.items()
                    if self.serde.loads_typed(metadata).get("run_id") not in runs
                },
            )

    def keep(self, thread: str, kept: set[tuple[str, str]]) -> None:
        """Delete all but these checkpoints, and those that their delta channels need."""
        needed = set(kept)
        for ns, id_ in kept:
            at: str | None = id_
            while at in self.storage[thread][ns]:
                needed.add((ns, at))
                version = self.versions(thread, ns, at).get(DELTA)
                if self.has_value(thread, ns, DELTA, version) or (at == id_ and version is None):
                    break
                at = self.storage[thread][ns][at][2]
        gone = False
        for ns, checkpoints in self.storage.get(thread, {}).items():
            for id_ in [*checkpoints]:
                if (ns, id_) not in needed:
                    gone = True
                    del checkpoints[id_]
                    self.writes.pop((thread, ns, id_), None)
        if gone:
            used = {
                (thread, ns, *version)
                for ns, ids in self.storage[thread].items()
                for id_ in ids
                for version in self.versions(thread, ns, id_).items()
            }
            for blob in [*self.blobs]:
                if blob[0] == thread and blob not in used:
                    del self.blobs[blob]


def row(found: CheckpointTuple | None) -> Any:
    """All parts of a checkpoint, for comparison."""
    if found is None:
        return None
    parent = found.parent_config and found.parent_config["configurable"]
    configurable = found.config["configurable"]
    return {
        **{name: configurable[name] for name in ("thread_id", "checkpoint_ns", "checkpoint_id")},
        "parent": parent and {**parent},
        "checkpoint": found.checkpoint,
        "metadata": found.metadata,
        "pending_writes": found.pending_writes,
    }


def newest_first(rows: Iterable[CheckpointTuple]) -> list[Any]:
    names = ("checkpoint_id", "checkpoint_ns", "thread_id")
    return sorted(map(row, rows), key=lambda r: [r[name] for name in names], reverse=True)


# The names that the sequence has chosen.
threads = st.runner().flatmap(lambda machine: st.sampled_from(machine.threads))
namespaces = st.runner().flatmap(lambda machine: st.sampled_from(machine.namespaces))
ids = st.runner().flatmap(lambda machine: st.sampled_from(machine.ids))
via = st.integers(0, 1)
maybe: Callable[[Any], Any] = lambda some: st.one_of(st.none(), some)  # noqa: E731


NUMBERS = count(1)
"""Of versions and values. Those of one example are not used again in the next one: the savers stay,
and take a version of a channel for one value, as `get_next_version` makes it."""


class Machine(RuleBasedStateMachine):
    across = True
    """Whether the server can search all threads."""

    def __init__(self, savers: list[Saver], client: Redis | RedisCluster, prefix: str) -> None:
        super().__init__()
        self.savers, self.client, self.prefix = savers, client, prefix
        self.model = Model()
        self.next = NUMBERS

    @initialize(
        names=st.tuples(
            *(
                st.permutations(all_of).map(operator.itemgetter(slice(few)))
                for all_of, few in ((THREADS, 2), (NAMESPACES, 2), (IDS, 4))
            )
        )
    )
    def choose(self, names: Any) -> None:
        """Few names, so that operations often use the same ones."""
        self.threads, self.namespaces, self.ids = names

    @rule(
        via=via,
        puts=st.lists(
            st.tuples(
                *(threads, namespaces, ids, st.sampled_from([0, 0, 0, 1, 9])),
                st.fixed_dictionaries({c: st.sampled_from(CHANGES) for c in CHANNELS}),
                pairs(),
            ),
            min_size=1,
            max_size=5,
        ),
    )
    def put(self, via: int, puts: list[Any]) -> None:
        for one in puts:
            self.put_one(self.savers[via], *one)

    def put_one(
        self,
        saver: Saver,
        thread: str,
        ns: str,
        id_: str,
        child_of: int,
        changes: dict[str, str],
        metadata: dict[str, Any],
    ) -> None:
        """A checkpoint as LangGraph makes it: unchanged channels keep their versions."""
        older = sorted(i for i in self.model.storage[thread][ns] if i < id_)[::-1]
        config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "own": "é"}}
        versions: dict[str, Any] = {}
        values: dict[str, Any] = {}
        if child_of < len(older):
            config["configurable"]["checkpoint_id"] = older[child_of]
            parent = self.model.get_tuple(config)
            assert parent is not None
            versions |= parent.checkpoint["channel_versions"]
            values |= parent.checkpoint["channel_values"]
            values.pop(DELTA, None)
        new_versions: ChannelVersions = {}
        for channel, change in changes.items():
            if change != "same":
                new_versions[channel] = version = f"{next(self.next):08}.5"
                values[channel] = self.changed(change, version, values.pop(channel, []))
                if change == "emptied":
                    del values[channel]
                elif channel == DELTA:
                    values[channel] = _DeltaSnapshot(values[channel])
        versions |= new_versions
        if DELTA in versions:
            metadata = {**metadata, "counters_since_delta_snapshot": {DELTA: [0, 1]}}
        checkpoint: Any = {
            "v": 4,
            "id": id_,
            "ts": "2024-01-01T00:00:00+00:00",
            "channel_values": values,
            "channel_versions": versions,
            "versions_seen": {"node": {**new_versions}},
            "updated_channels": [*new_versions],
        }
        given: Any = metadata
        stored = saver.put(config, checkpoint.copy(), given, new_versions)
        # LangGraph still has values that were deleted, and gives them to Redis again.
        lost = {
            c: versions[c] for c in values if not self.model.has_value(thread, ns, c, versions[c])
        }
        assert stored == self.model.put(config, checkpoint, given, {**lost, **new_versions})

    @staticmethod
    def changed(change: str, version: str, before: list[Any]) -> list[Any]:
        """A list channel after a step, as chat messages change."""
        match change:
            case "small":
                return [version]
            case "large":
                return [version, {"x": "y" * 600}]
            case "grown":
                return [*before, *({**ITEM, "id": f"{version}-{n}"} for n in range(6))]
            case "edited":
                return [*before[:1], {**ITEM, "id": version}, *before[2:]]
        return before[-2:]

    @rule(
        via=via,
        calls=st.lists(
            st.tuples(
                *(threads, namespaces, ids),
                st.sampled_from(["t", "T", "t:1", "é"]),
                st.sampled_from(["", "p", "~__pregel_pull, a", "~b"]),
                st.lists(
                    st.sampled_from([*CHANNELS, "c", DELTA, ERROR, INTERRUPT, RESUME, SCHEDULED]),
                    max_size=4,
                ),
            ),
            min_size=1,
            max_size=4,
        ),
    )
    def put_writes(self, via: int, calls: list[Any]) -> None:
        """Writes may arrive before or after their checkpoint, and again for the same task."""
        for thread, ns, id_, task, path, channels in calls:
            config: Any = {
                "configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id_}
            }
            writes = [(channel, [next(self.next), {"$float": b"x"}]) for channel in channels]
            for saver in (self.savers[via], self.model):
                saver.put_writes(config, writes, task, path)

    @rule(via=via, source=threads, copy=threads)
    def copy_thread(self, via: int, source: str, copy: str) -> None:
        if source != copy:
            self.savers[via].copy_thread(source, copy)
            self.model.copy_thread(source, copy)

    @precondition(lambda self: len(list(self.model.list(None))) > 5)
    @rule(
        via=via,
        how=st.sampled_from(["prune", "prune", "runs", "runs", "runs", "thread", "threads"]),
        some=st.lists(threads, min_size=1, max_size=2),
        runs=st.lists(st.sampled_from([*RUNS, "none such"]), max_size=2),
    )
    def delete(self, via: int, how: str, some: list[str], runs: list[str]) -> None:
        saver, model = self.savers[via], self.model
        if how == "prune":
            saver.prune(some)
            for thread in some:
                model.keep_latest(thread)
        elif how == "runs" and not self.across:
            with pytest.raises(CoordinatorMissingError) if runs else nullcontext():
                saver.delete_for_runs(runs)
        elif how == "runs":
            saver.delete_for_runs(runs)
            model.delete_for_runs(runs)
        elif how == "thread":
            saver.delete_thread(some[0])
            model.delete_thread(some[0])
        else:
            saver.prune(some, strategy="delete")
            for thread in some:
                model.delete_thread(thread)

    @rule(via=via, thread=threads, ns=maybe(namespaces), id_=maybe(ids))
    def get_tuple(self, via: int, thread: str, ns: str | None, id_: str | None) -> None:
        config: Any = {"configurable": {"thread_id": thread}}
        if ns is not None:
            config["configurable"]["checkpoint_ns"] = ns
        if id_ is not None:
            config["configurable"]["checkpoint_id"] = id_
        # InMemorySaver gives the caller's config back, which may lack the namespace.
        whole: Any = {"configurable": {"checkpoint_ns": "", **config["configurable"]}}
        assert row(self.savers[via].get_tuple(config)) == row(self.model.get_tuple(whole))

    @rule(via=via, thread=threads, ns=namespaces, id_=maybe(ids))
    def get_delta_channel_history(self, via: int, thread: str, ns: str, id_: str | None) -> None:
        config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}
        if id_ is not None:
            config["configurable"]["checkpoint_id"] = id_
        channels = [DELTA, "c"]
        if id_ is not None and self.model.get_tuple(config) is None:
            # InMemorySaver returns no history for a checkpoint that does not exist.
            with pytest.raises(MissingDocumentError):
                self.savers[via].get_delta_channel_history(config=config, channels=channels)
            return
        found, expected = (
            saver.get_delta_channel_history(config=config, channels=channels)
            for saver in (self.savers[via], self.model)
        )
        assert found == expected

    @rule(
        via=via,
        thread=maybe(threads),
        ns=maybe(namespaces),
        id_=maybe(ids) | st.none(),
        before=maybe(ids),
        filter=st.none() | pairs(absent=[None, 1]) | st.integers(0, 9),
        limit=maybe(st.integers(0, 5)),
    )
    def list_some(
        self,
        via: int,
        thread: str | None,
        ns: str | None,
        id_: str | None,
        before: str | None,
        filter: dict[str, Any] | int | None,
        limit: int | None,
    ) -> None:
        config: Any = None
        if thread is not None:
            given = {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id_}
            config = {"configurable": {k: v for k, v in given.items() if v is not None}}
        if isinstance(filter, int):  # a pair that some checkpoint has
            some = [one["metadata"] for one in newest_first(self.model.list(None))] or [{}]
            filter = dict([*some[filter % len(some)].items()][:1])
        if config is None and not self.across and limit != 0:
            with pytest.raises(CoordinatorMissingError):
                list(self.savers[via].list(None, filter=filter, limit=limit))
            return
        earlier: Any = before and {"configurable": {"checkpoint_id": before}}
        expected = [
            one
            for one in newest_first(self.model.list(config, before=earlier))
            if all(same_json(one["metadata"].get(k), v) for k, v in (filter or {}).items())
        ]
        found = self.savers[via].list(config, filter=filter, before=earlier, limit=limit)
        rows = [*map(row, found)]
        if limit is None:
            assert rows == expected
        else:
            # A limit may cut anywhere among checkpoints of the same id.
            assert [r["checkpoint_id"] for r in rows] == [
                r["checkpoint_id"] for r in expected[:limit]
            ]
            assert all(r in expected for r in rows)

    @invariant()
    def all_is_the_same(self) -> None:
        expected = newest_first(self.model.list(None))
        for saver in self.savers:
            if self.across:
                assert [*map(row, saver.list(None))] == expected
            else:
                rows = [one for thread in self.threads for one in saver.list(config(thread, None))]
                assert newest_first(rows) == expected

    def teardown(self) -> None:
        for thread in THREADS:
            self.savers[0].delete_thread(thread)
        assert list(self.client.scan_iter(f"{self.prefix}*", count=10_000)) == []


def run_machine(make: Callable[[], RuleBasedStateMachine], settings: settings) -> None:
    run: Any = run_state_machine_as_test  # takes a function, though it is annotated with a class
    run(make, settings=settings)


def test_any_sequence_of_operations_matches_in_memory_saver(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    """Both savers use the same documents, so each sees the other's changes."""
    savers = [make_saver(Client(kind, 3, False)) for kind in (RedisSaver, AsyncRedisSaver)]
    run_machine(
        lambda: Machine(savers, redis_client, key_prefix),
        settings=examples(60, stateful_step_count=40),
    )

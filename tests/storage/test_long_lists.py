"""Long listings are complete, in order, take few trips, and need constant memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.client.clients import SearchNode
from langgraph_redis_json.client.plan import Command, Replies
from langgraph_redis_json.client.sync_runner import SyncRunner
from langgraph_redis_json.operations import list as list_operation
from langgraph_redis_json.operations import put as put_operation
from langgraph_redis_json.search import filters, queries
from langgraph_redis_json.storage import keys
from tests.support.checkpoints import checkpoint, config, ids, put
from tests.support.clients import Client, MakeSaver
from tests.support.plans import execute


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 and 5,000 otherwise, so that these lists count as long."""
    monkeypatch.setattr(list_operation, "MOST_NAMES", 300)
    monkeypatch.setattr(list_operation, "NAMES", 100)
    monkeypatch.setattr(queries, "NAMES", 100)


class Counting(SyncRunner):
    """Counts the trips."""

    trips = 0

    def execute(self, client: Any, commands: Sequence[Command], searches: SearchNode) -> Replies:
        self.trips += 1
        return super().execute(client, commands, searches)


def fill(saver: RedisSaver, count: int, of: str) -> list[str]:
    """Put checkpoints in turn in the root and in 40 subgraphs; returns their ids, newest
    first."""
    made = [f"{number:06}" for number in range(count)]
    for first in range(0, count, 500):
        begun = []
        for number in range(first, min(first + 500, count)):
            ns = f"sub:{number % 40}" if number % 2 else ""
            given: Any = {"of": of, "n": number, "even": number % 2 == 0}
            begun.append(
                put_operation.put(
                    saver._context, config(of, ns), checkpoint(made[number]), given, {}
                )
            )
        execute(saver, [command for plan in begun for command in next(plan)])
    return made[::-1]


@pytest.fixture
def saver(redis_url: str, key_prefix: str) -> Iterator[RedisSaver]:
    with RedisSaver(redis_url, key_prefix=key_prefix, metadata_fields={"n": "numeric"}) as made:
        made.setup()
        yield made


ASKED: dict[str, tuple[Any, dict[str, Any], int]] = {
    "a thread": (config("long", None), {}, 1),
    "a namespace": (config("long", ""), {}, 2),
    "a filter": (None, {"filter": {"of": "long"}}, 1),
    "a filter in a thread": (config("long", None), {"filter": {"of": {"$in": ["long"]}}}, 1),
    "a range": (None, {"filter": {"n": {"$gte": 0}, "of": "long"}}, 1),
    "everything": (None, {}, 1),
    "what only Python can tell": (None, {"filter": {"even": {"$ne": False}}}, 2),
}


def test_a_long_listing_is_complete_in_order_and_takes_few_trips(saver: RedisSaver) -> None:
    saver._runner = runner = Counting(saver._runner.client, owned=True)
    count = 1_000
    newest_first = fill(saver, count, "long")
    for what, (target, options, every) in ASKED.items():
        expected = newest_first[1::2] if every == 2 else newest_first
        runner.trips = 0
        assert ids(saver.list(target, **options)) == expected, what
        # Each round looks through all names, and then there are the pages of checkpoints.
        rounds = count // list_operation.MOST_NAMES + 1
        names = rounds * (count // list_operation.NAMES + 1)
        assert runner.trips <= names + count / list_operation.PAGE + rounds, what
        for limit in (299, 300, 301, 999):
            assert ids(saver.list(target, **options, limit=limit)) == expected[:limit], what
        middle = config(checkpoint_id=newest_first[500])
        assert ids(saver.list(target, **options, before=middle)) == [
            found for found in expected if found < newest_first[500]
        ], what


def test_all_checkpoints_with_the_same_id_are_listed(saver: RedisSaver) -> None:
    for thread in range(400):
        put(saver, "same", thread_id=f"{thread}")
    for limit in (None, 50, 299, 301, 400):
        found = [row.config["configurable"]["thread_id"] for row in saver.list(None, limit=limit)]
        assert len(found) == len(set(found)) == (limit or 400)
    # A search that is cut, finds too few among these, and has to go on among the same ids.
    for thread in range(400):
        metadata = {"key": "red" if thread % 2 else b"may be red"}
        put(saver, "same", thread_id=f"{thread}", metadata={**metadata, "step": 1})
    assert len(ids(saver.list(None, filter={"key": "red"}, limit=200))) == 200
    # One that is longer than what is sorted.
    found = ids(saver.list(None, filter={"step": {"$gte": 1}}, limit=399))
    assert len(found) == 399


def test_memory_does_not_grow_with_the_list(saver: RedisSaver) -> None:
    some = ("a thread", "a filter", "what only Python can tell")
    peaks: dict[str, list[int]] = {what: [] for what in some}
    for count in (700, 2_800):
        fill(saver, count, "long")
        for what in some:
            target, options, _ = ASKED[what]
            tracemalloc.start()
            for _ in saver.list(target, **options):
                pass
            peaks[what].append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    for what, (short, long) in peaks.items():
        assert long < 1.5 * short, what


def test_checkpoints_put_during_a_listing_do_not_disturb_it(
    make_saver: MakeSaver, saver: RedisSaver
) -> None:
    """All earlier checkpoints are listed once, whatever is written meanwhile."""
    other = make_saver(Client(RedisSaver, 3, False), setup=False)
    newest_first = fill(saver, 1_000, "long")
    for target, options, _ in ASKED.values():
        if target is not None and target["configurable"].get("checkpoint_ns") == "":
            continue
        if "even" in options.get("filter", {}):
            continue
        found = []
        for number, row in enumerate(saver.list(target, **options)):
            found.append(row.checkpoint["id"])
            if number % 100 == 0 and number < 1_000:
                # An unchanged checkpoint, and a new one.
                old = int(newest_first[-1 - number])
                ns = f"sub:{old % 40}" if old % 2 else ""
                given = {"of": "long", "n": old, "even": old % 2 == 0}
                put(other, f"{old:06}", thread_id="long", checkpoint_ns=ns, metadata=given)
                put(other, f"{number:06}-new", thread_id="new", metadata={"n": 1})
        assert len(found) == len(set(found))
        assert [one for one in found if not one.endswith("new")] == newest_first
        other.delete_thread("new")


def test_a_document_rewritten_during_a_listing_is_listed(saver: RedisSaver) -> None:
    """A search for * would miss it, because a rewritten document gets a new internal id."""
    newest_first = fill(saver, 1_000, "long")
    plan = list_operation.search_sort_keys(saver._context, filters.Filter().expression())
    commands = next(plan)
    try:
        for first in range(0, 1_000, 100):
            replies = execute(saver, commands)
            for number in range(first + 100, 1_000, 97):
                ns = f"sub:{number % 40}" if number % 2 else ""
                put(
                    saver,
                    f"{number:06}",
                    thread_id="long",
                    checkpoint_ns=ns,
                    metadata={"n": number},
                )
            commands = plan.send(replies)
        while True:
            commands = plan.send(execute(saver, commands))
    except StopIteration as done:
        found = [keys.identity_of_sort_key(one).checkpoint_id for one in done.value]
    assert found == newest_first

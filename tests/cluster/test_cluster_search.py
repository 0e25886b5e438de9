"""Search through the coordinator of a Redis 8 cluster: whole answers, or an error."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError

from langgraph_redis_json import (
    AsyncRedisSaver,
    IndexIncompleteError,
    RedisSaver,
)
from langgraph_redis_json.search import queries
from tests.cluster.conftest import URL
from tests.end_to_end.test_model import Machine, run_machine
from tests.support.checkpoints import checkpoint, config, put
from tests.support.clients import ACL_USER, Client, MakeSaver, Saver, acl_for
from tests.support.live_cluster import LiveCluster
from tests.support.project import ROOT
from tests.support.strategies import examples
from tests.support.waiting import wait_until

SAVER = Client(RedisSaver, 3, False)

CLIENTS = [
    Client(RedisSaver, 2, True),
    Client(RedisSaver, 3, False),
    Client(AsyncRedisSaver, 2, False),
    Client(AsyncRedisSaver, 3, True),
]


# ---- the same answers as a single server


@pytest.mark.parametrize("client", CLIENTS, ids=str)
async def test_both_savers_conform(client: Client, key_prefix: str) -> None:
    @checkpointer_test(name=client.saver.__name__)
    async def checkpointer() -> AsyncIterator[Saver]:
        if client.saver is RedisSaver:
            with RedisCluster.from_url(URL, **client.options()) as one:
                made = RedisSaver(one, key_prefix=key_prefix)
                made.setup()
                yield made
        else:
            async with AsyncRedisCluster.from_url(URL, **client.options()) as other:
                saver = AsyncRedisSaver(other, key_prefix=key_prefix)
                await saver.setup()
                yield saver

    report = await validate(checkpointer)
    assert len(report.results) == 8
    for name, result in report.results.items():
        assert result.failures == [], name
        assert result.tests_passed > 0, name


def test_any_sequence_of_operations_matches_in_memory_saver(
    make_saver: MakeSaver, cluster_client: RedisCluster, key_prefix: str, layout: str
) -> None:
    savers = [make_saver(Client(kind, 3, False)) for kind in (RedisSaver, AsyncRedisSaver)]
    run_machine(
        lambda: Machine(savers, cluster_client, key_prefix),
        settings=examples(6, stateful_step_count=40),
    )


QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("list", {"filter": filter, "limit": limit})
        for filter in (
            None,
            {"user": "u1"},
            {"user": "u1", "source": "loop"},
            {"step": 2},
            {"step": {"$gte": 2}},
            {"score": {"$lt": 0.5}},
            {"score": {"$gte": 0.25, "$lt": 0.75}},
            {"user": {"$in": ["u1", "u2"]}},
            {"user": {"$ne": "u1"}},
            {"nobody": None, "step": 1},
            {"user": "nobody"},
        )
        for limit in (None, 1, 20, 150)
    ),
    *(
        ("threads", {"filter": filter, "status": status, "limit": limit})
        for filter in (None, {"user": "u1"}, {"score": {"$gte": 0.5}})
        for status in (None, "interrupted", "error", "idle")
        for limit in (None, 7, 100)
    ),
    ("list", {"before": config(checkpoint_id="00000100")}),
    ("list", {"before": config(checkpoint_id="00000100"), "limit": 9}),
]


@pytest.fixture
def filled(make_saver: MakeSaver, redis_url: str, key_prefix: str) -> Iterator[list[Saver]]:
    """Savers of the cluster, and at last one of a single server, with the same checkpoints."""
    fields: Any = {"metadata_fields": {"score": "numeric"}}
    savers = [make_saver(client, **fields) for client in CLIENTS]
    with RedisSaver(redis_url, key_prefix=key_prefix, **fields) as single:
        single.setup()
        choose = random.Random(1)
        for number in range(240):
            thread_id = f"thread-{number % 60}"
            metadata = {
                "user": f"u{number % 60 % 5}",
                "source": choose.choice(["loop", "input"]),
                "step": number // 60,
                "score": choose.random(),
            }
            special = choose.choice([None, None, INTERRUPT, ERROR])
            for saver in (savers[number % len(savers)], single):
                at = put(saver, f"{number:08}", thread_id=thread_id, metadata=metadata)
                if special:
                    saver.put_writes(at, [(special, "why")], "task")
        yield [*savers, single]
        for number in range(60):
            single.delete_thread(f"thread-{number}")


def test_every_answer_equals_that_of_a_single_server(
    filled: list[Saver], layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "NAMES", 50)  # so that cursors are read
    assert len(QUESTIONS) >= 50
    for method, options in QUESTIONS:
        *answers, expected = [rows(saver, method, options) for saver in filled]
        for answer in answers:
            if method == "threads" and options["limit"] is not None:
                # Two servers do not agree on the millisecond in which a thread changed.
                assert len(answer) == len({*answer}) == len(expected), (layout, options)
                everything = rows(filled[-1], method, {**options, "limit": None})
                assert {*answer} <= {*everything}, (layout, options)
            elif method == "threads":
                assert sorted(answer) == sorted(expected), (layout, options)
            else:
                assert answer == expected, (layout, options)


def rows(saver: Saver, method: str, options: dict[str, Any]) -> list[Any]:
    if method == "list":
        listed = saver.list(None, **options)
        return [(one.config["configurable"]["thread_id"], one.checkpoint["id"]) for one in listed]
    return [(one.thread_id, one.status, one.checkpoint_id) for one in saver.threads(**options)]


@pytest.mark.parametrize("newest_first", [False, True])
def test_messages_are_found_on_all_nodes(
    make_saver: MakeSaver, layout: str, newest_first: bool
) -> None:
    savers = [make_saver(client, message_search=True) for client in CLIENTS]
    for number in range(60):
        text = f"the parcel to Lisbon is number {number}" if number % 3 else "no answer"
        message = HumanMessage(text, id=f"{number}")
        put(savers[number % 4], "1", {"messages": [message]}, thread_id=f"{number}")
    parcels = {f"{number}" for number in range(60) if number % 3}
    for saver in savers:
        for limit in (None, 5, 39, 40, 100):
            found = [*saver.search_messages("parcel", newest_first=newest_first, limit=limit)]
            ids = {row.message_id for row in found}
            assert len(found) == len(ids) == min(limit or 40, 40)
            assert ids <= parcels


# ---- setup


SETUP = """
import sys
from redis.cluster import RedisCluster
from langgraph_redis_json import RedisSaver
with RedisCluster.from_url(sys.argv[1]) as client:
    fields = {f"field_{number}": "numeric" for number in map(int, sys.argv[3:])}
    RedisSaver(client, key_prefix=sys.argv[2], metadata_fields=fields).setup()
"""


def test_eight_processes_may_call_setup_at_once(
    key_prefix: str, cluster_client: RedisCluster, live: LiveCluster, layout: str
) -> None:
    """Each declares other fields; afterwards all are there, on every node."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SETUP, URL, key_prefix, f"{number}", f"{number + 1}"],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, "")
    for node in live.primaries:
        info = cluster_client.execute_command(
            "FT.INFO", f"{key_prefix}checkpoints", target_nodes=node
        )
        assert {f"field_{number}" for number in range(9)} <= {*json_names(info)}
        names = cluster_client.execute_command("FT._LIST", target_nodes=node)
        assert len([name for name in names if name.startswith(key_prefix)]) == 3


def json_names(info: Any) -> Iterator[str]:
    """The names of the fields in a decoded reply to ``FT.INFO``."""
    attributes = (
        info["attributes"] if isinstance(info, dict) else info[info.index("attributes") + 1]
    )
    for attribute in attributes:
        if isinstance(attribute, dict):
            yield attribute["attribute"]
        else:
            yield attribute[attribute.index("attribute") + 1]


# ---- long listings


MANY = 20_000


def test_long_listings_are_complete(
    make_saver: MakeSaver, event_loop_thread: asyncio.AbstractEventLoop
) -> None:
    saver = make_saver(SAVER)
    put(saver, "0", thread_id="first")
    fill(saver, MANY)
    listed = {one.config["configurable"]["thread_id"] for one in saver.list(None)}
    assert listed == {"first", *(f"{number}" for number in range(1, MANY))}
    assert len([*saver.threads()]) == MANY
    awaited = make_saver(Client(AsyncRedisSaver, 3, False))
    assert isinstance(awaited, AsyncRedisSaver)

    async def names() -> int:
        return len({row.thread_id async for row in awaited.athreads()})

    async def at_once() -> list[int]:
        return await asyncio.gather(*(names() for _ in range(8)))

    found = asyncio.run_coroutine_threadsafe(at_once(), event_loop_thread).result()
    assert found == [MANY] * 8


def fill(saver: Saver, count: int) -> None:
    """Copy the documents of one thread to as many threads."""
    assert isinstance(saver, RedisSaver)
    client: Any = saver._runner.client
    prefix, tag = saver.key_prefix, "{first}"
    keys = [f"{prefix}{kind}:{tag}{rest}" for kind, rest in (("checkpoint", "::0"), ("thread", ""))]
    documents = [json.loads(client.execute_command("JSON.GET", key)) for key in keys]
    for first in range(1, count, 1_000):
        pipeline = client.pipeline()
        for number in range(first, min(first + 1_000, count)):
            for key, document in zip(keys, documents, strict=True):
                copy = json.dumps({**document, "thread_id": f"{number}"})
                pipeline.execute_command("JSON.SET", key.replace(tag, f"{{{number}}}"), "$", copy)
            contents = f"{prefix}contents:{{{number}}}"
            pipeline.zadd(contents, {"c::0": 0, "t": 0})
        pipeline.execute()


# ---- nodes and slots that change


def test_listings_are_complete_while_slots_move(
    make_saver: MakeSaver, live: LiveCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "NAMES", 50)
    saver = make_saver(SAVER)
    threads = [f"{number}" for number in range(400)]
    for thread_id in threads:
        put(saver, "1", thread_id=thread_id)
    done, listed, refused = threading.Event(), [], 0

    def read() -> None:
        nonlocal refused
        while not done.is_set():
            try:
                listed.append(sorted(row.thread_id for row in saver.threads()))
            except IndexIncompleteError:
                refused += 1

    reader = threading.Thread(target=read)
    reader.start()
    choose = random.Random(2)
    home: dict[int, ClusterNode] = {}
    try:
        for thread_id in choose.sample(threads, 40):
            slot = live.client.keyslot(f"{{{thread_id}}}")
            home.setdefault(slot, live.owner(slot))
            others = [node for node in live.primaries if node != home[slot]]
            live.move(slot, choose.choice(others), batch=1)
    finally:
        done.set()
        reader.join()
        for slot, node in home.items():
            live.move(slot, node)
    assert all(found == sorted(threads) for found in listed)
    assert len(listed) > refused


def test_the_user_of_the_example_can_do_everything(
    make_saver: MakeSaver, live: LiveCluster, key_prefix: str, tmp_path: Any
) -> None:
    """docs/acl.conf, with the permissions that it names for a cluster."""
    text = acl_for(key_prefix, tmp_path).read_text()
    [line] = [line for line in text.splitlines() if line.startswith("user ")]
    [more] = [line for line in text.splitlines() if "+search.clusterinfo" in line]
    _, name, *words = line.split()
    words += [word for word in more.split() if word.startswith("+")]
    user, password = ACL_USER.rstrip("@").split(":")
    assert name == user
    try:
        for node in live.primaries:
            live.admin(node).execute_command("ACL", "SETUSER", name, "reset", *words)
        port = live.primaries[0].port
        login: Any = {"username": user, "password": password}
        with RedisCluster(host=live.primaries[0].host, port=port, **login) as client:
            saver = RedisSaver(client, key_prefix=key_prefix, metadata_fields={"n": "numeric"})
            saver.setup()
            put(saver, "1", metadata={"n": 1, "run_id": "r"})
            assert len([*saver.list(None, filter={"n": {"$gt": 0}})]) == 1
            assert len([*saver.threads(limit=3)]) == 1
            saver.delete_for_runs(["r"])
            assert [*saver.threads()] == []
    finally:
        for node in live.primaries:
            live.admin(node).execute_command("ACL", "DELUSER", name)


@pytest.mark.skipif(not os.environ.get("KILL"), reason="KILL=1 kills a primary of the cluster")
def test_a_killed_primary_gives_errors_and_no_parts(
    make_saver: MakeSaver, live: LiveCluster, key_prefix: str
) -> None:
    """The last test of the module, because the cluster is broken afterwards."""
    assert live.is_local(), "the nodes do not run on this machine"
    savers = [make_saver(client) for client in CLIENTS]
    for number in range(300):
        made = checkpoint(f"{number:04}")
        given = config(f"{number}")
        savers[0].put(given, made, {"step": number % 3}, made["channel_versions"])
    asked: list[tuple[Callable[[Saver], list[Any]], int]] = [
        (lambda saver: [*saver.threads()], 300),
        (lambda saver: [*saver.threads(limit=150)], 150),
        (lambda saver: [*saver.list(None, filter={"step": 1})], 100),
        (lambda saver: [*saver.list(None, limit=250)], 250),
    ]
    live.kill(live.primaries[1])

    def has_noticed() -> bool:
        outcomes: set[str] = set()
        for saver, (ask, count) in itertools.product(savers, asked):
            try:
                found = len(ask(saver))
            except (RedisError, IndexIncompleteError, OSError) as error:
                outcomes.add(type(error).__name__)
            else:
                assert found == count
                outcomes.add("whole")
        # With a replica that takes over, the answers are whole again.
        return outcomes == {"whole"} or "ClusterDownError" in outcomes

    wait_until(has_noticed)

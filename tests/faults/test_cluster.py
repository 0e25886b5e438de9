"""A cluster of three primaries with a replica each, whose Search has no coordinator."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster

from langgraph_redis_json import AsyncRedisSaver, CoordinatorMissingError, RedisSaver
from tests.end_to_end.test_model import Machine, run_machine
from tests.support.checkpoints import BIG, config, each_saver, ids, put
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.record import times, tried
from tests.support.servers import Cluster, cluster
from tests.support.strategies import examples
from tests.support.waiting import wait_until
from tests.support.work import Writer, check_contents, in_threads


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory: Path = tmp_path_factory.mktemp("cluster")
    # No replica takes over because the machine is busy.
    with cluster(directory) as made:
        yield made


@pytest.fixture
def cluster_client(nodes: Cluster) -> Iterator[RedisCluster]:
    """A plain client, to inspect what the savers store; all keys are deleted afterwards."""
    with RedisCluster(
        host="127.0.0.1", port=nodes.primaries[0].port, decode_responses=True
    ) as client:
        yield client
        client.flushall(target_nodes=RedisCluster.PRIMARIES)


@pytest.fixture
def make_saver(
    nodes: Cluster,
    cluster_client: RedisCluster,
    event_loop_thread: asyncio.AbstractEventLoop,
) -> Iterator[MakeSaver]:
    """Makes savers on the cluster."""
    with ExitStack() as stack:

        def on_loop(coroutine: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(coroutine, event_loop_thread).result()

        def make(client: Client, *, setup: bool = False, **more: Any) -> Saver:
            assert not setup
            assert not more
            options = {"host": "127.0.0.1", "port": nodes.primaries[0].port, **client.options()}
            if client.saver is RedisSaver:
                return RedisSaver(stack.enter_context(RedisCluster(**options)))

            async def asynchronous() -> AsyncRedisSaver:
                # redis-py would otherwise close connections that are in use when slots move.
                made = AsyncRedisSaver(AsyncRedisCluster(reinitialize_steps=0, **options))
                await made.aget_tuple(config("names the loop"))
                return made

            made = on_loop(asynchronous())
            stack.callback(lambda: on_loop(made._runner.client.aclose()))
            return made

        yield make


@pytest.fixture
def saver(make_saver: MakeSaver, client: Client) -> Saver:
    return make_saver(client)


# ---- what works, and what says that it does not


@each_saver
def test_setup_warns_if_search_covers_only_one_node(
    saver: Saver, nodes: Cluster, event_loop_thread: asyncio.AbstractEventLoop
) -> None:
    def setup() -> None:
        if isinstance(saver, AsyncRedisSaver):
            asyncio.run_coroutine_threadsafe(saver.setup(), event_loop_thread).result()
        else:
            saver.setup()

    with pytest.warns(UserWarning, match="nothing can be listed"):
        setup()
    # An index of one node would answer for all threads.
    for node in nodes.primaries:
        with node.admin() as client:
            assert client.execute_command("FT._LIST") == []


@each_saver
def test_a_filter_works_within_a_thread(saver: Saver) -> None:
    for number in range(60):
        put(
            saver,
            f"{number:03}",
            {"big": BIG},
            {"big": 1},
            checkpoint_ns="" if number % 3 else "sub",
            metadata={"third": number % 3, "user": {"name": "é"}, "half": number % 2},
        )
    put(saver, "999", thread_id="another", metadata={"third": 0})
    listed = saver.list(config(checkpoint_ns=None), filter={"third": 0, "user": {"name": "é"}})
    assert ids(listed) == [f"{number:03}" for number in range(57, -1, -3)]
    listed = saver.list(config(), filter={"half": 1}, limit=2, before=config(checkpoint_id="050"))
    assert ids(listed) == ["049", "047"]
    assert ids(saver.list(config(), filter={"third": 0})) == []
    assert ids(saver.list(config(checkpoint_ns="sub"), filter={"absent": None}, limit=1)) == ["057"]


@each_saver
def test_searching_all_threads_raises(saver: Saver) -> None:
    put(saver, "1", metadata={"run_id": "run"})
    for call in (
        lambda: list(saver.list(None)),
        lambda: list(saver.list(None, filter={"run_id": "run"}, limit=1)),
        lambda: saver.delete_for_runs(["run"]),
    ):
        with pytest.raises(CoordinatorMissingError, match="name a thread"):
            call()
    assert ids(saver.list(config())) == ["1"]


@pytest.mark.filterwarnings("ignore:The Search of this Redis Cluster")
@pytest.mark.parametrize("kind", [RedisSaver, AsyncRedisSaver])
async def test_both_savers_conform_within_a_thread(
    kind: type[Saver], nodes: Cluster, cluster_client: RedisCluster
) -> None:
    port = nodes.primaries[0].port

    @checkpointer_test(name=kind.__name__)
    async def checkpointer() -> AsyncIterator[Saver]:
        if kind is RedisSaver:
            with RedisCluster(host="127.0.0.1", port=port) as client:
                made = RedisSaver(client)
                made.setup()
                yield made
        else:
            async with AsyncRedisCluster(host="127.0.0.1", port=port) as client:
                other = AsyncRedisSaver(client)
                await other.setup()
                yield other

    report = await validate(checkpointer)
    # This one looks for runs in all threads.
    runs = report.results.pop("delete_for_runs")
    assert runs.failures
    assert all("has no coordinator" in failure for failure in runs.failures)
    assert len(report.results) == 7
    for name, result in report.results.items():
        assert result.failures == [], name
        assert result.tests_passed > 0, name


class ClusterMachine(Machine):
    across = False


def test_any_sequence_of_operations_matches_in_memory_saver(
    make_saver: MakeSaver, cluster_client: RedisCluster
) -> None:
    savers = [make_saver(Client(kind, 3, False)) for kind in (RedisSaver, AsyncRedisSaver)]
    count = times(6, 40)
    run_machine(
        lambda: ClusterMachine(savers, cluster_client, "langgraph"),
        settings=examples(count, stateful_step_count=40),
    )
    tried(
        "Random sequences of 40 operations on a cluster, compared with `InMemorySaver`",
        count,
        lost=0,
        torn=0,
    )


# ---- slots and nodes that move


@each_saver
def test_writers_go_on_while_slots_move(
    saver: Saver, nodes: Cluster, cluster_client: RedisCluster
) -> None:
    """Writers go on while the slots of their threads move key by key."""
    moves, done = times(5, 60), threading.Event()
    writers = [Writer(f"thread-{number}") for number in range(8)]

    def write(writer: Writer) -> None:
        while not done.is_set():
            since = writer.put
            for _ in range(5):
                writer.step(saver)
            writer.check(saver, since)
            if writer.put > 60:
                saver.delete_thread(writer.thread_id)
                writer.put = writer.begun = writer.written = -1

    moved = 0
    choose = random.Random(3)
    with in_threads(write, writers) as failures, ExitStack() as stack:
        stack.callback(done.set)
        for _ in range(moves):
            writer = choose.choice(writers)
            wait_until(lambda: writer.put > 2 or failures)  # noqa: B023 (waited for here)
            slot = cluster_client.keyslot(f"{{{writer.thread_id}}}")
            source = nodes.owner(slot)
            target = choose.choice([node for node in nodes.primaries if node is not source])
            moved += nodes.move(slot, target, pause=choose.choice([0, 0.005]), batch=3)
            if failures:
                break
    assert moved > moves
    checked = sum(writer.check(saver) for writer in writers)
    check_contents(cluster_client)
    tried(
        f"A slot moved to another node while 8 writers write (`{type(saver).__name__}`)",
        moves,
        checked=checked,
        lost=0,
        torn=0,
        note=f"{moved} keys were moved",
    )


@each_saver
def test_a_call_that_waits_for_a_moving_slot_is_logged(
    saver: Saver, nodes: Cluster, cluster_client: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(9):
        put(saver, f"{number}", {"big": BIG}, {"big": 1}, thread_id="moved")
    slot = cluster_client.keyslot("{moved}")
    source = nodes.owner(slot)
    target = next(node for node in nodes.primaries if node is not source)
    with source.admin() as old, target.admin() as new:
        new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", nodes.id_of(source))
        old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", nodes.id_of(target))
        # Its keys are on two nodes until the log is written.
        first = old.execute_command("CLUSTER GETKEYSINSLOT", slot, 5)
        old.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *first)
    with caplog.at_level(logging.INFO, "langgraph_redis_json"), ThreadPoolExecutor(1) as thread:
        called = thread.submit(lambda: ids(saver.list(config("moved"))))
        wait_until(lambda: "The slot of a thread is moved" in caplog.text)
        nodes.move(slot, target)
        assert called.result() == [f"{number}" for number in range(8, -1, -1)]
    assert caplog.text.count("The slot of a thread is moved") == 1

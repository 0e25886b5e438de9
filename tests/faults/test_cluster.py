"""A cluster of three primaries with a replica each, whose Search has no coordinator."""

from __future__ import annotations

import asyncio
import logging
import random
import subprocess
import sys
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

from langgraph_redis_json import (
    AsyncRedisSaver,
    CoordinatorMissingError,
    RedisSaver,
    UnsuitableServerError,
)
from langgraph_redis_json.migration import migrate
from tests.end_to_end.test_model import Machine, run_machine
from tests.support.checkpoints import BIG, checkpoint, config, each_saver, ids, put
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.interleaving import fill
from tests.support.messages import Chat, numbered
from tests.support.project import ROOT
from tests.support.record import times, tried
from tests.support.servers import Cluster, cluster
from tests.support.strategies import examples
from tests.support.waiting import wait_until
from tests.support.work import Writer, check_contents, in_threads

SECONDS = 120
"""The bound of a call that would never end if it failed."""


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
            options = {"host": "127.0.0.1", "port": nodes.primaries[0].port, **client.options()}
            if client.saver is RedisSaver:
                return RedisSaver(stack.enter_context(RedisCluster(**options)), **more)

            async def asynchronous() -> AsyncRedisSaver:
                # redis-py would otherwise close connections that are in use when slots move.
                connection = AsyncRedisCluster(reinitialize_steps=0, **options)
                made = AsyncRedisSaver(connection, **more)
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


# A loop that ends takes its connections along.
@pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning", "ignore:unclosed:ResourceWarning")
def test_several_event_loops_use_one_client(
    nodes: Cluster, cluster_client: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Loops at the same time, one loop after another, and calls without a loop."""
    options: Any = {"port": nodes.primaries[0].port, "reinitialize_steps": 0}
    saver = AsyncRedisSaver(AsyncRedisCluster("127.0.0.1", **options))
    together = threading.Barrier(3)

    async def calls(name: str, number: int) -> None:
        made = checkpoint(f"{number}", {"value": [name, number]})
        await saver.aput(config(name), made, {}, made["channel_versions"])
        found = await saver.aget_tuple(config(name))
        assert found is not None
        assert found.checkpoint["channel_values"] == {"value": [name, number]}

    async def at_once(name: str, number: int) -> None:
        await asyncio.gather(*(calls(f"{name} {each}", number) for each in range(8)))

    def run(name: str) -> None:
        together.wait(SECONDS)
        for number in range(3):
            if name.startswith("loop"):
                asyncio.run(asyncio.wait_for(at_once(name, number), SECONDS))
                continue
            for each in range(8):
                put(saver, f"{number}", {"value": each}, thread_id=f"{name} {each}")

    names = [f"{kind} {number}" for kind in ("call", "loop") for number in range(3)]
    with ThreadPoolExecutor(3) as threads:
        # A call without a loop runs on one that is running, and would fail when that ends.
        list(threads.map(run, names[:3], timeout=SECONDS))
        list(threads.map(run, names[3:], timeout=SECONDS))
    assert [one for one in caplog.records if "Unclosed" in one.message] == []
    other = RedisSaver(cluster_client)
    for name in names:
        for each in range(8):
            assert ids(other.list(config(f"{name} {each}"))) == ["2", "1", "0"]


@pytest.mark.parametrize("kind", [RedisSaver, AsyncRedisSaver])
def test_a_client_of_one_server_is_refused(
    kind: type[Saver], nodes: Cluster, cluster_client: RedisCluster
) -> None:
    """Whether or not its node has the slot of the call."""
    wrong_client = pytest.raises(UnsuitableServerError, match="Pass a RedisCluster")
    for node in nodes.primaries:
        saver = kind(node.url)
        with wrong_client:
            asyncio.run(saver.asetup() if isinstance(saver, RedisSaver) else saver.setup())
        [elsewhere] = [
            name
            for name in ("a", "b", "c", "d", "e", "f", "g", "h")
            if nodes.owner(cluster_client.keyslot(f"{{{name}}}")) is not node
        ][:1]
        with wrong_client:
            put(saver, "1", thread_id=elsewhere)


@each_saver
def test_deleting_a_thread_without_its_table_of_contents_leaves_nothing(
    saver: Saver, cluster_client: RedisCluster
) -> None:
    """Of a slot only the thread's own keys are deleted."""
    prefix = saver.key_prefix
    fill(saver, "thread")
    cluster_client.delete(f"{prefix}contents:{{thread}}")
    cluster_client.set(f"{prefix}blob:threads:{{thread}}", "of somebody else")
    saver.delete_thread("thread")
    left = list(
        cluster_client.scan_iter(f"{prefix}*{{thread}}*", target_nodes=RedisCluster.PRIMARIES)
    )
    assert left == [f"{prefix}blob:threads:{{thread}}"]


FORK = """
import asyncio, os, signal, sys
from langgraph.checkpoint.base import empty_checkpoint
from redis.asyncio.cluster import RedisCluster
from langgraph_redis_json import AsyncRedisSaver

def config(thread_id):
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}

async def write(thread_id):
    for _ in range(3):
        await saver.aput(config(thread_id), empty_checkpoint(), {}, {})

saver = AsyncRedisSaver(RedisCluster("127.0.0.1", int(sys.argv[1]), reinitialize_steps=0))
asyncio.run(write("before"))
child = os.fork()
signal.alarm(50)
if not child:
    try:
        asyncio.run(write("child"))
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
asyncio.run(write("parent"))
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_parent_and_child_use_one_client(nodes: Cluster, cluster_client: RedisCluster) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, f"{nodes.primaries[0].port}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    saver = RedisSaver(cluster_client)
    for name in ("before", "parent", "child"):
        assert len(ids(saver.list(config(name)))) == 3


@each_saver
def test_messages_have_documents_but_cannot_be_searched(
    make_saver: MakeSaver, client: Client, cluster_client: RedisCluster
) -> None:
    saver = make_saver(client, message_search=True)
    for number in range(20):
        chat = Chat(saver, f"{number}")
        chat.put(numbered(range(5)))
        chat.say(*numbered([5]))
    with pytest.raises(CoordinatorMissingError):
        list(saver.search_messages("parcel"))
    saver.copy_thread("1", "copy")
    saver.prune(["2"])
    saver.delete_thread("3")
    documents = [*cluster_client.scan_iter("langgraph:message:*", count=1_000)]
    assert len(documents) == 20 * 6
    check_contents(cluster_client)


@pytest.mark.filterwarnings("ignore:The Search of this Redis Cluster")
def test_a_team_moves_from_one_server_to_a_cluster(
    redis_url: str, key_prefix: str, cluster_client: RedisCluster
) -> None:
    """The steps of docs/deployment.md. The old application goes on until the last run."""
    with RedisSaver(redis_url, key_prefix=key_prefix) as old:
        old.setup()
        new = RedisSaver(cluster_client)
        new.setup()
        for number in range(20):
            fill(old, f"{number}")
        first = migrate(old, new, verify=True)
        assert first.is_complete, first.told
        assert (first.threads, first.checkpoints) == (20, 20 * 8)
        for number in range(0, 20, 4):  # meanwhile
            parent = config(f"{number}", checkpoint_id="8")
            put(old, "9", {"blob": BIG}, {"blob": 9}, thread_id=f"{number}", parent="8")
            old.put_writes(parent, [("late", number)], "another task")
        fill(old, "new")
        second = migrate(old, new, verify=True)
        assert second.is_complete, second.told
        assert (second.copied, second.updated) == (5 + 8, 5)
        for thread_id in (*map(str, range(20)), "new"):
            assert [*new.list(config(thread_id))] == [*old.list(config(thread_id))]
            old.delete_thread(thread_id)
    check_contents(cluster_client)


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

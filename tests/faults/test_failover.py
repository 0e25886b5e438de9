"""A primary that is killed, under Sentinel and in a cluster."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
import redis.asyncio.sentinel
import redis.sentinel
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from tests.support.checkpoints import config, each_saver, ids, put
from tests.support.clients import Client, Saver
from tests.support.proxy import faulty_proxy
from tests.support.record import LONG, times, tried
from tests.support.servers import IN_MEMORY, Cluster, Node, cluster, running, sentinel
from tests.support.waiting import wait_until
from tests.support.work import Writer, check_contents, in_threads

AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    RedisClusterException,
)
"""What clients raise while there is no primary."""


class Pair(NamedTuple):
    primary: Node
    replica: Node
    sentinels: list[tuple[str, int]]


@contextmanager
def replicated(directory: Path, *options: str) -> Iterator[Pair]:
    """A primary, a replica that is up to date, and three Sentinels that know both."""
    with ExitStack() as stack:
        settings = (*IN_MEMORY, "--repl-diskless-sync-delay", "0", *options)
        primary = stack.enter_context(running(Node(directory / "primary", *settings)))
        following = ("--replicaof", f"127.0.0.1 {primary.port}")
        replica = stack.enter_context(running(Node(directory / "replica", *settings, *following)))
        with replica.admin() as client:
            wait_until(lambda: client.info("replication")["master_link_status"] == "up")
        ports = [
            stack.enter_context(sentinel(directory / f"sentinel-{number}", primary))
            for number in range(3)
        ]
        for port in ports:
            with redis.Redis(port=port, decode_responses=True) as client:

                def knows_all(client: redis.Redis = client) -> bool:
                    told: Any = client.sentinel_master("primary")
                    return bool(told["num-slaves"] == 1 and told["num-other-sentinels"] == 2)

                wait_until(knows_all)
        yield Pair(primary, replica, [("127.0.0.1", port) for port in ports])


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with replicated(tmp_path) as made:
        yield made


@pytest.fixture
def saver(
    client: Client, pair: Pair, event_loop_thread: asyncio.AbstractEventLoop
) -> Iterator[Saver]:
    """Each saver, on a client that asks the Sentinels for the primary."""
    options = client.options()
    if client.saver is RedisSaver:
        with redis.sentinel.Sentinel(pair.sentinels).master_for("primary", **options) as made:
            saver = RedisSaver(made)
            saver.setup()
            yield saver
        return

    async def asynchronous() -> AsyncRedisSaver:
        asked = redis.asyncio.sentinel.Sentinel(pair.sentinels)
        saver = AsyncRedisSaver(asked.master_for("primary", **options))
        await saver.setup()
        return saver

    made = asyncio.run_coroutine_threadsafe(asynchronous(), event_loop_thread).result()
    yield made
    asyncio.run_coroutine_threadsafe(made._runner.client.aclose(), event_loop_thread).result()


def test_event_loops_may_take_turns_under_sentinel(pair: Pair) -> None:
    """Connections to the Sentinels belong to an event loop, too."""
    saver = AsyncRedisSaver(redis.asyncio.sentinel.Sentinel(pair.sentinels).master_for("primary"))
    for number in range(3):
        asyncio.run(saver.setup())
        put(saver, f"{number}")  # on a loop of its own
        assert ids(saver.list(config()))[0] == f"{number}"


def go_on(saver: Saver, writer: Writer) -> int:
    """Read the newest checkpoint, as a run does, and continue from it.

    Returns:
        Number of acknowledged calls that were lost.
    """
    deadline = time.monotonic() + 120  # only ends a hang
    while True:
        try:
            newest = saver.get_tuple(config(writer.thread_id))
            there = -1 if newest is None else int(newest.checkpoint["id"])
            written = there if newest and newest.pending_writes else there - 1
            lost = max(0, writer.put - there) + max(0, writer.written - written)
            if written < there:
                saver.put_writes(
                    config(writer.thread_id, "", writer.id_of(there)), writer.writes(there), "task"
                )
            break
        except AWAY:
            assert time.monotonic() < deadline, "no replica took over"
            time.sleep(0.05)
    writer.put = writer.begun = writer.written = there
    return lost


def write_through(fault: Callable[[], Any], saver: Saver, writers: list[Writer]) -> int:
    """All writers write, the fault happens, and all writers write more.

    Returns:
        Number of acknowledged calls that were lost.
    """
    lost = [0] * len(writers)
    happened = threading.Event()

    def write(number: int) -> None:
        writer, more = writers[number], 5
        while more:
            try:
                writer.step(saver)
                more -= happened.is_set()
            except AWAY:
                lost[number] += go_on(saver, writer)

    with in_threads(write, range(len(writers))):
        fault()
        happened.set()
    return sum(lost)


@pytest.mark.parametrize("run", range(times(1, 5)))
@each_saver
def test_writes_go_on_when_the_primary_is_killed(saver: Saver, pair: Pair, run: int) -> None:
    writers = [Writer(f"thread-{number}") for number in range(8)]

    def kill() -> None:
        wait_until(lambda: all(writer.put >= 5 for writer in writers))
        pair.primary.kill()
        with pair.replica.admin() as client:
            wait_until(lambda: client.info("replication")["role"] == "master")

    lost = write_through(kill, saver, writers)
    checked = 0
    for writer in writers:
        writer.begun = writer.put
        checked += writer.check(saver)
    with pair.replica.admin() as client:
        check_contents(client)
    tried(
        f"A primary under Sentinel killed while 8 writers write (`{type(saver).__name__}`)",
        1,
        checked=checked,
        lost=lost,
        torn=0,
        note="replication is asynchronous, so the replica may lack the last writes",
    )


@pytest.mark.skipif(not LONG, reason="waits for seconds: make test-faults")
@pytest.mark.parametrize("guard", ["none", "`min-replicas-to-write 1`", "`WAIT 1` after each step"])
def test_a_primary_dies_after_its_replica_lost_contact(guard: str, tmp_path: Path) -> None:
    """Writes of the last three seconds of a primary that has lost its replica."""
    options: tuple[str, ...] = (*IN_MEMORY, "--repl-diskless-sync-delay", "0")
    if "min" in guard:
        options += ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")
    writer = Writer("thread")
    acknowledged = refused = 0
    with ExitStack() as stack:
        primary = stack.enter_context(running(Node(tmp_path / "primary", *options)))
        proxy = stack.enter_context(faulty_proxy(primary.port))
        following = ("--replicaof", f"127.0.0.1 {proxy.port}")
        replica = stack.enter_context(running(Node(tmp_path / "replica", *options, *following)))
        admin = stack.enter_context(replica.admin())
        wait_until(lambda: admin.info("replication")["master_link_status"] == "up")
        # WAIT is about the writes of its own connection.
        client = redis.Redis(port=primary.port, single_connection_client=True)
        with client:
            saver = RedisSaver(client)
            for _ in range(10):
                writer.step(saver)
            assert client.execute_command("WAIT", 1, 5000) == 1
            os.kill(replica.pid, signal.SIGSTOP)
            proxy.delay(3600)
            end = time.monotonic() + 3
            while time.monotonic() < end or (guard != "none" and not refused):
                try:
                    writer.step(saver)
                    if "WAIT" in guard and client.execute_command("WAIT", 1, 100) < 1:
                        refused += 1
                    else:
                        acknowledged += 1
                except redis.ResponseError as error:
                    if "NOREPLICAS" not in str(error):
                        raise
                    refused += 1
                time.sleep(0.01)
        primary.kill()
        proxy.close()
        os.kill(replica.pid, signal.SIGCONT)
        admin.execute_command("REPLICAOF NO ONE")
        admin.config_set("min-replicas-to-write", 0)
        with RedisSaver.from_conn_string(replica.url) as saver:
            writer.begun = writer.put = writer.written = 9  # the last that it had got
            writer.check(saver)
            writer.step(saver)
            writer.check(saver)
    assert (refused > 0) is (guard != "none")
    assert (acknowledged > 0) is ("WAIT" not in guard)
    tried(
        f"A primary killed 3 s after it lost contact to its replica; setting: {guard}",
        1,
        checked=acknowledged + 10,
        lost=acknowledged,
        torn=0,
        note=f"{refused} steps raised or were not confirmed, so the application knew",
    )


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, "--cluster-node-timeout", "2000") as made:
        yield made


@pytest.mark.parametrize("run", range(times(1, 5)))
def test_writes_go_on_when_a_primary_of_a_cluster_is_killed(nodes: Cluster, run: int) -> None:
    writers = [Writer(f"thread-{number}") for number in range(8)]
    with RedisCluster(host="127.0.0.1", port=nodes.primaries[0].port) as client:
        saver = RedisSaver(client)
        victim = nodes.owner(client.keyslot("{thread-0}"))
        replica = nodes.replicas[nodes.primaries.index(victim)]

        def kill() -> None:
            wait_until(lambda: all(writer.put >= 5 for writer in writers))
            victim.kill()
            with replica.admin() as admin:
                wait_until(lambda: admin.info("replication")["role"] == "master")

        lost = write_through(kill, saver, writers)
        checked = 0
        for writer in writers:
            writer.begun = writer.put
            checked += writer.check(saver)
        check_contents(RedisCluster(host="127.0.0.1", port=replica.port, decode_responses=True))
    tried(
        "A primary of a cluster killed while 8 writers write",
        1,
        checked=checked,
        lost=lost,
        torn=0,
        note="replication is asynchronous, so the replica may lack the last writes",
    )

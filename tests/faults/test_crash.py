"""A server that is killed while 32 writers use it."""

from __future__ import annotations

import asyncio
import operator
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from tests.support.clients import Saver
from tests.support.project import ROOT
from tests.support.record import times, tried
from tests.support.servers import Node, running
from tests.support.waiting import wait_until
from tests.support.work import LOST, Writer, check_contents, in_threads

WRITERS = 32


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Node]:
    """A server that writes each command to the disk before it acknowledges it."""
    with running(Node(tmp_path / "data", "--appendfsync", "always")) as node:
        yield node


@pytest.fixture
def savers(durable: Node, event_loop_thread: asyncio.AbstractEventLoop) -> Iterator[list[Saver]]:
    """Both savers, without retries."""
    options: dict[str, Any] = {"protocol": 3, "retry": Retry(NoBackoff(), 0), "socket_timeout": 60}
    client = redis.Redis(port=durable.port, **options)

    async def asynchronous() -> AsyncRedisSaver:
        made = AsyncRedisSaver(redis.asyncio.Redis(port=durable.port, **options))
        await made.setup()
        return made

    made = asyncio.run_coroutine_threadsafe(asynchronous(), event_loop_thread).result()
    yield [RedisSaver(client), made]
    client.close()
    asyncio.run_coroutine_threadsafe(made._runner.client.aclose(), event_loop_thread).result()


def puts(writers: list[Writer]) -> list[int]:
    return [writer.put for writer in writers]


def write_until(fault: Callable[[], None], savers: list[Saver], writers: list[Writer]) -> None:
    """All writers write at once, until the fault ends them."""

    ended = threading.Event()

    def write(number: int) -> None:
        writer, saver = writers[number], savers[number % 2]
        while True:
            try:
                if writer.written < writer.put:
                    writer.write(saver, writer.put)
                writer.step(saver)
            except LOST:
                # A connection that an earlier fault has cut raises once, and is then replaced.
                if ended.is_set():
                    return

    with in_threads(write, range(len(writers))):
        try:
            fault()
        finally:
            ended.set()


def test_nothing_is_lost_when_the_server_is_killed(durable: Node, savers: list[Saver]) -> None:
    writers = [Writer(f"thread-{number}") for number in range(WRITERS)]
    kills, checked = times(2, 50), 0

    def kill() -> None:
        wait_until(lambda: all(map(operator.lt, before, puts(writers))))
        time.sleep(random.uniform(0, 0.3))
        durable.kill()

    for _ in range(kills):
        before = puts(writers)
        write_until(kill, savers, writers)
        durable.restart()
        with durable.admin() as client:
            check_contents(client)
        for number, writer in enumerate(writers):
            # The saver that wrote has the values in its cache; the other saver does not.
            checked += writer.check(savers[number // 2 % 2], since=before[number])
    for number, writer in enumerate(writers):
        writer.check(savers[number % 2])
    tried(
        f"`kill -9` of a server with `appendfsync always` while {WRITERS} writers write",
        kills,
        checked=checked,
        lost=0,
        torn=0,
    )


def test_a_truncated_append_only_file_leaves_whole_checkpoints(tmp_path: Path) -> None:
    """When a machine fails, the last command may be written only in part."""
    writer = Writer("thread")
    data = tmp_path / "data"
    with running(Node(data, "--appendfsync", "always")) as node:
        with RedisSaver.from_conn_string(node.url) as saver:
            saver.setup()
            for _ in range(3):
                writer.step(saver)
            [log] = data.glob("appendonlydir/*.incr.aof")
            before = log.stat().st_size
            writer.step(saver)
        node.kill()
        node.stop()
    whole = log.read_bytes()
    cuts = times(6, 60)
    states = set()
    for number in range(cuts):
        size = before + (len(whole) - before) * number // cuts
        copy = tmp_path / "copy"
        shutil.copytree(data, copy)
        (copy / log.relative_to(data)).write_bytes(whole[:size])
        with running(Node(copy, "--aof-load-truncated", "yes")) as node, node.admin() as client:
            check_contents(client)
            with RedisSaver.from_conn_string(node.url) as saver:
                survivor = Writer("thread")
                survivor.put = survivor.written = 2
                survivor.begun = 3
                survivor.check(saver)
                states.add(survivor.put)
                survivor.step(saver)
                survivor.check(saver)
        shutil.rmtree(copy)
    assert states == {2, 3}
    tried(
        "An append-only file truncated within a put and a put_writes",
        cuts,
        checked=6 * cuts,
        lost=0,
        torn=0,
    )


CLIENT = """
import sys
from tests.support.work import Writer
from langgraph_redis_json import RedisSaver

writer = Writer("thread")
with RedisSaver.from_conn_string(sys.argv[1]) as saver:
    newest = saver.get_tuple({"configurable": {"thread_id": "thread"}})
    if newest:
        writer.put = writer.begun = int(newest.checkpoint["id"])
    while True:
        writer.step(saver)
        print(writer.put, flush=True)
"""


def test_a_killed_client_leaves_whole_checkpoints(durable: Node) -> None:
    kills, last, checked = times(3, 30), -1, 0
    with RedisSaver.from_conn_string(durable.url) as saver:
        saver.setup()
        for _ in range(kills):
            process = subprocess.Popen(
                [sys.executable, "-c", CLIENT, durable.url],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            acknowledged = [int(process.stdout.readline())]
            time.sleep(random.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            acknowledged += map(int, process.stdout)
            process.wait()
            assert acknowledged[0] == last + 1
            survivor = Writer("thread")
            survivor.put = survivor.written = acknowledged[-1]
            survivor.begun = survivor.put + 1
            checked += survivor.check(saver, since=last)
            last = survivor.put
            with durable.admin() as client:
                check_contents(client)
    tried("A client killed during its puts", kills, checked=checked, lost=0, torn=0)

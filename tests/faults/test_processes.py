"""One saver in several threads, processes and event loops."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import warnings
from typing import Any

import pytest
import redis
import redis.asyncio

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from tests.support.checkpoints import checkpoint, config, each_saver, ids, put
from tests.support.clients import Saver
from tests.support.project import ROOT
from tests.support.record import times, tried
from tests.support.waiting import wait_until
from tests.support.work import Writer, check_contents, in_threads

THREADS = 16


@each_saver
def test_sixteen_threads_share_one_saver(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    """Each thread writes its own conversation, and all write a shared one."""
    steps = times(20, 100)
    writers = [Writer(f"thread-{number}") for number in range(THREADS)]
    start = threading.Barrier(THREADS)

    def work(number: int) -> None:
        start.wait()
        for step in range(steps):
            writers[number].step(saver)
            messages = [{"id": f"{number}-{step}-{n}", "text": "x" * 200} for n in range(5)]
            put(saver, f"{step:04}-{number:02}", {"messages": messages}, thread_id="shared")

    with in_threads(work, range(THREADS)):
        pass
    checked = sum(writer.check(saver) for writer in writers)
    shared = list(saver.list(config("shared")))
    assert len(shared) == steps * THREADS
    for found in shared:
        step, number = map(int, found.checkpoint["id"].split("-"))
        assert [message["id"] for message in found.checkpoint["channel_values"]["messages"]] == [
            f"{number}-{step}-{n}" for n in range(5)
        ]
    check_contents(redis_client, key_prefix)
    tried(
        f"{THREADS} threads that share one `{type(saver).__name__}`, each with its own "
        "conversation and all with another",
        steps * THREADS,
        checked=checked + len(shared),
        lost=0,
        torn=0,
    )


FORK = """
import asyncio, json, os, signal, sys, threading
from tests.support.work import Writer
from langgraph_redis_json import AsyncRedisSaver, RedisSaver

url, kind = sys.argv[1:3]
saver = (RedisSaver if kind == "RedisSaver" else AsyncRedisSaver)(url)
writers = {who: Writer(who) for who in ["parent", *(f"child-{n}" for n in range(4))]}

def write(who, count):
    for _ in range(count):
        writers[who].step(saver)
    return writers[who].put

before = None
if kind == "RedisSaver":
    saver.setup()
elif kind == "loop in a thread":
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(saver.setup(), loop).result()
else:
    # The connection stays in the pool, and every child inherits it.
    asyncio.run(saver.setup())
for who in writers:
    write(who, 3)
children = []
for number in range(4):
    child = os.fork()
    if not child:
        signal.alarm(50)  # it ends even if its parent is killed
        try:
            write(f"child-{number}", 20)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
write("parent", 20)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
print(json.dumps(codes), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("kind", ["RedisSaver", "AsyncRedisSaver", "loop in a thread"])
def test_a_saver_made_before_a_fork_works_in_parent_and_children(
    kind: str, redis_url: str, redis_client: redis.Redis
) -> None:
    """Servers that preload an application fork in this way."""
    done = subprocess.run(
        # (From 3.12 on Python warns of forks beside threads.)
        [
            *(sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK),
            *(redis_url, kind),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [0] * 4
    with RedisSaver.from_conn_string(redis_url) as saver:
        checked = 0
        for who in ("parent", *(f"child-{number}" for number in range(4))):
            writer = Writer(who)
            writer.put = writer.begun = writer.written = 22
            checked += writer.check(saver)
            saver.delete_thread(who)
    tried(f"A saver made before `os.fork` ({kind})", 4, checked=checked, lost=0, torn=0)


CLOSE = """
import asyncio, os, sys
from langgraph_redis_json import AsyncRedisSaver

async def main():
    saver = AsyncRedisSaver(sys.argv[1])
    config = {"configurable": {"thread_id": "nobody", "checkpoint_ns": ""}}
    await saver.aget_tuple(config)
    child = os.fork()
    if not child:
        asyncio.run(asyncio.wait_for(saver.aclose(), 60))
        os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)
    await asyncio.wait_for(saver.aget_tuple(config), 60)
    await saver.aclose()

asyncio.run(main())
"""


def test_a_child_may_close_the_saver_of_its_parent(redis_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLOSE, redis_url], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_saver_works_on_a_new_event_loop_after_one_closed(
    redis_url: str, key_prefix: str
) -> None:
    saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)  # outside any event loop
    writer = Writer("thread")

    async def at_once() -> None:
        # Several connections stay in the pool when the loop is closed.
        await asyncio.gather(*(saver.aget_tuple(config(f"{number}")) for number in range(5)))
        made = checkpoint(writer.id_of(writer.put + 1), {"n": 1})
        await saver.aput(config(), made, {"step": 1}, {"n": 1})
        writer.put += 1

    for _ in range(3):
        asyncio.run(at_once())
        assert saver.get_tuple(config()) is not None  # on a loop of its own
    loop = asyncio.new_event_loop()
    loop.run_until_complete(at_once())
    found = loop.run_until_complete(anext(saver.alist(config(), limit=1)))
    assert found.checkpoint["id"] == writer.id_of(3)
    loop.run_until_complete(saver.aclose())
    loop.close()


def test_connections_of_closed_loops_are_not_kept(
    redis_url: str, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)

    async def at_once() -> None:
        await asyncio.gather(*(saver.aget_tuple(config(f"{number}")) for number in range(5)))

    def connections() -> int:
        gc.collect()
        return len(redis_client.client_list())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        before = connections()
        for _ in range(10):
            asyncio.run(at_once())
        wait_until(lambda: connections() <= before + 5)


@pytest.mark.parametrize("make", [AsyncRedisSaver, redis.asyncio.Redis.from_url])
def test_a_saver_may_be_made_outside_an_event_loop(
    make: Any, redis_url: str, key_prefix: str
) -> None:
    made = make(redis_url)
    saver = made if isinstance(made, AsyncRedisSaver) else AsyncRedisSaver(made)
    saver.key_prefix = key_prefix

    async def use() -> list[str]:
        await saver.setup()
        await saver.aput(config(), checkpoint("1", {"n": 1}), {"step": 1}, {"n": 1})
        return [found.checkpoint["id"] async for found in saver.alist(None)]

    assert asyncio.run(use()) == ["1"]
    assert ids(saver.list(config())) == ["1"]
    assert os.getpid() == saver._runner._clients._process

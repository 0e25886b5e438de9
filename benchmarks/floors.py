"""Measures the least that some calls can cost: the same Redis commands without a saver.

    make bench

Takes the documents that this saver has stored, and writes and reads them with bare scripts and
commands through redis-py. A saver that keeps these documents and indexes cannot be faster. PING,
InMemorySaver and this saver are measured in the same turns. A saver caches the checkpoints that it
stores, so reads are also measured with a new saver that has cached nothing. Writes a table into
docs/performance.md.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any
from uuid import uuid4

import orjson
import redis
from bench_work import Thread, conversation, prose
from docs_page import DOCS, replace_block, table, times
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import Send
from measuring import median_times, used_memory
from rich.progress import track

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.operations import put as put_operation

ROUNDS = 300
LONG_ROUNDS = 31
THREADS = 300
SERIALIZER = JsonPlusSerializer()
MEMORY = "InMemorySaver"
_NUMBERS = count()

# How keys begin: all of a saver, and each kind.
ALL_KEYS = "langgraph:"
CHECKPOINT, WRITES, BLOB, LOG, THREAD, CONTENTS = (
    f"{ALL_KEYS}{kind}:" for kind in ("checkpoint", "writes", "blob", "log", "thread", "contents")
)

PUT = """
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('JSON.SET', KEYS[2], '$', ARGV[2])
"""
PUT_WITH_THREAD = PUT + "redis.call('JSON.SET', KEYS[3], '$', ARGV[3])"
PUT_WITH_MESSAGE = PUT_WITH_THREAD + "redis.call('JSON.ARRAPPEND', KEYS[4], '$.items', ARGV[4])"
GET = """
redis.call('ZREVRANGEBYLEX', KEYS[1], '+', '-', 'LIMIT', 0, 1)
return {
  redis.call('JSON.MGET', KEYS[2], KEYS[3], '.'),
  redis.call('JSON.GET', KEYS[4], '$.format', '$.items[0:400]'),
}
"""
READ = "return redis.call('JSON.GET', KEYS[1], ARGV[1])"
READ_BOTH = "return redis.call('JSON.MGET', KEYS[1], KEYS[2], '.')"

Rows = Iterator[tuple[str, str]]
"""Table rows: a label and a cost."""


def documents(client: redis.Redis, part: str = "") -> dict[str, bytes]:
    """The JSON of all documents whose key contains `part`, sorted by key."""
    found = {}
    for key in sorted(client.scan_iter(f"{ALL_KEYS}*{part}*", count=10_000)):
        name = key.decode()
        if not name.startswith(CONTENTS):
            found[name] = client.execute_command("JSON.GET", name, ".")
    return found


class StoredThread:
    """The documents of one thread, as a saver has stored them."""

    def __init__(self, client: redis.Redis, thread: Thread) -> None:
        tag = "{" + thread.config["configurable"]["thread_id"] + "}"
        self.contents = f"{CONTENTS}{tag}"
        self._documents = documents(client, tag)

    def last(self, kind: str) -> tuple[str, bytes]:
        """The last key of a kind, and its document."""
        return [item for item in self._documents.items() if item[0].startswith(kind)][-1]


# ---- calls to measure


def call_arguments(
    saver: Any, length: int, characters: int, call: str, first: int = 1
) -> Iterator[Any]:
    """Yield the arguments of one call for each superstep. The other call is made here.

    Args:
        length: number of messages in a thread; after them a new thread begins.
        characters: length of a message.
        call: "put" or "put_writes".
        first: number of messages that a thread has at the beginning.
    """
    messages = conversation(length, characters)
    while True:
        thread = Thread(saver)
        thread.put(messages[:first])
        for message in messages[first:]:
            write, put = thread.write_arguments(message), thread.put_arguments([message])
            if call == "put_writes":
                yield write
                saver.put(*put)
            else:
                saver.put_writes(*write)
                yield put
            config = thread.config["configurable"]
            thread.config = {"configurable": {**config, "checkpoint_id": put[1]["id"]}}


class BareCommand:
    """Sends the command that a put of this saver sends, without the saver's own work."""

    def __init__(self, saver: RedisSaver, client: redis.Redis) -> None:
        self._saver, self._client = saver, client
        self._reply: Any = None

    def __call__(self, *command: Any) -> None:
        self._reply = self._client.execute_command(*command)

    def arguments(self, length: int, characters: int) -> Iterator[Any]:
        """Yield the command of one put for each superstep."""
        for put in call_arguments(self._saver, length, characters, "put"):
            plan = put_operation.put(self._saver._context, *put)
            [command] = next(plan)
            yield command
            with suppress(StopIteration):
                plan.send([self._reply])


def new_savers(client: redis.Redis) -> Iterator[tuple[RedisSaver]]:
    """Yield savers that have cached nothing."""
    while True:
        yield (RedisSaver(client),)


def store_thread(saver: Any, length: int, characters: int) -> Thread:
    """Store a thread of `length` supersteps."""
    thread = Thread(saver)
    for number, message in enumerate(conversation(length, characters)):
        if number:
            saver.put_writes(*thread.write_arguments(message))
        thread.put([message])
    return thread


def new_key_script(
    client: redis.Redis, script: str, contents: str, key: str, *others: str
) -> Callable[..., Any]:
    """A function that calls a script, each time with a new key for its document.

    The indexes have not seen the key before, as in a real step.
    """
    digest = client.script_load(script)
    return lambda *values: client.execute_command(
        *("EVALSHA", digest, len(others) + 2, contents, f"{key}{next(_NUMBERS)}", *others, *values)
    )


def bare_put(client: redis.Redis, stored: StoredThread) -> Callable[[], Any]:
    """A function that repeats the last put of a thread by a bare script."""
    checkpoint, checkpoint_json = stored.last(CHECKPOINT)
    thread, thread_json = stored.last(THREAD)
    log, log_json = stored.last(LOG)
    message = orjson.dumps(orjson.loads(log_json)["items"][-1])
    growing_log = f"{log} grows"
    client.execute_command("JSON.SET", growing_log, "$", log_json)
    call = new_key_script(
        client, PUT_WITH_MESSAGE, stored.contents, checkpoint, thread, growing_log
    )
    return lambda: call("c", checkpoint_json, thread_json, message)


# ---- rows


def short_rows(saver: RedisSaver, client: redis.Redis) -> Rows:
    ours = store_thread(saver, 4, 60)
    stored = StoredThread(client, ours)
    checkpoint, checkpoint_json = stored.last(CHECKPOINT)
    thread, thread_json = stored.last(THREAD)
    writes, writes_json = stored.last(WRITES)
    log, _ = stored.last(LOG)
    put = new_key_script(client, PUT, stored.contents, checkpoint)
    put_with_thread = new_key_script(client, PUT_WITH_THREAD, stored.contents, checkpoint, thread)
    put_writes = new_key_script(client, PUT, stored.contents, writes)
    get = client.script_load(GET)
    memory = InMemorySaver()
    in_memory = store_thread(memory, 3, 60)
    memory_put = in_memory.put_arguments(conversation(4, 60)[3:])
    bare = BareCommand(saver, client)
    found = median_times(
        {
            "ping": client.ping,
            "memory put": lambda: memory.put(*memory_put),
            "memory get": lambda: memory.get_tuple(memory_put[0]),
            "put": lambda: put("c", checkpoint_json),
            "put with thread": lambda: put_with_thread("c", checkpoint_json, thread_json),
            "put with message": bare_put(client, stored),
            "put_writes": lambda: put_writes("w", writes_json),
            "get": lambda: client.execute_command(
                "EVALSHA", get, 4, stored.contents, checkpoint, writes, log
            ),
            "bare command": bare,
            "saver put": saver.put,
            "saver put_writes": saver.put_writes,
            "saver get": lambda: saver.get_tuple(ours.newest),
            "new saver get": lambda new: new.get_tuple(ours.newest),
        },
        ROUNDS,
        {
            "bare command": bare.arguments(4, 60),
            "new saver get": new_savers(client),
            "saver put": call_arguments(saver, 4, 60, "put"),
            "saver put_writes": call_arguments(saver, 4, 60, "put_writes"),
        },
    )

    def pings(*names: str, minus: str = "") -> str:
        total = sum(found[name] for name in names) - (found[minus] if minus else 0)
        return times(total / found["ping"], "PING")

    yield "put, short thread: one script, ZADD and JSON.SET of the checkpoint", pings("put")
    yield "… and JSON.SET of the thread document", pings("put with thread")
    yield "… and JSON.ARRAPPEND of the message", pings("put with message")
    with_serializer = "… and the time in which InMemorySaver serializes the checkpoint"
    yield with_serializer, pings("put with message", "memory put")
    yield "the command that this saver sends, without the saver", pings("bare command")
    yield with_serializer, pings("bare command", "memory put")
    yield SAVER, pings("saver put")
    yield "put_writes: one script, ZADD and JSON.SET", pings("put_writes")
    yield SAVER, pings("saver put_writes")
    yield f"get_tuple, short thread, minus {MEMORY}: one script that reads", pings("get")
    yield SAVER, pings("saver get", minus="memory get")
    yield NEW_SAVER, pings("new saver get", minus="memory get")


SAVER = "… this saver"
NEW_SAVER = "… a new saver, without cached values"


def read_rows(label: str, found: Mapping[str, float]) -> Rows:
    """The rows of a get_tuple, from the median times of its parts."""
    for what, read in (
        (f"{label}, orjson.loads, the serializer's load", "get"),
        ("… with the same command in a script", "script"),
    ):
        least = found[read] + found["parse"] + found["load"]
        yield what, times(least / found["memory"], MEMORY)
    yield SAVER, times(found["saver get"] / found["memory"], MEMORY)
    yield NEW_SAVER, times(found["new saver get"] / found["memory"], MEMORY)


def long_rows(saver: RedisSaver, client: redis.Redis) -> Rows:
    messages = conversation(200)
    ours, memory = Thread(saver), Thread(InMemorySaver())
    for thread in (ours, memory):
        thread.put(messages[:-1])
        put = thread.put_arguments(messages[-1:])
        thread.saver.put(*put)
    stored = StoredThread(client, ours)
    (log, log_json), dumped = stored.last(LOG), SERIALIZER.dumps_typed(messages)
    before = SERIALIZER.dumps_typed(messages[:-1])[1][3:]
    script = client.script_load(READ)
    path = "$.items[0:200]"
    found = median_times(
        {
            "put": bare_put(client, stored),
            "compare": lambda: dumped[1].startswith(before, 3),
            "memory put": lambda: memory.saver.put(*put),
            "saver put": saver.put,
            "saver get": lambda: saver.get_tuple(ours.newest),
            "new saver get": lambda new: new.get_tuple(ours.newest),
            "get": lambda: client.execute_command("JSON.GET", log, path),
            "script": lambda: client.execute_command("EVALSHA", script, 1, log, path),
            "parse": lambda: orjson.loads(log_json),
            "load": lambda: SERIALIZER.loads_typed(dumped),
            "memory": lambda: memory.saver.get_tuple(memory.newest),
        },
        LONG_ROUNDS,
        {
            "saver put": call_arguments(saver, 200, 600, "put", 199),
            "new saver get": new_savers(client),
        },
    )
    least = found["memory put"] + found["compare"] + found["put"]
    yield (
        f"put, 200 messages: {MEMORY}'s put, a comparison with the old list, the script above",
        times(least / found["memory put"], MEMORY),
    )
    yield SAVER, times(found["saver put"] / found["memory put"], MEMORY)
    yield from read_rows("get_tuple, 200 messages: JSON.GET of the log", found)


def task_rows(saver: RedisSaver, client: redis.Redis) -> Rows:
    sends = [Send("worker", {"item": prose(100)}) for _ in range(250)]
    results = [prose(200) for _ in sends]
    ours, memory = Thread(saver), Thread(InMemorySaver())
    for thread in (ours, memory):
        thread.put(conversation(1), {TASKS: sends})
        for number, result in enumerate(results):
            path = f"~__pregel_push, {number:010}"
            thread.saver.put_writes(thread.config, [("results", result)], str(uuid4()), path)
    stored = StoredThread(client, ours)
    writes, writes_json = stored.last(WRITES)
    tasks, tasks_json = stored.last(BLOB)
    single_writes = orjson.loads(writes_json)["writes"].values()
    dumped_tasks, dumped_writes = SERIALIZER.dumps_typed(sends), SERIALIZER.dumps_typed(results)
    script = client.script_load(READ_BOTH)

    def parse() -> None:
        for text in (writes_json, tasks_json, *single_writes):
            orjson.loads(text)

    def load() -> None:
        SERIALIZER.loads_typed(dumped_tasks)
        SERIALIZER.loads_typed(dumped_writes)

    found = median_times(
        {
            "get": lambda: client.execute_command("JSON.MGET", writes, tasks, "."),
            "script": lambda: client.execute_command("EVALSHA", script, 2, writes, tasks),
            "parse": parse,
            "load": load,
            "memory": lambda: memory.saver.get_tuple(memory.newest),
            "saver get": lambda: saver.get_tuple(ours.newest),
            "new saver get": lambda new: new.get_tuple(ours.newest),
        },
        LONG_ROUNDS,
        {"new saver get": new_savers(client)},
    )
    yield from read_rows("get_tuple, writes of 250 tasks: JSON.MGET", found)


def memory_rows(saver: RedisSaver, client: redis.Redis) -> Rows:
    def size(count: int) -> str:
        return f"{count / THREADS / 1e3:.1f} KB"

    before = used_memory(client)
    for _ in track(range(THREADS), "short threads", transient=True):
        store_thread(saver, 4, 60)
    grown = used_memory(client) - before
    yield "memory of a short thread of 4 supersteps, with its indexes", size(grown)
    stored = documents(client)
    for what, command in (
        ("… its documents as JSON, without indexes", ("JSON.SET", "$")),
        ("… its documents as Redis strings", ("SET",)),
    ):
        # On another server: RedisJSON stores equal strings once per server.
        with EmbeddedRedis() as embedded, redis.Redis.from_url(embedded.url) as other:
            before = used_memory(other)
            with other.pipeline(transaction=False) as pipeline:
                for key, text in stored.items():
                    pipeline.execute_command(command[0], key, *command[1:], text)
                pipeline.execute()
            yield what, size(used_memory(other) - before)
    yield "… the characters of its documents", size(sum(map(len, stored.values())))


@contextmanager
def open_saver() -> Iterator[tuple[RedisSaver, redis.Redis]]:
    """A saver on a server of its own, and a client of that server."""
    with EmbeddedRedis() as embedded, RedisSaver(embedded.url) as saver:
        saver.setup()
        with redis.Redis.from_url(embedded.url) as client:
            yield saver, client


def server_rows(saver: RedisSaver, client: redis.Redis) -> Rows:
    """Shares of the time that the server spends in the scripts of a superstep."""
    with EmbeddedRedis() as embedded, redis.Redis.from_url(embedded.url) as other:
        without_indexes = RedisSaver(other)
        pairs = ((saver, client), (without_indexes, other))
        for each, _ in pairs:
            store_thread(each, 4, 60)
        for _, server in pairs:
            server.config_resetstat()
        for _ in track(range(THREADS), "server time", transient=True):
            for each, _ in pairs:
                store_thread(each, 4, 60)
        spent = [
            {name: one["usec"] for name, one in server.info("commandstats").items()}
            for _, server in pairs
        ]
    whole, bare = (each.pop("cmdstat_evalsha") for each in spent)
    without = spent[1]
    documents_ = without.pop("cmdstat_json.set") + without.pop("cmdstat_json.arrappend")
    others = sum(used for name, used in without.items() if name.startswith("cmdstat_z"))

    def share(part: float) -> str:
        return f"{part / whole:.0%}"

    yield "server's time in the scripts of put and put_writes, short threads", share(whole)
    yield "… the indexes", share(whole - bare)
    yield "… JSON.SET and JSON.ARRAPPEND, without indexes", share(documents_)
    yield "… the table of contents", share(others)
    yield "… the script itself: atomic, in one trip", share(bare - documents_ - others)


def main() -> None:
    gc.freeze()
    rows: list[tuple[str, str]] = []
    for measure in (short_rows, long_rows, task_rows, server_rows, memory_rows):
        with open_saver() as (saver, client):
            rows += measure(saver, client)
    result = table(["what", "cost"], rows)
    print(result)
    replace_block(DOCS / "performance.md", "make bench floors", result)


if __name__ == "__main__":
    main()

"""The least that some steps can cost here: the commands alone, without a saver around them.

    make bench

What this saver stores is taken from its server and sent and read again by bare scripts and
commands, through redis-py, in turns with PING and with the saver itself. No saver that keeps these
documents and indexes can take less. A saver that has stored a checkpoint remembers it; so there is
also another one that reads it for the first time. Writes the table into docs/performance.md.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import orjson
import redis
from bench_work import Thread, conversation, prose
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import Send
from rich.progress import track

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
ROUNDS = 300
THREADS = 300
SERDE = JsonPlusSerializer()
_NUMBERS = count()

PUT = """
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('JSON.SET', KEYS[2], '$', ARGV[2])
"""
PUT_AND_SUMMARY = PUT + "redis.call('JSON.SET', KEYS[3], '$', ARGV[3])"
PUT_ALL = PUT_AND_SUMMARY + "redis.call('JSON.ARRAPPEND', KEYS[4], '$.items', ARGV[4])"
GET = """
redis.call('ZREVRANGEBYLEX', KEYS[1], '+', '-', 'LIMIT', 0, 1)
return {
  redis.call('JSON.MGET', KEYS[2], KEYS[3], '.'),
  redis.call('JSON.GET', KEYS[4], '$.format', '$.items[0:400]'),
}
"""


READ = "return redis.call('JSON.GET', KEYS[1], ARGV[1])"
READ_BOTH = "return redis.call('JSON.MGET', KEYS[1], KEYS[2], '.')"


class Stored:
    """What a saver has stored of one thread, by kind of key."""

    def __init__(self, client: redis.Redis, thread: Thread) -> None:
        self.client = client
        self.tag = "{" + thread.config["configurable"]["thread_id"] + "}"
        self.texts: dict[str, bytes] = {}
        for key in sorted(client.scan_iter(f"checkpoint*{self.tag}*", count=10_000)):
            if b"_keys:" not in key:
                self.texts[key.decode()] = client.execute_command("JSON.GET", key, ".")

    def last(self, kind: str) -> tuple[str, bytes]:
        """The last key of a kind, and its document."""
        return [(key, text) for key, text in self.texts.items() if key.startswith(f"{kind}:")][-1]


def in_turns(
    calls: Mapping[str, Callable[..., Any]],
    rounds: int = ROUNDS,
    prepared: Mapping[str, Iterator[Any]] = MappingProxyType({}),
) -> dict[str, float]:
    """The medians of calls that alternate, in another order each time, in seconds.

    Args:
        prepared: gives a call its arguments, unmeasured.
    """
    spent: dict[str, list[float]] = {name: [] for name in calls}
    order, chance = [*calls.items()], Random(7)
    for _ in range(rounds):
        chance.shuffle(order)  # what came before decides what the processor's caches hold
        for name, call in order:
            arguments = next(prepared[name]) if name in prepared else ()
            start = perf_counter()
            call(*arguments)
            spent[name].append(perf_counter() - start)
    return {name: median(times) for name, times in spent.items()}


def supersteps(
    saver: Any, length: int, characters: int, call: str, first: int = 1
) -> Iterator[Any]:
    """The arguments of one call of each superstep, for ever; the other one is done here.

    Args:
        call: "put" or "put_writes".
        length: how many messages a thread gets.
        first: how many of them it has at first.
    """
    said = conversation(length, characters)
    while True:
        thread = Thread(saver)
        thread.put(said[:first])
        for message in said[first:]:
            write, step = thread.write(message), thread.step_on([message])
            if call == "put_writes":
                yield write
                saver.put(*step)
            else:
                saver.put_writes(*write)
                yield step
            config = thread.config["configurable"]
            thread.config = {"configurable": {**config, "checkpoint_id": step[1]["id"]}}


class Alone:
    """Sends a saver's own commands, of one put of each superstep, without the saver around them."""

    def __init__(self, saver: RedisSaver, client: redis.Redis) -> None:
        self.saver, self.client = saver, client
        self.reply: Any = None

    def __call__(self, *command: Any) -> None:
        self.reply = self.client.execute_command(*command)

    def commands(self, length: int, characters: int, first: int = 1) -> Iterator[Any]:
        for step in supersteps(self.saver, length, characters, "put", first):
            plan = self.saver._plans.put(*step)
            [command] = next(plan)
            yield command
            with suppress(StopIteration):
                plan.send([self.reply])


def first_reads(client: redis.Redis) -> Iterator[tuple[RedisSaver]]:
    """Savers that remember nothing."""
    while True:
        yield (RedisSaver(client),)


def talk(saver: Any, length: int, characters: int) -> Thread:
    """A thread of so many supersteps."""
    thread = Thread(saver)
    for number, message in enumerate(conversation(length, characters)):
        if number:
            saver.put_writes(*thread.write(message))
        thread.put([message])
    return thread


def anew(client: redis.Redis, source: str, contents: str, key: str, *more: str) -> Any:
    """A call of a script that stores a document under a new key each time, as a step does: the
    indexes have not seen it."""
    digest = client.script_load(source)
    return lambda *values: client.execute_command(
        *("EVALSHA", digest, len(more) + 2, contents, f"{key}{next(_NUMBERS)}", *more, *values)
    )


def put_all(client: redis.Redis, stored: Stored) -> Callable[[], Any]:
    """A call of the bare script that does what the last put of a thread did."""
    (checkpoint, text), (summary, at_a_glance), (log, items) = map(
        stored.last, ("checkpoint", "checkpoint_thread", "checkpoint_log")
    )
    item, grows = orjson.dumps(orjson.loads(items)["items"][-1]), f"{log} grows"
    client.execute_command("JSON.SET", grows, "$", items)
    contents = f"checkpoint_keys:{stored.tag}"
    call = anew(client, PUT_ALL, contents, checkpoint, summary, grows)
    return lambda: call("c", text, at_a_glance, item)


def short_rows(saver: RedisSaver, client: redis.Redis) -> Iterator[tuple[str, str]]:
    ours = talk(saver, 4, 60)
    stored = Stored(client, ours)
    (checkpoint, text), (summary, at_a_glance) = map(
        stored.last, ("checkpoint", "checkpoint_thread")
    )
    (write, written), (log, _) = map(stored.last, ("checkpoint_write", "checkpoint_log"))
    contents = f"checkpoint_keys:{stored.tag}"
    put, writes = (anew(client, PUT, contents, key) for key in (checkpoint, write))
    both = anew(client, PUT_AND_SUMMARY, contents, checkpoint, summary)
    whole = put_all(client, stored)
    get = client.script_load(GET)
    memory = InMemorySaver()
    thread = talk(memory, 3, 60)
    step = thread.step_on(conversation(4, 60)[3:])
    alone = Alone(saver, client)
    times = in_turns(
        {
            "ping": client.ping,
            "memory put": lambda: memory.put(*step),
            "memory get": lambda: memory.get_tuple(step[0]),
            "put": lambda: put("c", text),
            "both": lambda: both("c", text, at_a_glance),
            "whole": whole,
            "writes": lambda: writes("w", written),
            "get": lambda: client.execute_command(
                "EVALSHA", get, 4, contents, checkpoint, write, log
            ),
            "alone": alone,
            "this put": saver.put,
            "this writes": saver.put_writes,
            "this get": lambda: saver.get_tuple(ours.found),
            "first get": lambda other: other.get_tuple(ours.found),
        },
        prepared={
            "alone": alone.commands(4, 60),
            "first get": first_reads(client),
            "this put": supersteps(saver, 4, 60, "put"),
            "this writes": supersteps(saver, 4, 60, "put_writes"),
        },
    )

    def pings(*names: str) -> str:
        return f"{sum(times[name] for name in names) / times['ping']:.2f} × PING"  # noqa: RUF001

    yield "put, short thread: one script, ZADD and JSON.SET of the checkpoint", pings("put")
    yield "… and JSON.SET of the thread's document", pings("both")
    yield "… and JSON.ARRAPPEND of the message", pings("whole")
    yield "… and what InMemorySaver takes to serialize the same", pings("whole", "memory put")
    yield "this saver's own command, without the saver", pings("alone")
    yield "… and what InMemorySaver takes to serialize the same", pings("alone", "memory put")
    yield "… this saver's, in the same turns", pings("this put")
    yield "put_writes: one script, ZADD and JSON.SET", pings("writes")
    yield "… this saver's, in the same turns", pings("this writes")
    yield "get_tuple, short thread, beyond InMemorySaver: one script that reads", pings("get")
    for what, reader in (
        ("… this saver's, in the same turns", "this get"),
        ("… another one's, for the first time", "first get"),
    ):
        times["beyond"] = times[reader] - times["memory get"]
        yield what, pings("beyond")


def gets(times: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    for what, reader in (
        ("… this saver's, in the same turns", "this get"),
        ("… another one's, for the first time", "first get"),
    ):
        yield what, f"{times[reader] / times['memory']:.2f} × InMemorySaver"  # noqa: RUF001


def long_rows(saver: RedisSaver, client: redis.Redis) -> Iterator[tuple[str, str]]:
    said = conversation(200)
    ours, memory = Thread(saver), Thread(InMemorySaver())
    for thread in (ours, memory):
        thread.put(said[:-1])
        step = thread.step_on(said[-1:])
        thread.saver.put(*step)
    stored = Stored(client, ours)
    (log, text), data = stored.last("checkpoint_log"), SERDE.dumps_typed(said)
    before = SERDE.dumps_typed(said[:-1])[1][3:]
    script = client.script_load(READ)
    times = in_turns(
        {
            "put": put_all(client, stored),
            "compare": lambda: data[1].startswith(before, 3),
            "memory put": lambda: memory.saver.put(*step),
            "this put": saver.put,
            "this get": lambda: saver.get_tuple(ours.found),
            "first get": lambda other: other.get_tuple(ours.found),
            "get": lambda: client.execute_command("JSON.GET", log, "$.items[0:200]"),
            "script": lambda: client.execute_command("EVALSHA", script, 1, log, "$.items[0:200]"),
            "parse": lambda: orjson.loads(text),
            "load": lambda: SERDE.loads_typed(data),
            "memory": lambda: memory.saver.get_tuple(memory.found),
        },
        31,
        {
            "this put": supersteps(saver, 200, 600, "put", 199),
            "first get": first_reads(client),
        },
    )
    least = times["memory put"] + times["compare"] + times["put"]
    yield (
        "put, 200 messages: what InMemorySaver does, a look which are new, and that script",
        f"{least / times['memory put']:.2f} × InMemorySaver",  # noqa: RUF001
    )
    ratio = times["this put"] / times["memory put"]
    yield "… this saver's, in the same turns", f"{ratio:.2f} × InMemorySaver"  # noqa: RUF001
    for what, read in (
        (
            "get_tuple, 200 messages: JSON.GET of the log, orjson.loads, the serializer's load",
            "get",
        ),
        ("… with JSON.GET in a script", "script"),
    ):
        least = times[read] + times["parse"] + times["load"]
        yield what, f"{least / times['memory']:.2f} × InMemorySaver"  # noqa: RUF001
    yield from gets(times)


def task_rows(saver: RedisSaver, client: redis.Redis) -> Iterator[tuple[str, str]]:
    sends = [Send("worker", {"item": prose(100)}) for _ in range(250)]
    results = [prose(200) for _ in sends]
    ours, memory = Thread(saver), Thread(InMemorySaver())
    for thread in (ours, memory):
        thread.put(conversation(1), **{TASKS: sends})
        for number, result in enumerate(results):
            path = f"~__pregel_push, {number:010}"
            thread.saver.put_writes(thread.config, [("results", result)], str(uuid4()), path)
    stored = Stored(client, ours)
    (writes, text), (tasks, blob) = map(stored.last, ("checkpoint_write", "checkpoint_blob"))
    one_by_one = orjson.loads(text)["writes"].values()
    data, written = SERDE.dumps_typed(sends), SERDE.dumps_typed(results)
    script = client.script_load(READ_BOTH)

    def parse() -> None:
        for part in (text, blob, *one_by_one):
            orjson.loads(part)

    def load() -> None:
        SERDE.loads_typed(data)
        SERDE.loads_typed(written)

    times = in_turns(
        {
            "get": lambda: client.execute_command("JSON.MGET", writes, tasks, "."),
            "script": lambda: client.execute_command("EVALSHA", script, 2, writes, tasks),
            "parse": parse,
            "load": load,
            "memory": lambda: memory.saver.get_tuple(memory.found),
            "this get": lambda: saver.get_tuple(ours.found),
            "first get": lambda other: other.get_tuple(ours.found),
        },
        31,
        {"first get": first_reads(client)},
    )
    for what, read in (
        ("get_tuple with 250 tasks' writes: JSON.MGET, orjson.loads, the serializer's load", "get"),
        ("… with JSON.MGET in a script", "script"),
    ):
        least = times[read] + times["parse"] + times["load"]
        yield what, f"{least / times['memory']:.2f} × InMemorySaver"  # noqa: RUF001
    yield from gets(times)


def memory_rows(saver: RedisSaver, client: redis.Redis) -> Iterator[tuple[str, str]]:
    def used(client: redis.Redis) -> int:
        return int(client.info("memory")["used_memory"])

    def size(grown: int) -> str:
        return f"{grown / THREADS / 1e3:.1f} KB"

    before = used(client)
    for _ in track(range(THREADS), "short threads", transient=True):
        talk(saver, 4, 60)
    yield "a short thread of 4 supersteps, as stored, with its indexes", size(used(client) - before)
    texts: dict[bytes, bytes] = {}
    for key in client.scan_iter("checkpoint*", count=10_000):
        if b"_keys:" not in key:
            texts[key] = client.execute_command("JSON.GET", key, ".")
    for what, command in (
        ("the same documents as JSON, without any index", ("JSON.SET", "$")),
        ("the same documents as plain strings", ("SET",)),
    ):
        # Another server: RedisJSON keeps equal strings once.
        with EmbeddedRedis() as embedded, redis.Redis.from_url(embedded.url) as other:
            pipeline, before = other.pipeline(transaction=False), used(other)
            for key, text in texts.items():
                pipeline.execute_command(command[0], key, *command[1:], text)
            pipeline.execute()
            pipeline.reset()
            yield what, size(used(other) - before)
    yield "their characters alone", size(sum(map(len, texts.values())))


@contextmanager
def server() -> Iterator[tuple[RedisSaver, redis.Redis]]:
    with EmbeddedRedis() as embedded, RedisSaver(embedded.url) as saver:
        saver.setup()
        with redis.Redis.from_url(embedded.url) as client:
            yield saver, client


def main() -> None:
    gc.freeze()
    lines = ["| what | at least |", "| --- | --- |"]
    for rows in (short_rows, long_rows, task_rows, memory_rows):
        with server() as (saver, client):
            lines += [f"| {what} | {cost} |" for what, cost in rows(saver, client)]
    table = "\n".join(lines)
    print(table)
    page = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- make bench: floors -->\n", "<!-- end: floors -->"
    page = re.sub(f"{begin}.*?{end}", f"{begin}\n{table}\n\n{end}", page, flags=re.DOTALL)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

"""stats: how much there is, and where."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
import typer
from redis.exceptions import NoPermissionError, ResponseError
from rich.text import Text

from langgraph_redis_json.cli.acting import threads as some_threads
from langgraph_redis_json.cli.connection import connect, run
from langgraph_redis_json.cli.options import Json
from langgraph_redis_json.cli.output import (
    complain,
    print_json,
    progress,
    show,
    size,
    table,
    text_of,
)
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.replies import mapping, text
from langgraph_redis_json.operations import table_of_contents, threads
from langgraph_redis_json.saver import RedisSaver
from langgraph_redis_json.search import queries
from langgraph_redis_json.search.fields import SCHEMAS
from langgraph_redis_json.storage import keys, plain
from langgraph_redis_json.storage.keys import ThreadKeys
from langgraph_redis_json.storage.loading import DAMAGE

PAGE = 50
"""Threads whose tables of contents one trip reads."""

KEYS = 500
"""Keys whose memory one trip asks for, so that the server is soon free again."""


@dataclass
class Weight:
    """What a thread takes.

    Attributes:
        thread_id: the thread.
        status: of its thread document; "" without a checkpoint of the root graph.
        checkpoints: in all its namespaces.
        messages: in the newest checkpoint of its root graph; None if they are not JSON.
        keys: how many it has.
        bytes: of all its keys, as ``MEMORY USAGE`` counts.
    """

    thread_id: str
    status: str = ""
    checkpoints: int = 0
    messages: int | None = 0
    keys: int = 0
    bytes: int = 0


def stats(
    context: typer.Context,
    top: Annotated[
        int,
        typer.Option(
            "--top", metavar="NUMBER", min=0, help="Of the heaviest threads, so many are listed."
        ),
    ] = 10,
    json: Json = False,
) -> None:
    """Count threads, checkpoints, messages and bytes.

    Also list the heaviest threads, and what the search indexes take.

    It looks at every key of every thread. Messages are those in the current state of each thread.
    Bytes are counted as MEMORY USAGE counts, which is somewhat more than the server's memory: it
    counts a text that several documents share in each of them.
    """
    with connect(context) as saver:
        tags = run(saver, _tags(saver))
        with_bytes = _may_count_bytes(saver)
        bar, advance = progress("Counting", len(tags))
        weights: list[Weight] = []
        with bar:
            for number, page in enumerate(table_of_contents.pages(tags, PAGE)):
                weights += _weigh(saver, page, with_bytes)
                advance(number * PAGE + len(page))
        indexes = [*_indexes(saver)]
        if json:
            _print_json(weights, indexes, top)
        else:
            _print(weights, indexes, top)


def _tags(saver: RedisSaver) -> Plan[list[str]]:
    """All threads, as their names stand in keys."""
    index = queries.index_name(saver.key_prefix, "threads")
    found = yield from threads.names_of_all(saver._context, index)
    start = len(f"{saver.key_prefix}thread:")
    return [name[start:] for name in found]


def _may_count_bytes(saver: RedisSaver) -> bool:
    """Whether the user may ask for the memory of a key."""

    def ask() -> Plan[None]:
        yield [("MEMORY USAGE", f"{saver.key_prefix}contents:{{~}}")]

    try:
        run(saver, ask())
    except NoPermissionError as error:
        complain(f"Warning: the bytes of threads are not counted: {error}.")
        return False
    return True


def _weigh(saver: RedisSaver, tags: Sequence[str], with_bytes: bool) -> Iterator[Weight]:
    """What some threads take, in few trips."""
    of_thread = {
        tag: ThreadKeys(saver.key_prefix, tag, f"{saver.key_prefix}contents:{tag}") for tag in tags
    }
    weights = {tag: Weight(keys.unescape(tag[1:-1]) if tag != "{~}" else "") for tag in tags}

    def ask() -> Plan[None]:
        replies = yield [("ZRANGEBYLEX", one.contents, "-", "+") for one in of_thread.values()]
        names: list[tuple[str, str]] = []
        for (tag, one), entries in zip(of_thread.items(), replies, strict=True):
            named = [entry for entry in map(text, entries) if entry[:1] in keys.KINDS]
            weights[tag].checkpoints = sum(entry.startswith("c:") for entry in named)
            names += [(tag, one.contents), *((tag, one.key(entry)) for entry in named)]
            weights[tag].keys = 1 + len(named)
        for page in table_of_contents.pages(names, KEYS) if with_bytes else ():
            sizes = yield [("MEMORY USAGE", key) for _, key in page]
            for (tag, _), bytes_ in zip(page, sizes, strict=True):
                weights[tag].bytes += bytes_ or 0

    def count() -> Plan[None]:
        documents = yield [("JSON.GET", one.key("t"), ".") for one in of_thread.values()]
        newest: dict[str, str] = {}
        for tag, document in zip(of_thread, documents, strict=True):
            with suppress(*DAMAGE):
                fields = orjson.loads(document)
                weights[tag].status = str(fields["status"])
                newest[tag] = keys.checkpoint_entry("", fields["checkpoint_id"])
        values = yield [
            ("JSON.GET", of_thread[tag].key(entry), "$.channel_values")
            for tag, entry in newest.items()
        ]
        blobs: dict[str, str] = {}
        for tag, value in zip(newest, values, strict=True):
            with suppress(*DAMAGE):
                [channels] = orjson.loads(value)
                stored = channels.get("messages") or {}
                if "blob" in stored and of_thread[tag].find_entry(stored["blob"]):
                    blobs[tag] = stored["blob"]
                weights[tag].messages = _messages(channels)
        documents = (yield [("JSON.GET", key, ".") for key in blobs.values()]) if blobs else []
        for tag, document in zip(blobs, documents, strict=True):
            with suppress(*DAMAGE):
                value = orjson.loads(document)["value"]
                weights[tag].messages = _messages({"messages": value})

    run(saver, ask())
    run(saver, count())
    yield from weights.values()


def _messages(channels: dict[str, Any]) -> int | None:
    """How many chat messages the channels of a checkpoint hold: those of the channel "messages", if
    there is one."""
    if "messages" not in channels:
        return sum(len(plain.messages_of(v)) for v in channels.values() if _is_inline(v))
    stored = channels["messages"]
    if isinstance(stored, dict) and "log" in stored:
        return int(sum(stop - start for *_, start, stop in stored["log"]))
    return len(plain.messages_of(stored)) if _is_inline(stored) else None


def _is_inline(stored: Any) -> bool:
    return isinstance(stored, dict) and not {"log", "blob", "base64"}.intersection(stored)


def _indexes(saver: RedisSaver) -> Iterator[dict[str, Any]]:
    """What each search index takes."""
    for which in (*SCHEMAS, "messages"):
        name = queries.index_name(saver.key_prefix, which)

        def ask(name: str = name) -> Plan[Any]:
            [reply] = yield [("FT.INFO", name)]
            return reply

        try:
            info = mapping(run(saver, ask()))
        except ResponseError as error:
            if not queries.is_missing(error):
                raise
            continue
        total = info.get("total_index_memory_sz_mb", 0)
        yield {
            "index": name,
            # A cluster may count a document several times, or leave out those of a node.
            "documents": None if saver._runner.clustered else int(info["num_docs"]),
            "bytes": round(float(total) * 1024 * 1024),
        }


def _print_json(weights: list[Weight], indexes: list[dict[str, Any]], top: int) -> None:
    statuses = Counter(one.status for one in weights)
    print_json(
        {
            "kind": "total",
            "threads": len(weights),
            **{name: statuses.get(name, 0) for name in threads.STATUSES},
            "checkpoints": sum(one.checkpoints for one in weights),
            "messages": sum(one.messages or 0 for one in weights),
            "keys": sum(one.keys for one in weights),
            "bytes": sum(one.bytes for one in weights),
            "index_bytes": sum(one["bytes"] for one in indexes),
        }
    )
    for one in _heaviest(weights, top):
        print_json({"kind": "thread", **vars(one)})
    for index in indexes:
        print_json({"kind": "index", **index})


def _heaviest(weights: list[Weight], top: int) -> list[Weight]:
    return heapq.nlargest(top, weights, key=lambda one: one.bytes)


def _print(weights: list[Weight], indexes: list[dict[str, Any]], top: int) -> None:
    statuses = Counter(one.status for one in weights)
    described = ", ".join(
        f"{statuses[name]:,} {name}" for name in threads.STATUSES if statuses[name]
    )
    right: dict[str, Any] = {"justify": "right", "no_wrap": True}
    totals = table("", ("", right), "")
    totals.show_header = False
    unread = sum(one.messages is None for one in weights)
    for name, value, remark in (
        ("threads", f"{len(weights):,}", described),
        ("checkpoints", f"{sum(one.checkpoints for one in weights):,}", ""),
        (
            "messages",
            f"{sum(one.messages or 0 for one in weights):,}",
            f"{some_threads(unread)} with messages that are not JSON" if unread else "",
        ),
        ("keys", f"{sum(one.keys for one in weights):,}", ""),
        ("documents", size(sum(one.bytes for one in weights)), ""),
        ("indexes", size(sum(one["bytes"] for one in indexes)), ""),
    ):
        totals.add_row(Text(name), Text(value), Text(remark))
    show(totals)
    if weights and top:
        typer.echo()
        made = table(
            "heaviest threads", ("bytes", right), ("checkpoints", right), ("messages", right)
        )
        for one in _heaviest(weights, top):
            messages = "?" if one.messages is None else f"{one.messages:,}"
            made.add_row(text_of(one.thread_id), size(one.bytes), f"{one.checkpoints:,}", messages)
        show(made)
    if indexes:
        typer.echo()
        made = table("index", ("documents", right), ("bytes", right))
        for index in indexes:
            documents = "?" if index["documents"] is None else f"{index['documents']:,}"
            made.add_row(text_of(index["index"]), documents, size(index["bytes"]))
        show(made)

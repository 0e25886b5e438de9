"""Measures the search in messages: what it adds to a put, searches at two sizes, the memory.

    make bench-messages

Fills Redis servers of its own. Writes the figures into docs/search.md. With --quick there are fewer
messages, and nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from docs_page import DOCS, measured_by, replace_block, table
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from measuring import median_times, seconds, used_memory
from redis import Redis
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis

MESSAGES = 20
"""Messages of each stored thread."""

THREADS_PER_USER = 2

WORDS = 20
"""Words of each message."""

LENGTHS = (4, 100)
"""Messages of the conversations to which puts add one."""

VOCABULARY = [f"{a}{b}{c}" for a in "bdfgklmnprstvz" for b in "aeiou" for c in range(300)]

SEARCHED = "parcel lisbon"
"""One message in 20 has the first word, and one in 20 the second."""


def text(number: int) -> str:
    """A message: some words are frequent, most are rare."""
    random = Random(number)
    size = len(VOCABULARY)
    words = [VOCABULARY[int(size * random.random() ** 3)] for _ in range(WORDS - 2)]
    words += [word for word in SEARCHED.split() if random.random() < 0.05]
    return " ".join(words)


def message(number: int) -> HumanMessage | AIMessage:
    kind = AIMessage if number % 2 else HumanMessage
    return kind(text(number), id=str(uuid6(clock_seq=number % 16384)))


def put(saver: RedisSaver, config: Any, messages: Sequence[Any], step: int, user: int) -> Any:
    checkpoint = empty_checkpoint()
    checkpoint["id"] = str(uuid6())
    checkpoint["channel_values"] = {"messages": list(messages)}
    checkpoint["channel_versions"] = {"messages": f"{step:032}.{user}"}
    metadata: Any = {"source": "loop", "step": step, "parents": {}, "user_id": f"user-{user}"}
    return saver.put(config, checkpoint, metadata, checkpoint["channel_versions"])


def fill(saver: RedisSaver, threads: range) -> None:
    """Store threads, with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as progress:
        bar = progress.add_task("storing", total=len(threads) * MESSAGES)
        for number in threads:
            config = {"configurable": {"thread_id": f"thread-{number}", "checkpoint_ns": ""}}
            first = number * MESSAGES
            messages = [message(n) for n in range(first, first + MESSAGES)]
            put(saver, config, messages, 1, number // THREADS_PER_USER)
            progress.advance(bar, MESSAGES)


def puts(
    saver: RedisSaver, name: str, length: int, threads: int
) -> list[tuple[RedisSaver, Any, list[Any], int, int]]:
    """The arguments of puts, each of which adds a message to a conversation of a length."""
    found = []
    for number in range(threads):
        config: Any = {"configurable": {"thread_id": f"{name}-{number}", "checkpoint_ns": ""}}
        messages = [message(n) for n in range(length)]
        config = put(saver, config, messages, 0, 0)
        found.append((saver, config, [*messages, message(length)], 1, 0))
    return found


def put_times(url: str, rounds: int) -> dict[str, float]:
    """The median seconds of a put that adds a message, without and with message_search."""
    arguments: dict[str, Iterator[Any]] = {}
    for search in (False, True):
        saver = RedisSaver(url, message_search=search)
        saver.setup()
        for length in LENGTHS:
            name = f"{length} {search}"
            arguments[name] = iter(puts(saver, name, length, rounds))
    return median_times(dict.fromkeys(arguments, put), rounds, arguments)


SEARCHES: dict[str, Callable[[RedisSaver, int], list[Any]]] = {
    'search_messages("parcel lisbon", filter={"user_id": …}, limit=20)': lambda saver, user: list(
        saver.search_messages(SEARCHED, filter={"user_id": f"user-{user}"}, limit=20)
    ),
    'search_messages("parcel", filter={"user_id": …}, limit=20)': lambda saver, user: list(
        saver.search_messages("parcel", filter={"user_id": f"user-{user}"}, limit=20)
    ),
    'search_messages("parcel lisbon", limit=20)': lambda saver, _: list(
        saver.search_messages(SEARCHED, limit=20)
    ),
    'search_messages("parcel lisbon", newest_first=True, limit=20)': lambda saver, _: list(
        saver.search_messages(SEARCHED, newest_first=True, limit=20)
    ),
}
"""The measured searches. Each gets the number of a user."""


def search_times(saver: RedisSaver, threads: int, rounds: int) -> dict[str, float]:
    """The median seconds of each search."""

    def users() -> Iterator[tuple[RedisSaver, int]]:
        number = 0
        while True:
            number += 7
            yield saver, number % (threads // THREADS_PER_USER)

    return median_times(SEARCHES, rounds, {name: users() for name in SEARCHES})


def without_documents(client: Redis, threads: int) -> None:
    """Delete the index and all documents of messages."""
    client.execute_command("FT.DROPINDEX", "langgraph:messages")
    for first in range(0, threads, 100):
        pipeline = client.pipeline(transaction=False)
        contents = [f"langgraph:contents:{{thread-{n}}}" for n in range(first, first + 100)]
        for key in contents:
            pipeline.zrangebylex(key, "[m:", "(m;")
        for key, entries in zip(contents, pipeline.execute(), strict=True):
            thread = key.partition("{")[2]
            names = [entry.decode() for entry in entries]
            pipeline.unlink(*(f"langgraph:message:{{{thread}{name[1:]}" for name in names))
            pipeline.zrem(key, *entries)
        pipeline.execute()


def report(sizes: Sequence[int], rounds: int) -> str:
    """Measure, and return the figures as Markdown."""
    with EmbeddedRedis() as server:
        taken = put_times(server.url, rounds * 5)
    columns: list[dict[str, float]] = []
    with EmbeddedRedis() as server, RedisSaver(server.url, message_search=True) as saver:
        client = Redis.from_url(server.url)
        saver.setup()
        done = 0
        for size in sizes:
            fill(saver, range(done, size // MESSAGES))
            done = size // MESSAGES
            columns.append(search_times(saver, done, rounds))
        total = sizes[-1]
        with_all = used_memory(client)
        found = client.execute_command("FT.SEARCH", "langgraph:messages", SEARCHED, "LIMIT", 0, 0)
        matches = found[b"total_results"] if isinstance(found, dict) else found[0]
        [name] = [n for n in client.execute_command("FT._LIST") if b"messages" in n]
        info = client.execute_command("FT.INFO", name)
        members = info if isinstance(info, dict) else dict(zip(info[::2], info[1::2], strict=True))
        index_bytes = float(members[b"total_index_memory_sz_mb"]) * 2**20
        without_documents(client, done)
        unchanged = RedisSaver(server.url, message_search=True)
        wait_for_memory(client)
        without = used_memory(client)
        # Its documents have more than the others had, so all of them are written again.
        again = RedisSaver(server.url, message_search={"tool_calls": True})
        filled = seconds(again.setup)
        assert again.search_messages(SEARCHED) is not None
        nothing = seconds(unchanged.setup)
        client.close()
    rows = []
    for call in SEARCHES:
        found_times = [column[call] for column in columns]
        cells = [f"{spent * 1_000:.2f} ms" for spent in found_times]
        rows.append([f"`{call}`", *cells, f"{found_times[-1] / found_times[0]:.1f}"])
    each = (with_all - without) / total
    return "\n".join(
        [
            "A `put` that adds a message to a conversation (medians of interleaved calls):\n",
            table(
                ["", "without `message_search`", "with", "ratio"],
                [
                    [
                        f"{length} messages",
                        *(f"{taken[f'{length} {on}'] * 1e6:,.0f} µs" for on in (False, True)),
                        f"{taken[f'{length} True'] / taken[f'{length} False']:.2f}",
                    ]
                    for length in LENGTHS
                ],
            ),
            "Searches (medians):\n",
            table(["", *(f"{size:,} messages" for size in sizes), "ratio"], rows),
            f"At {total:,} messages {matches:,} have both words. A message has {WORDS} words and "
            f"takes {each:,.0f} bytes of memory for its document, its entry and the index (the "
            f"index alone {index_bytes / total:,.0f} bytes, as FT.INFO reports): "
            f"{each * total / 1e9:.1f} GB for all.\n",
            f"`setup()` took {filled:,.0f} s to write the documents of {total:,} messages that "
            f"were stored already, and {nothing:,.1f} s when it was called again.\n",
        ]
    )


def wait_for_memory(client: Redis) -> None:
    """Wait until Redis has freed in the background what was deleted."""
    last = 0
    while (now := used_memory(client)) != last:
        last = now
        client.execute_command("WAIT", 1, 2_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="do less, in half a minute")
    options = parser.parse_args()
    sizes = (2_000, 20_000) if options.quick else (10_000, 1_000_000)
    figures = report(sizes, 20 if options.quick else 100)
    print(figures)
    if not options.quick:
        block = f"{measured_by('make bench-messages')}\n\n{figures}"
        replace_block(DOCS / "search.md", "make bench-messages", block)


if __name__ == "__main__":
    main()

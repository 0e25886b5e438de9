"""Measures what readable JSON costs, compared with the serializer alone.

    make bench

Writes a table of ratios into docs/performance.md. The two sides of a ratio run in turns, because
ratios are more reliable than times on a busy machine.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import orjson
import ormsgpack
from docs_page import DOCS, replace_block, table
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from measuring import median_times
from pybase64 import b64decode, b64encode

from langgraph_redis_json.storage import channels, json_codec
from langgraph_redis_json.storage.cache import StoredChannel
from langgraph_redis_json.storage.channels import Storage
from langgraph_redis_json.storage.keys import CheckpointIdentity, thread_keys

ROUNDS = 61
SERIALIZER = JsonPlusSerializer()


def prose(characters: int) -> str:
    """Text as a model writes it: words with quotes, new lines and non-ASCII characters."""
    random = Random(7)
    words = ["agent", "weather", "the", "of", "tool", "call", "answer", "then", "because", "is"]
    text = ""
    while len(text) < characters:
        line = " ".join(random.choices(words, k=12))
        text += f'{line}, "{random.choice(words)}" café.\n'
    return text[:characters]


def messages(count: int) -> list[AnyMessage]:
    """A conversation of messages of about 600 characters, with a tool call in each answer."""
    found: list[AnyMessage] = []
    for number in range(count // 2):
        found.append(HumanMessage(prose(600), id=f"human-{number}"))
        call = {"name": "weather", "args": {"city": "Paris"}, "id": f"call-{number}"}
        found.append(
            AIMessage(
                prose(560),
                id=f"ai-{number}",
                tool_calls=[call],
                usage_metadata={"input_tokens": 80, "output_tokens": 9, "total_tokens": 89},
            )
        )
    return found


def compare(
    ours: Callable[[Any], Any], reference: Callable[[Any], Any], make_argument: Callable[[], Any]
) -> tuple[float, float]:
    """The median seconds of two functions, each called with a new argument every time.

    New arguments matter: Python caches the UTF-8 form of a text that was encoded once, and the text
    of a new message has none.
    """
    arguments = {name: _each(make_argument) for name in ("ours", "reference")}
    found = median_times({"ours": ours, "reference": reference}, ROUNDS, arguments)
    return found["ours"], found["reference"]


def _each(make_argument: Callable[[], Any]) -> Iterator[tuple[Any]]:
    while True:
        yield (make_argument(),)


def json_row(label: str, value: Any, reference: str = "the serializer") -> list[str]:
    """The cost of a value's JSON form, as ratios to the serializer (of bytes: to pybase64)."""
    dumped = SERIALIZER.dumps_typed(value)
    stored = json_codec.encode(*dumped).text()
    assert json_codec.decode(orjson.loads(stored)) == dumped
    write_reference: Callable[[Any], Any] = SERIALIZER.dumps_typed
    read_reference: Callable[[Any], Any] = lambda _: SERIALIZER.loads_typed(dumped)  # noqa: E731
    if reference == "pybase64":
        encoded = b64encode(dumped[1])
        write_reference, read_reference = b64encode, lambda _: b64decode(encoded)
    writes = compare(
        lambda value: json_codec.encode(*SERIALIZER.dumps_typed(value)).text(),
        write_reference,
        lambda: SERIALIZER.loads_typed(dumped),
    )
    reads = compare(
        lambda _: SERIALIZER.loads_typed(json_codec.decode(orjson.loads(stored))),
        read_reference,
        lambda: None,
    )
    return _row(label, reference, len(stored) / len(dumped[1]), writes, reads)


def floor_row(value: Any) -> list[str]:
    """The same by bare calls of ormsgpack and orjson, without code of this project.

    Writing is msgpack to Python, Python to JSON, and Python back to msgpack to check it. Reading is
    JSON to Python, Python to msgpack, and the serializer's load.
    """
    dumped = SERIALIZER.dumps_typed(value)
    option = ormsgpack.OPT_NON_STR_KEYS

    def unpack(data: bytes) -> Any:
        return ormsgpack.unpackb(data, ext_hook=lambda _, part: unpack(part), option=option)

    text = orjson.dumps(unpack(dumped[1]))

    def write(value: Any) -> None:
        tree = unpack(SERIALIZER.dumps_typed(value)[1])
        orjson.dumps(tree)
        ormsgpack.packb(tree, option=option)

    def read(_: None) -> None:
        ormsgpack.packb(orjson.loads(text), option=option)
        SERIALIZER.loads_typed(dumped)

    writes = compare(write, SERIALIZER.dumps_typed, lambda: SERIALIZER.loads_typed(dumped))
    reads = compare(read, lambda _: SERIALIZER.loads_typed(dumped), lambda: None)
    label = "… with ormsgpack and orjson alone"
    return _row(label, "the serializer", len(text) / len(dumped[1]), writes, reads)


def _row(
    label: str, reference: str, size: float, write: tuple[float, float], read: tuple[float, float]
) -> list[str]:
    both = (write[0] + read[0]) / (write[1] + read[1])
    ratios = (size, write[0] / write[1], read[0] / read[1], both)
    return [label, reference, *(f"{ratio:.2f}" for ratio in ratios)]


def growing_row(count: int, new: int) -> list[str]:
    """The cost of a put of a list that has grown: the saver encodes only the new messages."""
    value = messages(count)
    thread, identity = thread_keys("langgraph:", "thread"), CheckpointIdentity("thread", "", "1")

    def store(value: list[AnyMessage], cached: dict[str, StoredChannel]) -> Storage:
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"messages": value}
        checkpoint["channel_versions"] = {"messages": "1"}
        versions = {"messages": "1"}
        return channels.store(thread, identity, checkpoint, versions, SERIALIZER, cached)

    cached = store(value[:-new], {}).channels
    assert sum(len(items) for _, items in store(value, cached).appended.values()) == new
    write, reference = compare(
        lambda value: store(value, cached), SERIALIZER.dumps_typed, lambda: value
    )
    label = f"a list of {count - new} stored messages and {new} new ones"
    return [label, "the serializer", "", f"{write / reference:.2f}", "", ""]


def main() -> None:
    gc.freeze()
    rows = [
        json_row("400 chat messages", messages(400)),
        floor_row(messages(400)),
        growing_row(400, 2),
        json_row("a dict with 1 MB of ASCII text", {"text": "x" * 1_000_000}),
        floor_row({"text": "x" * 1_000_000}),
        json_row("a dict with 1 MB of prose", {"text": prose(1_000_000)}),
        floor_row({"text": prose(1_000_000)}),
        json_row("1 MB of bytes", Random(7).randbytes(1_000_000), "pybase64"),
    ]
    result = table(["value", "compared with", "bytes", "write", "read", "both"], rows)
    print(result)
    replace_block(DOCS / "performance.md", "make bench values", result)


if __name__ == "__main__":
    main()

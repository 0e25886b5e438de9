"""What readable JSON costs beside the serializer alone, written into docs/performance.md.

    make bench

Each pair is measured in one run, alternating, and compared by medians: the ratios hold on a
noisy machine, the times do not.
"""

import gc
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

import orjson
import ormsgpack
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pybase64 import b64decode, b64encode

from langgraph_redis_json import values
from langgraph_redis_json.channels import StoredChannels, store_channels
from langgraph_redis_json.keys import CheckpointName
from langgraph_redis_json.memory import Known

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
ROUNDS = 61
SERDE = JsonPlusSerializer()


def prose(characters: int) -> str:
    """Text like a model's: words, and now and then a quote, a new line or another script."""
    random = Random(7)
    words = ["agent", "weather", "the", "of", "tool", "call", "answer", "then", "because", "is"]
    text = ""
    while len(text) < characters:
        line = " ".join(random.choices(words, k=12))
        text += f'{line}, "{random.choice(words)}" café.\n'
    return text[:characters]


def messages(count: int) -> list[AnyMessage]:
    """A conversation with a tool call in every answer, about 600 characters a message."""
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
    ours: Callable[[Any], Any], alone: Callable[[Any], Any], fresh: Callable[[], Any]
) -> tuple[float, float]:
    """The medians of both, in seconds, each time on an argument that nobody has used: Python
    keeps the UTF-8 of a text that was written once, and a new message has none."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for run, spent in zip((ours, alone), times, strict=True):
            argument = fresh()
            start = perf_counter()
            run(argument)
            spent.append(perf_counter() - start)
    return median(times[0]), median(times[1])


def row(name: str, value: Any, reference: str = "the serializer") -> str:
    """Encoding, decoding and both, as ratios to the serializer (for bytes, to pybase64)."""
    dumped = SERDE.dumps_typed(value)
    stored = values.encode(*dumped).text()
    assert values.decode(orjson.loads(stored)) == dumped
    if reference == "pybase64":
        encoded = b64encode(dumped[1])
        write_alone, read_alone = b64encode, lambda _: b64decode(encoded)
    else:
        write_alone, read_alone = SERDE.dumps_typed, lambda _: SERDE.loads_typed(dumped)
    writes = compare(
        lambda value: values.encode(*SERDE.dumps_typed(value)).text(),
        write_alone,
        lambda: SERDE.loads_typed(dumped),
    )
    reads = compare(
        lambda _: SERDE.loads_typed(values.decode(orjson.loads(stored))),
        read_alone,
        lambda: None,
    )
    return _row(name, reference, len(stored) / len(dumped[1]), writes, reads)


def floor_row(name: str, value: Any) -> str:
    """The same by bare calls of the libraries that do it, with no line of ours between: msgpack to
    Python, to JSON, and to msgpack again for the proof; and JSON to Python, to msgpack."""
    dumped = SERDE.dumps_typed(value)
    option = ormsgpack.OPT_NON_STR_KEYS

    def unpack(data: bytes) -> Any:
        return ormsgpack.unpackb(data, ext_hook=lambda _, part: unpack(part), option=option)

    text = orjson.dumps(unpack(dumped[1]))

    def write(value: Any) -> None:
        tree = unpack(SERDE.dumps_typed(value)[1])
        orjson.dumps(tree)
        ormsgpack.packb(tree, option=option)

    def read(_: None) -> None:
        ormsgpack.packb(orjson.loads(text), option=option)
        SERDE.loads_typed(dumped)

    writes = compare(write, SERDE.dumps_typed, lambda: SERDE.loads_typed(dumped))
    reads = compare(read, lambda _: SERDE.loads_typed(dumped), lambda: None)
    return _row(
        f"… by bare calls of {name}", "the serializer", len(text) / len(dumped[1]), writes, reads
    )


def _row(
    name: str, beside: str, size: float, write: tuple[float, float], read: tuple[float, float]
) -> str:
    both = (write[0] + read[0]) / (write[1] + read[1])
    ratios = (size, write[0] / write[1], read[0] / read[1], both)
    return "| " + " | ".join([name, beside, *(f"{ratio:.2f}" for ratio in ratios)]) + " |"


def growing_row(count: int, new: int) -> str:
    """The same for a list that has grown, as a put writes it: what it knows, it does not encode."""
    value = messages(count)
    name = CheckpointName("thread", "", "1")

    def store(value: list[AnyMessage], known: dict[str, Known]) -> StoredChannels:
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"messages": value}
        checkpoint["channel_versions"] = {"messages": "1"}
        return store_channels(name, checkpoint, {"messages": "1"}, SERDE, known, ())

    known = store(value[:-new], {}).known
    assert sum(len(items) for _, items in store(value, known).appended.values()) == new
    write, alone = compare(lambda value: store(value, known), SERDE.dumps_typed, lambda: value)
    return (
        f"| {new} messages more than {count - new} | the serializer | | {write / alone:.2f} | | |"
    )


def main() -> None:
    gc.freeze()
    rows = [
        "| value | beside | bytes | to write | to read | both |",
        "| --- | --- | --- | --- | --- | --- |",
        row("400 chat messages", messages(400)),
        floor_row("ormsgpack and orjson", messages(400)),
        growing_row(400, 2),
        row("a dict with 1 MB of ASCII", {"text": "x" * 1_000_000}),
        floor_row("ormsgpack and orjson", {"text": "x" * 1_000_000}),
        row("a dict with 1 MB of prose", {"text": prose(1_000_000)}),
        floor_row("ormsgpack and orjson", {"text": prose(1_000_000)}),
        row("1 MB of bytes", Random(7).randbytes(1_000_000), "pybase64"),
    ]
    table = "\n".join(rows)
    print(table)
    page = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- make bench: values -->\n", "<!-- end -->"
    page = re.sub(f"{begin}.*?{end}", f"{begin}\n{table}\n\n{end}", page, flags=re.DOTALL)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

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
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pybase64 import b64decode, b64encode

from langgraph_redis_json import values

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


def compare(ours: Callable[[], Any], alone: Callable[[], Any]) -> tuple[float, float]:
    """The medians of both, in seconds."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for run, spent in zip((ours, alone), times, strict=True):
            start = perf_counter()
            run()
            spent.append(perf_counter() - start)
    return median(times[0]), median(times[1])


def row(name: str, value: Any, reference: str = "the serializer") -> str:
    """Encoding, decoding and both, as ratios to the serializer (for bytes, to pybase64)."""
    dumped = SERDE.dumps_typed(value)
    stored = values.encode(*dumped).text()
    assert values.decode(orjson.loads(stored)) == dumped
    if reference == "pybase64":
        encoded = b64encode(dumped[1])
        alone_write, alone_read = (lambda: b64encode(dumped[1])), (lambda: b64decode(encoded))
    else:
        alone_write, alone_read = (
            (lambda: SERDE.dumps_typed(value)),
            (lambda: SERDE.loads_typed(dumped)),
        )
    write, write_alone = compare(
        lambda: values.encode(*SERDE.dumps_typed(value)).text(), alone_write
    )
    read, read_alone = compare(
        lambda: SERDE.loads_typed(values.decode(orjson.loads(stored))), alone_read
    )
    cells = [
        name,
        reference,
        f"{len(stored) / len(dumped[1]):.2f}",
        f"{write / write_alone:.2f}",
        f"{read / read_alone:.2f}",
        f"{(write + read) / (write_alone + read_alone):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    gc.freeze()
    rows = [
        "| value | beside | bytes | to write | to read | both |",
        "| --- | --- | --- | --- | --- | --- |",
        row("400 chat messages", messages(400)),
        row("a dict with 1 MB of ASCII", {"text": "x" * 1_000_000}),
        row("a dict with 1 MB of prose", {"text": prose(1_000_000)}),
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

"""Threads with many documents, and plans that are interrupted between two steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langgraph_redis_json.operations.put_writes import put_writes
from tests.support.checkpoints import BIG, config, put
from tests.support.clients import Saver
from tests.support.plans import execute


def run_with_break(saver: Any, plan: Any, step: int, meanwhile: Callable[[], Any]) -> bool:
    """Run a plan, and call a function before one of its steps. Returns whether it has that step."""
    number = -1
    try:
        commands = next(plan)
        while True:
            number += 1
            if number == step:
                meanwhile()
            commands = plan.send(execute(saver, commands))
    except StopIteration:
        return number >= step


def items(*numbers: int) -> list[dict[str, Any]]:
    return [{"n": n, "text": BIG[:200]} for n in numbers]


def fill(saver: Saver, thread_id: str) -> None:
    """Put checkpoints with blobs that change and a list that loses its oldest items."""
    for number in range(1, 9):
        values = {"blob": f"{number // 3}{BIG}", "list": items(*range(number, number + 6))}
        versions = {"blob": number // 3, "list": number}
        parent = f"{number - 1}" if number > 1 else None
        metadata = {"step": number, "run_id": f"{number % 2}"}
        written = put(
            saver,
            f"{number}",
            values,
            versions,
            thread_id=thread_id,
            parent=parent,
            metadata=metadata,
        )
        saver.put_writes(written, [("channel", number)], "task")


def begin(saver: Any, plan: Any) -> None:
    """Run the first step of a plan, as a process that is then killed."""
    execute(saver, next(plan))


def crowd(saver: Any, count: int, thread_id: str = "thread") -> None:
    """Give a thread many keys, of the cheapest kind: writes that wait for their checkpoints."""
    saver.put_writes(config(thread_id, "", "00000"), [("channel", 1)], "task")
    pipeline = saver._runner.client.pipeline(transaction=False)
    for number in range(1, count):
        given = config(thread_id, "", f"{number:05}")
        [command] = next(put_writes(saver._context, given, [("channel", 1)], "task", ""))
        pipeline.execute_command(*command)
    pipeline.execute()

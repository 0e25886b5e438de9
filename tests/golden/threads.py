"""The threads of the golden set: every kind of document, and values of every form."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, TASKS, _DeltaSnapshot
from langgraph.types import Interrupt, Send

from langgraph_redis_json import RedisSaver
from tests.support.checkpoints import STRANGE, checkpoint, put
from tests.support.strategies import Color, Money, Person, Point

PREFIX = "golden:"
KEY = b"a golden key....."[:16]
TEXT = "Where is the parcel from Lisbon? "

READABLE = (
    "forms",
    "history",
    "deltas",
    "old",
    "expires",
    "pinned",
    *(f"id {text}" for text in STRANGE.values()),
)
ENCRYPTED = ("encrypted",)
SPOKEN = ("spoken",)


class Unloaded(JsonPlusSerializer):
    """Gives the bytes that were stored, in place of the values."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return data


def savers(url: str, serde: Callable[[], JsonPlusSerializer]) -> Iterator[RedisSaver]:
    """A saver for the readable threads, one for the encrypted ones, one with message search."""
    plain, inner = serde(), serde()
    for options in (
        {"serde": plain},
        {"serde": EncryptedSerializer.from_pycryptodome_aes(inner, key=KEY)},
        {"serde": plain, "message_search": True},
    ):
        with RedisSaver(url, key_prefix=PREFIX, **options) as saver:
            yield saver


def write(url: str) -> None:
    """Store the threads on an empty server."""
    readable, encrypted, spoken = savers(url, lambda: JsonPlusSerializer(pickle_fallback=True))
    for saver in (readable, spoken):
        saver.setup()
    _forms(readable)
    _history(readable)
    _deltas(readable)
    for text in STRANGE.values():
        put(readable, "1", {"x": text}, thread_id=f"id {text}", checkpoint_ns=text)
    put(readable, "1", {"x": 1}, thread_id="expires")
    readable.expire("expires", 60 * 24 * 365 * 50)
    put(readable, "1", {"x": 1}, thread_id="pinned")
    readable.pin("pinned")
    said = [{"n": number, "text": f"{TEXT * 2}{number}"} for number in range(60)]
    for length in range(1, 61):
        values = {"messages": said[max(0, length - 40) : length], "secret": {"code": length}}
        put(encrypted, f"{length:03}", values, thread_id="encrypted", metadata={"user_id": "ada"})
    put(spoken, "1", {"messages": _talk(30)}, thread_id="spoken", metadata={"user_id": "bob"})


def _talk(count: int) -> list[Any]:
    found: list[Any] = []
    for number in range(count):
        id_ = f"m{number}"
        found.append(
            (
                HumanMessage(f"{TEXT}{number}", id=id_),
                AIMessage(
                    f"{TEXT}{number}",
                    id=id_,
                    tool_calls=[{"name": "find", "args": {"city": "Lisbon"}, "id": f"{number}"}],
                ),
                ToolMessage(f"{TEXT}{number}", id=id_, tool_call_id=f"{number}", name="find"),
            )[number % 3]
        )
    return found


def _forms(saver: RedisSaver) -> None:
    deep: Any = "deep"
    for _ in range(120):
        deep = [deep]
    small: dict[str, Any] = {
        "null": None,
        "numbers": [0, -1, 1 << 63, (1 << 64) - 1, -(1 << 63), 0.5, 1e22, 1e-7, True],
        "floats": [0.1 + 0.2, float("nan"), float("inf"), -0.0, 5e-324],
        "embedding": [number / 7 for number in range(20)],
        "text": "a\0b é 👩‍👩‍👧 \U0010ffff",
        "bytes": b"\xff\0",
        "keys": {1: "a", (1, 2): "b", None: "c", "d": "e"},
        "tags": {"$class": "x", "$bytes": [{"$float": "1"}]},
        "sets": [{1}, frozenset([2]), (3, 4)],
        "times": [
            datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone.utc),
            datetime.date(2026, 1, 2),
            datetime.timedelta(days=1, microseconds=1),
        ],
        "uuid": uuid.UUID(int=1),
        "classes": [Color.DEEP, Money(1, "EUR"), Point(1, b"x"), Person(name={"a": (1,)})],
        "deep": deep,
        "pickled": 1j,
    }
    large = {f"large {name}": [value, TEXT * 30] for name, value in small.items()}
    lists: dict[str, list[Any]] = {
        "log": [{"n": number, "text": TEXT * 3, "odd": 0.1 + number} for number in range(20)],
        "log of bytes": [b"%d" % number + bytes(100) for number in range(20)],
        "messages": _talk(20),
    }
    texts = {"blob": TEXT * 100, "large blob": TEXT * 2_100, "large bytes": bytes(70_000)}
    metadata: Any = {
        "source": "loop",
        "step": 1,
        "run_id": "run",
        "user_id": "ada",
        "nested": {"a": [1, 0.1 + 0.2, None]},
        "parents": {},
        "odd \0 key": "é",
    }
    put(saver, "1", {**small, **large, **lists, **texts}, thread_id="forms", metadata=metadata)
    edited = [*lists["messages"][3:8], HumanMessage("edited", id="m8"), *lists["messages"][9:]]
    later = {"messages": [*edited, *_talk(25)[20:]], "log": lists["log"][5:]}
    put(saver, "2", later, thread_id="forms", parent="1", metadata={**metadata, "step": "later"})


def _history(saver: RedisSaver) -> None:
    """Forks, subgraphs, tasks, interrupts, answers and errors."""
    talk = _talk(12)
    start = put(saver, "1", {"__start__": {"x": 1}}, thread_id="history")
    saver.put_writes(start, [("messages", talk[:2]), ("other", 1)], "task 1", "path")
    for id_, parent, length in (("2", "1", 8), ("3", "2", 10), ("4", "2", 12)):
        values = {"messages": talk[:length], "branch:to:node": None, TASKS: [Send("n", {"a": 1})]}
        at = put(
            saver, id_, values, thread_id="history", parent=parent, metadata={"step": int(id_)}
        )
        saver.put_writes(at, [(INTERRUPT, [Interrupt("Sure?", id="i")])], f"task {id_}")
    saver.put_writes(at, [(RESUME, ["yes"]), (ERROR, ValueError("no"))], "task 5")
    inner = put(saver, "1", {"x": 1}, thread_id="history", checkpoint_ns="node:1|inner:2")
    saver.put_writes(inner, [("x", b"\xff")], "task")


def _deltas(saver: RedisSaver) -> None:
    counters = {"counters_since_delta_snapshot": {"delta": (1, 1)}}
    for id_, parent, values in (
        ("1", None, {"delta": _DeltaSnapshot([TEXT])}),
        ("2", "1", {}),
        ("3", "2", {"delta": _DeltaSnapshot([TEXT, TEXT])}),
    ):
        versions = {"delta": f"{id_}.0"}
        at = put(saver, id_, values, versions, thread_id="deltas", parent=parent, metadata=counters)
        saver.put_writes(at, [("delta", f"write of {id_}")], "task")
    config: Any = {"configurable": {"thread_id": "old", "checkpoint_ns": ""}}
    made = checkpoint("1", {"x": 1}, pending_sends=[Send("node", 1)], v=1)
    config = saver.put(config, made, {"step": 1}, {"x": 1})
    saver.put_writes(config, [(TASKS, Send("node", 2))], "task")
    saver.put(config, checkpoint("2", {"x": 2}, v=1), {"step": 2}, {"x": 1})


def as_json(found: CheckpointTuple) -> Any:
    """A checkpoint whose values were not loaded, for a JSON file."""

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return f"{len(value)} bytes, sha256 {sha256(value).hexdigest()}"
        if isinstance(value, dict):
            return {str(key): plain(member) for key, member in value.items()}
        if isinstance(value, (list, tuple)):
            return [*map(plain, value)]
        return value if value is None or isinstance(value, (str, int, bool)) else repr(value)

    return plain(found._asdict())


def read(saver: RedisSaver, thread_id: str) -> list[Any]:
    """All checkpoints of a thread, without their values loaded."""
    return [as_json(found) for found in saver.list({"configurable": {"thread_id": thread_id}})]


def read_all(url: str) -> dict[str, list[Any]]:
    """Each thread with its checkpoints."""
    found: dict[str, list[Any]] = {}
    threads = (READABLE, ENCRYPTED, SPOKEN)
    for saver, names in zip(savers(url, Unloaded), threads, strict=True):
        found |= {name: read(saver, name) for name in names}
    return found

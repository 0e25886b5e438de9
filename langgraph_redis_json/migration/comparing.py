"""Whether a migrated checkpoint is what the source has, and what the source itself has lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple, PendingWrite, get_checkpoint_metadata
from langgraph.checkpoint.serde.base import SerializerProtocol

DIGITS = 15
"""Significant digits of a float that RedisJSON never alters."""


def differences(
    source: CheckpointTuple, target: CheckpointTuple, serde: SerializerProtocol
) -> list[str]:
    """The parts of a checkpoint in which two savers differ, by the serializer's bytes.

    Args:
        source: from the source; see `plain_checkpoint`.
        target: the same checkpoint from the target.
        serde: a serializer that gives the same bytes for the same value.
    """
    found = []
    config = source.config
    pairs: list[tuple[str, Any, Any]] = [
        ("parent", _id(source.parent_config), _id(target.parent_config)),
        ("metadata", get_checkpoint_metadata(config, source.metadata), target.metadata),
        (
            "pending writes",
            [list(write) for write in grouped(source.pending_writes or [])],
            [list(write) for write in grouped(target.pending_writes or [])],
        ),
    ]
    ours: dict[str, Any] = {**target.checkpoint}
    theirs: dict[str, Any] = {**source.checkpoint}
    pairs += _members("channel", theirs.pop("channel_values"), ours.pop("channel_values"))
    pairs += _members("checkpoint", theirs, ours)
    for part, first, second in pairs:
        if not _is_same(first, second, serde):
            found.append(part)
    return found


def grouped(writes: Iterable[PendingWrite]) -> list[PendingWrite]:
    """Pending writes with those of each task together, as LangGraph reads them; of a task first the
    special writes, which replace each other, and then the others."""
    of_task: dict[str, list[PendingWrite]] = {}
    for write in writes:
        of_task.setdefault(write[0], []).append(write)
    return [write for task in of_task.values() for write in task]


def plain_checkpoint(found: CheckpointTuple) -> CheckpointTuple:
    """A checkpoint without what only its saver needs."""
    checkpoint: Any = {**found.checkpoint}
    version = checkpoint.get("v")
    if isinstance(version, int) and version >= 4:
        # The tasks are a channel. Some savers still add the parent's.
        checkpoint.pop("pending_sends", None)
    if checkpoint.get("type") in ("json", "msgpack"):
        del checkpoint["type"]  # how langgraph-checkpoint-redis had serialized it
    return found._replace(checkpoint=checkpoint)


class Losses:
    """Counts what a saver that keeps values as JSON has changed itself.

    Attributes:
        messages_as_dicts: dicts that were messages or other objects of LangChain.
        doubtful_floats: floats with so many digits that RedisJSON may have altered the last one.
    """

    def __init__(self) -> None:
        self.messages_as_dicts = 0
        self.doubtful_floats = 0

    def look_at(self, value: Any) -> None:
        """Count what is in a value, at any depth."""
        for part in _parts(value):
            if isinstance(part, float):
                digits = repr(part).partition("e")[0].replace(".", "").strip("-0")
                self.doubtful_floats += len(digits) > DIGITS
            elif part.get("lc") in (1, 2) and part.get("type") == "constructor":
                self.messages_as_dicts += 1


def _parts(value: Any) -> Iterator[Any]:
    """The floats and dicts in a value."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, float):
            yield part
        elif isinstance(part, Mapping):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple, set, frozenset)):
            waiting.extend(part)


def _id(config: Any) -> Any:
    return None if config is None else config["configurable"].get("checkpoint_id")


def _members(
    what: str, first: Mapping[str, Any], second: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    absent = object()
    names = [*first, *(name for name in second if name not in first)]
    return [(f"{what} {name}", first.get(name, absent), second.get(name, absent)) for name in names]


def _is_same(source: Any, target: Any, serde: SerializerProtocol) -> bool:
    if type(source) is object or type(target) is object:
        return False  # one of them has no such member
    first = serde.dumps_typed(source)
    if first == serde.dumps_typed(target):
        return True
    # A set has another order after a round trip. The target's value has made one.
    return serde.dumps_typed(serde.loads_typed(first)) == serde.dumps_typed(target)

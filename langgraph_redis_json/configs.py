"""What callers pass, checked: LangGraph's configs and ids."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from langchain_core.runnables import RunnableConfig


class Target(NamedTuple):
    """What a config points at.

    Attributes:
        thread_id: as text.
        given_thread_id: as the caller has it (LangGraph lets integers through).
        checkpoint_ns: None if the config does not say.
        checkpoint_id: None if the config does not say.
    """

    thread_id: str
    given_thread_id: Any
    checkpoint_ns: str | None
    checkpoint_id: str | None


def target(config: RunnableConfig) -> Target:
    """Read ``config["configurable"]``.

    Raises:
        ValueError: if it has no thread_id, or an id that no key can spell.
        TypeError: if an id is of the wrong type.
    """
    configurable = config.get("configurable") or {}
    if configurable.get("thread_id") is None:
        raise ValueError(
            "the config names no thread: pass "
            '{"configurable": {"thread_id": "…"}} to say which conversation this is'
        )
    given = configurable["thread_id"]
    checkpoint_ns = configurable.get("checkpoint_ns")
    return Target(
        thread(given),
        given,
        None if checkpoint_ns is None else _name("checkpoint_ns", checkpoint_ns),
        checkpoint_id(configurable.get("checkpoint_id")),
    )


def thread(thread_id: Any) -> str:
    """A thread id as text: text as it is, an integer or a UUID as its digits."""
    if isinstance(thread_id, (int, UUID)) and not isinstance(thread_id, bool):
        return str(thread_id)
    return _name("thread_id", thread_id)


def run(run_id: Any) -> str:
    """A run id as text, as metadata has it."""
    return _name("run_id", str(run_id) if isinstance(run_id, UUID) else run_id)


def several(what: str, ids: Sequence[Any]) -> Sequence[Any]:
    """Ids in a list, not one text that would be walked letter by letter."""
    if isinstance(ids, (str, bytes)):
        raise TypeError(f"{what} must be a list of ids, not {ids!r:.100}")
    return ids


def checkpoint_id(value: Any) -> str | None:
    """A checkpoint id as text; None for none, which LangGraph also spells ""."""
    if value is None or value == "":
        return None
    name = _name("checkpoint_id", str(value) if isinstance(value, UUID) else value)
    if "\0" in name:
        # The search index sorts by the text before a NUL, and lists would be out of order.
        raise ValueError("a checkpoint_id must not hold a NUL character")
    return name


def _name(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be text, not {type(value).__name__}: {value!r:.100}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds half a surrogate pair: {value!a:.100}") from None
    return value

"""The interface through which `bench.py` and `compare.py` use each checkpointer package."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver

Saver = BaseCheckpointSaver[Any]


class Store(Protocol):
    """A checkpointer package with a store of its own. `saver` and `async_saver` empty the store."""

    @property
    def package(self) -> str:
        """The name of the package."""

    def saver(self) -> AbstractContextManager[Saver]:
        """A saver for synchronous calls."""

    def async_saver(self) -> AbstractAsyncContextManager[Saver]:
        """A saver for asynchronous calls."""

    def another_saver(self) -> AbstractContextManager[Saver]:
        """One more saver on the same data, for synchronous calls. It has cached nothing."""

    def stored_bytes(self) -> int | None:
        """The size of the store with its indexes; None if it is this process's memory."""

    def processor_seconds(self) -> float | None:
        """The processor time that the Redis server has used; None for any other store."""

    def server(self) -> str:
        """The name and the version of the store."""

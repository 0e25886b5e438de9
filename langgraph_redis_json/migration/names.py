"""The names of all checkpoints of a source, on the disk: so a migration takes the same memory
whatever its length."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

BATCH = 1_000
"""Names that are written at a time."""


class Name(NamedTuple):
    """What names a checkpoint of a source.

    Attributes:
        thread_id: as the source spells it: text, or an integer.
        checkpoint_ns: its namespace.
        checkpoint_id: its id.
        parent_checkpoint_id: None for a first checkpoint.
    """

    thread_id: Any
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None


class WriteName(NamedTuple):
    """What names a pending write of a source that keeps each one in a document of its own."""

    thread_id: Any
    checkpoint_ns: str
    checkpoint_id: str
    task_path: str
    task_id: str
    idx: int
    key: str


class Names:
    """The names that a source has told, in a file that exists as long as this object."""

    def __init__(self) -> None:
        # An empty name is a private file, which SQLite deletes when the connection is closed. Only
        # one thread uses it at a time.
        self._file = sqlite3.connect("", check_same_thread=False)
        self._file.executescript(
            """
            CREATE TABLE checkpoints (
                thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id,
                PRIMARY KEY (thread_id, checkpoint_id, checkpoint_ns)
            ) WITHOUT ROWID;
            CREATE TABLE writes (
                thread_id, checkpoint_ns, checkpoint_id, task_path, task_id, idx, key,
                PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_path, task_id, idx)
            ) WITHOUT ROWID;
            """
        )
        self._waiting: list[Name] = []

    def add(self, name: Name) -> None:
        """Add a checkpoint; its last parent counts, if the source tells it several times."""
        self._waiting.append(name)
        if len(self._waiting) == BATCH:
            self._write()

    def add_writes(self, names: Iterable[WriteName]) -> None:
        self._file.executemany("INSERT OR REPLACE INTO writes VALUES (?, ?, ?, ?, ?, ?, ?)", names)

    def count(self) -> tuple[int, int]:
        """How many threads and checkpoints there are."""
        self._write()
        [counts] = self._file.execute("SELECT count(DISTINCT thread_id), count(*) FROM checkpoints")
        return counts[0], counts[1]

    def threads(self) -> Iterator[Any]:
        """The threads, the one that changed last at the end: so the target, where all of them
        change now, lists them in the order that they have."""
        self._write()
        query = (
            "SELECT thread_id FROM checkpoints GROUP BY thread_id "
            "ORDER BY max(checkpoint_id), thread_id"
        )
        for (thread_id,) in self._file.execute(query):
            yield thread_id

    def checkpoints(self, thread_id: Any) -> Iterator[Name]:
        """The checkpoints of a thread, oldest first."""
        query = (
            "SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id "
            "FROM checkpoints WHERE thread_id = ? ORDER BY checkpoint_id, checkpoint_ns"
        )
        for row in self._file.execute(query, (thread_id,)):
            yield Name(*row)

    def write_keys(self, name: Name) -> list[tuple[str, str]]:
        """The task_path and the key of each pending write of a checkpoint, in their order."""
        query = (
            "SELECT task_path, key FROM writes "
            "WHERE (thread_id, checkpoint_ns, checkpoint_id) = (?, ?, ?) "
            "ORDER BY task_path, task_id, idx"
        )
        return self._file.execute(query, name[:3]).fetchall()

    def close(self) -> None:
        self._file.close()

    def _write(self) -> None:
        self._file.executemany(
            "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)", self._waiting
        )
        self._waiting.clear()

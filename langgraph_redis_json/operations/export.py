"""export: everything of a thread, as the lines of a file (`storage/export_file.py`).

Others write meanwhile. An export reads a thread in pages, then reads the fingerprints of all its
documents. If these are the same, the thread did not change in between, so all pages belong to one
state. Otherwise it exports the thread again.
"""

from collections.abc import Sequence
from hashlib import sha1, sha256
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Listing, Plan
from langgraph_redis_json.client.replies import text
from langgraph_redis_json.client.scripts import send
from langgraph_redis_json.errors import (
    MissingDocumentError,
    ThreadMissingError,
    TriesExhaustedError,
)
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import export_file, keys
from langgraph_redis_json.storage.export_file import Document, Items, ThreadStart
from langgraph_redis_json.storage.keys import ThreadKeys

NAMES = 1_000
"""Entries that one trip reads."""

FIRST = 25
"""Documents or items of a log that a trip reads before their size is known."""

MOST = 250
"""Documents or items of a log that one trip reads, so that other clients need not wait long."""

MOST_BYTES = 1_000_000
"""What one trip reads, about, however large the documents are."""

TRIES = 20
"""How often a thread is exported because it changed meanwhile."""

RESTART = b""
"""Comes among the lines when the thread has changed: forget its lines, because all come again."""


PINNED = "d:never"
"""The entry of a pinned thread; see client/scripts/parts/deadlines.lua."""


def export_thread(context: Context, thread_id: Any) -> Listing[bytes]:
    """The lines of a thread: one state that it had, whole.

    A document that the table of contents names, but that is gone, is exported as gone.

    Args:
        context: the saver's.
        thread_id: the thread.

    Returns:
        The lines, with `RESTART` among them.

    Raises:
        ThreadMissingError: if there is no such thread.
        MissingDocumentError: if its table of contents is gone.
        TriesExhaustedError: if the thread changes all the time.
    """
    given = arguments.thread_id(thread_id)
    thread = keys.thread_keys(context.key_prefix, given)
    for tried in range(TRIES):
        if tried:
            yield RESTART
        attempt = _Attempt(thread)
        yield attempt.line((yield from _start(thread, given)))
        yield from attempt.documents()
        if attempt.fingerprint == (yield from read_fingerprint(thread)):
            yield export_file.thread_end(given, attempt.entries, attempt.checksum)
            return
    raise TriesExhaustedError(
        what=f"exporting the thread at {thread.contents}",
        times=TRIES,
        why="each time another process changed it meanwhile",
        remedy="Export it again when nobody writes to it.",
    )


def _start(thread: ThreadKeys, thread_id: str) -> Plan[ThreadStart]:
    deadline, own, pending, document = yield [
        ("PEXPIRETIME", thread.contents),
        ("EXISTS", thread.contents),
        ("ZRANGEBYLEX", thread.contents, "[d:", b"(d:" + keys.AFTER_ALL),
        ("EXISTS", thread.key("t")),
    ]
    if not own:
        if document:
            raise MissingDocumentError(key=thread.key("t"), missing=thread.contents)
        raise ThreadMissingError(thread_id=thread_id)
    for entry in map(text, pending):
        if entry == PINNED:
            return ThreadStart(thread_id, None, True)
        deadline = int(entry[2:])
    return ThreadStart(thread_id, None if deadline < 0 else deadline, False)


class _Attempt:
    """One reading of a thread.

    Attributes:
        checksum: the SHA-256 of the lines.
        entries: how many documents there were.
        fingerprint: what `read_fingerprint` gives if nothing changes.
    """

    def __init__(self, thread: ThreadKeys) -> None:
        self.checksum = sha256()
        self.entries = 0
        self._thread = thread
        self.fingerprint = Fingerprint()

    def line(self, record: ThreadStart | Document | Items) -> bytes:
        made = export_file.line(record)
        self.checksum.update(made)
        self.entries += isinstance(record, Document)
        return made

    def documents(self) -> Listing[bytes]:
        """The lines of all documents; only part of them, if writers are faster."""
        [number] = yield [("ZCARD", self._thread.contents)]
        after = "-"
        for _ in range(0, 2 * int(number) + NAMES, NAMES):
            [names] = yield [("ZRANGEBYLEX", self._thread.contents, after, "+", "LIMIT", 0, NAMES)]
            page = [*map(text, names)]
            for kind, entries in groupby(page, key=itemgetter(0)):
                if kind == "l":
                    for entry in entries:
                        yield from self._log(entry)
                elif kind == "x":
                    for entry in entries:
                        yield from self._marked(entry)
                elif kind in keys.KINDS:
                    yield from self._whole([*entries])
            if len(page) < NAMES:
                return
            after = f"({page[-1]}"

    def _whole(self, entries: Sequence[str], *, note: bool = True) -> Listing[bytes]:
        """Documents that are read whole."""
        at, size = 0, FIRST
        while page := entries[at : at + size]:
            [found] = yield [("JSON.MGET", *map(self._thread.key, page), ".")]
            read = 0
            for entry, reply in zip(page, found, strict=True):
                document = content(reply)
                if note:
                    self.fingerprint.add(entry, Fingerprint.of_document(document))
                yield self.line(Document(entry, document, None))
                read += len(document)
            at, size = at + len(page), next_size(size, read)

    def _marked(self, mark: str) -> Listing[bytes]:
        """The blob or log that a mark names: a checkpoint may need it."""
        self.fingerprint.add(mark, "-")
        entry = mark[1:].rpartition(" ")[0]
        named, exists = yield [
            ("ZSCORE", self._thread.contents, entry),
            ("EXISTS", self._thread.key(entry)),
        ]
        if named is None and exists:
            read = (
                self._log(entry, note=False)
                if entry[0] == "l"
                else self._whole([entry], note=False)
            )
            yield from read

    def _log(self, entry: str, *, note: bool = True) -> Listing[bytes]:
        """A log, its items in pieces."""
        head = yield from send(scripts.log_head(self._thread, entry))
        if note:
            self.fingerprint.add(entry, head.length)
        if head.length < 0:
            yield self.line(Document(entry, b"", None))
            return
        yield self.line(Document(entry, head.document, head.length))
        at, size = 0, FIRST
        while at < head.length:
            stop = min(at + size, head.length)
            [reply] = yield [("JSON.GET", self._thread.key(entry), f"$.items[{at}:{stop}]")]
            items = content(reply)
            if len(orjson.loads(items or b"[]")) < stop - at:
                self.fingerprint.add(entry, "changed")  # so that the thread is exported again
                return
            yield self.line(Items(entry, items))
            at, size = stop, next_size(size, len(items))


class Fingerprint:
    """What a thread holds, in 20 bytes: another state of the thread has another one.

    It does not depend on the order in which the entries come.
    """

    def __init__(self) -> None:
        self._sum = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fingerprint) and other._sum == self._sum

    __hash__ = None  # type: ignore[assignment]

    def add(self, entry: str, found: object) -> None:
        """Add an entry: with the number of its items for a log, "-" for a mark or a document that
        is gone, else with `of_document`."""
        digest = sha1(f"{entry} {found}".encode(), usedforsecurity=False).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % 2**160

    @staticmethod
    def of_document(document: bytes) -> str:
        return sha1(document, usedforsecurity=False).hexdigest() if document else "-"


def read_fingerprint(thread: ThreadKeys) -> Plan[Fingerprint]:
    """The fingerprint of what the server has."""
    fingerprint, after = Fingerprint(), ""
    while True:
        reply = yield from send(scripts.fingerprints(thread, after, NAMES))
        for one in reply.found:
            entry, _, found = one.rpartition(" ")
            if entry[0] != "d":
                fingerprint.add(entry, found)
        if reply.continue_after is None:
            return fingerprint
        after = reply.continue_after


def content(reply: Any) -> bytes:
    """A document as the server sent it; empty if there is none."""
    return b"" if reply is None else text(reply).encode()


def next_size(size: int, read: int) -> int:
    """How many documents or items to read next, after so many had so many bytes."""
    return max(1, min(2 * size, MOST, size * MOST_BYTES // max(1, read)))

"""import: store the threads of a file (`storage/export_file.py`), each whole or not at all.

The documents of a thread are stored before the thread has a table of contents: no method of a saver
finds them yet, and they expire if the import is not finished. Then the thread is published at once.
See client/scripts/parts/staging.lua.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import orjson

from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Listing, Plan
from langgraph_redis_json.client.replies import text
from langgraph_redis_json.client.scripts import Call, Staged, StageReply, send
from langgraph_redis_json.errors import AlteredDocumentError, ImportInterruptedError
from langgraph_redis_json.operations import fill_messages
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.operations.delete_thread import delete_thread
from langgraph_redis_json.operations.export import Fingerprint, read_fingerprint
from langgraph_redis_json.storage import documents, keys
from langgraph_redis_json.storage.export_file import (
    Document,
    Header,
    Items,
    Record,
    ThreadEnd,
    ThreadStart,
)
from langgraph_redis_json.storage.keys import ThreadKeys

LIFETIME = 24 * 60 * 60 * 1000
"""Milliseconds after which the documents of an import expire that was not finished."""

PAGE = 25
"""Documents that one call stores, so that other clients need not wait long."""

MOST_BYTES = 1_000_000
"""What one call stores, about."""

NAMES = 1_000
"""Documents that one call gives a deadline or deletes."""


TRIES = 100
"""How often an import begins again because another import of the same thread is running."""


class Thread(NamedTuple):
    """A thread of the file.

    Attributes:
        thread_id: the thread.
        checksum: of its lines.
        exists: whether the server has a thread with this id.
        is_same: whether it is exactly the one of the file.
        has_expired: whether its deadline has passed.
    """

    thread_id: str
    checksum: str
    exists: bool
    is_same: bool
    has_expired: bool


def compare(context: Context, records: Iterable[Record]) -> Listing[Thread]:
    """The threads of a file, each compared with what the server has. Stores nothing.

    Args:
        context: the saver's.
        records: of the whole file.

    Raises:
        ExportFileError: if the file is not complete.
    """
    header, exists, has_expired = Header(context.key_prefix, None), False, False
    fingerprint = Fingerprint()
    now = yield from _now()
    for record in records:
        match record:
            case Header():
                header = record
            case ThreadStart(thread_id, deadline):
                thread = keys.thread_keys(context.key_prefix, thread_id)
                exists = any((yield [("EXISTS", thread.contents), ("EXISTS", thread.key("t"))]))
                has_expired = deadline is not None and deadline <= now
                fingerprint = Fingerprint()
            case Document(entry, _, length) if exists:
                if length is None:
                    moved = _moved(record, header.key_prefix, context.key_prefix)
                    fingerprint.add(entry, Fingerprint.of_document(moved))
                else:
                    fingerprint.add(entry, length)
            case ThreadEnd(thread_id, checksum):
                is_same = exists and fingerprint == (yield from read_fingerprint(thread))
                yield Thread(thread_id, checksum, exists, is_same, has_expired)


def import_threads(
    context: Context, records: Iterable[Record], wanted: Mapping[str, Thread]
) -> Listing[str]:
    """Store threads of a file that `compare` has read.

    Args:
        context: the saver's.
        records: of the whole file.
        wanted: the threads to store, by their ids. One that exists is deleted first.

    Returns:
        The id of each thread when it is stored.

    Raises:
        ImportInterruptedError: if another process stores a thread with the same id meanwhile.
        AlteredDocumentError: if the server alters a document.
        redis.exceptions.RedisError: if the server is full, for example.
    """
    prefix = context.key_prefix
    current: _Import | None = None
    for record in records:
        match record:
            case Header():
                prefix = record.key_prefix
            case ThreadStart(thread_id) if thread_id in wanted:
                found = wanted[thread_id]
                if found.exists:
                    yield from delete_thread(context, thread_id)
                current = _Import(context, record)
                yield from current.begin(found.checksum)
            case Document() if current:
                moved = _moved(record, prefix, context.key_prefix)
                yield from current.add(record._replace(text=moved))
            case Items() if current:
                yield from current.add_items(record)
            case ThreadEnd(thread_id) if current:
                # The thread may have changed long ago, and have no documents of messages.
                yield from fill_messages.look_at_all(context)
                yield from current.publish()
                current = None
                yield thread_id


def discard(thread: ThreadKeys) -> Plan[None]:
    """Delete the documents of an import that is not to be finished."""
    while (yield from send(scripts.discard_staged(thread, NAMES))):
        pass


def _now() -> Plan[int]:
    """The server's clock, in milliseconds since 1970."""
    [(seconds, microseconds)] = yield [("TIME",)]
    return int(seconds) * 1000 + int(microseconds) // 1000


def _same(stored: bytes, sent: bytes) -> bool:
    """Whether two texts are the same JSON, down to the order of members and the bits of numbers."""
    return orjson.dumps(orjson.loads(stored)) == orjson.dumps(orjson.loads(sent))


def _moved(record: Document, old: str, new: str) -> bytes:
    """The text of a document, with the keys that it refers to under another key prefix."""
    if old == new or record.entry[0] != "c" or not record.text:
        return record.text
    return documents.moved_to_prefix(orjson.loads(record.text), old, new)


class _Import:
    """One thread that is stored."""

    def __init__(self, context: Context, start: ThreadStart) -> None:
        self._start = start
        self._thread = keys.thread_keys(context.key_prefix, start.thread_id)
        self._thread_document = b""
        self._page: list[Staged] = []
        self._bytes = 0
        self._log: Document | None = None
        self._items = 0
        """How many items of the log are stored."""
        self._existing = 0
        """How many documents must exist in the end."""

    def begin(self, checksum: str) -> Plan[None]:
        """Go on with an earlier import of the same content; discard that of another."""
        for _ in range(TRIES):
            if (yield from send(scripts.begin_import(self._thread, checksum, LIFETIME))):
                break
            yield from discard(self._thread)
        else:
            raise ImportInterruptedError(thread_id=self._start.thread_id)

    def add(self, record: Document) -> Plan[None]:
        if record.entry == "t":
            self._thread_document = record.text
            return
        self._existing += bool(record.text)
        self._log, self._items = record, 0
        self._page.append(Staged(record.entry, record.text, not record.length))
        self._bytes += len(record.text)
        if len(self._page) == PAGE or self._bytes > MOST_BYTES or record.length:
            yield from self._flush()

    def add_items(self, record: Items) -> Plan[None]:
        assert self._log is not None
        items = [*map(orjson.dumps, orjson.loads(record.text))]
        call = scripts.stage_items(
            self._thread, record.entry, self._items, self._log.length or 0, record.text, items
        )
        yield from self._stage(call, {record.entry: record.text})
        self._items += len(items)

    def publish(self) -> Plan[None]:
        yield from self._flush()
        deadline = -1 if self._start.deadline is None else self._start.deadline
        found, after = 0, "-"
        while True:
            [reply] = yield [
                ("ZRANGEBYLEX", self._thread.staging, after, "+", "LIMIT", 0, NAMES),
            ]
            page = [*map(text, reply)]
            names = [entry for entry in page if entry[0] in keys.KINDS]
            found += yield from send(scripts.set_deadlines(self._thread, deadline, names))
            if len(page) < NAMES:
                break
            after = f"({page[-1]}"
        if found != self._existing:
            yield from self._give_up()
        published = scripts.publish(
            self._thread, deadline, self._start.is_pinned, self._thread_document
        )
        if not (yield from send(published)):
            yield from self._give_up()

    def _flush(self) -> Plan[None]:
        page, self._page, self._bytes = self._page, [], 0
        if page:
            call = scripts.stage(self._thread, page)
            yield from self._stage(call, {one.entry: one.document for one in page})

    def _stage(self, call: Call[StageReply], sent: Mapping[str, bytes]) -> Plan[None]:
        changed = yield from send(call)
        if changed is None:
            yield from self._give_up()
        for entry, stored in changed or ():
            # Servers of other versions may write the same number in another way.
            if not _same(stored, sent[entry]):
                yield from discard(self._thread)
                raise AlteredDocumentError(key=self._thread.key(entry))

    def _give_up(self) -> Plan[None]:
        """Another process has written to the thread, or taken staged documents away."""
        yield from discard(self._thread)
        raise ImportInterruptedError(thread_id=self._start.thread_id)

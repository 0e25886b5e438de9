"""The file that an export writes and an import reads: JSON lines, described in docs/export.md.

This module knows the lines and no server. `operations/export.py` makes them from a thread's
documents, `operations/import_threads.py` stores what they say. A document stands in its line as the
server gave it, byte for byte.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from langgraph_redis_json.errors import ExportFileError
from langgraph_redis_json.storage.documents import FORMAT as DOCUMENT_FORMAT
from langgraph_redis_json.storage.keys import KINDS

FORMAT = 1
"""The format of the files that this version writes, and the newest that it reads."""


class Header(NamedTuple):
    """The first line of a file.

    Attributes:
        key_prefix: of the saver whose threads were exported.
        selection: what was to be exported, as JSON; a continued export compares it.
    """

    key_prefix: str
    selection: Any


class ThreadStart(NamedTuple):
    """A thread begins.

    Attributes:
        thread_id: the thread.
        deadline: when it expires, in milliseconds since 1970; None for never.
        is_pinned: whether it never expires, whatever the savers' ``ttl``.
    """

    thread_id: str
    deadline: int | None
    is_pinned: bool


class Document(NamedTuple):
    """A document of the thread.

    Attributes:
        entry: of the table of contents.
        text: as the server gave it; empty if the document was gone.
        length: for a log, how many items follow; None for any other document.
    """

    entry: str
    text: bytes
    length: int | None


class Items(NamedTuple):
    """The next items of the last log, as one JSON array."""

    entry: str
    text: bytes


class ThreadEnd(NamedTuple):
    """All of a thread has come, and its checksum was right."""

    thread_id: str
    checksum: str


class FileEnd(NamedTuple):
    """The file is complete."""

    threads: int


Record = Header | ThreadStart | Document | Items | ThreadEnd | FileEnd


# ---- writing


def line(record: Header | ThreadStart | Document | Items | FileEnd) -> bytes:
    """The line of a record. `thread_end` makes that of a `ThreadEnd`."""
    match record:
        case Header(key_prefix, selection):
            members = {
                "format": FORMAT,
                "documents": DOCUMENT_FORMAT,
                "key_prefix": key_prefix,
                "selection": selection,
            }
            return orjson.dumps(members) + b"\n"
        case ThreadStart(thread_id, deadline, is_pinned):
            members = {"thread": thread_id, "deadline": deadline, "pinned": is_pinned}
            return orjson.dumps(members) + b"\n"
        case Document(_, text, _):
            return _before_text(record) + (text or b"null") + b"}\n"
        case Items(_, text):
            return _before_text(record) + text + b"}\n"
        case FileEnd(threads):
            return orjson.dumps({"end": True, "threads": threads}) + b"\n"


def _before_text(record: Document | Items) -> bytes:
    entry = orjson.dumps(record.entry)
    if isinstance(record, Items):
        return b'{"entry":%s,"items":' % entry
    length = b"" if record.length is None else b'"length":%d,' % record.length
    return b'{"entry":%s,%s"document":' % (entry, length)


def thread_end(thread_id: str, entries: int, lines: Any) -> bytes:
    """The last line of a thread.

    Args:
        thread_id: the thread.
        entries: how many documents it has.
        lines: the SHA-256 of all its lines.
    """
    members = {"thread_end": thread_id, "entries": entries, "sha256": lines.hexdigest()}
    return orjson.dumps(members) + b"\n"


# ---- reading


def read(name: str, lines: Iterable[bytes]) -> Iterator[Record]:
    """The records of a file, checked.

    Args:
        name: of the file, for errors.
        lines: its lines, each with its line break.

    Raises:
        ExportFileError: where the file is not what an export writes. Whatever came since the last
            `ThreadEnd` is not complete then.
    """
    number = 0
    thread: ThreadStart | None = None
    entries, missing, log, threads = 0, 0, "", 0
    checksum = sha256()

    def wrong(why: str) -> ExportFileError:
        return ExportFileError(file=name, why=f"line {number} {why}")

    ended = False
    for number, text in enumerate(lines, 1):
        if not text.endswith(b"\n"):
            raise wrong("is cut")
        if ended:
            raise wrong("follows the end")
        try:
            fields = orjson.loads(text)
            record = _record(fields, text, number)
        except (KeyError, TypeError, ValueError) as error:
            raise wrong(f"is not a line of an export ({error})") from error
        if (number == 1) != isinstance(record, Header):
            raise wrong("is not what an export has there")
        match record:
            case ThreadStart():
                if thread is not None:
                    raise wrong(f"begins a thread, but the thread {thread.thread_id!r} has no end")
                thread, entries, checksum = record, 0, sha256()
            case Document() | Items() if thread is None:
                raise wrong("belongs to no thread")
            case Document() if missing:
                raise wrong(f"follows a log that lacks {missing} items")
            case Document():
                entries, missing, log = entries + 1, record.length or 0, record.entry
            case Items():
                missing -= len(fields["items"])
                if record.entry != log or missing < 0:
                    raise wrong("has items of no log")
            case ThreadEnd():
                found = (record.thread_id, fields["entries"], record.checksum)
                if thread is None or missing:
                    raise wrong("ends no thread")
                if found != (thread.thread_id, entries, checksum.hexdigest()):
                    raise wrong(
                        f"has another checksum than the thread {thread.thread_id!r} that it ends: "
                        "the file was altered or damaged"
                    )
                thread, threads = None, threads + 1
            case FileEnd():
                ended = True
                if thread is not None or record.threads != threads:
                    raise wrong("ends the file too early")
        checksum.update(text)
        yield record
    if not ended:
        raise ExportFileError(
            file=name,
            why="it is empty" if not number else f"it is cut after line {number}",
        )


def _record(fields: dict[str, Any], text: bytes, number: int) -> Record:
    if number == 1:
        for what, newest in (("format", FORMAT), ("documents", DOCUMENT_FORMAT)):
            if type(fields[what]) is not int or fields[what] > newest:
                raise ValueError(
                    f"its {what} is {fields[what]!r:.50} and this version of "
                    f"langgraph-redis-json reads up to {newest}: upgrade the package"
                )
        return Header(_text(fields["key_prefix"]), fields.get("selection"))
    if "thread" in fields:
        deadline = fields["deadline"]
        if deadline is not None and (type(deadline) is not int or deadline < 0):
            raise ValueError("its deadline is not a time")
        if type(fields["pinned"]) is not bool:
            raise ValueError("pinned is not true or false")
        return ThreadStart(_text(fields["thread"]), deadline, fields["pinned"])
    if "thread_end" in fields:
        return ThreadEnd(_text(fields["thread_end"]), _text(fields["sha256"]))
    if "end" in fields:
        return FileEnd(fields["threads"])
    entry = _text(fields["entry"])
    if entry[:1] not in KINDS or (entry != "t" and entry[1:2] != ":"):
        raise ValueError(f"{entry!r:.100} names no document")
    record: Document | Items
    if "items" in fields:
        if not isinstance(fields["items"], list):
            raise ValueError("its items are no list")
        record = Items(entry, b"")
    else:
        length = fields.get("length")
        if length is not None and (type(length) is not int or length < 0):
            raise ValueError("its length is not a number")
        document = fields["document"]
        if document is not None and not isinstance(document, dict):
            raise ValueError("its document is no object")
        record = Document(entry, b"", length)
    before = _before_text(record)
    if not text.startswith(before):
        raise ValueError("its members are not in the order in which an export writes them")
    content = text[len(before) : -2]
    return record._replace(text=b"" if content == b"null" else content)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r:.50} is not text")
    return value

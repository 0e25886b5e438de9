"""copy_thread: copy everything of a thread to another."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import orjson

from langgraph_redis_json import arguments
from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.scripts import send, send_all
from langgraph_redis_json.errors import MissingDocumentError, TriesExhaustedError
from langgraph_redis_json.operations import expiry, garbage, table_of_contents
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.storage import documents, keys
from langgraph_redis_json.storage.keys import ThreadKeys
from langgraph_redis_json.storage.loading import DAMAGE, damaged, parse

PAGE = 25
"""Documents that one call stores, so that other clients need not wait long."""

FIRST = 25
"""Documents or items of a log that the first trip copies, before their size is known."""

MOST_BYTES = 1_000_000
"""What one trip copies, about, however large the documents are."""

TRIES = 5
"""How often a document that is gone is looked for again before it counts as lost. Other processes
may delete it with the checkpoints that need it, and store it again."""

MOST_CHANGES = 1_000
"""How often a page of checkpoints is copied again because other processes changed a thread."""

Documents = dict[str, dict[str, Any]]
"""Entry -> the members of its document."""


def copy_thread(context: Context, source_thread_id: Any, target_thread_id: Any) -> Plan[None]:
    target_id = arguments.thread_id(target_thread_id)
    source = keys.thread_keys(context.key_prefix, arguments.thread_id(source_thread_id))
    target = keys.thread_keys(context.key_prefix, target_id)
    if source == target:
        raise ValueError(f"cannot copy the thread {target_id!r} onto itself")
    checkpoints, writes, of_messages = yield from table_of_contents.entries(
        source, "c:", "w:", "m:"
    )
    [existed] = yield [("ZCARD", target.contents)]
    # A checkpoint's writes are copied with it. Other writes came before their checkpoint.
    writes_of = {f"c{entry[1:]}": entry for entry in writes}
    early = [writes_of[entry] for entry in writes_of.keys() - {*checkpoints}]
    at, size = 0, FIRST
    while page := early[at : at + size]:
        found, read = yield from _existing(source, page)
        yield [
            scripts.store(target, part, ttl=context.ttl).command
            for part in table_of_contents.pages(_moved(source, found, target_id), PAGE)
        ]
        at, size = at + len(page), _next_size(size, read)
    at, size = 0, FIRST
    while page := of_messages[at : at + size]:
        found, read = yield from _existing(source, page)
        messages = _moved(source, found, target_id)
        yield [scripts.store(target, [], messages=messages, ttl=context.ttl).command]
        at, size = at + len(page), _next_size(size, read)
    copied: dict[str, str] = {}
    at, size = 0, FIRST
    while page := checkpoints[at : at + size]:
        of_page = [writes_of[entry] for entry in page if entry in writes_of]
        read = yield from _copy_checkpoints(
            context, source, target, target_id, page, of_page, copied
        )
        at, size = at + len(page), _next_size(size, read)
    if existed:
        # Checkpoints that were replaced may have left blobs and logs that nothing refers to.
        yield from garbage.collect(target)


def _next_size(size: int, read: int) -> int:
    """How many documents or items to read next, after so many had so many bytes."""
    return max(1, min(2 * size, table_of_contents.PAGE, size * MOST_BYTES // max(1, read)))


def _copy_checkpoints(
    context: Context,
    source: ThreadKeys,
    target: ThreadKeys,
    target_id: str,
    page: Sequence[str],
    writes: Sequence[str],
    copied: dict[str, str],
) -> Plan[int]:
    """Copy checkpoints, their writes, and the blobs and logs that they need.

    Args:
        context: the saver's.
        source, target: the keys of both threads.
        target_id: the other thread.
        page: the entries of the checkpoints.
        writes: the entries of their pending writes.
        copied: the blobs and logs that are copied: entry -> entry in the copy. A log gets another
            number there, because both threads will add to theirs.

    Returns:
        How many bytes the checkpoints and writes had.
    """
    absent: Counter[str] = Counter()
    for _ in range(MOST_CHANGES):
        found, read = yield from _existing(source, [*page, *writes])
        references = {
            entry: _references(source, entry, fields)
            for entry, fields in found.items()
            if entry.startswith("c:")
        }
        holders: dict[str, str] = {}
        needed: dict[str, int] = {}
        for entry, of_entry in references.items():
            for name, length in of_entry.items():
                holders[name] = entry
                needed[name] = max(length, needed.get(name, 0))
        wanted = {entry: needed[entry] for entry in holders if entry not in copied}
        absent.update(
            (yield from _copy_references(context, source, target, target_id, wanted, copied))
        )
        for entry, times in absent.items():
            if times == TRIES:
                key = source.key(holders[entry])
                raise MissingDocumentError(key=key, missing=source.key(entry))
        if not wanted.keys() <= copied.keys():
            continue  # either thread was pruned meanwhile
        pending = {f"c{entry[1:]}": entry for entry in writes if entry in found}
        renamed = {source.key(entry): target.key(new) for entry, new in copied.items()}
        calls = []
        for part in table_of_contents.pages([entry for entry in page if entry in found], PAGE):
            # The checkpoint comes last: a reader that sees it finds everything that it needs.
            own = {pending[entry]: found[pending[entry]] for entry in part if entry in pending}
            copies = _moved(source, own, target_id)
            expected = {copied[name]: needed[name] for entry in part for name in references[entry]}
            copies += _moved(source, {entry: found[entry] for entry in part}, target_id, renamed)
            calls.append(
                scripts.store(
                    target,
                    copies,
                    expected=expected,
                    ttl=context.ttl,
                    without_writes=[entry for entry in part if entry not in pending],
                )
            )
        replies = yield from send_all(calls)
        for new_deadline in {reply.new_deadline for reply in replies}:
            if new_deadline is not None:
                yield from expiry.use(target, new_deadline)
        lost = {entry for reply in replies for entry in reply.missing}
        if not lost:
            return read
        # The copy was pruned or deleted meanwhile.
        for entry in [entry for entry in holders if copied[entry] in lost]:
            del copied[entry]
    raise TriesExhaustedError(
        what=f"copying the thread at {source.contents}",
        times=MOST_CHANGES,
        why="each time another process deleted documents of either thread meanwhile",
        remedy="Nothing is lost. Copy it again when neither thread is pruned.",
    )


def _references(source: ThreadKeys, entry: str, fields: Mapping[str, Any]) -> dict[str, int]:
    try:
        return documents.references(source, fields)
    except DAMAGE as error:
        raise damaged(source.key(entry), error) from error


def _copy_references(
    context: Context,
    source: ThreadKeys,
    target: ThreadKeys,
    target_id: str,
    wanted: Mapping[str, int],
    copied: dict[str, str],
) -> Plan[list[str]]:
    """Copy those of the wanted blobs and logs that exist.

    Args:
        context: the saver's.
        source, target: the keys of both threads.
        target_id: the other thread.
        wanted: entry -> how many items it must have, 0 for a blob.
        copied: entry -> entry in the copy; gets what was copied.

    Returns:
        The entries of those that do not exist, or have fewer items.
    """
    absent: list[str] = []
    logs = [entry for entry in wanted if entry.startswith("l:")]
    for page in table_of_contents.pages(logs, PAGE):
        lengths = yield from send(scripts.log_lengths(source, page))
        for log, length in zip(page, lengths, strict=True):
            new = keys.renumbered(log)
            if length < wanted[log]:
                absent.append(log)
            elif (yield from _copy_log(context, source, log, length, target, new, target_id)):
                copied[log] = new
    blobs = [entry for entry in wanted if not entry.startswith("l:")]
    at, size = 0, FIRST
    while page := blobs[at : at + size]:
        found, read = yield from _parsed(source, page)
        yield [
            scripts.store(target, part, ttl=context.ttl).command
            for part in table_of_contents.pages(_moved(source, found, target_id), PAGE)
        ]
        copied.update((entry, entry) for entry in found)
        absent += [entry for entry in page if entry not in found]
        at, size = at + len(page), _next_size(size, read)
    return absent


def _copy_log(
    context: Context,
    source: ThreadKeys,
    log: str,
    length: int,
    target: ThreadKeys,
    new: str,
    target_id: str,
) -> Plan[bool]:
    """Copy the items of a log to a new log, piece by piece.

    Args:
        context: the saver's.
        source, target: the keys of both threads.
        log: the entry of the log.
        length: how many items to copy.
        new: the entry of the new log.
        target_id: the other thread.

    Returns:
        Whether all items existed, and nobody deleted the new log meanwhile.
    """
    names = ("format", "checkpoint_ns", "channel")
    start, size = 0, FIRST
    while start < length:
        end = min(start + size, length)
        path = f"$.items[{start}:{end}]"
        [text] = yield [("JSON.GET", source.key(log), path, *(f"$.{name}" for name in names))]
        fields = orjson.loads(text or b"{}")
        items = [orjson.dumps(item) for item in fields.get(path, ())]
        if len(items) < end - start:
            return False
        if start:
            call = scripts.store(target, [], appended={new: (start, items)}, ttl=context.ttl)
        else:
            head = {name: value for name in names for value in fields[f"$.{name}"]}
            head |= {"thread_id": target_id, "items": [*map(orjson.Fragment, items)]}
            call = scripts.store(target, [(new, orjson.dumps(head))], ttl=context.ttl)
        reply = yield from send(call)
        if reply.missing or reply.changed_by_others:
            return False
        start, size = end, _next_size(size, len(text))
    return True


def _existing(source: ThreadKeys, entries: Sequence[str]) -> Plan[tuple[Documents, int]]:
    """The documents that were not deleted meanwhile, and how many bytes they have.

    Raises:
        MissingDocumentError: if one is gone that the table of contents still names.
    """
    for _ in range(TRIES):
        found, read = yield from _parsed(source, entries)
        gone = [entry for entry in entries if entry not in found]
        if not gone:
            return found, read
        scores = yield [("ZSCORE", source.contents, entry) for entry in gone]
        named = [entry for entry, score in zip(gone, scores, strict=True) if score is not None]
        if not named:
            return found, read
    key = source.key(named[0])
    raise MissingDocumentError(key=key, missing=key)


def _parsed(source: ThreadKeys, entries: Sequence[str]) -> Plan[tuple[Documents, int]]:
    """The documents that exist, and how many bytes they have."""
    found: Documents = {}
    [texts] = yield [("JSON.MGET", *map(source.key, entries), ".")]
    for entry, document in zip(entries, texts, strict=True):
        if document is not None:
            try:
                found[entry] = parse(document)
            except DAMAGE as error:
                raise damaged(source.key(entry), error) from error
    return found, sum(len(document) for document in texts if document is not None)


def _moved(
    source: ThreadKeys,
    found: Documents,
    target_id: str,
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> list[tuple[str, bytes]]:
    """The entries and documents for the other thread; see `documents.moved_to_thread`."""
    copies = []
    for entry, fields in found.items():
        try:
            copies.append((entry, documents.moved_to_thread(fields, target_id, renamed)))
        except DAMAGE as error:
            raise damaged(source.key(entry), error) from error
    return copies

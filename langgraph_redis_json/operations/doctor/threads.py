"""One thread: its documents, its thread document, its deadline, its marks."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from redis.exceptions import ResponseError
from redisvl.query.filter import Tag

from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Command, Plan
from langgraph_redis_json.client.replies import search_keys
from langgraph_redis_json.client.scripts import ExamineReply, Look, send
from langgraph_redis_json.errors import CheckpointError, DamagedDocumentError
from langgraph_redis_json.operations import expiry, garbage, table_of_contents
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.operations.doctor.finding import Finding, Repair, count, some
from langgraph_redis_json.operations.export import content, next_size
from langgraph_redis_json.search.queries import MOST_SORTED, WHOLE_ANSWER, index_name, newest
from langgraph_redis_json.storage import documents, json_codec, keys, loading
from langgraph_redis_json.storage.keys import ThreadKeys
from langgraph_redis_json.storage.loading import DAMAGE

PAGE = 250
"""Documents that one call looks at, so that other clients need not wait long."""

FIRST = 25
"""Documents that the first trip reads, before their size is known."""


class Reading(NamedTuple):
    """What was read of the checkpoints of a thread.

    Attributes:
        needed: entry of a blob or log that checkpoints refer to -> how many items it must have, 0
            for a blob.
        damaged: entry of a document -> why it cannot be read.
    """

    needed: dict[str, int]
    damaged: dict[str, str]


def check_thread(context: Context, thread_id: str, *, indexed: bool = True) -> Plan[list[Finding]]:
    """Look at everything that the table of contents of a thread names, and everything that its
    checkpoints refer to.

    A process that writes meanwhile can be the cause of a finding. So only what is found twice is
    wrong.

    Args:
        context: the saver's.
        thread_id: the thread.
        indexed: whether its checkpoints should be in the search index.

    Returns:
        No findings if there is no such thread.
    """
    thread = keys.thread_keys(context.key_prefix, thread_id)
    seen = yield from send(scripts.examine(thread))
    if not seen.exists:
        return []
    blobs, checkpoints, logs, messages, writes, marks = yield from table_of_contents.entries(
        thread, "b:", "c:", "l:", "m:", "w:", "x"
    )
    looks = yield from look_at(thread, [*blobs, *checkpoints, *logs, *messages, *writes, "t"])
    # Without those that were deleted since.
    looks = {entry: look for entry, look in looks.items() if look.is_named}
    there = {entry for entry, look in looks.items() if look.deadline != -2}
    reading = yield from read_checkpoints(thread, thread_id, [e for e in checkpoints if e in there])
    reading.damaged.update(
        (yield from _read_others(thread, [e for e in (*blobs, *logs, *writes) if e in there]))
    )
    if seen.newest in there and seen.newest not in reading.damaged:
        reading.damaged.update((yield from _decode(context, thread, thread_id, seen.newest)))
    others = yield from look_at(thread, sorted(reading.needed.keys() - looks.keys()))
    to_name = [e for e, look in others.items() if look.deadline != -2 and not look.is_named]
    there.update(entry for entry, look in others.items() if look.deadline != -2)
    lengths = yield from _lengths(thread, [e for e in reading.needed if e[0] == "l"])
    lacking = {
        entry
        for entry, length in reading.needed.items()
        if entry not in there or lengths.get(entry, 0) < length
    }
    gone = [entry for entry in looks if entry not in there]
    found: list[Finding] = []
    if reading.damaged:
        found.append(_damaged(thread, thread_id, reading.damaged))
    lost = [entry for entry in gone if entry[0] in "cw"]
    if lacking or lost:
        whole = yield from _newest_whole(thread, checkpoints, {*lacking, *lost})
        found += _missing(thread, thread_id, lacking, lost, lengths, whole)
    if unsaid := [entry for entry in gone if entry[0] == "m"]:
        found.append(_messages_missing(thread, thread_id, unsaid))
    if to_name:
        found.append(_unnamed(thread, thread_id, to_name))
    if not reading.damaged and not any(entry[0] == "c" for entry in lost):
        unneeded = [e for e in (*blobs, *logs) if e in looks and e not in reading.needed]
        found += _garbage(thread, thread_id, unneeded, marks)
    if seen.newest is None or seen.newest in there:
        found += _thread_document(thread, thread_id, seen)
    found += _deadline(thread, thread_id, seen, {e: looks[e].deadline for e in there & {*looks}})
    if indexed:
        own = [entry for entry in checkpoints if entry in there]
        found += yield from _indexed(context, thread_id, len(own))
    return found


def look_at(thread: ThreadKeys, entries: Iterable[str]) -> Plan[dict[str, Look]]:
    """Look at documents: entry -> what is seen."""
    found: dict[str, Look] = {}
    for page in table_of_contents.pages(entries, PAGE):
        found.update(zip(page, (yield from send(scripts.look(thread, page))), strict=True))
    return found


# ---- reading


def read_checkpoints(thread: ThreadKeys, thread_id: str, entries: Sequence[str]) -> Plan[Reading]:
    """Read checkpoints that exist."""
    reading = Reading({}, {})

    def check(entry: str, document: bytes) -> None:
        fields = loading.parse(document)
        identity = keys.identity_of_entry(thread_id, entry)
        if identity != (
            fields["thread_id"],
            fields["checkpoint_ns"],
            fields["checkpoint_id"],
        ):
            raise ValueError("its ids are not those of its key")
        _ = orjson.loads(fields["checkpoint"])["channel_versions"], {**fields["metadata"]}
        for name, length in documents.references(thread, fields).items():
            reading.needed[name] = max(length, reading.needed.get(name, 0))

    reading.damaged.update((yield from _read(thread, entries, check)))
    return reading


def _read_others(thread: ThreadKeys, entries: Sequence[str]) -> Plan[dict[str, str]]:
    """Read pending writes, and the format of blobs and logs. Returns what cannot be read."""

    def check_writes(entry: str, document: bytes) -> None:
        for write in loading.parse(document)["writes"].values():
            fields = orjson.loads(write) if type(write) is str else write
            _ = fields["task_id"], fields["channel"]
            json_codec.decode(fields["value"])

    def check_format(entry: str, found: bytes) -> None:
        [written] = orjson.loads(found)
        loading.check_format(written)

    writes = [entry for entry in entries if entry[0] == "w"]
    damaged = yield from _read(thread, writes, check_writes)
    rest = [entry for entry in entries if entry[0] != "w"]
    damaged.update((yield from _read(thread, rest, check_format, "$.format")))
    return damaged


def _read(
    thread: ThreadKeys,
    entries: Sequence[str],
    check: Callable[[str, bytes], None],
    path: str = ".",
) -> Plan[dict[str, str]]:
    """Read documents in pages. Returns why those cannot be read for which the check raises."""
    damaged: dict[str, str] = {}
    at, size = 0, FIRST
    while page := entries[at : at + size]:
        [replies] = yield [("JSON.MGET", *map(thread.key, page), path)]
        read = 0
        for entry, reply in zip(page, replies, strict=True):
            document = content(reply)
            read += len(document)
            try:
                if not document:
                    raise ValueError("it is no JSON document")
                check(entry, document)
            except DAMAGE as error:
                damaged[entry] = f"{error}" if isinstance(error, ValueError) else repr(error)
        at, size = at + len(page), next_size(size, read)
    return damaged


def _decode(
    context: Context, thread: ThreadKeys, thread_id: str, entry: str
) -> Plan[dict[str, str]]:
    """Read everything that a checkpoint needs. Returns what is damaged."""
    reply = yield from send(scripts.read(thread, [entry]))
    for row in loading.rows(thread, thread_id, reply):
        try:
            loading.decode_checkpoint(row, context.serde)
        except DamagedDocumentError as error:
            return {entry: str(error).partition(". Nothing was changed")[0]}
        except CheckpointError:
            pass  # what is missing is found by its name
    return {}


def _lengths(thread: ThreadKeys, logs: Sequence[str]) -> Plan[dict[str, int]]:
    found: dict[str, int] = {}
    for page in table_of_contents.pages(logs, PAGE):
        found.update(zip(page, (yield from send(scripts.log_lengths(thread, page))), strict=True))
    return found


def _newest_whole(
    thread: ThreadKeys, checkpoints: Sequence[str], lacking: Collection[str]
) -> Plan[str | None]:
    """The id of the newest root checkpoint that needs nothing of what is lacking."""
    roots = [entry for entry in reversed(checkpoints) if entry.startswith("c::")]
    for page in table_of_contents.pages(roots, FIRST):
        [replies] = yield [("JSON.MGET", *map(thread.key, page), ".")]
        for entry, reply in zip(page, replies, strict=True):
            try:
                fields = loading.parse(content(reply))
                needed = documents.references(thread, fields).keys()
            except DAMAGE:
                continue
            if not ({*needed, entry, keys.writes_entry(entry)} & {*lacking}):
                return str(fields["checkpoint_id"])
    return None


# ---- findings


def _damaged(thread: ThreadKeys, thread_id: str, damaged: Mapping[str, str]) -> Finding:
    entry, why = next(iter(damaged.items()))
    return Finding(
        "error",
        "document-damaged",
        thread_id,
        f"{count(len(damaged), 'document')} cannot be read: "
        f"{some([thread.key(one) for one in damaged])} ({thread.key(entry)}: {why})",
        "Checkpoints that need them cannot be read; listings leave these out.",
        "Restore the documents from a backup, or delete the thread.",
    )


def _missing(
    thread: ThreadKeys,
    thread_id: str,
    lacking: Collection[str],
    lost: Sequence[str],
    lengths: Mapping[str, int],
    whole: str | None,
) -> list[Finding]:
    where = (
        f"continue from checkpoint {whole}, the newest one that is whole"
        if whole
        else "no root checkpoint is whole, so delete the thread"
    )
    kinds: dict[str, tuple[str, list[str]]] = {
        "checkpoint-missing": ("checkpoint", [e for e in lost if e[0] == "c"]),
        "writes-missing": ("document of pending writes", [e for e in lost if e[0] == "w"]),
        "blob-missing": ("blob", sorted(e for e in lacking if e[0] == "b")),
        "log-missing": ("log", sorted(e for e in lacking if lengths.get(e, 0) == -1)),
        "items-missing": (
            "log without all items that checkpoints need",
            sorted(e for e in lacking if lengths.get(e, -1) >= 0),
        ),
    }
    found = []
    for code, (kind, entries) in kinds.items():
        if not entries:
            continue
        noun, _, rest = kind.partition(" ")
        counted = count(len(entries), noun) + (f" {rest}" if rest else "")
        verb = ("is", "are")[len(entries) > 1]
        state = "there" if code == "items-missing" else "gone"
        found.append(
            Finding(
                "error",
                code,
                thread_id,
                f"{counted} {verb} {state}: {some([thread.key(one) for one in entries])}",
                "Checkpoints that need it cannot be read: it was evicted, or deleted by hand.",
                f"Restore it from a backup, or {where}.",
            )
        )
    return found


def _unnamed(thread: ThreadKeys, thread_id: str, entries: Sequence[str]) -> Finding:
    return Finding(
        "error",
        "reference-unnamed",
        thread_id,
        "the table of contents does not name "
        f"{count(len(entries), 'blob or log', 'blobs and logs')} that checkpoints refer to: "
        f"{some([thread.key(one) for one in entries])}",
        "They do not expire with the thread, and are not deleted with it.",
        "doctor --repair names them again.",
        name_again(thread, entries),
    )


def name_again(thread: ThreadKeys, entries: Sequence[str]) -> Repair:
    """Name documents in the table of contents."""

    def name() -> Plan[str]:
        named = 0
        for page in table_of_contents.pages(entries, PAGE):
            named += yield from send(scripts.name_again(thread, page))
        yield from send(scripts.mend_thread_document(thread))
        return f"named {count(named, 'document')} again"

    text = f"name {count(len(entries), 'document')} in {thread.contents} again"
    return Repair(text, name)


def _messages_missing(thread: ThreadKeys, thread_id: str, gone: Sequence[str]) -> Finding:
    return Finding(
        "error",
        "message-missing",
        thread_id,
        f"the table of contents names {count(len(gone), 'message document')} that are gone: "
        f"{some([thread.key(entry) for entry in gone])}",
        "search_messages does not find these messages. The conversation is whole.",
        "Restore the documents from a backup.",
    )


def _garbage(
    thread: ThreadKeys, thread_id: str, unneeded: Sequence[str], marks: Sequence[str]
) -> list[Finding]:
    def collect() -> Plan[str]:
        yield from garbage.collect(thread)
        return "deleted the blobs and logs that no checkpoint refers to"

    found = []
    if marks:
        found.append(
            Finding(
                "warning",
                "marks-left",
                thread_id,
                f"{count(len(marks), 'mark')} of a garbage collection: a process died while it "
                "pruned the thread, or is pruning it now",
                "The next put sends some values again; blobs and logs take memory.",
                "doctor --all --repair finishes the collection; so does the next prune.",
                Repair(f"finish the garbage collection in {thread.contents}", collect),
            )
        )
    if unneeded:
        found.append(
            Finding(
                "warning",
                "garbage",
                thread_id,
                f"no checkpoint refers to {count(len(unneeded), 'blob or log', 'blobs and logs')}: "
                f"{some([thread.key(one) for one in unneeded])}",
                "They take memory.",
                "doctor --all --repair deletes them; so does the next prune.",
                Repair(
                    f"delete {count(len(unneeded), 'blob or log', 'blobs and logs')} to which "
                    f"no checkpoint of {thread.contents} refers",
                    collect,
                ),
            )
        )
    return found


def _thread_document(thread: ThreadKeys, thread_id: str, seen: ExamineReply) -> list[Finding]:
    if seen.wanted == seen.found:
        return []

    def mend() -> Plan[str]:
        yield from send(scripts.mend_thread_document(thread))
        return "wrote the thread document again"

    if seen.found is None:
        code, what = "thread-document-missing", "the thread document is gone"
        means = "Listings of threads do not show the thread."
    elif seen.wanted is None:
        code, what = "thread-document-left", "there is a thread document, and no root checkpoint"
        means = "Listings show a thread that has no state."
    else:
        code = "status-wrong"
        what = (
            f"the thread document says {seen.found[1]} at checkpoint {seen.found[0]}, and the "
            f"thread is {seen.wanted[1]} at checkpoint {seen.wanted[0]}"
        )
        means = "Listings of threads by status are wrong."
    return [
        Finding(
            "error",
            code,
            thread_id,
            what,
            means,
            "doctor --repair writes it again; so does the next put.",
            Repair(f"write {thread.key('t')} again from the newest checkpoint", mend),
        )
    ]


def _deadline(
    thread: ThreadKeys, thread_id: str, seen: ExamineReply, deadlines: Mapping[str, int]
) -> list[Finding]:
    pending = seen.pending_deadline
    wanted = seen.deadline if pending is None else pending
    others = [entry for entry, deadline in deadlines.items() if deadline != wanted]
    if not others and seen.deadline == wanted:
        return []

    def mend() -> Plan[str]:
        if pending is not None:
            # As a process does that uses the thread.
            yield from expiry.finish(thread, pending)
        else:
            for page in table_of_contents.pages(others, PAGE):
                yield from send(scripts.set_deadlines(thread, "thread", page))
        return "gave all keys of the thread the same deadline"

    early = [entry for entry in others if 0 <= deadlines[entry] < (wanted if wanted >= 0 else 1e18)]
    if seen.deadline >= 0 and wanted < 0:
        early = [*early, "t"]
    number = len(others) or 1
    return [
        Finding(
            "error" if early else "warning",
            "half-expired",
            thread_id,
            f"{count(number, 'key has', 'keys have')} another deadline than the thread",
            "Some documents expire before the thread, which then cannot be read."
            if early
            else "Some documents stay in memory when the thread has expired.",
            "doctor --repair gives all keys the deadline of the thread.",
            Repair(f"give {count(number, 'key')} the deadline of {thread.contents}", mend),
        )
    ]


def _indexed(context: Context, thread_id: str, number: int) -> Plan[list[Finding]]:
    index = index_name(context.key_prefix, "checkpoints")
    query = str(Tag("tokens") == keys.thread_token(thread_id))
    if number > MOST_SORTED:
        return []  # a search does not return so many

    def command(most: int) -> Command:
        return ("FT.SEARCH", index, query, "NOCONTENT", "LIMIT", 0, most, *WHOLE_ANSWER)

    try:
        found = yield from newest(context, index, (), number, command, search_keys, str)
    except (ResponseError, CheckpointError):
        return []  # the indexes have a finding of their own
    total = number if found is None else len(found)
    if total >= number:
        return []
    return [
        Finding(
            "error",
            "not-indexed",
            thread_id,
            f"the index has {total:,} of {count(number, 'checkpoint')}",
            "Filters and searches across threads do not find the others; reading works.",
            f"Drop the index behind {index} with FT.DROPINDEX, and run langgraph-redis-json setup.",
        )
    ]


def same(first: Sequence[Finding], second: Sequence[Finding]) -> list[Finding]:
    """Those findings of the second look that the first one had too."""
    seen: set[Any] = {(one.code, one.subject) for one in first}
    return [one for one in second if (one.code, one.subject) in seen]

"""Documents that no table of contents names, and imports that were not finished."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import orjson
from redis.crc import key_slot

from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Command, Plan
from langgraph_redis_json.client.replies import text
from langgraph_redis_json.client.scripts import Look, send
from langgraph_redis_json.operations import table_of_contents
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.operations.doctor.finding import Finding, Repair, count, some
from langgraph_redis_json.operations.doctor.threads import (
    PAGE,
    look_at,
    name_again,
    read_checkpoints,
)
from langgraph_redis_json.operations.export import content
from langgraph_redis_json.storage import documents, keys, loading
from langgraph_redis_json.storage.keys import KINDS, ThreadKeys
from langgraph_redis_json.storage.loading import DAMAGE

LEFTOVER_LIFE = 7 * 24 * 60 * 60 * 1000
"""Milliseconds after which --repair lets documents expire that are left of an earlier life of a
thread."""

LETTERS = {kind: letter for letter, kind in KINDS.items()}

Entries = dict[str, list[str]]
"""Thread id -> entries of documents."""


def split(context: Context, key: str) -> tuple[str, str, str] | None:
    """The kind, the thread and the rest of a key; None for a key of other programs.

    The kind is one of `KINDS`, "contents" or "importing".
    """
    kind, brace, rest = key[len(context.key_prefix) :].partition(":{")
    tag, closing, rest = rest.partition("}")
    if not brace or not closing or kind not in {*LETTERS, "contents", "importing"}:
        return None
    return kind, keys.thread_of_tag(f"{{{tag}}}"), rest


def find_unnamed(context: Context, found: Iterable[str]) -> Plan[Entries]:
    """Those of some keys that are documents which no table of contents names, and which no import
    is storing."""
    entries: Entries = {}
    for key in found:
        parts = split(context, key)
        if parts is not None and parts[0] in LETTERS:
            kind, thread_id, rest = parts
            entries.setdefault(thread_id, []).append(LETTERS[kind] + rest)
    unnamed: Entries = {}
    for thread_id, of_thread in entries.items():
        thread = keys.thread_keys(context.key_prefix, thread_id)
        looks = yield from look_at(thread, of_thread)
        left = [entry for entry, look in looks.items() if _is_unnamed(look)]
        if left:
            unnamed[thread_id] = left
    return unnamed


def _is_unnamed(look: Look) -> bool:
    return look.deadline != -2 and not look.is_named and not look.is_staged


def check_unnamed(context: Context, thread_id: str, entries: Sequence[str]) -> Plan[list[Finding]]:
    """Look again at documents that no table of contents named before."""
    thread = keys.thread_keys(context.key_prefix, thread_id)
    looks = yield from look_at(thread, entries)
    left = {entry: look.deadline for entry, look in looks.items() if _is_unnamed(look)}
    if not left:
        return []
    if not (yield from send(scripts.examine(thread))).exists:
        return [_without_contents(context, thread, thread_id, left)]
    return (yield from _beside_contents(thread, thread_id, left))


def _without_contents(
    context: Context, thread: ThreadKeys, thread_id: str, left: Mapping[str, int]
) -> Finding:
    what = f"{count(len(left), 'document')} of the thread, but no table of contents: "
    what += some([thread.key(entry) for entry in left])
    if min(left.values()) >= 0 and "t" not in left:
        return Finding(
            "warning",
            "leftovers",
            thread_id,
            f"{what}; the thread has expired, and they expire by {_when(max(left.values()))}",
            "They take memory until then.",
            "Nothing needs to be done.",
        )

    def mend() -> Plan[str]:
        parts = [split(context, key) for key in (yield from keys_of(context, thread_id))]
        there = [LETTERS[one[0]] + one[2] for one in parts if one and one[0] in LETTERS]
        looks = yield from look_at(thread, there)
        found = {entry: look for entry, look in looks.items() if look.deadline != -2}
        rest = [entry for entry in found if entry != "t"]
        repair = name_again(thread, rest)
        said = yield from repair.plan()
        deadlines = {look.deadline for look in found.values()}
        deadline = -1 if -1 in deadlines else max(deadlines, default=-1)
        yield [
            ("PERSIST", thread.contents)
            if deadline < 0
            else ("PEXPIREAT", thread.contents, deadline)
        ]
        for page in table_of_contents.pages([*rest, "t"], PAGE):
            yield from send(scripts.set_deadlines(thread, deadline, page))
        return said

    return Finding(
        "error",
        "contents-missing",
        thread_id,
        f"{what}; it was evicted, or deleted by hand",
        "The thread cannot be read.",
        "doctor --repair makes the table of contents again from the documents.",
        Repair(f"make {thread.contents} again from all documents of the thread", mend),
    )


def keys_of(context: Context, thread_id: str) -> Plan[list[str]]:
    """All keys of a thread, found without its table of contents."""
    thread = keys.thread_keys(context.key_prefix, thread_id)
    kinds = (*KINDS.values(), "contents", "importing")
    starts = tuple(f"{thread.prefix}{kind}:{thread.tag}" for kind in kinds)
    there: dict[str, None] = {}
    cursor, more = 0, True
    while more:
        if context.clustered:
            slot = key_slot(thread.contents.encode())
            command: Command = ("CLUSTER GETKEYSINSLOT", slot, 1_000_000_000)
            [found] = yield [command]
        else:
            [(position, found)] = yield [("SCAN", cursor, "COUNT", 1_000)]
            cursor = int(position)
        there.update(dict.fromkeys(key for key in map(text, found) if key.startswith(starts)))
        more = cursor != 0
    return [*there]


def _beside_contents(
    thread: ThreadKeys, thread_id: str, left: Mapping[str, int]
) -> Plan[list[Finding]]:
    [named] = yield from table_of_contents.entries(thread, "c:")
    of_thread = yield from _linked(thread, thread_id, named, [e for e in left if e[0] == "c"])
    needed = (yield from read_checkpoints(thread, thread_id, [*named, *of_thread])).needed
    checkpoints = {*named, *of_thread}
    to_name = [
        *of_thread,
        *(e for e in left if e[0] == "w" and f"c{e[1:]}" in checkpoints),
        *(e for e in left if e[0] in "bl" and e in needed),
    ]
    garbage = [e for e in left if e[0] in "bl" and e not in needed]
    leftovers = [e for e in left if e[0] in "cw" and e not in to_name and left[e] < 0]
    expiring = [e for e in left if e[0] in "cw" and e not in to_name and left[e] >= 0]
    found = []
    if to_name or "t" in left:
        to_name += ["t"] if "t" in left else []
        found.append(
            Finding(
                "error",
                "unnamed",
                thread_id,
                f"the table of contents does not name {count(len(to_name), 'document')} of the "
                f"thread: {some([thread.key(entry) for entry in to_name])}",
                "No method finds them.",
                "doctor --repair names them again.",
                name_again(thread, to_name),
            )
        )
    if garbage:

        def delete() -> Plan[str]:
            for page in table_of_contents.pages(garbage, PAGE):
                yield from send(scripts.delete_unnamed(thread, page))
            return f"deleted {count(len(garbage), 'document')}"

        what = count(len(garbage), "blob or log", "blobs and logs")
        found.append(
            Finding(
                "warning",
                "garbage-unnamed",
                thread_id,
                f"neither a checkpoint nor the table of contents names {what}: "
                f"{some([thread.key(entry) for entry in garbage])}",
                "They take memory: a process died while it stored a checkpoint, for example.",
                "doctor --repair deletes them.",
                Repair(f"delete {what} of {thread.contents} that nothing names", delete),
            )
        )
    if leftovers:
        found.append(_leftovers(thread, thread_id, leftovers))
    if expiring:
        last = max(left[entry] for entry in expiring)
        found.append(
            Finding(
                "warning",
                "leftovers",
                thread_id,
                f"{count(len(expiring), 'document')} of an earlier life of the thread, which has "
                f"expired: {some([thread.key(entry) for entry in expiring])}; they expire by "
                f"{_when(last)}",
                "They take memory until then.",
                "Nothing needs to be done.",
            )
        )
    return found


def _leftovers(thread: ThreadKeys, thread_id: str, entries: Sequence[str]) -> Finding:
    def expire() -> Plan[str]:
        [(seconds, _)] = yield [("TIME",)]
        deadline = int(seconds) * 1000 + LEFTOVER_LIFE
        looks = yield from look_at(thread, entries)
        left = [entry for entry, look in looks.items() if _is_unnamed(look)]
        for page in table_of_contents.pages(left, PAGE):
            yield from send(scripts.set_deadlines(thread, deadline, page))
        return f"{count(len(left), 'document')} will expire by {_when(deadline)}"

    what = count(len(entries), "document")
    return Finding(
        "warning",
        "leftovers-forever",
        thread_id,
        f"{what} of an earlier life of the thread, which has expired: nothing leads from or to "
        f"{some([thread.key(entry) for entry in entries])}",
        "They take memory, and never expire.",
        "doctor --repair lets them expire in 7 days; until then you can read them with JSON.GET.",
        Repair(f"let {what} of {thread.contents} that nothing names expire in 7 days", expire),
    )


def _linked(
    thread: ThreadKeys, thread_id: str, named: Sequence[str], unnamed: Sequence[str]
) -> Plan[list[str]]:
    """Those unnamed checkpoints that belong to the history of the named ones: a parent or a child
    of one, or one that needs the same blobs or logs, or is of a subgraph of one."""
    if not unnamed:
        return []
    ties: dict[str, set[str]] = {}
    """Unnamed checkpoint -> entries to which it is tied."""
    for page in table_of_contents.pages(unnamed, 25):
        [replies] = yield [("JSON.MGET", *map(thread.key, page), ".")]
        for entry, reply in zip(page, replies, strict=True):
            try:
                ties[entry] = _ties(thread, loading.parse(content(reply)))
            except DAMAGE:
                continue
    known = {*named}
    for entry, parents in (yield from _parents(thread, named)).items():
        for parent in parents:
            if parent in ties:
                ties[parent].add(entry)
    blobs, logs = yield from table_of_contents.entries(thread, "b:", "l:")
    known |= {*blobs, *logs}
    for entry, tied in ties.items():
        for other in tied & ties.keys():
            ties[other].add(entry)
    found: list[str] = []
    waiting = {**ties}
    while near := [entry for entry, tied in waiting.items() if tied & known]:
        found += near
        known.update(near)
        for entry in near:
            del waiting[entry]
    return found


def _ties(thread: ThreadKeys, fields: Mapping[str, Any]) -> set[str]:
    tied = {*documents.references(thread, fields)}
    if "parent_checkpoint_id" in fields:
        tied.add(keys.checkpoint_entry(fields["checkpoint_ns"], fields["parent_checkpoint_id"]))
    parents = fields["metadata"].get("parents")
    if isinstance(parents, dict):
        tied.update(keys.checkpoint_entry(ns, f"{id_}") for ns, id_ in parents.items())
    return tied


def _parents(thread: ThreadKeys, entries: Sequence[str]) -> Plan[dict[str, list[str]]]:
    found = {}
    for page in table_of_contents.pages(entries, PAGE):
        [replies] = yield [("JSON.MGET", *map(thread.key, page), "$.parent_checkpoint_id")]
        for entry, reply in zip(page, replies, strict=True):
            ids = orjson.loads(reply) if reply is not None else []
            start = entry[: entry.rindex(":") + 1]
            found[entry] = [start + keys.escape(id_) for id_ in ids if isinstance(id_, str)]
    return found


def check_import(context: Context, thread_id: str) -> Plan[list[Finding]]:
    """Look at an import that stores documents, or was stopped."""
    thread = keys.thread_keys(context.key_prefix, thread_id)
    number, deadline = yield [("ZCARD", thread.staging), ("PEXPIRETIME", thread.staging)]
    if number < 2:  # its checksum and documents
        return []
    return [
        Finding(
            "warning",
            "import-unfinished",
            thread_id,
            f"an import has stored {count(int(number) - 1, 'document')} of the thread, and is "
            "running or was stopped",
            f"The thread does not exist yet. What is stored expires by {_when(int(deadline))}.",
            "Import the same file again: the import goes on.",
        )
    ]


def _when(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M} UTC"

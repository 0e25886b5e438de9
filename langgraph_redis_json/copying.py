"""Copying a thread. Parts of plans."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from langgraph_redis_json import configs, documents, logs, sweeping
from langgraph_redis_json.commands import Plan, script, store, text
from langgraph_redis_json.errors import MissingDocumentError
from langgraph_redis_json.keys import ThreadKeys
from langgraph_redis_json.loading import parse, reading
from langgraph_redis_json.sweeping import Sweeping, paced, pages

PAGE = 25
"""Documents that one call stores: other clients wait for no more than that."""

TRIES = 5
"""Times that what is not there is looked for anew, before it counts as lost: others may delete it
with the checkpoints that need it, and put it again."""


@dataclass
class Copying(Sweeping):
    """Copying a thread to another."""

    def copy_thread(self, source_thread_id: Any, target_thread_id: Any) -> Plan[None]:
        target_id = configs.thread(target_thread_id)
        source, target = self._thread(configs.thread(source_thread_id)), self._thread(target_id)
        if source == target:
            raise ValueError(f"cannot copy the thread {target_id!r} onto itself")
        checkpoints, writes = yield from self._entries(source, "c:", "w:")
        [there] = yield [("ZCARD", target.contents)]
        # A checkpoint's writes go with it; others came before their checkpoint.
        writes_of = {f"c{entry[1:]}": entry for entry in writes}
        early = [writes_of[entry] for entry in writes_of.keys() - {*checkpoints}]
        at, size = 0, sweeping.PIECE
        while page := early[at : at + size]:
            found, read = yield from self._present(source, page)
            yield [
                store(target, part, ttl=self.lifetimes.ttl)
                for part in pages(_retargeted(source, found, target_id), PAGE)
            ]
            at, size = at + len(page), paced(size, read)
        copied: dict[str, str] = {}
        at, size = 0, sweeping.PIECE
        while page := checkpoints[at : at + size]:
            writes = [writes_of[entry] for entry in page if entry in writes_of]
            read = yield from self._copy_checkpoints(
                source, target, target_id, page, writes, copied
            )
            at, size = at + len(page), paced(size, read)
        if there:
            # Checkpoints that were replaced have left what they alone referred to.
            yield from self._sweep(target)

    def _copy_checkpoints(
        self,
        source: ThreadKeys,
        target: ThreadKeys,
        target_id: str,
        page: Sequence[str],
        writes: Sequence[str],
        copied: dict[str, str],
    ) -> Plan[int]:
        """Copy checkpoints, their writes, and the blobs and logs that they need and that are not
        copied yet.

        Args:
            copied: what is copied, entry -> entry in the copy. A log gets a name of its own
                there: both threads will add to theirs.

        Returns:
            How many bytes the checkpoints and writes had.
        """
        absent: Counter[str] = Counter()
        while True:
            found, read = yield from self._present(source, [*page, *writes])
            pending = {f"c{entry[1:]}": entry for entry in writes if entry in found}
            holders: dict[str, str] = {}
            needed: dict[str, int] = {}
            for entry, fields in found.items():
                if entry.startswith("c:"):
                    with reading(source.key(entry)):
                        for name, length in documents.references(fields).items():
                            holders[name] = entry
                            needed[name] = max(length, needed.get(name, 0))
            wanted = {entry: needed[entry] for entry in holders if entry not in copied}
            absent.update(
                (yield from self._copy_references(source, target, target_id, wanted, copied))
            )
            for entry, times in absent.items():
                if times == TRIES:
                    key = source.key(holders[entry])
                    raise MissingDocumentError(key=key, missing=source.key(entry))
            if not wanted.keys() <= copied.keys():
                continue  # either thread was pruned meanwhile
            commands = []
            for part in pages([entry for entry in page if entry in found], PAGE):
                # Whoever sees a checkpoint in the copy finds all that belongs to it.
                own = {pending[entry]: found[pending[entry]] for entry in part if entry in pending}
                copies = _retargeted(source, own, target_id)
                expected = {
                    copied[name]: needed[name]
                    for entry in part
                    for name in documents.references(found[entry])
                }
                copies += _retargeted(
                    source, {entry: found[entry] for entry in part}, target_id, copied
                )
                commands.append(
                    store(
                        target,
                        copies,
                        expected=expected,
                        ttl=self.lifetimes.ttl,
                        without_writes=[entry for entry in part if entry not in pending],
                    )
                )
            replies = yield commands
            for due in {due for _, _, due, *_ in replies} - {None}:
                yield from self._live_on(target, due)
            lost = {text(entry) for missing, *_ in replies for entry in missing}
            if not lost:
                return read
            # The copy was pruned or deleted meanwhile.
            for entry in [entry for entry in holders if copied[entry] in lost]:
                del copied[entry]

    def _copy_references(
        self,
        source: ThreadKeys,
        target: ThreadKeys,
        target_id: str,
        wanted: Mapping[str, int],
        copied: dict[str, str],
    ) -> Plan[list[str]]:
        """Copy those of the wanted blobs and logs that are there.

        Args:
            wanted: how many items they must have (0 for a blob).

        Returns:
            Those that are not there, or have fewer items.
        """
        ttl = self.lifetimes.ttl
        absent: list[str] = []
        lists = [entry for entry in wanted if entry.startswith("l:")]
        for page in pages(lists, PAGE):
            [lengths] = yield [script("lengths", source, *page)]
            for log, length in zip(page, lengths, strict=True):
                new = logs.renamed(log)
                changes = {"thread_id": target_id}
                items = [(0, length)]
                if length < wanted[log]:
                    absent.append(log)
                elif (yield from self._copy_items(source, log, items, target, new, changes, ttl)):
                    copied[log] = new
        blobs = [entry for entry in wanted if not entry.startswith("l:")]
        at, size = 0, sweeping.PIECE
        while page := blobs[at : at + size]:
            found, read = yield from self._parsed(source, page)
            yield [
                store(target, part, ttl=self.lifetimes.ttl)
                for part in pages(_retargeted(source, found, target_id), PAGE)
            ]
            copied.update((entry, entry) for entry in found)
            absent += [entry for entry in page if entry not in found]
            at, size = at + len(page), paced(size, read)
        return absent

    def _present(
        self, thread: ThreadKeys, entries: Sequence[str]
    ) -> Plan[tuple[dict[str, dict[str, Any]], int]]:
        """The documents by their entries, but for those that were deleted meanwhile, and how
        many bytes they have.

        Raises:
            MissingDocumentError: if one is gone that the table of contents still names.
        """
        for _ in range(TRIES):
            found, read = yield from self._parsed(thread, entries)
            gone = [entry for entry in entries if entry not in found]
            if not gone:
                return found, read
            scores = yield [("ZSCORE", thread.contents, entry) for entry in gone]
            named = [entry for entry, score in zip(gone, scores, strict=True) if score is not None]
            if not named:
                return found, read
        key = thread.key(named[0])
        raise MissingDocumentError(key=key, missing=key)

    def _parsed(
        self, thread: ThreadKeys, entries: Sequence[str]
    ) -> Plan[tuple[dict[str, dict[str, Any]], int]]:
        """The documents that are there, by their entries, and how many bytes they have."""
        found: dict[str, dict[str, Any]] = {}
        texts = yield from self._documents(thread, entries)
        for entry, document in zip(entries, texts, strict=True):
            if document is not None:
                with reading(thread.key(entry)):
                    found[entry] = parse(document)
        return found, sum(len(document) for document in texts if document is not None)


def _retargeted(
    source: ThreadKeys,
    found: Mapping[str, dict[str, Any]],
    target_id: str,
    names: Mapping[str, str] = MappingProxyType({}),
) -> list[tuple[str, bytes]]:
    copies = []
    for entry, fields in found.items():
        with reading(source.key(entry)):
            copies.append((entry, documents.retarget(fields, target_id, names)))
    return copies

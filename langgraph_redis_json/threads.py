"""What is done to whole threads: deleting, copying, pruning."""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from langgraph_redis_json import configs, documents, filters, keys, logs
from langgraph_redis_json.commands import Plan, script, store
from langgraph_redis_json.errors import MissingDocumentError
from langgraph_redis_json.finding import Finding
from langgraph_redis_json.keys import ThreadKeys
from langgraph_redis_json.loading import parse, reading

T = TypeVar("T")

CHUNK = 1000
"""Keys that one call deletes: other clients wait for no more than that."""

PAGE = 25
"""Documents that one trip copies; four times as many are looked into."""


class Lineage(NamedTuple):
    """What tells which ancestors a checkpoint needs.

    Attributes:
        parent: the entry of its parent, None for a first checkpoint.
        delta_channels: the channels whose value is rebuilt from the writes of its ancestors.
        channels: the channels that have a value here.
        run_id: the run that made it.
    """

    parent: str | None
    delta_channels: Collection[str]
    channels: Container[str]
    run_id: Any


def lineage(fields: Mapping[str, Any]) -> Lineage:
    """A checkpoint's lineage, from its document."""
    parent = fields.get("parent_checkpoint_id")
    channels = fields["channel_values"].keys()
    return Lineage(
        keys.checkpoint_entry(fields["checkpoint_ns"], parent) if parent else None,
        [channel for channel in fields.get("delta_channels", ()) if channel not in channels],
        channels,
        fields["metadata"].get("run_id"),
    )


def ancestors_needed(lineages: Mapping[str, Lineage], kept: Iterable[str]) -> set[str]:
    """The ancestors from which the delta channels of the kept checkpoints are rebuilt: for
    each channel all, back to the nearest one that has its value.

    Args:
        lineages: entry -> lineage, of every checkpoint of the thread.
        kept: entries.
    """
    walked: set[tuple[str, str]] = set()
    for entry in kept:
        if entry not in lineages:
            continue
        for channel in lineages[entry].delta_channels:
            at = lineages[entry].parent
            while at is not None and at in lineages and (at, channel) not in walked:
                walked.add((at, channel))
                if channel in lineages[at].channels:
                    break
                at = lineages[at].parent
    return {entry for entry, _ in walked}


@dataclass(frozen=True)
class WholeThreads(Finding):
    """The operations on whole threads."""

    def delete_thread(self, thread_id: Any) -> Plan[None]:
        thread = self._thread(configs.thread(thread_id))
        left = True
        while left:
            [left] = yield [script("delete_thread", thread, CHUNK)]

    def copy_thread(self, source_thread_id: Any, target_thread_id: Any) -> Plan[None]:
        target_id = configs.thread(target_thread_id)
        source, target = self._thread(configs.thread(source_thread_id)), self._thread(target_id)
        if source == target:
            raise ValueError(f"cannot copy the thread {target_id!r} onto itself")
        checkpoints = yield from self._entries(source, "c")
        for page in _pages((yield from self._entries(source, "w")), PAGE):
            found = yield from self._present(source, page)
            yield [store(target, _retargeted(source, found, target_id, {}))]
        copied: dict[str, str] = {}
        for page in _pages(checkpoints, PAGE):
            found = yield from self._present(source, page)
            gone = yield from self._copy_references(source, target, target_id, found, copied)
            if gone:  # the thread was pruned meanwhile, and these checkpoints with it
                found = yield from self._present(source, page)
                gone = yield from self._copy_references(source, target, target_id, found, copied)
            for entry, missing in gone.items():
                raise MissingDocumentError(key=source.key(entry), missing=source.key(missing))
            # Checkpoints come last: whoever sees one in the copy finds all that it needs.
            yield [store(target, _retargeted(source, found, target_id, copied))]

    def _copy_references(
        self,
        source: ThreadKeys,
        target: ThreadKeys,
        target_id: str,
        checkpoints: Mapping[str, dict[str, Any]],
        copied: dict[str, str],
    ) -> Plan[dict[str, str]]:
        """Copy the blobs and logs of checkpoints that are not copied yet.

        Args:
            copied: what is copied, entry -> entry in the copy. A log gets a name of its own
                there: both threads will add to theirs.

        Returns:
            The checkpoints that need what is gone: entry -> entry of that.
        """
        holders: dict[str, str] = {}
        for entry, fields in checkpoints.items():
            with reading(source.key(entry)):
                references = set(documents.references(fields)).difference(copied)
                holders.update(dict.fromkeys(references, entry))
        gone: dict[str, str] = {}
        for page in _pages(list(holders), PAGE):
            found = yield from self._parsed(source, page)
            gone.update({holders[entry]: entry for entry in page if entry not in found})
            copied.update({entry: logs.renamed(entry) for entry in found})
            copies = _retargeted(source, found, target_id, {})
            yield [store(target, [(copied[entry], copy) for entry, copy in copies])]
        return gone

    def _present(
        self, thread: ThreadKeys, entries: Sequence[str]
    ) -> Plan[dict[str, dict[str, Any]]]:
        """The documents by their entries, but for those that were deleted meanwhile.

        Raises:
            MissingDocumentError: if one is gone that the table of contents still names.
        """
        found = yield from self._parsed(thread, entries)
        gone = [entry for entry in entries if entry not in found]
        if gone:
            scores = yield [("ZSCORE", thread.contents, entry) for entry in gone]
            for entry, score in zip(gone, scores, strict=True):
                if score is not None:
                    key = thread.key(entry)
                    raise MissingDocumentError(key=key, missing=key)
        return found

    def _parsed(
        self, thread: ThreadKeys, entries: Sequence[str]
    ) -> Plan[dict[str, dict[str, Any]]]:
        """The documents that are there, by their entries."""
        found: dict[str, dict[str, Any]] = {}
        texts = yield from self._documents(thread, entries)
        for entry, document in zip(entries, texts, strict=True):
            if document is not None:
                with reading(thread.key(entry)):
                    found[entry] = parse(document)
        return found

    def prune(self, thread_ids: Sequence[Any], strategy: str) -> Plan[None]:
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(
                f'there is no pruning strategy {strategy!r}: use "keep_latest" or "delete"'
            )
        for thread_id in configs.several("thread_ids", thread_ids):
            if strategy == "delete":
                yield from self.delete_thread(thread_id)
                continue
            thread = self._thread(configs.thread(thread_id))
            entries = yield from self._entries(thread, "c")
            # Entries sort by namespace, then by id: the last one of a namespace is its newest.
            newest = {entry.split(":")[1]: entry for entry in entries}.values()
            yield from self._delete_checkpoints(thread, entries, set(newest))

    def delete_for_runs(self, run_ids: Sequence[str]) -> Plan[None]:
        runs = set(map(configs.run, configs.several("run_ids", run_ids)))
        if not runs:
            return
        names = map(keys.checkpoint_at, (yield from self._search(filters.runs_expression(runs))))
        for thread_id in dict.fromkeys(name.thread_id for name in names):
            thread = self._thread(thread_id)
            entries = yield from self._entries(thread, "c")
            lineages = yield from self._lineages(thread, entries)
            kept = {entry for entry in lineages if lineages[entry].run_id not in runs}
            yield from self._delete_checkpoints(thread, entries, kept, lineages)

    def _delete_checkpoints(
        self,
        thread: ThreadKeys,
        entries: Sequence[str],
        kept: set[str],
        lineages: Mapping[str, Lineage] | None = None,
    ) -> Plan[None]:
        """Delete those of a thread's checkpoints that are not kept, nor needed by a kept one."""
        if lineages is None:
            lineages = yield from self._lineages(thread, list(kept))
            if any(lineage.delta_channels for lineage in lineages.values()):
                lineages = yield from self._lineages(thread, entries)
        needed = kept | ancestors_needed(lineages, kept)
        gone = [entry for entry in entries if entry not in needed]
        if gone:
            yield [script("delete_checkpoints", thread, *gone)]

    def _lineages(self, thread: ThreadKeys, entries: Sequence[str]) -> Plan[dict[str, Lineage]]:
        found: dict[str, Lineage] = {}
        for page in _pages(entries, 4 * PAGE):
            for entry, fields in (yield from self._parsed(thread, page)).items():
                with reading(thread.key(entry)):
                    found[entry] = lineage(fields)
        return found


def _retargeted(
    source: ThreadKeys,
    found: Mapping[str, dict[str, Any]],
    target_id: str,
    names: Mapping[str, str],
) -> list[tuple[str, bytes]]:
    copies = []
    for entry, fields in found.items():
        with reading(source.key(entry)):
            copies.append((entry, documents.retarget(fields, target_id, names)))
    return copies


def _pages(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[first : first + size] for first in range(0, len(items), size))

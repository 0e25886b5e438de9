"""What is done to whole threads: deleting, copying, pruning."""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from langgraph_redis_json import configs, documents, filters, keys
from langgraph_redis_json.commands import Plan, script, store
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


def lineage(key: str, document: bytes) -> Lineage:
    """A checkpoint's lineage, from its document."""
    with reading(key):
        fields = parse(document)
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
        # Checkpoints come last: whoever sees one in the copy finds all that it needs.
        for kind in "blwc":
            entries = yield from self._entries(source, kind)
            for page in _pages(entries, PAGE):
                texts = yield from self._documents(source, page)
                copies = []
                for entry, document in zip(page, texts, strict=True):
                    if document is not None:  # deleted meanwhile
                        with reading(source.key(entry)):
                            copy = documents.retarget(parse(document), target_id)
                        copies.append((entry, copy))
                yield [store(target, copies)]

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
        names = yield from self._search(filters.runs_expression(runs))
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
            texts = yield from self._documents(thread, page)
            for entry, document in zip(page, texts, strict=True):
                if document is not None:
                    found[entry] = lineage(thread.key(entry), document)
        return found


def _pages(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[first : first + size] for first in range(0, len(items), size))

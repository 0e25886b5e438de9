"""What is done to whole threads: deleting and pruning. Copying is in `copying.py`."""

from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from langgraph_redis_json import configs, filters, keys, sweeping
from langgraph_redis_json.commands import Plan, script
from langgraph_redis_json.copying import Copying
from langgraph_redis_json.keys import ThreadKeys
from langgraph_redis_json.loading import reading
from langgraph_redis_json.sweeping import pages

CHUNK = 250
"""Keys that one call deletes: other clients wait for no more than that."""


class Lineage(NamedTuple):
    """What tells which ancestors a checkpoint needs.

    Attributes:
        parent: the entry of its parent, None for a first checkpoint.
        delta_channels: the channels whose value is rebuilt from the writes of its ancestors.
        channels: the channels that have a value here.
    """

    parent: str | None
    delta_channels: Collection[str]
    channels: Container[str]


def ancestors_needed(lineages: Mapping[str, Lineage], kept: Iterable[str]) -> set[str]:
    """The ancestors from which the delta channels of the kept checkpoints are rebuilt: for
    each channel all, back to the nearest one that has its value.

    Args:
        lineages: entry -> lineage. A walk ends, too, at an ancestor that is not among them.
        kept: entries.
    """
    walked: set[tuple[str, str]] = set()
    for entry in kept:
        if entry not in lineages:
            continue
        for channel in lineages[entry].delta_channels:
            at = lineages[entry].parent
            while at is not None and (at, channel) not in walked:
                walked.add((at, channel))
                if at not in lineages or channel in lineages[at].channels:
                    break
                at = lineages[at].parent
    return {entry for entry, _ in walked}


@dataclass
class WholeThreads(Copying):
    """The operations on whole threads."""

    def delete_thread(self, thread_id: Any) -> Plan[None]:
        thread = self._thread(configs.thread(thread_id))
        left = True
        while left:
            [left] = yield [script("delete_thread", thread, CHUNK)]

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
            entries, writes = yield from self._entries(thread, "c:", "w:")
            # Entries sort by namespace, then by id: the last one of a namespace is its newest.
            newest = {entry.split(":")[1]: entry for entry in entries}
            finished = yield from self._of_finished_calls(thread, [*newest.values()])
            kept = {entry for entry in newest.values() if entry not in finished}
            late = [
                entry
                for entry in _without_checkpoint(entries, writes)
                if entry < newest.get(entry.split(":")[1], "")
            ]
            yield from self._delete_checkpoints(thread, sorted([*entries, *late]), kept)

    def _keep_last(self, thread: ThreadKeys, new: str, count: int) -> Plan[None]:
        """Delete all but the newest so many checkpoints of a namespace, and a new one."""
        start, _, _ = new.rpartition(":")
        entries, writes = yield from self._entries(thread, f"{start}:", f"w{start[1:]}:")
        kept = entries[-count:]
        late = [entry for entry in _without_checkpoint(entries, writes) if entry < min(kept)]
        yield from self._delete_checkpoints(thread, sorted([*entries, *late]), {*kept, new})

    def delete_for_runs(self, run_ids: Sequence[str]) -> Plan[None]:
        runs = set(map(configs.run, configs.several("run_ids", run_ids)))
        if not runs:
            return
        names = map(keys.checkpoint_at, (yield from self._search(filters.runs_expression(runs))))
        found: dict[str, list[str]] = defaultdict(list)
        for name in names:
            entry = keys.checkpoint_entry(name.checkpoint_ns, name.checkpoint_id)
            found[name.thread_id].append(entry)
        for thread_id, hits in found.items():
            thread = self._thread(thread_id)
            doomed: set[str] = set()
            for page in pages(hits, sweeping.PAGE):
                fields = yield from self._fields(thread, page, ["$.metadata.run_id"])
                doomed.update(
                    entry
                    for entry, [ids] in fields.items()
                    if any(type(id_) is str and id_ in runs for id_ in ids)
                )
            if doomed:
                [entries] = yield from self._entries(thread, "c:")
                yield from self._delete_checkpoints(thread, entries, {*entries} - doomed)

    def _delete_checkpoints(
        self, thread: ThreadKeys, entries: Sequence[str], kept: Collection[str]
    ) -> Plan[None]:
        """Delete those of a thread's checkpoints that are not kept, nor needed by a kept one, and
        free what no checkpoint refers to any more.

        Args:
            entries: all of its checkpoints, in order.
        """
        needed = {*kept, *(yield from self._ancestors_needed(thread, entries, kept))}
        for page in pages((entry for entry in entries if entry not in needed), CHUNK // 2):
            yield [script("delete_checkpoints", thread, *page)]
        yield from self._sweep(thread)

    def _ancestors_needed(
        self, thread: ThreadKeys, entries: Sequence[str], kept: Collection[str]
    ) -> Plan[set[str]]:
        """The ancestors from which the delta channels of the kept checkpoints are rebuilt."""
        known = yield from self._lineages(thread, sorted(kept))
        if not any(lineage.delta_channels for lineage in known.values()):
            return set()
        known = yield from self._lineages(thread, sorted(kept), channels=True)
        places = {entry: number for number, entry in enumerate(entries)}
        while True:
            needed = ancestors_needed(known, kept)
            wanted = [places[entry] for entry in needed if entry in places and entry not in known]
            if not wanted:
                return needed
            # An ancestor is mostly found just before its child.
            last = max(wanted) + 1
            page = entries[max(0, last - sweeping.PAGE) : last]
            known |= dict.fromkeys(page, Lineage(None, (), ()))  # for those that are gone
            known |= yield from self._lineages(thread, page, channels=True)

    def _of_finished_calls(self, thread: ThreadKeys, newest: Sequence[str]) -> Plan[set[str]]:
        """Those of the newest checkpoints whose namespaces belong to calls of subgraphs that no
        later run goes on with."""
        found: dict[str, NewestOfNamespace] = {}
        entry_of: dict[str, str] = {}
        if len(newest) == 1:
            return set()
        for page in pages(newest, sweeping.PAGE):
            fields = yield from self._fields(thread, page, ["$.metadata.parents"])
            for entry, [parents] in fields.items():
                _, checkpoint_ns, checkpoint_id = keys.checkpoint_of_entry("", entry)
                entry_of[checkpoint_ns] = entry
                found[checkpoint_ns] = NewestOfNamespace(checkpoint_id, parents and parents[0])
        return {
            entry_of[checkpoint_ns]
            for checkpoint_ns, last in found.items()
            if is_finished(checkpoint_ns, last.parents, found)
        }

    def _lineages(
        self, thread: ThreadKeys, entries: Sequence[str], channels: bool = False
    ) -> Plan[dict[str, Lineage]]:
        """The lineages of checkpoints.

        Args:
            channels: whether to look which channels have a value; if not, none seem to.
        """
        found: dict[str, Lineage] = {}
        paths = ["$.parent_checkpoint_id", "$.delta_channels"]
        if channels:
            paths.append("$.channel_values")
        for page in pages(entries, sweeping.PAGE):
            fields = yield from self._fields(thread, page, paths)
            for entry, [parents, delta_channels, *values] in fields.items():
                with reading(thread.key(entry)):
                    start, _, _ = entry.rpartition(":")
                    there = {name for part in values for members in part for name in members}
                    found[entry] = Lineage(
                        next((f"{start}:{keys.escape(parent)}" for parent in parents), None),
                        [name for part in delta_channels for name in part if name not in there],
                        there,
                    )
        return found


class NewestOfNamespace(NamedTuple):
    """The newest checkpoint of a namespace: its id, and what its metadata has for parents."""

    checkpoint_id: str
    parents: Any


def is_finished(checkpoint_ns: str, parents: Any, newest: Mapping[str, NewestOfNamespace]) -> bool:
    """Whether a namespace is that of one call of a subgraph, and no later run goes on with it.

    A call's namespace ends in the id of its task, which follows from the checkpoint of the graph
    around that made the task. When that graph has a newer one, it makes other tasks.

    Args:
        checkpoint_ns: the namespace.
        parents: the graphs around, by their namespaces, and the checkpoint that each was at.
        newest: what is stored, by namespace.
    """
    names = [part for part in checkpoint_ns.split("|") if not part.isdigit()]
    if not names or ":" not in names[-1] or not isinstance(parents, dict):
        return False  # a graph of its own, or one that keeps its state from call to call
    around = [ns for ns in parents if not ns or checkpoint_ns.startswith(f"{ns}|")]
    if not around:
        return False
    outer = max(around, key=len)
    if outer not in newest:
        return outer != "" and is_finished(outer, parents, newest)
    # Saved in the background, the outer graph's checkpoint may come after the call's.
    made_by, last = parents[outer], newest[outer]
    return isinstance(made_by, str) and (
        made_by < last.checkpoint_id or is_finished(outer, last.parents, newest)
    )


def _without_checkpoint(entries: Sequence[str], writes: Sequence[str]) -> list[str]:
    """The entries of checkpoints that are not there and have writes. These may come before their
    checkpoint, but also after that was deleted: LangGraph does not wait for them."""
    there = {*entries}
    return [entry for entry in (f"c{write[1:]}" for write in writes) if entry not in there]

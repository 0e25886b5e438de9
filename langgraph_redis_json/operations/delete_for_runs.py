"""delete_for_runs: delete the checkpoints of runs, in all threads."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from langgraph_redis_json import arguments
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.operations import prune, table_of_contents
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.operations.list import search_sort_keys
from langgraph_redis_json.search import filters
from langgraph_redis_json.storage import keys


def delete_for_runs(context: Context, run_ids: Sequence[Any]) -> Plan[None]:
    runs = set(map(arguments.run_id, arguments.several("run_ids", run_ids)))
    if not runs:
        return
    found: dict[str, list[str]] = defaultdict(list)
    for sort_key in (yield from search_sort_keys(context, filters.runs_expression(runs))):
        identity = keys.identity_of_sort_key(sort_key)
        found[identity.thread_id].append(identity.entry)
    for thread_id, entries in found.items():
        thread = keys.thread_keys(context.key_prefix, thread_id)
        of_runs: set[str] = set()
        for page in table_of_contents.pages(entries, table_of_contents.PAGE):
            fields = yield from table_of_contents.read_paths(thread, page, ["$.metadata.run_id"])
            of_runs.update(
                entry
                for entry, [ids] in fields.items()
                if any(type(id_) is str and id_ in runs for id_ in ids)
            )
        if of_runs:
            [checkpoints] = yield from table_of_contents.entries(thread, "c:")
            yield from prune.delete_checkpoints(thread, checkpoints, {*checkpoints} - of_runs)

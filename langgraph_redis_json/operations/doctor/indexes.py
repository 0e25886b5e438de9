"""The search indexes: the savers' own, and those of other applications over the same keys."""

from redis.exceptions import ResponseError

from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.replies import index_info, mapping, text
from langgraph_redis_json.errors import UnsuitableServerError
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.operations.doctor.finding import Finding, Repair
from langgraph_redis_json.operations.setup import Progress, build_indexes
from langgraph_redis_json.search import indexes
from langgraph_redis_json.search.fields import SCHEMAS
from langgraph_redis_json.search.queries import has_coordinator, is_missing
from langgraph_redis_json.storage.keys import KINDS

SETUP = "Run langgraph-redis-json setup, or call setup() of a saver."


def _setup(context: Context) -> Repair:
    def build() -> Plan[str]:
        progress = Progress()
        while (share := (yield from build_indexes(context))) < 1:
            progress.check(share)
        return "the indexes are as their schemas, and complete"

    return Repair("build the indexes, as setup does", build)


def check_indexes(context: Context) -> Plan[list[Finding]]:
    """Look at the indexes."""
    if context.clustered and not (yield from has_coordinator()):
        return []
    found = []
    own = set()
    for which in SCHEMAS:
        wanted = indexes.schema(context.key_prefix, which, {})
        alias = str(wanted.index.name)
        live = yield from indexes.info(alias)
        if live is None:
            found.append(
                Finding(
                    "error",
                    "index-missing",
                    alias,
                    "the index does not exist",
                    "Filters and searches across threads fail.",
                    SETUP,
                    _setup(context),
                )
            )
            continue
        own.add(live.name)
        try:
            fits = indexes.fits(live, wanted)
        except UnsuitableServerError as error:
            found.append(
                Finding(
                    "error",
                    "index-newer",
                    alias,
                    "a newer version of langgraph-redis-json has created the index",
                    "This version may not find what it searches for.",
                    f"Upgrade the package. {error}",
                )
            )
            continue
        if live.failures:
            found.append(
                Finding(
                    "error",
                    "index-failures",
                    alias,
                    f"the index refused {live.failures:,} documents; the last one at key "
                    f"{live.last_key}: {live.last_failure}",
                    "Searches do not find these documents. Reading their threads works.",
                    "Correct or delete the document, then run langgraph-redis-json setup.",
                )
            )
            continue
        if not fits:
            found.append(
                Finding(
                    "error",
                    "index-differs",
                    alias,
                    "the index is not as its schema",
                    "Searches may miss documents.",
                    SETUP,
                    _setup(context),
                )
            )
        elif live.share < 1:
            found.append(
                Finding(
                    "warning",
                    "index-filling",
                    alias,
                    f"the server is filling the index ({live.share:.0%} done)",
                    "Until this is done, filters and searches across threads fail.",
                    "Wait; langgraph-redis-json setup returns when it is done.",
                )
            )
        else:
            found.append(Finding("ok", "index", alias, "as its schema, and complete"))
    found += yield from _others(context, own)
    return found


def _others(context: Context, own: set[str]) -> Plan[list[Finding]]:
    """Indexes that setup() has left, and those of other applications over the same keys."""
    found = []
    starts = [f"{context.key_prefix}{kind}:{{" for kind in KINDS.values()]
    aliases = [str(indexes.schema(context.key_prefix, which, {}).index.name) for which in SCHEMAS]
    [names] = yield [("FT._LIST",)]
    for name in sorted({*map(text, names)} - own):
        if any(indexes.version_of(alias, name) is not None for alias in aliases):
            found.append(
                Finding(
                    "warning",
                    "index-left",
                    name,
                    "the index is not used: setup() was killed, or is running",
                    "It takes memory and makes each put slower.",
                    SETUP,
                    _setup(context),
                )
            )
            continue
        try:
            [reply] = yield [("FT.INFO", name)]
        except ResponseError as error:
            if is_missing(error):
                continue
            raise
        definition = mapping(mapping(reply)["index_definition"])
        if text(definition.get("key_type", "JSON")) != "JSON":
            continue
        if any(
            start.startswith(prefix) or prefix.startswith(start)
            for prefix in index_info(reply).prefixes
            for start in starts
        ):
            found.append(
                Finding(
                    "warning",
                    "index-foreign",
                    name,
                    "the index of another application covers documents of savers",
                    "The server indexes each document twice, and that application finds documents "
                    "that are not its own.",
                    "Let the other application create its index with a PREFIX of its own keys.",
                )
            )
    return found

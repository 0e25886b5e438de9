"""The search indexes: the savers' own, and those of other applications over the same keys."""

from redis.exceptions import ResponseError

from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.replies import index_info, mapping, text
from langgraph_redis_json.errors import (
    IndexIncompleteError,
    MessagesMissingError,
    UnsuitableServerError,
)
from langgraph_redis_json.operations import fill_messages
from langgraph_redis_json.operations.context import Context
from langgraph_redis_json.operations.doctor.finding import Finding, Repair
from langgraph_redis_json.operations.setup import Progress, build_indexes
from langgraph_redis_json.search import indexes
from langgraph_redis_json.search.fields import SCHEMAS
from langgraph_redis_json.search.queries import has_coordinator, is_missing
from langgraph_redis_json.storage.keys import KINDS
from langgraph_redis_json.storage.messages import MessageSearch

SETUP = "Run langgraph-redis-json setup, or call setup() of a saver."
SETUP_MESSAGES = (
    "Run langgraph-redis-json setup --messages, or call setup() of a saver with message_search."
)

WHICH = (*SCHEMAS, "messages")


def _remedy(which: str) -> str:
    return SETUP_MESSAGES if which == "messages" else SETUP


def _setup(context: Context, which: str) -> Repair:
    if which == "messages":
        context = context._replace(message_search=context.message_search or MessageSearch())

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
    for which in WHICH:
        wanted = indexes.schema(context.key_prefix, which, {})
        alias = str(wanted.index.name)
        live = yield from indexes.info(alias)
        if live is None and which == "messages":
            continue  # no saver has message_search
        if live is None:
            found.append(
                Finding(
                    "error",
                    "index-missing",
                    alias,
                    "the index does not exist",
                    "Filters and searches across threads fail.",
                    _remedy(which),
                    _setup(context, which),
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
                    _remedy(which),
                    _setup(context, which),
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
        elif which == "messages" and (why := (yield from _why_unfilled(context))):
            found.append(
                Finding(
                    "warning",
                    "messages-filling",
                    alias,
                    f"not all messages have documents: {why}",
                    "Until they have, search_messages fails.",
                    SETUP_MESSAGES,
                )
            )
        else:
            found.append(Finding("ok", "index", alias, "as its schema, and complete"))
    found += yield from _others(context, own)
    return found


def _why_unfilled(context: Context) -> Plan[str]:
    try:
        yield from fill_messages.check(context)
    except (MessagesMissingError, IndexIncompleteError) as error:
        return str(error)
    return ""


def _others(context: Context, own: set[str]) -> Plan[list[Finding]]:
    """Indexes that setup() has left, and those of other applications over the same keys."""
    found = []
    starts = [f"{context.key_prefix}{kind}:{{" for kind in KINDS.values()]
    aliases = {
        str(indexes.schema(context.key_prefix, which, {}).index.name): which for which in WHICH
    }
    [names] = yield [("FT._LIST",)]
    for name in sorted({*map(text, names)} - own):
        left = [
            which for alias, which in aliases.items() if indexes.version_of(alias, name) is not None
        ]
        if left:
            found.append(
                Finding(
                    "warning",
                    "index-left",
                    name,
                    "the index is not used: setup() was killed, or is running",
                    "It takes memory and makes each put slower.",
                    _remedy(left[0]),
                    _setup(context, left[0]),
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

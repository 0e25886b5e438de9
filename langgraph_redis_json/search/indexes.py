"""The search indexes: redisvl schemas -> RediSearch, created and changed by setup().

Searches name an alias. The index behind it has a name that ends with the version of the schemas and
a digest. For any change another index is created beside it, and the alias moves when that is
complete: no search is ever answered from part of an index. (While FT.ALTER indexes the documents
again, nothing tells this from a server that fills its index after a restart.)
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from secrets import token_hex

from redis.exceptions import RedisError, ResponseError
from redisvl.schema import IndexSchema

from langgraph_redis_json.client import scripts
from langgraph_redis_json.client.plan import Command, Plan
from langgraph_redis_json.client.replies import FieldInfo, IndexInfo, index_info, text
from langgraph_redis_json.client.scripts import send
from langgraph_redis_json.errors import (
    IndexIncompleteError,
    TriesExhaustedError,
    UnindexedDocumentsError,
    UnsuitableServerError,
)
from langgraph_redis_json.search import fields
from langgraph_redis_json.search.fields import SCHEMAS, WITH_METADATA, Fields
from langgraph_redis_json.search.queries import (
    ask,
    has_coordinator,
    index_name,
    is_missing,
)
from langgraph_redis_json.storage.keys import ThreadKeys

logger = logging.getLogger("langgraph_redis_json")

TRIES = 100
"""Steps after which an index must be as its schema. It takes three, and more beside other
processes."""

NOT_YET = 0.99
"""The share while another process changes an index, or a node of a cluster does not answer."""

LOCKED = 10_000
"""Milliseconds after which another process may change the alias, if this one was killed meanwhile.
It takes a few."""

VERSION = 2
"""Of the fields in ``schemas/*.yaml``. Each release that changes or drops a field raises it."""


def schema(key_prefix: str, which: str, metadata_fields: Fields) -> IndexSchema:
    """The redisvl schema of one index, for savers with this key prefix."""
    loaded = fields.built_in(which).model_copy(deep=True)
    loaded.index.name = index_name(key_prefix, which)
    loaded.index.prefix = f"{key_prefix}{loaded.index.prefix}"
    if which in WITH_METADATA:
        loaded.fields.update(metadata_fields)
    return loaded


def build(
    key_prefix: str, metadata_fields: Fields, clustered: bool, schemas: Sequence[str] = SCHEMAS
) -> Plan[float]:
    """Do the next step to make the indexes as their schemas. Call this again until all is done.
    Several processes may do so at the same time.

    Returns:
        How much is done, from 0 to 1.

    Raises:
        UnsuitableServerError: if an index has a newer version.
        UnindexedDocumentsError: if the server cannot index some documents.
    """
    if clustered and not (yield from has_coordinator()):
        return 1.0
    shares = []
    for which in schemas:
        wanted = schema(key_prefix, which, metadata_fields)
        for _ in range(TRIES):
            share = yield from _build(key_prefix, wanted, clustered)
            if share is not None:
                break
        else:
            raise TriesExhaustedError(
                what=f'building the index "{wanted.index.name}"',
                times=TRIES,
                why="each time the server had another index than the one that was built",
                remedy="Look at FT._LIST and FT.INFO: another program may change the indexes.",
            )
        shares.append(share)
    return sum(shares) / len(shares)


def _build(key_prefix: str, wanted: IndexSchema, clustered: bool) -> Plan[float | None]:
    """Do one step for one index.

    Returns:
        None if something was changed, else the share that the server has indexed.
    """
    alias = str(wanted.index.name)
    live = yield from info(alias)
    is_everywhere: bool | None = True
    if clustered and live is not None:
        is_everywhere = yield from _is_on_all_nodes(alias)
    if is_everywhere is None:
        return NOT_YET
    if live is None or not fits(live, wanted) or not is_everywhere:
        return (yield from _build_beside(key_prefix, live, wanted))
    if live.share == 1:
        # A process that was killed may have left other indexes.
        [found] = yield [("FT._LIST",)]
        others = [other for other in map(text, found) if _is_older(alias, live.name, other)]
        if others:
            return (yield from _while_live(key_prefix, alias, live, map(_drop, others)))
    return live.share


def _is_older(alias: str, live: str, other: str) -> bool:
    """Whether an index is one that setup() has built for this alias, and that is not needed."""
    version = version_of(alias, other)
    return other != live and version is not None and version <= VERSION


def _is_on_all_nodes(alias: str) -> Plan[bool | None]:
    """Whether all nodes of a cluster have an index. A node that joins later has none, and
    ``FT.INFO`` does not say so. None if not all nodes answer now."""
    try:
        yield from ask(True, alias, ("FT.SEARCH", alias, "*", "LIMIT", 0, 0))
    except IndexIncompleteError:
        return None
    except ResponseError as error:
        if is_missing(error):
            return False
        raise
    return True


def fits(live: IndexInfo, wanted: IndexSchema) -> bool:
    """Whether an index is as its schema."""
    version = version_of(str(wanted.index.name), live.name)
    if version is not None and version > VERSION:
        raise UnsuitableServerError(
            why=f'a newer version of langgraph-redis-json created its index "{live.name}"',
            remedy="Upgrade the package here too",
        )
    return (
        version == VERSION
        and live.prefixes == [wanted.index.prefix]
        and live.filter == _filter(wanted)
        and not live.failures
        and all(
            name in live.fields and live.fields[name].is_like(field)
            for name, field in _definitions(wanted).items()
        )
    )


def _build_beside(
    key_prefix: str, live: IndexInfo | None, wanted: IndexSchema
) -> Plan[float | None]:
    """Create an index beside the live one, and let the alias name it when it is complete."""
    alias = str(wanted.index.name)
    definitions = {} if live is None else _users_fields(live)
    definitions.update(_definitions(wanted))
    definition: Command = (
        *("ON", "JSON", "PREFIX", 1, str(wanted.index.prefix), *_options(wanted), "SCHEMA"),
        *_words(definitions),
    )
    digest = blake2b(repr((live and live.name, definition)).encode(), digest_size=6).hexdigest()
    target = f"{alias}_v{VERSION}_{digest}"
    created = yield from info(target)
    if created is None:
        try:
            yield [("FT.CREATE", target, *definition)]
        except ResponseError as error:
            if "already exists" not in str(error).lower():
                raise
        else:
            logger.info("Created the index %s: the server fills it.", target)
        return None
    if created.share < 1:
        return created.share
    if created.failures:
        yield from _drop(target)
        raise UnindexedDocumentsError(
            count=created.failures, index=alias, key=created.last_key, why=created.last_failure
        )
    steps = [_name(alias, target)]
    if live and live.name == alias:  # an index, not an alias, has the name
        steps.insert(0, _drop(alias))
    elif live and version_of(alias, live.name) is not None:
        steps.append(_drop(live.name))
    return (yield from _while_live(key_prefix, alias, live, steps, target))


def _while_live(
    key_prefix: str,
    alias: str,
    live: IndexInfo | None,
    steps: Iterable[Plan[None]],
    needed: str | None = None,
) -> Plan[float | None]:
    """Run plans while no other process changes the index that an alias names, if the index that is
    needed still exists: another process may have dropped it as one that a killed process left.

    Two processes that both replace the live index would otherwise lose the fields that one of them
    has added.

    Returns:
        None, or a share that is not yet 1 if another process changes an index now.
    """
    lock = ThreadKeys(key_prefix, "{lock}", f"{key_prefix}setup:{{lock}}")
    holder = token_hex(8)
    if not (yield from send(scripts.lock(lock, holder, LOCKED))):
        return NOT_YET
    give_back: list[Command] = [("ZREM", lock.contents, holder)]
    try:
        now = yield from info(alias)
        is_there = needed is None or (yield from info(needed)) is not None
        if is_there and (now and now.name) == (live and live.name):
            for step in steps:
                # Another process has the lock if this one was held up for long.
                if not (yield from send(scripts.lock(lock, holder, LOCKED))):
                    return None
                yield from step
    except ResponseError:
        with suppress(RedisError):  # the caller learns of the first error
            yield give_back
        raise
    yield give_back
    return None


def _filter(schema: IndexSchema) -> str:
    """Which documents under its prefix an index has; "" for all.

    Pending writes that nobody searches take no memory in the index.
    """
    return "exists(@channel)" if "channel" in schema.fields else ""


def _options(schema: IndexSchema) -> Command:
    """What ``FT.CREATE`` says of an index as a whole."""
    found: list[str | int] = []
    if which := _filter(schema):
        found += ("FILTER", which)
    if "language" in schema.fields:
        found += ("LANGUAGE_FIELD", str(schema.fields["language"].path))
    if schema.index.stopwords:
        found += ("STOPWORDS", len(schema.index.stopwords), *schema.index.stopwords)
    return tuple(found)


def _users_fields(live: IndexInfo) -> dict[str, FieldInfo]:
    """The metadata fields of an index that any saver has declared."""
    return {name: field for name, field in live.fields.items() if fields.is_users(name, field.path)}


def _definitions(schema: IndexSchema) -> dict[str, FieldInfo]:
    found = {}
    for field in schema.redis_fields:
        path, _, name, kind, *options = map(str, field.redis_args())
        found[name] = FieldInfo(path, kind, tuple(options))
    return found


def _words(definitions: Mapping[str, FieldInfo]) -> list[str]:
    """The fields as arguments of ``FT.CREATE``."""
    return [
        word
        for name, field in definitions.items()
        for word in (field.path, "AS", name, field.kind, *field.options)
    ]


def version_of(alias: str, name: str) -> int | None:
    """The version in the name of an index; None if setup() has not given it this name."""
    found = re.fullmatch(rf"{re.escape(alias)}_v(\d+)_[0-9a-f]+", name)
    return int(found[1]) if found else None


def info(index: str) -> Plan[IndexInfo | None]:
    try:
        [reply] = yield [("FT.INFO", index)]
    except ResponseError as error:
        if is_missing(error):
            return None
        raise
    return index_info(reply)


def _name(alias: str, index: str) -> Plan[None]:
    yield [("FT.ALIASUPDATE", alias, index)]
    logger.info("The index %s is complete: searches of %s use it.", index, alias)


def _drop(index: str) -> Plan[None]:
    yield from _unless_missing(("FT.DROPINDEX", index))


def _unless_missing(command: Command) -> Plan[None]:
    """Send a command, and ignore that its index does not exist."""
    try:
        yield [command]
    except ResponseError as error:
        if not is_missing(error):
            raise

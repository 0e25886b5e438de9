"""The search indexes: redisvl schemas -> RediSearch, made and changed by setup().

Searches name an alias. Behind it is an index whose name ends with the version of its schema and a
digest. For any change another index is made beside it, and the alias moves when that is complete:
no search is ever answered from a part. (While FT.ALTER reads the documents again, nothing tells it
from a server that does so after a restart, and knows a part of them.)
"""

import re
from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any
from warnings import warn

from redis.exceptions import NoPermissionError, ResponseError
from redisvl.schema import IndexSchema

from langgraph_redis_json import fields, keys
from langgraph_redis_json.commands import (
    Command,
    FieldInfo,
    IndexInfo,
    Plan,
    index_info,
    script,
    text,
    with_source,
)
from langgraph_redis_json.errors import (
    CoordinatorMissingError,
    IndexIncompleteError,
    MetadataFieldMissingError,
    UnindexedDocumentsError,
    UnsuitableServerError,
)
from langgraph_redis_json.fields import SCHEMAS, WITH_METADATA, Fields

VERSION = 1
"""Of the fields in ``schemas/*.yaml``: one more for each release that changes or drops one."""

_OURS = "langgraph_redis_json setup"
"""A thread that nobody else has."""


def schema(key_prefix: str, which: str, metadata_fields: Fields) -> IndexSchema:
    """The redisvl schema of one index, for savers with this key prefix."""
    loaded = fields.built_in(which).model_copy(deep=True)
    prefix = f"{keys.escape(key_prefix)}:" if key_prefix else ""
    loaded.index.name = prefix + loaded.index.name
    loaded.index.prefix = f"{prefix}{loaded.index.prefix}"
    if which in WITH_METADATA:
        loaded.fields.update(metadata_fields)
    return loaded


def name(key_prefix: str, which: str) -> str:
    """What searches call one index: an alias."""
    prefix = f"{keys.escape(key_prefix)}:" if key_prefix else ""
    return prefix + str(fields.built_in(which).index.name)


def is_missing(error: ResponseError) -> bool:
    """Whether the server says that there is no such index."""
    message = str(error).lower()
    return "no such index" in message or "unknown index name" in message


def has_coordinator(key_prefix: str) -> Plan[bool]:
    """Whether the Search of a cluster can look into all nodes: a plan."""
    [found] = yield [script("coordinator", keys.thread_keys(key_prefix, _OURS))]
    return bool(found)


# ---- what setup does


def check_server(key_prefix: str, clustered: bool, *, expiring: bool = False) -> Plan[None]:
    """See that the server has, and lets this user do, what a saver does: a plan.

    Args:
        clustered: whether this is a cluster; one whose Search has no coordinator gets no
            indexes, which would each know the threads of one node alone, but a warning.
        expiring: whether threads get a time to live.

    Raises:
        UnsuitableServerError: if the server, its database or the user's permissions do not do.
    """
    yield from _check_commands(key_prefix)
    yield from _check_eviction(key_prefix, expiring)
    if clustered and not (yield from has_coordinator(key_prefix)):
        warn(str(CoordinatorMissingError()), stacklevel=2)
        return
    yield from _check_search(name(key_prefix, SCHEMAS[0]) + "_probe")


def build(key_prefix: str, metadata_fields: Fields, clustered: bool) -> Plan[float]:
    """Do what is to be done next for the indexes to be as their schemas: a plan, to be run again
    until all is done. What another process does at the same time, this one need not do.

    Returns:
        How much is done, from 0 to 1.

    Raises:
        UnsuitableServerError: if an index is of a newer version.
        UnindexedDocumentsError: if the server cannot index some documents.
    """
    if clustered and not (yield from has_coordinator(key_prefix)):
        return 1.0
    shares = []
    for which in SCHEMAS:
        share = None
        while share is None:
            share = yield from _build(key_prefix, schema(key_prefix, which, metadata_fields))
        shares.append(share)
    return sum(shares) / len(shares)


def _build(key_prefix: str, wanted: IndexSchema) -> Plan[float | None]:
    """One thing for one index: None if something was done, else the share that the server has
    indexed."""
    alias = str(wanted.index.name)
    live = yield from _info(alias)
    if live is None or not _can_stay(live, wanted):
        return (yield from _build_beside(key_prefix, live, wanted))
    if live.share == 1:
        [found] = yield [("FT._LIST",)]
        for stray in map(text, found):  # of a process that was killed
            version = _version(alias, stray)
            if stray != live.name and version is not None and version <= VERSION:
                there = keys.thread_keys(key_prefix, _OURS)
                yield from _unless_missing(script("drop_stray", there, alias, stray))
    return live.share


def _can_stay(live: IndexInfo, wanted: IndexSchema) -> bool:
    version = _version(str(wanted.index.name), live.name)
    if version is not None and version > VERSION:
        raise UnsuitableServerError(
            why=f'its index "{live.name}" was made by a newer version of langgraph-redis-json',
            remedy="Upgrade the package here too",
        )
    return (
        version == VERSION
        and live.prefixes == [wanted.index.prefix]
        and live.filter == _which(wanted)
        and not live.failures
        and all(
            name in live.fields and live.fields[name].is_like(field)
            for name, field in _definitions(wanted).items()
        )
    )


def _build_beside(
    key_prefix: str, live: IndexInfo | None, wanted: IndexSchema
) -> Plan[float | None]:
    """Make an index in place of the live one, and let the alias name it when it is complete."""
    alias = str(wanted.index.name)
    definitions = {} if live is None else _of_other_savers(live)
    definitions.update(_definitions(wanted))
    which = ("FILTER", found) if (found := _which(wanted)) else ()
    definition: Command = (
        *("ON", "JSON", "PREFIX", 1, str(wanted.index.prefix), *which, "SCHEMA"),
        *_words(definitions),
    )
    digest = blake2b(repr((live and live.name, definition)).encode(), digest_size=6).hexdigest()
    target = f"{alias}_v{VERSION}_{digest}"
    made = yield from _info(target)
    if made is None:
        try:
            yield [("FT.CREATE", target, *definition)]
        except ResponseError as error:
            if "already exists" not in str(error).lower():
                raise
        return None
    if made.share < 1:
        return made.share
    if made.failures:
        yield from _drop(target)
        raise UnindexedDocumentsError(
            count=made.failures, index=alias, key=made.last_key, why=made.last_failure
        )
    if live and live.name == alias:  # of before there were aliases: it is in the alias's way
        yield from _drop(alias)
        live = None
    there = keys.thread_keys(key_prefix, _OURS)
    [swapped] = yield [script("swap", there, alias, live.name if live else "", target)]
    if swapped and live and _version(alias, live.name) is not None:
        yield from _drop(live.name)
    return None


def _which(schema: IndexSchema) -> str:
    """Which documents of its prefix an index has; "" for all."""
    # Pending writes that nobody searches cost no memory in the index: most are gone from sight
    # with the next checkpoint.
    return "exists(@channel)" if "channel" in schema.fields else ""


def _of_other_savers(live: IndexInfo) -> dict[str, FieldInfo]:
    """The metadata fields of an index, whichever saver has declared them."""
    return {name: field for name, field in live.fields.items() if fields.is_metadata(field.path)}


def _definitions(schema: IndexSchema) -> dict[str, FieldInfo]:
    found = {}
    for field in schema.redis_fields:
        path, _, name, kind, *options = map(str, field.redis_args())
        found[name] = FieldInfo(path, kind, tuple(options))
    return found


def _words(definitions: Mapping[str, FieldInfo]) -> list[str]:
    """The fields as ``FT.CREATE`` wants them."""
    return [
        word
        for name, field in definitions.items()
        for word in (field.path, "AS", name, field.kind, *field.options)
    ]


def _version(alias: str, name: str) -> int | None:
    """The version in an index's name; None for one that setup() has not named so."""
    found = re.fullmatch(rf"{re.escape(alias)}_v(\d+)_[0-9a-f]+", name)
    return int(found[1]) if found else None


def _info(index: str) -> Plan[IndexInfo | None]:
    try:
        [reply] = yield [("FT.INFO", index)]
    except ResponseError as error:
        if is_missing(error):
            return None
        raise
    return index_info(reply)


def _drop(index: str) -> Plan[None]:
    yield from _unless_missing(("FT.DROPINDEX", index))


def _unless_missing(command: Command) -> Plan[None]:
    """Send a command, and do not mind if its index is not there."""
    try:
        yield [command]
    except ResponseError as error:
        if not is_missing(error):
            raise


def check_answers(index: str, reply: Any, used: Collection[str], metadata_fields: Fields) -> None:
    """See that an index can answer: the server finds nothing by a field that it does not have, and
    a part while it indexes, after a restart say, and says neither.

    Args:
        index: what the search calls it.
        reply: to FT.INFO.
        used: the names of the metadata fields that the search asks.
        metadata_fields: what the saver takes them for.

    Raises:
        IndexIncompleteError, MetadataFieldMissingError: if it cannot.
    """
    live = index_info(reply)
    if live.share < 1:
        raise IndexIncompleteError(index=index, share=f"{live.share:.0%}")
    for name in used:
        field = live.fields.get(name)
        if field is None or field.path != metadata_fields[name].path:
            raise MetadataFieldMissingError(index=index, field=name)


# ---- what the server can do


def _check_commands(key_prefix: str) -> Plan[None]:
    """See that the server knows, and lets this user run, all that plans and scripts run."""
    there = keys.thread_keys(key_prefix, _OURS)
    check = script("check", there)
    try:
        yield [with_source(check)]
    except NoPermissionError as error:
        if "key" in str(error):
            raise UnsuitableServerError(
                why=f"its user may not use the key {there.contents} ({error})",
                remedy=f"Let the user use the keys {there.prefix}*, with ACL SETUSER",
            ) from error
        raise _forbidden("EVAL", error) from error
    try:
        [failures] = yield [check]
    except NoPermissionError as error:
        raise _forbidden("EVALSHA", error) from error
    for command, message in (map(text, failure) for failure in failures):
        if "unknown" in message.lower():
            module = "Search" if command.startswith("FT.") else "JSON"
            raise UnsuitableServerError(
                why=f"it does not know {command}, a command of Redis {module}",
                remedy="Use Redis 8, Redis Stack, or a service that offers both Search and JSON",
            )
        raise _forbidden(command, message)


def _check_eviction(key_prefix: str, expiring: bool) -> Plan[None]:
    """Warn of a server that deletes keys when it is full."""
    [reply] = yield [script("eviction", keys.thread_keys(key_prefix, _OURS))]
    policy = text(reply)
    if policy.startswith("allkeys") or (expiring and policy.startswith("volatile")):
        warn(
            f"this Redis deletes keys when it is full (maxmemory-policy {policy}), so threads can "
            "lose checkpoints that they need: set maxmemory-policy to noeviction",
            stacklevel=2,
        )


def _check_search(nowhere: str) -> Plan[None]:
    """The same for commands of indexes, tried on one that is not there."""
    for command in (
        ("FT.CREATE", nowhere, "ON", "JSON", "SCHEMA"),
        ("FT.INFO", nowhere),
        ("FT.SEARCH", nowhere, "*"),
        ("FT.AGGREGATE", nowhere, "*"),
        ("FT.CURSOR", "DEL", nowhere, 0),
        ("FT.ALIASUPDATE", nowhere, nowhere),
        ("FT.DROPINDEX", nowhere),
    ):
        try:
            yield [command]
        except NoPermissionError as error:
            raise _forbidden(command[0], error) from error
        except ResponseError as error:
            message = str(error).lower()
            if "db != 0" in message or "database 0" in message:
                raise UnsuitableServerError(
                    why="Redis indexes only database 0, and the client uses another",
                    remedy="Connect to database 0, and keep applications apart with key_prefix=",
                ) from error


def _forbidden(command: object, message: object) -> UnsuitableServerError:
    # It may also be one that the client sends when it connects.
    if named := re.search(r"run the '(.+?)' command", str(message)):
        command = named[1].upper()
    return UnsuitableServerError(
        why=f"its user may not run {command} ({message})",
        remedy="Let the user run it, with ACL SETUSER",
    )

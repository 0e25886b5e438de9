"""The search indexes: redisvl schemas -> RediSearch.

Fields are declared in ``schemas/*.yaml`` and nowhere else.
"""

from functools import cache
from importlib.resources import as_file, files
from warnings import warn

from redis.exceptions import NoPermissionError, ResponseError
from redisvl.schema import IndexSchema

from langgraph_redis_json import keys
from langgraph_redis_json.commands import Command, Plan, mapping, script, text, with_source
from langgraph_redis_json.errors import CoordinatorMissingError, UnsuitableServerError

SCHEMAS = ("checkpoints", "writes", "threads")
"""The files in ``schemas/``."""

_OURS = "langgraph_redis_json setup"
"""A thread that nobody else has."""


@cache
def schema(key_prefix: str, which: str) -> IndexSchema:
    """The redisvl schema of one index, for savers with this key prefix."""
    with as_file(files("langgraph_redis_json") / "schemas" / f"{which}.yaml") as path:
        loaded = IndexSchema.from_yaml(path)
    if key_prefix:
        prefix = f"{keys.escape(key_prefix)}:"
        loaded.index.name = prefix + loaded.index.name
        loaded.index.prefix = f"{prefix}{loaded.index.prefix}"
    return loaded


def name(key_prefix: str, which: str) -> str:
    """The name of one index on the server."""
    return str(schema(key_prefix, which).index.name)


def is_missing(error: ResponseError) -> bool:
    """Whether the server says that there is no such index."""
    message = str(error).lower()
    return "no such index" in message or "unknown index name" in message


def has_coordinator(key_prefix: str) -> Plan[bool]:
    """Whether the Search of a cluster can look into all nodes: a plan."""
    [found] = yield [script("coordinator", keys.thread_keys(key_prefix, _OURS))]
    return bool(found)


def setup(key_prefix: str, clustered: bool) -> Plan[None]:
    """Check the server and make the indexes that are not there: a plan.

    Args:
        clustered: whether this is a cluster; one whose Search has no coordinator gets no
            indexes, which would each know the threads of one node alone, but a warning.

    Raises:
        UnsuitableServerError: if the server, its database or the user's permissions do not do.
    """
    yield from _check_commands(key_prefix)
    yield from _check_eviction(key_prefix)
    if clustered and not (yield from has_coordinator(key_prefix)):
        warn(str(CoordinatorMissingError()), stacklevel=2)
        return
    for which in SCHEMAS:
        try:
            yield [_create(schema(key_prefix, which))]
        except NoPermissionError as error:
            raise _forbidden("FT.CREATE", error) from error
        except ResponseError as error:
            message = str(error).lower()
            if "db != 0" in message or "database 0" in message:
                raise UnsuitableServerError(
                    why="Redis indexes only database 0, and the client uses another",
                    remedy="Connect to database 0, and keep applications apart with key_prefix=",
                ) from error
            if "already exists" not in message:
                raise
    yield from _check_search(name(key_prefix, SCHEMAS[0]))


def are_building(key_prefix: str, clustered: bool) -> Plan[bool]:
    """Whether the server still indexes documents that were there before the indexes: a plan."""
    if clustered and not (yield from has_coordinator(key_prefix)):
        return False
    replies = yield [("FT.INFO", name(key_prefix, which)) for which in SCHEMAS]
    return any(int(mapping(reply)["indexing"]) for reply in replies)


def _create(schema: IndexSchema) -> Command:
    prefix = schema.index.prefix
    fields = [part for field in schema.redis_fields for part in field.redis_args()]
    # Pending writes that nobody searches cost no memory in the index: most are gone from sight
    # with the next checkpoint.
    which = ("FILTER", "exists(@channel)") if "channel" in schema.fields else ()
    return (
        *("FT.CREATE", schema.index.name, "ON", "JSON", "PREFIX", 1, str(prefix), *which),
        *("SCHEMA", *fields),
    )


def _check_commands(key_prefix: str) -> Plan[None]:
    """See that the server knows, and lets this user run, all that plans and scripts run."""
    check = script("check", keys.thread_keys(key_prefix, _OURS))
    try:
        yield [with_source(check)]
    except NoPermissionError as error:
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


def _check_eviction(key_prefix: str) -> Plan[None]:
    """Warn of a server that deletes keys when it is full."""
    [reply] = yield [script("eviction", keys.thread_keys(key_prefix, _OURS))]
    policy = text(reply)
    # The volatile policies delete only what has a time to live.
    if policy.startswith("allkeys"):
        warn(
            f"this Redis deletes any key when it is full (maxmemory-policy {policy}), so threads "
            "can lose checkpoints that they need: set maxmemory-policy to noeviction",
            stacklevel=2,
        )


def _check_search(index: str) -> Plan[None]:
    for command in (
        ("FT.INFO", index),
        ("FT.SEARCH", index, "*", "LIMIT", 0, 0),
        ("FT.AGGREGATE", index, "*", "LIMIT", 0, 0),
        ("FT.CURSOR", "DEL", index, 0),
    ):
        try:
            yield [command]
        except NoPermissionError as error:
            raise _forbidden(command[0], error) from error
        except ResponseError:
            if command[0] != "FT.CURSOR":  # which says that there is no such cursor
                raise


def _forbidden(command: str, message: object) -> UnsuitableServerError:
    return UnsuitableServerError(
        why=f"its user may not run {command} ({message})",
        remedy="Let the user run it, with ACL SETUSER",
    )

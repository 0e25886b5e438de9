"""The search indexes: redisvl schemas -> RediSearch.

Fields are declared in ``schemas/*.yaml`` and nowhere else.
"""

from collections.abc import Generator
from functools import cache
from importlib.resources import as_file, files
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError
from redisvl.schema import IndexSchema

from langgraph_redis_json import keys
from langgraph_redis_json.commands import Command, mapping, script, text
from langgraph_redis_json.errors import UnsuitableServerError

SCHEMAS = ("checkpoints", "writes", "threads")
"""The files in ``schemas/``."""


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


def setup(key_prefix: str) -> Generator[list[Command], list[Any], None]:
    """Check the server and make the indexes that are not there: a plan.

    Raises:
        UnsuitableServerError: if the server, its database or the user's permissions do not do.
    """
    yield from _check_commands(key_prefix)
    for which in SCHEMAS:
        try:
            yield [_create(schema(key_prefix, which))]
        except NoPermissionError as error:
            raise _forbidden("FT.CREATE") from error
        except ResponseError as error:
            message = str(error).lower()
            if "db != 0" in message or "database 0" in message:
                raise UnsuitableServerError(
                    why="Redis indexes only database 0, and the client uses another",
                    remedy="Connect to database 0, and keep applications apart with key_prefix=",
                ) from error
            if "already exists" not in message:
                raise
    for which in SCHEMAS:
        yield from _indexed(name(key_prefix, which))


def _create(schema: IndexSchema) -> Command:
    prefix = schema.index.prefix
    fields = [part for field in schema.redis_fields for part in field.redis_args()]
    return (
        *("FT.CREATE", schema.index.name, "ON", "JSON", "PREFIX", 1, str(prefix)),
        *("SCHEMA", *fields),
    )


def _indexed(index: str) -> Generator[list[Command], list[Any], None]:
    """Wait until the server has indexed the documents that were there before the index."""
    while True:
        [reply] = yield [("FT.INFO", index)]
        if not int(mapping(reply)["indexing"]):
            return


def _check_commands(key_prefix: str) -> Generator[list[Command], list[Any], None]:
    thread = keys.thread_keys(key_prefix, "langgraph_redis_json setup")
    try:
        [failures] = yield [script("check", thread)]
    except NoPermissionError as error:
        raise _forbidden("EVALSHA or EVAL") from error
    for command, message in (map(text, failure) for failure in failures):
        if "unknown command" in message.lower() or "unknown redis command" in message.lower():
            module = "Search" if command.startswith("FT.") else "JSON"
            raise UnsuitableServerError(
                why=f"it does not know {command}, a command of Redis {module}",
                remedy="Use Redis 8, Redis Stack, or a service that offers both Search and JSON",
            )
        if "permission" in message.lower() or "can't run this command" in message.lower():
            raise _forbidden(command)
        raise UnsuitableServerError(why=f"{command} failed: {message}", remedy="")


def _forbidden(command: str) -> UnsuitableServerError:
    return UnsuitableServerError(
        why=f"its ACL does not let this user run {command}",
        remedy="Allow the user that command",
    )

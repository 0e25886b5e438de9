"""The arguments of callers, checked: LangGraph's configs and ids, and the settings of savers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from redis.connection import parse_url

from langgraph_redis_json.search.words import LANGUAGES
from langgraph_redis_json.storage.keys import CheckpointIdentity
from langgraph_redis_json.storage.messages import MessageSearch

MOST_MINUTES = 100_000 * 365 * 24 * 60
"""Minutes that a thread may be told to live."""


# ---- configs and ids


class Target(NamedTuple):
    """What a config names.

    Attributes:
        thread_id: as text.
        given_thread_id: as the caller spells it (LangGraph lets integers through).
        checkpoint_ns: None if the config does not name one.
        checkpoint_id: None if the config does not name one.
    """

    thread_id: str
    given_thread_id: Any
    checkpoint_ns: str | None
    checkpoint_id: str | None


def target(config: RunnableConfig) -> Target:
    """Read ``config["configurable"]``.

    Raises:
        ValueError: if it has no thread_id, or an id that cannot be part of a key.
        TypeError: if an id has the wrong type.
    """
    configurable = _configurable("config", config)
    given = configurable.get("thread_id")
    if given is None:
        raise ValueError(
            "the config names no thread: pass "
            '{"configurable": {"thread_id": "…"}} to say which conversation this is'
        )
    checkpoint_ns = configurable.get("checkpoint_ns")
    return Target(
        thread_id(given),
        given,
        None if checkpoint_ns is None else _text("checkpoint_ns", checkpoint_ns),
        checkpoint_id(configurable.get("checkpoint_id")),
    )


def before(config: RunnableConfig | None) -> str | None:
    """The checkpoint id in the argument ``before=`` of a listing."""
    if config is None:
        return None
    return checkpoint_id(_configurable("before", config).get("checkpoint_id"))


def _configurable(what: str, config: RunnableConfig) -> Mapping[str, Any]:
    found = config.get("configurable") if isinstance(config, Mapping) else None
    if not isinstance(config, Mapping) or not isinstance(found, (Mapping, type(None))):
        raise TypeError(
            f'{what} must be a config such as {{"configurable": {{"thread_id": "1"}}}}, '
            f"not {config!r:.100}"
        )
    return found or {}


def limit(value: Any) -> int | None:
    """The argument ``limit=`` of a listing.

    Raises:
        ValueError, TypeError: unless it is a number from 0 on, or None.
    """
    if value is None:
        return None
    if type(value) is not int:
        raise TypeError(f"limit must be a number of results, or None for all, not {value!r:.100}")
    if value < 0:
        raise ValueError(f"limit is {value}: pass a number from 0 on, or None for all results")
    return value


def moment(what: str, value: Any) -> datetime | None:
    """A time of the server.

    Raises:
        ValueError: for a time without a timezone, which may mean any.
        TypeError: for anything but a time or None.
    """
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise TypeError(f"{what} must be a datetime with a timezone, not {value!r:.100}")
    if value.utcoffset() is None:
        raise ValueError(
            f"{what} has no timezone, so it may mean any time of a day: pass for example "
            "datetime.now(timezone.utc) - timedelta(days=30)"
        )
    return value


def identity(target: Target, id_: Any) -> CheckpointIdentity:
    """The checkpoint with an id in a thread and namespace.

    Raises:
        ValueError: if the id is missing.
    """
    found = checkpoint_id(id_)
    if found is None:
        raise ValueError("the checkpoint_id is missing: it says which checkpoint this belongs to")
    return CheckpointIdentity(target.thread_id, target.checkpoint_ns or "", found)


def thread_id(value: Any) -> str:
    """A thread id as text. An integer or a UUID is spelled with its digits."""
    if isinstance(value, (int, UUID)) and not isinstance(value, bool):
        return str(value)
    return _text("thread_id", value)


def run_id(value: Any) -> str:
    """A run id as text, as it stands in metadata."""
    return _text("run_id", str(value) if isinstance(value, UUID) else value)


def checkpoint_id(value: Any) -> str | None:
    """A checkpoint id as text; None if there is none, which LangGraph also spells ""."""
    if value is None or value == "":
        return None
    name = _text("checkpoint_id", str(value) if isinstance(value, UUID) else value)
    if "\0" in name:
        # The search index sorts by the text before a NUL, so listings would be out of order.
        raise ValueError("a checkpoint_id must not contain a NUL character")
    return name


def kept(strategy: Any, keep_last: Any) -> int:
    """How many checkpoints of each namespace the arguments of ``prune`` keep; 0 for none.

    Raises:
        ValueError, TypeError: for another strategy or number, or if they contradict each other.
    """
    if strategy not in ("keep_latest", "delete"):
        raise ValueError(f'unknown pruning strategy {strategy!r}: use "keep_latest" or "delete"')
    if keep_last is None:
        return 1 if strategy == "keep_latest" else 0
    if type(keep_last) is not int:
        raise TypeError(f"keep_last must be a number of checkpoints, not {keep_last!r:.100}")
    if keep_last < 0:
        raise ValueError(f"keep_last is {keep_last}: pass how many checkpoints stay, 0 for none")
    if strategy == "delete" and keep_last:
        raise ValueError(f'strategy="delete" keeps nothing, but keep_last is {keep_last}: pass one')
    return keep_last


def several(what: str, ids: Sequence[Any]) -> Sequence[Any]:
    """Several ids; not one string, which would be read letter by letter."""
    if isinstance(ids, (str, bytes)):
        raise TypeError(f"{what} must be a list of ids, not {ids!r:.100}")
    return ids


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be text, not {type(value).__name__}: {value!r:.100}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds half a surrogate pair: {value!a:.100}") from None
    return value


# ---- settings


def key_prefix(value: Any) -> str:
    """The key prefix of a saver.

    Raises:
        ValueError, TypeError: if keys cannot begin with it.
    """
    prefix = _text("key_prefix", value)
    if not prefix or any(character in prefix for character in "{}\0"):
        raise ValueError(
            f"key_prefix is {prefix!r:.100}: every key begins with it, so it needs at least one "
            'character, and must not contain {, } or NUL; for example "langgraph:"'
        )
    return prefix


def url(value: str) -> str:
    """The URL of a server.

    Raises:
        ValueError: if it is empty.
    """
    if not value.strip():
        raise ValueError("the URL is empty: pass one such as redis://localhost:6379")
    return value


SENTINEL_SCHEME = "redis+sentinel://"


def sentinel_url(value: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Read ``redis+sentinel://user:password@host:port,host:port/service/db?option=value``.

    Returns:
        The addresses of the Sentinels, the name of the service, and the arguments of redis-py for
        the client.

    Raises:
        ValueError: if it names no service, or has a part that cannot be read.
    """
    # Not by urlsplit(), which refuses several hosts if one is an IPv6 address.
    rest, _, query = value.removeprefix(SENTINEL_SCHEME).partition("?")
    authority, _, path = rest.partition("/")
    login, at, hosts = authority.rpartition("@")
    service, _, database = path.strip("/").partition("/")
    if not service:
        raise ValueError(
            "the URL names no service: add the name that the Sentinels know the primary by, as in "
            "redis+sentinel://host:26379/mymaster"
        )
    addresses = []
    for host in hosts.split(","):
        address = urlsplit(f"//{host}")
        if not address.hostname:
            raise ValueError(
                f"the URL has the Sentinel {host!r:.100}: write each one as host:port, and commas "
                "between them"
            )
        addresses.append((address.hostname, address.port or 26379))
    # redis-py reads the rest, as it reads it in the URL of a single server.
    read: Any = parse_url  # redis-py does not annotate it
    options = read(urlunsplit(("redis", f"{login}{at}host", database, query, "")))
    del options["host"]
    return addresses, service, dict(options)


def one_server(first: Any, others: Mapping[str, Any]) -> Any:
    """What names the server: the first argument of a saver, or one of the others.

    Raises:
        ValueError: unless exactly one of them is given.
    """
    given = [each for each in (first, *others.values()) if each is not None]
    if len(given) != 1:
        raise ValueError(
            f"{'no' if not given else 'more than one'} server is named: pass either a URL, as the "
            "first argument or as redis_url=, or a client, as redis_client="
        )
    return given[0]


_NAMES_HERE = {
    "checkpoint_prefix": "all its keys and indexes begin with key_prefix=",
    "checkpoint_write_prefix": "all its keys and indexes begin with key_prefix=",
    "conn_string": "the URL is the first argument, or redis_url=",
    "cluster_mode": "pass a RedisCluster of redis-py as redis_client=",
    "key_cache_max_size": "leave it out, its cache has a limit of its own",
    "channel_cache_max_size": "leave it out, its cache has a limit of its own",
    "conn": "a client or a pool is the first argument, or redis_client=",
    "pipe": "leave it out, each call is one round trip",
    "pipeline": "leave it out, each call is one round trip",
}
"""Options of other savers -> what they are called here."""


def refuse_unknown(saver: str, unknown: Mapping[str, Any]) -> None:
    """Raise for options that a saver does not have.

    Raises:
        TypeError: that says what an option of another saver is called here.
    """
    for name in unknown:
        hint = _NAMES_HERE.get(name, "see help() of the class for those that it has")
        raise TypeError(f"{saver} has no option {name}=: {hint}")


def seconds(what: str, value: Any) -> float | None:
    """A number of seconds from 0 on, or None.

    Raises:
        ValueError, TypeError: for anything else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} must be a number of seconds, or None, not {value!r:.100}")
    if not value >= 0:
        raise ValueError(f"{what} is {value}: pass a number of seconds from 0 on, or None")
    return value


class Lifetime(NamedTuple):
    """How long threads live; see `Context`."""

    ttl: int = 0
    refresh_on_read: bool = False
    keep_last: int = 0


def lifetime(ttl: Mapping[str, Any] | int | None, keep_last: int | None) -> Lifetime:
    """The arguments ``ttl=`` and ``keep_last=`` of a saver.

    Settings files have several forms of "never expire": None, an empty ttl, and -1 or None as its
    minutes. Whatever else says nothing is refused.

    Raises:
        ValueError, TypeError: if one of them says nothing, or cannot be done.
    """
    if keep_last is not None:
        if type(keep_last) is not int:
            raise TypeError(f"keep_last must be a number of checkpoints, not {keep_last!r:.100}")
        if keep_last < 1:
            raise ValueError(
                f"keep_last is {keep_last}: keep at least 1 checkpoint, or leave it out to keep all"
            )
    if ttl is None or ttl == {} or _is_minus_one(ttl):
        return Lifetime(keep_last=keep_last or 0)
    if not isinstance(ttl, Mapping):
        raise TypeError(
            f'ttl must be like {{"default_ttl": 60, "refresh_on_read": True}}, not {ttl!r:.100}'
        )
    if unknown := ttl.keys() - {"default_ttl", "refresh_on_read"}:
        raise ValueError(
            f'ttl has {sorted(map(str, unknown))}: it knows "default_ttl" and "refresh_on_read"'
        )
    if "default_ttl" not in ttl:
        raise ValueError('ttl needs "default_ttl", the minutes that threads live after their use')
    refresh = ttl.get("refresh_on_read", False)
    if type(refresh) is not bool:
        raise TypeError(f"refresh_on_read must be True or False, not {refresh!r:.100}")
    if ttl["default_ttl"] is None or _is_minus_one(ttl["default_ttl"]):
        return Lifetime(keep_last=keep_last or 0)
    return Lifetime(milliseconds("default_ttl", ttl["default_ttl"]), refresh, keep_last or 0)


def message_search(value: bool | Mapping[str, Any]) -> MessageSearch | None:
    """The argument ``message_search=`` of a saver.

    Raises:
        ValueError, TypeError: for a setting that does not exist.
    """
    if type(value) is bool:
        return MessageSearch() if value else None
    if not isinstance(value, Mapping):
        raise TypeError(
            'message_search is True, False, or like {"language": "german", "tool_calls": True}, '
            f"not {value!r:.100}"
        )
    if unknown := value.keys() - {*MessageSearch._fields}:
        raise ValueError(
            f'message_search has {sorted(map(str, unknown))}: it knows "language" and "tool_calls"'
        )
    found = MessageSearch(**value)
    if found.language not in LANGUAGES:
        raise ValueError(
            f"the language {found.language!r:.100} is not one of {', '.join(LANGUAGES)}"
        )
    if type(found.tool_calls) is not bool:
        raise TypeError(f"tool_calls must be True or False, not {found.tool_calls!r:.100}")
    return found


def _is_minus_one(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == -1


def milliseconds(what: str, minutes: Any) -> int:
    """Minutes, whole or not, as milliseconds.

    Raises:
        ValueError, TypeError: if they are not a number, or not more than 0.
    """
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)):
        raise TypeError(f"{what} must be a number of minutes, not {minutes!r:.100}")
    if not isfinite(minutes) or not 0 < minutes <= MOST_MINUTES:
        raise ValueError(
            f"{what} is {minutes} minutes: it must be more than 0 and at most {MOST_MINUTES}; for "
            "threads that never expire leave ttl out, or pin() them"
        )
    return max(1, round(minutes * 60_000))

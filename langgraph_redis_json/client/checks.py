"""Whether a client and its server can be used: what can be told without asking the server."""

from typing import Any

from langgraph_redis_json.errors import UnsuitableServerError


def check_encoding(client: Any) -> None:
    """Raise for a client that does not use UTF-8.

    Raises:
        ValueError: because keys and documents are UTF-8.
    """
    encoding = client.get_encoder().encoding
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        raise ValueError(
            f"the client has encoding={encoding!r}, but keys and documents are utf-8: "
            "leave encoding= out"
        )


def wrong_database(client: Any) -> UnsuitableServerError | None:
    """The error for a client on another database than 0."""
    pool = getattr(client, "connection_pool", None)
    if pool is None or not pool.connection_kwargs.get("db"):
        return None
    return UnsuitableServerError(
        why=f"the client uses database {pool.connection_kwargs['db']}, and Redis indexes only "
        "database 0",
        remedy="Connect to database 0, and keep applications apart with key_prefix=",
    )


def unsuitable(error: Exception) -> UnsuitableServerError | None:
    """The error for a server without JSON, if this is what Redis says of a script."""
    if "nknown Redis command called from script" not in str(error):
        return None
    return UnsuitableServerError(
        why=f"it does not know a command of Redis JSON or Search ({error})",
        remedy="Use Redis 8, Redis Stack, or a service that offers both Search and JSON",
    )

"""All keys of a server, as plain data, and back."""

from __future__ import annotations

from typing import Any

import redis

from tests.golden.threads import PREFIX


def dump(client: redis.Redis) -> dict[str, Any]:
    """Each key with its document, or the members of a sorted set, and its time of expiry."""
    found = {}
    for key in sorted(client.scan_iter(f"{PREFIX}*", count=1_000)):
        if client.type(key) == "zset":
            content: Any = client.zrange(key, 0, -1)
        else:
            content = client.execute_command("JSON.GET", key, ".")
        found[key] = {"content": content, "expires": client.execute_command("PEXPIRETIME", key)}
    return found


def restore(client: redis.Redis, dumped: dict[str, Any]) -> None:
    for key, one in dumped.items():
        if isinstance(one["content"], list):
            client.zadd(key, dict.fromkeys(one["content"], 0))
        else:
            client.execute_command("JSON.SET", key, "$", one["content"])
        if one["expires"] > 0:
            client.pexpireat(key, one["expires"])

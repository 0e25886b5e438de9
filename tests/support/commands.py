"""The commands that a Redis user needs for the savers."""

from __future__ import annotations

COMMANDS = [
    *(
        "EVAL",
        "EVALSHA",
        "EXISTS",
        "PERSIST",
        "PEXPIREAT",
        "PEXPIRETIME",
        "SCAN",
        "TIME",
        "UNLINK",
    ),
    *("ZADD", "ZCARD", "ZLEXCOUNT", "ZMSCORE", "ZRANGEBYLEX", "ZREM", "ZREVRANGEBYLEX"),
    *("JSON.ARRAPPEND", "JSON.ARRLEN", "JSON.ARRTRIM", "JSON.DEL", "JSON.GET", "JSON.MERGE"),
    *("JSON.MGET", "JSON.OBJKEYS", "JSON.SET", "JSON.TYPE", "ZSCORE"),
    *("FT.AGGREGATE", "FT.ALIASUPDATE", "FT.CREATE", "FT.CURSOR", "FT.DROPINDEX"),
    *("FT.INFO", "FT.SEARCH", "FT._LIST"),
]
"""All that the savers run."""

"""The savers and Redis clients that tests are run with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from tests.support.project import ROOT

Saver = RedisSaver | AsyncRedisSaver
"""Both savers have the same synchronous methods, so most tests call either one."""


class Client(NamedTuple):
    """One kind of saver with one configuration of its Redis client."""

    saver: type[Saver]
    protocol: int
    decode_responses: bool

    def options(self) -> dict[str, Any]:
        return {"protocol": self.protocol, "decode_responses": self.decode_responses}


CLIENTS = [
    pytest.param(
        Client(saver, protocol, decode),
        id=f"{saver.__name__}-RESP{protocol}{'-decoded' if decode else ''}",
    )
    for saver in (RedisSaver, AsyncRedisSaver)
    for protocol in (2, 3)
    for decode in (False, True)
]


class MakeSaver(Protocol):
    """The type of the fixture `make_saver`."""

    def __call__(self, client: Client, *, setup: bool = True, **options: Any) -> Saver: ...


ACL_USER = "app:change-me@"
"""The user and password of docs/acl.conf, as they stand in a URL."""


def acl_for(prefix: str, directory: Path) -> Path:
    """Write a copy of docs/acl.conf that permits keys with this prefix."""
    text = (ROOT / "docs" / "acl.conf").read_text(encoding="utf-8")
    assert " ~app:* " in text
    copy = directory / "acl.conf"
    copy.write_text(text.replace(" ~app:* ", f" ~{prefix}* "), encoding="utf-8")
    return copy

"""rediss:// with a certificate that the test makes.

The embedded server speaks no TLS; a proxy in front of it does, as in front of many a Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
import trustme

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import BIG, config, each_saver, ids, put
from tests.support.clients import Client
from tests.support.record import tried


class Secured(NamedTuple):
    """A server behind TLS, and the certificate of its authority."""

    url: str
    authority: str


def serve(listener: socket.socket, context: ssl.SSLContext, server_port: int) -> None:
    """Accept TLS connections and forward their data."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server_port)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, ssl.SSLError):
                while data := await source.read(1 << 16):
                    target.write(data)
                    await target.drain()
            target.close()

        await asyncio.gather(copy(reader, back), copy(there, writer))

    async def main() -> None:
        server = await asyncio.start_server(pass_on, sock=listener, ssl=context)
        async with server:
            await server.serve_forever()

    asyncio.run(main())


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory: Path = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "authority.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with EmbeddedRedis() as server:
        listener = socket.create_server(("127.0.0.1", 0))
        port = int(server.url.rpartition(":")[2])
        threading.Thread(target=serve, args=(listener, context, port), daemon=True).start()
        yield Secured(
            f"rediss://localhost:{listener.getsockname()[1]}", str(directory / "authority.pem")
        )


def use(saver: Any) -> None:
    put(saver, "1", {"big": BIG, "list": [BIG] * 3}, metadata={"user": "é"})
    put(saver, "2", {"big": BIG}, parent="1")
    assert ids(saver.list(None, filter={"user": "é"})) == ["1"]
    assert saver.get_tuple(config(checkpoint_id="1")).checkpoint["channel_values"]["big"] == BIG
    saver.delete_thread("thread")
    assert list(saver.list(config())) == []


@each_saver
def test_a_url_connects_with_tls(secured: Secured, client: Client) -> None:
    saver = client.saver(f"{secured.url}?ssl_ca_certs={secured.authority}", key_prefix="url:")
    if isinstance(saver, RedisSaver):
        saver.setup()
    else:
        asyncio.run(setup(saver))
    use(saver)
    tried(f"`rediss://` with a private certificate (`{client.saver.__name__}`)", 1, lost=0)


async def setup(saver: AsyncRedisSaver) -> None:
    await saver.setup()
    await saver.aclose()


@each_saver
def test_an_untrusted_certificate_is_refused(secured: Secured, client: Client) -> None:
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        client.saver(secured.url).get_tuple(config())


@each_saver
def test_a_certificate_for_another_host_is_refused(secured: Secured, client: Client) -> None:
    url = secured.url.replace("localhost", "127.0.0.1")
    saver = client.saver(f"{url}?ssl_ca_certs={secured.authority}")
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        saver.get_tuple(config())


def test_connection_arguments_connect_with_tls(secured: Secured) -> None:
    with RedisSaver.from_conn_info(
        host="localhost",
        port=int(secured.url.rpartition(":")[2]),
        ssl=True,
        ssl_ca_certs=secured.authority,
        key_prefix="arguments:",
    ) as saver:
        saver.setup()
        use(saver)


def test_a_connection_without_tls_fails(secured: Secured) -> None:
    with pytest.raises(redis.ConnectionError):
        RedisSaver(secured.url.replace("rediss", "redis")).get_tuple(config())

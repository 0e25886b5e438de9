"""A proxy between a saver and its server that counts network round trips."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Address = tuple[str, int] | str
"""A host and a port, or the path of a unix socket."""


class Network:
    """Forwards bytes between clients and a server, and counts round trips.

    A round trip begins when a client sends and its connection has no unanswered request. `counting`
    delays each reply, so that all requests that a client sends before it reads a reply count as one
    round trip.
    """

    def __init__(self, server: Address):
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._count: int | None = None
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Network:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """Count the round trips of a ``with`` block. Yields a function that returns the count."""
        self._count = 0
        try:
            yield lambda: self._count or 0
        finally:
            self._count = None

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            _Connection(self, client, self._connect())

    def _connect(self) -> socket.socket:
        if isinstance(self._server, tuple):
            return socket.create_connection(self._server)
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._server)
        return server

    def begin_round_trip(self) -> None:
        if self._count is not None:
            self._count += 1

    def delay_reply(self) -> None:
        if self._count is not None:
            time.sleep(0.02)


class _Connection:
    """Forwards the bytes of one client."""

    def __init__(self, network: Network, client: socket.socket, server: socket.socket):
        self._network = network
        self._waiting = False
        for end in (client, server):
            if end.family != socket.AF_UNIX:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(
            target=self._forward, args=(client, server, self._request), daemon=True
        ).start()
        threading.Thread(
            target=self._forward, args=(server, client, self._reply), daemon=True
        ).start()

    def _request(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._network.begin_round_trip()

    def _reply(self) -> None:
        if self._waiting:
            self._network.delay_reply()
            self._waiting = False

    @staticmethod
    def _forward(source: socket.socket, target: socket.socket, on_data: Callable[[], None]) -> None:
        with suppress(OSError):  # one side has closed the connection
            while data := source.recv(1 << 20):
                on_data()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):  # it is already closed
                end.shutdown(socket.SHUT_RDWR)

"""A network between a saver and its server, which counts round trips."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

Address = tuple[str, int] | str
"""A host and a port, or the path of a unix socket."""


class Network:
    """Passes bytes between clients and a server, and counts how often a client waits.

    A round trip begins when a client sends while no request of its connection is unanswered.
    While `counting`, replies are held back for a moment, as a network does, so that all that
    a client sends without waiting for a reply counts as one.
    """

    def __init__(self, server: Address):
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._count: int | None = None
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Network:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """Counts the round trips in a ``with`` block; gives a function that tells how many."""
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

    def began(self) -> None:
        if self._count is not None:
            self._count += 1

    def delay(self) -> None:
        if self._count is not None:
            time.sleep(0.02)


class _Connection:
    def __init__(self, network: Network, client: socket.socket, server: socket.socket):
        self._network = network
        self._waiting = False
        for end in (client, server):
            if end.family != socket.AF_UNIX:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(
            target=self._pass, args=(client, server, self._request), daemon=True
        ).start()
        threading.Thread(target=self._pass, args=(server, client, self._reply), daemon=True).start()

    def _request(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._network.began()

    def _reply(self) -> None:
        if self._waiting:
            self._network.delay()
            self._waiting = False

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket, seen: Callable[[], None]) -> None:
        with suppress(OSError):  # one side is gone
            while data := source.recv(1 << 20):
                seen()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):  # it is shut already
                end.shutdown(socket.SHUT_RDWR)

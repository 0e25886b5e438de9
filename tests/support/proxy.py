"""A TCP proxy that cuts and delays what a client and a server send."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class FaultyProxy:
    """Forwards what client and server send, and can cut or delay it.

    Attributes:
        port: where it listens, on the loopback interface.
        harmed: number of connections that it has cut.
        connections: number of connections that it has accepted.
    """

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.harmed = self.connections = 0
        self._delay = 0.0
        self._lock = threading.Lock()
        self._left: dict[str, int | None] = {"request": None, "reply": None}
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, which: str, after: int) -> None:
        """Cut the connection when it has forwarded this many more bytes; those bytes
        arrive.

        Args:
            which: "request" or "reply".
            after: counted over all connections.
        """
        with self._lock:
            self._left[which] = after

    def delay(self, seconds: float) -> None:
        """Delay each part of a reply by this time."""
        self._delay = seconds

    def heal(self) -> None:
        """Stop cutting and delaying."""
        with self._lock:
            self._left = {"request": None, "reply": None}
        self._delay = 0.0

    def close(self) -> None:
        self._listener.close()
        for one in [*self._sockets]:
            _shut(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.server_port))
            except OSError:
                return
            self.connections += 1
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.add(one)
            for source, target, which in (
                (client, server, "request"),
                (server, client, "reply"),
            ):
                threading.Thread(
                    target=self._pass_on, args=(source, target, which), daemon=True
                ).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, which: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if which == "reply" and self._delay:
                    time.sleep(self._delay)
                with self._lock:
                    left = self._left[which]
                    cut = left is not None and left < len(data)
                    if cut:
                        data = data[:left]
                        self._left[which] = None
                        self.harmed += 1
                    elif left is not None:
                        self._left[which] = left - len(data)
                target.sendall(data)
                if cut:
                    break
        for one in (source, target):
            _shut(one)
            self._sockets.discard(one)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def faulty_proxy(server_port: int) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(server_port)
    try:
        yield proxy
    finally:
        proxy.close()

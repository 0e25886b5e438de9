"""A proxy in front of a server that delays replies and counts the bytes that clients send."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import time
from contextlib import suppress
from multiprocessing.sharedctypes import Synchronized
from queue import SimpleQueue


class Proxy:
    """Forwards bytes between clients and a server, in a process of its own.

    Attributes:
        port: the TCP port for clients.
    """

    def __init__(self, server: tuple[str, int]):
        # A thread in this process would compete with the measured code for Python's lock.
        context = multiprocessing.get_context("spawn")
        self._delay = context.Value("d", 0.0)
        self._sent = context.Value("q", 0)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self._process = context.Process(
            target=_serve, args=(listener, server, self._delay, self._sent), daemon=True
        )
        with listener:
            self._process.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.join()

    @property
    def delay(self) -> float:
        """The seconds by which each reply of the server is delayed."""
        return self._delay.value

    @delay.setter
    def delay(self, seconds: float) -> None:
        self._delay.value = seconds

    @property
    def sent(self) -> int:
        """The bytes that clients have sent."""
        return self._sent.value


def _serve(
    listener: socket.socket,
    server: tuple[str, int],
    delay: Synchronized[float],
    sent: Synchronized[int],
) -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    while True:
        client, _ = listener.accept()
        upstream = socket.create_connection(server)
        replies: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        for end in (client, upstream):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for target, arguments in (
            (_send, (client, upstream, sent)),
            (_receive, (upstream, replies, delay)),
            (_deliver, (replies, client)),
        ):
            threading.Thread(target=target, args=arguments, daemon=True).start()


def _exit_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(0)


def _send(client: socket.socket, server: socket.socket, sent: Synchronized[int]) -> None:
    with suppress(OSError):  # one side has closed the connection
        while data := client.recv(1 << 20):
            with sent.get_lock():
                sent.value += len(data)
            server.sendall(data)
    with suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)


def _receive(
    server: socket.socket, replies: SimpleQueue[tuple[float, bytes]], delay: Synchronized[float]
) -> None:
    data = b"-"
    while data:
        try:
            data = server.recv(1 << 20)
        except OSError:
            data = b""
        replies.put((time.monotonic() + delay.value, data))


def _deliver(replies: SimpleQueue[tuple[float, bytes]], client: socket.socket) -> None:
    with suppress(OSError):  # the client has closed the connection
        while True:
            send_at, data = replies.get()
            time.sleep(max(0.0, send_at - time.monotonic()))
            if not data:
                break
            client.sendall(data)
    client.close()

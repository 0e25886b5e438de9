"""Servers that tests may kill: nodes, Sentinels and clusters on the loopback interface."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from langgraph_redis_json import embedded
from langgraph_redis_json.embedded import EmbeddedRedis, EmbeddedRedisError
from tests.support.waiting import wait_until

IN_MEMORY = ("--appendonly", "no")

ATTEMPTS = 10
"""How often a server is started on other ports, when another process has taken its port."""


class Node:
    """A server that keeps its ports and its data when it is killed and started again.

    Attributes:
        port: for clients.
        bus: the port on which the nodes of a cluster talk.
        url: for clients.
    """

    port: int
    bus: int
    url: str

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self._options = options
        self._server: EmbeddedRedis | None = None

    def start(self) -> Node:
        """Start on ports that are free, or on the same ports as before."""
        if self._server is not None:
            self._server.start()
        else:
            self._server = self._start_on_free_ports()
        with self.admin() as client:
            self.pid = int(client.info("server")["process_id"])
        return self

    def _start_on_free_ports(self) -> EmbeddedRedis:
        for _ in range(ATTEMPTS):
            self.port, self.bus = embedded._free_port(), embedded._free_port()
            options = (*self._options, "--cluster-port", f"{self.bus}")
            server = EmbeddedRedis(self.directory, port=self.port, options=options)
            try:
                server.start()
            except EmbeddedRedisError as error:
                refused = error  # another process may have taken a port in the meantime
            else:
                self.url = f"redis://127.0.0.1:{self.port}"
                return server
        raise refused

    def admin(self) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()

    def restart(self) -> None:
        """After `kill`, start again with the data on the disk."""
        self.stop()
        self.start()


@contextmanager
def running(node: Node) -> Iterator[Node]:
    try:
        yield node.start()
    finally:
        node.stop()


@contextmanager
def sentinel(directory: Path, master: Node) -> Iterator[int]:
    """A Sentinel that watches a primary called "primary", as one of three; gives its port."""
    directory.mkdir()
    settings = directory / "sentinel.conf"
    for _ in range(ATTEMPTS):
        port = embedded._free_port()
        process = start_sentinel(directory, settings, port, master)
        wait_until(lambda: process.poll() is not None or answers(port))  # noqa: B023
        if process.poll() is None:
            break
    assert process.stdin is not None
    try:
        yield port
    finally:
        process.stdin.close()
        process.wait()


def start_sentinel(
    directory: Path, settings: Path, port: int, master: Node
) -> subprocess.Popen[bytes]:
    settings.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
        f"sentinel monitor primary 127.0.0.1 {master.port} 2\n"
        "sentinel down-after-milliseconds primary 1000\n"
        "sentinel failover-timeout primary 2000\n"
    )
    binary, _ = embedded._find_server()
    command = [str(binary), str(settings), "--sentinel"]
    # It ends when this process ends.
    return subprocess.Popen(
        ["/bin/sh", "-c", embedded._WATCHDOG, "redis-watchdog", "", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def answers(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


class Cluster:
    """Primaries with one replica each, which share all slots."""

    def __init__(self, primaries: list[Node], replicas: list[Node]) -> None:
        self.primaries, self.replicas = primaries, replicas

    @property
    def nodes(self) -> list[Node]:
        return [*self.primaries, *self.replicas]

    def join(self) -> None:
        """Make one cluster of the nodes."""
        edges = [16384 * n // len(self.primaries) for n in range(len(self.primaries) + 1)]
        for number, node in enumerate(self.primaries):
            with node.admin() as client:
                client.execute_command(
                    "CLUSTER ADDSLOTSRANGE", edges[number], edges[number + 1] - 1
                )
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        first = self.primaries[0]
        with first.admin() as client:
            for node in self.nodes[1:]:
                client.execute_command("CLUSTER MEET", "127.0.0.1", node.port, node.bus)
        wait_until(lambda: all(len(self.known(node)) == len(self.nodes) for node in self.nodes))
        for primary, replica in zip(self.primaries, self.replicas, strict=True):
            with replica.admin() as client:
                client.execute_command("CLUSTER REPLICATE", self.id_of(primary))
        wait_until(lambda: all(self.is_ready(node) for node in self.nodes))

    def known(self, node: Node) -> list[str]:
        with node.admin() as client:
            found = client.execute_command("CLUSTER NODES")
        return [name for name, told in found.items() if "handshake" not in told["flags"]]

    def is_ready(self, node: Node) -> bool:
        with node.admin() as client:
            replicas = client.execute_command("CLUSTER NODES").values()
            return (
                client.execute_command("CLUSTER INFO")["cluster_state"] == "ok"
                and sum("slave" in told["flags"] for told in replicas) == len(self.replicas)
                and client.info("replication").get("master_link_status", "up") == "up"
            )

    def id_of(self, node: Node) -> str:
        with node.admin() as client:
            return str(client.execute_command("CLUSTER MYID"))

    def owner(self, slot: int) -> Node:
        for node in self.primaries:
            with node.admin() as client:
                [told] = [
                    told
                    for told in client.execute_command("CLUSTER NODES").values()
                    if "myself" in told["flags"]
                ]
            if any(int(range_[0]) <= slot <= int(range_[-1]) for range_ in told["slots"]):
                return node
        raise AssertionError(f"no node has slot {slot}")

    def move(self, slot: int, target: Node, *, pause: float = 0, batch: int = 10) -> int:
        """Move a slot key by key, as ``redis-cli --cluster reshard`` does; returns how many."""
        source = self.owner(slot)
        assert source is not target
        moved = 0
        with source.admin() as old, target.admin() as new:
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self.id_of(source))
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self.id_of(target))
            while keys := old.execute_command("CLUSTER GETKEYSINSLOT", slot, batch):
                old.execute_command(
                    *("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
                )
                moved += len(keys)
                time.sleep(pause)
            owner = self.id_of(target)
            for client in (new, old):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", owner)
        for node in self.primaries:
            if node is not source and node is not target:
                with node.admin() as client:
                    client.execute_command("CLUSTER SETSLOT", slot, "NODE", owner)
        return moved


@contextmanager
def cluster(directory: Path, *more: str, primaries: int = 3) -> Iterator[Cluster]:
    options = (
        *IN_MEMORY,
        # Long, so that no replica takes over from a primary that a busy machine holds up.
        *("--cluster-enabled", "yes", "--cluster-node-timeout", "10000"),
        *("--repl-diskless-sync-delay", "0"),
        *more,
    )
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(running(Node(directory / f"{number}", *options)))
            for number in range(2 * primaries)
        ]
        made = Cluster(nodes[:primaries], nodes[primaries:])
        made.join()
        yield made

"""A cluster that was not started by the tests: its nodes, and the slots that move between them."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import redis
from redis.cluster import ClusterNode, RedisCluster

from tests.support.waiting import wait_until


class LiveCluster:
    """Moves slots and kills a primary of a cluster.

    Args:
        client: with all permissions, that decodes responses.
    """

    def __init__(self, client: RedisCluster) -> None:
        self.client = client

    @property
    def primaries(self) -> list[ClusterNode]:
        found: list[ClusterNode] = self.client.get_primaries()
        return sorted(found, key=lambda node: str(node.name))

    def admin(self, node: ClusterNode) -> redis.Redis:
        """A plain client of one node."""
        found: redis.Redis = self.client.get_redis_connection(node)
        return found

    def owner(self, slot: int) -> ClusterNode:
        """The node that says that it has a slot."""
        [found] = [node for node in self.primaries if self._told(node, slot) == self.id_of(node)]
        return found

    def _told(self, node: ClusterNode, slot: int) -> str:
        """The id of the node that has a slot, as this node says."""
        for first, last, owner, *_ in self.admin(node).execute_command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return str(owner[2])
        return "none"

    def _epochs(self, node: ClusterNode) -> str:
        """The configuration epoch of each node, as this node says."""
        lines = self.admin(node).execute_command("CLUSTER", "NODES").splitlines()
        return repr(sorted((line.split()[0], line.split()[6]) for line in lines))

    def id_of(self, node: ClusterNode) -> str:
        return str(self.admin(node).execute_command("CLUSTER MYID"))

    def move(self, slot: int, target: ClusterNode, batch: int = 100) -> None:
        """Move a slot key by key, as ``redis-cli --cluster reshard`` does."""
        source = self.owner(slot)
        if source == target:
            return
        old, new = self.admin(source), self.admin(target)
        new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self.id_of(source))
        old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self.id_of(target))
        user = self.client.get_connection_kwargs()
        password = user.get("password")
        login = ("AUTH2", user.get("username") or "default", password) if password else ()
        while keys := old.execute_command("CLUSTER GETKEYSINSLOT", slot, batch):
            old.execute_command(
                *("MIGRATE", target.host, target.port, "", 0, 5000),
                *(*login, "KEYS", *keys),
            )
        owner = self.id_of(target)
        others = [node for node in self.primaries if node not in (source, target)]

        for node in (target, source, *others):
            self.admin(node).execute_command("CLUSTER SETSLOT", slot, "NODE", owner)
        # A node that does not know yet that another one has a newer epoch would lose a slot that it
        # takes next.
        wait_until(lambda: len({self._epochs(node) for node in self.primaries}) == 1)
        assert {self._told(node, slot) for node in self.primaries} == {owner}

    @contextmanager
    def fragmented(self, slots: int = 30) -> Iterator[None]:
        """While this runs, each node has many ranges of slots."""
        chosen = random.Random(5).sample(range(16384), slots)
        before = {slot: self.owner(slot) for slot in chosen}
        nodes = self.primaries
        try:
            for slot, owner in before.items():
                at = nodes.index(owner)
                self.move(slot, nodes[(at + 1) % len(nodes)])
            self._refresh()
            yield
        finally:
            for slot, owner in before.items():
                self.move(slot, owner)
            self._refresh()

    def _refresh(self) -> None:
        """Tell the coordinators at once. They look each second."""
        for node in self.primaries:
            self.admin(node).execute_command("SEARCH.CLUSTERREFRESH")

    def is_local(self) -> bool:
        """Whether the nodes run on this machine."""
        return all(ip_address(node.host).is_loopback for node in self.primaries)

    def kill(self, node: ClusterNode) -> None:
        """Kill a node that runs on this machine. Nothing starts it again."""
        os.kill(int(self.admin(node).info("server")["process_id"]), signal.SIGKILL)

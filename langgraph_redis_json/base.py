"""What both savers share."""

import os
from collections.abc import Mapping
from copy import copy
from threading import Lock
from typing import Any, TypeVar

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from redisvl.schema import IndexSchema

from langgraph_redis_json import fields, indexes
from langgraph_redis_json.lifetimes import lifetimes
from langgraph_redis_json.memory import Memory
from langgraph_redis_json.plans import Plans
from langgraph_redis_json.versions import next_version

Client = TypeVar("Client", bound=Any)

MetadataFields = Mapping[str, str] | str | os.PathLike[str]
"""What savers take as metadata_fields=."""


CONNECTIONS = 10_000
"""Connections that a client of a saver's own opens at most, if its URL does not say: as many as a
Redis server takes. redis-py's bound is 100, beyond which calls at the same time raise."""


def with_plain_replies(client: Client) -> Client:
    """The same client of redis-py, on the same connections, that parses no JSON: where anybody has
    called ``client.json()``, as redisvl does, it would parse what plans read."""
    twin = copy(client)
    twin.auto_close_connection_pool = False
    twin.close = lambda: None  # a client of one connection would close that when it is collected
    twin.response_callbacks = type(client.response_callbacks)(
        {
            name: callback
            for name, callback in client.response_callbacks.items()
            if not name.upper().startswith("JSON.")
        }
    )
    return twin


class BaseRedisSaver(BaseCheckpointSaver[str]):
    """A saver's settings. A clone by ``with_allowlist`` shares the client and the memory."""

    _on_loop = False
    """Whether operations share an event loop with others."""

    def __init__(
        self,
        *,
        key_prefix: str,
        serde: SerializerProtocol | None,
        metadata_fields: MetadataFields | None,
        ttl: Mapping[str, Any] | None,
        keep_last: int | None,
    ) -> None:
        super().__init__(serde=serde)
        self.key_prefix = key_prefix
        self._metadata_fields = fields.read(metadata_fields)
        self._memory = Memory()
        self._clustered = False
        self._turns = Lock()  # of calls on a cluster that run event loops of their own
        self._lifetimes = lifetimes(ttl, keep_last)

    @property
    def _plans(self) -> Plans:
        # Made for each call: a clone has another serializer, and users may set one.
        return Plans(
            self.key_prefix,
            self.serde,
            self._memory,
            self._metadata_fields,
            self._clustered,
            self._on_loop,
            self._lifetimes,
        )

    def _checkpoints_schema(self, client: Any) -> IndexSchema:
        """What redisvl has to know of the index over checkpoints, and that it can use a client."""
        pool = getattr(client, "connection_pool", None)
        if pool is not None and pool.connection_kwargs.get("protocol") in (3, "3"):
            raise ValueError(
                "redisvl does not read the replies of a client with protocol=3: give the saver a "
                "client without it, or make a redisvl index on another client"
            )
        return indexes.schema(self.key_prefix, "checkpoints", self._metadata_fields)

    def get_next_version(self, current: str | int | None, channel: None) -> str:
        """The version of a channel after `current`: text that sorts as it counts, with a
        random second part, so that two forks of a thread never share one."""
        return next_version(current)

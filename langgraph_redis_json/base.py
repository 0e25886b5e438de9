"""What both savers share."""

from collections.abc import Mapping
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_redis_json.lifetimes import lifetimes
from langgraph_redis_json.memory import Memory
from langgraph_redis_json.plans import Plans
from langgraph_redis_json.versions import next_version


class BaseRedisSaver(BaseCheckpointSaver[str]):
    """A saver's settings. A clone by ``with_allowlist`` shares the client and the memory."""

    def __init__(
        self,
        *,
        key_prefix: str,
        serde: SerializerProtocol | None,
        ttl: Mapping[str, Any] | None,
        keep_last: int | None,
    ) -> None:
        super().__init__(serde=serde)
        self.key_prefix = key_prefix
        self._memory = Memory()
        self._clustered = False
        self._lifetimes = lifetimes(ttl, keep_last)

    @property
    def _plans(self) -> Plans:
        # Made for each call: a clone has another serializer, and users may set one.
        return Plans(self.key_prefix, self.serde, self._memory, self._clustered, self._lifetimes)

    def get_next_version(self, current: str | int | None, channel: None) -> str:
        """The version of a channel after `current`: text that sorts as it counts, with a
        random second part, so that two forks of a thread never share one."""
        return next_version(current)

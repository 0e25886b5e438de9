"""A runner that changes something on the server just before an operation looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph_redis_json.client.clients import SearchNode
from langgraph_redis_json.client.plan import Command, Replies
from langgraph_redis_json.client.sync_runner import SyncRunner


class Altering(SyncRunner):
    """Sends a command before the next ones, in the same pipeline."""

    before: Command | None = None

    def execute(self, client: Any, commands: Sequence[Command], searches: SearchNode) -> Replies:
        if self.before is None:
            return super().execute(client, commands, searches)
        before, self.before = self.before, None
        return super().execute(client, [before, *commands], searches)[1:]

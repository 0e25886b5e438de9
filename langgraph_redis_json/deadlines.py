"""When threads vanish. Parts of plans."""

from dataclasses import dataclass
from typing import Any, Literal

from langgraph_redis_json import configs
from langgraph_redis_json.commands import Plan, script, text
from langgraph_redis_json.errors import ThreadMissingError
from langgraph_redis_json.finding import Finding
from langgraph_redis_json.keys import ThreadKeys
from langgraph_redis_json.lifetimes import milliseconds


@dataclass
class Deadlines(Finding):
    """Changing when threads vanish."""

    def pin(self, thread_id: Any) -> Plan[None]:
        yield from self._change_deadline(thread_id, "pin", 0)

    def expire(self, thread_id: Any, minutes: float) -> Plan[None]:
        yield from self._change_deadline(thread_id, "expire", milliseconds("the lifetime", minutes))

    def _change_deadline(
        self, thread_id: Any, why: Literal["pin", "expire"], number: int
    ) -> Plan[None]:
        given = configs.thread(thread_id)
        if not (yield from self._move_deadline(self._thread(given), why, number)):
            raise ThreadMissingError(thread_id=given)

    def _move_deadline(self, thread: ThreadKeys, why: str, number: int) -> Plan[bool]:
        """Call scripts/move_deadline.lua until all is done. Returns whether the thread is there."""
        after = ""
        while True:
            [reply] = yield [script("move_deadline", thread, why, number, after)]
            match reply:
                case []:
                    # In the midst of it the thread was deleted, which is no error of the caller's.
                    return why == "go on"
                case [_]:
                    return True
                case [deadline, entry]:
                    why, number, after = "go on", deadline, text(entry)

    def _live_on(self, thread: ThreadKeys, due: int) -> Plan[None]:
        """Give a thread the deadline that a script says it is to have."""
        yield from self._move_deadline(thread, "use", due)

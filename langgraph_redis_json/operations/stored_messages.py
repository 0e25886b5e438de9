"""The messages that the checkpoints of a thread have, as they are stored."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.operations import table_of_contents
from langgraph_redis_json.storage import messages
from langgraph_redis_json.storage.channels import ITEM
from langgraph_redis_json.storage.keys import ThreadKeys
from langgraph_redis_json.storage.loading import DAMAGE, damaged
from langgraph_redis_json.storage.ranges import Ranges

ITEMS = 100
"""Items of a log that one command reads."""

MOST_ITEMS = 2**29 // ITEM
"""No log has more items: all of them would be larger than a reply of Redis may be, 512 MB. A number
beyond was altered by somebody, and must not make a list of places that takes all memory."""

PAGE = 10
"""Places that one trip reads."""


class Place(NamedTuple):
    """Where messages are stored.

    Attributes:
        checkpoint: the entry of the first checkpoint that has them.
        created_at: the member of that name of its document; empty if it has none.
        key: of the blob or log; "" for messages in the checkpoint itself.
        path: of the contents of stored values in that document.
        values: these contents, of messages in the checkpoint itself.
    """

    checkpoint: str
    created_at: Mapping[str, int]
    key: str = ""
    path: str = ""
    values: Sequence[Any] = ()


def find(thread: ThreadKeys, checkpoints: Iterable[str]) -> Plan[list[Place]]:
    """Where all messages of checkpoints may be stored, each place once.

    Args:
        thread: its keys.
        checkpoints: their entries.

    Raises:
        DamagedDocumentError: if a checkpoint cannot be read.
    """
    places: list[Place] = []
    blobs: set[str] = set()
    logs: dict[str, Ranges] = {}
    last: dict[tuple[str, str], Any] = {}
    by_age = sorted(checkpoints, key=lambda entry: entry.rpartition(":")[2])
    for page in table_of_contents.pages(by_age, table_of_contents.PAGE):
        read = yield from table_of_contents.read_paths(
            thread, page, ["$.channel_values", "$.created_at"]
        )
        for entry, ([values], times) in read.items():
            created_at = {"created_at": times[0]} if times else {}
            checkpoint_ns = entry.split(":")[1]
            try:
                for channel, stored in values.items():
                    if stored is None or stored == last.get((checkpoint_ns, channel)):
                        continue
                    last[checkpoint_ns, channel] = stored
                    if "tagged" in stored:
                        places.append(Place(entry, created_at, values=[stored["tagged"]]))
                    if "blob" in stored and stored["blob"] not in blobs:
                        blobs.add(stored["blob"])
                        places.append(Place(entry, created_at, stored["blob"], "$.value.tagged"))
                    for key, begin, end, *_ in stored.get("log", ()):
                        if end > MOST_ITEMS:
                            raise ValueError(f"it refers to item {end - 1} of a log")
                        for start, stop in logs.setdefault(key, Ranges()).add(begin, end):
                            places += _of_log(entry, created_at, key, start, stop)
            except DAMAGE as error:
                raise damaged(thread.key(entry), error) from error
    return places


def _of_log(
    entry: str, created_at: Mapping[str, int], key: str, start: int, stop: int
) -> Iterator[Place]:
    for first in range(start, stop, ITEMS):
        path = f"$.items[{first}:{min(first + ITEMS, stop)}].tagged"
        yield Place(entry, created_at, key, path)


def read(
    thread: ThreadKeys, places: Sequence[Place]
) -> Plan[list[tuple[Place, Mapping[str, Any]]]]:
    """The fields of the messages at a page of places. A document that is gone has none."""
    keys = [place for place in places if place.key]
    texts = iter((yield [("JSON.GET", place.key, place.path) for place in keys]) if keys else ())
    found: list[tuple[Place, Mapping[str, Any]]] = []
    for place in places:
        values = place.values
        if place.key:
            values = orjson.loads(next(texts) or b"[]")
        try:
            found += [(place, fields) for value in values for fields in messages.in_tree(value)]
        except DAMAGE as error:
            key = place.key or thread.key(place.checkpoint)
            raise damaged(key, error) from error
    return found

"""Finding keys without an index: all keys under a saver's key prefix."""

import re
from random import Random

from langgraph_redis_json.client.plan import Listing
from langgraph_redis_json.client.replies import text
from langgraph_redis_json.operations.context import Context

COUNT = 1_000
"""Keys that one trip looks at."""

SLOTS = 16384
"""The slots of a Redis Cluster."""


def scan(context: Context, start: str = "") -> Listing[tuple[str, ...]]:
    """All keys that begin with the key prefix and a text, page by page. A page may be empty, and a
    key may come twice. Keys that are written or deleted meanwhile may come or not.

    On a cluster the slots come in random order.
    """
    start = context.key_prefix + start
    if context.clustered:
        for slot in Random().sample(range(SLOTS), SLOTS):
            [found] = yield [("CLUSTER GETKEYSINSLOT", slot, 1_000_000_000)]
            if found:
                yield tuple(key for key in map(text, found) if key.startswith(start))
        return
    pattern = re.sub(r"([*?\[\]^\\])", r"\\\1", start) + "*"
    cursor = 0
    while True:
        [(position, found)] = yield [("SCAN", cursor, "MATCH", pattern, "COUNT", COUNT)]
        yield tuple(map(text, found))
        cursor = int(position)
        if cursor == 0:
            return

"""What an operation knows of the saver that calls it."""

from typing import NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_redis_json.search.fields import Fields
from langgraph_redis_json.storage.cache import Cache
from langgraph_redis_json.storage.messages import MessageSearch


class Context(NamedTuple):
    """The settings, the serializer and the cache of a saver.

    Attributes:
        key_prefix: every key and index name begins with it.
        serde: the serializer.
        cache: the saver's.
        metadata_fields: the user's fields of the indexes.
        clustered: whether the client is that of a Redis Cluster.
        on_loop: whether the operation runs on an event loop that must not wait for a long step.
        ttl: milliseconds that a thread lives after its last use, at least; 0 if it never expires.
        refresh_on_read: whether ``get_tuple`` is a use. ``put`` and ``put_writes`` always are.
        keep_last: how many checkpoints of each namespace are kept; 0 for all.
        message_search: None if messages get no documents that a search finds.
    """

    key_prefix: str
    serde: SerializerProtocol
    cache: Cache
    metadata_fields: Fields
    clustered: bool = False
    on_loop: bool = False
    ttl: int = 0
    refresh_on_read: bool = False
    keep_last: int = 0
    message_search: MessageSearch | None = None

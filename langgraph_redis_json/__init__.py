"""A LangGraph checkpointer on Redis: exact, readable, searchable."""

from langgraph_redis_json.aio import AsyncRedisSaver
from langgraph_redis_json.errors import (
    BlockingCallError,
    CheckpointError,
    CoordinatorMissingError,
    DamagedDocumentError,
    IndexIncompleteError,
    IndexMissingError,
    MessagesMissingError,
    MetadataFieldMissingError,
    MissingDocumentError,
    ThreadMissingError,
    TriesExhaustedError,
    UnindexedDocumentsError,
    UnreadableValueError,
    UnsuitableServerError,
)
from langgraph_redis_json.operations.search_messages import FoundMessage
from langgraph_redis_json.operations.threads import ThreadSummary
from langgraph_redis_json.saver import RedisSaver

__version__ = "0.1.0"

__all__ = [
    "AsyncRedisSaver",
    "BlockingCallError",
    "CheckpointError",
    "CoordinatorMissingError",
    "DamagedDocumentError",
    "FoundMessage",
    "IndexIncompleteError",
    "IndexMissingError",
    "MessagesMissingError",
    "MetadataFieldMissingError",
    "MissingDocumentError",
    "RedisSaver",
    "ThreadMissingError",
    "ThreadSummary",
    "TriesExhaustedError",
    "UnindexedDocumentsError",
    "UnreadableValueError",
    "UnsuitableServerError",
    "__version__",
]

"""A LangGraph checkpointer on Redis: exact, readable, searchable."""

from langgraph_redis_json.aio import AsyncRedisSaver
from langgraph_redis_json.errors import (
    CheckpointError,
    CoordinatorMissingError,
    DamagedDocumentError,
    IndexIncompleteError,
    IndexMissingError,
    MetadataFieldMissingError,
    MissingDocumentError,
    ThreadMissingError,
    UnindexedDocumentsError,
    UnsuitableServerError,
)
from langgraph_redis_json.saver import RedisSaver
from langgraph_redis_json.summaries import ThreadSummary

__all__ = [
    "AsyncRedisSaver",
    "CheckpointError",
    "CoordinatorMissingError",
    "DamagedDocumentError",
    "IndexIncompleteError",
    "IndexMissingError",
    "MetadataFieldMissingError",
    "MissingDocumentError",
    "RedisSaver",
    "ThreadMissingError",
    "ThreadSummary",
    "UnindexedDocumentsError",
    "UnsuitableServerError",
]

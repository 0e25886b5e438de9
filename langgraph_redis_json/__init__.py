"""A LangGraph checkpointer on Redis: exact, readable, searchable."""

from langgraph_redis_json.aio import AsyncRedisSaver
from langgraph_redis_json.errors import (
    CheckpointError,
    CoordinatorMissingError,
    DamagedDocumentError,
    IndexMissingError,
    MissingDocumentError,
    ThreadMissingError,
    UnsuitableServerError,
)
from langgraph_redis_json.saver import RedisSaver

__all__ = [
    "AsyncRedisSaver",
    "CheckpointError",
    "CoordinatorMissingError",
    "DamagedDocumentError",
    "IndexMissingError",
    "MissingDocumentError",
    "RedisSaver",
    "ThreadMissingError",
    "UnsuitableServerError",
]

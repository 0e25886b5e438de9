"""A LangGraph checkpointer on Redis: exact, readable, searchable."""

from langgraph_redis_json.aio import AsyncRedisSaver
from langgraph_redis_json.errors import (
    CheckpointError,
    CoordinatorMissingError,
    DamagedDocumentError,
    IndexMissingError,
    MissingDocumentError,
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
    "UnsuitableServerError",
]

"""What can go wrong here and nowhere else. The docstring of a class is its message.

Redis's own errors (a lost connection, a full server) and the serializer's come
through unchanged.
"""

from inspect import cleandoc
from typing import Any


class CheckpointError(Exception):
    """Something is wrong with the checkpoints kept in Redis."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(cleandoc(type(self).__doc__ or "").format(**facts))


class IndexMissingError(CheckpointError):
    """The search index "{index}" is not on this server: call setup() once (on the
    asynchronous saver: await saver.setup()) before you filter or list across threads."""


class CoordinatorMissingError(CheckpointError):
    """The Search of this Redis Cluster looks at one node at a time, so nothing can be listed,
    filtered or deleted across threads here: name a thread in the config. Everything within a
    thread works. Redis 8 brings the coordinator that a search of all nodes needs."""


class MetadataFieldMissingError(IndexMissingError):
    """The search index "{index}" does not have the metadata field "{field}" as this saver declares
    it: call setup() on this saver once before you filter by a range of it."""


class IndexIncompleteError(CheckpointError):
    """The server is still filling the search index "{index}" ({share} done), after a restart say,
    and could answer from a part only. Try again, or call setup(), which waits until it is done."""


class UnindexedDocumentsError(CheckpointError):
    """{count} documents cannot be searched for: the index "{index}" refuses them, the last one,
    at key {key}, because of this: {why}. Every other document is safe, and the index that
    was there before answers as it did. Mend or delete them, then call setup() again."""


class UnsuitableServerError(CheckpointError):
    """This Redis cannot keep checkpoints: {why}. {remedy}"""


class ThreadMissingError(CheckpointError):
    """There is no thread "{thread_id}": it was never written to, was deleted, or has expired.
    Nothing was changed."""


class DamagedDocumentError(CheckpointError):
    """The document at key {key} cannot be read: {why}. Nothing was changed. Restore the
    document from a backup, or delete its thread with delete_thread()."""


class MissingDocumentError(CheckpointError):
    """The checkpoint at key {key} needs the document at key {missing}, which is gone.
    Nothing was changed. If the thread was pruned meanwhile, read it again; if the document
    was deleted by hand or evicted, restore it from a backup, or go on from an older
    checkpoint of the thread."""

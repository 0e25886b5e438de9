"""The errors of this library. The docstring of a class is its message.

Errors of Redis (a lost connection, a full server) and of the serializer are raised unchanged.
"""

from asyncio import InvalidStateError
from inspect import cleandoc
from typing import Any


class CheckpointError(Exception):
    """The base class of this library's errors."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(cleandoc(type(self).__doc__ or "").format(**facts))


class IndexMissingError(CheckpointError):
    """The search index "{index}" does not exist on this server. Filters and searches across
    threads need it: call setup() once (on AsyncRedisSaver: await saver.setup())."""


class MessagesMissingError(IndexMissingError):
    """Messages cannot be searched yet: the search index "{index}" does not exist, or was never
    filled. Create a saver with message_search=True, and call its setup() once (on AsyncRedisSaver:
    await saver.setup())."""


class CoordinatorMissingError(CheckpointError):
    """The Search of this Redis Cluster has no coordinator: a search sees the threads of one node,
    so nothing can be listed, filtered or deleted across threads. Operations within one thread
    work: name a thread in the config. To search all threads, use the Search of Redis 8, which
    has a coordinator."""


class MetadataFieldMissingError(IndexMissingError):
    """The search index "{index}" does not have the metadata field "{field}" as this saver declares
    it. Call setup() on this saver once before you filter by a range of that field."""


class IndexIncompleteError(CheckpointError):
    """A search by the index "{index}" would now miss some documents: {why}. Try again later."""


class UnindexedDocumentsError(CheckpointError):
    """The new search index "{index}" is incomplete: it cannot hold {count} documents. The last of
    them is at key {key}: {why}. setup() dropped the new index; the previous index, if there was
    one, still answers searches. Correct or delete these documents, then call setup() again."""


class UnsuitableServerError(CheckpointError):
    """This Redis cannot store checkpoints: {why}. {remedy}."""


class TriesExhaustedError(CheckpointError):
    """Gave up {what} after {times} tries: {why}. {remedy}"""


class BlockingCallError(CheckpointError, RuntimeError, InvalidStateError):
    """This call would block the event loop that it runs on. Await the method of the same name with
    an a in front (aget_tuple, aput, alist …), or use RedisSaver."""


class ThreadMissingError(CheckpointError):
    """There is no thread "{thread_id}": it was never written, was deleted, or has expired.
    Nothing was changed. Check the thread_id."""


class DamagedDocumentError(CheckpointError):
    """The document at key {key} cannot be read: {why}. Nothing was changed. Restore the
    document from a backup, or delete its thread with delete_thread()."""


class UnreadableValueError(CheckpointError, ValueError):
    """The serializer of this saver cannot load a value at key {key}: {why}. Use the serializer that
    the value was stored with; for an EncryptedSerializer, the same key."""


class MissingDocumentError(CheckpointError):
    """The checkpoint at key {key} needs the document at key {missing}, which is gone.
    Nothing was changed. If the thread was pruned meanwhile, read it again. If the document
    was deleted by hand or evicted, restore it from a backup, or continue from an older
    checkpoint of the thread."""


class ExportFileError(CheckpointError):
    """The file {file} cannot be imported: {why}. Export the threads again, or copy the file again
    if it was cut on its way."""


class ImportInterruptedError(CheckpointError):
    """The thread "{thread_id}" was not imported, because another process wrote to it meanwhile, or
    imports it too. The threads before it in the file are imported. Stop the other process, then
    import the file again."""


class AlteredDocumentError(CheckpointError):
    """The thread was not imported, because this server stores the document at key {key} with
    another number or text than the file has. The threads before it in the file are imported.
    Import into a server with the same version of Redis JSON as the first one."""

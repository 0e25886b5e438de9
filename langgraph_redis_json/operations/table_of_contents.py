"""Reading a thread's table of contents, and members of the documents that it names."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

import orjson

from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.client.replies import text
from langgraph_redis_json.errors import MissingDocumentError
from langgraph_redis_json.storage.keys import AFTER_ALL, ThreadKeys
from langgraph_redis_json.storage.loading import DAMAGE, check_format, damaged

T = TypeVar("T")

NAMES = 5_000
"""Entries that one trip reads."""

PAGE = 50
"""Documents that one call reads members of or changes, so that other clients need not wait long."""


def check(thread: ThreadKeys) -> Plan[None]:
    """Check that a thread with an empty table of contents has no thread document.

    Raises:
        MissingDocumentError: if the table of contents was evicted or deleted by hand.
    """
    contents_exist, document_exists = yield [
        ("EXISTS", thread.contents),
        ("EXISTS", thread.key("t")),
    ]
    if document_exists and not contents_exist:
        raise MissingDocumentError(key=thread.key("t"), missing=thread.contents)


def pages(items: Iterable[T], size: int) -> Iterable[Sequence[T]]:
    """The items in pages of so many."""
    rest = iter(items)
    return iter(lambda: list(islice(rest, size)), [])


def entries(thread: ThreadKeys, *starts: str) -> Plan[list[list[str]]]:
    """The entries that begin with each of some texts, in order."""
    found: list[list[str]] = [[] for _ in starts]
    after = {number: f"[{start}" for number, start in enumerate(starts)}
    while after:
        replies = yield [
            (
                *("ZRANGEBYLEX", thread.contents, start),
                *(b"(" + starts[number].encode() + AFTER_ALL, "LIMIT", 0, NAMES),
            )
            for number, start in after.items()
        ]
        for number, reply in zip([*after], replies, strict=True):
            found[number] += map(text, reply)
            if len(reply) == NAMES:
                after[number] = f"({found[number][-1]}"
            else:
                del after[number]
    return found


def read_paths(
    thread: ThreadKeys, entries: Sequence[str], paths: Sequence[str]
) -> Plan[dict[str, list[Any]]]:
    """The members at JSONPaths of documents.

    Returns:
        For each entry whose document exists, a list of values for each path.
    """
    names = [thread.key(entry) for entry in entries]
    replies = yield [("JSON.MGET", *names, path) for path in ("$.format", *paths)]
    found: dict[str, list[Any]] = {}
    for entry, texts in zip(entries, zip(*replies, strict=True), strict=True):
        if None not in texts:
            try:
                written, *values = map(orjson.loads, texts)
                check_format(*written)
            except DAMAGE as error:
                raise damaged(thread.key(entry), error) from error
            found[entry] = values
    return found

"""Damaged versions of a JSON document, and what the reading operations make of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from langgraph.checkpoint.base import CheckpointTuple

from langgraph_redis_json.errors import CheckpointError
from tests.support.clients import Saver

JUNK: list[Any] = [None, True, 7, -1.5, "x", "AA==", [], [1], [[]], {}, {"x": 1}]


Path = tuple[Any, ...]


def places(node: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every value in a JSON document."""
    yield path
    members = {**node} if isinstance(node, dict) else {}
    if isinstance(node, list):
        members = dict(enumerate(node))
    for key, member in members.items():
        yield from places(member, (*path, key))


def damages(document: Any) -> Iterator[tuple[str, Path, Any]]:
    """The document without each of its fields, and with other types in the place of each."""
    for path in places(document):
        *way, last = ("", *path)
        for junk in ("gone", *JUNK):
            root = {"": deepcopy(document)}
            parent: Any = root
            for key in way:
                parent = parent[key]
            if junk != "gone" and type(junk) is not type(parent[last]):
                parent[last] = junk
                yield f"{junk!r} for {path}", path, root[""]
            elif junk == "gone" and path and isinstance(parent, dict):
                del parent[last]
                yield f"no {path}", path, root[""]


def list_and_log(
    saver: Saver, caplog: pytest.LogCaptureFixture, given: Any, **options: Any
) -> tuple[list[CheckpointTuple], list[str]]:
    """The checkpoints that a listing finds, and the errors that it logs."""
    caplog.clear()
    with caplog.at_level(logging.ERROR, "langgraph_redis_json"):
        found = list(saver.list(given, **options))
    return found, [record.getMessage() for record in caplog.records]


def by_id(found: list[CheckpointTuple]) -> dict[str, CheckpointTuple]:
    return {one.config["configurable"]["checkpoint_id"]: one for one in found}


def faults_of_reading(
    saver: Saver,
    caplog: pytest.LogCaptureFixture,
    put: dict[str, CheckpointTuple],
    key: str,
    same: Callable[[CheckpointTuple, CheckpointTuple], bool] = lambda found, put: found == put,
) -> Iterator[str]:
    """Read a namespace in which the document at a key is damaged. `get_tuple` gives what was put
    or raises an error that names the key; a listing leaves out exactly the checkpoints for which
    `get_tuple` raises, and logs an error that names the key for each of them.

    Args:
        saver: one that caches nothing: cached values hide damage, and listings do not use them.
        caplog: the fixture.
        put: all checkpoints of the namespace as they were put, by their ids.
        key: of the damaged document.
        same: whether a checkpoint that was found is the one that was put.

    Returns:
        Descriptions of what is not so.
    """
    readable = set()
    for id_, one in put.items():
        try:
            found = saver.get_tuple(one.config)
        except CheckpointError as error:
            if key not in str(error):
                yield f"get_tuple does not name {key}: {error}"
        except Exception as error:  # noqa: BLE001
            yield f"get_tuple: {error!r:.150}"
        else:
            readable.add(id_)
            if found is None or not same(found, one):
                yield f"get_tuple gives another state of {id_}"
    thread: Any = {**next(iter(put.values())).config["configurable"]}
    del thread["checkpoint_id"]
    try:
        listed, messages = list_and_log(saver, caplog, {"configurable": thread})
    except Exception as error:  # noqa: BLE001
        yield f"list: {error!r:.150}"
        return
    if {*by_id(listed)} != readable:
        yield f"list shows {sorted(by_id(listed))}, get_tuple reads {sorted(readable)}"
    for id_, found in by_id(listed).items():
        if not same(found, put[id_]):
            yield f"list gives another state of {id_}"
    if [key in message for message in messages] != [True] * (len(put) - len(readable)):
        yield f"list logs {messages} for {len(put) - len(readable)} checkpoints"

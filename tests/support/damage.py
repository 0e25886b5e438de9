"""Damaged versions of a JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

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

"""The fields of the search indexes: those of ``schemas/*.yaml``, and the user's metadata fields.

``metadata_fields=`` of a saver declares the latter.
"""

import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files
from typing import Any

from redisvl.schema import IndexSchema
from redisvl.schema.fields import BaseField

SCHEMAS = ("checkpoints", "writes", "threads")
"""The files in ``schemas/`` whose indexes every saver has. ``messages.yaml`` is that of savers with
``message_search``."""

WITH_METADATA = ("checkpoints", "threads")
"""The schemas whose documents have metadata."""

Fields = Mapping[str, BaseField]
"""redisvl's fields, by name."""

MetadataFields = Mapping[str, str] | str | os.PathLike[str]
"""The argument ``metadata_fields=`` of a saver."""

# RediSearch refuses a whole document for one value of another type than its field's, and metadata
# may hold anything. So the path of a metadata field finds only values of the field's type. The
# path goes through all members of the document, but only metadata has bare values as members.
_PATHS = {
    "tag": '$[?(@.{0}>=""||@.{0}==true||@.{0}==false)].{0}',
    "numeric": "$[?(@.{0}>=0||@.{0}<0)].{0}",
    "text": '$[?(@.{0}>="")].{0}',
}

_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")


@cache
def built_in(which: str) -> IndexSchema:
    """The schema in one of the files."""
    with as_file(files("langgraph_redis_json") / "schemas" / f"{which}.yaml") as path:
        return IndexSchema.from_yaml(path)


def read(given: MetadataFields | None) -> Fields:
    """Read the argument ``metadata_fields=`` of a saver.

    Args:
        given: metadata keys with ``"tag"``, ``"numeric"`` or ``"text"``; or the path of a redisvl
            schema (YAML) with such fields.

    Raises:
        ValueError: for a name, a type or a schema that cannot be used.
        FileNotFoundError: if the schema does not exist.
    """
    if given is None:
        return {}
    if isinstance(given, (str, os.PathLike)):
        return _from_file(os.fspath(given))
    if not isinstance(given, Mapping):
        raise ValueError(
            'metadata_fields= takes a dict such as {"user_id": "tag"}, or the path of a redisvl '
            f"schema, not {given!r:.100}"
        )
    for name, kind in given.items():
        _check(name, kind)
    exactly = {"case_sensitive": True, "separator": "\x1f"}
    return _make(
        {"name": name, "type": kind, "attrs": exactly if kind == "tag" else {}}
        for name, kind in given.items()
    )


def is_users(name: str, path: str) -> bool:
    """Whether a field of an index is a metadata field that a user declared."""
    return path.startswith("$[?(@.") and name not in built_in("checkpoints").fields


def _from_file(path: str) -> Fields:
    if not os.path.exists(path):
        raise FileNotFoundError(f"metadata_fields= names a schema that does not exist: {path}")
    schema = IndexSchema.from_yaml(path)
    if schema.index.storage_type.value != "json":
        raise ValueError(
            f"the schema {path} has storage_type {schema.index.storage_type.value}, but "
            "checkpoints are JSON: change it to storage_type: json"
        )
    for name, field in schema.fields.items():
        _check(name, field.type)
        if field.path not in (f"$.{name}", f"$.metadata.{name}"):
            raise ValueError(
                f"the schema {path} has {name!r} at {field.path!r}, but only metadata can be "
                f"declared: leave the path out, or change it to $.metadata.{name}"
            )
        if getattr(field.attrs, "no_index", False):
            raise ValueError(f"the schema {path} has no_index for {name!r}: leave that out")
    return _make(field.model_dump() for field in schema.fields.values())


def _make(declared: Any) -> Fields:
    fields = [{**one, "path": _PATHS[one["type"]].format(one["name"])} for one in declared]
    index = {"name": "metadata", "storage_type": "json"}
    return dict(IndexSchema.from_dict({"index": index, "fields": fields}).fields)


def _check(name: Any, kind: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r:.100} cannot be the name of a metadata field: begin it with a letter (a to "
            "z), and use only letters, digits and _"
        )
    if not isinstance(kind, str) or kind not in _PATHS:
        known = ", ".join(f'"{known}"' for known in _PATHS)
        raise ValueError(f"a metadata field is one of {known}, but {name!r} is {kind!r:.100}")
    if any(name in built_in(which).fields for which in WITH_METADATA):
        raise ValueError(
            f"{name!r} is a field of every index already: declare metadata under other names"
        )

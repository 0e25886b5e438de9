"""The fields of the search indexes: those of ``schemas/*.yaml``, and the user's own.

The latter are metadata keys, which ``metadata_fields=`` declares.
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
"""The files in ``schemas/``."""

WITH_METADATA = ("checkpoints", "threads")
"""Those of them whose documents have metadata."""

Fields = Mapping[str, BaseField]
"""redisvl's fields, by name."""

# RediSearch refuses a whole document for one value of another type than its field's, and metadata
# may hold anything. So a field's path finds values of its type alone, among the members of the
# document's members: of these only metadata has bare values.
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


def read(given: Mapping[str, str] | str | os.PathLike[str] | None) -> Fields:
    """The metadata fields that a saver is given.

    Args:
        given: metadata keys with ``"tag"``, ``"numeric"`` or ``"text"``; or the path of a redisvl
            schema (YAML) that has such fields.

    Raises:
        ValueError: for a name, a type or a schema that does not do.
        FileNotFoundError: if there is no such schema.
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
    return _made(
        {"name": name, "type": kind, "attrs": exactly if kind == "tag" else {}}
        for name, kind in given.items()
    )


def is_metadata(path: str) -> bool:
    """Whether this is the path of a metadata field."""
    return path.startswith("$[?(@.")


def _from_file(path: str) -> Fields:
    if not os.path.exists(path):
        raise FileNotFoundError(f"metadata_fields= names a schema that is not there: {path}")
    schema = IndexSchema.from_yaml(path)
    if schema.index.storage_type.value != "json":
        raise ValueError(
            f"the schema {path} is for storage_type {schema.index.storage_type.value}, and "
            "checkpoints are JSON: let it say storage_type: json"
        )
    for name, field in schema.fields.items():
        _check(name, field.type)
        if field.path not in (f"$.{name}", f"$.metadata.{name}"):
            raise ValueError(
                f"the schema {path} has {name!r} at {field.path!r}, and only metadata can be "
                f"declared: leave the path out, or let it be $.metadata.{name}"
            )
        if getattr(field.attrs, "no_index", False):
            raise ValueError(f"the schema {path} has no_index for {name!r}: leave that out")
    return _made(field.model_dump() for field in schema.fields.values())


def _made(declared: Any) -> Fields:
    fields = [{**one, "path": _PATHS[one["type"]].format(one["name"])} for one in declared]
    index = {"name": "metadata", "storage_type": "json"}
    return dict(IndexSchema.from_dict({"index": index, "fields": fields}).fields)


def _check(name: Any, kind: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r:.100} is no name for a metadata field: let it begin with a letter (a to z), "
            "and have only letters, digits and _ in it"
        )
    if not isinstance(kind, str) or kind not in _PATHS:
        known = ", ".join(f'"{known}"' for known in _PATHS)
        raise ValueError(f"a metadata field is one of {known}, and {name!r} is {kind!r:.100}")
    if any(name in built_in(which).fields for which in WITH_METADATA):
        raise ValueError(
            f"{name!r} is a field of every index already: declare metadata under other names"
        )

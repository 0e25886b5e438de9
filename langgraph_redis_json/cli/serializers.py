"""``--load``: let a serializer read values that are not JSON.

The serializer loads a value, LangGraph's own stores it again in memory, and the commands show that.
So they show every value in one way, whatever it was stored as.
"""

import os
import pickle
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

import orjson
import typer
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_redis_json.cli.output import complain
from langgraph_redis_json.cli.reading import Reveal
from langgraph_redis_json.storage import json_codec

KEY = "LANGGRAPH_AES_KEY"
"""LangGraph's environment variable for the key of an EncryptedSerializer."""

_UNREADABLE = (
    *json_codec.UNREADABLE,
    *(ArithmeticError, EOFError, ImportError, OSError, RuntimeError, pickle.UnpicklingError),
)
"""What a serializer, or the class of a value, raises for a value that it cannot load."""


def reveal(modules: Sequence[str]) -> Reveal:
    """How the commands read stored values.

    Args:
        modules: what ``--load`` names: modules, and serializers as MODULE:NAME.

    Raises:
        typer.BadParameter: if there is no such module or serializer.
    """
    if not modules:
        return lambda stored: stored
    serde = serializer(modules)
    return lambda stored: _load(stored, serde)


def serializer(modules: Sequence[str]) -> SerializerProtocol:
    """The serializer that ``--load`` names, or LangGraph's; see `reveal`."""
    serde: SerializerProtocol = JsonPlusSerializer(pickle_fallback=True)
    named = None
    for given in modules:
        module, _, name = given.partition(":")
        try:
            found: Any = import_module(module)
            for part in filter(None, name.split(".")):
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError) as error:
            raise typer.BadParameter(
                f"{given} cannot be imported: {error}; set PYTHONPATH to the folder of the module",
                param_hint="--load",
            ) from None
        if name:
            # A saver has a serializer; so has an EncryptedSerializer, which is one itself.
            named = found if hasattr(found, "loads_typed") else getattr(found, "serde", None)
            if named is None:
                raise typer.BadParameter(f"{given} is no serializer", param_hint="--load")
    if named is not None:
        serde = named
    elif os.environ.get(KEY):
        try:
            serde = EncryptedSerializer.from_pycryptodome_aes(serde)
        except (ImportError, ValueError) as error:
            raise typer.BadParameter(
                f"{KEY} cannot be used: {error}", param_hint="--load"
            ) from None
    return serde


def _load(stored: Any, serde: SerializerProtocol) -> Any:
    """A stored value in JSON, if the serializer can load it."""
    if not isinstance(stored, dict) or "base64" not in stored:
        return stored
    dumped = json_codec.decode(stored)
    try:
        value = serde.loads_typed(dumped)
    except _UNREADABLE as error:
        _complain_once(f"A value of type {dumped[0]} cannot be loaded: {error}")
        return stored
    try:
        again = JsonPlusSerializer(pickle_fallback=False).dumps_typed(value)
    except (TypeError, ValueError):  # its text is all that can be shown
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        return {"type": "msgpack", "tagged": {"$class": name, "arg": repr(value)}}
    return orjson.loads(json_codec.encode(*again).text())


@cache
def _complain_once(message: str) -> None:
    complain(f"Warning: {message}")

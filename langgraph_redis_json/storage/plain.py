"""Stored JSON -> plain data that people and programs read. No serializer and no object of a user's
class is needed.

`plain` turns a stored value (`json_codec.py`) into JSON types:

- an object of a class becomes ``{"$class": "module.Name", …}`` with its fields; one that was built
  from arguments without names has them in ``"args"`` or ``"value"``;
- a date, a UUID, a path or another small value of the standard library becomes its text, a set a
  list;
- bytes are ``{"$bytes": base64}``;
- a value that only a serializer reads (encrypted, pickled, another format) becomes
  ``{"$opaque": the serializer's type, "bytes": its size}``.

`message_of` gives one view of a chat message, whatever class or dict it is.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date, time, timedelta
from math import isfinite
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import ormsgpack
from pybase64 import b64decode

from langgraph_redis_json.storage.json_codec import MALFORMED, not_a_stored_value

NUMPY, SNAPSHOT = 6, 7
"""JsonPlusSerializer's extension codes for an array of numpy and a snapshot of a DeltaChannel."""


def plain(stored: Any) -> Any:
    """A stored value as plain data.

    Args:
        stored: the parsed JSON of a stored value, an item of a log, or None.

    Raises:
        ValueError: if this is not a stored value, because somebody has altered it.
    """
    if stored is None:
        return None
    form, content = _form(stored)
    if form == "base64":
        return opaque(stored)
    try:
        return _untagged(content) if form == "tagged" else content
    except MALFORMED as error:
        raise not_a_stored_value(error) from error


def opaque(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What can be said of a stored value in the form ``base64`` without its serializer."""
    content = stored["base64"]
    if not isinstance(content, str):
        raise ValueError("it is not a stored value: its base64 is not text")
    type_ = str(stored.get("type", "msgpack"))
    if type_ in ("bytes", "bytearray"):  # JsonPlusSerializer's
        return {"$bytes": content}
    return {
        "$opaque": type_,
        "bytes": len(content) * 3 // 4 - content[-2:].count("="),
    }


def is_opaque(value: Any) -> bool:
    """Whether plain data stands for a value that only a serializer reads."""
    return isinstance(value, dict) and [*value] == ["$opaque", "bytes"]


def _form(stored: Any) -> tuple[str, Any]:
    """The form and the content of a stored value or of an item of a log."""
    if isinstance(stored, dict):
        for form in ("json", "tagged", "base64"):
            if form in stored:
                return form, stored[form]
    raise ValueError(f"it is not a stored value: {orjson.dumps(stored).decode():.100}")


def _untagged(node: Any) -> Any:
    if isinstance(node, list):
        return [*map(_untagged, node)]
    if not isinstance(node, dict):
        return node
    first = next(iter(node), "")
    if first.startswith("$"):
        return _TAGS[first](node)
    return {key: _untagged(value) for key, value in node.items()}


def _class(tag: dict[str, Any]) -> Any:
    name, (key, content) = tag["$class"], [*tag.items()][1]
    if key == "method":
        key, content = "arg", tag["arg"]
    if "tagged" in tag:
        content = _untagged(content)
    if name in _TEXTS:
        return _TEXTS[name](content)
    if isinstance(content, dict) and key in ("fields", "fields_v1", "kwargs"):
        return {"$class": name, **content}
    return {"$class": name, "value" if key == "arg" else "args": content}


def _extension(tag: dict[str, Any]) -> Any:
    data = _untagged(tag["data"]) if "tagged" in tag else tag["data"]
    if tag["$ext"] == NUMPY and isinstance(data, list) and len(data) > 1:
        return {"$class": "numpy.ndarray", "dtype": data[0], "shape": data[1]}
    return data if tag["$ext"] == SNAPSHOT else {"$ext": tag["$ext"], "data": data}


def _map(tag: dict[str, Any]) -> Any:
    pairs = [(_untagged(key), _untagged(value)) for key, value in tag["$map"]]
    named = {key if isinstance(key, str) else orjson.dumps(key).decode(): v for key, v in pairs}
    return named if len(named) == len(pairs) else {"$map": [*map(list, pairs)]}


def _number(number: float) -> float | str:
    """A number; one that JSON does not have, as its text."""
    return number if isfinite(number) else repr(number)


def _floats(tag: dict[str, Any]) -> list[float | str]:
    found = ormsgpack.unpackb(b64decode(tag["$msgpack"], validate=True))
    return [_number(float(one)) for one in found]


_TAGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "$class": _class,
    "$ext": _extension,
    "$bytes": lambda tag: {"$bytes": str(tag["$bytes"])},
    "$float": lambda tag: _number(float(tag["$float"])),
    "$map": _map,
    "$dict": lambda tag: {key: _untagged(value) for key, value in tag["$dict"].items()},
    "$msgpack": _floats,
}


def _path(parts: list[str]) -> str:
    return "/".join(parts).replace("//", "/")


_TEXTS: dict[str, Callable[[Any], Any]] = {
    "builtins.frozenset": list,
    "builtins.set": list,
    "collections.deque": list,
    "datetime.date": lambda args: date(*args).isoformat(),
    "datetime.datetime": str,
    "datetime.time": lambda kwargs: time(
        **{key: value for key, value in kwargs.items() if key != "tzinfo"}
    ).isoformat(),
    "datetime.timedelta": lambda args: str(timedelta(*args)),
    "datetime.timezone": lambda args: f"UTC+{args[0]}",
    "decimal.Decimal": str,
    "ipaddress.IPv4Address": str,
    "ipaddress.IPv4Interface": str,
    "ipaddress.IPv4Network": str,
    "ipaddress.IPv6Address": str,
    "ipaddress.IPv6Interface": str,
    "ipaddress.IPv6Network": str,
    "pathlib.Path": _path,
    "pathlib.PosixPath": _path,
    "pathlib.WindowsPath": _path,
    "re.compile": lambda args: str(args[0]),
    "uuid.UUID": lambda digits: str(UUID(digits)),
    "zoneinfo.ZoneInfo": str,
}
"""Classes of the standard library that are shown as their text, or as a list."""


# ---- chat messages


class ToolCall(NamedTuple):
    """A call of a tool that a message asks for."""

    id: str | None
    name: str
    args: Any


class Message(NamedTuple):
    """A chat message.

    Attributes:
        role: "human", "ai", "system" or "tool", or the role that a message of another kind has.
        id: of the message; None if it has none.
        name: of who speaks, or of the tool; None if it has none.
        text: all of its text, one line for each block of content.
        blocks: the blocks of content that are not text, as they are stored: images, files,
            reasoning. `block_name` names one.
        tool_calls: the tools that it asks for.
        tool_call_id: for the result of a tool, the id of the call; else None.
        is_error: whether it is the result of a tool that failed.
    """

    role: str
    id: str | None
    name: str | None
    text: str
    blocks: tuple[Mapping[str, Any], ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False


_ROLES = {"user": "human", "assistant": "ai", "AIMessageChunk": "ai", "HumanMessageChunk": "human"}
_ROLES |= {"SystemMessageChunk": "system", "ToolMessageChunk": "tool"}

_CALLS = {"tool_use", "tool_call", "tool_call_chunk", "input_json_delta", "function_call"}
"""Blocks of content that repeat a tool call."""


def message_of(stored: Any) -> Message | None:
    """The chat message that an item of a list is; None if it is none.

    Args:
        stored: an item of a log, a stored value, or a member of the list in a stored value in that
            value's form: ``{"tagged": member}``.

    A message is an object of LangChain's or of a class derived from them, or a dict with a role and
    content.

    Raises:
        ValueError: as `plain`.
    """
    found = plain(stored)
    if not isinstance(found, dict) or "content" not in found:
        return None
    content = found["content"]
    if content is not None and not isinstance(content, (str, list)):
        return None
    # A dict of the user's is no object, even if it looks like one.
    is_object = "tagged" in stored and "$class" in stored["tagged"]
    role = found.get("role") or (found.get("type") if is_object else None)
    if not isinstance(role, str):
        return None
    texts, blocks = [], []
    for block in [content] if isinstance(content, str) else content or []:
        if isinstance(block, str):
            texts.append(block)
        elif isinstance(block, dict):
            if block.get("type") in ("text", "text-plain") and isinstance(block.get("text"), str):
                texts.append(block["text"])
            elif block.get("type") not in _CALLS:
                blocks.append(block)
    return Message(
        _ROLES.get(role, role),
        _text(found.get("id")),
        _text(found.get("name")),
        "\n".join(texts),
        tuple(blocks),
        tuple(_calls(found)),
        _text(found.get("tool_call_id")),
        found.get("status") == "error",
    )


def messages_of(stored: Any) -> list[Message]:
    """The chat messages in a list.

    Args:
        stored: a stored value, or the items of a log.

    Returns:
        None of the members that are no messages; so no messages at all for a value that is no list.

    Raises:
        ValueError: as `plain`.
    """
    return [found for found in map(message_of, members_of(stored) or ()) if found is not None]


def members_of(stored: Any) -> list[Any] | None:
    """The members of a list in the form that `message_of` and `plain` take; None for no list.

    Args:
        stored: a stored value, or the items of a log.
    """
    if isinstance(stored, list):
        return stored
    if stored is None:
        return None
    form, content = _form(stored)
    if form == "base64" or not isinstance(content, list):
        return None
    return [{form: member} for member in content]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _calls(found: Mapping[str, Any]) -> Iterator[ToolCall]:
    for key in ("tool_calls", "invalid_tool_calls"):
        calls = found.get(key)
        for call in calls if isinstance(calls, list) else ():
            if not isinstance(call, dict):
                continue
            # A dict of OpenAI's has the name and the arguments, as JSON text, in "function".
            inner = call["function"] if isinstance(call.get("function"), dict) else call
            args = inner.get("args", inner.get("arguments"))
            if isinstance(args, str):
                with suppress(ValueError):
                    args = orjson.loads(args)
            yield ToolCall(_text(call.get("id")), str(inner.get("name") or "?"), args)


def block_name(block: Mapping[str, Any]) -> str:
    """A block of content in a few words: "image: png, 12,345 bytes", "file: report.pdf"."""
    kind = str(block.get("type") or "content")
    inner = block.get(kind)
    source = inner if isinstance(inner, dict) else block
    if isinstance(block.get("source"), dict):  # Anthropic's
        source = block["source"]
    kind = {"image_url": "image", "input_audio": "audio", "thinking": "reasoning"}.get(kind, kind)
    details: list[str] = []
    for name in ("filename", "name", "title"):
        if isinstance(source.get(name), str):
            details.append(source[name])
            break
    mime = source.get("mime_type") or source.get("media_type") or source.get("format")
    url = inner if isinstance(inner, str) and kind == "image" else source.get("url")
    data = source.get("base64") or source.get("data") or source.get("file_data")
    if isinstance(url, str) and url.startswith("data:"):
        head, _, data = url.partition(",")
        mime, url = head[5:].partition(";")[0], None
    if isinstance(mime, str) and mime:
        details.append(mime.removeprefix(f"{kind}/"))
    if isinstance(url, str):
        details.append(url)
    if isinstance(source.get("file_id"), str):
        details.append(source["file_id"])
    if isinstance(data, str):
        details.append(f"{len(data.rstrip('=')) * 3 // 4:,} bytes")
    text = next((block[k] for k in ("reasoning", "thinking") if isinstance(block.get(k), str)), "")
    if text:
        details.append(text)
    return f"{kind}: {', '.join(details)}" if details else kind

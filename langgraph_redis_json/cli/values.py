"""How plain data looks to people: in full, or on one line."""

import json
from collections.abc import Sequence
from typing import Any

from langgraph_redis_json.cli.output import one_line, safe, size
from langgraph_redis_json.storage.plain import Message, ToolCall, block_name, is_opaque

MOST = 2_000
"""Characters of a value that are written for a preview, at most."""


def brief(value: Any, most: int | None = 100) -> str:
    """A value on one line, as Python would write it, and cut."""
    return one_line(_python(value, MOST if most is None else 4 * most), most)


def _python(value: Any, left: int) -> str:
    """A value as Python would write it; only the beginning of a long one."""
    if isinstance(value, str):
        return repr(value[:left]) if len(value) > left else repr(value)
    if isinstance(value, list):
        return f"[{_joined(value, lambda one, left: _python(one, left), left)}]"
    if not isinstance(value, dict):
        return str(value)
    if is_opaque(value):
        return f"<{value['$opaque']}, {size(value['bytes'])}, not readable without a serializer>"
    if [*value] == ["$bytes"]:
        return f"<{size(len(value['$bytes']) * 3 // 4 - value['$bytes'].count('='))}>"
    if "$class" in value:
        name = str(value["$class"]).rpartition(".")[2]
        members = {key: member for key, member in value.items() if key != "$class"}
        if [*members] == ["value"] or [*members] == ["args"]:
            [inner] = members.values()
            inside = _python(inner, left)
            return f"{name}({inside[1:-1] if isinstance(inner, list) else inside})"
        return f"{name}({_joined([*members.items()], _argument, left)})"
    return f"{{{_joined([*value.items()], _pair, left)}}}"


def _argument(pair: tuple[str, Any], left: int) -> str:
    return f"{pair[0]}={_python(pair[1], left)}"


def _pair(pair: tuple[str, Any], left: int) -> str:
    return f"{pair[0]!r}: {_python(pair[1], left)}"


def _joined(members: Sequence[Any], write: Any, left: int) -> str:
    parts: list[str] = []
    for member in members:
        if left <= 0:
            parts.append("…")
            break
        parts.append(write(member, left))
        left -= len(parts[-1]) + 2
    return ", ".join(parts)


def said(value: Any) -> str:
    """What a task asks or raises: a text as it is, anything else as Python would write it."""
    return value if isinstance(value, str) else brief(value, None)


def in_full(value: Any) -> str:
    """A value as indented JSON; a text as it is."""
    if isinstance(value, str):
        return safe(value)
    return safe(json.dumps(value, ensure_ascii=False, indent=2))


def call_text(call: ToolCall, most: int | None = None) -> str:
    """A tool call as Python would write it."""
    if isinstance(call.args, dict):
        args = ", ".join(
            _argument(pair, MOST if most is None else most) for pair in call.args.items()
        )
    else:
        args = "" if call.args is None else _python(call.args, MOST)
    return one_line(f"{call.name}({args})", most)


def message_line(message: Message, most: int | None = 100) -> str:
    """A message on one line."""
    parts = [message.text] if message.text.strip() else []
    parts += [f"[{block_name(block)}]" for block in message.blocks]
    parts += [call_text(call, most) for call in message.tool_calls]
    return one_line(" ".join(parts), most)


def message_json(message: Message) -> dict[str, Any]:
    """A message for other programs."""
    return {
        **message._asdict(),
        "blocks": [*map(dict, message.blocks)],
        "tool_calls": [call._asdict() for call in message.tool_calls],
    }

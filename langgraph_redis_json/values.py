"""What a serializer wrote <-> JSON that people can read, bit for bit.

`encode` takes the two results of ``serde.dumps_typed`` and gives the JSON text of a
*stored value*, an object with the serializer's ``type`` and one of:

- ``json``: the value itself; every object and array in it is the user's own.
- ``tagged``: the same with *tags*, objects whose first key begins with ``$``, where the
  value holds something that JSON has no word for.
- ``base64``: the serializer's bytes, where neither of these is exact.

A readable form is used only after `decode`'s own steps have given the serializer's bytes
back. Objects are never built here: `decode` gives bytes, for the serializer to load.

The tags:

    {"$class": "module.Name", "arg"|"args"|"kwargs"|"fields"|"fields_v1": …}
    {"$class": "module.Name", "method": "name", "arg": …}
    {"$ext": code, "data": …}      any other msgpack extension
    {"$bytes": "base64"}           {"$float": "0.1234567890123456789"}
    {"$map": [[key, value], …]}    an object with keys that are not text
    {"$dict": {…}}                 an object of the user's that looks like a tag
    {"$msgpack": "base64"}         a long list of numbers that JSON would alter

A tag's content is searched for further tags only if the tag says ``"tagged": true``.
"""

from collections.abc import Callable, Iterable
from math import isfinite
from operator import is_
from typing import Any, Literal, NamedTuple

import orjson
import ormsgpack
from pybase64 import b64decode, b64encode

Form = Literal["json", "tagged", "base64"]

DEEPEST = 100
"""Levels of nesting that are still stored as JSON. RedisJSON refuses more than 127, of
which the document around a value takes a few."""

_PACKING = ormsgpack.OPT_NON_STR_KEYS


class Dumped(NamedTuple):
    """What a serializer wrote: ``loads_typed`` takes it."""

    type: str
    data: bytes


class Encoded(NamedTuple):
    """A stored value: the serializer's type, the form, and the content: its JSON text, or the
    base64 without quotation marks."""

    type: str
    form: Form
    content: bytes

    def text(self, before: bytes = b"", after: bytes = b"") -> bytes:
        """The stored value as the JSON text of one object, between two other texts: a large
        content is copied once."""
        quote = b'"' if self.form == "base64" else b""
        head = b'%s{"type":%s,"%s":' % (before, orjson.dumps(self.type), self.form.encode())
        return b"".join((head, quote, self.content, quote, b"}", after))


def encode(type_: str, data: bytes) -> Encoded:
    """Turn what ``serde.dumps_typed`` gave into JSON.

    Args:
        type_: the serializer's name for the type of the data.
        data: the serializer's bytes.
    """
    if type_ == "msgpack":
        try:
            return Encoded(type_, *_readable(data))
        except _NotReadable:
            pass
    elif type_ == "null" and not data:
        return _NULL
    return opaque(type_, data)


def plain(type_: str, data: bytes) -> Any:
    """What `encode` would write in the form ``json``, as a tree; None if it takes another form."""
    if type_ != "msgpack":
        return None
    try:
        tree, tagged, _ = _proved(data)
    except _NotReadable:
        return None
    return None if tagged else tree


_NULL = Encoded("null", "json", b"null")


def opaque(type_: str, data: bytes) -> Encoded:
    """The serializer's bytes as they are, in base64."""
    return Encoded(type_, "base64", b64encode(data))


def decode(stored: Any) -> tuple[str, bytes]:
    """Turn a stored value back into what ``serde.loads_typed`` takes.

    Args:
        stored: the parsed JSON of `Encoded.text`.

    Raises:
        ValueError: if this is no stored value (altered by hand, or from a later version).
    """
    try:
        first, form = stored
        type_, content = stored["type"], stored[form]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise _no_stored_value(error) from error
    if type_ == "msgpack" and first == "type" and form != "base64":
        return type_, pack(form, content)
    if not isinstance(type_, str) or first != "type":
        raise ValueError("it is not a stored value: it has no type")
    if form == "base64":
        return type_, _decode_base64(content)
    if type_ == "null" and form == "json" and content is None:
        return type_, b""
    raise ValueError(f"it is not a stored value: {type_!r:.50} is not stored as {form!r:.50}")


def pack(form: str, content: Any) -> bytes:
    """The serializer's msgpack, of one form of it.

    Raises:
        ValueError: as `decode`.
    """
    try:
        if form == "tagged":
            return ormsgpack.packb(unmark(content), option=_PACKING)
        if form == "json":
            return ormsgpack.packb(content, option=_PACKING)
    except _DAMAGE as error:
        raise _no_stored_value(error) from error
    if form != "base64":
        raise ValueError(f"it is not a stored value: msgpack is not stored as {form!r:.50}")
    data = _decode_base64(content)
    try:  # to see that this is one value: it will stand among others
        ormsgpack.unpackb(data, ext_hook=ormsgpack.Ext, option=_PACKING)
    except ValueError as error:
        raise _no_stored_value(error) from error
    return data


def pack_all(stored: Iterable[Any]) -> bytes | None:
    """The serializer's msgpack of a list of these stored values; None unless each of them is
    readable msgpack.

    Raises:
        ValueError: as `decode`.
    """
    trees: list[Any] = []
    try:
        for value in stored:
            if len(value) != 2 or value["type"] != "msgpack" or "base64" in value:
                return None
            trees.append(unmark(value["tagged"]) if "tagged" in value else value["json"])
        return ormsgpack.packb(trees, option=_PACKING)
    except _DAMAGE as error:
        raise _no_stored_value(error) from error


_DAMAGE = (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError)
"""What goes wrong with a tree that `mark` did not make."""


def _decode_base64(content: Any) -> bytes:
    try:
        return b64decode(content, validate=True)
    except (TypeError, ValueError) as error:
        raise _no_stored_value(error) from error


def _no_stored_value(error: Exception) -> ValueError:
    return ValueError(f"it is not a stored value ({type(error).__name__}: {error})")


# ---- msgpack -> JSON


class _NotReadable(Exception):
    """The value has no exact JSON form."""


class _Tag(dict[str, Any]):
    """A tag, as opposed to a dict of the user's."""


def _readable(data: bytes) -> tuple[Form, bytes]:
    _, tagged, text = _proved(data)
    return ("tagged" if tagged else "json"), text


def _proved(data: bytes) -> tuple[Any, bool, bytes]:
    """A tree of what JSON knows, whether it has tags, and its text."""
    try:
        tree, tagged = _transcode(data, thorough=False)
        try:
            text = orjson.dumps(tree)
        except TypeError:  # bytes, or a key that is no text
            tree, tagged = _transcode(data, thorough=True)
            text = orjson.dumps(tree)
        proof = ormsgpack.packb(unmark(tree) if tagged else tree, option=_PACKING)
    except (ValueError, TypeError, RecursionError) as error:
        raise _NotReadable from error
    if proof != data or _is_too_deep(tree, text):
        raise _NotReadable
    return tree, tagged, text


_SHORT = 10_000
"""Bytes of a text whose brackets are taken out rather than searched for."""


def _has_many_brackets(text: bytes) -> bool:
    """Whether a long text has enough brackets to be too deep. Bytes are searched for one by one at
    twenty times the speed at which they are counted."""
    found = 0
    for bracket in (b"[", b"{"):
        at = text.find(bracket)
        while at >= 0:
            found += 1
            if found > DEEPEST:
                return True
            at = text.find(bracket, at + 1)
    return False


_NO_BRACKETS = bytes({*range(256)} - {*b"[]{}"})


def _is_too_deep(tree: Any, text: bytes) -> bool:
    if not isinstance(tree, (dict, list)):
        return False
    if len(text) > _SHORT:
        if not _has_many_brackets(text):
            return False
    elif len(text.translate(None, _NO_BRACKETS)) <= 2 * DEEPEST:
        return False
    # Brackets may also stand in strings.
    level = [tree]
    for _ in range(DEEPEST):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


_EXTENSIONS = {bytes((code,)) for code in (0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9))}
"""How msgpack begins an extension type: it would only fail without a hook for these."""


def _transcode(data: bytes, thorough: bool) -> tuple[Any, bool]:
    """msgpack -> a tree of what JSON knows, and whether it has tags."""
    # 0xCB begins a float; it occurs in text too, which then costs a closer look. Bytes and
    # keys that are no text, orjson refuses: then all is looked at closely.
    if not thorough and data[:1] not in _EXTENSIONS and b"\xcb" not in data:
        try:
            return ormsgpack.unpackb(data, option=_PACKING), False
        except ValueError:  # it has extension types
            pass
    tagged = thorough

    def extension(code: int, payload: bytes) -> _Tag:
        nonlocal tagged
        tagged = True
        return _tag_of_extension(code, payload, thorough)

    tree = ormsgpack.unpackb(data, ext_hook=extension, option=_PACKING)
    marked = mark(tree)
    return marked, tagged or marked is not tree


_HOW = {0: "arg", 1: "args", 2: "kwargs", 4: "fields_v1", 5: "fields"}
_CODES = {how: code for code, how in _HOW.items()}
_METHOD = 3
_VALIDATE = "model_validate_json"
_VALIDATES = [_VALIDATE]


def _tag_of_extension(code: int, payload: bytes, thorough: bool) -> _Tag:
    """One of the serializer's extension types (codes of JsonPlusSerializer) as a tag."""
    parts, nested = _transcode(payload, thorough)
    tag = _tag_of_class(code, parts) or _Tag({"$ext": code, "data": parts})
    if nested:
        tag["tagged"] = True
    return tag


def _tag_of_class(code: int, parts: Any) -> _Tag | None:
    if type(parts) is not list or len(parts) < 3:
        return None
    module, name, content, *method = parts
    if type(module) is not str or type(name) is not str or "." in name:
        return None
    if code == 5:
        if method == _VALIDATES:
            return _Tag({"$class": f"{module}.{name}", "fields": content})
    elif code == _METHOD:
        if len(method) == 1 and type(method[0]) is str:
            return _Tag({"$class": f"{module}.{name}", "method": method[0], "arg": content})
    elif code in _HOW and not method:
        return _Tag({"$class": f"{module}.{name}", _HOW[code]: content})
    return None


def mark(node: Any) -> Any:
    """Put tags in place of what JSON has no word for; the node itself if it has a word."""
    kind = type(node)
    if kind is _Tag or kind is str:
        return node
    if kind is dict:
        if not all(type(key) is str for key in node):
            return {"$map": [[mark(key), mark(value)] for key, value in node.items()]}
        marked = {key: mark(value) for key, value in node.items()}
        if next(iter(node), "").startswith("$"):
            return {"$dict": marked}
        return marked if any(marked[key] is not node[key] for key in node) else node
    if kind is list:
        items = list(map(mark, node))
        if all(map(is_, items, node)):
            return node
        if len(node) >= 16 and all(type(item) is float for item in node):
            # An embedding: a tag for each number would cost ten times its bytes.
            return {"$msgpack": b64encode(ormsgpack.packb(node)).decode()}
        return items
    if kind is tuple:  # msgpack's arrays, as keys
        return [mark(item) for item in node]
    if kind is float:
        return node if is_kept(node) else {"$float": repr(node)}
    if kind is bytes:
        return {"$bytes": b64encode(node).decode()}
    return node


def is_kept(number: float) -> bool:
    """Whether RedisJSON gives this float back unchanged.

    It reads a decimal as an integer times or over a power of ten. Both are exact as floats
    up to 2**53 and 10**22, and then so is the result; anything beyond may be off by a bit.
    """
    if not isfinite(number):
        return False
    digits, _, exponent = repr(number).partition("e")
    whole, _, fraction = digits.partition(".")
    return abs(int(whole + fraction)) <= 2**53 and -22 <= int(exponent or 0) - len(fraction) <= 22


# ---- JSON -> msgpack


def unmark(node: Any) -> Any:
    """Put what `mark` replaced, and msgpack's extension types, in place of tags."""
    kind = type(node)
    if kind is dict or kind is _Tag:
        for first in node:
            if first[:1] == "$":
                return _UNMARK[first](node)
            break
        return {key: unmark(value) for key, value in node.items()}
    if kind is list:
        return [unmark(item) for item in node]
    return node


def _unmark_class(tag: dict[str, Any]) -> ormsgpack.Ext:
    module, dot, name = tag["$class"].rpartition(".")
    if not dot:
        raise ValueError(f"{name!r} names no class")
    if "fields" in tag:
        code, parts = 5, [module, name, tag["fields"], _VALIDATE]
    elif "method" in tag:
        code, parts = _METHOD, [module, name, tag["arg"], tag["method"]]
    else:
        how = list(tag)[1]
        code, parts = _CODES[how], [module, name, tag[how]]
    if "tagged" in tag:
        parts[2] = unmark(parts[2])
    return ormsgpack.Ext(code, ormsgpack.packb(parts, option=_PACKING))


def _unmark_extension(tag: dict[str, Any]) -> ormsgpack.Ext:
    data = unmark(tag["data"]) if "tagged" in tag else tag["data"]
    return ormsgpack.Ext(tag["$ext"], ormsgpack.packb(data, option=_PACKING))


def _as_key(node: Any) -> Any:
    return tuple(map(_as_key, node)) if isinstance(node, list) else node


_UNMARK: dict[str, Callable[[dict[str, Any]], Any]] = {
    "$class": _unmark_class,
    "$ext": _unmark_extension,
    "$bytes": lambda tag: b64decode(tag["$bytes"], validate=True),
    "$float": lambda tag: float(tag["$float"]),
    "$map": lambda tag: {_as_key(unmark(key)): unmark(value) for key, value in tag["$map"]},
    "$dict": lambda tag: {key: unmark(value) for key, value in tag["$dict"].items()},
    "$msgpack": lambda tag: ormsgpack.unpackb(b64decode(tag["$msgpack"], validate=True)),
}

"""Convert serialized values to readable JSON and back, bit for bit.

`encode` takes the two results of ``serde.dumps_typed`` and returns the JSON text of a *stored
value*: an object with the serializer's ``type`` and one of three forms:

- ``json``: the value itself. It contains only the user's objects and arrays.
- ``tagged``: the value, with a *tag* in place of everything that JSON cannot express. A tag is
  an object whose first key begins with ``$``.
- ``base64``: the serializer's bytes, if neither of the other forms is exact.

`encode` chooses a readable form only after it has converted the JSON back and got the
serializer's bytes. `decode` returns these bytes and never creates the user's objects: that is
the serializer's task.

The tags:

    {"$class": "module.Name", "arg"|"args"|"kwargs"|"fields"|"fields_v1": …}
    {"$class": "module.Name", "method": "name", "arg": …}
    {"$ext": code, "data": …}      any other msgpack extension
    {"$bytes": "base64"}           {"$float": "0.1234567890123456789"}
    {"$map": [[key, value], …]}    an object with keys that are not strings
    {"$dict": {…}}                 a user's object that looks like a tag
    {"$msgpack": "base64"}         16 or more floats, some of which RedisJSON would change

The content of a ``$class`` or ``$ext`` tag has tags of its own only if the tag has
``"tagged": true``.
"""

from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from operator import is_
from typing import Any, Literal, NamedTuple

import orjson
import ormsgpack
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pybase64 import b64decode, b64encode

Form = Literal["json", "tagged", "base64"]

DEEPEST = 100
"""Levels of nesting that are stored as JSON; deeper values are stored as base64. RedisJSON refuses
more than 127 levels, and the document around a value needs a few of them."""

_PACKING = ormsgpack.OPT_NON_STR_KEYS


UNREADABLE = (
    *(ValueError, TypeError, AttributeError, LookupError),
    *(AssertionError, NotImplementedError),
)
"""What a serializer raises for a value that it cannot decrypt, or whose type it does not know.
LangGraph's cipher asserts that the name of the value's cipher is its own; other ciphers look up a
key by that name."""


class Dumped(NamedTuple):
    """The result of ``serde.dumps_typed``, and the argument of ``serde.loads_typed``."""

    type: str
    data: bytes


class Encoded(NamedTuple):
    """A stored value.

    Attributes:
        type: the serializer's name for the type of the data.
        form: how the content is written.
        content: JSON text; for the form ``base64`` the base64 text without quotation marks.
    """

    type: str
    form: Form
    content: bytes

    def text(self, before: bytes = b"", after: bytes = b"") -> bytes:
        """The JSON text of the stored value, with `before` and `after` around it.

        Adding them here saves a copy of a large content.
        """
        quote = b'"' if self.form == "base64" else b""
        head = b'%s{"type":%s,"%s":' % (before, orjson.dumps(self.type), self.form.encode())
        return b"".join((head, quote, self.content, quote, b"}", after))


_NULL = Encoded("null", "json", b"null")


def encode(type_: str, data: bytes, serde: SerializerProtocol | None = None) -> Encoded:
    """Convert the result of ``serde.dumps_typed`` to a stored value.

    Args:
        type_: the serializer's name for the type of the data.
        data: the serializer's bytes.
        serde: the serializer; None for LangGraph's own.
    """
    if type_ == "msgpack" and (serde is None or writes_msgpack(serde)):
        try:
            _, tagged, text = _exact_json(data)
        except _NoExactJson:
            return opaque(type_, data)
        return Encoded(type_, "tagged" if tagged else "json", text)
    if type_ == "null" and not data:
        return _NULL
    return opaque(type_, data)


def plain(type_: str, data: bytes) -> Any:
    """The parsed content that `encode` would write in the form ``json``.

    Returns:
        None if `encode` would choose another form.
    """
    if type_ != "msgpack":
        return None
    try:
        tree, tagged, _ = _exact_json(data)
    except _NoExactJson:
        return None
    return None if tagged else tree


def opaque(type_: str, data: bytes) -> Encoded:
    """A stored value in the form ``base64``."""
    return Encoded(type_, "base64", b64encode(data))


def writes_msgpack(serde: SerializerProtocol) -> bool:
    """Whether a serializer's type "msgpack" is LangGraph's. Another serializer's may be anything,
    and data that only looks like msgpack makes ormsgpack before 1.13.1 take all memory."""
    return type(serde).dumps_typed is JsonPlusSerializer.dumps_typed


def readable_serde(serde: SerializerProtocol) -> SerializerProtocol:
    """The serializer for metadata: LangGraph's own, because metadata is searched. It is never a
    cipher or a format of the user's, but follows the rules for types of the user's serializer."""
    if type(serde) is JsonPlusSerializer:
        return serde
    if isinstance(serde, EncryptedSerializer):
        return readable_serde(serde.serde)
    plain = JsonPlusSerializer()
    if isinstance(serde, JsonPlusSerializer):
        plain.__dict__.update(serde.__dict__)
    return plain


def decode(stored: Any) -> tuple[str, bytes]:
    """Convert a stored value to the argument of ``serde.loads_typed``.

    Args:
        stored: the parsed JSON of `Encoded.text`.

    Raises:
        ValueError: if this is not a stored value, because it was edited by hand or written by a
            later version.
    """
    try:
        first, form = stored
        type_, content = stored["type"], stored[form]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise not_a_stored_value(error) from error
    if type_ == "msgpack" and first == "type" and form != "base64":
        return type_, pack(form, content)
    if not isinstance(type_, str) or first != "type":
        raise ValueError('it is not a stored value: it does not begin with a "type"')
    if form == "base64":
        return type_, _decode_base64(content)
    if type_ == "null" and form == "json" and content is None:
        return type_, b""
    raise ValueError(
        f"it is not a stored value: type {type_!r:.50} cannot have the form {form!r:.50}"
    )


def pack(form: str, content: Any) -> bytes:
    """Convert the content of a stored value of type ``msgpack`` to the serializer's msgpack.

    Raises:
        ValueError: as `decode`.
    """
    try:
        if form == "tagged":
            return ormsgpack.packb(unmark(content), option=_PACKING)
        if form == "json":
            return ormsgpack.packb(content, option=_PACKING)
    except MALFORMED as error:
        raise not_a_stored_value(error) from error
    if form != "base64":
        raise ValueError(
            f"it is not a stored value: type 'msgpack' cannot have the form {form!r:.50}"
        )
    data = _decode_base64(content)
    try:  # The caller joins these bytes with others, so they must be exactly one msgpack value.
        ormsgpack.unpackb(data, ext_hook=ormsgpack.Ext, option=_PACKING)
    except ValueError as error:
        raise not_a_stored_value(error) from error
    return data


MALFORMED = (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError)
"""The errors of `unmark` for a tree that `mark` did not create."""


def _decode_base64(content: Any) -> bytes:
    try:
        return b64decode(content, validate=True)
    except (TypeError, ValueError) as error:
        raise not_a_stored_value(error) from error


def not_a_stored_value(error: Exception) -> ValueError:
    return ValueError(f"it is not a stored value ({type(error).__name__}: {error})")


# ---- msgpack -> JSON


class _NoExactJson(Exception):
    """The value has no exact JSON form."""


class _Tag(dict[str, Any]):
    """A tag that this module created, as opposed to a user's dict."""


def _exact_json(data: bytes) -> tuple[Any, bool, bytes]:
    """Convert msgpack to JSON, and check that the JSON converts back to the same bytes.

    Returns:
        The value as a tree of JSON types, whether the tree has tags, and its JSON text.

    Raises:
        _NoExactJson: if there is no such JSON, or if it is nested too deeply.
    """
    try:
        tree, tagged = _unpack(data, thorough=False)
        try:
            text = orjson.dumps(tree)
        except TypeError:  # bytes, or a key that is not a string
            tree, tagged = _unpack(data, thorough=True)
            text = orjson.dumps(tree)
        converted_back = ormsgpack.packb(unmark(tree) if tagged else tree, option=_PACKING)
    except (ValueError, TypeError, RecursionError) as error:
        raise _NoExactJson from error
    if converted_back != data or _is_too_deep(tree, text):
        raise _NoExactJson
    return tree, tagged, text


def _has_many_brackets(text: bytes) -> bool:
    """Whether a text has more than `DEEPEST` brackets of either kind. (``find`` searches for a byte
    twenty times as fast as ``count`` counts it.)"""
    found = 0
    for bracket in (b"[", b"{"):
        at = text.find(bracket)
        while at >= 0:
            found += 1
            if found > DEEPEST:
                return True
            at = text.find(bracket, at + 1)
    return False


def _is_too_deep(tree: Any, text: bytes) -> bool:
    """Whether a tree has more than `DEEPEST` levels. Most texts have too few brackets for that."""
    if not isinstance(tree, (dict, list)) or not _has_many_brackets(text):
        return False
    # Some of the brackets may be in strings, so count the levels of the tree.
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
"""The first bytes of msgpack's extension types, which cannot be unpacked without a hook."""


def _unpack(data: bytes, thorough: bool) -> tuple[Any, bool]:
    """Convert msgpack to a tree of JSON types.

    Args:
        data: the serializer's msgpack.
        thorough: whether to visit every node. If not, nodes are visited only if the data may hold
            floats or extensions, so bytes and keys that are not strings can remain: orjson refuses
            them.

    Returns:
        The tree, and whether it may have tags.
    """
    # A msgpack float begins with 0xCB. Other data may contain this byte too: then the nodes are
    # visited in vain.
    if not thorough and data[:1] not in _EXTENSIONS and b"\xcb" not in data:
        try:
            return ormsgpack.unpackb(data, option=_PACKING), False
        except ValueError:  # It has extensions.
            pass
    tagged = thorough

    def to_tag(code: int, payload: bytes) -> _Tag:
        nonlocal tagged
        tagged = True
        return _tag_of_extension(code, payload, thorough)

    tree = ormsgpack.unpackb(data, ext_hook=to_tag, option=_PACKING)
    marked = mark(tree)
    return marked, tagged or marked is not tree


_ARGUMENTS = {0: "arg", 1: "args", 2: "kwargs", 4: "fields_v1", 5: "fields"}
"""JsonPlusSerializer's extension codes, each with the tag's key for its content."""

_CODES = {key: code for code, key in _ARGUMENTS.items()}
_METHOD = 3
_VALIDATE = "model_validate_json"
_ONLY_VALIDATE = [_VALIDATE]


def _tag_of_extension(code: int, payload: bytes, thorough: bool) -> _Tag:
    """Convert a msgpack extension to a tag."""
    parts, nested = _unpack(payload, thorough)
    tag = _tag_of_class(code, parts) or _Tag({"$ext": code, "data": parts})
    if nested:
        tag["tagged"] = True
    return tag


def _tag_of_class(code: int, parts: Any) -> _Tag | None:
    """The ``$class`` tag of an extension; None if JsonPlusSerializer did not write it."""
    if type(parts) is not list or len(parts) < 3:
        return None
    module, name, content, *method = parts
    if type(module) is not str or type(name) is not str or "." in name:
        return None
    if code == 5:
        if method == _ONLY_VALIDATE:
            return _Tag({"$class": f"{module}.{name}", "fields": content})
    elif code == _METHOD:
        if len(method) == 1 and type(method[0]) is str:
            return _Tag({"$class": f"{module}.{name}", "method": method[0], "arg": content})
    elif code in _ARGUMENTS and not method:
        return _Tag({"$class": f"{module}.{name}", _ARGUMENTS[code]: content})
    return None


def mark(node: Any) -> Any:
    """Replace everything that JSON cannot express with tags.

    Returns:
        The same object if it needs no tag.
    """
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
            # An embedding. A tag for each number would take ten times the bytes.
            return {"$msgpack": b64encode(ormsgpack.packb(node)).decode()}
        return items
    if kind is tuple:  # A msgpack array that is a key of a map.
        return [mark(item) for item in node]
    if kind is float:
        return node if is_kept(node) else {"$float": repr(node)}
    if kind is bytes:
        return {"$bytes": b64encode(node).decode()}
    return node


def is_kept(number: float) -> bool:
    """Whether RedisJSON returns this float unchanged.

    RedisJSON reads a decimal as an integer multiplied or divided by a power of ten. Floats hold
    integers up to 2**53 and powers of ten up to 10**22 exactly, so the result is exact too.
    Beyond these limits the last bit may change.
    """
    if not isfinite(number):
        return False
    digits, _, exponent = repr(number).partition("e")
    whole, _, fraction = digits.partition(".")
    return abs(int(whole + fraction)) <= 2**53 and -22 <= int(exponent or 0) - len(fraction) <= 22


# ---- JSON -> msgpack


def unmark(node: Any) -> Any:
    """Replace the tags of `mark` with the values that they stand for.

    Tags of extensions become ``ormsgpack.Ext``, so the result can be packed.
    """
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
        raise ValueError(f"$class is {name!r:.50}, without a module")
    if "fields" in tag:
        code, parts = 5, [module, name, tag["fields"], _VALIDATE]
    elif "method" in tag:
        code, parts = _METHOD, [module, name, tag["arg"], tag["method"]]
    else:
        key = list(tag)[1]
        code, parts = _CODES[key], [module, name, tag[key]]
    if "tagged" in tag:
        parts[2] = unmark(parts[2])
    return ormsgpack.Ext(code, ormsgpack.packb(parts, option=_PACKING))


def _unmark_extension(tag: dict[str, Any]) -> ormsgpack.Ext:
    data = unmark(tag["data"]) if "tagged" in tag else tag["data"]
    return ormsgpack.Ext(tag["$ext"], ormsgpack.packb(data, option=_PACKING))


def _as_key(node: Any) -> Any:
    """A list as a tuple, which can be a key of a dict."""
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
"""The first key of a tag, and the function that reads the tag."""


# ---- lists


def split(data: bytes) -> list[bytes] | None:
    """The items of a list that the serializer wrote; None if the data is not a list."""
    try:
        tree = ormsgpack.unpackb(data, ext_hook=ormsgpack.Ext, option=_PACKING)
        if type(tree) is not list:
            return None
        items = [ormsgpack.packb(item, option=_PACKING) for item in tree]
    except (ValueError, TypeError):
        return None
    return items if join(items) == data else None


def join(items: Sequence[bytes]) -> bytes:
    """The list of these items, as the serializer would have written it."""
    return list_head(len(items)) + b"".join(items)


def list_head(count: int) -> bytes:
    """How msgpack begins a list of so many items."""
    return ormsgpack.packb([None] * count)[: -count or None]


def length_and_start(data: bytes) -> tuple[int, int]:
    """How many items a msgpack list says that it has, and where they begin; 0, 0 for no list."""
    match data[:1]:
        case b"\xdc":
            return int.from_bytes(data[1:3], "big"), 3
        case b"\xdd":
            return int.from_bytes(data[1:5], "big"), 5
    return (data[0] & 0x0F, 1) if data and data[0] & 0xF0 == 0x90 else (0, 0)


def size_of_items(data: bytes) -> int:
    """How many bytes at the end of a list that the serializer wrote are its items."""
    return len(data) - length_and_start(data)[1]


def encode_item(item: bytes) -> bytes:
    """The JSON text of an item of a log: an object of its form and content."""
    _, form, content = encode("msgpack", item)
    quote = b'"' if form == "base64" else b""
    return b'{"%s":%s%s%s}' % (form.encode(), quote, content, quote)


def decode_items(items: Iterable[Any]) -> list[bytes]:
    """The serializer's bytes of items of a log.

    Raises:
        ValueError: if one is not an item.
    """
    found: list[bytes] = []
    for item in items:
        if type(item) is not dict or len(item) != 1:
            raise ValueError("one of its items is not an object with one member")
        [(form, content)] = item.items()
        found.append(pack(form, content))
    return found

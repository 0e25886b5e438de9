"""Chat messages -> message documents, which the message index searches.

A saver with ``message_search`` writes one document for each new message of a checkpoint. It finds
messages in stored values (`json_codec.py`), and creates no objects. A message that is not readable
there, because it is encrypted for example, has no document.
"""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from langgraph_redis_json.search import words
from langgraph_redis_json.storage import documents, keys
from langgraph_redis_json.storage.cache import hash_of
from langgraph_redis_json.storage.json_codec import Encoded
from langgraph_redis_json.storage.keys import CheckpointIdentity


class MessageSearch(NamedTuple):
    """The argument ``message_search=`` of a saver.

    Attributes:
        language: of most messages.
        tool_calls: whether the names and arguments of called tools can be searched too.
    """

    language: str = words.DEFAULT_LANGUAGE
    tool_calls: bool = False

    @property
    def level(self) -> int:
        """The member ``searchable`` of a checkpoint all of whose messages have documents: 2 if
        these have tool calls, else 1."""
        return 2 if self.tool_calls else 1


MEMBERS = {"content", "type", "additional_kwargs", "response_metadata"}
"""The fields that all messages of LangChain have, also those of a user's subclass."""

_A_MEMBER = b'"additional_kwargs":'


def in_tree(tree: Any) -> Iterable[Mapping[str, Any]]:
    """The fields of the messages in the content of a stored value: a message, a list with messages,
    or a DeltaChannel's snapshot of either."""
    if isinstance(tree, dict) and "$ext" in tree:
        tree = tree.get("data")
    for node in tree if isinstance(tree, list) else [tree]:
        fields = node.get("fields") if isinstance(node, dict) and "$class" in node else None
        if isinstance(fields, dict) and fields.keys() >= MEMBERS:
            yield fields


def entry_of(fields: Mapping[str, Any]) -> str:
    """The entry of a message's document. A message without an id is known by its role and text."""
    if id_ := id_of(fields):
        return keys.message_entry("id", id_)
    return keys.message_entry("text", f"{role_of(fields)}\0{text_of(fields)}")


def build(
    fields: Mapping[str, Any],
    identity: CheckpointIdentity,
    created_at: Mapping[str, int],
    settings: MessageSearch,
) -> bytes:
    """The document of a message.

    The members before "thread_id" change when the message is edited; the others say where it was
    first, and store.lua leaves them as they are.

    Args:
        fields: of the message.
        identity: the checkpoint that has it.
        created_at: the member of that name of the checkpoint's document; empty if there is none.
        settings: the saver's.
    """
    text = text_of(fields)
    members: dict[str, Any] = {"format": documents.FORMAT, "role": role_of(fields), "text": text}
    others = words.missing(text)
    if settings.tool_calls and (calls := calls_of(fields)):
        members["tool_calls"] = calls
        others = " ".join(filter(None, (others, words.missing(calls))))
    if others:
        members["words"] = others
    if settings.language != words.DEFAULT_LANGUAGE:
        members["language"] = settings.language
    members["thread_id"] = identity.thread_id
    members["tokens"] = keys.thread_token(identity.thread_id)
    if id_ := id_of(fields):
        members["message_id"] = id_
    members["checkpoint_ns"] = identity.checkpoint_ns
    members["checkpoint_id"] = identity.checkpoint_id
    return orjson.dumps({**members, **created_at})


def id_of(fields: Mapping[str, Any]) -> str | None:
    """The id of a message; None if it has none. (The index refuses ids that are not text.)"""
    id_ = fields.get("id")
    return id_ if isinstance(id_, str) and id_ else None


def role_of(fields: Mapping[str, Any]) -> str:
    """human, ai, tool, system …, or the role of a ChatMessage."""
    kind = str(fields["type"]).removesuffix("MessageChunk").lower()
    return str(fields.get("role") or kind) if kind == "chat" else kind


def text_of(fields: Mapping[str, Any]) -> str:
    """What a message says: its text, or the texts of its content blocks, one a line."""
    content = fields["content"]
    blocks = content if isinstance(content, list) else [content]
    texts = [block.get("text") if isinstance(block, dict) else block for block in blocks]
    return "\n".join(text for text in texts if isinstance(text, str))


def calls_of(fields: Mapping[str, Any]) -> str:
    """The names of the tools that a message calls, and the arguments."""
    calls = fields.get("tool_calls")
    called = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return "\n".join(" ".join(_leaves([call.get("name"), call.get("args")])) for call in called)


def _leaves(node: Any) -> Iterable[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from _leaves(value)
    elif isinstance(node, list):
        for item in node:
            yield from _leaves(item)
    elif isinstance(node, (str, int, float)) and not isinstance(node, bool):
        yield str(node)


@dataclass
class NewMessages:
    """The messages of a put that may have no documents yet.

    Attributes:
        identity: the checkpoint that is put.
        created_at: as for `build`.
        settings: the saver's.
        known: whether all messages in the cached channels have documents.
        documents: entry -> document.
        dropped: how many messages the cached channels have that the new ones lack.
    """

    identity: CheckpointIdentity
    created_at: Mapping[str, int]
    settings: MessageSearch
    known: bool
    documents: dict[str, bytes] = field(default_factory=dict)
    dropped: int = 0

    def add_items(self, items: Iterable[bytes]) -> None:
        """Add the messages among items of a log, in the form of `json_codec.encode_item`."""
        for item in items:
            if _A_MEMBER in item and item.startswith(b'{"tagged":'):
                self._add(in_tree(orjson.loads(item)["tagged"]))

    def add_value(self, value: Encoded, known: "array[int]") -> "array[int]":
        """Add the messages in a stored value.

        Args:
            value: the stored value.
            known: the hashes of the messages in the cached value.

        Returns:
            The hashes of its messages.
        """
        hashes = array("q")
        old = {*known} if self.known else set()
        if value.form == "tagged" and _A_MEMBER in value.content:
            for fields in in_tree(orjson.loads(value.content)):
                hashes.append(hash_of(orjson.dumps(fields)))
                if hashes[-1] not in old:
                    self._add([fields])
        self.dropped += len(old.difference(hashes))
        return hashes

    def _add(self, found: Iterable[Mapping[str, Any]]) -> None:
        for fields in found:
            self.documents[entry_of(fields)] = build(
                fields, self.identity, self.created_at, self.settings
            )

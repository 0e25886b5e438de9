"""Redis's replies as Python values.

This is the one place that knows how replies differ: RESP2 and RESP3, with and without
``decode_responses``.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple


def text(reply: Any) -> str:
    """A string reply as text."""
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def pairs(reply: Iterable[Any]) -> Iterable[tuple[Any, Any]]:
    """``[a, 1, b, 2]`` as ``(a, 1), (b, 2)``."""
    items = iter(reply)
    return zip(items, items, strict=True)


def mapping(reply: Any) -> dict[str, Any]:
    """A map reply, which RESP2 sends as a flat list."""
    members = reply.items() if isinstance(reply, dict) else pairs(reply)
    return {text(key): value for key, value in members}


def member(reply: Any, name: str) -> Any:
    """One member of a map reply."""
    if isinstance(reply, dict):
        return reply[name] if name in reply else reply[name.encode()]
    names = reply[::2]
    at = names.index(name if name in names else name.encode())
    return reply[2 * at + 1]


def indexed_share(info: Any) -> float:
    """How much an index has indexed by its ``FT.INFO``: see `IndexInfo.share`."""
    share = float(member(info, "percent_indexed"))
    # The server reports 1 before it begins.
    return min(share, 0.99) if int(member(info, "indexing")) else 1.0


def search_keys(reply: Any) -> list[str]:
    """The keys that ``FT.SEARCH … NOCONTENT`` found."""
    if isinstance(reply, dict):
        return [text(mapping(row)["id"]) for row in mapping(reply)["results"]]
    return list(map(text, reply[1:]))


def search_page(reply: Any) -> tuple[list[dict[str, str]], int]:
    """One page of ``FT.AGGREGATE … WITHCURSOR``: the fields of each row, and the cursor of the next
    page, 0 after the last one."""
    page, cursor = reply
    if isinstance(page, dict):
        rows = [mapping(row)["extra_attributes"] for row in mapping(page)["results"]]
    else:
        rows = page[1:]
    # A row without fields is a document that was deleted meanwhile.
    found = [{key: text(value) for key, value in mapping(row).items()} for row in rows if row]
    return found, cursor


def search_documents(reply: Any) -> list[tuple[str, bytes | None]]:
    """The keys and documents that ``FT.SEARCH … RETURN 1 $`` found; None for a document that was
    deleted meanwhile."""
    if isinstance(reply, dict):
        rows = [mapping(row) for row in mapping(reply)["results"]]
        found = [(row["id"], row.get("extra_attributes")) for row in rows]
    else:
        found = list(pairs(reply[1:]))
    return [
        (text(key), text(mapping(fields)["$"]).encode() if fields else None)
        for key, fields in found
    ]


FLAGS = {"CASESENSITIVE", "NOINDEX", "NOSTEM", "SORTABLE", "WITHSUFFIXTRIE"}
"""Options of a field that every server reports."""


class FieldInfo(NamedTuple):
    """One field of an index, as ``FT.CREATE`` and ``FT.INFO`` have it."""

    path: str
    kind: str
    options: tuple[str, ...]

    def is_like(self, other: "FieldInfo") -> bool:
        """Whether both are the same in everything that every server reports."""
        return bool(self._compared() == other._compared())

    def _compared(self) -> Any:
        weight = float(self._value("WEIGHT") or 1)
        return (
            self.path,
            self.kind,
            self._value("SEPARATOR"),
            weight,
            FLAGS.intersection(self.options),
        )

    def _value(self, option: str) -> str | None:
        if option not in self.options:
            return None
        return self.options[self.options.index(option) + 1]


class IndexInfo(NamedTuple):
    """The reply to ``FT.INFO``.

    Attributes:
        name: the index's own name, even if the command named an alias.
        prefixes: of the keys that it indexes.
        filter: which of these keys it indexes; "" for all.
        fields: name -> field.
        share: how much is indexed, from 0 to 1; less than 1 while the server indexes documents
            that are older than the index.
        failures: how many documents it has ever refused.
        last_failure: why it refused the last one.
        last_key: the key of the last one.
    """

    name: str
    prefixes: list[str]
    filter: str
    fields: dict[str, FieldInfo]
    share: float
    failures: int
    last_failure: str
    last_key: str


def index_info(reply: Any) -> IndexInfo:
    """Read the reply to ``FT.INFO``."""
    info = mapping(reply)
    definition = mapping(info["index_definition"])
    errors = mapping(info["Index Errors"])
    return IndexInfo(
        text(info["index_name"]),
        list(map(text, definition["prefixes"])),
        text(definition.get("filter", "")),
        dict(map(_field_info, info["attributes"])),
        indexed_share(reply),
        int(errors["indexing failures"]),
        text(errors["last indexing error"]),
        text(errors["last indexing error key"]),
    )


def document_count(reply: Any) -> int:
    """How many documents an index has, from the reply to ``FT.INFO``."""
    return int(float(text(mapping(reply)["num_docs"])))


def _field_info(attribute: Any) -> tuple[str, FieldInfo]:
    if isinstance(attribute, dict):
        members = mapping(attribute)
        flags = members.pop("flags")
        words = [part for member in members.items() for part in member] + list(flags)
    else:
        words = attribute
    _, path, _, name, _, kind, *options = map(text, words)
    return name, FieldInfo(path, kind, tuple(options))


class SearchNodes(NamedTuple):
    """The reply to ``SEARCH.CLUSTERINFO``: the nodes that a search on this node asks.

    Attributes:
        shards: how many searches it sends: one for each range of slots, so several for a node that
            has several ranges (before Redis 8.4).
        ids: of the nodes.
        copies: how many searches it sends to one node, at most: so often a row can come.
    """

    shards: int
    ids: set[str]
    copies: int


def search_nodes(reply: Any) -> SearchNodes:
    """Read the reply to ``SEARCH.CLUSTERINFO``."""
    if isinstance(reply, dict):
        info = mapping(reply)
        # A node that has not searched yet knows none.
        ranges = [mapping(each)["nodes"] for each in info["slots"] or ()]
        primaries = [
            text(members["id"])
            for nodes in ranges
            for members in map(mapping, nodes)
            if text(members["role"]).startswith("master")
        ]
    else:
        at = list(map(_text_or_none, reply)).index("slots")
        info = mapping(reply[:at])
        primaries = [
            text(node[0])
            for _, _, *nodes in filter(None, reply[at + 1 :])
            for node in nodes
            if text(node[3]).startswith("master")
        ]
    copies = max(Counter(primaries).values(), default=1)
    return SearchNodes(int(info["num_partitions"]), set(primaries), copies)


def _text_or_none(reply: Any) -> str | None:
    return text(reply) if isinstance(reply, (str, bytes)) else None


def slot_owners(reply: Any) -> set[str]:
    """The ids of the nodes that own slots, by ``CLUSTER SLOTS``."""
    return {text(primary[2]) for _, _, primary, *_ in reply}


def profiled_shards(reply: Any) -> int:
    """How many shards have answered, by ``FT.PROFILE`` on a cluster."""
    profile = mapping(reply)["Profile"] if isinstance(reply, dict) else reply[1]
    return len(member(profile, "Shards"))

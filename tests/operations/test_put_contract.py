"""What put stores is the same in every process, for checkpoints of any tool."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from tests.support.checkpoints import BIG, checkpoint, config, each_saver, get_tuple, ids, put
from tests.support.clients import Client, MakeSaver, Saver

VALUES = {"small": ["old", "new"], "large": [f"old {BIG}", f"new {BIG}"]}


@each_saver
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("parent", [None, "1"])
@pytest.mark.parametrize("knows", [True, False], ids=["same saver", "another saver"])
def test_an_unchanged_version_keeps_its_value(
    make_saver: MakeSaver, client: Client, kind: str, parent: str | None, knows: bool
) -> None:
    old, new = VALUES[kind]
    writer = make_saver(client)
    put(writer, "1", {"value": old, "other": 1}, {"value": 1, "other": 1})
    saver = writer if knows else make_saver(client, setup=False)
    made = checkpoint("2", {"value": new, "other": 2}, {"value": 1, "other": 2})
    saver.put(config("thread", "", parent), made, {}, {"other": 2})
    expected = {"value": old, "other": 2}
    for reader in (writer, saver, make_saver(client, setup=False)):
        assert get_tuple(reader, config()).checkpoint["channel_values"] == expected


@each_saver
def test_the_first_checkpoint_stores_all_values(saver: Saver) -> None:
    made = checkpoint("1", {"value": "given", "large": BIG})
    saver.put(config(), made, {}, {})
    found = get_tuple(saver, config()).checkpoint["channel_values"]
    assert found == {"value": "given", "large": BIG}


ABSENT = object()


@each_saver
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v", ABSENT),
        ("v", None),
        ("v", "4"),
        ("ts", ABSENT),
        ("ts", None),
        ("ts", 1.5),
        ("ts", "yesterday"),
    ],
)
def test_a_checkpoint_of_another_tool_comes_back(saver: Saver, key: str, value: Any) -> None:
    made: Any = checkpoint("1", {"a": 1})
    made.pop(key)
    if value is not ABSENT:
        made[key] = value
    expected = InMemorySaver()
    for each in (saver, expected):
        each.put(config(), made, {"source": "loop", "step": 1}, made["channel_versions"])
    found, other = saver.get_tuple(config()), expected.get_tuple(config())
    assert found is not None
    assert other is not None
    assert found.checkpoint == other.checkpoint
    assert ids(saver.list(None)) == ["1"]
    assert [row.thread_id for row in saver.threads()] == ["thread"]


@each_saver
@pytest.mark.parametrize("kind", ["blob", "log"])
def test_metadata_like_references_is_only_metadata(
    saver: Saver, key_prefix: str, kind: str
) -> None:
    """Neither read as references nor searched for."""
    key = f"{key_prefix}{kind}:{{thread}}::a:b"
    like: Any = {"blob": key} if kind == "blob" else {"log": [[key, 0, 10_000_000]]}
    metadata = {"channel_values": {"a": like}, "list": [like, [key, 0, 1]] * 100}
    put(saver, "1", {"real": BIG}, metadata=metadata)
    found = get_tuple(saver, config())
    assert found.metadata == metadata
    assert found.checkpoint["channel_values"] == {"real": BIG}
    saver.prune(["thread"])
    saver.copy_thread("thread", "copy")
    assert get_tuple(saver, config("copy")).checkpoint["channel_values"] == {"real": BIG}

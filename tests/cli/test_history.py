"""history shows the tree of checkpoints, show one of them, diff two."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.cli import history
from langgraph_redis_json.cli.reading import StoredCheckpoint
from langgraph_redis_json.storage.keys import CheckpointIdentity, thread_keys
from tests.support.checkpoints import put
from tests.support.command_line import Cli, Terminal, environment
from tests.support.strategies import examples


def test_the_tree_of_a_thread(cli: Cli) -> None:
    lines = cli("history", "order-7").lines
    marks = [line[:3] for line in lines[1:]]
    assert marks == ["○ 1", "○ 1", "○ 1", "○ 1", "├─○", "   ", "│ ○", "○ 1", "● 1", "   ", "   "]
    text = "\n".join(lines)
    assert "+1, customer new, parcel new, colour new, due new, labels new, notes +1" in text
    assert "messages +2" in lines[4]
    assert lines[6].strip() == "asks: Refund 30 euros? (answered)"
    assert lines[8].split()[2:4] == ["3", "update"]
    assert lines[8].endswith("messages changed")
    assert [line.strip() for line in lines[10:]] == ["asks: Refund 30 euros?", "next: refund"]


def test_json_has_one_checkpoint_a_line(cli: Cli) -> None:
    rows = cli("history", "order-7", "--json").rows
    assert [row["step"] for row in rows] == [-1, 0, 1, 2, 3, 4, 3, 4]
    assert [row["depth"] for row in rows] == [0, 0, 0, 0, 1, 1, 0, 0]
    assert rows[4]["parent_checkpoint_id"] == rows[6]["parent_checkpoint_id"]
    assert rows[4]["interrupts"] == rows[7]["interrupts"] == ["Refund 30 euros?"]
    assert rows[7]["next"] == ["refund"]
    assert rows[2]["changes"]["messages"] == "+1"
    assert rows[0]["metadata"]["user"] == "ada"
    [*_, failed] = cli("history", "order-8", "--json").rows
    assert failed["errors"] == ["ConnectionError('the depot does not answer')"]


def test_subgraphs_are_named(cli: Cli) -> None:
    *_, head, row = cli("history", "order-8").lines
    assert head.startswith("other namespaces: see --namespace")
    assert row.split() == ["depot", "3"]
    inner = cli("history", "order-8", "--namespace", "depot").lines
    assert len([line for line in inner if line[:2] in ("○ ", "● ")]) == 3
    assert inner[-1].split()[-1] == "3"


def test_the_newest_checkpoints_of_a_long_thread(cli: Cli) -> None:
    shown = cli("history", "long-1", "--limit", "3", "--json")
    assert [row["step"] for row in shown.rows] == [86, 87, 88]
    # What the first one changed is not known without its parent.
    assert [row["changes"] for row in shown.rows] == [{}, {"messages": "+1"}, {"messages": "+1"}]
    assert shown.err == "87 older checkpoints are not shown: see --limit.\n"
    assert len(cli("history", "long-1", "--limit", "0", "--json").rows) == 90


def test_ids_on_a_terminal_are_short_and_can_be_typed(talks_url: str, cli: Cli) -> None:
    terminal = Terminal(["history", "order-7"], environment(talks_url))
    assert terminal.wait() == 0
    lines = terminal.text.splitlines()
    assert all(len(line) <= 80 for line in lines)
    short = [line.split("○ ")[1].split()[0] for line in lines if "○ " in line]
    assert len(short) == len({*short}) == 7
    for one in short:
        assert 13 <= len(one) < 36
        assert (
            cli("show", "order-7", "--checkpoint", one, "--json")
            .rows[0]["checkpoint_id"]
            .startswith(one)
        )


@pytest.mark.parametrize("columns", [40, 59, 80])
def test_a_narrow_terminal_gets_everything(talks_url: str, cli: Cli, columns: int) -> None:
    terminal = Terminal(["history", "order-7"], environment(talks_url), columns)
    assert terminal.wait() == 0
    lines = terminal.text.splitlines()
    assert all(len(line) <= columns for line in lines)
    text = " ".join(terminal.text.split())
    for row in cli("history", "order-7", "--json").rows:
        assert row["checkpoint_id"][:13] in text
        for change in row["changes"].values():
            assert change in text
    assert text.count("asks: Refund 30 euros?") == 2
    assert text.endswith("next: refund")
    assert len(re.findall(r"-?\d (?:input|loop|update) 20\d\d-\d\d-\d\d \d\d:\d\d", text)) == 8
    # What a checkpoint's name does not begin is indented.
    begins = {line[:2] for line in lines[1:]}
    assert begins == {"○ ", "● ", "├─", "│ ", "  "}


def checkpoint(number: int, parent: int | None) -> StoredCheckpoint:
    identity = CheckpointIdentity("t", "", f"{number:03}")
    fields: dict[str, Any] = {"metadata": {}, "channel_values": {}, "checkpoint": "{}"}
    if parent is not None:
        fields["parent_checkpoint_id"] = f"{parent:03}"
    return StoredCheckpoint(identity, thread_keys("p:", "t"), fields)


@examples(100)
@given(st.lists(st.integers(-2, 30), max_size=25))
def test_a_tree_has_every_checkpoint_once_after_its_parent(parents: list[int]) -> None:
    """Also if parents are missing, or if somebody has made a circle of them."""
    found = [
        checkpoint(number, None if parent == -2 else parent)
        for number, parent in enumerate(parents)
    ]
    rows = [*history.tree(found)]
    ids = [row.checkpoint.checkpoint_id for row in rows]
    assert sorted(ids) == [one.checkpoint_id for one in found]
    for row in rows:
        parent = row.checkpoint.parent_id
        if parent in ids and parent < row.checkpoint.checkpoint_id:
            assert ids.index(parent) < ids.index(row.checkpoint.checkpoint_id)
    if rows:
        assert rows[-1].checkpoint.checkpoint_id == max(ids)
        assert rows[-1].depth == 0


# ---- show


def test_a_checkpoint_with_values_of_all_kinds(cli: Cli) -> None:
    shown = cli("show", "order-7").out
    for line in (
        "customer  Customer    Customer(name='Ada', vip=True, since='2020-01-02')",
        "parcel    Parcel      Parcel(grams=1200, price=0.30000000000000004)",
        "colour    Colour      Colour('red')",
        "due       text        '2026-01-09T00:00:00+00:00'",
        "labels    list of 1   ['fragile']",
        "messages  5 messages  … ai: It is in Faro.",
        "metadata score    0.9",
        "asks           refund  Refund 30 euros?",
    ):
        assert f"\n{line}" in shown
    [row] = cli("show", "order-7", "--json").rows
    assert row["channel_values"]["customer"] == {
        "$class": "shop.Customer",
        "name": "Ada",
        "vip": True,
        "since": "2020-01-02",
    }
    assert row["pending_writes"][0]["channel"] == "__interrupt__"
    assert row["next"] == ["refund"]


def test_one_channel_in_full(cli: Cli) -> None:
    assert cli("show", "order-7", "labels").out == '[\n  "fragile"\n]\n'
    assert cli("show", "order-7", "due").out == "2026-01-09T00:00:00+00:00\n"
    [row] = cli("show", "order-7", "parcel", "--json").rows
    assert row["value"] == {"$class": "shop.Parcel", "grams": 1200, "price": 0.30000000000000004}
    said = cli("show", "order-7", "parcels", code=1).err
    assert 'has no channel "parcels": did you mean "parcel"' in said
    assert "; it has messages, customer, parcel" in cli("show", "order-7", "xyz", code=1).err


def test_the_key_of_a_checkpoint_opens_its_document(cli: Cli, talks: Any) -> None:
    [row] = [line for line in cli("show", "order:9").lines if line.startswith("key ")]
    assert '"thread_id":"order:9"' in talks.execute_command("JSON.GET", row.split()[1])


# ---- diff


@pytest.fixture
def ids(cli: Cli) -> dict[str, str]:
    """The checkpoints of order-7 by depth and step."""
    rows = cli("history", "order-7", "--json").rows
    return {f"{row['depth']}/{row['step']}": row["checkpoint_id"] for row in rows}


def test_what_a_fork_changed(cli: Cli, ids: dict[str, str]) -> None:
    lines = cli("diff", "order-7", ids["1/4"], ids["0/4"]).lines
    assert [line.split()[0] for line in lines[:2]] == ["-", "+"]
    assert ids["1/4"] in lines[0]
    assert lines[3] == "messages"
    assert [line[:28] for line in lines[4:]] == [
        "  - ai m6: Refund: yes.",
        "  - tool m3: in Porto since "[:28],
        "  + tool m3: in Faro since Monday"[:28],
        "  - ai m5: It is in Porto. I",
        "  + ai m5: It is in Faro. It",
    ]
    changes = cli("diff", "order-7", ids["1/4"], ids["0/4"], "--json").rows
    assert sorted((c["kind"], (c["before"] or c["after"])["id"]) for c in changes) == [
        ("changed", "m3"),
        ("changed", "m5"),
        ("removed", "m6"),
    ]


def test_what_a_step_added(cli: Cli, ids: dict[str, str]) -> None:
    changes = cli("diff", "order-7", ids["0/0"], ids["0/1"], "--json").rows
    assert {(one["channel"], one["kind"]) for one in changes} == {
        (name, "added")
        for name in ("messages", "customer", "parcel", "colour", "due", "labels", "notes")
    }
    back = cli("diff", "order-7", ids["0/1"], ids["0/0"], "--json").rows
    assert {one["kind"] for one in back} == {"removed"}
    text = cli("diff", "order-7", ids["0/0"], ids["0/1"]).out
    assert "\ncustomer\n  + Customer(name='Ada', vip=True, since='2020-01-02')\n" in text


def test_values_that_differ_inside(own: RedisSaver, own_cli: Cli) -> None:
    big = [{"n": n, "text": "x" * 100} for n in range(20)]
    put(own, "1", {"d": {"a": 1, "b": [1]}, "l": big, "t": "a\nb\nc", "same": 1, "n": 1.5})
    changed = [*big[:5], {"n": "new"}, *big[6:]]
    put(own, "2", {"d": {"a": 2, "c": 3}, "l": changed, "t": "a\nX\nc", "same": 1, "n": "1.5"})
    put(own, "3", {"d": {"a": 2, "c": 3}, "l": changed, "t": "a\nX\nc", "same": 1, "n": "1.5"})
    lines = own_cli("diff", "thread", "1", "2").lines
    assert lines[2:] == [
        *("", "d", "  - a: 1", "  + a: 2", "  - b: [1]", "  + c: 3"),
        *("", "l", f"  - {{'n': 5, 'text': '{'x' * 100}'}}", "  + {'n': 'new'}"),
        *("", "t", "    a", "  - b", "  + X", "    c"),
        *("", "n", "  - 1.5", "  + '1.5'"),
    ]
    assert own_cli("diff", "thread", "2", "3").lines[2:] == ["", "No channel differs."]
    assert own_cli("diff", "thread", "2", "2", code=1).err == ("2 and 2 are the same checkpoint.\n")
    assert own_cli("diff", "thread", "1", "4", code=1).err == (
        'The thread has no checkpoint "4": the newest one is 3.\n'
    )

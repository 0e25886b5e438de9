"""messages shows a conversation as people read it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langgraph_redis_json import RedisSaver
from tests.support.checkpoints import put
from tests.support.command_line import Cli, Terminal, environment
from tests.support.conversation import LONG, chat, config


def test_a_conversation_as_people_read_it(cli: Cli) -> None:
    shown = cli("messages", "order-7")
    told = LONG.strip()
    assert shown.lines[:12] == [
        "human  m1",
        "  Where is my parcel? Here is a photo.",
        "  [image: png, 3,300 bytes]",
        "",
        "ai  m2",
        "  I look it up.",
        "  track(parcel='A-12')    →  in Faro since Monday",
        "  weather(city='Lisbon')  →  failed: no answer",
        "",
        "ai  m5",
        "  It is in Faro.",
        "",
    ]
    begin, note = shown.lines[12].split(" … ")
    assert told.startswith(begin.strip())
    assert re.fullmatch(r"1,\d{3} more characters: see --full", note)
    assert shown.lines[13:] == ["", "waits for an answer to: Refund 30 euros?"]
    assert f"  {told}" in cli("messages", "order-7", "--full").lines


def test_the_state_of_a_thread_follows(cli: Cli) -> None:
    assert cli("messages", "order-8").lines[-1] == (
        "failed: ConnectionError('the depot does not answer')"
    )
    assert cli("messages", "long-1").lines[-2:] == ["  Answer 29.", ""]


def test_an_older_checkpoint_has_its_own_conversation(cli: Cli) -> None:
    rows = cli("history", "order-7", "--json").rows
    refunded = next(row["checkpoint_id"] for row in rows if row["depth"] and row["step"] == 4)
    texts = cli("messages", "order-7", "--checkpoint", refunded).out
    assert "in Porto since Monday" in texts
    assert "Refund: yes." in texts
    assert "waits for" not in texts
    asked = next(row["checkpoint_id"] for row in rows if row["depth"] and row["step"] == 3)
    last = cli("messages", "order-7", "--checkpoint", asked).lines[-1]
    assert last == "asked: Refund 30 euros? (answered)"


def test_a_subgraph_has_a_conversation(cli: Cli) -> None:
    rows = cli("messages", "order-8", "--namespace", "depot", "--json").rows
    assert [row["text"] for row in rows] == ["Please ask the depot.", "The depot was asked."]


def test_json_has_one_message_a_line(cli: Cli) -> None:
    rows = cli("messages", "order-7", "--json").rows
    assert [row["role"] for row in rows] == ["human", "ai", "tool", "tool", "ai"]
    assert rows[1]["tool_calls"] == [
        {"id": "call-1", "name": "track", "args": {"parcel": "A-12"}},
        {"id": "call-2", "name": "weather", "args": {"city": "Lisbon"}},
    ]
    assert [row["tool_call_id"] for row in rows[2:4]] == ["call-1", "call-2"]
    assert [row["is_error"] for row in rows[2:4]] == [False, True]
    assert rows[0]["blocks"][0]["type"] == "image_url"


def test_the_last_messages(cli: Cli) -> None:
    rows = cli("messages", "long-1", "--last", "3", "--json").rows
    assert [row["text"] for row in rows] == ["Answer 28.", "Question 29?", "Answer 29."]


def test_the_result_of_a_call_that_is_not_shown_stands_alone(cli: Cli) -> None:
    lines = cli("messages", "order-7", "--last", "2").lines
    assert lines[:3] == ["tool weather failed  m4", "  no answer", ""]


def test_a_text_cannot_command_the_terminal(cli: Cli, talks_url: str) -> None:
    assert "  Where is my ␛[31mparcel␛[0m? 包裹在哪里" in cli("messages", "order:9").lines
    terminal = Terminal(["messages", "order:9"], environment(talks_url))
    assert terminal.wait() == 0
    assert "Where is my ␛[31mparcel␛[0m?" in terminal.text


@pytest.mark.parametrize("columns", [80, 40])
def test_a_terminal_gets_what_fits(talks_url: str, columns: int) -> None:
    terminal = Terminal(["messages", "order-7"], environment(talks_url), columns)
    assert terminal.wait() == 0
    assert all(len(line) <= columns for line in terminal.text.splitlines())
    # Calls and results are side by side.
    assert re.search(r"track\(.*→  in Faro", terminal.text)


def test_messages_of_other_kinds(own: RedisSaver, own_cli: Cli) -> None:
    """Dicts, and messages in a channel of another name, and a repeated id of a call."""
    call = {"name": "t", "args": {}, "id": "c"}
    talk: list[Any] = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
        AIMessage("", tool_calls=[call]),
        ToolMessage("first", tool_call_id="c"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("second", tool_call_id="c"),
        AIMessage("", tool_calls=[{**call, "id": "d"}]),
    ]
    put(own, "1", {"talk": talk, "number": 7})
    shown = [line for line in own_cli("messages", "thread").lines if line]
    assert shown == [
        *("human", "  Hello", "ai", "  Hi"),
        *("ai", "  t()  →  first", "ai", "  t()  →  second", "ai", "  t()  →  no result yet"),
    ]
    assert own_cli("messages", "thread", "--channel", "number").err == (
        "The checkpoint 1 has no messages.\n"
    )
    said = own_cli("messages", "thread", "--channel", "tall", code=1).err
    assert said == 'The checkpoint 1 has no channel "tall": did you mean "talk"?\n'


def test_what_is_unknown_has_a_neighbour(cli: Cli) -> None:
    newest = cli("show", "order-7", "--json").rows[0]["checkpoint_id"]
    unknown = {
        ("order-77",): 'There is no thread "order-77": did you mean "order-7"',
        ("ORDER-7",): 'There is no thread "ORDER-7": did you mean "order-7"',
        ("no such thing",): 'There is no thread "no such thing".\n',
        ("order-8", "--namespace", "depo"): 'no namespace "depo": did you mean "depot"?',
        ("order-7", "--checkpoint", "zzz"): f'no checkpoint "zzz": the newest one is {newest}.\n',
        ("order-8", "--namespace", "x"): 'The thread has no namespace "x": it has "depot".\n',
        ("order-7", "--namespace", "x"): 'no namespace "x": it has only the root graph.\n',
    }
    for arguments, said in unknown.items():
        shown = cli("messages", *arguments, code=1)
        assert shown.out == ""
        assert said in shown.err
    first, *_ = cli("history", "order-7", "--json").rows
    typo = f"{first['checkpoint_id'][:-1]}x"
    said = cli("messages", "order-7", "--checkpoint", typo, code=1).err
    assert f'did you mean "{first["checkpoint_id"]}"' in said
    said = cli("messages", "order-7", "--checkpoint", first["checkpoint_id"][:6], code=1).err
    assert re.match(r'8 checkpoints begin with "\w+": ', said)
    assert first["checkpoint_id"] in said
    assert cli("messages", "order-7", "--checkpoint", first["checkpoint_id"][:-6]).err != ""


def test_follow_shows_new_messages_until_ctrl_c(
    own: RedisSaver, redis_url: str, key_prefix: str
) -> None:
    talk = chat(own)
    talk.invoke({"messages": [HumanMessage("First?", id="q0")]}, config("t"))
    terminal = Terminal(["messages", "t", "--follow"], environment(redis_url, key_prefix))
    terminal.wait_for("Answer 0.")
    talk.invoke({"messages": [HumanMessage("Second?", id="q1")]}, config("t"))
    terminal.wait_for("Answer 1.")
    # An edited message is shown again.
    talk.update_state(config("t"), {"messages": [AIMessage("Better answer.", id="a1")]})
    terminal.wait_for("Better answer.")
    terminal.type("\x03")
    assert terminal.wait() == 0
    assert terminal.text.count("First?") == terminal.text.count("Second?") == 1
    assert "Traceback" not in terminal.text


def test_follow_ends_when_the_thread_is_deleted(
    own: RedisSaver, redis_url: str, key_prefix: str
) -> None:
    chat(own).invoke({"messages": [HumanMessage("First?", id="q0")]}, config("t"))
    terminal = Terminal(["messages", "t", "--follow"], environment(redis_url, key_prefix))
    terminal.wait_for("Answer 0.")
    own.delete_thread("t")
    assert terminal.wait() == 1
    assert 'There is no thread "t".' in terminal.text


def test_a_conversation_of_another_language_sorts_ids(talks: redis.Redis, cli: Cli) -> None:
    # Ids with a colon are typed as they are.
    assert [row["text"] for row in cli("messages", "order:9", "--json").rows][1] == "Answer 0."
    assert talks.exists("langgraph:contents:{order;.9}") == 1

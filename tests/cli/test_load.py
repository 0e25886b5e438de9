"""What is not JSON is shown as such, and --load lets a serializer read it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.cli.reading import items_of_chunk
from tests.support.checkpoints import put
from tests.support.command_line import Cli, environment, run_process

KEY = b"0123456789abcdef"


class Backwards(CipherProtocol):
    """A cipher that is not LangGraph's."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "backwards", plaintext[::-1]

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return ciphertext[::-1]


@pytest.fixture
def secret(redis_url: str, key_prefix: str) -> RedisSaver:
    """A thread whose state is encrypted."""
    serde = EncryptedSerializer.from_pycryptodome_aes(key=KEY)
    with RedisSaver(redis_url, key_prefix=key_prefix, serde=serde) as saver:
        saver.setup()
        talk = [HumanMessage("Hello", id="m1"), AIMessage("Secret " * 100, id="m2")]
        at = put(saver, "1", {"messages": talk, "code": 7, "none": None}, metadata={"user": "ada"})
        saver.put_writes(at, [("__interrupt__", [Interrupt("Tell it?", id="i")])], "task")
        put(saver, "0", {"messages": talk[:1], "code": 6}, metadata={"user": "ada"})
    return saver


def test_encrypted_values_are_named(secret: RedisSaver, own_cli: Cli) -> None:
    shown = own_cli("show", "thread")
    assert "code      not JSON  <msgpack+aes, 33 B, not readable without a serializer>" in shown.out
    assert "metadata user  ada" in shown.out
    assert "Secret" not in shown.out
    [row] = own_cli("show", "thread", "--json").rows
    assert row["channel_values"]["code"] == {"$opaque": "msgpack+aes", "bytes": 33}
    shown = own_cli("messages", "thread")
    assert shown.err.startswith("The channel messages is not JSON, but msgpack+aes of ")
    assert "pass --load MODULE to let a serializer read it." in shown.err
    assert re.search("messages +2\n", own_cli("stats").out)
    assert own_cli("threads").lines[1].split()[1] == "interrupted"


def test_the_key_in_the_environment(
    secret: RedisSaver, own_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGGRAPH_AES_KEY", KEY.decode())
    rows = own_cli("messages", "thread", "--load", "json", "--json").rows
    assert [row["text"] for row in rows] == ["Hello", "Secret " * 100]
    shown = own_cli("show", "thread", "--load", "json").out
    assert "code      number      7" in shown
    assert "Tell it?" in shown
    assert own_cli("show", "thread", "code", "--load", "json").out == "7\n"
    assert "ai: Secret" in own_cli("threads", "--load", "json").out
    changes = own_cli("diff", "thread", "0", "1", "--json", "--load", "json").rows
    assert {(one["channel"], one["kind"]) for one in changes} == {
        ("messages", "added"),
        ("code", "changed"),
        ("none", "added"),
    }
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "x" * 16)
    shown_ = own_cli("show", "thread", "code", "--load", "json")
    assert "A value of type msgpack+aes cannot be loaded" in shown_.err
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "short")
    assert (
        "LANGGRAPH_AES_KEY cannot be used"
        in own_cli("show", "thread", "--load", "json", code=2).err
    )


def test_the_key_of_another_cipher(
    redis_url: str, key_prefix: str, own_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    serde = EncryptedSerializer(Backwards())
    with RedisSaver(redis_url, key_prefix=key_prefix, serde=serde) as saver:
        saver.setup()
        put(saver, "1", {"messages": [HumanMessage("Secret " * 100, id="m")], "code": 7})
    monkeypatch.setenv("LANGGRAPH_AES_KEY", KEY.decode())
    shown = own_cli("messages", "thread", "--load", "json")
    why = "A value of type msgpack+backwards cannot be loaded: Unsupported cipher: backwards"
    assert why in shown.err


def test_a_long_encrypted_conversation(
    redis_url: str, key_prefix: str, own_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its list consists of chunks, and begins in the middle of one."""
    serde = EncryptedSerializer.from_pycryptodome_aes(key=KEY)
    talk = [HumanMessage(f"Message {number}", id=f"m{number}") for number in range(90)]
    with RedisSaver(redis_url, key_prefix=key_prefix, serde=serde) as saver:
        saver.setup()
        for length in range(10, 91):
            put(saver, f"{length}", {"messages": talk[max(0, length - 60) : length]})
    assert "<msgpack+aes, " in own_cli("show", "thread").out
    assert "The channel messages is not JSON" in own_cli("messages", "thread").err
    monkeypatch.setenv("LANGGRAPH_AES_KEY", KEY.decode())
    rows = own_cli("messages", "thread", "--load", "json", "--json").rows
    assert [row["text"] for row in rows] == [one.content for one in talk[30:]]
    assert "Message 89" in own_cli("threads", "--load", "json").out


def test_a_serializer_in_a_module(
    secret: RedisSaver, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(
        "from langgraph.checkpoint.serde.encrypted import EncryptedSerializer\n"
        f"serde = EncryptedSerializer.from_pycryptodome_aes(key={KEY!r})\n"
    )
    env = {**environment(redis_url, key_prefix), "PYTHONPATH": f"{tmp_path}"}
    done = run_process(["show", "thread", "code", "--load", "app:serde"], env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


class Basket:
    """A class that only pickle can store."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __repr__(self) -> str:
        return f"Basket({self.content!r})"


def test_pickles_run_code_only_if_loaded(
    redis_url: str, key_prefix: str, own_cli: Cli, tmp_path: Path
) -> None:
    serde = JsonPlusSerializer(pickle_fallback=True)
    with RedisSaver(redis_url, key_prefix=key_prefix, serde=serde) as saver:
        saver.setup()
        put(saver, "1", {"basket": Basket(["bread"]), "evil": Evil(f"{tmp_path / 'mark'}")})
    shown = own_cli("show", "thread").out
    assert "basket   not JSON  <pickle, " in shown
    assert not (tmp_path / "mark").exists()
    shown = own_cli("show", "thread", "--load", "json").out
    assert "Basket" in shown
    assert "bread" in shown
    assert (tmp_path / "mark").exists()


class Evil:
    """Leaves a mark when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_no_class_of_the_application_is_needed(talks_url: str) -> None:
    """The module "shop" does not exist in another process."""
    done = run_process(["show", "order-7", "customer", "--json"], environment(talks_url))
    assert done.returncode == 0
    assert '"$class": "shop.Customer", "name": "Ada"' in done.stdout
    assert done.stderr == ""


def test_a_chunk_that_only_its_text_can_show_is_no_list() -> None:
    """A value that no serializer of JSON can store again is shown as its text."""
    chunk = {"stop": 1, "chunk": {"type": "msgpack+aes", "base64": ""}}
    text = {"type": "msgpack", "tagged": {"$class": "builtins.list", "arg": "[Basket()]"}}
    assert items_of_chunk(chunk, lambda stored: text) == (0, None)
    read = {"type": "msgpack", "json": ["hello"]}
    assert items_of_chunk(chunk, lambda stored: read) == (0, [{"json": "hello"}])

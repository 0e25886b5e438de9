"""The examples in docs/documents.md are documents that the package stores today."""

import json
import re
import runpy
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.storage.keys import thread_keys
from tests.support.project import ROOT

DOCS = ROOT / "docs"


@pytest.fixture
def docs() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "generate.py"))


@pytest.fixture
def client(docs: dict[str, Any]) -> Iterator[redis.Redis]:
    with EmbeddedRedis() as server, RedisSaver(server.url, message_search=True) as saver:
        saver.setup()
        docs["put_example"](saver)
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            yield client


def test_the_examples_are_up_to_date(docs: dict[str, Any], client: redis.Redis) -> None:
    text = (DOCS / "documents.md").read_text(encoding="utf-8")
    assert text == docs["page"](text, docs["examples"](client)), "run: make docs"


def test_every_kind_of_document_is_shown(docs: dict[str, Any], client: redis.Redis) -> None:
    shown = (DOCS / "documents.md").read_text(encoding="utf-8")
    keys = [*client.scan_iter()]
    entries: list[str] = client.zrange("langgraph:contents:{order-7}", 0, -1)  # type: ignore[assignment]
    thread = thread_keys("langgraph:", "order-7")
    listed = {thread.key(entry) for entry in entries}
    for key in keys:
        if "{order-8}" not in key:  # it has the same kinds
            assert docs["fixed"](key) in shown or key in listed
    for entry in entries:
        assert f'"{docs["fixed"](entry)}"' in shown
    for kind in {key.split(":")[1] for key in keys}:
        assert re.search(rf"^[A-Z.]+ langgraph:{kind}:", shown, re.MULTILINE)


def test_a_real_conversation_is_where_the_page_says(client: redis.Redis) -> None:
    page = (DOCS / "documents.md").read_text(encoding="utf-8")
    section = page[page.index("## Where the text") : page.index("## Table of contents")]
    [where] = re.findall(r"`(\$\.channel_values\S+)` of a checkpoint finds\s+nothing", section)
    checkpoint = "langgraph:checkpoint:{order-7}::1f0c-0002"
    assert json.loads(client.execute_command("JSON.GET", checkpoint, where)) == []
    [talk] = [
        shown for shown in re.findall(r"```json\n(.*?)```", section, re.DOTALL) if "Eve" in shown
    ]
    with RedisSaver(client) as saver:
        found = saver.get_tuple({"configurable": {"thread_id": "order-7"}})
    assert found is not None
    messages = found.checkpoint["channel_values"]["messages"]
    assert len(messages) == 20
    assert json.loads(talk) == [message.text for message in messages]

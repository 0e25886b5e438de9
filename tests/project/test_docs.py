"""The examples in docs/documents.md are documents that the package stores today."""

import runpy
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
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
    for key in client.scan_iter():
        assert docs["fixed"](key) in shown

"""The README's code runs, and the README stays short."""

import asyncio
import json
import re
import runpy
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.cli.app import run as command_line
from langgraph_redis_json.embedded import EmbeddedRedis, EmbeddedRedisError
from tests.support.project import ROOT

README = ROOT / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    """A server for this test alone, because the examples use fixed thread ids."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def run(
    server: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Run code in an empty directory, and return its names."""
    monkeypatch.chdir(tmp_path)

    def run(code: str, **names: Any) -> dict[str, Any]:
        script = tmp_path / "block.py"
        script.write_text(code.replace("redis://localhost:6379", server.url), encoding="utf-8")
        return runpy.run_path(str(script), init_globals=names)

    return run


def test_the_first_example_prints_the_steps(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(BLOCKS[0])
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out] == ["1", "0"]
    assert "HumanMessage(content='Hello'" in out[0]
    assert "AIMessage(content=\"You said 'Hello'\"" in out[0]


def test_what_the_readme_says_to_look_at_is_there(
    run: Any, server: EmbeddedRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    run(BLOCKS[0])
    text = " ".join(README.read_text(encoding="utf-8").split())
    [query] = re.findall(r"`(FT\.SEARCH [^`]*)`", text)
    [command] = re.findall(r"`langgraph-redis-json ([^`]*)`", text)
    [pattern] = re.findall(r"Filter the keys by `([^`]*)`", text)
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True) as client:
        found: Any = client.execute_command(*shlex.split(query))
        assert found[0] == 2
        assert {json.loads(fields[-1])["metadata"]["step"] for fields in found[2::2]} == {0, 1}
        assert len([*client.scan_iter(pattern)]) == 3
    capsys.readouterr()
    with pytest.raises(SystemExit, match="0"):
        command_line([*command.split(), "--url", server.url])
    assert "You said 'Hello'" in capsys.readouterr().out


def test_the_asynchronous_example_runs(run: Any) -> None:
    names = run(BLOCKS[1], builder=run(BLOCKS[0])["builder"])
    asyncio.run(names["main"]())


def test_the_example_of_the_embedded_server_runs(run: Any) -> None:
    names = run(BLOCKS[2], RedisSaver=RedisSaver)
    assert Path("redis-data").is_dir()
    with pytest.raises(EmbeddedRedisError, match="not running"):
        _ = names["server"].url


def test_the_search_examples_run(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(BLOCKS[0])
    capsys.readouterr()
    names = run(BLOCKS[3], RedisSaver=RedisSaver)
    assert capsys.readouterr().out == ""
    assert list(names["poor"]) == []
    put = {"user_id": "ada", "score": 0.25}
    config = {"configurable": {"thread_id": "2", "checkpoint_ns": ""}}
    checkpoint = names["saver"].get_tuple({"configurable": {"thread_id": "1"}}).checkpoint
    written = names["saver"].put(config, checkpoint, put, {})
    names["saver"].put_writes(written, [("__interrupt__", 1)], "task")
    names = run(BLOCKS[3], RedisSaver=RedisSaver)
    assert "'score': 0.25" in capsys.readouterr().out
    assert [found.metadata for found in names["poor"]] == [put]


def test_the_readme_is_short() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 150
    assert "```python" in lines[:10]

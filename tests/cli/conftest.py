from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.cli.app import run
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.command_line import Cli, Output
from tests.support.conversation import fill


@pytest.fixture(scope="session")
def talks_url() -> Iterator[str]:
    """A server with the conversations of tests/support/conversation.py. Tests do not change it."""
    with EmbeddedRedis() as server:
        with RedisSaver(server.url) as saver:
            saver.setup()
            fill(saver, turns=30)
        yield server.url


@pytest.fixture
def talks(talks_url: str) -> Iterator[redis.Redis]:
    """A client of that server."""
    with redis.Redis.from_url(talks_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def own(redis_url: str, key_prefix: str) -> Iterator[RedisSaver]:
    """A saver on a part of a server that a test may change."""
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        saver.setup()
        yield saver


@pytest.fixture
def cli(talks_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs the command line in this process, on the server with the conversations."""
    monkeypatch.setenv("REDIS_URL", talks_url)
    monkeypatch.delenv("LANGGRAPH_REDIS_KEY_PREFIX", raising=False)
    return _runner(capsys)


@pytest.fixture
def own_cli(
    own: RedisSaver,
    redis_url: str,
    key_prefix: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Cli:
    """The same, on the part of `own`."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("LANGGRAPH_REDIS_KEY_PREFIX", key_prefix)
    return _runner(capsys)


def _runner(capsys: pytest.CaptureFixture[str]) -> Cli:
    def call(*arguments: str, code: int = 0) -> Output:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([*arguments])
        shown = capsys.readouterr()
        assert (ended.value.code or 0) == code, shown.err
        return Output(shown.out, shown.err)

    return call

"""The code in docs/observability.md runs, and the metrics that it names exist."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys

import pytest
import redis

from langgraph_redis_json import CheckpointError, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.clients import ACL_USER
from tests.support.project import ROOT

PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
READY, SLOW, MEASURE, TRACE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_probe_tells_whether_the_saver_is_ready() -> None:
    from redis.exceptions import RedisError

    names = {"RedisError": RedisError, "CheckpointError": CheckpointError}
    exec(READY, names)
    is_ready = names["is_ready"]
    with EmbeddedRedis() as server, RedisSaver(server.url) as saver:
        assert not is_ready(saver)
        saver.setup()
        assert is_ready(saver)
        server.stop()
        assert not is_ready(saver)


def test_the_slow_saver_is_made(
    redis_url: str, key_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = redis_url.replace(ACL_USER, "")  # the example has the default key_prefix
    code = SLOW.replace("redis://localhost:6379", url).replace("0.5", "0")
    names = {"RedisSaver": RedisSaver}
    exec(code, names)
    saver: RedisSaver = names["saver"]  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING, "langgraph_redis_json"):
        saver.get_tuple({"configurable": {"thread_id": key_prefix}})
    shown = re.search(r"`(A slow call:\s.*?)`", PAGE, re.DOTALL)
    assert shown is not None
    pattern = re.sub(r"[\d.]+ seconds", "SECONDS", " ".join(shown[1].split()))
    assert pattern == re.sub(r"[\d.]+ seconds", "SECONDS", caplog.messages[-1])


MEASURED = """
import sys
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
{code}
from langgraph_redis_json import RedisSaver

with RedisSaver(sys.argv[1], key_prefix=sys.argv[2]) as saver:
    saver.setup()
    saver.get_tuple({{"configurable": {{"thread_id": "1"}}}})
    list(saver.list(None))
print(reader.get_metrics_data().to_json())
"""


def test_redis_py_measures_the_calls_of_a_saver(
    redis_url: str, redis_client: redis.Redis, key_prefix: str
) -> None:
    redis_client.script_flush()
    # redis-py measures a whole process, so this is a process of its own.
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(code=MEASURE), redis_url, key_prefix],
        capture_output=True,
        text=True,
        check=True,
    )
    [resource] = json.loads(done.stdout)["resource_metrics"]
    found = {
        metric["name"]: metric["data"]["data_points"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }
    named = re.findall(r"^\| `([a-z_.]+)` \|", PAGE, re.MULTILINE)
    assert len(named) == 4
    assert set(named) <= found.keys()
    commands = {point["attributes"]["db.operation.name"] for point in found[named[0]]}
    assert {"EVALSHA", "PIPELINE"} <= commands


TRACED = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
{code}
from langgraph_redis_json import RedisSaver

with RedisSaver(sys.argv[1], key_prefix=sys.argv[2]) as saver:
    config = {{"configurable": {{"thread_id": "secret"}}}}
    saver.get_tuple(config)
    exporter.clear()
    with trace.get_tracer("app").start_as_current_span("turn"):
        saver.get_tuple(config)
for span in exporter.get_finished_spans():
    print(span.name, span.parent is not None, span.to_json(indent=None))
"""


def test_calls_of_a_saver_are_spans(redis_url: str, key_prefix: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRACED.format(code=TRACE), redis_url, key_prefix],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["EVALSHA", "True"], ["turn", "False"]]
    assert "secret" not in done.stdout

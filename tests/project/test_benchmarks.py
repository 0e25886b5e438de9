"""The benchmark does its work and reports it, in tiny sizes; the times are not checked."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.search.fields import SCHEMAS
from langgraph_redis_json.search.queries import index_name
from tests.support.project import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import bench
import bench_report
from bench_work import Bench, Key, Sizes

TINY = Sizes(
    agent=8,
    lengths=(2, 4),
    threads=8,
    tasks=4,
    large=10_000,
    concurrent=3,
    turns=2,
    delays=(0,),
    rounds=4,
)


class MemoryStore:
    package = "InMemorySaver"

    def __init__(self) -> None:
        self._saver = InMemorySaver()

    @contextmanager
    def saver(self) -> Iterator[InMemorySaver]:
        self._saver = InMemorySaver()
        yield self._saver

    @contextmanager
    def another_saver(self) -> Iterator[InMemorySaver]:
        yield self._saver

    @asynccontextmanager
    async def async_saver(self) -> AsyncIterator[InMemorySaver]:
        yield InMemorySaver()

    def stored_bytes(self) -> None:
        return None

    def processor_seconds(self) -> None:
        return None

    def server(self) -> str:
        return "memory"


class OurStore:
    """Parts of the tests' server, each of one workload."""

    package = "langgraph-redis-json"

    def __init__(self, client: redis.Redis, url: str, key_prefix: str):
        self.client, self.url, self.key_prefix = client, url, key_prefix
        self.numbers = count()
        self.last = 0

    @property
    def prefix(self) -> str:
        self.last = next(self.numbers)
        return f"{self.key_prefix}{self.last}:"

    @contextmanager
    def saver(self) -> Iterator[RedisSaver]:
        with RedisSaver.from_conn_string(self.url, key_prefix=self.prefix) as saver:
            saver.setup()
            yield saver
            self.drop_indexes(saver.key_prefix)

    @contextmanager
    def another_saver(self) -> Iterator[RedisSaver]:
        prefix = f"{self.key_prefix}{self.last}:"
        with RedisSaver.from_conn_string(self.url, key_prefix=prefix) as saver:
            yield saver

    @asynccontextmanager
    async def async_saver(self) -> AsyncIterator[AsyncRedisSaver]:
        async with AsyncRedisSaver.from_conn_string(self.url, key_prefix=self.prefix) as saver:
            await saver.setup()
            yield saver
            self.drop_indexes(saver.key_prefix)

    def drop_indexes(self, prefix: str) -> None:
        for which in SCHEMAS:
            self.client.execute_command("FT.DROPINDEX", index_name(prefix, which))

    def stored_bytes(self) -> int:
        return int(self.client.info("memory")["used_memory"])

    def processor_seconds(self) -> float:
        found = self.client.info("cpu")
        return float(found["used_cpu_user"] + found["used_cpu_sys"])

    def server(self) -> str:
        return "Redis"


@pytest.fixture(scope="module")
def done(redis_url: str) -> Iterator[Bench]:
    """A benchmark after its work, without the parts that need a network."""
    prefix = f"test-benchmarks-{uuid4().hex[:12]}:"
    with redis.Redis.from_url(redis_url) as client:
        found = Bench(TINY, [MemoryStore(), OurStore(client, redis_url, prefix)], [], client.ping)
        bench.run(found)
        yield found
        for key in client.scan_iter(f"{prefix}*", count=1000):
            client.unlink(key)


def test_every_plot_has_lines(done: Bench, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert set(bench_report.draw(done, tmp_path)) == {path.stem for path in tmp_path.iterdir()}
    measured = {key.label for key in (*done.times, *done.bytes)}
    for name, (_, *panels) in bench_report.PLOTS.items():
        for panel in panels:
            # There is no network here.
            assert isinstance(panel, bench_report.Panel)
            assert (panel.label in measured) == (name != "network")


def test_the_benchmark_does_its_work_and_reports_it(done: Bench, tmp_path: Path) -> None:
    assert not done.cut
    labels = {key.label for key in (*done.times, *done.bytes)}
    for label in labels - {"PING", "sent for a superstep at {:,} messages"}:
        savers = {key.saver for key in (*done.times, *done.bytes) if key.label == label}
        assert "langgraph-redis-json" in savers
    assert len(done.times[Key("put, short thread", 0, "InMemorySaver")]) == 4 * TINY.threads

    (tmp_path / "performance.md").write_text((ROOT / "docs" / "performance.md").read_text())
    for _ in range(2):  # the second time it finds what the first has written
        bench.write(done, ["a server"], {"plot": "A plot"}, tmp_path)
    page = (tmp_path / "performance.md").read_text()
    assert page.count("### Targets") == page.count("(images/plot.png)") == 1
    report = bench_report.report(done)
    assert report in page
    targets = report.split("### Times")[0].splitlines()
    assert all(line.count("|") == 5 for line in targets if line.startswith("|"))
    answers = [line.split(" | ")[-1] for line in targets if line.startswith("| ")][2:]
    # The report has no results of the other packages, PostgreSQL and the network.
    assert answers.count("- |") == 13
    assert len(answers) == 24

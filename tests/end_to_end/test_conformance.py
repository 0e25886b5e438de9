"""LangGraph's own suite for checkpointers, on both savers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

from langgraph_redis_json import AsyncRedisSaver, RedisSaver


@pytest.mark.parametrize("saver", [RedisSaver, AsyncRedisSaver])
async def test_both_savers_conform_fully(
    saver: type[RedisSaver | AsyncRedisSaver], redis_url: str, key_prefix: str
) -> None:
    @checkpointer_test(name=saver.__name__)
    async def checkpointer() -> AsyncIterator[RedisSaver | AsyncRedisSaver]:
        if saver is RedisSaver:
            # Its a* methods, which the suite calls, run the others in threads.
            with RedisSaver.from_conn_string(redis_url, key_prefix=key_prefix) as made:
                made.setup()
                yield made
        else:
            async with AsyncRedisSaver.from_conn_string(redis_url, key_prefix=key_prefix) as made:
                await made.setup()
                yield made

    report = await validate(checkpointer)

    assert report.results.keys() == {capability.value for capability in Capability}
    assert len(report.results) == 8
    for name, result in report.results.items():
        assert result.failures == [], name
        assert result.detected, name
        assert result.passed is True, name
        assert result.tests_passed > 0, name
    assert report.conformance_level() == "FULL"

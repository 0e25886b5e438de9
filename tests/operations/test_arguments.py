"""Arguments that cannot be used are refused at once, with a sentence that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.checkpoints import checkpoint, config, each_saver, ids, put
from tests.support.clients import Saver


@each_saver
@pytest.mark.parametrize("given", ["1", 1, ["thread"], {"configurable": "thread"}])
def test_a_config_that_is_no_config_is_refused(saver: Saver, given: Any) -> None:
    for call in (
        lambda: saver.get_tuple(given),
        lambda: saver.list(given),
        lambda: saver.put(given, checkpoint("1"), {}, {}),
        lambda: saver.put_writes(given, [("a", 1)], "task"),
        lambda: saver.list(None, before=given),
    ):
        with pytest.raises(TypeError, match="must be a config such as"):
            call()


@each_saver
@pytest.mark.parametrize(
    ("limit", "error"),
    [(-1, ValueError), ("10", TypeError), (1.0, TypeError), (True, TypeError)],
)
def test_a_limit_that_is_no_count_is_refused(
    saver: Saver, limit: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="limit"):
        saver.list(None, limit=limit)
    with pytest.raises(error, match="limit"):
        saver.threads(limit=limit)


@each_saver
@pytest.mark.parametrize("filter", [{1: 2}, {None: 1}, [("a", 1)], "a"])
def test_a_filter_that_is_no_dict_of_names_is_refused(saver: Saver, filter: Any) -> None:
    with pytest.raises(TypeError, match="filter"):
        saver.list(None, filter=filter)
    with pytest.raises(TypeError, match="filter"):
        saver.threads(filter)


@each_saver
def test_the_metadata_key_writes_is_kept(saver: Saver) -> None:
    given: Any = {**config(), "metadata": {"writes": 3}}
    saver.put(given, checkpoint("1"), {"source": "loop", "step": 1}, {})
    put(saver, "2", metadata={"writes": {"node": [1]}})
    assert ids(saver.list(config(), filter={"writes": 3})) == ["1"]
    assert ids(saver.list(None, filter={"writes": {"node": [1]}})) == ["2"]


@each_saver
@pytest.mark.parametrize("step", ["seven", 7.5, None, True, [7], (1 << 64) - 1, -(1 << 63)])
@pytest.mark.parametrize("source", ["loop", 5, {"a": 1}])
def test_metadata_of_any_type_is_found(saver: Saver, step: Any, source: Any) -> None:
    metadata = {"first": 1, "step": step, "source": source, "run_id": 4}
    put(saver, "1", metadata=metadata)
    put(saver, "2", metadata={"step": 3})
    [found] = saver.list(None, filter={"step": step, "source": source})
    assert found.metadata == metadata
    [thread] = saver.threads({"step": 3})
    assert thread.step == 3
    saver.delete_for_runs([])
    if isinstance(step, (int, float)) and not isinstance(step, bool):
        ranged = saver.list(None, filter={"step": {"$gte": step, "$lte": step}})
        assert ids(ranged) == ["1"]

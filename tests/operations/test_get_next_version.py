"""get_next_version: counts up, sorts as it counts, and never says the same twice."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from tests.support.checkpoints import each_saver
from tests.support.clients import Saver


@each_saver
def test_versions_sort_as_they_count(saver: Saver) -> None:
    versions = [saver.get_next_version(None, None)]
    for _ in range(1_100):
        versions.append(saver.get_next_version(versions[-1], None))
    assert all(older < newer for older, newer in itertools.pairwise(versions))
    assert [int(version.split(".")[0]) for version in versions] == list(range(1, 1_102))


@each_saver
def test_two_forks_never_share_a_version(saver: Saver) -> None:
    start = saver.get_next_version(None, None)
    assert len({saver.get_next_version(start, None) for _ in range(1_000)}) == 1_000


@each_saver
@pytest.mark.parametrize("current", [None, 5, "5", "5.25", f"{5:032}.{0.5:016}"])
def test_it_goes_on_from_what_other_savers_count(saver: Saver, current: Any) -> None:
    found = saver.get_next_version(current, None)
    expected = InMemorySaver().get_next_version(current, None)
    assert type(found) is str
    assert len(found.split(".")[0]) == 32
    assert found.split(".")[0] == expected.split(".")[0]

"""get_next_version counts up, sorts in that order, and never returns a version twice."""

from __future__ import annotations

import itertools
import random
import re
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from tests.support.checkpoints import each_saver
from tests.support.clients import Saver


@each_saver
def test_versions_sort_in_the_order_in_which_they_were_made(saver: Saver) -> None:
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
@pytest.mark.parametrize(
    "current", [None, 5, "5", "5.25", f"{5:032}.{0.5:016}", f"{10**32 - 1}.5", 10**10 - 1]
)
def test_the_next_version_follows_versions_of_other_savers(saver: Saver, current: Any) -> None:
    found = saver.get_next_version(current, None)
    expected = InMemorySaver().get_next_version(current, None)
    assert type(found) is str
    count, _, rest = found.partition(".")
    assert int(count) == int(expected.split(".")[0])
    # Versions are compared as text, so the count keeps the width of another saver's.
    assert len(count) == max(10, len(str(current).split(".")[0]), len(str(int(count))))
    assert re.fullmatch(r"[\w-]{8}", rest)


@each_saver
def test_versions_of_other_savers_sort_before_the_next_one(saver: Saver) -> None:
    version = InMemorySaver().get_next_version(None, None)
    for _ in range(1_100):
        following = saver.get_next_version(version, None)
        assert version < following
        version = InMemorySaver().get_next_version(following, None)
        assert following < version


@each_saver
def test_a_seed_of_the_application_does_not_repeat_versions(saver: Saver) -> None:
    found = set()
    for _ in range(3):
        random.seed(7)
        found.add(saver.get_next_version(None, None))
    assert len(found) == 3

"""Names of keys are one-to-one, and sort like what they name."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from langgraph_redis_json.storage import keys

# No time limit for an example: the machine may be busy.
quick = settings(max_examples=100, deadline=None)
thorough = settings(max_examples=500, deadline=None)

# Surrogates cannot be written as UTF-8, and are refused before a name is made of them.
anything = st.text(st.characters(exclude_categories=["Cs"]))
reserved = st.text(":;.{|(}~)\0\1a")
parts = anything | reserved
prefixes = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{}\0"), min_size=1)


@quick
@given(parts)
def test_an_encoded_part_has_no_reserved_characters_and_decodes(part: str) -> None:
    spelled = keys.escape(part)
    assert not set(spelled) & set(":{}\0")
    assert keys.unescape(spelled) == part


@thorough
@given(parts, parts)
@example("a:", "a;")
@example("a:b", "a1")
@example("{", "|")
@example("}", "~")
def test_encoded_parts_sort_as_the_parts_do(left: str, right: str) -> None:
    spelled_left, spelled_right = keys.escape(left).encode(), keys.escape(right).encode()
    assert (left < right) == (spelled_left < spelled_right)
    assert (left == right) == (spelled_left == spelled_right)


@quick
@given(parts)
def test_every_part_sorts_before_the_end_of_a_range(part: str) -> None:
    assert keys.escape(part).encode() < keys.AFTER_ALL


@quick
@given(prefixes, parts, parts, parts)
def test_a_checkpoint_identity_is_parsed_from_key_and_entry(
    prefix: str, thread_id: str, checkpoint_ns: str, checkpoint_id: str
) -> None:
    thread = keys.thread_keys(prefix, thread_id)
    entry = keys.checkpoint_entry(checkpoint_ns, checkpoint_id)
    identity = keys.CheckpointIdentity(thread_id, checkpoint_ns, checkpoint_id)
    assert identity.entry == entry
    assert keys.identity_of_entry(thread_id, entry) == identity
    for sort_key in (
        keys.sort_key_of_entry(thread.tag, entry),
        keys.sort_key_of_key(thread.key(entry)),
    ):
        assert keys.identity_of_sort_key(sort_key) == identity


@quick
@given(prefixes, parts, parts, parts)
def test_the_entry_of_a_blob_or_log_is_read_off_its_key(
    prefix: str, thread_id: str, checkpoint_ns: str, channel: str
) -> None:
    thread = keys.thread_keys(prefix, thread_id)
    log = keys.new_log_entry(checkpoint_ns, channel)
    for entry in (keys.blob_entry(checkpoint_ns, channel, 1), log, keys.renumbered(log)):
        assert thread.find_entry(thread.key(entry)) == thread.entry(thread.key(entry)) == entry
        # An entry is not a key, and neither is the key of another thread or of another prefix.
        for other in (keys.thread_keys(prefix, f"{thread_id}x"), keys.thread_keys("p", thread_id)):
            if other != thread:
                assert other.find_entry(thread.key(entry)) is None
        for wrong in (entry, thread.key(entry)[:-1] if ":" in prefix else "", None, 1, [entry]):
            assert thread.find_entry(wrong) != entry
    for entry in ("t", keys.checkpoint_entry(checkpoint_ns, channel)):
        with pytest.raises(ValueError, match="not the key of a blob or log"):
            thread.entry(thread.key(entry))


@quick
@given(st.lists(st.tuples(parts, parts, parts), min_size=2, max_size=5))
def test_sort_keys_sort_by_id_then_namespace_then_thread(names: list[tuple[str, ...]]) -> None:
    identities = [keys.CheckpointIdentity(*name) for name in names]

    def sort_key(identity: keys.CheckpointIdentity) -> bytes:
        tag = keys.thread_keys("p:", identity.thread_id).tag
        return keys.sort_key_of_entry(tag, identity.entry)

    expected = sorted(identities, key=lambda identity: identity[::-1])
    assert sorted(identities, key=sort_key) == expected
    for identity in identities:
        start, end = keys.sort_keys_of_id(identity.checkpoint_id)
        within = [other for other in identities if start <= sort_key(other) < end]
        same = [other for other in identities if other.checkpoint_id == identity.checkpoint_id]
        assert within == same


names = st.tuples(prefixes, parts, parts, parts)


@quick
@given(names, names)
def test_different_things_have_different_keys(
    left: tuple[str, ...], right: tuple[str, ...]
) -> None:
    assume(left != right)

    def all_keys(prefix: str, thread_id: str, first: str, second: str) -> list[str]:
        thread = keys.thread_keys(prefix, thread_id)
        return [
            thread.key(keys.checkpoint_entry(first, second)),
            thread.key(keys.writes_entry(keys.checkpoint_entry(first, second))),
            thread.key(keys.blob_entry(first, second, 1)),
            thread.key("t"),
            thread.contents,
        ]

    # One thread has one thread document and one table of contents.
    both = set(all_keys(*left)) & set(all_keys(*right))
    assert len(both) == (2 if left[:2] == right[:2] else 0)
    if left[:2] != right[:2]:
        assert keys.thread_keys(*left[:2]).contents != keys.thread_keys(*right[:2]).contents


@quick
@given(parts)
def test_all_keys_of_a_thread_are_in_one_slot(thread_id: str) -> None:
    # Redis Cluster hashes what stands between the first { and the next }, unless that is empty.
    thread = keys.thread_keys("prefix:", thread_id)
    tags = set()
    for key in (thread.contents, thread.key("t"), thread.key(keys.checkpoint_entry("{", "}"))):
        tags.add(key[key.index("{") + 1 : key.index("}")])
    assert len(tags) == 1
    assert tags != {""}


def test_different_versions_have_different_keys_and_tasks_different_digests() -> None:
    versions: list[Any] = [1, 1.0, "1", "1.0", 2, True, "True"]
    assert len({keys.blob_entry("", "channel", version) for version in versions}) == len(versions)
    tasks = ["", "a", "A", "a:b", "x" * 2_000, "x" * 2_001, "é", "e\u0301"]
    assert len({keys.digest(task) for task in tasks}) == len(tasks)


def test_an_entry_of_usual_ids_fits_the_compact_block(redis_client: redis.Redis) -> None:
    # A sorted set turns into a skip list, at five times the memory, for one longer member.
    settings: Any = redis_client.config_get("zset-max-listpack-value")
    longest = int(settings["zset-max-listpack-value"])
    checkpoint_id = "1efc53ba-7b6a-6d2a-8001-2b5a0e6f7c1d"
    for entry in (
        keys.checkpoint_entry("", checkpoint_id),
        keys.writes_entry(keys.checkpoint_entry("", checkpoint_id)),
        keys.blob_entry("", "a_channel_of_a_usual_length", keys.next_version(None)),
        keys.new_log_entry("", "a_channel_of_a_usual_length"),
    ):
        assert len(entry.encode()) <= longest

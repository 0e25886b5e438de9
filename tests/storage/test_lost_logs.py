"""Logs that are missing, freed, copied or damaged: a saver never appends to a missing log."""

from __future__ import annotations

from itertools import count
from typing import Any

import orjson
import pytest
import redis
from langgraph.checkpoint.base import ChannelVersions

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.errors import (
    CheckpointError,
    DamagedDocumentError,
    MissingDocumentError,
)
from langgraph_redis_json.storage import cache, keys, list_logs
from tests.support.checkpoints import checkpoint, config, each_saver, found_keys, members
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.damage import by_id, damages, faults_of_reading, list_and_log
from tests.support.growing_lists import ITEMS, TEXT, Logs, Thread, get_json, items, serde


@pytest.fixture
def thread() -> Thread:
    return Thread()


@pytest.fixture
def stored_logs(redis_client: redis.Redis, key_prefix: str) -> Logs:
    return Logs(redis_client, key_prefix)


@each_saver
@pytest.mark.parametrize("change", ["appended", "unchanged", "trimmed"])
def test_a_missing_log_raises_and_is_written_again(
    make_saver: MakeSaver,
    client: Client,
    thread: Thread,
    stored_logs: Logs,
    caplog: pytest.LogCaptureFixture,
    change: str,
) -> None:
    saver = make_saver(client)
    thread.put(saver, items(0, 10))
    log = stored_logs.delete()
    if change == "unchanged":
        id_, value = "00009", thread.last
        made = checkpoint(id_, {"list": value}, {"list": "00001.5"})
        saver.put(thread.config("00001"), made, {}, {})
    else:
        value = items(0, 12) if change == "appended" else items(3, 10)
        id_ = thread.put(saver, value)
    found = saver.get_tuple(thread.config(id_))
    assert found is not None
    assert found.checkpoint["channel_values"]["list"] == value
    for reader in (saver, make_saver(client, setup=False)):
        with pytest.raises(MissingDocumentError) as raised:
            reader.get_tuple(thread.config("00001"))
        assert log in str(raised.value)
        listed, messages = list_and_log(reader, caplog, thread.config())
        lists = {one: each.checkpoint["channel_values"] for one, each in by_id(listed).items()}
        assert lists == {id_: {"list": value}}
        assert [log in message and "needs the document" in message for message in messages] == [
            True
        ]


@each_saver
def test_a_missing_blob_and_a_missing_log_are_written_again(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client)
    values = {"list": items(0, 10), "blob": TEXT * 10, "more": items(5, 15)}
    versions: ChannelVersions = dict.fromkeys(values, "1")
    saver.put(config(), checkpoint("1", values, versions), {}, versions)
    for kind in ("blob", "log"):
        redis_client.delete(*found_keys(redis_client, key_prefix, kind))
    values["list"] = items(0, 12)
    versions["list"] = "2"
    saver.put(config(), checkpoint("2", values, versions), {}, {"list": "2"})
    found = make_saver(client, setup=False).get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"] == values


@each_saver
def test_a_deleted_thread_is_written_completely_again(
    make_saver: MakeSaver,
    client: Client,
    thread: Thread,
    redis_client: redis.Redis,
    key_prefix: str,
) -> None:
    saver, other = make_saver(client), make_saver(client, setup=False)
    for deleter in (saver, other):
        thread.put(saver, items(0, 10))
        thread.put(saver, items(0, 12))
        deleter.delete_thread("thread")
        assert found_keys(redis_client, key_prefix) == []
        thread.expected.clear()
        thread.put(saver, items(0, 13))
        thread.check(other)


@each_saver
@pytest.mark.parametrize("written", ["neither", "source", "copy", "both"])
def test_a_copy_has_its_own_logs(
    make_saver: MakeSaver, client: Client, thread: Thread, written: str
) -> None:
    saver = make_saver(client)
    copy = Thread("copy")
    thread.put(saver, items(0, 10))
    saver.copy_thread("thread", "copy")
    copy.expected, copy.parents = {**thread.expected}, {**thread.parents}
    copy.ids = count(50_001)
    for step in range(2):
        if written in ("source", "both"):
            thread.put(saver, [*thread.last, *items(100 + step, 101 + step)])
        if written in ("copy", "both"):
            copy.put(saver, [*copy.last, *items(200 + step, 201 + step)])
    thread.check(saver)
    copy.check(saver)
    # Copied again, over the writes since the first copy.
    saver.copy_thread("thread", "copy")
    copy.expected |= thread.expected
    copy.check(saver)
    copy.put(saver, [*copy.last, *items(300, 303)])
    copy.check(saver)
    thread.check(saver)


@each_saver
@pytest.mark.parametrize("by", ["prune", "delete_for_runs"])
@pytest.mark.parametrize("what", ["other lists", "windows", "removed items"])
def test_a_saver_whose_cache_names_freed_items_writes_them_again(
    make_saver: MakeSaver, client: Client, thread: Thread, by: str, what: str
) -> None:
    saver, deleter = make_saver(client), make_saver(client, setup=False)
    lists = {
        "other lists": [items(0, 10), items(10, 20), items(20, 30)],
        "windows": [items(n, n + 10) for n in range(30)],
        "removed items": [items(0, 30), items(0, 30)[::3], [*items(0, 30)[::3], *items(30, 31)]],
    }[what]
    for value in lists:
        thread.put(saver, value)
    saver.get_tuple(thread.config(min(thread.expected)))  # so the oldest is in the cache
    for grows in (True, False):
        latest = max(thread.expected)
        freed = sorted(thread.expected)[:-1]
        if by == "prune":
            deleter.prune(["thread"])
        else:
            deleter.delete_for_runs(freed)
        thread.expected = {latest: thread.expected[latest]}
        thread.check(deleter)
        thread.put(saver, [*thread.last, *items(40, 45)] if grows else items(0, 10))
        thread.check(deleter)


@each_saver
def test_items_that_left_a_window_are_freed(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, stored_logs: Logs
) -> None:
    threads = [Thread("thread"), Thread("thread", "sub"), Thread("other")]
    for thread in threads:
        thread.put(saver, items(900, 910))  # a log that no checkpoint needs in the end
        first = ITEMS["messages"](-1)
        for n in range(50):
            thread.put(saver, [first, *items(n, n + 10, "messages")])
        thread.put(saver, thread.last[::-1][:9])
        saver.put_writes(thread.config(max(thread.expected)), [("channel", 1)], "task")
    saver.prune(["thread"])
    for thread in threads[:2]:
        thread.expected = dict([*thread.expected.items()][-1:])
    for thread in threads:
        thread.check(saver)

    needed = set()
    saver.prune(["other"])
    for key in found_keys(redis_client, key_prefix, "checkpoint"):
        log = get_json(redis_client, key, ".channel_values.list.log")
        needed |= {part[0] for part in log}
        assert sum(stop - start for _, start, stop in log) == 9
        lengths = [len(get_json(redis_client, name, ".items")) for name in {one[0] for one in log}]
        assert sum(lengths) <= 4 * 9 + list_logs.UNUSED
    assert set(stored_logs.keys()) == needed
    for tag in ("{thread}", "{other}"):
        contents = f"{key_prefix}contents:{tag}"
        named = keys.ThreadKeys(key_prefix, tag, contents)
        expected = {named.key(entry) for entry in members(redis_client, contents)}
        assert {contents, *expected} == {
            key for key in found_keys(redis_client, key_prefix) if tag in key
        }
    saver.delete_thread("thread")
    saver.delete_thread("other")
    assert found_keys(redis_client, key_prefix) == []


# ---- damage


def picture(found: Any) -> Any:
    """A checkpoint in a form that NaN does not make unequal to itself."""
    return found and (found.config, found.parent_config, serde.dumps_typed(found.checkpoint))


def test_a_slice_beyond_the_end_of_its_log_raises(
    saver: Saver, thread: Thread, redis_client: redis.Redis, key_prefix: str
) -> None:
    """The reader allocates no memory for the missing items."""
    thread.put(saver, items(0, 10))
    [key] = found_keys(redis_client, key_prefix, "checkpoint")
    redis_client.execute_command("JSON.SET", key, '$.channel_values["list"].log[0][2]', "1" * 15)
    with pytest.raises(DamagedDocumentError, match="has no item"):
        saver.get_tuple(thread.config())


@pytest.mark.parametrize("kind", ["checkpoint", "log"])
def test_damage_in_any_field_is_reported(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """Either an error names the document, or the reader gets the original values; with a cache
    and without one. A second checkpoint, with another log, is not affected."""
    saver = make_saver(Client(RedisSaver, 3, False), setup=False)
    saver.put(config(), checkpoint("1", {"list": items(0, 8, "mixed")}), {}, {"list": 1})
    [key] = found_keys(redis_client, key_prefix, kind)
    other = make_saver(Client(RedisSaver, 3, False), setup=False)
    second = checkpoint("0", {"list": items(8, 16, "mixed")}, {"list": 0})
    other.put(config(), second, {}, {"list": 0})
    put = by_id(list(saver.list(config())))
    assert list(put) == ["1", "0"]
    right = picture(saver.get_tuple(config()))
    document = get_json(redis_client, key)
    assert right == picture(put["1"])
    monkeypatch.setattr(cache, "MOST_CHECKPOINTS", 0)
    reader = make_saver(Client(RedisSaver, 3, False), setup=False)
    wrong, count_of_damages = [], 0
    for description, path, damaged in damages(document):
        if path[:1] in (("metadata",), ("tokens",)):
            continue
        if "json" in path or "tagged" in path:  # content: any JSON is right
            continue
        redis_client.execute_command("JSON.SET", key, "$", orjson.dumps(damaged))
        count_of_damages += 1
        at_value = path == ("channel_values", "list")
        absent = at_value and description.startswith(("no ", "None "))
        faults = [
            *faults_of_reading(
                reader,
                caplog,
                put,
                key,
                lambda found, put: absent or picture(found) == picture(put),  # noqa: B023
            )
        ]
        try:
            found = saver.get_tuple(config())
        except CheckpointError as error:
            if key not in str(error):
                faults.append(f"with a cache it does not name {key}: {error}")
        except Exception as error:  # noqa: BLE001
            faults.append(f"with a cache: {error!r:.150}")
        else:
            if not absent and picture(found) != right:
                faults.append("with a cache another state")
        wrong += [f"{description}: {fault}" for fault in faults]
    assert count_of_damages > 40
    assert not wrong, "\n".join(wrong)


DAMAGES: dict[str, tuple[str, Any]] = {
    "a format of the future": ("$.format", 2),
    "an item of another form": ("$.items[3]", {"form": 1}),
    "an item of two forms": ("$.items[3]", {"json": 1, "base64": "AA=="}),
    "an item of another type": ("$.items[3]", {"type": "bytes", "base64": "AA=="}),
    "an item that is text": ("$.items[3]", "text"),
    "no base64": ("$.items[3]", {"base64": "?"}),
    "too few items": ("$.items", [{"json": 1}]),
    "no items": ("$.items", []),
    "no list": ("$.items", {"0": 1}),
    "items gone": ("$.items", None),
}


@each_saver
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_error_names_a_damaged_log(
    make_saver: MakeSaver,
    client: Client,
    thread: Thread,
    redis_client: redis.Redis,
    stored_logs: Logs,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    saver = make_saver(client)
    thread.put(saver, items(0, 10))
    [key] = stored_logs.keys()
    path, value = DAMAGES[damage]
    if damage == "items gone":
        redis_client.execute_command("JSON.DEL", key, path)
    else:
        redis_client.execute_command("JSON.SET", key, path, orjson.dumps(value))
    other = make_saver(client, setup=False)
    for id_ in (None, "00001"):
        with pytest.raises(DamagedDocumentError) as raised:
            other.get_tuple(thread.config(id_))
        assert f"key {key} " in str(raised.value)
    for given, options in ((thread.config(), {}), (None, {"filter": {"step": 1}})):
        listed, messages = list_and_log(saver, caplog, given, **options)
        assert listed == []
        assert [f"key {key} " in message for message in messages] == [True]


WITHOUT_ITEMS = ["too few items", "no items", "no list", "items gone"]


@each_saver
@pytest.mark.parametrize("damage", WITHOUT_ITEMS)
def test_a_put_does_not_append_to_a_damaged_log(
    make_saver: MakeSaver,
    client: Client,
    thread: Thread,
    redis_client: redis.Redis,
    stored_logs: Logs,
    damage: str,
) -> None:
    saver = make_saver(client)
    thread.put(saver, items(0, 10))
    [key] = stored_logs.keys()
    path, value = DAMAGES[damage]
    redis_client.execute_command("JSON.SET", key, path, orjson.dumps(value))
    if damage == "items gone":
        redis_client.execute_command("JSON.DEL", key, path)
    id_ = thread.put(saver, items(0, 12))
    found = saver.get_tuple(thread.config(id_))
    assert found is not None
    assert found.checkpoint["channel_values"]["list"] == items(0, 12)

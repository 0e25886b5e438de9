"""Logs store large lists item by item, and every edit stays exact."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from operator import itemgetter
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.base import ChannelVersions
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import Send

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.storage import cache, list_logs
from tests.support.checkpoints import checkpoint, config, each_saver, found_keys, strange
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.growing_lists import EDITS, ITEMS, TEXT, Logs, Thread, get_json, items, same
from tests.support.strategies import examples


@pytest.fixture
def thread() -> Thread:
    return Thread()


@pytest.fixture
def stored_logs(redis_client: redis.Redis, key_prefix: str) -> Logs:
    return Logs(redis_client, key_prefix)


@each_saver
@strange
def test_any_channel_name_can_have_a_log(
    make_saver: MakeSaver, client: Client, stored_logs: Logs, text: str
) -> None:
    writer, reader = (make_saver(client, setup=False) for _ in range(2))
    values = {text: items(0, 20), f"{text} too": items(0, 10)}
    versions: ChannelVersions = dict.fromkeys(values, 1)
    writer.put(config(), checkpoint("1", values, versions), {"step": 1}, versions)
    assert stored_logs.items() == 30
    found = reader.get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"] == values
    assert found.checkpoint["channel_versions"] == versions


@each_saver
def test_tasks_are_not_stored_in_a_log(
    make_saver: MakeSaver, client: Client, stored_logs: Logs
) -> None:
    """Each superstep has new tasks, so that a log would never be appended to."""
    saver = make_saver(client, setup=False)
    sends = {TASKS: [Send("work", {"text": f"{number} {TEXT}"}) for number in range(50)]}
    saver.put(config(), checkpoint("1", sends, {TASKS: 1}), {"step": 1}, {TASKS: 1})
    assert stored_logs.keys() == []
    found = saver.get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"] == sends


# ---- edits


@each_saver
@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_stores_only_what_is_new(
    saver: Saver, thread: Thread, stored_logs: Logs, edit: str
) -> None:
    change, new = EDITS[edit]
    thread.put(saver, items(0, 20))
    assert stored_logs.items() == 20
    thread.put(saver, change(thread.last, items(20, 23)))
    assert stored_logs.items() == 20 + new
    thread.put(saver, [*thread.last, *items(23, 43)])  # whatever was before
    thread.check(saver)


WRITERS = ("same saver", "reads first", "fresh savers", "two savers", "two savers that read")


@pytest.mark.parametrize("who", WRITERS)
@pytest.mark.parametrize("kind", ITEMS)
@each_saver
def test_many_edits_in_a_row_stay_exact(
    make_saver: MakeSaver, client: Client, thread: Thread, stored_logs: Logs, kind: str, who: str
) -> None:
    one, other = (make_saver(client, setup=not index) for index in range(2))
    fresh = (make_saver(client, setup=False) for _ in count())
    for number, (change, _) in enumerate(EDITS.values()):
        saver = other if "two" in who and number % 2 else one
        if "fresh" in who and number % 4 == 0:
            saver = one = next(fresh)
        if "read" in who:
            saver.get_tuple(thread.config())
        value: list[Any] = thread.last if thread.expected else []
        if len(value) < 12:  # too short for a log: grow again
            value = value + items(100 * number, 100 * number + 20, kind)
            thread.put(saver, value)
        thread.put(saver, change(value, items(100 * number + 50, 100 * number + 53, kind)))
    assert stored_logs.keys()
    thread.check(make_saver(client, setup=False))


@each_saver
@pytest.mark.parametrize(("every", "slices"), [(2, list_logs.MOST_SLICES), (3, 1)])
def test_too_many_slices_are_written_as_one(
    saver: Saver,
    thread: Thread,
    redis_client: redis.Redis,
    stored_logs: Logs,
    every: int,
    slices: int,
) -> None:
    size = 2 * list_logs.MOST_SLICES if every == 2 else 3 * (list_logs.MOST_SLICES + 1)
    thread.put(saver, items(0, size))
    id_ = thread.put(saver, thread.last[::every])
    [key] = [key for key in found_keys(redis_client, stored_logs.prefix) if key.endswith(id_)]
    assert len(get_json(redis_client, key, ".channel_values.list.log")) == slices
    assert stored_logs.items() == size + (0 if every == 2 else len(thread.last))
    thread.put(saver, [*thread.last, *items(size, size + 1)])
    thread.check(saver)


@each_saver
@pytest.mark.parametrize(
    "value",
    [
        pytest.param((*items(0, 20),), id="tuple"),
        pytest.param([], id="empty"),
        pytest.param([*range(5_000)], id="small items"),
        pytest.param([[[*items(0, 3)]]], id="one item"),
        pytest.param([None, TEXT * 100], id="one large item"),
        pytest.param([{"items": [], "log": [["l:", 0, 1]], "text": TEXT * 9}], id="like ours"),
    ],
)
def test_other_lists_come_back(saver: Saver, thread: Thread, value: Any) -> None:
    for _ in range(2):
        thread.put(saver, value)
        thread.put(saver, items(0, 20))
    thread.check(saver)


@each_saver
@pytest.mark.parametrize("nesting", range(118, 130))
def test_deeply_nested_items_come_back(saver: Saver, thread: Thread, nesting: int) -> None:
    deep: Any = TEXT * 6
    for _ in range(nesting):
        deep = [deep]
    thread.put(saver, [deep])
    thread.put(saver, [deep, [deep]])
    thread.check(saver)


@each_saver
def test_many_items_may_be_added_at_once(saver: Saver, thread: Thread, stored_logs: Logs) -> None:
    thread.put(saver, items(0, 10))
    thread.put(saver, items(0, 3_010))
    assert stored_logs.items() == 3_010
    thread.check(saver)


# ---- forks, other writers, restarts


@each_saver
@pytest.mark.parametrize("read", [True, False])
def test_a_fork_shares_common_items(
    saver: Saver, thread: Thread, stored_logs: Logs, read: bool
) -> None:
    old = thread.put(saver, items(0, 10))
    thread.put(saver, items(0, 15))
    for fork in range(3):
        if read:
            saver.get_tuple(thread.config(old))
        value = [*thread.expected[old], *items(100 * fork + 100, 100 * fork + 105)]
        id_ = thread.put(saver, value, parent=old)
        thread.put(saver, [*value, *items(100 * fork + 105, 100 * fork + 106)], parent=id_)
    assert stored_logs.items() == 15 + 3 * 6
    thread.check(saver)


@each_saver
def test_a_saver_with_a_stale_cache_writes_correctly(
    make_saver: MakeSaver, client: Client, thread: Thread, stored_logs: Logs
) -> None:
    one, other = make_saver(client), make_saver(client, setup=False)
    thread.put(one, items(0, 10))
    other.get_tuple(thread.config())
    thread.put(other, items(0, 12))
    assert stored_logs.items() == 12
    thread.put(one, items(0, 14))  # does not know items 10 and 11, and sends them again
    assert stored_logs.items() == 12 + 4
    thread.put(other, items(0, 16))
    thread.put(one, items(0, 18))
    thread.check(one)


@each_saver
def test_several_savers_may_write_one_thread(make_saver: MakeSaver, client: Client) -> None:
    savers = [make_saver(client, setup=not index) for index in range(2)]
    threads = [Thread() for _ in range(4)]  # one thread, written by four

    def write(number: int) -> None:
        mine = threads[number]
        mine.ids = count(10_000 * number + 1)
        for step in range(15):
            value = [*items(0, 10), *items(1_000 * number, 1_000 * number + step)]
            id_ = mine.put(savers[number % 2], value)
            if step % 5 == 0:
                savers[number % 2].get_tuple(mine.config(id_))

    shared = Thread()
    shared.put(savers[0], items(0, 10))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(1, 4)))
    for mine in threads:
        shared.expected |= mine.expected
    shared.check(savers[0])


@each_saver
def test_threads_and_namespaces_have_separate_logs(saver: Saver) -> None:
    threads = [Thread(*name) for name in (("a", ""), ("b", ""), ("a", "sub"), ("a:sub", ""))]
    for step in range(3):
        for number, thread in enumerate(threads):
            value = thread.last if thread.expected else items(0, 10)
            thread.put(saver, [*value, *items(100 * number + step, 100 * number + step + 1)])
    for thread in threads:
        thread.check(saver)


@each_saver
def test_unchanged_values_are_stored_as_they_were_read(
    make_saver: MakeSaver, client: Client
) -> None:
    values = {f"{n}": item for n, item in enumerate([*items(0, 8, "mixed"), 0.1 + 0.2, 1e300])}
    values |= {"list": items(0, 20, "mixed"), "blob": TEXT * 10, "odd": {"$class": "x", "$": 1.0}}
    versions: ChannelVersions = {channel: f"{n}.5" for n, channel in enumerate(values)}
    for id_ in "123":
        saver = make_saver(client, setup=id_ == "1")
        if id_ > "1":
            found = saver.get_tuple(config())
            assert found is not None
            assert same(found.checkpoint["channel_values"], values)
        made = checkpoint(id_, values, versions)
        saver.put(config(), made, {}, versions if id_ == "1" else {})
    found = saver.get_tuple(config())
    assert found is not None
    assert same(found.checkpoint["channel_values"], values)


# ---- retries


class Recording(redis.Redis):
    """A client that keeps the last command."""

    sent: tuple[Any, ...] = ()

    def execute_command(self, *command: Any, **options: Any) -> Any:
        self.sent = command
        return super().execute_command(*command, **options)


def last_command(saver: RedisSaver) -> tuple[Any, ...]:
    """The last command that the saver sent with its copy of a recording client."""
    assert isinstance(saver._runner._plain, Recording)
    return saver._runner._plain.sent


@each_saver
def test_the_same_put_twice_changes_nothing(
    make_saver: MakeSaver, client: Client, thread: Thread
) -> None:
    saver, other = make_saver(client), make_saver(client, setup=False)
    for step in range(3):
        id_ = thread.put(saver, items(0, 10 + step))
        for again in (saver, other, make_saver(client, setup=False)):
            thread.put_again(again, id_)
            thread.check(saver)


@pytest.fixture
def recording(redis_url: str) -> Iterator[Recording]:
    with Recording.from_url(redis_url) as client:
        yield client


def test_the_same_command_twice_changes_nothing(
    make_saver: MakeSaver, recording: Recording, key_prefix: str, thread: Thread
) -> None:
    """A client sends it again when the connection was lost before the answer came."""
    saver = RedisSaver(recording, key_prefix=key_prefix)
    saver.setup()
    for step in range(4):
        thread.put(saver, items(0, 10 + step))
        recording.execute_command(*last_command(saver))
        thread.check(saver)
    thread.put(saver, items(0, 30))
    thread.check(saver)


def test_a_repeated_command_keeps_what_others_have_written(
    make_saver: MakeSaver, recording: Recording, key_prefix: str, thread: Thread
) -> None:
    saver = RedisSaver(recording, key_prefix=key_prefix)
    saver.setup()
    thread.put(saver, items(0, 10))
    command = last_command(saver)
    other = make_saver(Client(RedisSaver, 3, False), setup=False)
    other.get_tuple(thread.config())
    thread.put(other, items(0, 12))
    recording.execute_command(*command)
    thread.check(other)
    thread.put(saver, items(0, 14))
    thread.put(other, items(0, 16))
    thread.check(saver)


# ---- any sequence

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["same", "same", "same", "other", "fresh", "reads", "retry"]),
        st.sampled_from(["newest", "newest", "newest", "fork", "fork and read"]),
        st.lists(st.tuples(st.sampled_from(list(EDITS)), st.integers(0, 30)), max_size=2),
        st.integers(0, 10),
        st.sampled_from(["", "", "", "", "look", "prune", "runs", "copy", "delete"]),
    ),
    min_size=3,
    max_size=12,
)


def edited(value: list[Any], edit: str, at: int, new: list[Any]) -> list[Any]:
    """Apply an edit to a list of any length, perhaps rotated first."""
    value = value[at:] + value[:at] if at < len(value) // 2 else value
    return EDITS[edit][0](value, new) if len(value) > 8 else value + new * (at % 5)


@pytest.mark.parametrize("room", [cache.MOST_BYTES, 5_000], ids=["room for items", "little room"])
def test_any_sequence_of_edits_is_exact(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    room: int,
) -> None:
    monkeypatch.setattr(cache, "MOST_BYTES", room)
    kinds = [Client(saver, 3, False) for saver in (RedisSaver, AsyncRedisSaver)]
    pair = [make_saver(kind) for kind in kinds]
    reader: Any = make_saver(kinds[0], setup=False)
    numbers = count()

    @examples(60)
    @given(st.sampled_from(list(ITEMS)), STEPS)
    def check(kind: str, steps: list[Any]) -> None:
        example = next(numbers)  # a failed example leaves its threads
        threads = {name: Thread(f"{name}{example}") for name in "ab"}
        at = "a"
        threads["b"].ids = count(50_001)
        current = pair[0]
        for who, where, edits, seed, then in steps:
            thread = threads[at]
            if who == "other":
                current = pair[1] if current is pair[0] else pair[0]
            elif who == "fresh":
                current = RedisSaver(reader._runner.client, key_prefix=key_prefix)
            parent = max(thread.expected, default=None)
            if where != "newest" and thread.expected:
                parent = sorted(thread.expected)[seed % len(thread.expected)]
            if who == "reads" or where == "fork and read":
                thread.check_one(current, parent)
            value = thread.expected[parent] if parent else items(0, 10, kind)
            for edit, turn in edits:
                value = edited(value, edit, turn, items(n := next(numbers) * 3, n + 3, kind))
            id_ = thread.put(current, value, parent=parent)
            if who == "retry":
                thread.put_again(current, id_)
            if then == "prune":
                pair[seed % 2].prune([thread.thread_id])
                thread.expected = dict([max(thread.expected.items(), key=itemgetter(0))])
            elif then == "runs":
                gone = sorted(thread.expected)[: seed % 4]
                pair[seed % 2].delete_for_runs(gone)
                for other in threads.values():
                    for run in gone:
                        other.expected.pop(run, None)
            elif then == "copy":
                source, at = at, "b" if at == "a" else "a"
                pair[seed % 2].copy_thread(threads[source].thread_id, threads[at].thread_id)
                threads[at].expected |= threads[source].expected
                threads[at].parents |= threads[source].parents
            elif then == "delete":
                pair[seed % 2].delete_thread(thread.thread_id)
                thread.expected.clear()
            for each in threads.values():
                each.check(reader)
                if then == "look":
                    for saver in (current, pair[seed % 2]):
                        each.check_one(saver)
        for each in threads.values():
            for saver in (current, *pair):
                each.check_one(saver)
        for thread in threads.values():
            reader.delete_thread(thread.thread_id)
            assert found_keys(redis_client, f"{key_prefix}*{{{thread.thread_id}}}*") == []

    check()

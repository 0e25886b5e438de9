"""Logs: large lists are kept item by item, and every edit of them stays exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from operator import itemgetter
from typing import Any

import orjson
import pytest
import redis
from checkpoints import checkpoint, config, each_saver, found_keys, strange
from conftest import Client, MakeSaver, Saver
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import Send
from strategies import examples
from test_damage import damages

from langgraph_redis_json import AsyncRedisSaver, RedisSaver, keys, logs, memory
from langgraph_redis_json.errors import (
    CheckpointError,
    DamagedDocumentError,
    MissingDocumentError,
)

serde = JsonPlusSerializer()

TEXT = "some words of an é\0 and a 👩‍👩‍👧 " * 3

ITEMS: dict[str, Callable[[int], Any]] = {
    "messages": lambda n: [HumanMessage, AIMessage][n % 2](f"{n} {TEXT}", id=f"{n}"),
    "dicts": lambda n: {"n": n, "text": TEXT, "$log": [n]},
    "tuples": lambda n: (n, TEXT),
    "bytes": lambda n: b"%d \xff\0" % n + bytes(100),
    "mixed": lambda n: [
        None,
        b"\xff" * 200,
        float("nan"),
        f"{n} {TEXT}",
        {"a": (n, {2}), 3: TEXT},
        [1.5, 0.1 + 0.2, float("-inf"), 1 << 63, TEXT],
        ToolMessage(TEXT * 2, tool_call_id=f"{n}"),
        {"type": "msgpack", "json": TEXT},
    ][n % 8],
}


def items(start: int, stop: int, kind: str = "dicts") -> list[Any]:
    return [ITEMS[kind](n) for n in range(start, stop)]


def same(left: Any, right: Any) -> bool:
    """Whether the serializer writes the same: to it a tuple is a list, and NaN is NaN."""
    return serde.dumps_typed(left) == serde.dumps_typed(right)


class Thread:
    """What was put into one channel, checkpoint by checkpoint."""

    def __init__(self, thread_id: str = "thread", checkpoint_ns: str = "") -> None:
        self.thread_id, self.checkpoint_ns = thread_id, checkpoint_ns
        self.expected: dict[str, Any] = {}
        self.parents: dict[str, str | None] = {}
        self.ids = count(1)

    def config(self, checkpoint_id: str | None = None) -> Any:
        return config(self.thread_id, self.checkpoint_ns, checkpoint_id)

    def put(self, saver: Saver, value: Any, *, parent: str | None = None) -> str:
        id_ = f"{next(self.ids):05}"
        self.parents[id_] = parent or max(self.expected, default=None)
        self.expected[id_] = value
        self.put_again(saver, id_)
        return id_

    def put_again(self, saver: Saver, id_: str) -> None:
        versions = {"list": f"{id_}.5"}
        made = checkpoint(id_, {"list": self.expected[id_]}, versions)
        saver.put(self.config(self.parents[id_]), made, {"step": 1, "run_id": id_}, versions)

    @property
    def last(self) -> Any:
        return self.expected[max(self.expected)]

    def check(self, reader: Saver) -> None:
        """Everything is as it was put. (A listing leaves a saver's memory as it is.)"""
        found = {
            item.config["configurable"]["checkpoint_id"]: item.checkpoint["channel_values"]["list"]
            for item in reader.list(self.config())
        }
        assert list(found) == sorted(self.expected, reverse=True)
        wrong = [id_ for id_, value in self.expected.items() if not same(found[id_], value)]
        assert not wrong


@pytest.fixture
def thread() -> Thread:
    return Thread()


def get_json(client: redis.Redis, key: str, path: str = ".") -> Any:
    return orjson.loads(client.execute_command("JSON.GET", key, path))


class Logs:
    """The logs that a test has on the server."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self.client, self.prefix = client, prefix

    def keys(self) -> list[str]:
        return found_keys(self.client, self.prefix, "checkpoint_log")

    def items(self) -> int:
        """How many items are stored in all."""
        lengths = (self.client.execute_command("JSON.ARRLEN", key, ".items") for key in self.keys())
        return sum(lengths)

    def delete(self) -> str:
        [key] = self.keys()
        self.client.delete(key)
        return key


@pytest.fixture
def stored_logs(redis_client: redis.Redis, key_prefix: str) -> Logs:
    return Logs(redis_client, key_prefix)


@each_saver
@strange
def test_channels(make_saver: MakeSaver, client: Client, stored_logs: Logs, text: str) -> None:
    writer, reader = (make_saver(client, setup=False) for _ in range(2))
    values = {text: items(0, 20), f"{text} too": items(0, 10)}
    versions = dict.fromkeys(values, 1)
    writer.put(config(), checkpoint("1", values, versions), {"step": 1}, versions)  # type: ignore[arg-type]
    assert stored_logs.items() == 30
    found = reader.get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"] == values
    assert found.checkpoint["channel_versions"] == versions


@each_saver
def test_tasks_are_no_growing_list(
    make_saver: MakeSaver, client: Client, stored_logs: Logs
) -> None:
    """A superstep's tasks are others than the last one's: nothing would be added to a log."""
    saver = make_saver(client, setup=False)
    sends = {TASKS: [Send("work", {"text": f"{number} {TEXT}"}) for number in range(50)]}
    saver.put(config(), checkpoint("1", sends, {TASKS: 1}), {"step": 1}, {TASKS: 1})  # type: ignore[arg-type]
    assert stored_logs.keys() == []
    found = saver.get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"] == sends


# ---- edits

EDITS: dict[str, tuple[Callable[[list[Any], list[Any]], list[Any]], int]] = {
    "append": (lambda m, new: [*m, *new], 3),
    "trim the front": (lambda m, new: m[5:], 0),
    "slide the window": (lambda m, new: [*m[3:], *new], 3),
    "keep the first and slide": (lambda m, new: [m[0], *m[5:], *new], 3),
    "trim the end": (lambda m, new: m[:-3], 0),
    "remove": (lambda m, new: [*m[:4], *m[5:]], 0),
    "replace": (lambda m, new: [*m[:4], new[0], *m[5:]], 1),
    "replace the last": (lambda m, new: [*m[:-1], new[0]], 1),
    "insert at the front": (lambda m, new: [*new, *m], 3),
    "insert": (lambda m, new: [*m[:6], *new, *m[6:]], 3),
    "insert twice": (lambda m, new: [new[0], *m[:6], *new[1:], *m[6:]], 3),
    "reorder": (lambda m, new: [*m[8:], *m[3:8], *m[:3]], 0),
    "duplicate": (lambda m, new: [*m[:8], m[2], m[2], *m[8:]], 0),
    "append what is there": (lambda m, new: [*m, m[2]], 1),
    "nothing": (lambda m, new: [*m], 0),
    "clear": (lambda m, new: [], 0),
    "shrink": (lambda m, new: m[:1], 0),
    "start anew": (lambda m, new: new * 4, 12),
}
"""Edits of a list, with how many new items they have."""


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
def test_edits_follow_edits(
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
        if len(value) < 12:  # shrunk below what is worth a log: grow again
            value = value + items(100 * number, 100 * number + 20, kind)
            thread.put(saver, value)
        thread.put(saver, change(value, items(100 * number + 50, 100 * number + 53, kind)))
    assert stored_logs.keys()
    thread.check(make_saver(client, setup=False))


@each_saver
@pytest.mark.parametrize(("every", "slices"), [(2, logs.MOST_SLICES), (3, 1)])
def test_too_many_slices_are_written_as_one(
    saver: Saver,
    thread: Thread,
    redis_client: redis.Redis,
    stored_logs: Logs,
    every: int,
    slices: int,
) -> None:
    size = 2 * logs.MOST_SLICES if every == 2 else 3 * (logs.MOST_SLICES + 1)
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
def test_other_lists(saver: Saver, thread: Thread, value: Any) -> None:
    for _ in range(2):
        thread.put(saver, value)
        thread.put(saver, items(0, 20))
    thread.check(saver)


@each_saver
@pytest.mark.parametrize("nesting", range(118, 130))
def test_items_nested_as_deep_as_can_be(saver: Saver, thread: Thread, nesting: int) -> None:
    deep: Any = TEXT * 6
    for _ in range(nesting):
        deep = [deep]
    thread.put(saver, [deep])
    thread.put(saver, [deep, [deep]])
    thread.check(saver)


@each_saver
def test_many_items_at_once(saver: Saver, thread: Thread, stored_logs: Logs) -> None:
    thread.put(saver, items(0, 10))
    thread.put(saver, items(0, 3_010))
    assert stored_logs.items() == 3_010
    thread.check(saver)


# ---- forks, other writers, restarts


@each_saver
@pytest.mark.parametrize("read", [True, False])
def test_a_fork_shares_what_it_has_in_common(
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
def test_a_saver_with_a_stale_memory(
    make_saver: MakeSaver, client: Client, thread: Thread, stored_logs: Logs
) -> None:
    one, other = make_saver(client), make_saver(client, setup=False)
    thread.put(one, items(0, 10))
    other.get_tuple(thread.config())
    thread.put(other, items(0, 12))
    assert stored_logs.items() == 12
    thread.put(one, items(0, 14))  # does not know items 10 and 11: they come again
    assert stored_logs.items() == 12 + 4
    thread.put(other, items(0, 16))
    thread.put(one, items(0, 18))
    thread.check(one)


@each_saver
def test_writers_at_once(make_saver: MakeSaver, client: Client) -> None:
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
def test_threads_and_namespaces_are_apart(saver: Saver) -> None:
    threads = [Thread(*name) for name in (("a", ""), ("b", ""), ("a", "sub"), ("a:sub", ""))]
    for step in range(3):
        for number, thread in enumerate(threads):
            value = thread.last if thread.expected else items(0, 10)
            thread.put(saver, [*value, *items(100 * number + step, 100 * number + step + 1)])
    for thread in threads:
        thread.check(saver)


@each_saver
def test_what_is_read_and_not_changed_is_put_as_it_stands(
    make_saver: MakeSaver, client: Client
) -> None:
    values = {f"{n}": item for n, item in enumerate([*items(0, 8, "mixed"), 0.1 + 0.2, 1e300])}
    values |= {"list": items(0, 20, "mixed"), "blob": TEXT * 10, "odd": {"$class": "x", "$": 1.0}}
    versions = {channel: f"{n}.5" for n, channel in enumerate(values)}
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


@each_saver
def test_the_same_put_twice(make_saver: MakeSaver, client: Client, thread: Thread) -> None:
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


def test_the_same_command_twice(
    make_saver: MakeSaver, recording: Recording, key_prefix: str, thread: Thread
) -> None:
    """A client sends it again when the connection was lost before the answer came."""
    saver = RedisSaver(recording, key_prefix=key_prefix)
    saver.setup()
    for step in range(4):
        thread.put(saver, items(0, 10 + step))
        recording.execute_command(*saver._redis.sent)
        thread.check(saver)
    thread.put(saver, items(0, 30))
    thread.check(saver)


def test_the_same_command_after_others_have_written(
    make_saver: MakeSaver, recording: Recording, key_prefix: str, thread: Thread
) -> None:
    saver = RedisSaver(recording, key_prefix=key_prefix)
    saver.setup()
    thread.put(saver, items(0, 10))
    command = saver._redis.sent
    other = make_saver(Client(RedisSaver, 3, False), setup=False)
    other.get_tuple(thread.config())
    thread.put(other, items(0, 12))
    recording.execute_command(*command)
    thread.check(other)
    thread.put(saver, items(0, 14))
    thread.put(other, items(0, 16))
    thread.check(saver)


# ---- what is lost or taken away


@each_saver
@pytest.mark.parametrize("change", ["appended", "unchanged", "trimmed"])
def test_a_log_that_is_gone(
    make_saver: MakeSaver, client: Client, thread: Thread, stored_logs: Logs, change: str
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
        with pytest.raises(MissingDocumentError, match="needs the document"):
            list(reader.list(thread.config()))


@each_saver
def test_a_blob_and_a_log_that_are_gone(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client)
    values = {"list": items(0, 10), "blob": TEXT * 10, "more": items(5, 15)}
    versions = dict.fromkeys(values, "1")
    saver.put(config(), checkpoint("1", values, versions), {}, versions)
    for kind in ("checkpoint_blob", "checkpoint_log"):
        redis_client.delete(*found_keys(redis_client, key_prefix, kind))
    values["list"] = items(0, 12)
    versions["list"] = "2"
    saver.put(config(), checkpoint("2", values, versions), {}, {"list": "2"})
    found = make_saver(client, setup=False).get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"] == values


@each_saver
def test_delete_thread_and_put_again(
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
def test_copies_are_written_apart(
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
    # Copied once more, onto what was written since.
    saver.copy_thread("thread", "copy")
    copy.expected |= thread.expected
    copy.check(saver)
    copy.put(saver, [*copy.last, *items(300, 303)])
    copy.check(saver)
    thread.check(saver)


@each_saver
@pytest.mark.parametrize("by", ["prune", "delete_for_runs"])
@pytest.mark.parametrize("what", ["other lists", "windows", "removed items"])
def test_a_saver_that_remembers_what_was_freed(
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
    saver.get_tuple(thread.config(min(thread.expected)))  # remembered: the oldest
    for remembers in (True, False):
        latest = max(thread.expected)
        freed = sorted(thread.expected)[:-1]
        if by == "prune":
            deleter.prune(["thread"])
        else:
            deleter.delete_for_runs(freed)
        thread.expected = {latest: thread.expected[latest]}
        thread.check(deleter)
        thread.put(saver, [*thread.last, *items(40, 45)] if remembers else items(0, 10))
        thread.check(deleter)


@each_saver
def test_nothing_is_left_behind_windows(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, stored_logs: Logs
) -> None:
    threads = [Thread("thread"), Thread("thread", "sub"), Thread("other")]
    for thread in threads:
        thread.put(saver, items(900, 910))  # a log that nobody needs in the end
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
    living = 0
    saver.prune(["other"])
    for key in found_keys(redis_client, key_prefix, "checkpoint"):
        log = get_json(redis_client, key, ".channel_values.list.log")
        tag = key[key.index("{") : key.index("}") + 1]
        needed |= {f"{key_prefix}:checkpoint_log:{tag}{part[0][1:]}" for part in log}
        living += sum(stop - start for _, start, stop in log)
    assert living == 3 * 9
    assert set(stored_logs.keys()) == needed
    assert stored_logs.items() <= 2 * living
    for tag in ("{thread}", "{other}"):
        contents = f"{key_prefix}:checkpoint_keys:{tag}"
        named = keys.ThreadKeys(f"{key_prefix}:", tag)
        expected = {named.key(entry) for entry in redis_client.zrange(contents, 0, -1)}
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


@pytest.mark.parametrize("kind", ["checkpoint", "checkpoint_log"])
def test_every_field(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, kind: str
) -> None:
    """An error names the document, or nothing has changed for the reader."""
    saver = make_saver(Client(RedisSaver, 3, False), setup=False)
    saver.put(config(), checkpoint("1", {"list": items(0, 8, "mixed")}), {}, {"list": 1})
    reads: list[Callable[[], Any]] = [
        lambda: saver.get_tuple(config()),
        lambda: next(iter(saver.list(config()))),
    ]
    [key] = found_keys(redis_client, key_prefix, kind)
    right = picture(saver.get_tuple(config()))
    document = get_json(redis_client, key)
    assert right is not None
    wrong = []
    for description, path, damaged in damages(document):
        if path[:1] in (("metadata",), ("tokens",)):
            continue
        if "json" in path or "tagged" in path:  # content: any JSON is right
            continue
        redis_client.execute_command("JSON.SET", key, "$", orjson.dumps(damaged))
        for read in reads:
            try:
                found = read()
            except CheckpointError as error:
                if key not in str(error):
                    wrong.append(f"{description}: does not name {key}: {error}")
            except Exception as error:  # noqa: BLE001
                wrong.append(f"{description}: {error!r:.150}")
            else:
                at_value = path == ("channel_values", "list")
                absent = at_value and description.startswith(("no ", "None "))
                if not absent and picture(found) != right:
                    wrong.append(f"{description}: another state")
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
def test_a_damaged_log_is_named(
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
    if damage == "items gone":
        redis_client.execute_command("JSON.DEL", key, path)
    else:
        redis_client.execute_command("JSON.SET", key, path, orjson.dumps(value))
    reads: list[Callable[[], Any]] = [
        lambda: saver.get_tuple(thread.config()),
        lambda: saver.get_tuple(thread.config("00001")),
        lambda: list(saver.list(thread.config())),
        lambda: list(saver.list(None, filter={"step": 1})),
    ]
    for read in reads:
        with pytest.raises(DamagedDocumentError) as raised:
            read()
        assert f"key {key} " in str(raised.value)


@each_saver
@pytest.mark.parametrize("damage", ["too few items", "no items", "no list", "items gone"])
def test_a_put_onto_a_damaged_log_writes_another(
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


# ---- any sequence

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["same", "same", "same", "other", "fresh", "reads", "retry"]),
        st.sampled_from(["newest", "newest", "newest", "fork", "fork and read"]),
        st.lists(st.tuples(st.sampled_from(list(EDITS)), st.integers(0, 30)), max_size=2),
        st.integers(0, 10),
        st.sampled_from(["", "", "", "", "prune", "runs", "copy", "delete"]),
    ),
    min_size=3,
    max_size=12,
)


def edited(value: list[Any], edit: str, at: int, new: list[Any]) -> list[Any]:
    """An edit that any list can bear, as it is or turned by some places."""
    value = value[at:] + value[:at] if at < len(value) // 2 else value
    return EDITS[edit][0](value, new) if len(value) > 8 else value + new * (at % 5)


def test_any_sequence_of_edits(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    kinds = [Client(saver, 3, False) for saver in (RedisSaver, AsyncRedisSaver)]
    pair = [make_saver(kind) for kind in kinds]
    reader = make_saver(kinds[0], setup=False)
    numbers = count()

    @examples(60)
    @given(st.sampled_from(list(ITEMS)), STEPS)
    def check(kind: str, steps: list[Any]) -> None:
        example = next(numbers)  # a failed one leaves its threads behind
        threads = {name: Thread(f"{name}{example}") for name in "ab"}
        at = "a"
        threads["b"].ids = count(50_001)
        current = pair[0]
        for who, where, edits, seed, then in steps:
            thread = threads[at]
            if who == "other":
                current = pair[1] if current is pair[0] else pair[0]
            elif who == "fresh":
                current = RedisSaver(reader._redis, key_prefix=key_prefix)
            parent = max(thread.expected, default=None)
            if where != "newest" and thread.expected:
                parent = sorted(thread.expected)[seed % len(thread.expected)]
            if who == "reads" or where == "fork and read":
                current.get_tuple(thread.config(parent))
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
        for thread in threads.values():
            reader.delete_thread(thread.thread_id)
            assert found_keys(redis_client, f"{key_prefix}:*{{{thread.thread_id}}}*") == []

    check()


# ---- without a server


@examples(300)
@given(
    st.lists(
        st.one_of(
            st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(),
            st.text() | st.binary() | st.lists(st.integers(0, 300)) | st.sets(st.integers(0, 300)),
            st.tuples(st.text()) | st.dictionaries(st.integers(0, 300) | st.text(), st.text()),
            st.builds(HumanMessage, st.text()),
        )
    ),
    st.integers(0, 20),
)
def test_split_and_join(value: list[Any], large: int) -> None:
    value = [*value, *[TEXT * 5] * large]
    _, data = serde.dumps_typed(value)
    found = logs.split(data)
    assert found is not None
    assert logs.join(found) == data
    assert [serde.dumps_typed([item])[1][1:] for item in value] == found
    assert logs.decode_items(orjson.loads(logs.encode_item(item)) for item in found) == found
    items = logs.read(data)
    assert (items is not None) == (len(data) >= logs.ITEM * len(value))
    assert items is None or items.new == found


@pytest.mark.parametrize("length", [0, 1, 15, 16, 65_535, 65_536])
def test_lengths_of_lists(length: int) -> None:
    _, data = serde.dumps_typed([b"%064d" % n for n in range(length)])
    found = logs.split(data)
    assert found is not None
    assert len(found) == length
    assert logs.join(found) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        serde.dumps_typed({TEXT})[1],
        serde.dumps_typed({"a": TEXT})[1],
        serde.dumps_typed([*range(1_000)])[1],
        b"\xdc\0\x01" + serde.dumps_typed(TEXT)[1],  # not as the serializer writes it
        serde.dumps_typed([TEXT])[1] + b"\0",
    ],
)
def test_what_is_not_split(data: bytes) -> None:
    assert logs.read(data) is None


LISTS = st.lists(
    st.tuples(
        st.one_of(
            st.lists(st.integers(0, 12), max_size=30),
            st.tuples(st.integers(0, 30), st.integers(0, 60)).map(lambda p: [*range(*p)]),
            st.tuples(st.integers(0, 30), st.integers(0, 60)).map(lambda p: [*range(*p)][::-1]),
            st.integers(1, 4).map(lambda step: [*range(0, 60, step)]),
        ),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
)


@examples(300)
@given(LISTS)
def test_the_slices_of_a_layout(lists: list[Any]) -> None:
    """They name the items of the list, in order; nothing that is known is stored again."""
    server: dict[str, list[bytes]] = {}
    known: memory.Known | None = None
    last: list[bytes] = []
    for numbers, grown, forgotten in lists:
        value = [b"%d" % number for number in numbers]
        layout = logs.lay_out(logs.digests(value), known, "l:ns:list:")
        assert len(layout.slices) <= logs.MOST_SLICES
        before = {log: [*there] for log, there in server.items()}
        if layout.log is None:
            assert not layout.new
        else:
            assert layout.log.startswith("l:ns:list:")
            there = server.setdefault(layout.log, [])
            assert len(there) == layout.length
            there += [value[number] for number in layout.new]
        assert [item for log, a, b in layout.slices for item in server[log][a:b]] == value
        if layout.length and known is not None and value[: len(last)] != last:
            remembered = {item for log, a, b in known.slices for item in before[log][a:b]}
            assert remembered.isdisjoint(value[number] for number in layout.new)
        for left, right in zip(layout.slices, layout.slices[1:], strict=False):
            assert (left.log, left.stop) != (right.log, right.start)
        used = {part.log for part in layout.slices}
        lengths = {log: len(server[log]) for log in used if not (grown and log == layout.log)}
        if grown and layout.log:  # another process adds to it
            server[layout.log].append(b"x")
        last, known = (
            value,
            memory.Known("1", b"", None, layout.slices, logs.digests(value), lengths),
        )
        if forgotten:
            known = None


def test_neighbours_in_two_logs_are_two_slices() -> None:
    """Item 2 of one log and item 3 of another do not follow each other."""
    known = memory.Known(
        "1",
        b"",
        None,
        [memory.Slice("one", 0, 5), memory.Slice("two", 0, 5)],
        logs.digests([b"%d" % number for number in range(10)]),
        {"one": 5, "two": 5},
    )
    value = [b"%d" % number for number in (0, 1, 2, 8, 9)]
    layout = logs.lay_out(logs.digests(value), known, "l:")
    assert layout.slices == [("one", 0, 3), ("two", 3, 5)]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "THREADS", 10)
    monkeypatch.setattr(memory, "BYTES", 100)
    monkeypatch.setattr(
        memory, "_size", lambda channels: sum(len(known.digests) for known in channels.values())
    )

    def known(size: int) -> dict[str, memory.Known]:
        return {"list": memory.Known("1", b"", digests=logs.digests([b"x"] * size))}

    remembered = memory.Memory()
    held = lambda: {  # noqa: E731
        n: len(found["list"].digests) for n in range(50) if (found := remembered.recall(f"{n}", ""))
    }
    for n in range(20):
        remembered.learn(f"{n}", "", known(1))
    assert held() == dict.fromkeys(range(10, 20), 1)
    remembered.learn("10", "", known(50))  # used again: not the next to be forgotten
    remembered.learn("20", "", known(40))
    assert held() == {**dict.fromkeys(range(12, 20), 1), 10: 50, 20: 40}
    remembered.learn("21", "", known(9))
    assert held() == {19: 1, 10: 50, 20: 40, 21: 9}
    remembered.learn("22", "", known(101))
    assert held() == {}
    for _ in range(30):
        remembered.learn("1", "", known(60))
    assert held() == {1: 60}

"""TTLs, pin and expire: all keys of a thread expire at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import redis
from langgraph.checkpoint.base import ChannelVersions
from langgraph.checkpoint.serde.types import INTERRUPT

from langgraph_redis_json import (
    MissingDocumentError,
    RedisSaver,
    ThreadMissingError,
)
from langgraph_redis_json.operations import delete_thread as delete_thread_operation
from langgraph_redis_json.operations import expiry as expiry_operation
from langgraph_redis_json.operations import put as put_operation
from langgraph_redis_json.operations import put_writes as put_writes_operation
from langgraph_redis_json.search.fields import SCHEMAS
from langgraph_redis_json.search.queries import index_name
from langgraph_redis_json.storage.cache import LARGE
from langgraph_redis_json.storage.keys import thread_keys
from tests.support.accounting import account
from tests.support.checkpoints import (
    BIG,
    checkpoint,
    config,
    each_saver,
    found_keys,
    get,
    get_tuple,
    ids,
    indexed,
    names,
    put,
)
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.interleaving import begin, crowd, fill, run_with_break
from tests.support.plans import execute
from tests.support.waiting import server_time, wait_until_after

MINUTE = 60_000
HOUR = 60 * MINUTE
"""Milliseconds. Deadlines that must not pass during a test are hours away."""

SAVER = Client(RedisSaver, 3, False)

MANY = 2_000
"""Keys that one call gives a deadline."""


def deadline(client: redis.Redis, key_prefix: str, thread_id: str = "thread") -> int:
    """The deadline that all keys of a thread have, in milliseconds since 1970; -1 for never."""
    found = {
        client.pexpiretime(key) for key in found_keys(client, key_prefix) if tag(key) == thread_id
    }
    assert len(found) == 1, found
    return int(found.pop())


def deadlines(client: redis.Redis, key_prefix: str) -> list[int]:
    """The deadline of each key."""
    pipeline = client.pipeline(transaction=False)
    for key in found_keys(client, key_prefix):
        pipeline.pexpiretime(key)
    return list(pipeline.execute())


def tag(key: str) -> str:
    return key[key.index("{") + 1 : key.index("}")]


def run_whole(saver: Any, plan: Any) -> None:
    saver._runner.run(plan)


# ---- what is asked for


@pytest.mark.parametrize(
    ("ttl", "error", "message"),
    [
        ({"refresh_on_read": True}, ValueError, "default_ttl"),
        ({"default_ttl": 0}, ValueError, "more than 0"),
        ({"default_ttl": -2}, ValueError, "more than 0"),
        ({"default_tll": None}, ValueError, "default_tll"),
        ({"default_ttl": None, "refresh_on_read": "yes"}, TypeError, "True or False"),
        (-2, TypeError, "default_ttl"),
        ([], TypeError, "default_ttl"),
        ({"default_ttl": math.inf}, ValueError, "pin"),
        ({"default_ttl": math.nan}, ValueError, "more than 0"),
        ({"default_ttl": 1e15}, ValueError, "at most"),
        ({"default_ttl": "60"}, TypeError, "minutes"),
        ({"default_ttl": True}, TypeError, "minutes"),
        ({"default_ttl": 60, "refresh_on_read": 1}, TypeError, "True or False"),
        ({"default_ttl": 60, "refresh_on_reed": True}, ValueError, "refresh_on_reed"),
        (60, TypeError, "default_ttl"),
    ],
)
@each_saver
def test_an_invalid_ttl_is_refused(
    make_saver: MakeSaver, client: Client, ttl: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_saver(client, setup=False, ttl=ttl)


@each_saver
@pytest.mark.parametrize(
    "ttl",
    [
        *(None, {}, -1, {"default_ttl": None}, {"default_ttl": -1}, {"default_ttl": -1.0}),
        {"default_ttl": None, "refresh_on_read": True},
    ],
)
def test_settings_files_may_say_that_threads_never_expire(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str, ttl: Any
) -> None:
    saver = make_saver(client, setup=False, ttl=ttl)
    put(saver, "1")
    saver.get_tuple(config())
    keys = found_keys(redis_client, key_prefix)
    assert keys
    assert {redis_client.pexpiretime(key) for key in keys} == {-1}


@each_saver
@pytest.mark.parametrize("minutes", [0, -1, math.inf, math.nan, "1", True, None, 1e15])
def test_invalid_minutes_are_refused(
    saver: Saver, redis_client: redis.Redis, key_prefix: str, minutes: Any
) -> None:
    put(saver, "1")
    with pytest.raises((ValueError, TypeError), match="minutes"):
        saver.expire("thread", minutes)
    assert deadline(redis_client, key_prefix) == -1


@each_saver
def test_pin_and_expire_of_a_missing_thread_raise(
    saver: Saver, redis_client: redis.Redis, key_prefix: str
) -> None:
    for verb in (lambda: saver.pin("none"), lambda: saver.expire("none", 1)):
        with pytest.raises(ThreadMissingError, match='no thread "none"'):
            verb()
    assert found_keys(redis_client, key_prefix) == []


# ---- one deadline for all keys


def long_thread(saver: Saver) -> None:
    """Forks, subgraphs, 300 checkpoints, blobs and logs that several of them share."""
    said = [{"n": n, "text": BIG[:150]} for n in range(300)]
    for number in range(150):
        for checkpoint_ns in ("", "sub:1"):
            values = {"big": f"{number // 7}{BIG}", "said": said[: number // 2 + 1], "n": number}
            versions = {"big": number // 7, "said": number // 2, "n": number}
            parent = f"{max(0, number - 1 - number % 3):03}" if number else None
            made = put(
                saver,
                f"{number:03}",
                values,
                versions,
                checkpoint_ns=checkpoint_ns,
                parent=parent,
            )
            if number % 10 == 0:
                saver.put_writes(made, [("channel", number), (INTERRUPT, BIG)], "task")


@each_saver
def test_all_keys_of_a_thread_expire_at_once(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client, ttl={"default_ttl": 60})
    start = server_time(redis_client)
    long_thread(saver)
    account(redis_client, key_prefix)
    end = deadline(redis_client, key_prefix)
    assert start + 60 * MINUTE <= end <= server_time(redis_client) + 75 * MINUTE
    assert len(ids(saver.list(config("thread", None)))) == 300
    earliest = server_time(redis_client) + 0.01 * MINUTE
    saver.expire("thread", 0.01)
    latest = server_time(redis_client) + 0.01 * MINUTE
    read = [
        lambda: [] if saver.get_tuple(config()) is None else ["there"],
        lambda: [] if saver.get_tuple(config(checkpoint_id="100")) is None else ["there"],
        lambda: ids(saver.list(config("thread", None))),
        lambda: ids(saver.list(None)),
        lambda: ids(saver.list(None, limit=3)),
        lambda: ids(saver.list(config(), filter={"step": 1})),
    ]
    while True:
        before = server_time(redis_client)
        found = [each() for each in read]
        if server_time(redis_client) < earliest:
            assert all(found)
        if before > latest:
            assert not any(found)
            break
    assert found_keys(redis_client, key_prefix) == []
    for which in SCHEMAS:
        assert indexed(redis_client, index_name(key_prefix, which)) == 0
    account(redis_client, key_prefix)


@each_saver
def test_a_listing_skips_threads_that_expire_meanwhile(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client)
    for number in range(60):
        put(saver, f"{number:02}", thread_id=f"{number % 2}")
    for given in (None, config("0", "")):
        found = saver.list(given)
        first = [next(found)]
        assert len(first) == 1
        saver.expire("0", 0.001)
        wait_until_after(redis_client, server_time(redis_client) + MINUTE // 1000)
        assert {name[0] for name in names(found)} <= ({"0", "1"} if given is None else {"0"})
        assert {name[0] for name in names(saver.list(None))} == {"1"}
        put(saver, "99", thread_id="0")
        for number in range(60):
            put(saver, f"{number:02}", thread_id="0")


@each_saver
def test_writing_moves_the_deadline_at_most_once_a_quarter_of_the_ttl(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client, ttl={"default_ttl": 60})
    written = put(saver, "1", {"big": BIG})
    first = deadline(redis_client, key_prefix)
    uses: list[Callable[[], Any]] = [
        lambda: put(saver, "2", {"big": BIG}),
        lambda: saver.put_writes(written, [("channel", 1)], "task"),
    ]
    for use in uses:
        use()
        assert deadline(redis_client, key_prefix) == first  # there is more than an hour left
    for use in uses:
        soon = server_time(redis_client) + HOUR - 1
        for key in found_keys(redis_client, key_prefix):
            redis_client.pexpireat(key, soon)
        start = server_time(redis_client)
        use()
        assert start + 1.25 * HOUR <= deadline(redis_client, key_prefix)
        assert deadline(redis_client, key_prefix) <= server_time(redis_client) + 1.25 * HOUR + 1


@each_saver
@pytest.mark.parametrize("refresh", [True, False])
def test_reading_moves_the_deadline_with_refresh_on_read(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str, refresh: bool
) -> None:
    saver = make_saver(client, ttl={"default_ttl": 60, "refresh_on_read": refresh})
    put(saver, "1", {"big": BIG})
    for given in (config(), config(checkpoint_id="1")):
        soon = server_time(redis_client) + HOUR // 2
        for key in found_keys(redis_client, key_prefix):
            redis_client.pexpireat(key, soon)
        list(saver.list(config()))
        assert deadline(redis_client, key_prefix) == soon
        assert saver.get_tuple(given) is not None
        assert (deadline(redis_client, key_prefix) > soon) == refresh
    saver.get_tuple(config("none"))
    assert {tag(key) for key in found_keys(redis_client, key_prefix)} == {"thread"}


@each_saver
def test_savers_with_different_ttls_only_extend_the_deadline(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    without = make_saver(client)
    short = make_saver(client, setup=False, ttl={"default_ttl": 60})
    long = make_saver(client, setup=False, ttl={"default_ttl": 60_000})
    written = put(without, "1", {"big": BIG})
    assert deadline(redis_client, key_prefix) == -1
    short.put_writes(written, [("channel", 1)], "task")
    first = deadline(redis_client, key_prefix)
    assert first > server_time(redis_client)
    put(without, "2", {"other": f"new{BIG}"})  # keeps the thread's deadline
    without.put_writes(config(checkpoint_id="1"), [("channel", 1)], "another")
    without.put_writes(config(checkpoint_id="3"), [("channel", 1)], "task")
    assert deadline(redis_client, key_prefix) == first
    put(long, "3")
    second = deadline(redis_client, key_prefix)
    assert second > first
    put(short, "4")  # never shortens
    assert deadline(redis_client, key_prefix) == second


@each_saver
def test_pin_and_expire_change_the_deadline(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client, ttl={"default_ttl": 60, "refresh_on_read": True})
    fill(saver, "thread")
    for _ in range(2):
        assert saver.pin("thread") is None
        assert deadline(redis_client, key_prefix) == -1
        put(saver, "9", {"big": f"9{BIG}"})
        saver.put_writes(config(checkpoint_id="9"), [("channel", 1)], "task")
        saver.get_tuple(config())
        saver.prune(["thread"])
        account(redis_client, key_prefix)
        assert deadline(redis_client, key_prefix) == -1
    start = server_time(redis_client)
    assert saver.expire("thread", 90) is None
    first = deadline(redis_client, key_prefix)
    assert start + 1.5 * HOUR <= first <= server_time(redis_client) + 1.5 * HOUR
    put(saver, "91")
    assert deadline(redis_client, key_prefix) == first  # is later than an hour from now
    saver.expire("thread", 30)
    assert deadline(redis_client, key_prefix) < first
    put(saver, "92")
    assert deadline(redis_client, key_prefix) > server_time(redis_client) + HOUR
    account(redis_client, key_prefix)


@each_saver
def test_a_pinned_thread_can_be_deleted_and_copied(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client, ttl={"default_ttl": 60})
    for delete in (
        lambda: saver.delete_thread("thread"),
        lambda: saver.delete_for_runs(["0", "1"]),
        lambda: saver.prune(["thread"], strategy="delete"),
    ):
        fill(saver, "thread")
        saver.pin("thread")
        saver.copy_thread("thread", "copy")
        assert deadline(redis_client, key_prefix) == -1
        assert deadline(redis_client, key_prefix, "copy") > server_time(redis_client) + HOUR
        saver.delete_thread("copy")
        delete()
        assert found_keys(redis_client, key_prefix) == []
        account(redis_client, key_prefix)


# ---- threads of many keys, which take several calls


@pytest.mark.parametrize("change", ["use", "expire", "pin", "shorten"])
def test_the_deadline_of_a_long_thread_changes_in_several_calls(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, change: str
) -> None:
    """All keys end with one deadline, whatever is written, read or changed between the calls,
    and no key ever has an earlier deadline than the table of contents."""
    saver = make_saver(SAVER, ttl={"default_ttl": 600})
    other = make_saver(SAVER, setup=False)
    crowd(saver, MANY + 10)
    fill(other, "thread")
    thread = thread_keys(key_prefix, "thread")

    def plan() -> Any:
        if change == "use":
            ttl = make_saver(SAVER, setup=False, ttl={"default_ttl": 6_000})
            return put_writes_operation.put_writes(
                ttl._context, config(checkpoint_id="00000"), [("a", 1)], "t", ""
            )
        if change == "pin":
            return expiry_operation.pin(saver._context, "thread")
        return expiry_operation.expire(
            saver._context, "thread", 3_000 if change == "expire" else 60
        )

    def check() -> None:
        never = 1 << 60
        ends = [never if end == -1 else end for end in deadlines(redis_client, key_prefix)]
        end = redis_client.pexpiretime(thread.contents)
        assert min(ends) == (never if end == -1 else end)

    def write() -> None:
        check()
        versions: ChannelVersions = {"big": step}
        made = checkpoint("0", {"big": f"new{BIG}"}, versions)  # sorts before the others
        begin(other, put_operation.put(other._context, config(), made, {}, versions))
        check()
        if step % 2:
            other.put_writes(config(checkpoint_id="."), [("channel", 1)], "task")
            check()

    for step in range(10):
        saver.expire("thread", 600)
        if not run_with_break(saver, plan(), step, write):
            break
        account(redis_client, key_prefix, garbage=True)
        [end] = {*deadlines(redis_client, key_prefix)}
        assert (end == -1) == (change == "pin")
        if change != "pin":
            minutes = {"use": 7_500, "expire": 3_000, "shorten": 60}[change]
            assert abs(end - server_time(redis_client) - minutes * MINUTE) < HOUR / 2
    assert step == (3 if change == "use" else 2)


@pytest.mark.parametrize("first", ["use", "shorten"])
@pytest.mark.parametrize(
    ("second", "dies"),
    [("use", True), ("expire", True), ("pin", True), ("expire", False), ("delete", False)],
)
def test_two_savers_may_change_a_deadline_at_once(
    make_saver: MakeSaver,
    redis_client: redis.Redis,
    key_prefix: str,
    first: str,
    second: str,
    dies: bool,
) -> None:
    saver: Any = make_saver(SAVER, ttl={"default_ttl": 600})
    long = make_saver(SAVER, setup=False, ttl={"default_ttl": 6_000})
    crowd(saver, MANY + 10)
    put(saver, "1", {"big": BIG})
    changes: dict[str, Callable[[], Any]] = {
        "use": lambda: put_writes_operation.put_writes(
            long._context, config(checkpoint_id="1"), [("a", 1)], "t", ""
        ),
        "expire": lambda: expiry_operation.expire(saver._context, "thread", 60_000),
        "pin": lambda: expiry_operation.pin(saver._context, "thread"),
        "shorten": lambda: expiry_operation.expire(saver._context, "thread", 60),
        "delete": lambda: delete_thread_operation.delete_thread(saver._context, "thread"),
    }
    for step in range(10):
        saver.expire("thread", 600)
        try:
            run = begin if dies else run_whole
            plan = changes[first]()
            if not run_with_break(saver, plan, step, lambda: run(saver, changes[second]())):  # noqa: B023
                break
        except ThreadMissingError:
            assert (second, step) == ("delete", 0)
        account(redis_client, key_prefix, garbage=dies)
        if second == "delete":
            crowd(saver, MANY + 10)
    assert step > 0


def test_a_deadline_set_meanwhile_replaces_the_first_one(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    """If a second change begins and is interrupted, the first one completes it."""
    saver: Any = make_saver(SAVER)
    crowd(saver, 2 * MANY + 10)
    first, second = (
        expiry_operation.expire(saver._context, "thread", 600),
        expiry_operation.expire(saver._context, "thread", 60_000),
    )
    assert run_with_break(saver, first, 2, lambda: begin(saver, second))
    account(redis_client, key_prefix)
    assert deadline(redis_client, key_prefix) > server_time(redis_client) + 900 * HOUR


def test_large_values_sent_separately_expire_with_their_thread(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver: Any = make_saver(SAVER, ttl={"default_ttl": 600})
    put(saver, "1", {"huge": "x" * 3_000_000})
    account(redis_client, key_prefix)
    # A process that is killed before the checkpoint is stored leaves no key that never expires.
    made = checkpoint("2", {"huge": "y" * 3_000_000}, {"huge": 2})
    commands = next(put_operation.put(saver._context, config(), made, {}, {"huge": 2}))
    execute(saver, commands[:-1])
    assert all(end > 0 for end in deadlines(redis_client, key_prefix))
    put(saver, "2", {"huge": "y" * 3_000_000}, {"huge": 2})
    account(redis_client, key_prefix)


def test_a_large_value_of_a_thread_that_never_expires_stays(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    """The process dies before it has given a long thread its first deadline."""
    crowd(make_saver(SAVER), MANY + 10)
    saver: Any = make_saver(SAVER, ttl={"default_ttl": 600})
    made = checkpoint("1", {"huge": "y" * 2 * LARGE})
    begin(saver, put_operation.put(saver._context, config(), made, {}, {"huge": 1}))
    assert deadline(redis_client, key_prefix) == -1
    account(redis_client, key_prefix)


def test_an_interrupted_change_of_deadline_is_completed_by_the_next_use(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    """The thread then has one deadline again."""

    class Cut(Exception):
        pass

    def cut() -> None:
        raise Cut

    saver = make_saver(SAVER, ttl={"default_ttl": 600})
    crowd(saver, MANY + 10)
    put(saver, "1", {"big": BIG})
    for plan in (
        lambda: expiry_operation.expire(saver._context, "thread", 6_000),
        lambda: expiry_operation.pin(saver._context, "thread"),
        lambda: expiry_operation.expire(saver._context, "thread", 60),
        lambda: expiry_operation.pin(saver._context, "thread"),
    ):
        with pytest.raises(Cut):
            run_with_break(saver, plan(), 1, cut)
        put(saver, "2")
        account(redis_client, key_prefix)


def test_documents_that_outlive_their_thread_are_ignored(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    """After an interrupted change of deadline, documents may outlive the table of contents."""
    saver = make_saver(SAVER, ttl={"default_ttl": 600})
    other = make_saver(SAVER, setup=False)
    fill(saver, "thread")
    newest = get_tuple(other, config())
    [contents] = found_keys(redis_client, key_prefix, "contents")
    redis_client.delete(contents, *found_keys(redis_client, key_prefix, "thread"))
    assert saver.get_tuple(config()) is None
    assert saver.get_tuple(config(checkpoint_id="5")) is None
    for given in (None, config(), config(checkpoint_id="5")):
        assert ids(saver.list(given)) == []
        assert ids(saver.list(given, filter={"step": 5})) == []
        assert ids(saver.list(given, limit=2)) == []
    with pytest.raises(MissingDocumentError):
        saver.get_delta_channel_history(config=config(checkpoint_id="5"), channels=["blob"])
    saver.delete_for_runs(["1"])
    # A saver that continues from its cache writes a complete thread.
    values = newest.checkpoint["channel_values"]
    put(other, "9", values, newest.checkpoint["channel_versions"], parent="8")
    assert get(other, config())["channel_values"] == values
    other.delete_thread("thread")


@pytest.mark.parametrize("client", [SAVER], indirect=True)
def test_a_large_value_expires_with_its_thread(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client, ttl={"default_ttl": 60})
    put(saver, "1")
    put(saver, "2", {"large": "x" * 2 * LARGE})
    assert deadline(redis_client, key_prefix) > server_time(redis_client)
    saver.pin("thread")
    put(saver, "3", {"large": "y" * 2 * LARGE}, {"large": 3})
    assert deadline(redis_client, key_prefix) == -1

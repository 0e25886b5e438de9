"""Network round trips of each operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import pytest
import redis
import redis.asyncio
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.types import TASKS

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.operations.delete_thread import CHUNK
from langgraph_redis_json.operations.get_delta_channel_history import PAGE as ANCESTORS
from langgraph_redis_json.operations.list import PAGE
from langgraph_redis_json.storage import cache, keys
from langgraph_redis_json.storage.cache import LARGE, NOTHING
from tests.support.checkpoints import (
    BIG,
    checkpoint,
    config,
    each_saver,
    found_keys,
    get_tuple,
    ids,
    put,
)
from tests.support.clients import ACL_USER, Client, MakeSaver, Saver
from tests.support.interleaving import crowd


class Network:
    """Counts round trips. A connection that sends after it has read begins a new trip."""

    def __init__(self) -> None:
        self._begun = 0
        self._sending: WeakSet[Any] = WeakSet()

    def note_send(self, connection: Any) -> None:
        if connection not in self._sending:
            self._sending.add(connection)
            self._begun += 1

    def note_read(self, connection: Any) -> None:
        self._sending.discard(connection)

    def trips(self, call: Callable[[], Any]) -> int:
        before = self._begun
        call()
        return self._begun - before


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Watches all connections of redis-py."""
    seen = Network()

    def watch(kind: type[Any]) -> None:
        send, read = kind.send_packed_command, kind.read_response

        def watched_send(self: Any, *arguments: Any, **options: Any) -> Any:
            seen.note_send(self)
            return send(self, *arguments, **options)

        def watched_read(self: Any, *arguments: Any, **options: Any) -> Any:
            seen.note_read(self)
            return read(self, *arguments, **options)

        monkeypatch.setattr(kind, "send_packed_command", watched_send)
        monkeypatch.setattr(kind, "read_response", watched_read)

    watch(redis.connection.AbstractConnection)
    watch(redis.asyncio.connection.AbstractConnection)
    return seen


@pytest.fixture
def saver(make_saver: MakeSaver, client: Client, network: Network) -> Saver:
    """A saver with an open connection, on a server that has loaded the scripts."""
    made = make_saver(client)
    put(made, "1", {"big": BIG}, thread_id="warm")
    made.put_writes(config("warm", "", "1"), [("channel", 1)], "task")
    list(made.list(None))
    made.get_delta_channel_history(config=config("warm"), channels=["channel"])
    made.copy_thread("warm", "hot")
    put(made, "2", thread_id="warm")
    made.prune(["warm"])
    made.delete_thread("warm")
    made.delete_thread("hot")
    return made


def test_a_pipeline_counts_as_one_trip(network: Network, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url.replace(ACL_USER, "")) as client:
        client.ping()
        assert network.trips(client.ping) == 1
        assert network.trips(lambda: [client.ping(), client.ping()]) == 2
        assert network.trips(lambda: client.execute_command("ECHO", "x" * 5_000_000)) == 1
        pipeline = client.pipeline(transaction=False)
        for _ in range(10):
            pipeline.ping()
        assert network.trips(pipeline.execute) == 1


@each_saver
def test_put_takes_one_trip(saver: Saver, network: Network) -> None:
    put(saver, "0", {"huge": "x" * 100_000})  # the server knows all scripts then
    assert network.trips(lambda: put(saver, "1", {"small": 1})) == 1
    assert network.trips(lambda: put(saver, "2", {"big": BIG, "huge": "x" * 3_000_000})) == 1


@each_saver
def test_put_of_stored_large_values_takes_one_trip(
    saver: Saver, network: Network, redis_client: redis.Redis, key_prefix: str
) -> None:
    def put_with_new(checkpoint_id: str, *new: str) -> Callable[[], Any]:
        made = checkpoint(checkpoint_id, {"big": BIG, "big 2": BIG, "small": 1})
        return lambda: saver.put(config(), made, {}, dict.fromkeys(new, 1))

    assert network.trips(put_with_new("1", "big", "big 2", "small")) == 1
    assert network.trips(put_with_new("2", "small")) == 1
    for blob in found_keys(redis_client, key_prefix, "blob"):
        redis_client.delete(blob)
    assert network.trips(put_with_new("3", "small")) == 2
    assert network.trips(put_with_new("4", "small")) == 1


@each_saver
@pytest.mark.parametrize("room", [cache.MOST_BYTES, 10_000], ids=["room for values", "little room"])
def test_large_values_take_no_additional_trip(
    saver: Saver, network: Network, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(cache, "MOST_BYTES", room)
    values = {"text": BIG * 30, "bytes": b"\xff" * 2 * LARGE}
    put(saver, "1", values, thread_id="so that the server knows the scripts")
    assert network.trips(lambda: put(saver, "1", values)) == 1
    assert network.trips(lambda: saver.get_tuple(config())) == 1
    assert get_tuple(saver, config()).checkpoint["channel_values"] == values
    # A saver with an empty cache.
    saver._cache.put(keys.thread_keys(saver.key_prefix, "thread").contents, "", NOTHING)
    assert network.trips(lambda: saver.get_tuple(config())) == 1
    assert get_tuple(saver, config()).checkpoint["channel_values"] == values


@each_saver
def test_put_writes_takes_one_trip(saver: Saver, network: Network) -> None:
    for _ in range(2):
        written = config(checkpoint_id="1")
        writes = [(f"channel {number}", BIG) for number in range(20)]
        assert network.trips(lambda: saver.put_writes(written, writes, "task")) == 1  # noqa: B023
    assert network.trips(lambda: saver.put_writes(written, [], "task")) == 0


@each_saver
def test_get_tuple_takes_one_trip(saver: Saver, network: Network) -> None:
    assert network.trips(lambda: saver.get_tuple(config())) == 1
    values = {f"channel {number}": BIG for number in range(20)}
    for number in range(30):
        saver.put_writes(put(saver, "1", values), [("channel", BIG)], f"task {number}")
    assert network.trips(lambda: saver.get_tuple(config())) == 1
    assert network.trips(lambda: saver.get_tuple(config(checkpoint_id="1"))) == 1
    assert network.trips(lambda: saver.get_tuple(config(checkpoint_id="2"))) == 1


def test_get_channel_values_takes_one_trip(saver: Saver, network: Network) -> None:
    put(saver, "1", {"channel": 1, "big": "x" * 5_000, "list": ["x" * 500] * 9})
    get_channel_values: Any = saver.get_channel_values
    get_channel_values(config())
    assert network.trips(lambda: get_channel_values(config())) == 1
    assert network.trips(lambda: get_channel_values(config(checkpoint_id="1"))) == 1


@each_saver
def test_get_tuple_of_an_old_checkpoint_takes_one_trip(saver: Saver, network: Network) -> None:
    saver.put_writes(put(saver, "1"), [(TASKS, 1)], "task")
    saver.put(config(checkpoint_id="1"), checkpoint("2", v=1), {}, {})
    # The same trip reads the parent's writes: old versions stored the tasks there.
    assert network.trips(lambda: saver.get_tuple(config())) == 1
    assert get_tuple(saver, config()).checkpoint["channel_values"] == {TASKS: [1]}


@each_saver
@pytest.mark.parametrize("count", [0, 1, PAGE, PAGE + 1, 3 * PAGE])
def test_list_within_a_thread_takes_one_trip_and_one_for_each_page(
    saver: Saver, network: Network, count: int
) -> None:
    for number in range(count):
        put(saver, f"{number:04}", {"big": BIG})
        saver.put_writes(config(checkpoint_id=f"{number:04}"), [("channel", BIG)], "task")
    pages = -(-count // PAGE)
    # One trip for the names and one for each page; the filter's search is one for the names.
    searches: list[tuple[Any, dict[str, Any]]] = [
        (config(), {}),
        (config(checkpoint_ns=None), {}),
        (config(), {"filter": {"step": 1}}),
        (None, {"filter": {"step": 1}}),
        (None, {}),
    ]
    for given, more in searches:
        found: list[Any] = []
        trips = network.trips(lambda: found.extend(saver.list(given, **more)))  # noqa: B023
        assert len(found) == count
        # Of an empty thread another trip tells whether its table of contents is lost.
        assert trips == 1 + pages + (not count and given is not None), (given, more)
    assert network.trips(lambda: list(saver.list(config(), limit=0))) == 0


@each_saver
def test_a_listing_reads_only_the_pages_that_are_consumed(saver: Saver, network: Network) -> None:
    for number in range(3 * PAGE):
        put(saver, f"{number:04}", {"big": BIG}, metadata={"step": number % 2})
    searches: list[tuple[Any, dict[str, Any]]] = [
        (config(), {}),
        (None, {}),
        (config(), {"filter": {"step": 1}}),
        (None, {"filter": {"step": 1}}),
        (config(), {"before": config(checkpoint_id="0060")}),
        (config(checkpoint_ns=None), {}),
    ]
    for given, more in searches:
        assert network.trips(lambda: list(saver.list(given, limit=10, **more))) == 2  # noqa: B023
        assert network.trips(lambda: next(iter(saver.list(given, **more)))) == 2  # noqa: B023


@pytest.mark.parametrize("kind", ["blob", "list", "pending write", "small value"])
def test_a_page_of_large_checkpoints_takes_several_trips(
    saver: Saver, network: Network, kind: str
) -> None:
    # A single call would block other clients while it reads 25 large states.
    values: dict[str, Any] = {
        "blob": "x" * 2_500_000,
        "list": ["x" * 2_500_000],
    }
    for number in range(6):
        value = values.get(kind, "x")
        value = [f"{number}{value[0]}"] if kind == "list" else f"{number}{value}"
        made = put(saver, f"{number}", {"state": value}, {"state": number})
        if kind == "pending write":
            saver.put_writes(made, [("channel", values["blob"])], "task")

    def states() -> list[Any]:
        found = [found.checkpoint["channel_values"]["state"] for found in saver.list(config())]
        return [value[0][0] for value in found]

    # The names, and two of 2.5 MB a trip.
    assert network.trips(lambda: states()) == (2 if kind == "small value" else 4)
    assert states() == [*"543210"]


@each_saver
def test_list_over_threads_takes_one_trip_for_each_page(saver: Saver, network: Network) -> None:
    for number in range(2 * PAGE):
        put(saver, f"{number:04}", {"big": BIG}, thread_id=f"{number % 17}")
    found: list[Any] = []
    assert network.trips(lambda: found.extend(saver.list(None))) == 3
    assert ids(found) == [f"{number:04}" for number in range(2 * PAGE - 1, -1, -1)]


@each_saver
def test_get_delta_channel_history_takes_few_trips(saver: Saver, network: Network) -> None:
    count = 3 * ANCESTORS  # pages of ancestors grow: one, then two, then four times as many
    put(saver, "0000", {"seed": BIG})
    for number in range(1, count + 1):
        put(saver, f"{number:04}", parent=f"{number - 1:04}")
        saver.put_writes(config(checkpoint_id=f"{number:04}"), [("seed", number)], "task")

    def history(checkpoint_id: str | None, *channels: str) -> Callable[[], Any]:
        return lambda: saver.get_delta_channel_history(
            config=config(checkpoint_id=checkpoint_id), channels=channels
        )

    assert network.trips(history(f"{ANCESTORS:04}", "seed")) == 1
    assert network.trips(history(f"{ANCESTORS + 1:04}", "seed")) == 2
    assert network.trips(history(None, "seed")) == 2
    assert network.trips(history("0001", "seed", "none")) == 1
    assert network.trips(history(None)) == 0


@each_saver
def test_put_of_an_edited_list_takes_one_trip(
    saver: Saver, network: Network, make_saver: MakeSaver, client: Client
) -> None:
    messages = [{"n": n, "text": BIG[:600]} for n in range(60)]
    lengths = {"1": 10, "2": 20, "3": 5, "4": 60}  # new, appended to, cut, of which some are new
    for id_, length in lengths.items():
        values = {"messages": messages[:length], "others": messages[-length:]}
        assert network.trips(lambda: put(saver, id_, values, dict.fromkeys(values, id_))) == 1  # noqa: B023
    other = make_saver(client, setup=False)
    other.get_tuple(config("warms the connection up"))
    for checkpoint_id in (None, "1", "3"):
        assert network.trips(lambda: other.get_tuple(config(checkpoint_id=checkpoint_id))) == 1  # noqa: B023
    assert network.trips(lambda: put(other, "5", {"messages": messages}, {"messages": 5})) == 1
    # The saver must first learn of the other saver's changes.
    assert network.trips(lambda: put(saver, "6", {"messages": [*messages, *messages]})) <= 2


@each_saver
def test_delete_thread_takes_one_trip(saver: Saver, network: Network) -> None:
    assert network.trips(lambda: saver.delete_thread("thread")) == 1
    for number in range(10):
        saver.put_writes(put(saver, f"{number}", {"big": BIG}), [("channel", 1)], "task")
    assert network.trips(lambda: saver.delete_thread("thread")) == 1
    for number in range(CHUNK + 1):
        saver.put_writes(config(checkpoint_id=f"{number}"), [("channel", 1)], "task")
    assert network.trips(lambda: saver.delete_thread("thread")) == 2


@each_saver
def test_prune_and_delete_for_runs_take_a_fixed_number_of_trips(
    saver: Saver, network: Network
) -> None:
    # Names, lineages, deletion, names and references of what is left; and for runs a search first,
    # and a look at what it has found.
    for number in range(20):
        put(saver, f"{number:02}", {"big": BIG}, metadata={"run_id": f"{number // 10}"})
    assert network.trips(lambda: saver.delete_for_runs(["0"])) == 7
    assert network.trips(lambda: saver.prune(["thread"])) == 5
    assert ids(saver.list(config())) == ["19"]
    # Freed documents are marked, checked for references again, and deleted.
    put(saver, "20", {"big": f"new{BIG}"}, {"big": 2})
    assert network.trips(lambda: saver.prune(["thread"])) == 9
    assert ids(saver.list(config())) == ["20"]


@each_saver
def test_a_script_that_the_server_lacks_takes_one_additional_trip(
    saver: Saver, network: Network, redis_client: redis.Redis
) -> None:
    redis_client.script_flush()
    assert network.trips(lambda: put(saver, "1")) == 2
    assert network.trips(lambda: put(saver, "2")) == 1
    redis_client.script_flush()
    put(saver, "1", thread_id="another")
    redis_client.script_flush()
    assert network.trips(lambda: list(saver.list(None))) == 3


@each_saver
def test_threads_takes_one_trip_for_each_page(
    saver: Saver, network: Network, make_saver: MakeSaver, client: Client
) -> None:
    for number in range(30):
        put(saver, "1", thread_id=f"{number}", metadata={"step": number, "n": number})
    typed = make_saver(client, metadata_fields={"n": "numeric"})
    for options in (
        {"limit": 20},
        {"status": "idle", "limit": 20},
        {"filter": {"step": {"$gte": 3}}, "limit": 20},
        {"filter": {"n": {"$gte": 3}}, "limit": 20},  # and sees that the index has it
    ):
        assert network.trips(lambda: list(typed.threads(**options))) == 1, options  # noqa: B023
    assert network.trips(lambda: list(saver.threads(limit=0))) == 0
    assert network.trips(lambda: list(saver.threads())) == 2
    assert network.trips(lambda: list(saver.threads({"n": {"$ne": 5}}, limit=20))) == 2


@each_saver
def test_search_messages_takes_few_trips(
    make_saver: MakeSaver, client: Client, network: Network
) -> None:
    saver = make_saver(client, message_search=True)
    for number in range(30):
        said = {"messages": [HumanMessage(f"parcel {number}", id="m")] * (1 + number % 3 * 20)}
        put(saver, "1", said, thread_id=f"{number}", metadata={"n": number})
        assert network.trips(lambda: put(saver, "2", said, thread_id=f"{number}")) == 1  # noqa: B023
    cases: list[tuple[dict[str, Any], int]] = [
        ({"limit": 0}, 0),
        ({}, 3),
        ({"newest_first": True, "role": "human"}, 3),
        ({"filter": {"step": 1}}, 4),
        ({"filter": {"step": 2}}, 2),
        ({"limit": None}, 4),
    ]
    for options, trips in cases:
        search = lambda: list(saver.search_messages("parcel", **options))  # noqa: B023, E731
        assert network.trips(search) == trips, options


@each_saver
def test_changing_a_deadline_takes_one_trip(
    network: Network, make_saver: MakeSaver, client: Client
) -> None:
    # A write takes one trip, whether it moves the deadline or not; many keys take more trips,
    # once in a quarter of the TTL.
    saver = make_saver(client, ttl={"default_ttl": 10, "refresh_on_read": True}, keep_last=3)
    put(saver, "warm")
    saver.get_tuple(config())
    saver.expire("thread", 100)
    for number in range(6):
        assert network.trips(lambda: put(saver, f"{number}", {"big": BIG}, {"big": number})) == 1  # noqa: B023
    for verb in (
        lambda: saver.expire("thread", 1),
        lambda: saver.get_tuple(config()),
        lambda: saver.pin("thread"),
        lambda: saver.get_tuple(config()),
        lambda: put(saver, "7"),
        lambda: saver.expire("thread", 1),
        lambda: put(saver, "8"),
    ):
        assert network.trips(verb) == 1
    crowd(make_saver(Client(RedisSaver, 3, False), setup=False), 2_000)
    # (Not with keep_last: it would delete these writes, since their checkpoints do not exist.)
    saver = make_saver(client, setup=False, ttl={"default_ttl": 10})
    put(saver, "81")
    assert network.trips(lambda: saver.expire("thread", 1)) == 2
    assert network.trips(lambda: put(saver, "9")) == 3
    assert network.trips(lambda: put(saver, "91")) == 1

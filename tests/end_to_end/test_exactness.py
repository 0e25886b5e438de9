"""Values come back with the same type, value and bytes, through the whole saver."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zlib
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, TASKS
from langgraph.types import Interrupt, Send

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from tests.support.checkpoints import get_tuple, spelled
from tests.support.clients import ACL_USER, Client, MakeSaver, Saver
from tests.support.strategies import Order, Person, Plain, examples, is_text, same, texts, values

ANY = JsonPlusSerializer(allowed_msgpack_modules=True)
BATCH = 20
"""Values in one checkpoint: the number of examples of a property, times this."""

KINDS = [Client(saver, 3, False) for saver in (RedisSaver, AsyncRedisSaver)]

BULK = "x" * 600
"""Makes a channel value too large to stand in the checkpoint's own document."""


@pytest.fixture(params=KINDS, ids=lambda kind: kind.saver.__name__)
def kind(request: pytest.FixtureRequest) -> Client:
    """Each saver, over one kind of client."""
    return request.param


def put(
    saver: BaseCheckpointSaver[str],
    channel_values: dict[str, Any],
    metadata: Any = None,
    **fields: Any,
) -> CheckpointTuple:
    """Put a checkpoint and its values as pending writes, and get it back."""
    config: Any = {"configurable": {"thread_id": uuid4().hex, "checkpoint_ns": ""}}
    checkpoint: Any = {
        **empty_checkpoint(),
        "channel_values": channel_values,
        "channel_versions": dict.fromkeys(channel_values, 1),
        "v": 4,
        **fields,
    }
    given: Any = metadata or {}
    stored = saver.put(config, checkpoint, given, checkpoint["channel_versions"])
    saver.put_writes(stored, list(channel_values.items()), "task")
    found = saver.get_tuple(stored)
    assert found is not None
    return found


def alone(serde: Any, value: Any) -> Any:
    """What the serializer makes of a value, without a saver."""
    return serde.loads_typed(serde.dumps_typed(value))


# ---- any value


class Recorder(JsonPlusSerializer):
    """LangGraph's serializer, which records the bytes that it is given to load."""

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=True)
        self.read: Counter[tuple[str, bytes]] = Counter()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        self.read[data[0], data[1]] += 1
        return super().loads_typed(data)


@pytest.fixture
def both(make_saver: MakeSaver) -> list[Saver]:
    """Both savers."""
    return [make_saver(kind, serde=Recorder()) for kind in KINDS]


@examples(1000)
@given(st.sampled_from([0, 1]), st.lists(values, min_size=BATCH, max_size=BATCH))
def test_any_value_comes_back_exactly(both: list[Saver], which: int, drawn: list[Any]) -> None:
    """It comes back as a channel value, as a pending write and as metadata."""
    saver = both[which]
    by_name = {f"c{index}": value for index, value in enumerate(drawn)}
    dumped = {name: ANY.dumps_typed(value) for name, value in by_name.items()}
    expected = {name: ANY.loads_typed(dump) for name, dump in dumped.items()}
    written = Counter((type_, bytes(data)) for type_, data in dumped.values())
    assert isinstance(saver.serde, Recorder)
    saver.serde.read.clear()
    found = put(saver, by_name, by_name)
    assert same(found.checkpoint["channel_values"], expected)
    assert same(found.pending_writes, [("task", *pair) for pair in expected.items()])
    assert not (written + written) - saver.serde.read, "the bytes are not the serializer's"
    assert same(found.metadata, {name: alone(ANY, _kept(by_name[name])) for name in by_name})


@examples(100)
@given(st.integers(0, 1), st.lists(values, min_size=10, max_size=BATCH))
def test_any_list_item_comes_back_exactly(both: list[Saver], which: int, drawn: list[Any]) -> None:
    """A large list is stored item by item; a longer version of it adds only the new items."""
    saver = both[which]
    config: Any = {"configurable": {"thread_id": uuid4().hex, "checkpoint_ns": ""}}
    items = [[value, BULK[:64]] for value in drawn]
    lists = [items[: len(items) // 2], items, [*items[1:], items[0]]]
    for version, channel_value in enumerate(lists):
        checkpoint: Any = {**empty_checkpoint(), "v": 4, "id": str(version)}
        checkpoint |= {"channel_values": {"c": channel_value}, "channel_versions": {"c": version}}
        config = saver.put(config, checkpoint, {}, {"c": version})
    newest, *_ = found = [t.checkpoint["channel_values"]["c"] for t in saver.list(_thread(config))]
    assert same(found[::-1], [alone(ANY, channel_value) for channel_value in lists])
    assert same(get_tuple(both[1 - which], config).checkpoint["channel_values"]["c"], newest)


def _thread(config: Any) -> Any:
    return {"configurable": {"thread_id": config["configurable"]["thread_id"]}}


def _kept(value: Any) -> Any:
    # LangGraph itself drops NULs from the text in metadata.
    return value.replace("\0", "") if isinstance(value, str) else value


@examples(100)
@given(st.dictionaries(texts.filter(is_text), values, max_size=5))
def test_any_metadata_key_comes_back(both: list[Saver], metadata: dict[str, Any]) -> None:
    metadata.pop("writes", None)  # LangGraph drops it
    for saver in both:
        found = put(saver, {}, metadata).metadata
        assert same(found, {name: alone(ANY, _kept(metadata[name])) for name in metadata})


_stored = {"$stored": {"type": "bytes", "base64": "YQ=="}}


@pytest.mark.parametrize(
    "member",
    [
        *(_stored, {**_stored, "a": 1}, {"a": 1, **_stored}, {"a": _stored}, [_stored]),
        *({"$stored": 1}, {"$stored": _stored}, {"$class": 1}, '{"$stored":1}', b"a", {1: 2}),
        *({"$float": "1"}, 0.1 + 0.2, {"x": 0.1 + 0.2}, float("nan"), None, {}, [], ""),
        *(Order(1), {1}, [[[b""]]], 2**64 - 1, -(2**63), -0.0, 1e300),
    ],
    ids=repr,
)
@pytest.mark.parametrize("beside", [{}, {"other": {1, 2}}], ids=["plain", "beside a set"])
def test_metadata_that_looks_like_stored_values_comes_back(
    both: list[Saver], member: Any, beside: Any
) -> None:
    for saver in both:
        found = put(saver, {}, {"m": member, **beside}).metadata
        assert same(found, alone(ANY, {"m": member, **beside}))


# ---- versions


versions = st.one_of(
    *(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False)),
    *(texts.filter(is_text), st.sampled_from([1, 1.0, "1", 0.1 + 0.2, 1e23, -0.0, 0, ""])),
)


@examples(150)
@given(
    st.dictionaries(texts.filter(is_text), versions, max_size=6),
    st.dictionaries(
        texts.filter(is_text),
        st.dictionaries(texts.filter(is_text), versions, max_size=2),
        max_size=3,
    ),
    st.sampled_from(["", BULK]),
)
def test_versions_come_back_with_their_types(
    both: list[Saver], channels: Any, seen: Any, bulk: str
) -> None:
    """Versions of any type, for any channel name, for small and for large values."""
    fields = {"channel_versions": channels, "versions_seen": seen, "updated_channels": [*channels]}
    channel_values = {channel: [channel, bulk] for channel in channels}
    for saver in both:
        found: Any = put(saver, channel_values, **fields).checkpoint
        assert same({name: found[name] for name in fields}, fields)
        assert same(found["channel_values"], channel_values)


def test_equal_versions_of_different_types_are_different_versions(both: list[Saver]) -> None:
    """A large value is stored once for each version: 1, 1.0 and "1" are three."""
    for saver in both:
        config: Any = {"configurable": {"thread_id": uuid4().hex, "checkpoint_ns": ""}}
        some: dict[str, Any] = {"1": 1, "2": 1.0, "3": "1", "4": "1.0", "5": 10**18, "6": 1e18}
        for id_, version in some.items():
            checkpoint: Any = {**empty_checkpoint(), "v": 4, "id": id_}
            checkpoint |= {"channel_values": {"c": id_ + BULK}, "channel_versions": {"c": version}}
            config = saver.put(config, checkpoint, {}, {"c": version})
        listed = saver.list(_thread(config))
        found = {t.checkpoint["id"]: t.checkpoint["channel_values"] for t in listed}
        assert found == {id_: {"c": id_ + BULK} for id_ in some}


# ---- other serializers


class JsonText:
    """A custom serializer."""

    type = "json text"

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return self.type, json.dumps(obj).encode()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        type_, text = data
        assert (type_, type(text)) == (self.type, bytes)
        return json.loads(text)


class OddType(JsonText):
    type = 'é"\\\0\u2028{$class} +'


class EmptyType(JsonText):
    type = ""


class NullType(JsonText):
    type = "null"


class NotMsgpack(JsonText):
    """A serializer that gives its own format the name of LangGraph's."""

    type = "msgpack"

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return self.type, zlib.compress(json.dumps(obj).encode())

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return json.loads(zlib.decompress(data[1]))


class Subclass(JsonPlusSerializer):
    """LangGraph's own serializer, compressed."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        type_, data = super().dumps_typed(obj)
        return f"{type_}.zlib", zlib.compress(data)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return super().loads_typed((data[0].removesuffix(".zlib"), zlib.decompress(data[1])))


class Untyped:
    """A serializer of the older protocol, without type names."""

    def dumps(self, obj: Any) -> bytes:
        return pickle.dumps(obj)

    def loads(self, data: bytes) -> Any:
        return pickle.loads(data)


JSON = {"a": [1, 2.5, None, True, "\0\u2028"], "$class": {"$float": 0.1 + 0.2}, "": {}}
PICKLED = {"plain": Plain(0.1 + 0.2), "in a list": [Plain({1}), b"x"], "complex": 1j, "big": 2**80}
PICKLED |= {"json": JSON, "order": Order({1: b""}), "none": None, "bytes": b"\0"}


@pytest.mark.parametrize("bulk", ["", BULK], ids=["small", "large"])
@pytest.mark.parametrize(
    ("make_serde", "given"),
    [
        *((own, JSON) for own in (JsonText, OddType, EmptyType, NullType, NotMsgpack)),
        (Untyped, PICKLED),
        (Subclass, {**JSON, "order": Order({1: b""}), "bytes": b"x"}),
        (lambda: JsonPlusSerializer(pickle_fallback=True), PICKLED),
        (lambda: EncryptedSerializer.from_pycryptodome_aes(key=b"k" * 16), {**JSON, "b": b"x"}),
        (
            lambda: EncryptedSerializer.from_pycryptodome_aes(
                JsonPlusSerializer(pickle_fallback=True), key=b"k" * 16
            ),
            PICKLED,
        ),
    ],
)
def test_any_serializer_works(
    make_saver: MakeSaver, kind: Client, make_serde: Any, given: dict[str, Any], bulk: str
) -> None:
    serde = make_serde()
    saver = make_saver(kind, serde=serde)
    channel_values = {name: [value, bulk] if bulk else value for name, value in given.items()}
    metadata = {"source": "loop", "step": 1, "own": {"x": 0.1 + 0.2}, "day": "é"}
    found = put(saver, channel_values, metadata)
    expected = {name: alone(saver.serde, value) for name, value in channel_values.items()}
    assert same(found.checkpoint["channel_values"], expected)
    assert same(found.pending_writes, [("task", *pair) for pair in expected.items()])
    # Metadata is searchable, so it is stored as JSON with every serializer.
    assert same(found.metadata, metadata)


@pytest.mark.parametrize("bad", [Plain(1), [Plain(1)], {"x": 2**80}, 1j], ids=spelled)
@pytest.mark.parametrize("good", ["first", BULK], ids=["small", "large"])
def test_a_value_that_the_serializer_refuses_is_not_partly_written(
    make_saver: MakeSaver,
    kind: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    bad: Any,
    good: Any,
) -> None:
    saver = make_saver(kind)
    with pytest.raises(TypeError) as refused:
        saver.serde.dumps_typed(bad)
    for call in (
        lambda: put(saver, {"good": good, "bad": bad}),
        lambda: put(saver, {"good": good}, {"bad": bad}),
        lambda: saver.put_writes(
            {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": "1"}},
            [("good", good), ("bad", bad)],
            "task",
        ),
    ):
        with pytest.raises(type(refused.value)) as raised:
            call()
        assert str(raised.value) == str(refused.value)
    assert list(redis_client.scan_iter(f"{key_prefix}*")) == []


# ---- what may be built


CANARY = """
from dataclasses import dataclass

@dataclass
class Canary:
    value: str
"""

READ = """
import json, sys
import langgraph_redis_json
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

url, prefix, data, cases = json.loads(sys.argv[1])
thread = {"configurable": {"thread_id": "t"}}
for saver, allowed in cases:
    if isinstance(allowed, list):
        allowed = list(map(tuple, allowed))
    serde = None if allowed == "default" else JsonPlusSerializer(allowed_msgpack_modules=allowed)
    saver = getattr(langgraph_redis_json, saver)(url, key_prefix=prefix, serde=serde)

    # Copying and pruning load no value.
    saver.copy_thread("t", "copy")
    saver.prune(["copy"], strategy="keep_latest")
    saver.delete_for_runs(["run"])
    moved = "canary" in sys.modules

    values = []
    for found in (saver.get_tuple(thread), *saver.list(thread)):
        values += found.checkpoint["channel_values"].values()
        values += [value for _, _, value in found.pending_writes]
        values.append(found.metadata["m"])
    read = "canary" in sys.modules
    alone = saver.serde.loads_typed(("msgpack", bytes.fromhex(data)))
    print(json.dumps([moved, read, list(map(repr, values)), repr(alone)]))
"""


@pytest.mark.parametrize("strict", ["true", "false"])
@pytest.mark.parametrize(
    "allowed",
    [None, [["other", "Name"]], "default", True],
    ids=["none", "others", "default", "all"],
)
def test_reading_builds_only_the_types_that_the_serializer_allows(
    make_saver: MakeSaver,
    redis_url: str,
    key_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strict: str,
    allowed: Any,
) -> None:
    """A type that is not allowed is neither built nor imported; an allowed type is built."""
    (tmp_path / "canary.py").write_text(CANARY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "canary", raising=False)
    from canary import Canary  # type: ignore[import-not-found]

    canary = Canary("x")
    saver = make_saver(KINDS[0])
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    checkpoint: Any = {**empty_checkpoint(), "v": 4}
    checkpoint |= {"channel_values": {"small": canary, "large": [canary, BULK]}}
    checkpoint |= {"channel_versions": {"small": 1, "large": 1}}
    metadata: Any = {"m": canary}
    stored = saver.put(config, checkpoint, metadata, checkpoint["channel_versions"])
    saver.put_writes(stored, [("c", canary), (INTERRUPT, [canary])], "task")

    data = saver.serde.dumps_typed(canary)[1].hex()
    cases = [[kind.saver.__name__, allowed] for kind in KINDS]
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps([redis_url, key_prefix, data, cases])],
        env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": strict, "PYTHONPATH": os.fspath(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    built = allowed is True or (allowed, strict) == ("default", "false")
    expected = "Canary(value='x')" if built else "{'value': 'x'}"
    one = [expected, f"[{expected}, {BULK!r}]", expected, f"[{expected}]", expected]
    first, second = map(json.loads, done.stdout.splitlines())
    for _, read, found, alone in (first, second):
        assert read is built
        assert alone == expected
        assert sorted(found) == sorted(one + one)
    assert not first[0], "imported by moving documents"


def test_with_allowlist_allows_one_more_type(make_saver: MakeSaver, kind: Client) -> None:
    strict = make_saver(kind, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    order, person = Order(1), Person(name="Ann")
    found = put(strict, {"order": order, "person": person}, {"order": order})
    as_dicts = {"order": vars(order), "person": person.model_dump()}
    assert found.checkpoint["channel_values"] == as_dicts
    assert found.metadata == {"order": vars(order)}
    allowed: Any = [Order]
    clone = strict.with_allowlist(allowed)
    found = put(clone, {"order": order, "person": person}, {"order": order})
    assert found.checkpoint["channel_values"] == {**as_dicts, "order": order}
    metadata: Any = found.metadata
    assert metadata == {"order": order}
    again = strict.get_tuple(found.config)
    assert again is not None
    assert again.checkpoint["channel_values"] == as_dicts


# ---- encrypted


def _spellings(secret: str) -> list[bytes]:
    """The text itself, and its base64 form at each of the three alignments."""
    text = secret.encode()
    return [text, *(b64encode(b"\0" * shift + text)[4:-4] for shift in range(3))]


def _everything(client: redis.Redis, prefix: str) -> bytes:
    """All data on the server: key names, serialized values and JSON."""
    parts: list[bytes] = []
    for key in client.scan_iter(f"{prefix}*"):
        parts += [key, client.dump(key) or b""]
        if client.type(key) == b"zset":
            entries: Any = client.zrange(key, 0, -1)
            parts += entries
        else:
            parts.append(client.execute_command("JSON.GET", key, "."))
    return b"\n".join(parts)


@pytest.mark.parametrize("encrypted", [True, False])
def test_encrypted_values_are_never_stored_as_plain_text(
    make_saver: MakeSaver, kind: Client, redis_url: str, key_prefix: str, encrypted: bool
) -> None:
    """Metadata, ids, names, task paths and versions stay readable."""
    serde = EncryptedSerializer.from_pycryptodome_aes(ANY, key=b"k" * 16) if encrypted else ANY
    saver = make_saver(kind, serde=serde)
    secret, clear = "very-secret-plaintext", "clear-text"
    checkpoint: Any = {
        **empty_checkpoint(),
        "id": f"{clear}-id",
        "channel_values": {
            f"{clear}-channel": secret,
            "large": [secret, BULK],
            "bytes": secret.encode(),
            "order": Order({secret: 1}),
            "none": None,
        },
        "channel_versions": {f"{clear}-channel": f"{clear}-version", "large": 1, "bytes": 1},
        "versions_seen": {f"{clear}-node": {"large": f"{clear}-seen"}},
        "pending_sends": [Send("node", {"x": secret})],
    }
    config: Any = {"configurable": {"thread_id": f"{clear}-thread", "checkpoint_ns": f"{clear}-ns"}}
    metadata: Any = {"source": "loop", f"{clear}-key": f"{clear}-value", "odd": {f"{clear}-odd"}}
    stored = saver.put(config, checkpoint, metadata, checkpoint["channel_versions"])
    writes = [
        *(("large", [secret, BULK]), (ERROR, ValueError(secret)), (TASKS, Send("n", secret))),
        *((INTERRUPT, [Interrupt(value=secret, id="1")]), (RESUME, [secret])),
    ]
    saver.put_writes(stored, writes, f"{clear}-task", f"{clear}-path")
    saver.copy_thread(f"{clear}-thread", "copy")

    found = saver.get_tuple(stored)
    assert found is not None
    assert found.checkpoint["channel_values"] == checkpoint["channel_values"]
    members: Any = found.checkpoint
    assert members["pending_sends"] == checkpoint["pending_sends"]
    assert len(found.pending_writes or ()) == len(writes)

    with redis.Redis.from_url(redis_url.replace(ACL_USER, "")) as client:
        everything = _everything(client, key_prefix)
    assert any(spelling in everything for spelling in _spellings(secret)) is not encrypted
    readable = ["id", "channel", "version", "node", "seen", "thread", "ns", "key", "value", "odd"]
    readable += ["task", "path"]
    assert [name for name in readable if f"{clear}-{name}".encode() not in everything] == []

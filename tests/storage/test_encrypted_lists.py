"""Lists under a cipher: each item is encrypted a few times, and every edit stays exact."""

from __future__ import annotations

from collections import Counter
from itertools import count, pairwise
from math import log as logarithm
from typing import Any

import orjson
import pytest
import redis
from hypothesis import given
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pybase64 import b64decode

from langgraph_redis_json import (
    DamagedDocumentError,
    RedisSaver,
    UnreadableValueError,
)
from langgraph_redis_json.storage import channels, json_codec, list_logs
from langgraph_redis_json.storage.cache import Span, StoredChannel
from langgraph_redis_json.storage.encrypted_lists import MOST_CHUNKS, ChunkLayout, lay_out
from tests.storage.test_list_log_layout import LISTS
from tests.support.checkpoints import config, each_saver, found_keys, get, put
from tests.support.clients import Client, MakeSaver
from tests.support.growing_lists import EDITS, TEXT, Conversation, Logs, Thread, get_json, items
from tests.support.strategies import examples


class Cipher(CipherProtocol):
    """LangGraph's AES cipher, which counts what it does."""

    def __init__(self, key: bytes = b"k" * 16) -> None:
        self._cipher = EncryptedSerializer.from_pycryptodome_aes(key=key).cipher
        self.encrypted: list[int] = []
        self.decrypted = 0

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        self.encrypted.append(len(plaintext))
        return self._cipher.encrypt(plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        self.decrypted += 1
        return self._cipher.decrypt(ciphername, ciphertext)


def serializer(cipher: CipherProtocol | None = None) -> EncryptedSerializer:
    return EncryptedSerializer(cipher or Cipher())


# ---- the layout


class Chunked:
    """What a test has stored of one channel, put by put, as `channels.store` would.

    Attributes:
        logs: entry -> its chunks.
        stored: how the last list is stored.
        sent: how many items were sent.
    """

    def __init__(self) -> None:
        self.logs: dict[str, list[list[bytes]]] = {}
        self.stored: StoredChannel | None = None
        self.sent = 0

    def put(self, value: list[bytes]) -> ChunkLayout:
        """Store a list, and check that the layout holds it."""
        hashes = list_logs.hashes_of(value)
        layout = lay_out(hashes, self.stored, "ns", "list")
        assert len(layout.slices) <= list_logs.MOST_SLICES
        for log, number, numbers, stop in layout.new:
            assert log.startswith("l:ns:list:")
            chunks = self.logs.setdefault(log, [])
            assert len(chunks) == number < MOST_CHUNKS
            chunks.append([value[item] for item in numbers])
            assert sum(map(len, chunks)) == stop
            self.sent += len(numbers)
        found = [
            item
            for log, start, stop in layout.slices
            for item in [one for chunk in self.logs[log] for one in chunk][start:stop]
        ]
        assert found == value
        for left, right in pairwise(layout.slices):
            assert (left.log, left.stop) != (right.log, right.start)
        used = {log for log, _, _ in layout.slices}
        self.stored = StoredChannel(
            "1",
            b"",
            slices=layout.slices,
            item_hashes=hashes,
            chunks={log: layout.chunks[log] for log in used},
            log_lengths={log: n for log, n in layout.lengths.items() if log in used},
        )
        return layout

    def chunks_to_read(self) -> int:
        assert self.stored is not None
        found = 0
        for log, start, stop in self.stored.slices:
            spans = self.stored.chunks[log]
            found += sum(one.start < stop and start < one.stop for one in spans)
        return found

    def read_again(self, changed: bool) -> None:
        """Another process reads the list: it knows the chunks that hold the list, and no others."""
        assert self.stored is not None
        known: dict[str, list[Span]] = {}
        for log, start, stop in self.stored.slices:
            spans = [s for s in self.stored.chunks[log] if s.start < stop and start < s.stop]
            known[log] = sorted({*known.get(log, ()), *spans})
            if changed:
                self.logs[log].append([b"x"])
        lengths = {log: len(self.logs[log]) for log in known}
        self.stored = self.stored._replace(chunks=known, log_lengths=lengths)


@examples(300)
@given(LISTS)
def test_a_layout_names_all_items_in_order(lists: list[Any]) -> None:
    chunked = Chunked()
    for numbers, changed, is_read in lists:
        value = [b"%d" % number for number in numbers]
        if value:
            chunked.put(value)
            if changed or is_read:
                chunked.read_again(changed)


@pytest.mark.parametrize("restarts", [0, 7])
@pytest.mark.parametrize(("step", "first"), [(1, 1), (3, 1), (2, 500)])
def test_each_item_is_encrypted_a_few_times(step: int, first: int, restarts: int) -> None:
    chunked, value = Chunked(), [b"%d" % number for number in range(first)]
    most = 0
    for number in range(1_500):
        chunked.put(value)
        if restarts and number % restarts == 0:
            chunked.read_again(changed=False)
        most = max(most, chunked.chunks_to_read())
        value = [*value, *(b"%d" % (len(value) + each) for each in range(step))]
    puts = len(value) / step
    assert chunked.sent <= len(value) * (2 + logarithm(puts, MOST_CHUNKS))
    assert most <= MOST_CHUNKS * (1 + logarithm(puts, MOST_CHUNKS))


@pytest.mark.parametrize("window", [30, 1_000])
def test_a_window_costs_no_more_than_a_growing_list(window: int) -> None:
    chunked, value = Chunked(), [b"%d" % number for number in range(window)]
    for number in range(window, 3_000):
        chunked.put(value)
        assert chunked.chunks_to_read() <= 3 * MOST_CHUNKS
        value = [*value[1:], b"%d" % number]
    assert chunked.sent <= 3_000 * 5


def test_a_list_does_not_refer_to_chunks_of_which_it_needs_little() -> None:
    chunked = Chunked()
    many = [b"%d" % number for number in range(5_000)]
    chunked.put(many)
    assert chunked.put(many[-2_000:]).items_to_read() == 5_000
    assert chunked.put(many[-3:]).items_to_read() == 3


# ---- on a server

WRITERS = ("same saver", "reads first", "fresh savers", "two savers", "two savers that read")


@pytest.mark.parametrize("who", WRITERS)
@each_saver
def test_many_edits_in_a_row_stay_exact(
    make_saver: MakeSaver, client: Client, stored_logs: Logs, who: str
) -> None:
    thread, serde = Thread(), serializer()
    one, other = (make_saver(client, setup=not index, serde=serde) for index in range(2))
    fresh = (make_saver(client, setup=False, serde=serde) for _ in count())
    for number, (change, _) in enumerate(EDITS.values()):
        saver = other if "two" in who and number % 2 else one
        if "fresh" in who and number % 4 == 0:
            saver = one = next(fresh)
        if "read" in who:
            saver.get_tuple(thread.config())
        value: list[Any] = thread.last if thread.expected else []
        for step in range(20):
            value = [*value, *items(100 * number + step, 100 * number + step + 1, "mixed")]
            thread.put(saver, value)
        thread.put(saver, change(value, items(100 * number + 50, 100 * number + 53, "mixed")))
    assert stored_logs.keys()
    thread.check(make_saver(client, setup=False, serde=serde))


@pytest.fixture
def stored_logs(redis_client: redis.Redis, key_prefix: str) -> Logs:
    return Logs(redis_client, key_prefix)


@each_saver
def test_memory_grows_nearly_linearly(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    """No more than one and a half times the memory of the same conversation without a cipher."""

    def used() -> int:
        keys = found_keys(redis_client, key_prefix)
        return sum(redis_client.memory_usage(key, samples=0) or 0 for key in keys)

    cipher = Cipher()
    saver = make_saver(client, serde=serializer(cipher))
    conversation = Conversation()
    conversation.grow(saver, 200)
    half = used()
    conversation.grow(saver, 400)
    whole = used()
    saver.delete_thread("thread")
    assert whole <= 2.5 * half  # an item is encrypted once more in 16 times as many puts

    plain = make_saver(client, setup=False)
    Conversation().grow(plain, 400)
    assert whole <= 1.5 * used()

    reader = make_saver(client, setup=False, serde=serializer(cipher))
    Conversation().grow(saver, 400)
    cipher.decrypted = 0
    found = reader.get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"]["messages"] == conversation.messages
    assert cipher.decrypted <= 3 * MOST_CHUNKS


def test_a_chunk_has_a_nonce_of_its_own_and_nothing_readable(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(Client(RedisSaver, 3, False), serde=serializer())
    Conversation().grow(saver, 40)
    nonces: Counter[bytes] = Counter()
    logs = found_keys(redis_client, key_prefix, "log")
    for key in found_keys(redis_client, key_prefix):
        if "contents:" not in key:
            assert "lorem" not in redis_client.execute_command("JSON.GET", key)
    for key in logs:
        for item in get_json(redis_client, key, "$.items[*]"):
            assert item.keys() == {"stop", "chunk"}
            assert item["chunk"]["type"] == "msgpack+aes"
            nonces[b64decode(item["chunk"]["base64"])[:16]] += 1
    assert len(logs) >= 3
    assert nonces.total() == len(nonces) >= 40


@each_saver
def test_a_cipher_may_be_added_and_removed(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, stored_logs: Logs
) -> None:
    """A list that was stored without the cipher is stored again with it, and vice versa."""
    thread, saver = Thread(), make_saver(client)
    plain, encrypted = saver.serde, serializer()
    for serde in (plain, encrypted, plain, encrypted):
        saver.serde = serde
        value = thread.last if thread.expected else []
        before = stored_logs.items()
        for _ in range(2):
            value = [*value, *items(len(value), len(value) + 10)]
            thread.put(saver, value)
        assert stored_logs.items() - before == (2 if serde is encrypted else len(value))
    thread.check(make_saver(client, setup=False, serde=encrypted))


@each_saver
def test_only_edges_without_a_value_are_not_encrypted(
    make_saver: MakeSaver, client: Client, redis_client: redis.Redis, key_prefix: str
) -> None:
    saver = make_saver(client, serde=serializer())
    values = {"branch:to:node": None, "branch:to:other": "told", "answer": None}
    found = put(saver, "1", values)
    assert get(saver, found)["channel_values"] == values
    [key] = found_keys(redis_client, key_prefix, "checkpoint")
    stored = get_json(redis_client, key)["channel_values"]
    assert stored.pop("branch:to:node") is None
    assert [one["type"] for one in stored.values()] == ["msgpack+aes", "null+aes"]


@each_saver
def test_another_key_or_none_cannot_read(make_saver: MakeSaver, client: Client) -> None:
    """The error is that of a value that is encrypted as a whole."""
    for value in (items(0, 20), TEXT * 20):
        thread = Thread()
        thread.put(make_saver(client, serde=serializer()), value)
        for serde, cause, why in (
            (serializer(Cipher(b"x" * 16)), ValueError, "ValueError: MAC check failed"),
            (
                JsonPlusSerializer(),
                NotImplementedError,
                "NotImplementedError: Unknown serialization type: msgpack\\+aes",
            ),
        ):
            with pytest.raises(UnreadableValueError, match=why) as raised:
                make_saver(client, setup=False, serde=serde).get_tuple(thread.config())
            assert type(raised.value.__cause__) is cause


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.items[0].stop", 5),
        ("$.items[0].stop", "10"),
        ("$.items[0].stop", 30),
        ("$.items[0].chunk.base64", "?"),
        ("$.items[0]", {"json": 1}),
        ("$.items", []),
    ],
)
def test_a_damaged_chunk_is_reported(
    make_saver: MakeSaver, redis_client: redis.Redis, stored_logs: Logs, path: str, value: Any
) -> None:
    serde, client = serializer(), Client(RedisSaver, 3, False)
    thread = Thread()
    thread.put(make_saver(client, serde=serde), items(0, 20))
    [key] = stored_logs.keys()
    redis_client.execute_command("JSON.SET", key, path, orjson.dumps(value))
    with pytest.raises(DamagedDocumentError, match=key):
        make_saver(client, setup=False, serde=serde).get_tuple(thread.config())


@pytest.mark.parametrize("member", [2, 4])
def test_numbers_beyond_the_end_of_a_log_raise(
    make_saver: MakeSaver, redis_client: redis.Redis, key_prefix: str, member: int
) -> None:
    """The reader allocates no memory for what is missing."""
    serde, client = serializer(), Client(RedisSaver, 3, False)
    thread = Thread()
    thread.put(make_saver(client, serde=serde), items(0, 20))
    [key] = found_keys(redis_client, key_prefix, "checkpoint")
    path = f'$.channel_values["list"].log[0][{member}]'
    redis_client.execute_command("JSON.SET", key, path, "1" * 15)
    with pytest.raises(DamagedDocumentError, match=r"has no item|lack some of the items"):
        make_saver(client, setup=False, serde=serde).get_tuple(thread.config())


@each_saver
def test_forks_trims_copies_and_prunes_stay_exact(
    make_saver: MakeSaver, client: Client, stored_logs: Logs
) -> None:
    serde, thread = serializer(), Thread()
    saver = make_saver(client, serde=serde)
    ids = [thread.put(saver, items(0, length)) for length in range(10, 60)]
    for number, parent in enumerate((ids[5], ids[20], ids[5])):
        value = thread.expected[parent]
        for step in range(20):
            value = [*value, *items(1_000 * number + step, 1_000 * number + step + 1)]
            parent = thread.put(saver, value, parent=parent)
    thread.check(make_saver(client, setup=False, serde=serde))

    saver.copy_thread("thread", "copy")
    copy = Thread("copy")
    copy.expected = thread.expected
    copy.check(make_saver(client, setup=False, serde=serde))
    saver.delete_thread("copy")

    chunks = stored_logs.items()
    saver.prune(["thread"], strategy="keep_latest")
    newest = max(thread.expected)
    thread.expected = {newest: thread.expected[newest]}
    reader = make_saver(client, setup=False, serde=serde)
    thread.check(reader)
    assert stored_logs.items() < chunks / 3
    thread.parents[newest] = None
    thread.put(reader, [*thread.last, *items(500, 510)])
    thread.check(make_saver(client, setup=False, serde=serde))


@each_saver
def test_keep_last_frees_the_logs_of_old_chunks(
    make_saver: MakeSaver, client: Client, stored_logs: Logs
) -> None:
    saver = make_saver(client, serde=serializer(), keep_last=2)
    Conversation().grow(saver, 300)
    assert stored_logs.items() <= 5 * MOST_CHUNKS


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_list_that_outgrew_one_command_is_stored_again(
    make_saver: MakeSaver, monkeypatch: pytest.MonkeyPatch, encrypted: bool
) -> None:
    """Its items came in several puts; one put stores many of them again."""
    monkeypatch.setattr(channels, "MOST_NEW", 50)
    client, serde = Client(RedisSaver, 3, False), serializer() if encrypted else None
    saver, thread = make_saver(client, serde=serde), Thread()
    thread.put(saver, items(0, 40))
    thread.put(saver, thread.last[:30:2])
    old = thread.put(saver, [*thread.last, *items(40, 80)])
    for number in range(2):  # the second branch needs another log, and has too many slices then
        saver.get_tuple(thread.config(old))
        thread.put(saver, [*thread.expected[old], *items(900 + number, 901 + number)], parent=old)
    for number in range(MOST_CHUNKS):
        thread.put(saver, [*thread.last, *items(80 + number, 81 + number)])
    thread.check(make_saver(client, setup=False, serde=serde))


class Failing(CipherProtocol):
    """A cipher that fails to decrypt."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "other", plaintext[::-1]

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        raise self._error


@pytest.mark.parametrize("value", [items(0, 20), TEXT * 20, "small"], ids=["list", "blob", "small"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        *((kind("why"), UnreadableValueError) for kind in json_codec.UNREADABLE),
        (KeyError("why"), UnreadableValueError),
        (OSError("why"), OSError),  # its key service cannot be reached, say
    ],
    ids=repr,
)
def test_any_value_that_a_cipher_cannot_decrypt_raises_the_same_error(
    make_saver: MakeSaver, error: Exception, raised: type[Exception], value: Any
) -> None:
    client, serde, thread = Client(RedisSaver, 3, False), serializer(Failing(error)), Thread()
    thread.put(make_saver(client, serde=serde), value)
    reader = make_saver(client, setup=False, serde=serde)
    with pytest.raises(raised, match="why"):
        reader.get_tuple(thread.config())
    with pytest.raises(raised, match="why"):
        list(reader.list(thread.config()))


@pytest.mark.parametrize("value", [items(0, 20), TEXT * 20], ids=["list", "blob"])
def test_a_value_of_another_cipher_is_named(make_saver: MakeSaver, value: Any) -> None:
    """LangGraph's own cipher asserts that the name is its own."""
    client, thread = Client(RedisSaver, 3, False), Thread()
    thread.put(make_saver(client, serde=serializer(Failing(ValueError()))), value)
    reader = make_saver(client, setup=False, serde=serializer())
    with pytest.raises(UnreadableValueError, match=r"key .* Unsupported cipher: other"):
        reader.get_tuple(thread.config())

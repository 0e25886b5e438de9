"""A log that somebody has shortened: a put stores the whole list again."""

from __future__ import annotations

import pytest
import redis

from langgraph_redis_json.errors import DamagedDocumentError
from tests.support.checkpoints import checkpoint, each_saver
from tests.support.clients import Client, MakeSaver
from tests.support.damage import by_id, list_and_log
from tests.support.growing_lists import Logs, Thread, items

LONG = 10
"""Items of the log before."""


@each_saver
@pytest.mark.parametrize("left", [1, LONG - 1])
@pytest.mark.parametrize("change", ["appended", "unchanged", "the same items", "trimmed", "edited"])
def test_a_put_after_a_log_was_shortened(
    make_saver: MakeSaver,
    client: Client,
    redis_client: redis.Redis,
    key_prefix: str,
    caplog: pytest.LogCaptureFixture,
    change: str,
    left: int,
) -> None:
    saver, thread = make_saver(client), Thread()
    thread.put(saver, items(0, LONG))
    [key] = Logs(redis_client, key_prefix).keys()
    assert redis_client.execute_command("JSON.ARRTRIM", key, ".items", 0, left - 1) == left
    value = {
        "appended": items(0, LONG + 2),
        "unchanged": thread.last,
        "the same items": thread.last,
        "trimmed": items(3, LONG),
        "edited": [*items(0, 4), *items(20, 22), *items(5, LONG)],
    }[change]
    if change == "unchanged":  # the put does not send the value unless it must
        id_ = "00002"
        made = checkpoint(id_, {"list": value}, {"list": "00001.5"})
        saver.put(thread.config("00001"), made, {}, {})
    else:
        id_ = thread.put(saver, value)
    for reader in (saver, make_saver(client, setup=False)):
        for config in (thread.config(id_), thread.config()):
            found = reader.get_tuple(config)
            assert found is not None
            assert found.checkpoint["channel_values"] == {"list": value}
        listed, messages = list_and_log(reader, caplog, thread.config())
        assert {
            one: each.checkpoint["channel_values"]["list"] for one, each in by_id(listed).items()
        } == {id_: value}
        assert [f"key {key} " in message for message in messages] == [True]
    with pytest.raises(DamagedDocumentError, match="has no item") as raised:
        make_saver(client, setup=False).get_tuple(thread.config("00001"))
    assert f"key {key} " in str(raised.value)
    # Later steps build on the new log.
    id_ = thread.put(saver, [*value, *items(30, 31)], parent=id_)
    thread.check_one(make_saver(client, setup=False), id_)

"""Text that could break out of a query, a key or a path matches only itself."""

from __future__ import annotations

import random
from typing import Any

import pytest

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.operations import put as put_operation
from tests.support.checkpoints import STRANGE, checkpoint, config, ids, put
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.plans import execute

PIECES = [
    *('"', "'", "`", "\\", "{", "}", "(", ")", "[", "]", "|", "*", "%", "@", "$", "~", "-", "=>"),
    *(":", ";", ",", ".", "!", "^", "&", "#", "/", "?", "<", ">", " ", "\n", "\t", "\x1f", "\x7f"),
    *("@thread_id:{*}", "@tokens:{*}", "@format:[-inf +inf]", "| *", ") | (", "(*)", "-@x:{y}"),
    *("=>[KNN 2 @v $b]", "=>{$weight:2}", "ismissing(@run_id)", "w'*'", "%%%a%%%", "$.a", "@.b"),
    *(
        "DIALECT 2",
        "LIMIT 0 9",
        "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
        "redis.call('FLUSHALL')",
        "%s",
        "%n",
    ),
    *("victim", "{victim}", "thread", "é", "👩‍👩‍👧", "\u2028", "\ufeff", "\U0010ffff", "null", "1"),
]
SEEDS = [
    *('"} | @thread_id:{*', "*", "%", "\\", "\\" * 10_000, "*" * 5_000, "{" * 3_000, "\0"),
    *('"} | @tokens:{*} | {"', "')) | ((*", "@user:{victim}", "victim", "victim*", "*victim"),
    *("$[?(@.a>=0)].a", "$..*", "]}", "[0 1]", "(-inf +inf", "-inf", "nan", "1e999", "\x01\x02"),
]


def corpus(count: int) -> list[str]:
    """This many different hostile texts, the same in each run."""
    made = dict.fromkeys([*SEEDS, *PIECES, *STRANGE.values()])
    dice = random.Random(5)
    while len(made) < count:
        made["".join(dice.choices(PIECES, k=dice.randint(1, 6)))] = None
    # The names of the victim are not attacks.
    return [text for text in made if text not in ("victim", "thread")]


HOSTILE = corpus(1_100)


def put_all(saver: Saver, plans: list[Any]) -> None:
    """Run plans that take one trip each, many in one trip."""
    commands = [next(plan) for plan in plans]
    replies = execute(saver, [command for [command] in commands])
    for plan, reply in zip(plans, replies, strict=True):
        with pytest.raises(StopIteration):
            plan.send([reply])


@pytest.fixture(scope="module")
def lines() -> list[tuple[int, str]]:
    assert len(HOSTILE) >= 1_000
    return list(enumerate(HOSTILE))


@pytest.fixture
def saver(make_saver: MakeSaver) -> Saver:
    made = make_saver(
        Client(RedisSaver, 3, False),
        metadata_fields={"note": "tag", "about": "text", "n": "numeric"},
    )
    put(made, "victim", thread_id="victim", metadata={"user": "victim", "note": "secret", "n": -1})
    return made


def plan(saver: Saver, thread: str, id_: str, ns: str, metadata: Any) -> Any:
    return put_operation.put(saver._context, config(thread, ns), checkpoint(id_), metadata, {})


def test_hostile_filter_values_match_only_themselves(
    saver: Saver, lines: list[tuple[int, str]]
) -> None:
    # LangGraph removes NULs from metadata, so these texts are found without them.
    lines = [(number, text) for number, text in lines if "\0" not in text]
    put_all(
        saver,
        [
            plan(saver, f"t{n}", f"{n:04}", "", {"note": text, "about": text, "n": n})
            for n, text in lines
        ],
    )
    for number, text in lines:
        only = [f"{number:04}"]
        assert ids(saver.list(None, filter={"note": text}, limit=3)) == only
        assert [row.checkpoint_id for row in saver.threads({"note": text}, limit=3)] == only
    for number, text in lines[::20]:
        found = saver.list(None, filter={"note": {"$in": [text]}, "n": {"$gte": 0}})
        assert ids(found) == [f"{number:04}"]
        # The index cannot narrow these searches, so they read all checkpoints.
        between = saver.list(None, filter={"note": {"$gte": text, "$lte": text}, "n": number})
        assert ids(between) == [f"{number:04}"]


def test_hostile_filter_values_that_no_checkpoint_has_match_nothing(
    saver: Saver, lines: list[tuple[int, str]]
) -> None:
    put_all(saver, [plan(saver, f"t{n}", f"{n}", "", {"other": n}) for n in range(50)])
    for _, text in lines:
        for filter in ({"note": text}, {text: "victim"}, {"user": {"$eq": text}}):
            assert ids(saver.list(None, filter=filter, limit=3)) == []
        assert list(saver.threads({"user": text}, limit=3)) == []


def test_hostile_filter_keys_match_only_themselves(
    saver: Saver, lines: list[tuple[int, str]]
) -> None:
    put_all(saver, [plan(saver, f"t{n}", f"{n}", "", {text: "v"}) for n, text in lines])
    for number, text in lines:
        if "\0" not in text:
            assert ids(saver.list(None, filter={text: "v"}, limit=3)) == [f"{number}"]


def test_hostile_thread_ids_and_namespaces_stay_apart(
    saver: Saver, lines: list[tuple[int, str]]
) -> None:
    plans = []
    for number, text in lines:
        plans.append(plan(saver, text, f"{number}", "", {"user": "u", "n": number}))
        plans.append(plan(saver, text, f"{number}", text or "ns", {"user": "u", "n": number}))
    put_all(saver, plans)
    for number, text in lines:
        mine = [f"{number}"]
        assert ids(saver.list(config(text, ""), filter={"user": "u"}, limit=3)) == mine
        assert ids(saver.list(config(text, text or "ns"), filter={"user": "u"})) == mine
        assert ids(saver.list(config(text, None))) == mine * 2
        assert ids(saver.list(config("victim", text), filter={"user": "victim"})) == (
            [] if text else ["victim"]
        )
        assert [row.thread_id for row in saver.threads({"n": number}, limit=3)] == [text]


def test_hostile_checkpoint_ids_stay_apart(saver: Saver, lines: list[tuple[int, str]]) -> None:
    lines = [(number, text) for number, text in lines if text and "\0" not in text]
    put_all(saver, [plan(saver, "ids", text, "", {"n": n}) for n, text in lines])
    newest_first = sorted((text for _, text in lines), reverse=True)
    assert ids(saver.list(config("ids"))) == newest_first
    assert ids(saver.list(config("ids"), filter={"n": {"$gte": 0}})) == newest_first
    for place in range(0, len(newest_first), 25):
        before = config("victim", "", newest_first[place])
        found = ids(saver.list(config("ids", None), before=before, limit=3))
        assert found == newest_first[place + 1 : place + 4]
    for _, text in lines[::25]:
        assert ids(saver.list(config("ids", None, text))) == [text]
        assert ids(saver.list(config("ids", "", text), filter={"n": {"$gte": 0}})) == [text]

"""Both savers have the same methods, among them all of LangGraph's, and each serves both kinds of
calls.

tests/project/test_generated.py checks that they have the same code.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver

import langgraph_redis_json
from langgraph_redis_json import AsyncRedisSaver, BlockingCallError, RedisSaver
from tests.support.checkpoints import checkpoint, config

SAVERS: list[type[RedisSaver | AsyncRedisSaver]] = [RedisSaver, AsyncRedisSaver]

CLOSES: dict[type, str] = {RedisSaver: "close", AsyncRedisSaver: "aclose"}


def methods_of(cls: type) -> dict[str, Any]:
    """The public methods that a saver defines itself, without `close`."""
    return {
        name: member
        for name, member in vars(cls).items()
        if not name.startswith("_") and inspect.isfunction(member) and name != CLOSES[cls]
    }


TWINS = sorted(
    name
    for name in methods_of(RedisSaver)
    if f"a{name}" in methods_of(RedisSaver) and name != "list"
)
"""Methods that have a twin with an `a` in front."""


def test_both_savers_have_the_same_methods() -> None:
    ours, theirs = map(methods_of, SAVERS)
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if f"a{name}" not in ours and name[1:] not in ours} == {
        "get_next_version"
    }
    for cls in SAVERS:
        assert callable(getattr(cls, CLOSES[cls]))
        assert isinstance(vars(cls)["checkpoints_index"], property)
        for name in ("from_conn_string", "from_conn_info"):
            assert isinstance(vars(cls)[name], classmethod)
    others = [vars(cls).keys() - methods_of(cls).keys() - {CLOSES[cls]} for cls in SAVERS]
    public = [{name for name in each if not name.startswith("_")} for each in others]
    assert public[0] == public[1]


def parameters(function: Any) -> list[tuple[Any, ...]]:
    """The parameters of a function, with annotations in which neither kind of client is named."""
    return [
        (each.name, each.kind, each.default, str(each.annotation))
        for each in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize("name", sorted(methods_of(RedisSaver)))
def test_methods_have_the_same_signatures(name: str) -> None:
    ours, theirs = (methods_of(cls)[name] for cls in SAVERS)
    assert parameters(ours) == parameters(theirs)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs) or (
        name == "setup"  # which each saver has in its own kind
    )
    twin = methods_of(RedisSaver).get(f"a{name}")
    if twin is not None:
        assert parameters(ours) == parameters(twin)


@pytest.mark.parametrize("name", ["__init__", "from_conn_string", "from_conn_info"])
def test_savers_are_made_alike(name: str) -> None:
    ours, theirs = (
        [parameter[:3] for parameter in parameters(getattr(cls, name))] for cls in SAVERS
    )
    assert ours == theirs


@pytest.mark.parametrize("name", sorted({*TWINS, "list"} - {"setup"}))
@pytest.mark.parametrize("cls", SAVERS)
def test_bridged_methods_have_names_and_docstrings_of_their_own(
    cls: type[RedisSaver | AsyncRedisSaver], name: str
) -> None:
    own, bridged = (name, f"a{name}") if cls is RedisSaver else (f"a{name}", name)
    method = getattr(cls, bridged)
    assert method.__wrapped__ is vars(cls)[own]
    assert method.__name__ == bridged
    assert method.__qualname__ == f"{cls.__name__}.{bridged}"
    assert method.__module__ == cls.__module__
    doc = inspect.getdoc(method)
    assert doc is not None
    assert f"`{own}`" in doc
    assert doc != inspect.getdoc(getattr(cls, own))
    assert "thread" in doc
    assert not hasattr(getattr(cls, own), "__wrapped__")


async def test_the_synchronous_saver_is_awaited(redis_url: str, key_prefix: str) -> None:
    with RedisSaver(redis_url, key_prefix=key_prefix) as saver:
        assert inspect.iscoroutinefunction(saver.aput)
        await saver.asetup()
        made = checkpoint("1", {"channel": 1})
        putting = saver.aput(config(), made, {"step": 1}, made["channel_versions"])
        assert inspect.iscoroutine(putting)
        assert saver.get_tuple(config()) is None  # nothing is put before it is awaited
        stored = await putting
        assert stored == config(checkpoint_id="1")
        await saver.aput_writes(stored, [("channel", 2)], "task")
        found = await saver.aget_tuple(config())
        assert found == saver.get_tuple(config())
        assert [one async for one in saver.alist(None, filter={"step": 1})] == [found]
        assert [one.thread_id async for one in saver.athreads()] == ["thread"]
        with pytest.raises(ValueError, match="names no thread"):
            await saver.aget_tuple({})
        with pytest.raises(ValueError, match="names no thread"):
            saver.alist({"configurable": {}, "tags": []})  # at once
        await saver.adelete_thread("thread")
        assert await saver.aget_tuple(config()) is None


def test_the_asynchronous_saver_blocks(redis_url: str, key_prefix: str) -> None:
    saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)
    asyncio.run(saver.setup())
    assert not inspect.iscoroutinefunction(saver.put)
    made = checkpoint("1", {"channel": 1})
    stored = saver.put(config(), made, {"step": 1}, made["channel_versions"])
    assert stored == config(checkpoint_id="1")
    saver.put_writes(stored, [("channel", 2)], "task")
    found = saver.get_tuple(config())
    assert found is not None
    assert found.pending_writes == [("task", "channel", 2)]
    assert list(saver.list(None, filter={"step": 1})) == [found]
    assert [one.thread_id for one in saver.threads()] == ["thread"]
    with pytest.raises(ValueError, match="names no thread"):
        saver.list({"configurable": {}, "tags": []})  # at once
    saver.delete_thread("thread")
    assert saver.get_tuple(config()) is None


async def test_the_asynchronous_saver_does_not_block_its_loop(
    redis_url: str, key_prefix: str
) -> None:
    async with AsyncRedisSaver(redis_url, key_prefix=key_prefix) as saver:
        await saver.setup()
        made = checkpoint("1", {"channel": 1})
        calls: list[Callable[[], Any]] = [
            lambda: saver.put(config(), made, {"step": 1}, made["channel_versions"]),
            lambda: saver.get_tuple(config()),
            lambda: list(saver.list(config())),
            lambda: saver.delete_thread("thread"),
        ]
        for call in calls:
            # LangGraph's other asynchronous savers raise the last of these.
            for kind in (BlockingCallError, RuntimeError, asyncio.InvalidStateError):
                with pytest.raises(kind, match="would block the event loop"):
                    call()
        assert await saver.aget_tuple(config()) is None


def test_all_lists_the_exports_of_the_package() -> None:
    public = {
        name
        for name, value in vars(langgraph_redis_json).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public | {"__version__"} == set(langgraph_redis_json.__all__)
    assert list(langgraph_redis_json.__all__) == sorted(langgraph_redis_json.__all__)
    for name in langgraph_redis_json.__all__:
        # An error class's docstring is its message.
        assert inspect.getdoc(getattr(langgraph_redis_json, name)), name


def test_the_init_only_exports() -> None:
    tree = ast.parse(Path(langgraph_redis_json.__file__).read_text(encoding="utf-8"))
    kinds = [type(node) for node in tree.body]
    assert set(kinds[1:-2]) == {ast.ImportFrom}
    assert kinds[-2:] == [ast.Assign, ast.Assign]  # __version__ and __all__


METHODS = sorted(
    name
    for name, value in vars(BaseCheckpointSaver).items()
    if inspect.isfunction(value) and not name.startswith("_")
)

SUFFICES = {
    "get": "get_tuple",
    "aget": "aget_tuple",
    "with_allowlist": None,
}
"""Methods of LangGraph's that work as they are, by which one of ours."""


ADDED = {"prune": ["keep_last"]}
"""Arguments that LangGraph's method does not have."""


@pytest.mark.parametrize("cls", SAVERS)
@pytest.mark.parametrize("name", METHODS)
def test_both_savers_have_every_method(cls: type[BaseCheckpointSaver[str]], name: str) -> None:
    base, own = getattr(BaseCheckpointSaver, name), getattr(cls, name)
    if name in SUFFICES:
        assert "NotImplementedError" not in inspect.getsource(base)
        return
    assert own is not base, f"{cls.__name__}.{name} is LangGraph's"
    assert "NotImplementedError" not in inspect.getsource(own)
    added = ADDED.get(name.removeprefix("a"), [])
    assert [*inspect.signature(own).parameters] == [*inspect.signature(base).parameters, *added]
    for parameter in inspect.signature(base).parameters.values():
        ours = inspect.signature(own).parameters[parameter.name]
        assert (ours.kind, ours.default) == (parameter.kind, parameter.default)
    assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(base)
    if name == "alist":  # checks its arguments at once, and then returns a generator
        base = BaseCheckpointSaver.list
    assert inspect.isasyncgenfunction(own) == inspect.isasyncgenfunction(base)


@pytest.mark.parametrize("cls", SAVERS)
def test_public_methods_are_documented(cls: type[BaseCheckpointSaver[str]]) -> None:
    for name, value in inspect.getmembers(cls):
        if not name.startswith("_") and callable(value):
            assert inspect.getdoc(value), f"{cls.__name__}.{name}"


@pytest.mark.parametrize("cls", SAVERS)
def test_setup_has_an_asynchronous_counterpart(cls: type[RedisSaver | AsyncRedisSaver]) -> None:
    assert inspect.iscoroutinefunction(cls.asetup)
    assert inspect.iscoroutinefunction(cls.setup) == (cls is AsyncRedisSaver)
    if cls is AsyncRedisSaver:
        assert cls.asetup is cls.setup

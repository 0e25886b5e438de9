"""Both savers are one: same code, same methods, all of LangGraph's."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver

import langgraph_redis_json
from langgraph_redis_json import AsyncRedisSaver, RedisSaver, aio, saver

SAVERS = [RedisSaver, AsyncRedisSaver]

NAMES = {
    "AsyncRedisSaver": "RedisSaver",
    "AsyncIterator": "Iterator",
    "AsyncSearchIndex": "SearchIndex",
    "SyncOnLoop": "AsyncInThreads",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclose": "close",
    "athreads": "threads",
    "asyncio": "time",  # where sleep is from
    "redis.asyncio": "redis",
    "redis.asyncio.cluster": "redis.cluster",
    "an ``async with``": "a ``with``",
}


def plain(text: str) -> str:
    """A name or a text of aio.py as saver.py has it."""
    if text in NAMES:
        return NAMES[text]
    if text.startswith("a") and hasattr(RedisSaver, text) and hasattr(RedisSaver, text[1:]):
        return text.removeprefix("a")
    return text


class WithoutAsync(ast.NodeTransformer):
    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self.visit(ast.FunctionDef(**dict(ast.iter_fields(node))))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = plain(node.name)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = plain(node.name)
        # The classes say of themselves what they are for: not the same.
        assert ast.get_docstring(node)
        node.body = [part for part in node.body[1:] if not is_alias(part)]
        return self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.visit(node.value)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        # There is no `yield from` in an asynchronous generator.
        [only] = node.body
        assert isinstance(only, ast.Expr)
        assert isinstance(only.value, ast.Yield)
        assert only.value.value is not None
        assert ast.dump(only.value.value) == ast.dump(node.target).replace("Store", "Load")
        return ast.Expr(ast.YieldFrom(self.visit(node.iter)))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = plain(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = plain(node.attr)
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        node.module = plain(node.module or "")
        for name in node.names:
            name.name = plain(name.name)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            for name in ("AsyncRedisSaver", "redis.asyncio", "an ``async with``"):
                node.value = node.value.replace(name, NAMES[name])
        return node


def is_alias(node: ast.AST) -> bool:
    return ast.dump(node) == ast.dump(ast.parse("asetup = setup").body[0])


def code(module: ModuleType) -> list[str]:
    """A module's statements but for its docstring, the imports in one order."""
    tree = ast.parse(inspect.getsource(module))
    assert ast.get_docstring(tree)
    body = [WithoutAsync().visit(node) for node in tree.body[1:]]
    imports = [node for node in body if isinstance(node, ast.ImportFrom)]
    others = [node for node in body if not isinstance(node, ast.ImportFrom)]
    return [*sorted(map(ast.dump, imports)), *(ast.dump(node, indent=1) for node in others)]


def test_the_savers_differ_by_async_and_names_alone() -> None:
    assert code(aio) == code(saver)


def test_all_is_what_the_package_exports() -> None:
    public = {
        name
        for name, value in vars(langgraph_redis_json).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(langgraph_redis_json.__all__)
    assert list(langgraph_redis_json.__all__) == sorted(langgraph_redis_json.__all__)
    for name in langgraph_redis_json.__all__:
        # An error class's docstring is its message.
        assert inspect.getdoc(getattr(langgraph_redis_json, name)), name


def test_the_init_only_exports() -> None:
    tree = ast.parse(Path(langgraph_redis_json.__file__).read_text(encoding="utf-8"))
    kinds = [type(node) for node in tree.body]
    assert set(kinds[1:-1]) == {ast.ImportFrom}
    assert kinds[-1] is ast.Assign


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


@pytest.mark.parametrize("cls", SAVERS)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_there(cls: type[BaseCheckpointSaver[str]], name: str) -> None:
    base, own = getattr(BaseCheckpointSaver, name), getattr(cls, name)
    if name in SUFFICES:
        assert "NotImplementedError" not in inspect.getsource(base)
        return
    assert own is not base, f"{cls.__name__}.{name} is LangGraph's"
    assert "NotImplementedError" not in inspect.getsource(own)
    assert list(inspect.signature(own).parameters) == list(inspect.signature(base).parameters)
    for parameter in inspect.signature(base).parameters.values():
        ours = inspect.signature(own).parameters[parameter.name]
        assert (ours.kind, ours.default) == (parameter.kind, parameter.default)
    assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(base)
    if name == "alist":  # says at once what is wrong with its arguments, and then is one
        base = BaseCheckpointSaver.list
    assert inspect.isasyncgenfunction(own) == inspect.isasyncgenfunction(base)


@pytest.mark.parametrize("cls", SAVERS)
def test_public_methods_are_documented(cls: type[BaseCheckpointSaver[str]]) -> None:
    for name, value in inspect.getmembers(cls):
        if not name.startswith("_") and callable(value):
            assert inspect.getdoc(value), f"{cls.__name__}.{name}"


@pytest.mark.parametrize("cls", SAVERS)
def test_setup_has_its_twin(cls: type[RedisSaver | AsyncRedisSaver]) -> None:
    assert inspect.iscoroutinefunction(cls.asetup)
    assert inspect.iscoroutinefunction(cls.setup) == (cls is AsyncRedisSaver)
    if cls is AsyncRedisSaver:
        assert cls.asetup is cls.setup

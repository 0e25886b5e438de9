"""Lets RedisSaver be awaited and AsyncRedisSaver be called synchronously."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextvars import copy_context
from functools import partial, update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

from langgraph_redis_json.client.long_steps import executor

P = ParamSpec("P")
T = TypeVar("T")


def awaited(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """A method of RedisSaver, to be awaited: it runs in a thread."""
    name = method.__name__

    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        found: T = await _in_thread(getattr(self, name), *args, **kwargs)
        return found

    return _like(call, method, f"a{name}", f"Await `{name}`, which runs in a thread.")


def awaited_iteration(
    method: Callable[Concatenate[Any, P], Iterator[T]],
) -> Callable[Concatenate[Any, P], AsyncIterator[T]]:
    """A listing of RedisSaver, for ``async for``: it runs in threads."""
    name = method.__name__

    async def iterate(found: Iterator[T]) -> AsyncIterator[T]:
        while (item := await _in_thread(next, found, None)) is not None:
            yield item

    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return iterate(getattr(self, name)(*args, **kwargs))

    return _like(call, method, f"a{name}", f"`{name}` for ``async for``; it runs in threads.")


def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """A method of AsyncRedisSaver, for callers on another thread than its event loop."""
    name = method.__name__

    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        found: T = self._runner.wait(lambda: getattr(self, name)(*args, **kwargs))
        return found

    return _like(call, method, name[1:], f"`{name}` for callers on another thread.")


def blocking_iteration(
    method: Callable[Concatenate[Any, P], AsyncIterator[T]],
) -> Callable[Concatenate[Any, P], Iterator[T]]:
    """A listing of AsyncRedisSaver, for callers on another thread than its event loop."""
    name = method.__name__

    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        found: Iterator[T] = self._runner.wait_for_each(
            lambda: getattr(self, name)(*args, **kwargs)
        )
        return found

    return _like(call, method, name[1:], f"`{name}` for callers on another thread.")


async def _in_thread(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    step = partial(copy_context().run, call, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(executor(), step)


Method = TypeVar("Method", bound=Callable[..., Any])


def _like(call: Method, method: Callable[..., Any], name: str, doc: str) -> Method:
    """The call with the signature of a method, and a name of its own."""
    update_wrapper(call, method)
    call.__name__, call.__doc__ = name, doc
    call.__qualname__ = method.__qualname__.replace(method.__name__, name)
    return call

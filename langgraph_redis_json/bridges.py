"""Lets RedisSaver be awaited and AsyncRedisSaver be called synchronously."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextvars import copy_context
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from langgraph_redis_json.client.long_steps import executor

P = ParamSpec("P")
T = TypeVar("T")
Saver = TypeVar("Saver", bound=Any)


async def _in_thread(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    step = partial(copy_context().run, call, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(executor(), step)


def awaited(
    method: Callable[Concatenate[Saver, P], T],
) -> Callable[Concatenate[Saver, P], Coroutine[Any, Any, T]]:
    """A method of RedisSaver, to be awaited: it runs in a thread."""
    name = method.__name__

    @wraps(method)
    async def call(saver: Saver, *args: P.args, **kwargs: P.kwargs) -> T:
        found: T = await _in_thread(getattr(saver, name), *args, **kwargs)
        return found

    call.__name__, call.__doc__ = f"a{name}", f"Await `{name}`, which runs in a thread."
    return call


def awaited_iteration(
    method: Callable[Concatenate[Saver, P], Iterator[T]],
) -> Callable[Concatenate[Saver, P], AsyncIterator[T]]:
    """A listing of RedisSaver, for ``async for``: it runs in threads."""
    name = method.__name__

    async def iterate(found: Iterator[T]) -> AsyncIterator[T]:
        while (item := await _in_thread(next, found, None)) is not None:
            yield item

    @wraps(method)
    def call(saver: Saver, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return iterate(getattr(saver, name)(*args, **kwargs))

    call.__name__, call.__doc__ = f"a{name}", f"`{name}` for ``async for``; it runs in threads."
    return call


def blocking(
    method: Callable[Concatenate[Saver, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Saver, P], T]:
    """A method of AsyncRedisSaver, for callers on another thread than its event loop."""
    name = method.__name__

    @wraps(method)
    def call(saver: Saver, *args: P.args, **kwargs: P.kwargs) -> T:
        found: T = saver._runner.wait(lambda: getattr(saver, name)(*args, **kwargs))
        return found

    call.__name__ = name[1:]
    call.__doc__ = f"`{name}` for callers on another thread than the event loop."
    return call


def blocking_iteration(
    method: Callable[Concatenate[Saver, P], AsyncIterator[T]],
) -> Callable[Concatenate[Saver, P], Iterator[T]]:
    """A listing of AsyncRedisSaver, for callers on another thread than its event loop."""
    name = method.__name__

    @wraps(method)
    def call(saver: Saver, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        found: Iterator[T] = saver._runner.wait_for_each(
            lambda: getattr(saver, name)(*args, **kwargs)
        )
        return found

    call.__name__ = name[1:]
    call.__doc__ = f"`{name}` for callers on another thread than the event loop."
    return call

"""A progress bar for people who wait."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache


@contextmanager
def progress_bar(wanted: bool, what: str) -> Iterator[Callable[[float], object]]:
    """Gives a function that shows how much is done, from 0 to 1; it does nothing if no bar is
    wanted.

    Raises:
        ImportError: if one is wanted and rich is not installed.
    """
    if not wanted:
        yield lambda share: None
        return
    try:
        from rich.progress import Progress, TaskID
    except ImportError as error:
        raise ImportError(
            'the progress bar needs rich: pip install "langgraph-redis-json[progress]", '
            "or leave progress=True out"
        ) from error
    with ExitStack() as stack:

        @cache  # where there is nothing to wait for, a bar would print an empty line
        def begun() -> tuple[Progress, TaskID]:
            bar = stack.enter_context(Progress(transient=True))
            return bar, bar.add_task(what, total=1.0)

        def show(share: float) -> None:
            bar, task = begun()
            bar.update(task, completed=share)

        yield show

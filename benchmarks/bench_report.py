"""Turns the figures of `bench.py` into Markdown and plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from bench_work import (
    AT_ONCE,
    ENCRYPTED_AGENT,
    FIND_ALL,
    FIND_NEWEST,
    NEW_SAVER_GET,
    ONE_BY_ONE,
    PING,
    PROCESSOR,
    SENT,
    Bench,
    Key,
)
from docs_page import table

OURS, PEER, POSTGRES, PLAIN = (
    "langgraph-redis-json",
    "langgraph-checkpoint-redis",
    "langgraph-checkpoint-postgres",
    "langgraph-checkpoint-plainredis",
)
MEMORY = "InMemorySaver"

SAVERS = {
    MEMORY: ("memory", "#8c8c8c"),
    "langgraph-checkpoint-sqlite": ("sqlite", "#b8860b"),
    POSTGRES: ("postgres", "#336791"),
    PLAIN: ("plainredis", "#7b4ea3"),
    PEER: ("redis", "#2e8b57"),
    OURS: ("this", "#d62728"),
}
"""The short name and the colour of each package in tables and plots."""

AGENT = "agent of {:,} supersteps"
SHORT_THREADS = "{:,} short threads of 4 supersteps"
SHORT_PUT, SHORT_GET = "put, short thread", "get_tuple, short thread"
LONG_PUT, LONG_GET = "put, {:,} messages", "get_tuple, {:,} messages"
REMOTE_SUPERSTEP = "superstep (put_writes + put), {:,} ms delay"
REMOTE_GET = "get_tuple, {:,} ms delay"
GRAPH, ASYNC_GRAPH = "graph.invoke, {:,} tool calls", "graph.ainvoke, {:,} tool calls"
SEARCH = "search across threads, {:,} checkpoints"
NOT_MEASURED = "-"

Row = tuple[str, int]
"""A label and the size in it."""


# ---- summary


def summary(bench: Bench, servers: Sequence[str]) -> str:
    """The opening of the page: speed, memory, and the other savers.

    Args:
        servers: the savers with their versions and stores.
    """
    sizes = bench.sizes
    speed = [
        *((SHORT_PUT, 0), (SHORT_GET, 0)),
        *((LONG_PUT, sizes.length), (LONG_GET, sizes.length)),
        *((REMOTE_SUPERSTEP, 1), (REMOTE_GET, 1)),
        *((SEARCH, 4 * sizes.threads), (NEW_SAVER_GET, sizes.searched)),
        *((GRAPH, sizes.turns), (ASYNC_GRAPH, sizes.turns), (AT_ONCE, sizes.burst)),
    ]
    memory = [
        *((AGENT, sizes.agent // 2), (AGENT, sizes.agent)),
        (ENCRYPTED_AGENT, sizes.agent),
        (SHORT_THREADS, sizes.threads // 2),
    ]
    medians = {key: median(found) for key, found in bench.times.items()}
    parts = [
        "## Is it fast?\n",
        _sentences(_speed_sentences(bench)),
        "Median times in milliseconds. `this` is langgraph-redis-json; the other columns are named "
        "below. The shortest time outside `memory` is bold.\n",
        _summary_table(speed, medians, _ms),
        "## What does it cost in memory?\n",
        _sentences(_memory_sentences(bench)),
        "Stored bytes, indexes included. The smallest size is bold.\n",
        _summary_table(memory, bench.bytes, _size),
        "## Which other savers is it compared with?\n",
        "".join(f"- {line}\n" for line in servers),
    ]
    return "\n".join(parts)


def _sentences(sentences: Sequence[Callable[[], str]]) -> str:
    """A paragraph of the sentences whose figures were measured."""
    found = []
    for sentence in sentences:
        with suppress(KeyError):
            found.append(sentence())
    return " ".join(found) + "\n" if found else ""


def _speed_sentences(bench: Bench) -> list[Callable[[], str]]:
    length, turns = bench.sizes.length, bench.sizes.turns

    def time(label: str, size: int = 0, saver: str = OURS) -> float:
        return median(bench.times[Key(label, size, saver)])

    def short() -> str:
        text = f"`put` takes {_ms(time(SHORT_PUT))} ms and `get_tuple` {_ms(time(SHORT_GET))} ms"
        faster = _better(lambda saver: time(SHORT_PUT, 0, saver))
        return f"In a short thread, {text}. Savers with a faster `put`: {faster}."

    def long() -> str:
        ours, peer = (
            f"{_ms(time(LONG_PUT, length, saver))} ms and {_ms(time(LONG_GET, length, saver))} ms"
            for saver in (OURS, PEER)
        )
        return f"In a thread of {length} messages they take {ours}. With {PEER} it is {peer}."

    def remote() -> str:
        taken = _ms(time(REMOTE_GET, 1))
        return (
            "Each of these calls is one network round trip. With a network delay of 1 ms, "
            f"`get_tuple` takes {taken} ms."
        )

    def graph() -> str:
        ours, memory = (_ms(time(GRAPH, turns, saver)) for saver in (OURS, MEMORY))
        return (
            f"A whole graph run with {turns} tool calls takes {ours} ms, and {memory} ms with "
            f"{MEMORY}."
        )

    return [short, long, remote, graph]


def _memory_sentences(bench: Bench) -> list[Callable[[], str]]:
    steps, threads = bench.sizes.agent, bench.sizes.threads // 2

    def size(label: str, number: int, saver: str = OURS) -> int:
        return bench.bytes[Key(label, number, saver)]

    def agent() -> str:
        ours = size(AGENT, steps)
        peer, postgres = (size(AGENT, steps, saver) / ours for saver in (PEER, POSTGRES))
        return (
            f"An {AGENT.format(steps)}, each with one message of about 600 characters, takes "
            f"{_size(ours)} in Redis. {PEER} takes {peer:.3g} times as much, and {POSTGRES} "
            f"{postgres:.3g} times as much on disk."
        )

    def growth() -> str:
        ratio = size(AGENT, steps) / size(AGENT, steps // 2)
        return (
            f"Twice as many supersteps take {ratio:.3g} times the memory, because each message is "
            "stored once."
        )

    def short() -> str:
        each = _size(size(SHORT_THREADS, threads) / threads)
        smaller = _better(lambda saver: size(SHORT_THREADS, threads, saver))
        return (
            f"A short thread of 4 supersteps takes {each}. Savers that need less for it: {smaller}."
        )

    return [agent, growth, short]


def _better(figure: Callable[[str], float]) -> str:
    """The savers with a smaller figure than this one, `InMemorySaver` excepted."""
    names = [
        f"`{name}`"
        for saver, (name, _) in SAVERS.items()
        if saver not in (MEMORY, OURS) and figure(saver) < figure(OURS)
    ]
    return ", ".join(names) or "none"


def _summary_table(
    rows: Sequence[Row], figures: Mapping[Key, float], text: Callable[[float], str]
) -> str:
    """A table of some rows, with the best figure of each row in bold."""
    best = {
        row: min(
            (
                value
                for key, value in figures.items()
                if (key.label, key.size) == row and key.saver in SAVERS and key.saver != MEMORY
            ),
            default=None,
        )
        for row in rows
    }

    def cell(key: Key) -> str:
        value = figures.get(key)
        if value is None:
            return NOT_MEASURED
        is_best = value == best[key.label, key.size] and key.saver != MEMORY
        return f"**{text(value)}**" if is_best else text(value)

    measured = [row for row in rows if best[row] is not None]
    return _savers_table(measured, [key for key in figures if key[:2] in measured], cell)


# ---- all figures


def tables(bench: Bench) -> str:
    """The tables of all times and sizes."""
    parts = [
        "### Times\n",
        f"Milliseconds, median / 95th percentile. {_ping(bench)}\n",
        _times_table(bench),
        "### Bytes\n",
        "Stored bytes include indexes. They are the growth of Redis's `used_memory`, of "
        "PostgreSQL's `pg_total_relation_size` or of the SQLite file.\n",
        _bytes_table(bench),
    ]
    if bench.cut:
        reasons = "; ".join(
            f"{saver} in {work} ({why})" for (work, saver), why in bench.cut.items()
        )
        parts.append(f"Stopped before the end: {reasons}.\n")
    return "\n".join(parts)


def _savers_table(rows: Sequence[Row], keys: Sequence[Key], cell: Callable[[Key], str]) -> str:
    """A table with a column for each saver that has one of the keys."""
    savers = [saver for saver in SAVERS if any(key.saver == saver for key in keys)]
    return table(
        ["", *(SAVERS[saver][0] for saver in savers)],
        [
            [label.format(size), *(cell(Key(label, size, saver)) for saver in savers)]
            for label, size in rows
        ],
    )


def _all_rows(keys: Sequence[Key], cell: Callable[[Key], str]) -> str:
    rows = [*dict.fromkeys((key.label, key.size) for key in keys)]
    return _savers_table(rows, keys, cell)


def _times_table(bench: Bench) -> str:
    def cell(key: Key) -> str:
        times = bench.times.get(key)
        return f"{_ms(median(times))} / {_ms(_percentile(times))}" if times else NOT_MEASURED

    return _all_rows([key for key in bench.times if key.saver in SAVERS], cell)


def _bytes_table(bench: Bench) -> str:
    def cell(key: Key) -> str:
        return _size(bench.bytes[key]) if key in bench.bytes else NOT_MEASURED

    return _all_rows([key for key in bench.bytes if key.saver in SAVERS], cell)


def _ping(bench: Bench) -> str:
    times = bench.times.get(PING, [0.0])
    middle, high = median(times), _percentile(times)
    text = f"A PING through redis-py took {_ms(middle)} / {_ms(high)}."
    if high > 5 * middle:
        text += (
            " Other processes used the machine during the run. They slow down savers that wait "
            f"for a server more than {MEMORY}."
        )
    return text


def _percentile(times: Sequence[float]) -> float:
    """The 95th percentile."""
    return quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else times[0]


def _ms(seconds: float) -> str:
    found = 1_000 * seconds
    return f"{found:.2f}" if found < 10 else f"{found:,.0f}" if found >= 100 else f"{found:.1f}"


def _size(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} KB"


# ---- targets


class Target(NamedTuple):
    """The limit of a figure. The unit is ms, or the quantity that the figure is divided by."""

    work: str
    limit: float
    unit: str
    measured: Callable[[], float]


def report(bench: Bench) -> str:
    """The targets, and whether the figures meet them."""
    parts = [
        "### Targets\n",
        "The project compares each run with these limits, to notice when it becomes slower or "
        'larger. A "no" is work to do, not an error.\n',
        _targets_table(bench),
    ]
    return "\n".join(parts)


def _targets(bench: Bench) -> Iterator[Target]:
    sizes = bench.sizes

    def time(label: str, size: int = 0, saver: str = OURS) -> float:
        return median(bench.times[Key(label, size, saver)])

    def by_saver(label: str, size: int, saver: str, limit: float) -> Target:
        return Target(
            label.format(size),
            limit,
            saver if saver == MEMORY else SAVERS[saver][0],
            lambda: time(label, size) / time(label, size, saver),
        )

    def by_memory(label: str, size: int, limit: float) -> Target:
        return by_saver(label, size, MEMORY, limit)

    def beyond_memory(label: str) -> Target:
        def measured() -> float:
            memory = time(label, sizes.turns, MEMORY)
            return (time(label, sizes.turns) - memory) / (time(label, sizes.turns, PLAIN) - memory)

        return Target(f"{label.format(sizes.turns)}, minus {MEMORY}", 0.9, "plainredis", measured)

    def by_bytes(label: str, size: int, saver: str, limit: float) -> Target:
        return Target(
            f"stored, {label.format(size)}",
            limit,
            SAVERS[saver][0],
            lambda: bench.bytes[Key(label, size, OURS)] / bench.bytes[Key(label, size, saver)],
        )

    def large(label: str, limit: float) -> Target:
        return Target(
            label.format(sizes.large), limit, "ms", lambda: 1_000 * time(label, sizes.large)
        )

    length = sizes.lengths[-1]
    steps = sizes.agent
    yield by_saver(SHORT_PUT, 0, PLAIN, 1.1)
    yield by_saver("put_writes, one small write", 0, PLAIN, 1)
    yield by_saver(PROCESSOR, 0, PLAIN, 1)
    yield by_saver(SHORT_GET, 0, POSTGRES, 1)
    yield by_saver(NEW_SAVER_GET, sizes.searched, POSTGRES, 1)
    yield beyond_memory(GRAPH)
    yield beyond_memory(ASYNC_GRAPH)
    yield Target(
        AT_ONCE.format(sizes.burst),
        0.5,
        "one by one",
        lambda: time(AT_ONCE, sizes.burst) / time(ONE_BY_ONE, sizes.burst),
    )
    yield by_saver(FIND_ALL, sizes.searched, POSTGRES, 1)
    yield by_saver(FIND_NEWEST, 4 * sizes.searched, POSTGRES, 1)
    yield by_memory(LONG_PUT, sizes.length, 1.5)
    yield by_memory(LONG_GET, sizes.length, 1.4)
    yield by_memory("list(limit=10), {:,} messages", sizes.length, 1.4)
    yield by_memory("list(filter=…, limit=10), {:,} messages", sizes.length, 1.4)
    yield by_memory("get_tuple, writes of {:,} tasks", sizes.tasks // 2, 4)
    yield large("put, text and bytes of {:,} bytes each", 15)
    yield large("get_tuple, text and bytes of {:,} bytes each", 10)
    yield by_bytes(AGENT, steps, PEER, 1 / 20)
    yield by_bytes(AGENT, steps, POSTGRES, 1 / 8)
    yield Target(
        f"stored, {AGENT.format(steps)}",
        2.2,
        AGENT.format(steps // 2),
        lambda: bench.bytes[Key(AGENT, steps, OURS)] / bench.bytes[Key(AGENT, steps // 2, OURS)],
    )
    yield Target(
        f"stored, {ENCRYPTED_AGENT.format(steps)}",
        1.5,
        "the same agent, not encrypted",
        lambda: (
            bench.bytes[Key(ENCRYPTED_AGENT, steps, OURS)] / bench.bytes[Key(AGENT, steps, OURS)]
        ),
    )
    yield Target(
        f"stored, {ENCRYPTED_AGENT.format(steps)}",
        2.2,
        ENCRYPTED_AGENT.format(steps // 2),
        lambda: (
            bench.bytes[Key(ENCRYPTED_AGENT, steps, OURS)]
            / bench.bytes[Key(ENCRYPTED_AGENT, steps // 2, OURS)]
        ),
    )
    yield by_bytes(SHORT_THREADS, sizes.threads // 2, PLAIN, 1.2)
    yield Target(
        SENT.format(length),
        4,
        "the message",
        lambda: (
            bench.bytes[Key(SENT, length, OURS)] / bench.bytes[Key(SENT, length, "the message")]
        ),
    )


def _targets_table(bench: Bench) -> str:
    rows = []
    for target in _targets(bench):
        limit = f"≤ {_amount(target.limit, target)}"
        try:
            found = target.measured()
        except KeyError:
            rows.append([target.work, limit, "not measured", NOT_MEASURED])
            continue
        met = "yes" if found <= target.limit else "**no**"
        rows.append([target.work, limit, _amount(found, target), met])
    return table(["work", "target", "measured", "met?"], rows)


def _amount(number: float, target: Target) -> str:
    if target.unit == "ms":
        return f"{number:.1f} ms"
    if target.limit <= 0.5:
        return f"1/{1 / number:.3g} of {target.unit}"
    return f"{number:.3g} × {target.unit}"  # noqa: RUF001


# ---- plots


class Panel(NamedTuple):
    """One diagram of a plot: a line for each saver over the sizes of a label, in ms or in MB."""

    title: str
    label: str
    across: str
    is_bytes: bool = False
    is_log: bool = False


PLOTS: Mapping[str, tuple[str, Panel] | tuple[str, Panel, Panel]] = {
    "conversation": (
        "put and get_tuple against conversation length",
        Panel("put", LONG_PUT, "messages in the conversation", is_log=True),
        Panel("get_tuple", LONG_GET, "messages in the conversation", is_log=True),
    ),
    "stored": (
        "Stored bytes against conversation length",
        Panel("an agent", AGENT, "supersteps", True),
        Panel("short threads", SHORT_THREADS, "threads", True),
    ),
    "encrypted": (
        "Stored bytes of an agent",
        Panel("with EncryptedSerializer", ENCRYPTED_AGENT, "supersteps", True),
    ),
    "search": (
        "Cross-thread search against stored checkpoints",
        Panel(
            "list(None, filter=…, limit=10)",
            SEARCH,
            "stored checkpoints",
            is_log=True,
        ),
    ),
    "network": (
        "Latency against network delay",
        Panel("put_writes and put", REMOTE_SUPERSTEP, "delay, ms"),
        Panel("get_tuple", REMOTE_GET, "delay, ms"),
    ),
}
"""The title and the panels of each plot, by the name of its file."""


def draw(bench: Bench, folder: Path) -> dict[str, str]:
    """Draw the plots into a folder, as PNG files. Returns their names and titles."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(exist_ok=True)
    titles = {}
    for name, (title, *panels) in PLOTS.items():
        figure, axes = pyplot.subplots(
            1, len(panels), figsize=(5.2 * len(panels), 4), squeeze=False, layout="constrained"
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            _draw(axis, panel, bench)
        if axes[0][-1].lines:
            axes[0][-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.suptitle(title)
        figure.savefig(folder / f"{name}.png", dpi=110)
        pyplot.close(figure)
        titles[name] = title
    return titles


def _draw(axis: Any, panel: Panel, bench: Bench) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    figures: dict[Key, float] = (
        {key: count / 1e6 for key, count in bench.bytes.items()}
        if panel.is_bytes
        else {key: 1_000 * median(times) for key, times in bench.times.items()}
    )
    sizes = {key.size for key in figures if key.label == panel.label}
    for saver, (name, colour) in reversed(SAVERS.items()):
        points = sorted(
            (key.size, figure)
            for key, figure in figures.items()
            if key.label == panel.label and key.saver == saver
        )
        if points:
            axis.plot(
                [size for size, _ in points],
                [figure for _, figure in points],
                marker="o", markersize=4, color=colour, label=name,
                linewidth=2.5 if saver == OURS else 1.5,
            )  # fmt: skip
    axis.set(title=panel.title, xlabel=panel.across, ylabel="MB" if panel.is_bytes else "ms")
    if panel.is_log:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter("{x:g}")
    else:
        axis.set_ylim(bottom=0)
    if len(sizes) < 4:
        axis.set_xticks(sorted(sizes))
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)

"""What came of `bench.py`, as tables and plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from bench_work import PING, SENT, Bench, Key

OURS, PEER, POSTGRES = (
    "langgraph-redis-json",
    "langgraph-checkpoint-redis",
    "langgraph-checkpoint-postgres",
)
MEMORY = "InMemorySaver"

SAVERS = {
    MEMORY: ("memory", "#8c8c8c"),
    "langgraph-checkpoint-sqlite": ("sqlite", "#b8860b"),
    POSTGRES: ("postgres", "#336791"),
    "langgraph-checkpoint-plainredis": ("plainredis", "#7b4ea3"),
    PEER: ("redis", "#2e8b57"),
    OURS: ("this", "#d62728"),
}
"""How savers are called here, and their colours."""


def report(bench: Bench) -> str:
    """All the tables, as Markdown."""
    parts = [
        "### Targets\n",
        _targets_table(bench),
        "### Times\n",
        f"Milliseconds, median / 95th percentile. {_ping(bench)}\n",
        _times_table(bench),
        "### Bytes\n",
        "Stored ones are what Redis's `used_memory`, PostgreSQL's `pg_total_relation_size` or the "
        "database file grew by, with indexes.\n",
        _bytes_table(bench),
    ]
    if bench.cut:
        reasons = "; ".join(
            f"{saver} in {work} ({why})" for (work, saver), why in bench.cut.items()
        )
        parts.append(f"Not measured to the end: {reasons}.\n")
    return "\n".join(parts)


def table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rows(keys: Sequence[Key], cell: Callable[[Key], str]) -> list[list[str]]:
    """A row for each label and size, a column for each saver."""
    savers = [saver for saver in SAVERS if any(key.saver == saver for key in keys)]
    rows = [["", *(SAVERS[saver][0] for saver in savers)]]
    for label, size in dict.fromkeys((key.label, key.size) for key in keys):
        cells = [cell(Key(label, size, saver)) for saver in savers]
        rows.append([label.format(size), *cells])
    return rows


def _times_table(bench: Bench) -> str:
    def cell(key: Key) -> str:
        times = bench.times.get(key)
        return f"{_ms(median(times))} / {_ms(percentile(times))}" if times else "-"

    return table(_rows([key for key in bench.times if key.saver in SAVERS], cell))


def _bytes_table(bench: Bench) -> str:
    def cell(key: Key) -> str:
        return _kb(bench.bytes[key]) if key in bench.bytes else "-"

    return table(_rows([key for key in bench.bytes if key.saver in SAVERS], cell))


def _ping(bench: Bench) -> str:
    times = bench.times.get(PING, [0.0])
    middle, high = median(times), percentile(times)
    said = f"A PING took {_ms(middle)} / {_ms(high)}."
    if high > 5 * middle:
        said += (
            " The machine had other work too: what waits for a server is slower beside "
            f"{MEMORY} than it would be alone."
        )
    return said


def percentile(times: Sequence[float]) -> float:
    return quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else times[0]


def _ms(seconds: float) -> str:
    found = 1_000 * seconds
    return f"{found:.2f}" if found < 10 else f"{found:,.0f}" if found >= 100 else f"{found:.1f}"


def _kb(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} KB"


# ---- targets


class Target(NamedTuple):
    """Something to reach: at most so many of a unit, which is ms or what it is measured by."""

    work: str
    limit: float
    unit: str
    measured: Callable[[], float]


def _targets(bench: Bench) -> Iterator[Target]:
    sizes = bench.sizes

    def time(label: str, size: int = 0, saver: str = OURS) -> float:
        return median(bench.times[Key(label, size, saver)])

    def ping() -> float:
        return median(bench.times[PING])

    def by_ping(label: str, limit: float) -> Target:
        return Target(label, limit, "PING", lambda: time(label) / ping())

    def by_memory(label: str, size: int, limit: float) -> Target:
        return Target(
            label.format(size),
            limit,
            f"{MEMORY}",
            lambda: time(label, size) / time(label, size, MEMORY),
        )

    def by_bytes(label: str, size: int, saver: str, limit: float) -> Target:
        return Target(
            f"stored, {label.format(size)}",
            limit,
            f"{SAVERS[saver][0]}",
            lambda: bench.bytes[Key(label, size, OURS)] / bench.bytes[Key(label, size, saver)],
        )

    def large(label: str, limit: float) -> Target:
        return Target(
            label.format(sizes.large), limit, "ms", lambda: 1_000 * time(label, sizes.large)
        )

    short = "get_tuple, short thread"
    length = sizes.lengths[-1]
    steps = sizes.agent
    agent = "an agent of {:,} supersteps"
    yield by_ping("put, short thread", 3.5)
    yield by_memory("put, {:,} messages", sizes.length, 1.5)
    yield by_ping("put_writes, one small write", 2.5)
    yield Target(
        f"{short}, beyond {MEMORY}",
        3,
        "PING",
        lambda: (time(short) - time(short, 0, MEMORY)) / ping(),
    )
    yield by_memory("get_tuple, {:,} messages", sizes.length, 1.4)
    yield by_memory("list(limit=10), {:,} messages", sizes.length, 1.4)
    yield by_memory("list(filter=…, limit=10), {:,} messages", sizes.length, 1.4)
    yield by_memory("get_tuple with {:,} tasks' writes", sizes.tasks // 2, 4)
    yield large("put, {:,} characters and as many bytes", 15)
    yield large("get_tuple, {:,} characters and as many bytes", 10)
    yield by_bytes(agent, steps, PEER, 1 / 20)
    yield by_bytes(agent, steps, POSTGRES, 1 / 8)
    yield Target(
        f"stored, an agent of {steps:,} supersteps",
        2.2,
        f"one of {steps // 2:,}",
        lambda: bench.bytes[Key(agent, steps, OURS)] / bench.bytes[Key(agent, steps // 2, OURS)],
    )
    yield by_bytes("{:,} short threads of 4 supersteps", sizes.threads // 2, PEER, 1 / 2)
    yield Target(
        SENT.format(length),
        4,
        "the message",
        lambda: (
            bench.bytes[Key(SENT, length, OURS)] / bench.bytes[Key(SENT, length, "the message")]
        ),
    )


def _targets_table(bench: Bench) -> str:
    rows = [["work", "target", "measured", "met?"]]
    for target in _targets(bench):
        try:
            found = target.measured()
        except KeyError:
            rows.append([target.work, "≤ " + _amount(target.limit, target), "not measured", "-"])
            continue
        rows.append(
            [
                target.work,
                f"≤ {_amount(target.limit, target)}",
                _amount(found, target),
                "yes" if found <= target.limit else "**no**",
            ]
        )
    return table(rows)


def _amount(number: float, target: Target) -> str:
    if target.unit == "ms":
        return f"{number:.1f} ms"
    if target.limit < 1:
        return f"1/{1 / number:.3g} of {target.unit}"
    return f"{number:.3g} × {target.unit}"  # noqa: RUF001


# ---- plots


class Panel(NamedTuple):
    """One set of axes: lines over the sizes of labels, of times in ms or of bytes in MB."""

    title: str
    label: str
    across: str
    is_bytes: bool = False
    is_log: bool = False


PLOTS = {
    "conversation": (
        "put and get_tuple against conversation length",
        Panel("put", "put, {:,} messages", "messages in the conversation", is_log=True),
        Panel("get_tuple", "get_tuple, {:,} messages", "messages in the conversation", is_log=True),
    ),
    "stored": (
        "Stored bytes against conversation length",
        Panel("an agent", "an agent of {:,} supersteps", "supersteps", True),
        Panel("short threads", "{:,} short threads of 4 supersteps", "threads", True),
    ),
    "search": (
        "Cross-thread search against stored checkpoints",
        Panel(
            "list(None, filter=…, limit=10)",
            "search of all threads, {:,} checkpoints",
            "stored checkpoints",
            is_log=True,
        ),
    ),
    "network": (
        "Latency against network delay",
        Panel("put_writes and put", "a superstep (put_writes, put), {:,} ms away", "delay, ms"),
        Panel("get_tuple", "get_tuple, {:,} ms away", "delay, ms"),
    ),
}


def draw(bench: Bench, folder: Path) -> dict[str, str]:
    """Write the plots of what was measured, as PNG; gives their names and titles."""
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

    found = bench.bytes if panel.is_bytes else bench.times
    sizes = {key.size for key in found if key.label == panel.label}
    for saver, (name, colour) in reversed(SAVERS.items()):
        points = sorted(
            (key.size, found[key])
            for key in found
            if key.label == panel.label and key.saver == saver
        )
        if points:
            axis.plot(
                [size for size, _ in points],
                [y / 1e6 if panel.is_bytes else 1_000 * median(y) for _, y in points],
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

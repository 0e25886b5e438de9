"""migrate: copy threads from another saver, or from another server or prefix of ours."""

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from langgraph_redis_json import migration
from langgraph_redis_json.cli import acting
from langgraph_redis_json.cli.connection import connect, open_saver
from langgraph_redis_json.cli.options import Json, Settings
from langgraph_redis_json.cli.output import complain, fail, one_line, print_json, size
from langgraph_redis_json.cli.serializers import serializer
from langgraph_redis_json.migration import Progress, Report, SameSaverError

REDIS = ("redis://", "rediss://", "unix://", "redis+sentinel://")
POSTGRES = ("postgresql://", "postgres://")
SQLITE = "sqlite:"

NAMED = 10
"""Checkpoints and threads that the command names."""


def migrate(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="postgresql://…, sqlite:FILE, or redis://… of langgraph-checkpoint-redis; with "
            "--from-prefix, of this package.",
        ),
    ],
    from_prefix: Annotated[
        str | None,
        typer.Option(
            "--from-prefix",
            metavar="TEXT",
            help="The source is a saver of this package with this key_prefix.",
        ),
    ] = None,
    threads: Annotated[
        list[str] | None,
        typer.Option("--thread", metavar="ID", help="Only this thread. May be repeated."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read both again, and compare every checkpoint.")
    ] = False,
    json: Json = False,
) -> None:
    """Copy threads from another checkpointer.

    The target is --url and --key-prefix. Run it while the old application runs, stop that, and run
    it again: it copies only what is new. It deletes nothing in the source.
    """
    settings: Settings = context.obj
    with connect(context) as target, _open(source, from_prefix) as saver:
        if settings.load:
            saver.serde = target.serde = serializer(settings.load)
        try:
            bar, shown = _bar()
            with shown:
                report = migration.migrate(
                    saver, target, threads, verify=verify, on_progress=_advance(bar)
                )
        except SameSaverError:
            fail("The source and the target are the same: change --key-prefix or --from-prefix.", 2)
        except KeyboardInterrupt:
            fail("Stopped by Ctrl-C. Run the command again: it goes on where it stopped.", 130)
    if json:
        print_json({**asdict(report), "is_complete": report.is_complete})
    else:
        _show(report, verify)
    if not report.is_complete:
        raise typer.Exit(1)


@contextmanager
def _open(source: str, from_prefix: str | None) -> Iterator[Any]:
    """The saver that an option names."""
    if from_prefix is not None:
        if not source.startswith(REDIS):
            fail("--from-prefix is for a source that is a Redis: --from redis://…", 2)
        with open_saver(source, from_prefix, named=("--from", "--from-prefix")) as own:
            yield own
    elif source.startswith(REDIS):
        peer = _import("redis", "langgraph.checkpoint.redis")
        with peer.RedisSaver.from_conn_string(source) as saver:
            saver.setup()
            yield saver
    elif source.startswith(POSTGRES):
        peer = _import("postgres", "langgraph.checkpoint.postgres")
        error_of_psycopg = import_module("psycopg").Error
        try:
            with peer.PostgresSaver.from_conn_string(source) as saver:
                yield _shallow_postgres(saver) or saver
        except error_of_psycopg as error:
            fail(f"PostgreSQL replied with an error: {one_line(str(error))}")
    elif source.startswith(SQLITE):
        # sqlite:FILE, or as SQLAlchemy spells it: sqlite:///FILE
        file = Path(source.removeprefix(SQLITE).removeprefix("///"))
        if not file.is_file():
            fail(f"There is no file {file}: write --from sqlite:FILE.", 2)
        peer = _import("sqlite", "langgraph.checkpoint.sqlite")
        try:
            with peer.SqliteSaver.from_conn_string(str(file)) as saver:
                yield saver
        except sqlite3.Error as error:
            fail(f"SQLite cannot read {file}: {error}")
    else:
        fail(
            f'"{one_line(source, 50)}" is no source: write postgresql://…, sqlite:FILE or redis://…',
            2,
        )


def _shallow_postgres(saver: Any) -> Any:
    """The saver of a database that was made by a shallow one, whose table has other columns; None
    for another database."""
    with saver._cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('checkpoints')"
        )
        columns = {row["attname"] for row in cursor.fetchall()}
    if not columns or "checkpoint_id" in columns:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of shallow savers
        peer = _import("postgres", "langgraph.checkpoint.postgres.shallow")
        return peer.ShallowPostgresSaver(saver.conn)


def _import(kind: str, module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        fail(
            f"This source is read by its own package. Install it with "
            f'pip install "langgraph-redis-json[migrate-{kind}]".',
            2,
        )


def _bar() -> tuple[Bar, AbstractContextManager[Any]]:
    """A progress bar on stderr, and what shows it, on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn())
    bar = Bar(
        *columns,
        TextColumn("{task.fields[shown]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    return bar, bar if console.is_terminal else nullcontext()


def _advance(bar: Bar) -> Any:
    task = bar.add_task("Reading names", total=None, shown="")

    def advance(told: Progress) -> None:
        if not told.all_checkpoints:
            return
        shown = (
            f"{told.threads:,}/{told.all_threads:,} threads, "
            f"{told.checkpoints:,}/{told.all_checkpoints:,} checkpoints, {size(told.bytes)}"
        )
        if told.seconds_left is not None:
            shown += f", {_time(told.seconds_left)} left"
        bar.update(
            task,
            description="Migrating",
            completed=told.checkpoints,
            total=told.all_checkpoints,
            shown=shown,
        )

    return advance


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _show(report: Report, verify: bool) -> None:
    typer.echo(
        f"{acting.threads(report.threads)} with {acting.checkpoints(report.checkpoints)}: copied "
        f"{report.copied:,}, completed {report.updated:,}, sent {size(report.bytes)} in "
        f"{_time(report.seconds)}."
    )
    if verify:
        same = report.verified - report.different
        typer.echo(f"Compared {report.verified:,} checkpoints: {same:,} are the same.")
    if report.hidden_writes:
        typer.echo(
            f"Copied {report.hidden_writes:,} pending writes that the old saver itself does not "
            "return."
        )
    if report.doubtful_floats:
        typer.echo(
            f"{report.doubtful_floats:,} floats have so many digits that the old saver may have "
            "changed the last one. They were copied as they are."
        )
    if report.messages_as_dicts:
        typer.echo(
            f"{report.messages_as_dicts:,} messages were dicts in the old saver, and still are."
        )
    if report.missing:
        named = ", ".join(one_line(str(one), 40) for one in report.missing[:NAMED])
        complain(f"The source has no thread {named}.")
    if report.unreadable:
        complain(f"The old saver cannot read {report.unreadable:,} checkpoints: not copied.")
    if report.gone:
        complain(
            f"{report.gone:,} checkpoints were deleted or replaced in the source while this "
            "command ran. Run it again, to copy what took their place."
        )
    if report.different:
        complain(f"{report.different:,} checkpoints differ.")
    for told in report.told[:NAMED]:
        where = one_line(f"{told.thread_id} {told.checkpoint_ns} {told.checkpoint_id}")
        complain(f"{where}: {one_line(told.what, 300)}")
    if report.continued:
        named = ", ".join(one_line(str(one), 40) for one in report.continued[:NAMED])
        complain(
            f"{len(report.continued):,} threads went on in the target, and were left alone: {named}"
        )

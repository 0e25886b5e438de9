"""import: threads from a file that export has written."""

import gzip
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from shlex import quote
from tempfile import TemporaryFile
from typing import IO, Annotated

import typer

from langgraph_redis_json.cli.acting import threads
from langgraph_redis_json.cli.connection import connect
from langgraph_redis_json.cli.output import complain, fail, progress, safe
from langgraph_redis_json.errors import CheckpointError, ExportFileError, IndexMissingError
from langgraph_redis_json.operations.import_threads import Thread, compare, import_threads
from langgraph_redis_json.saver import RedisSaver
from langgraph_redis_json.storage import export_file
from langgraph_redis_json.storage.export_file import Record, ThreadStart

NAMED = 10
"""Threads that an error names."""


def import_(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The file; - for standard input.")
    ] = "-",
    skip: Annotated[
        bool, typer.Option("--skip", help="Leave threads that exist already as they are.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete threads that exist already first.")
    ] = False,
    no_expiry: Annotated[
        bool, typer.Option("--no-expiry", help="Let no imported thread expire.")
    ] = False,
) -> None:
    """Import threads that were exported.

    First the whole file is checked: if it is cut or altered, or if a thread exists already with
    another content, nothing is imported. Then each thread appears whole, or not at all. If the
    import is stopped, run the same command again, and it goes on where it was.
    """
    if skip and replace:
        raise typer.BadParameter("--skip and --replace contradict each other")
    with connect(context) as saver, _opened(file) as source:
        name = "standard input" if file == "-" else file
        bar, advance = progress("Checking the file", total=_size(source))
        with bar:
            records = _records(name, source, advance, no_expiry)
            found = [*saver._runner.iterate(compare(saver._context, records))]
        ids = [one.thread_id for one in found]
        if len({*ids}) < len(ids):
            fail(f"{name} has a thread twice. Nothing was imported.")
        others = [one.thread_id for one in found if one.exists and not one.is_same]
        if others and not skip and not replace:
            fail(
                f"Nothing was imported, because these threads exist already with another content: "
                f"{_named(others)}. Delete them, or import with --skip to leave them "
                "as they are, or with --replace to delete them first."
            )
        wanted = {
            one.thread_id: one
            for one in found
            if not one.is_same and not one.has_expired and not (skip and one.exists)
        }
        done = _import(saver, name, source, wanted, no_expiry)
        has_indexes = not done or _has_indexes(saver)
    same = sum(one.is_same for one in found)
    expired = [one.thread_id for one in found if one.has_expired and not one.is_same]
    told = [f"Threads imported: {done:,}"]
    if same:
        told.append(f"already there, exactly the same: {same:,}")
    if skip and others:
        told.append(f"already there with another content, and left as they are: {len(others):,}")
    typer.echo(f"{'; '.join(told)}.")
    if not has_indexes:
        complain(
            f"Warning: searches need indexes: run langgraph-redis-json --key-prefix "
            f"{quote(saver.key_prefix)} setup."
        )
    if expired:
        complain(
            f"Warning: left out, because they have expired since they were exported: "
            f"{_named(expired)}. Import with --no-expiry to have them back."
        )


def _import(
    saver: RedisSaver, name: str, source: IO[bytes], wanted: dict[str, Thread], no_expiry: bool
) -> int:
    """Returns how many threads were imported."""
    bar, advance = progress("Importing threads", total=_size(source))
    done = 0
    try:
        with bar:
            records = _records(name, source, advance, no_expiry)
            for _ in saver._runner.iterate(import_threads(saver._context, records, wanted)):
                done += 1
    except KeyboardInterrupt:
        fail(
            f"Stopped by Ctrl-C after {threads(done)}. No thread is half imported; run the same "
            "command again to go on.",
            130,
        )
    return done


def _has_indexes(saver: RedisSaver) -> bool:
    try:
        next(saver.threads(limit=1), None)
    except IndexMissingError:
        return False
    except CheckpointError:  # a cluster without a search coordinator, for example
        return True
    return True


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
    return ", ".join(map(safe, ids[:NAMED])) + more


def _opened(file: str) -> IO[bytes]:
    """The file. Standard input goes to a temporary file first, because it is read twice."""
    if file != "-":
        return open(Path(file), "rb")
    if sys.stdin.isatty():
        raise typer.BadParameter("name a file, or read from a pipe")
    copy = TemporaryFile()  # noqa: SIM115
    shutil.copyfileobj(sys.stdin.buffer, copy)
    return copy


def _size(source: IO[bytes]) -> int:
    return source.seek(0, 2)


def _records(
    name: str, source: IO[bytes], advance: Callable[[float], None], no_expiry: bool
) -> Iterator[Record]:
    """The records of a file from its beginning."""
    source.seek(0)
    compressed = source.read(2) == b"\x1f\x8b"
    source.seek(0)
    lines: Iterable[bytes] = gzip.GzipFile(fileobj=source) if compressed else source

    def told() -> Iterator[bytes]:
        for line in lines:
            yield line
            advance(source.tell())

    try:
        for record in export_file.read(name, told()):
            if no_expiry and isinstance(record, ThreadStart):
                record = record._replace(deadline=None)
            yield record
    except EOFError as error:
        raise ExportFileError(file=name, why="it is cut") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ExportFileError(file=name, why=f"it is damaged ({error})") from error

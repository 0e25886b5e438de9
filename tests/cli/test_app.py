"""The command line as a whole: options, exit codes, errors in one sentence."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import redis

from langgraph_redis_json import RedisSaver, embedded
from langgraph_redis_json.cli.app import COMMANDS
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import BIG, put
from tests.support.command_line import Cli, environment, run_process
from tests.support.waiting import wait_until


@pytest.fixture
def without_modules(unused_port: int) -> Iterator[str]:
    """A Redis without Search and JSON."""
    server, _ = embedded._find_server()
    command = [str(server), "--port", f"{unused_port}", "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        client = redis.Redis(port=unused_port)

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        wait_until(answers)
        client.close()
        yield f"redis://127.0.0.1:{unused_port}"
        process.terminate()


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def one_sentence(text: str) -> str:
    """What a command wrote on stderr, which must be one line."""
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text[:-1]


def test_both_ways_to_start_it(talks_url: str) -> None:
    module = run_process(["threads"], environment(talks_url))
    assert module.returncode == 0
    assert "order-7" in module.stdout
    script = [f"{sys.executable.rpartition('/')[0]}/langgraph-redis-json", "threads"]
    done = subprocess.run(script, env=environment(talks_url), capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, module.stdout)


def test_without_the_extra_it_says_what_to_install(talks_url: str) -> None:
    script = """
import sys, importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in ("typer", "rich") else find(name, *a)
import langgraph_redis_json.cli
langgraph_redis_json.cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert one_sentence(done.stderr) == (
        'The command line needs typer and rich: pip install "langgraph-redis-json[cli]"'
    )


def test_without_a_command_it_shows_the_help(cli: Cli) -> None:
    shown = cli(code=2)
    assert shown.out == ""
    for name in COMMANDS:
        assert f"\n  {name} " in shown.err
        assert "…" not in shown.err
        assert "..." not in shown.err.partition("Commands:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(cli: Cli, name: str) -> None:
    shown = cli(name, "--help")
    assert shown.out.startswith(f"Usage: langgraph-redis-json {name} ")
    assert all(len(line) <= 80 for line in shown.lines)
    assert "range" not in shown.out
    for option in ("--url", "--key-prefix", "--load"):
        assert option in shown.out


def test_common_options_stand_before_or_after_the_command(
    cli: Cli, talks_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = cli("threads", "--json").out
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("LANGGRAPH_REDIS_KEY_PREFIX", "nothing:")
    options = ["--url", talks_url, "--key-prefix=langgraph:"]
    assert cli(*options, "threads", "--json").out == expected
    assert cli("threads", "--json", *options).out == expected
    assert cli(
        "--url", "redis://127.0.0.1:2", *options[2:], "threads", "--json", *options[:2]
    ).out == (expected)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "No such command 'nothing'. See langgraph-redis-json --help."),
        (["threads", "--nothing"], "--nothing"),
        (["messages"], "Missing argument 'THREAD'"),
        (["threads", "--status", "busy"], "'busy' is no status: use interrupted, error or idle"),
        (["threads", "--older-than", "soon"], "'soon' is no age: write a number and s, m"),
        (["threads", "--filter", "user"], "'user' is no condition: write KEY=VALUE"),
        (["threads", "--filter", "a=1", "--filter", "a=2"], "another condition of that kind"),
        (["threads", "--filter", "a==1"], "'a==1' is no condition: the value begins with"),
        (["threads", "--filter", "a>"], "'a>' is no condition: the value is missing"),
        (["thread"], "Did you mean 'threads'? See langgraph-redis-json --help."),
        (["threads", "--limit", "-1"], "--limit"),
        (["threads", "--key-prefix", "{x}"], "every key begins with it"),
        (["threads", "--key-prefix", ""], "it needs at least one character"),
        (["threads", "--url", ""], "the URL is empty"),
        (["messages", "half \udcff"], "half a surrogate pair"),
        (["delete", "half \udcff", "--yes"], "half a surrogate pair"),
        (["copy", "order-7", "half \udcff"], "half a surrogate pair"),
        (["threads", "--url", "http://x"], "redis://, rediss://, unix://"),
        (["threads", "--url", "redis://h:x"], "Port could not be cast"),
        (["threads", "--url", "redis://h?nothing=1"], "unexpected keyword argument"),
        (["threads", "--load", "no_such_module"], "no_such_module cannot be imported"),
        (["threads", "--load", "json:loads"], "json:loads is no serializer"),
        (["messages", "order-7", "--follow", "--checkpoint", "1"], "no new messages"),
        (["delete"], "Say which threads: their ids, or --filter"),
        (["prune", "order-7", "--all"], "not both"),
        (["copy", "order-7"], "Pass SOURCE and TARGET"),
        (["copy", "order-7", "order-7"], "cannot be copied to itself"),
        (["expire", "order-7"], "Missing option '--in'"),
        (["expire", "order-7", "--in", "0d"], "'0d' is no time from now: write more than 0"),
        (["expire", "order-7", "--in", "9999999999w"], "'9999999999w' is too long"),
        (["expire", "order-7", "--in", "99999999w"], "too long: use pin for threads that never"),
    ],
)
def test_wrong_usage_is_one_sentence(cli: Cli, arguments: list[str], said: str) -> None:
    shown = cli(*arguments, code=2)
    assert shown.out == ""
    assert said in one_sentence(shown.err)


def test_a_full_server_is_one_sentence(cli: Cli) -> None:
    with EmbeddedRedis() as server, RedisSaver(server.url) as saver:
        saver.setup()
        put(saver, "1", {"big": BIG})
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", 1)
        shown = cli("copy", "thread", "other", "--url", server.url, code=1)
        assert "The server is full: raise its maxmemory" in one_sentence(shown.err)
        assert "script" not in shown.err


@pytest.mark.parametrize(
    "arguments", [["threads"], ["messages", "t"], ["setup"], ["stats"], ["delete", "t", "--yes"]]
)
def test_trouble_with_the_server_is_one_sentence(
    cli: Cli, arguments: list[str], unused_port: int, without_modules: str, talks_url: str
) -> None:
    redis.Redis.from_url(without_modules).config_set("requirepass", "secret")
    protected = without_modules.replace("redis://", "redis://:secret@")
    troubles = {
        f"redis://127.0.0.1:{unused_port + 1}": "The server does not answer: ",
        "unix:///nowhere.sock": "The server does not answer: ",
        without_modules: "The server refuses this user or password: ",
        protected.replace("secret", "wrong"): "The server refuses this user or password: ",
        protected: "This Redis ",
        f"{talks_url}/3": "Redis indexes only database 0",
    }
    for url, said in troubles.items():
        shown = cli(*arguments, "--url", url, code=1)
        assert shown.out == ""
        assert said in one_sentence(shown.err)
        assert "secret" not in shown.err


def test_before_setup_it_says_what_to_do(cli: Cli) -> None:
    for arguments in (["threads"], ["stats"], ["delete", "--all", "--yes"]):
        said = one_sentence(cli(*arguments, "--key-prefix", "fresh:", code=1).err)
        assert said == (
            'The search index "fresh:threads" does not exist on this server: run '
            "langgraph-redis-json setup first, or correct --key-prefix."
        )


def test_a_reader_that_has_enough_is_no_error(talks_url: str) -> None:
    # `true` has ended long before the command writes.
    command = f"{sys.executable} -m langgraph_redis_json messages long-1 --json | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=environment(talks_url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")

"""Each recipe of docs/recipes.md runs as it stands there; and the notebook."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
import redis
from langgraph_sdk import get_sync_client
from nbclient import NotebookClient

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import config, get_tuple, put
from tests.support.clients import acl_for
from tests.support.project import ROOT
from tests.support.waiting import wait_until

PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# ([\w.]+)\n(.*?)```", PAGE, re.DOTALL))
[SETTINGS] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


needs_python_311 = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="interrupt() in awaited graphs needs Python 3.11"
)


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    """A server for this test alone, because the recipes use fixed thread ids."""
    with EmbeddedRedis() as started:
        yield started


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with all files of the page."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "langgraph.json").write_text(SETTINGS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def env(server: EmbeddedRedis) -> dict[str, str]:
    return {**os.environ, "REDIS_URL": server.url, "LANGSMITH_TRACING": "false"}


def python(app: Path, env: dict[str, str], *arguments: str) -> str:
    """What Python prints, with the files of the page."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=app, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def serving(app: Path, env: dict[str, str], *module: str) -> Iterator[str]:
    """A web server that answers; its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (app / "log").open("w") as log:
        command = [sys.executable, "-m", *module, "--port", f"{port}"]
        process = subprocess.Popen(command, cwd=app, env=env, stdout=log, stderr=log)

    def answers() -> bool:
        assert process.poll() is None, (app / "log").read_text()
        try:
            return httpx.get(url).status_code < 500
        except httpx.TransportError:
            return False

    try:
        wait_until(answers)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


# ---- LangGraph's own server

DEV = ("langgraph_cli", "dev", "--no-browser", "--no-reload")


@needs_python_311
@pytest.mark.parametrize("isolated", ["false", "true"])
def test_langgraph_dev(
    app: Path, env: dict[str, str], server: EmbeddedRedis, isolated: str
) -> None:
    env["BG_JOB_ISOLATED_LOOPS"] = isolated
    with serving(app, env, *DEV) as url:
        client: Any = get_sync_client(url=url)
        thread_id = client.threads.create()["thread_id"]

        def run(**given: Any) -> Any:
            return client.runs.wait(thread_id, "agent", **given)

        asked = run(input={"said": ["hello"]})
        assert asked["__interrupt__"][0]["value"] == "Are you sure?"
        assert client.threads.get_state(thread_id)["next"] == ["ask"]
        assert run(command={"resume": "yes"})["said"] == ["hello", "you answered yes"]
        history = client.threads.get_history(thread_id)
        assert len(history) == 3
        [old] = [one["checkpoint"] for one in history if one["next"] == ["ask"]]
        assert "__interrupt__" in run(input=None, checkpoint=old)  # a fork
        assert run(command={"resume": "no"})["said"] == ["hello", "you answered no"]
        with RedisSaver(server.url) as saver:
            found = get_tuple(saver, config(thread_id)).checkpoint["channel_values"]
            assert found["said"] == ["hello", "you answered no"]
            second = client.threads.create()["thread_id"]
            client.runs.wait(second, "agent", input={"said": ["second"]})
            client.threads.delete(thread_id)
            assert saver.get_tuple(config(thread_id)) is None
            assert [row.thread_id for row in saver.threads(status="interrupted")] == [second]


# ---- FastAPI


@needs_python_311
def test_fastapi(app: Path, env: dict[str, str]) -> None:
    with serving(app, env, "uvicorn", "api:app") as url:
        assert httpx.get(f"{url}/ready").json() is True
        asked = httpx.post(f"{url}/threads/1").text
        assert "Are you sure?" in asked
        answered = httpx.post(f"{url}/threads/1", params={"answer": "yes"}).text
        assert "you answered yes" in answered


SLOW = """
import asyncio
import api
from agent import State
from langgraph.graph import START, StateGraph

async def slow(state: State):
    await asyncio.sleep(3600)

async def first(state: State):
    return {"said": ["first"]}

builder = StateGraph(State).add_node(first).add_node(slow)
api.builder = builder.add_edge(START, "first").add_edge("first", "slow")
app = api.app
"""


def test_fastapi_with_a_client_that_disconnects(
    app: Path, env: dict[str, str], server: EmbeddedRedis
) -> None:
    (app / "slow.py").write_text(SLOW)
    with serving(app, env, "uvicorn", "slow:app") as url, RedisSaver(server.url) as saver:

        def said() -> Any:
            found = saver.get_channel_values(config("1"))
            return found and found.get("said")

        for expected in (["hello", "first"], ["hello", "first", "hello", "first"]):
            with httpx.stream("POST", f"{url}/threads/1"):
                wait_until(lambda: said() == expected)  # noqa: B023
            # It has gone away while "slow" runs. The server goes on, and so does the thread.
            assert httpx.get(f"{url}/ready").json() is True
            assert said() == expected


# ---- threads and event loops


def test_a_thread_pool(app: Path, env: dict[str, str], server: EmbeddedRedis) -> None:
    assert python(app, env, "pool.py").split("?") == ["Are you sure", *[" Are you sure"] * 19, "\n"]
    with RedisSaver(server.url) as saver:
        assert sum(1 for _ in saver.threads(status="interrupted")) == 20


FORKED = """
import os
from pool import saver, task

saver.setup()
task("parent")
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        task(f"child-{number}")
        os._exit(0)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children], task("parent again"))
"""


def test_processes_that_fork(app: Path, env: dict[str, str], server: EmbeddedRedis) -> None:
    assert python(app, env, "-c", FORKED).strip() == "[0, 0, 0, 0] Are you sure?"
    with RedisSaver(server.url) as saver:
        assert sum(1 for _ in saver.threads()) == 6


CELERY = """
from celery import group
from tasks import saver, turn

saver.setup()
print(group(turn.s(f"{number}", "hello") for number in range(20)).apply_async().get(timeout=60))
"""


def test_celery(app: Path, env: dict[str, str], server: EmbeddedRedis) -> None:
    command = [sys.executable, "-m", "celery", "--app", "tasks", "worker", "--concurrency", "4"]
    with (app / "log").open("w") as log:
        worker = subprocess.Popen(command, cwd=app, env=env, stdout=log, stderr=log)
    try:
        assert python(app, env, "-c", CELERY).count("Are you sure?") == 20
    finally:
        worker.terminate()
        worker.wait()
    with RedisSaver(server.url) as saver:
        assert sum(1 for _ in saver.threads(status="interrupted")) == 20


# The application has closed all connections of its own.
ONLY_CONNECTION = """
import os
from redis import Redis

with Redis.from_url(os.environ["REDIS_URL"]) as client:
    print(len(client.client_list()))
"""

FLASK = (
    """
from concurrent.futures import ThreadPoolExecutor
from flask_site import app

def post(number):
    return app.test_client().post(f"/threads/{number}").json["asks"]

with ThreadPoolExecutor(4) as pool:
    print({*pool.map(post, range(20))})
"""
    + ONLY_CONNECTION
)


@needs_python_311
def test_flask(app: Path, env: dict[str, str]) -> None:
    lines = python(app, env, "-W", "error", "-c", FLASK).splitlines()
    assert lines == ["{'Are you sure?'}", "1"]


STREAMLIT = (
    """
from streamlit.testing.v1 import AppTest

def shown(page):
    assert not page.exception, page.exception
    return [one.value for one in [*page.text, *page.warning]]

for number in range(3):
    page = AppTest.from_file("chat.py", default_timeout=60)
    page.query_params["thread"] = f"thread {number}"
    print(shown(page.run()), shown(page.chat_input[0].set_value("hello").run()))
    again = AppTest.from_file("chat.py", default_timeout=60)
    again.query_params["thread"] = f"thread {number}"
    print(shown(again.run()), shown(again.chat_input[0].set_value("yes").run()))
"""
    + ONLY_CONNECTION
)


@needs_python_311
def test_streamlit(app: Path, env: dict[str, str]) -> None:
    asked = ["hello", "Are you sure?"]
    lines = [f"{[]} {asked}", f"{asked} {['hello', 'you answered yes']}"]
    assert python(app, env, "-c", STREAMLIT).splitlines() == [*lines * 3, "1"]


# ---- Jupyter


@needs_python_311
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "clear the outputs"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = "".join(str(cell.get("outputs")) for cell in notebook.cells)
    assert "Shall I go on?" in outputs
    assert "langgraph:checkpoint:{notebook}" in outputs


# ---- tests of an application


@needs_python_311
@pytest.mark.parametrize("given", [True, False], ids=["REDIS_URL", "embedded"])
def test_the_fixtures(app: Path, env: dict[str, str], server: EmbeddedRedis, given: bool) -> None:
    if not given:
        del env["REDIS_URL"]
    shown = python(app, env, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_agent.py")
    assert "2 passed" in shown
    with redis.Redis.from_url(server.url) as client:
        assert client.keys() == []
        assert client.execute_command("FT._LIST") == []
        assert (client.info("commandstats").get("cmdstat_FT.CREATE") is not None) == given


# ---- tenants


def test_tenants(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, importing: Callable[[str], Any]
) -> None:
    lines = []
    for tenant in ("one", "two"):
        text = acl_for(f"{tenant}:", tmp_path).read_text()
        line = text.splitlines()[-1].replace("user app ", f"user {tenant} ")
        lines.append(line.replace(">change-me", f">{tenant}-secret"))
        monkeypatch.setenv(f"PASSWORD_OF_{tenant}", f"{tenant}-secret")
    (tmp_path / "users.conf").write_text("\n".join(lines) + "\n")
    with EmbeddedRedis(options=["--include", str(tmp_path / "users.conf")]) as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        saver_of = importing("tenants").saver_of
        for tenant in ("one", "two"):
            put(saver_of(tenant), "1", {"of": tenant})
        for tenant in ("one", "two"):
            saver = saver_of(tenant)
            assert get_tuple(saver, config()).checkpoint["channel_values"] == {"of": tenant}
            assert [row.thread_id for row in saver.threads()] == ["thread"]
        stranger = RedisSaver(saver_of("one")._runner.client, key_prefix="two:")
        with pytest.raises(redis.exceptions.NoPermissionError):
            stranger.get_tuple(config())


@pytest.fixture
def importing(app: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Imports a file of the page."""
    import importlib

    monkeypatch.syspath_prepend(str(app))
    yield importlib.import_module
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


# ---- encryption


def test_another_key(
    app: Path, env: dict[str, str], server: EmbeddedRedis, importing: Callable[[str], Any]
) -> None:
    serializer = importing("keys").serializer
    old_key, new_key = b"an old key of 16", b"a new key of 16b"

    def saver(prefix: str, **keys: bytes) -> RedisSaver:
        return RedisSaver(server.url, key_prefix=prefix, serde=serializer(keys))

    first = saver("old:", k2025=old_key)
    first.setup()
    first.serde = serializer({"2025": old_key})
    put(first, "1", {"a": "secret"}, {"a": "1"})
    both = saver("old:")
    both.serde = serializer({"2025": old_key, "2026": new_key})
    put(both, "2", {"a": "other secret"}, {"a": "2"}, parent="1")
    assert get_tuple(both, config(checkpoint_id="1")).checkpoint["channel_values"]["a"] == "secret"
    assert python(app, env, "rotate.py").strip() == "True"
    last = saver("new:")
    last.serde = serializer({"2026": new_key})
    assert get_tuple(last, config(checkpoint_id="1")).checkpoint["channel_values"]["a"] == "secret"
    with redis.Redis.from_url(server.url) as client:
        for key in client.scan_iter("new:*", _type="ReJSON-RL"):
            assert b"secret" not in client.execute_command("JSON.GET", key)
            assert b"+2025" not in client.execute_command("JSON.GET", key)

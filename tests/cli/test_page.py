"""export --html: the page of a thread, as a browser shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.cli import export
from langgraph_redis_json.storage.keys import thread_keys
from tests.support.browser import chromium, look, script
from tests.support.checkpoints import config, put
from tests.support.cli_on_servers import CommandLine
from tests.support.clients import ACL_USER
from tests.support.waiting import wait_until

HOSTILE = (
    "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=2>"
    "</title></style><style>body{display:none}</style>{{ 7*7 }}<!--\"'`&lt; "
    "\u202egnp.exe\u2066 \x1b[31m שלום عالم"
)

OPEN_ALL = "for (const one of document.querySelectorAll('details')) one.open = true"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def saver(redis_url: str, key_prefix: str) -> Iterator[RedisSaver]:
    with RedisSaver(redis_url.replace(ACL_USER, ""), key_prefix=key_prefix) as made:
        made.setup()
        yield made


@pytest.fixture
def cli(redis_url: str, key_prefix: str, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(redis_url.replace(ACL_USER, ""), key_prefix, capsys)


def page_of(cli: CommandLine, folder: Path, thread_id: str = "thread", code: int = 0) -> Path:
    path = folder / f"{len([*folder.iterdir()])}.html"
    done = cli("export", thread_id, "--html", path)
    assert done.code == code, done.err
    return path


def talk(saver: RedisSaver) -> list[Any]:
    """A thread with tool calls, an edit, a fork, an error, a subgraph and a question."""
    messages: list[Any] = []
    parent = None
    for number, more in enumerate(
        [
            HumanMessage("Where is my parcel?", id="m1"),
            AIMessage(
                "I look it up.",
                id="m2",
                tool_calls=[{"name": "track", "args": {"parcel": "A-12"}, "id": "c1"}],
            ),
            ToolMessage("in Faro", tool_call_id="c1", name="track", id="m3", status="error"),
            AIMessage("It is in Faro. " + "By land and by sea. " * 200, id="m4"),
        ]
    ):
        messages = [*messages, more]
        put(
            saver,
            f"{number}",
            {"messages": messages, "customer": {"name": f"Ada {number}"}, "same": "always"},
            {"messages": number, "customer": number, "same": 0},
            parent=parent,
            metadata={"source": "loop", "step": number},
        )
        parent = f"{number}"
    put(
        saver,
        "1b",
        {"messages": [HumanMessage("Another branch", id="m9")]},
        {"messages": 99},
        parent="1",
        metadata={"source": "fork", "step": 2},
    )
    put(saver, "5", {"inner": 7}, checkpoint_ns="agent:1", metadata={"source": "loop", "step": 0})
    saver.put_writes(config("thread", "", "3"), [("__interrupt__", "Refund 30 euros?")], "task")
    return messages


def texts(browser: Chrome, selector: str) -> list[str]:
    return [found.text for found in browser.find_elements(By.CSS_SELECTOR, selector)]


def open_checkpoint(browser: Chrome, checkpoint_id: str) -> Any:
    """Open a checkpoint and its whole state."""
    for found in browser.find_elements(By.CSS_SELECTOR, ".checkpoint"):
        script(browser, "arguments[0].open = true", found)
        if found.find_element(By.CSS_SELECTOR, "dd code").text == checkpoint_id:
            return found
    raise AssertionError(f"no checkpoint {checkpoint_id}")


def show_state(browser: Chrome, checkpoint: Any) -> Any:
    state = checkpoint.find_element(By.CSS_SELECTOR, ".state")
    # The event that fills the state comes after the state is open.
    browser.execute_async_script(
        "const [one, done] = arguments; one.addEventListener('toggle', () => done());"
        "one.open = true",
        state,
    )
    return state


# ---- what it shows


def test_the_conversation_and_where_it_waits(
    saver: RedisSaver, cli: CommandLine, browser: Chrome, tmp_path: Path
) -> None:
    talk(saver)
    look(browser, page_of(cli, tmp_path), 1280)
    assert browser.title == "Thread thread"
    header = texts(browser, "header")[0]
    for part in ("Thread thread", "interrupted", "6 checkpoints", "Refund 30 euros?"):
        assert part in header
    turns = texts(browser, "#main > section:first-child > .message")
    assert [turn.split()[0] for turn in turns] == ["human", "ai", "ai"]
    assert "Where is my parcel?" in turns[0]
    assert re.search(r"track.*A-12.*failed.*in Faro", turns[1], re.DOTALL)
    assert "All 4,015 characters" in turns[2]
    assert len(turns[2]) < 1_000
    links = browser.find_elements(By.CSS_SELECTOR, "#main > section:first-child a")
    assert [link.text for link in links] == ["since step 0", "since step 1", "since step 3"]


def test_the_tree(saver: RedisSaver, cli: CommandLine, browser: Chrome, tmp_path: Path) -> None:
    talk(saver)
    look(browser, page_of(cli, tmp_path), 1280)
    assert texts(browser, "nav h3") == ["Root graph", "Subgraph agent:1"]
    rows = texts(browser, "nav li")
    assert [row.split(":")[0].replace("\n", " ") for row in rows] == [
        "step 0 loop", "step 1 loop", "step 2 fork", "step 2 loop", "step 3 loop", "step 0 loop",
    ]  # fmt: skip
    assert "messages +1, customer changed" in rows[1]
    [fork] = browser.find_elements(By.CSS_SELECTOR, "nav li.forks")
    assert fork.rect["x"] > browser.find_elements(By.CSS_SELECTOR, "nav li")[0].rect["x"]
    assert "waits" in rows[4]


def test_the_state_at_each_step_is_what_the_saver_reads(
    saver: RedisSaver, cli: CommandLine, browser: Chrome, tmp_path: Path
) -> None:
    talk(saver)
    look(browser, page_of(cli, tmp_path), 1280)
    for one in saver.list(config()):
        values = one.checkpoint["channel_values"]
        state = show_state(browser, open_checkpoint(browser, one.checkpoint["id"]))
        said = [found.text for found in state.find_elements(By.CSS_SELECTOR, ".message")]
        assert len(said) == len(values["messages"])
        for shown, message in zip(said, values["messages"], strict=True):
            assert message.content[:500] in shown
        shown = [
            json.loads(found.text)
            for found in state.find_elements(By.CSS_SELECTOR, ".part > pre")
            if "{" in found.text
        ]
        assert shown == ([values["customer"]] if "customer" in values else [])
        assert ("always" in state.text) == ("same" in values)


def test_what_changed(saver: RedisSaver, cli: CommandLine, browser: Chrome, tmp_path: Path) -> None:
    messages = talk(saver)
    edited = [HumanMessage("Where is my BIG parcel?", id="m1"), *messages[1:]]
    put(
        saver,
        "4",
        {"messages": edited},
        {"messages": 4},
        parent="3",
        metadata={"source": "update", "step": 4},
    )
    look(browser, page_of(cli, tmp_path), 1280)

    def changes(checkpoint_id: str) -> dict[str, str]:
        found = open_checkpoint(browser, checkpoint_id)
        channels = found.find_elements(By.CSS_SELECTOR, ".difference > .channel")
        return {one.find_element(By.TAG_NAME, "bdi").text: one.text for one in channels}

    assert {*changes("0")} == {"messages", "customer", "same"}
    second = changes("1")
    assert {*second} == {"messages", "customer"}
    assert "1 item kept" in second["messages"]
    assert "before" not in second["messages"]
    assert re.search("before.*Ada 0.*now.*Ada 1", second["customer"], re.DOTALL)
    last = changes("4")
    assert re.search("3 items kept.*before.*my parcel.*now.*BIG", last["messages"], re.DOTALL)
    assert "is gone" in last["customer"]


def test_a_damaged_thread_shows_what_is_whole(
    saver: RedisSaver, cli: CommandLine, browser: Chrome, tmp_path: Path, redis_client: redis.Redis
) -> None:
    talk(saver)
    thread = thread_keys(saver.key_prefix, "thread")
    redis_client.execute_command("JSON.SET", thread.key("c::1"), "$.checkpoint", "7")
    path = page_of(cli, tmp_path, code=1)
    look(browser, path, 390)
    assert thread.key("c::1") in texts(browser, ".note.error")[0]
    assert "damaged" in texts(browser, ".checkpoint > summary")[1]
    assert "Where is my parcel?" in texts(browser, "#main")[0]


def test_values_that_only_a_serializer_reads(
    saver: RedisSaver, cli: CommandLine, browser: Chrome, tmp_path: Path
) -> None:
    put(saver, "1", {"secret": b"\0" * 600}, {"secret": 1})
    look(browser, page_of(cli, tmp_path), 390)
    state = show_state(browser, open_checkpoint(browser, "1"))
    assert "secret" in state.text
    assert "AAAA" not in state.text or "bytes" in state.text


def test_a_page_grows_with_the_conversation_and_not_with_its_square(
    saver: RedisSaver, cli: CommandLine, tmp_path: Path
) -> None:
    sizes = []
    messages: list[Any] = []
    for number in range(80):
        messages.append(
            HumanMessage(f"{number} says something of this length " * 5, id=f"{number}")
        )
        put(
            saver,
            f"{number:03}",
            {"messages": messages},
            {"messages": number},
            parent=f"{number - 1:03}" if number else None,
        )
        if number in (39, 79):
            sizes.append(page_of(cli, tmp_path).stat().st_size)
    assert sizes[1] < 2.1 * sizes[0]


def test_a_very_long_thread_says_what_is_left_out(
    saver: RedisSaver,
    cli: CommandLine,
    browser: Chrome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk(saver)
    monkeypatch.setattr(export, "ON_PAGE", 3)
    path = tmp_path / "x.html"
    done = cli("export", "thread", "--html", path)
    assert "3 older checkpoints are not on the page" in done.err
    look(browser, path, 390)
    assert "3 older checkpoints of the thread are not on this page" in texts(browser, "header")[0]
    assert "Its parent is not on this page." in script(browser, "return document.body.textContent")


def test_wrong_usage(saver: RedisSaver, cli: CommandLine, tmp_path: Path) -> None:
    put(saver, "1")
    assert cli("export", "--html", tmp_path / "x").code == 2
    assert cli("export", "thread", "other", "--html", tmp_path / "x").code == 2
    assert cli("export", "nobody", "--html", tmp_path / "x").code == 1
    assert [*tmp_path.iterdir()] == []
    page_of(cli, tmp_path)
    assert "exists already" in cli("export", "thread", "--html", tmp_path / "0.html").err


# ---- hostile content


def hostile(saver: RedisSaver) -> None:
    put(
        saver,
        HOSTILE,
        {
            "messages": [
                HumanMessage(HOSTILE, id=HOSTILE, name=HOSTILE),
                HumanMessage([{"type": "image_url", "image_url": {"url": HOSTILE}}]),
                AIMessage(
                    HOSTILE,
                    tool_calls=[{"name": HOSTILE, "args": {HOSTILE: HOSTILE}, "id": HOSTILE}],
                ),
                ToolMessage(HOSTILE, tool_call_id=HOSTILE, name=HOSTILE),
                {"role": HOSTILE, "content": HOSTILE},
            ],
            HOSTILE: {HOSTILE: [HOSTILE]},
            "long": HOSTILE * 50,
            f"branch:to:{HOSTILE}": None,
        },
        {"messages": 1, HOSTILE: 2, "long": 3, f"branch:to:{HOSTILE}": 4},
        thread_id=HOSTILE,
        parent=HOSTILE[::-1],
        metadata={HOSTILE: HOSTILE, "source": HOSTILE, "step": 1},
    )
    written = config(HOSTILE, "", HOSTILE)
    saver.put_writes(written, [(HOSTILE, HOSTILE), ("__error__", HOSTILE)], HOSTILE, HOSTILE)
    saver.put_writes(written, [("__interrupt__", HOSTILE)], "other")
    put(saver, "1", {"a": 1}, thread_id=HOSTILE, checkpoint_ns=HOSTILE)


def test_nothing_in_a_thread_becomes_part_of_the_page(
    saver: RedisSaver, cli: CommandLine, browser: Chrome, tmp_path: Path
) -> None:
    hostile(saver)
    look(browser, page_of(cli, tmp_path, HOSTILE), 390)
    browser.get_log("performance")
    script(browser, OPEN_ALL)
    assert script(browser, "return [typeof window.pwned, document.scripts.length]") == [
        "undefined",
        1,
    ]
    kinds = script(
        browser,
        "return [...new Set([...document.querySelectorAll('*')].map(one => one.localName))]",
    )
    assert not {"img", "iframe", "object", "embed", "form", "input", "base", "svg"} & {*kinds}
    assert script(browser, "return document.querySelectorAll('style, title').length") == 2
    names = script(
        browser,
        "return [...new Set([...document.querySelectorAll('body *')]"
        ".flatMap(one => one.getAttributeNames()))]",
    )
    assert {*names} <= {
        *("class", "id", "href", "dir", "open", "tabindex", "type", "hidden"),
        *("aria-label", "aria-labelledby", "data-parts", "data-open"),
    }
    values = script(
        browser,
        "return [...document.querySelectorAll('body *')]"
        ".flatMap(one => one.getAttributeNames().map(name => one.getAttribute(name)))",
    )
    assert all(re.fullmatch(r"[#\w .-]*", value) for value in values), values
    text = script(browser, "return document.body.textContent")
    assert text.count("<script>window.pwned=1</script>") > 20
    assert "{{ 7*7 }}" in text
    # What would reverse the text after it, or drive a terminal, is named instead.
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", text)
    assert "U+202Egnp.exeU+2066" in text
    assert browser.get_log("browser") == []


def test_the_policy_stops_what_escaping_would_miss(
    saver: RedisSaver, cli: CommandLine, browser: Chrome, tmp_path: Path
) -> None:
    put(saver, "1", {"messages": [HumanMessage("INJECT")]})
    path = page_of(cli, tmp_path)
    [policy] = re.findall('Content-Security-Policy" content="(.*?)"', path.read_text())
    assert re.fullmatch(
        "default-src 'none'; style-src 'sha256-[^']*'; script-src 'sha256-[^']*'; "
        "base-uri 'none'; form-action 'none'",
        policy,
    )
    attack = (
        "<script>window.pwned=1</script><img src='https://example.com/x' onerror='window.pwned=2'>"
        "<a id=bait href='javascript:window.pwned=3'>x</a><iframe src='data:text/html,x'></iframe>"
        "<p style='position:fixed' id=styled></p><script src='https://example.com/x.js'></script>"
    )
    path.write_text(path.read_text().replace("INJECT", attack))
    look(browser, path, 1280)
    script(browser, "document.getElementById('bait').click()")
    assert script(browser, "return typeof window.pwned") == "undefined"
    assert (
        script(browser, "return getComputedStyle(document.getElementById('styled')).position")
        == "static"
    )
    said = " ".join(entry["message"] for entry in browser.get_log("browser"))
    assert said.count("Content Security Policy") >= 4
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    assert not [
        one
        for one in sent
        if one["method"] == "Network.responseReceived" and "example.com" in json.dumps(one)
    ]


# ---- on a phone, on a desk, in the dark, with a keyboard


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_and_can_be_read(
    width: int, dark: bool, saver: RedisSaver, cli: CommandLine, browser: Chrome, tmp_path: Path
) -> None:
    talk(saver)
    hostile(saver)
    for thread_id in ("thread", HOSTILE):
        look(browser, page_of(cli, tmp_path, thread_id), width, dark=dark)
        assert script(browser, "return document.querySelector('nav > details').open") == (
            width > 899
        )
        script(browser, OPEN_ALL)
        sizes = script(browser, "return [document.documentElement.scrollWidth, innerWidth]")
        assert sizes[0] <= sizes[1] == width
        wide = script(
            browser,
            "return [...document.querySelectorAll('body *')].filter(one => one.offsetParent && "
            "one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML)",
        )
        assert wide == []
        assert (
            float(script(browser, "return parseFloat(getComputedStyle(document.body).fontSize)"))
            >= 16
        )
        assert script(browser, CONTRASTS) >= 4.5


CONTRASTS = """
function light(colour) {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(
    part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(one) {
  for (; one; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
}
let least = 21;
for (const one of document.querySelectorAll("body *")) {
  const own = [...one.childNodes].some(child => child.nodeType === 3 && child.data.trim());
  if (!one.offsetParent || !own) continue;
  const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
  least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
}
return least;
"""
"""The least contrast of a text with what is behind it, as WCAG computes it."""


def test_the_keyboard_reaches_everything(
    saver: RedisSaver, cli: CommandLine, browser: Chrome, tmp_path: Path
) -> None:
    talk(saver)
    look(browser, page_of(cli, tmp_path), 1280)

    def press(*keys: str) -> None:
        for key in keys:
            browser.switch_to.active_element.send_keys(key)

    press(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the conversation"
    assert browser.switch_to.active_element.rect["x"] >= 0
    press(Keys.TAB, Keys.TAB, Keys.TAB)
    assert browser.switch_to.active_element.text.startswith("step 1")
    press(Keys.ENTER)
    # The page opens the checkpoint when the browser has followed the link.
    wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, ".checkpoint[open]"))
    assert len(browser.find_elements(By.CSS_SELECTOR, ".checkpoint[open]")) == 1
    wait_until(lambda: browser.switch_to.active_element.tag_name == "summary")
    assert "step 1" in browser.switch_to.active_element.text
    for _ in range(10):
        press(Keys.TAB)
        if browser.switch_to.active_element.text == "Whole state":
            break
    press(Keys.ENTER)
    [state] = browser.find_elements(By.CSS_SELECTOR, ".state[open]")
    wait_until(lambda: "Where is my parcel?" in state.text)  # the script fills it when it opens
    outline = script(browser, "return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"

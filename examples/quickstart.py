"""A travel agent whose state is kept in Redis.

It waits for a person, continues in another process, is searched by metadata, and is forked. At the
end the command line shows what is stored.

    make demo                                      starts a Redis for this run
    REDIS_URL=redis://localhost:6379 make demo     uses your Redis, and deletes the data at the end

To keep the data on your Redis, run `python examples/quickstart.py --keep`.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain.tools import tool
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.types import Command, StateSnapshot, interrupt
from redis import ConnectionError, Redis
from rich.console import Console
from rich.table import Table

from langgraph_redis_json import RedisSaver, UnsuitableServerError
from langgraph_redis_json.embedded import EmbeddedRedis

# ---- the agent: nothing here is special to Redis

PRICES = {"Lisbon": 120, "Porto": 95, "Rome": 80, "Milan": 70, "Oslo": 150, "Bergen": 140}

TRIPS = {
    "trip-1": ("ada", "Fly me to Lisbon or Porto, whichever is cheaper."),
    "trip-2": ("bob", "Fly me to Rome or Milan, whichever is cheaper."),
    "trip-3": ("ada", "Fly me to Oslo or Bergen, whichever is cheaper."),
}
"""The user and the question of each thread."""


@tool
def flight_price(city: str) -> str:
    """The price of a flight to a city."""
    return f"{city}: {PRICES[city]} euros"


@tool
def book_flight(city: str) -> str:
    """Book a flight to a city, if a person agrees."""
    answer = interrupt(f"Book the flight to {city}?")  # the graph stops here until it is resumed
    return f"{city} is booked" if answer == "yes" else f"{city} is not booked"


class ScriptedModel(BaseChatModel):
    """Replaces an LLM: asks for the prices, books the cheapest flight, and reports the result."""

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        last = messages[-1]
        calls: list[tuple[str, str]] = []
        if isinstance(last, HumanMessage):
            calls = [("flight_price", city) for city in PRICES if city in last.text]
        elif last.name == "flight_price":
            prices = re.findall(r"(\w+): (\d+) euros", "\n".join(m.text for m in messages))
            cheapest, _price = min(prices, key=lambda price: int(price[1]))
            calls = [("book_flight", cheapest)]
        answer = AIMessage(
            "" if calls else f"Done: {last.text}.",
            tool_calls=[
                {"name": name, "args": {"city": city}, "id": f"{name}-{city}"}
                for name, city in calls
            ],
        )
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def bind_tools(self, *_: Any, **__: Any) -> "ScriptedModel":
        return self

    _llm_type = "scripted"


def make_agent(saver: RedisSaver) -> Any:
    return create_agent(ScriptedModel(), [flight_price, book_flight], checkpointer=saver)


def config_of(thread_id: str) -> Any:
    user_id, _question = TRIPS[thread_id]
    # Every key of the metadata can be searched.
    return {"configurable": {"thread_id": thread_id}, "metadata": {"user_id": user_id}}


# ---- the example


def main(url: str) -> None:
    with open_saver(url) as saver:
        saver.setup()  # creates the search indexes; once per server
        delete_trips(saver)  # of an earlier run with --keep
        agent = make_agent(saver)

        title("1. An agent compares two prices, then waits for a person to say yes")
        for thread_id, (_user_id, question) in TRIPS.items():
            agent.invoke({"messages": [HumanMessage(question)]}, config_of(thread_id))
        trip = config_of("trip-1")
        show_messages(agent.get_state(trip).values["messages"])

        title("2. Another process says yes")
        subprocess.run([sys.executable, __file__, "--answer", url], check=True)
        booked = agent.get_state(trip)
        show_messages(booked.values["messages"][-2:])

        title("3. The history of the thread, newest step first")
        show_code("agent.get_state_history(trip)")
        show_history(agent.get_state_history(trip))
        show_code('agent.get_state_history(trip, filter={"source": "loop", "step": 2})')
        [priced] = agent.get_state_history(trip, filter={"source": "loop", "step": 2})
        show_history([priced])

        title("4. A fork from step 2: the same trip with a higher price for Porto")
        show_code('agent.update_state(priced.config, {"messages": [porto]}, as_node="tools")')
        porto = priced.values["messages"][-1].model_copy(update={"content": "Porto: 210 euros"})
        agent.update_state(priced.config, {"messages": [porto]}, as_node="tools")
        agent.invoke(None, trip)  # continues from the newest checkpoint, which is the fork
        agent.invoke(Command(resume="yes"), trip)
        show_messages(agent.get_state(trip).values["messages"][2:])
        console.print(f"What was before is still there: {last_message(booked)}")

        title("5. All threads of one user, found by one search")
        show_code('saver.list(None, filter={"user_id": "ada"})')
        newest: dict[str, Any] = {}
        for found in saver.list(None, filter={"user_id": "ada"}):
            newest.setdefault(found.config["configurable"]["thread_id"], found.config)
        show_threads({thread_id: agent.get_state(config) for thread_id, config in newest.items()})

        title("6. Each step is a JSON document in Redis")
        [first] = agent.get_state_history(trip, filter={"source": "loop", "step": 0})
        checkpoint_id = first.config["configurable"]["checkpoint_id"]
        key = f"{saver.key_prefix}checkpoint:{{trip-1}}::{checkpoint_id}"
        with Redis.from_url(url, decode_responses=True) as client:
            for path in ("$.metadata", "$.channel_values.messages..content"):
                show_code(f"JSON.GET {key} {path}")
                console.print_json(client.execute_command("JSON.GET", key, path), indent=None)

    title("7. The command line: the threads, a conversation, who spoke of Porto")
    run_command(url, "threads")
    console.print()
    run_command(url, "messages", "trip-1")
    run_command(url, "search", "porto", "--role", "human")

    title("8. A page of the thread, to open in a browser or to attach to a ticket")
    page = Path(tempfile.mkdtemp(prefix="quickstart-"), "trip-1.html")
    run_command(url, "export", "trip-1", "--html", str(page))


def answer(url: str) -> None:
    """The other process: reads the question from Redis, and answers it."""
    with open_saver(url) as saver:
        agent = make_agent(saver)
        [question] = agent.get_state(config_of("trip-1")).interrupts
        console.print(f"  {question.value} [bold]yes")
        agent.invoke(Command(resume="yes"), config_of("trip-1"))


# ---- the server

KEY_PREFIX = "quickstart:"

KEEP = """This Redis has been stopped. To look at the data in RedisInsight, at http://localhost:5540:
docker compose up -d --wait
REDIS_URL=redis://localhost:6379 .venv/bin/python examples/quickstart.py --keep
All keys and indexes of the example begin with "quickstart:"."""


def open_saver(url: str) -> AbstractContextManager[RedisSaver]:
    """A saver. On your server it uses a key prefix, so that it cannot touch your data."""
    return RedisSaver.from_conn_string(url, key_prefix=key_prefix(), message_search=True)


def key_prefix() -> str:
    return KEY_PREFIX if os.environ.get("REDIS_URL") else "langgraph:"


def run_command(url: str, *arguments: str) -> None:
    """Run the command line, which people without Python use."""
    show_code(f"langgraph-redis-json {' '.join(arguments)}")
    environment = {**os.environ, "REDIS_URL": url, "LANGGRAPH_REDIS_KEY_PREFIX": key_prefix()}
    command = [sys.executable, "-m", "langgraph_redis_json", *arguments]
    subprocess.run(command, env=environment, check=True)


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of your server or of a private one."""
    url = os.environ.get("REDIS_URL")
    if not url:
        with EmbeddedRedis() as embedded:
            yield embedded.url
        console.print(f"\n[dim]{KEEP}")
        return
    yield url
    if "--keep" not in sys.argv:
        with open_saver(url) as saver:
            delete_trips(saver)
        with Redis.from_url(url, decode_responses=True) as client:
            for index in client.execute_command("FT._LIST"):
                if index.startswith(KEY_PREFIX):
                    client.execute_command("FT.DROPINDEX", index)
            client.delete(f"{KEY_PREFIX}setup:messages")


def delete_trips(saver: RedisSaver) -> None:
    for thread_id in TRIPS:
        saver.delete_thread(thread_id)


# ---- output

console = Console(highlight=False)


def title(text: str) -> None:
    console.print()
    console.rule(f"[bold]{text}", align="left")


def show_code(text: str) -> None:
    console.print(f"> {text}", style="cyan", markup=False, soft_wrap=True)


def message_text(message: BaseMessage) -> str:
    calls = getattr(message, "tool_calls", [])
    return ", ".join(f"{c['name']}({c['args']['city']})" for c in calls) or message.text


def last_message(state: StateSnapshot) -> str:
    return "".join(map(message_text, state.values["messages"][-1:]))


def show_messages(messages: Iterable[BaseMessage]) -> None:
    for message in messages:
        console.print(f"[dim]{message.type:>7}[/]  {message_text(message)}")


def show_history(states: Iterable[StateSnapshot]) -> None:
    table = Table("step", "source", "next", "last message", box=None, header_style="dim")
    for state in states:
        metadata = state.metadata or {}
        next_nodes = ", ".join(dict.fromkeys(state.next))
        table.add_row(f"{metadata['step']}", metadata["source"], next_nodes, last_message(state))
    console.print(table)


def show_threads(states: dict[str, StateSnapshot]) -> None:
    table = Table("thread", "waits for an answer to", "last message", box=None, header_style="dim")
    for thread_id, state in states.items():
        question = "".join(waiting.value for waiting in state.interrupts)
        table.add_row(thread_id, question, last_message(state))
    console.print(table)


if __name__ == "__main__":
    if "--answer" in sys.argv:
        answer(sys.argv[-1])
    else:
        try:
            with redis_server() as url:
                main(url)
        except (ConnectionError, UnsuitableServerError) as error:
            sys.exit(f"REDIS_URL: {error}")

"""An agent on Redis: it waits for a person, goes on in another process, is searched and forked.

make demo                                      on a Redis of its own, which then is gone again
REDIS_URL=redis://localhost:6379 make demo     on yours, where it deletes what it has stored;
                                               python examples/quickstart.py --keep leaves it there
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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

# ---- an agent like any other

PRICES = {"Lisbon": 120, "Porto": 95, "Rome": 80, "Milan": 70, "Oslo": 150, "Bergen": 140}


@tool
def flight_price(city: str) -> str:
    """The price of a flight to a city."""
    return f"{city}: {PRICES[city]} euros"


@tool
def book_flight(city: str) -> str:
    """Book a flight to a city, if a person agrees."""
    answer = interrupt(f"Book the flight to {city}?")  # pauses here, until somebody resumes
    return f"{city} is booked" if answer == "yes" else f"{city} is not booked"


class ScriptedModel(BaseChatModel):
    """Stands in for an LLM: asks for the prices, books the lowest, and reports."""

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        last, calls = messages[-1], []
        if isinstance(last, HumanMessage):
            calls = [("flight_price", city) for city in PRICES if city in last.text]
        elif last.name == "flight_price":
            prices = re.findall(r"(\w+): (\d+) euros", "\n".join(m.text for m in messages))
            calls = [("book_flight", min(prices, key=lambda price: int(price[1]))[0])]
        answer = AIMessage(
            "" if calls else f"Done: {last.text}.",
            tool_calls=[{"name": n, "args": {"city": c}, "id": f"{n}-{c}"} for n, c in calls],
        )
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def bind_tools(self, *_: Any, **__: Any) -> "ScriptedModel":
        return self

    _llm_type = "scripted"


def make_agent(saver: RedisSaver) -> Any:
    return create_agent(ScriptedModel(), [flight_price, book_flight], checkpointer=saver)


# ---- what Redis adds

TRIPS = {
    "trip-1": ("ada", "Fly me to Lisbon or Porto, whichever is cheaper."),
    "trip-2": ("bob", "Fly me to Rome or Milan, whichever is cheaper."),
    "trip-3": ("ada", "Fly me to Oslo or Bergen, whichever is cheaper."),
}


def config_of(thread_id: str) -> Any:
    user_id, _ = TRIPS[thread_id]
    # Whatever stands in the metadata can be searched for.
    return {"configurable": {"thread_id": thread_id}, "metadata": {"user_id": user_id}}


def main(url: str, key_prefix: str) -> None:
    with RedisSaver.from_conn_string(url, key_prefix=key_prefix) as saver:
        saver.setup()  # makes the search indexes; once per server
        delete_trips(saver)  # those that an earlier run has kept
        agent = make_agent(saver)

        title("1. An agent compares two prices, and waits for a person's yes")
        for thread_id, (_, question) in TRIPS.items():
            agent.invoke({"messages": [HumanMessage(question)]}, config_of(thread_id))
        trip = config_of("trip-1")
        show_messages(agent.get_state(trip).values["messages"])

        title("2. Another process says yes")
        subprocess.run([sys.executable, __file__, "--answer", url, key_prefix], check=True)
        booked = agent.get_state(trip)
        show_messages(booked.values["messages"][-2:])

        title("3. What happened, newest first", "agent.get_state_history(trip)")
        show_history(agent.get_state_history(trip))
        code('agent.get_state_history(trip, filter={"source": "loop", "step": 2})')
        [priced] = agent.get_state_history(trip, filter={"source": "loop", "step": 2})
        show_history([priced])

        title("4. What if Porto were dearer? A fork from step 2")
        code('agent.update_state(priced.config, {"messages": [porto]}, as_node="tools")')
        porto = priced.values["messages"][-1].model_copy(update={"content": "Porto: 210 euros"})
        agent.update_state(priced.config, {"messages": [porto]}, as_node="tools")
        agent.invoke(None, trip)  # the fork is the newest checkpoint, so this goes on from there
        agent.invoke(Command(resume="yes"), trip)
        show_messages(agent.get_state(trip).values["messages"][2:])
        console.print(f"What was before is still there: {last_said(booked)}")

        title(
            "5. Where do Ada's trips stand? One search, all threads",
            'saver.list(None, filter={"user_id": "ada"})',
        )
        newest: dict[str, Any] = {}
        for found in saver.list(None, filter={"user_id": "ada"}):
            newest.setdefault(found.config["configurable"]["thread_id"], found.config)
        show_threads({thread_id: agent.get_state(config) for thread_id, config in newest.items()})

        title("6. A checkpoint, as RedisInsight shows it")
        [first] = agent.get_state_history(trip, filter={"source": "loop", "step": 0})
        prefix = f"{key_prefix}:" if key_prefix else ""
        key = f"{prefix}checkpoint:{{trip-1}}::{first.config['configurable']['checkpoint_id']}"
        code(f"JSON.GET {key}")
        with Redis.from_url(url, decode_responses=True) as client:
            console.print_json(client.execute_command("JSON.GET", key))


def answer(url: str, key_prefix: str) -> None:
    """What the other process does: it finds the question in Redis, and answers."""
    with RedisSaver.from_conn_string(url, key_prefix=key_prefix) as saver:
        agent = make_agent(saver)
        [question] = agent.get_state(config_of("trip-1")).interrupts
        console.print(f"  {question.value} [bold]yes")
        agent.invoke(Command(resume="yes"), config_of("trip-1"))


# ---- where it runs


KEEP = """To look at all this in RedisInsight, at http://localhost:5540:
docker compose up -d --wait
REDIS_URL=redis://localhost:6379 .venv/bin/python examples/quickstart.py --keep
Its keys are quickstart:checkpoint:*, and its indexes quickstart:langgraph_checkpoints and such."""


@contextmanager
def server() -> Iterator[tuple[str, str]]:
    """A Redis, and the prefix of our keys there."""
    url = os.environ.get("REDIS_URL")
    if not url:
        with EmbeddedRedis() as embedded:
            yield embedded.url, ""
        console.print(f"\n[dim]That Redis is gone again.\n{KEEP}")
        return
    yield url, "quickstart"
    if "--keep" not in sys.argv:
        with RedisSaver.from_conn_string(url, key_prefix="quickstart") as saver:
            delete_trips(saver)
        with Redis.from_url(url, decode_responses=True) as client:
            for index in client.execute_command("FT._LIST"):
                if index.startswith("quickstart:"):
                    client.execute_command("FT.DROPINDEX", index)


def delete_trips(saver: RedisSaver) -> None:
    for thread_id in TRIPS:
        saver.delete_thread(thread_id)


# ---- how it prints

console = Console(highlight=False)


def title(text: str, call: str = "") -> None:
    console.print()
    console.rule(f"[bold]{text}", align="left")
    if call:
        code(call)


def code(text: str) -> None:
    console.print(f"> {text}", style="cyan", markup=False, soft_wrap=True)


def last_said(state: StateSnapshot) -> str:
    return "".join(map(said, state.values["messages"][-1:]))


def said(message: BaseMessage) -> str:
    calls = getattr(message, "tool_calls", [])
    return ", ".join(f"{c['name']}({c['args']['city']})" for c in calls) or message.text


def show_messages(messages: Iterable[BaseMessage]) -> None:
    for message in messages:
        console.print(f"[dim]{message.type:>7}[/]  {said(message)}")


def show_history(states: Iterable[StateSnapshot]) -> None:
    table = Table("step", "source", "next", "last message", box=None, header_style="dim")
    for state in states:
        step, source = str(state.metadata["step"]), state.metadata["source"]
        table.add_row(step, source, ", ".join(dict.fromkeys(state.next)), last_said(state))
    console.print(table)


def show_threads(states: dict[str, StateSnapshot]) -> None:
    table = Table("thread", "waits for an answer to", "last message", box=None, header_style="dim")
    for thread_id, state in states.items():
        question = "".join(asked.value for asked in state.interrupts)
        table.add_row(thread_id, question, last_said(state))
    console.print(table)


if __name__ == "__main__":
    if "--answer" in sys.argv:
        answer(*sys.argv[2:])
    else:
        try:
            with server() as (url, key_prefix):
                main(url, key_prefix)
        except (ConnectionError, UnsuitableServerError) as error:
            sys.exit(f"REDIS_URL: {error}")

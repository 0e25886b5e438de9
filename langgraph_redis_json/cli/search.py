"""search: find messages by their words."""

from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from langgraph_redis_json.cli.connection import connect, server_time
from langgraph_redis_json.cli.message_search import Language, with_message_search
from langgraph_redis_json.cli.messages import ROLES
from langgraph_redis_json.cli.options import Filters, Json, NewerThan, OlderThan, read_selection
from langgraph_redis_json.cli.output import complain, one_line, print_json, safe, show, when
from langgraph_redis_json.operations.search_messages import FoundMessage

MARKS = ("\x01", "\x02")
"""Characters that no terminal shows, around the words."""

Words = Annotated[list[str], typer.Argument(metavar="WORDS", help="A message must have them all.")]
Role = Annotated[
    str | None,
    typer.Option("--role", metavar="ROLE", help="human, ai, tool, system, or another role."),
]


def search(
    context: typer.Context,
    words: Words,
    filters: Filters = None,
    role: Role = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    newest: Annotated[bool, typer.Option("--newest", help="The newest first.")] = False,
    language: Language = None,
    limit: Annotated[
        int, typer.Option(metavar="NUMBER", min=0, help="Messages at most; 0 for all.")
    ] = 20,
    json: Json = False,
) -> None:
    """Find messages by their words, the best first.

    Needs the index of messages: savers with message_search=True, and setup --messages. A filter
    applies to the newest checkpoint of a thread, an age to the message. Times are UTC.
    """
    text = " ".join(words)
    with connect(context) as plain:
        saver = with_message_search(plain, language)
        selection = read_selection(server_time(saver), filters, None, older_than, newer_than)
        try:
            rows = saver.search_messages(
                text,
                filter=selection.filter,
                role=role,
                since=selection.updated_after,
                until=selection.updated_before,
                newest_first=newest,
                limit=limit + 1 if limit else None,
                marks=("**", "**") if json else MARKS,
            )
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="WORDS") from None
        count = 0
        for row in rows:
            count += 1
            if count > limit > 0:
                complain("There are more messages: see --limit.")
                break
            if json:
                print_json(_record(row))
            else:
                show(_heading(row))
                show(_marked(row.snippet))
        if count == 0:
            complain(f"No message has {text!r}.")


def _record(row: FoundMessage) -> dict[str, object]:
    given = row.config["configurable"]
    return {
        "thread_id": row.thread_id,
        "checkpoint_ns": given["checkpoint_ns"],
        "checkpoint_id": given["checkpoint_id"],
        "message_id": row.message_id,
        "role": row.role,
        "time": row.time,
        "snippet": row.snippet,
        "text": row.text,
    }


def _heading(row: FoundMessage) -> Text:
    heading = Text(one_line(row.role), style=ROLES.get(row.role, "bold"))
    time = "" if row.time is None else f"  {when(row.time)}"
    heading.append(f"  {one_line(row.thread_id)}{time}", style="not bold default")
    return heading


def _marked(snippet: str) -> Padding:
    shown = Text()
    for number, part in enumerate(snippet.replace(MARKS[1], MARKS[0]).split(MARKS[0])):
        shown.append(safe(part), style="bold underline" if number % 2 else "")
    return Padding(shown, (0, 0, 0, 2), expand=False)

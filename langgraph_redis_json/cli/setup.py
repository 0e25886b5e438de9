"""setup: check the server and create the search indexes."""

from typing import Annotated

import typer

from langgraph_redis_json.cli.connection import connect, run
from langgraph_redis_json.cli.message_search import Language, with_message_search
from langgraph_redis_json.cli.output import fail, progress
from langgraph_redis_json.search.queries import has_coordinator


def setup(
    context: typer.Context,
    messages: Annotated[
        bool,
        typer.Option(
            "--messages",
            help="Also let the messages that are stored already be searched. Savers need "
            "message_search=True for those to come.",
        ),
    ] = False,
    language: Language = None,
    tool_calls: Annotated[
        bool, typer.Option("--tool-calls", help="With --messages: tool calls too.")
    ] = False,
) -> None:
    """Create or update the search indexes.

    First it checks the server. Do this once for a server, and after each upgrade of the
    package. It changes no state, and applications may go on writing.
    """
    if not messages and (tool_calls or language):
        raise typer.BadParameter("they need --messages", param_hint="--language and --tool-calls")
    bar, advance = progress("Building the search indexes", total=1)
    with connect(context) as saver:
        if messages:
            saver = with_message_search(saver, language, tool_calls)
        try:
            with bar:
                saver.setup(on_progress=advance)
                advance(1)
        except KeyboardInterrupt:
            fail(
                "Stopped by Ctrl-C. The server goes on building the indexes; run setup again to "
                "wait for it and finish.",
                130,
            )
        has_indexes = not saver._runner.clustered or run(saver, has_coordinator())
    if has_indexes:
        typer.echo("The server is suitable, and its search indexes are up to date.")
    else:
        typer.echo("The server is suitable for all that is done within a thread.")

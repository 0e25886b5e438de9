"""setup: check the server and create the search indexes."""

import typer

from langgraph_redis_json.cli.connection import connect, run
from langgraph_redis_json.cli.output import fail, progress
from langgraph_redis_json.search.queries import has_coordinator


def setup(context: typer.Context) -> None:
    """Create or update the search indexes.

    First it checks the server. Do this once for a server, and after each upgrade of the
    package. It changes no documents, and applications may go on writing.
    """
    bar, advance = progress("Building the search indexes", total=1)
    with connect(context) as saver:
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
        has_indexes = not saver._runner.clustered or run(saver, has_coordinator(saver.key_prefix))
    if has_indexes:
        typer.echo("The server is suitable, and its search indexes are up to date.")
    else:
        typer.echo("The server is suitable for all that is done within a thread.")

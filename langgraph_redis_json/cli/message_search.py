"""What commands that search messages share."""

from typing import Annotated

import typer

from langgraph_redis_json.saver import RedisSaver

Language = Annotated[
    str | None,
    typer.Option(
        "--language",
        metavar="NAME",
        help="The language of most messages, as the savers have it: german, for example.",
    ),
]


def with_message_search(
    saver: RedisSaver, language: str | None = None, tool_calls: bool = False
) -> RedisSaver:
    """A saver on the same client that searches messages.

    Raises:
        typer.BadParameter: for a language that RediSearch does not know.
    """
    settings = {"language": language or "english", "tool_calls": tool_calls}
    try:
        return RedisSaver(
            saver._runner.client, key_prefix=saver.key_prefix, message_search=settings
        )
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--language") from None

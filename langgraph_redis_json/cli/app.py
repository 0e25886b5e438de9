"""The application: its commands, and what becomes of errors."""

import os
import warnings
from collections.abc import Callable
from typing import Any

import typer
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    TimeoutError,
)

from langgraph_redis_json.cli import (
    copy,
    delete,
    diff,
    doctor,
    expire,
    export,
    history,
    import_,
    messages,
    migrate,
    pin,
    prune,
    search,
    setup,
    show,
    stats,
    threads,
)
from langgraph_redis_json.cli.options import KeyPrefix, Load, Settings, Url, with_shared
from langgraph_redis_json.cli.output import complain
from langgraph_redis_json.errors import (
    CheckpointError,
    IndexMissingError,
    MessagesMissingError,
    MetadataFieldMissingError,
)

PROGRAM = "langgraph-redis-json"

# Typer's own errors: wrong options and arguments. It does not export their class.
_TYPERS_ERROR: type[Exception] = typer.BadParameter.__mro__[2]

COMMANDS: dict[str, Callable[..., None]] = {
    "setup": setup.setup,
    "doctor": doctor.doctor,
    "stats": stats.stats,
    "threads": threads.threads,
    "messages": messages.messages,
    "search": search.search,
    "history": history.history,
    "show": show.show,
    "diff": diff.diff,
    "export": export.export,
    "import": import_.import_,
    "delete": delete.delete,
    "prune": prune.prune,
    "copy": copy.copy,
    "pin": pin.pin,
    "expire": expire.expire,
    "migrate": migrate.migrate,
}
"""Name -> the function of each command, in the order in which ``--help`` lists them."""

app = typer.Typer(
    name=PROGRAM,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    context: typer.Context,
    url: Url = None,
    key_prefix: KeyPrefix = None,
    load: Load = None,
) -> None:
    """Look at the threads that LangGraph keeps in Redis, and look after them.

    The options --url, --key-prefix and --load may also stand after the command.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    context.obj = Settings(
        _given(url, "REDIS_URL", "redis://localhost:6379"),
        _given(key_prefix, "LANGGRAPH_REDIS_KEY_PREFIX", "langgraph:"),
        tuple(load or ()),
    )


def _given(option: str | None, variable: str, default: str) -> str:
    """What an option says, else the environment, else the default. An empty variable says
    nothing."""
    return (os.environ.get(variable) or default) if option is None else option


for name, function in COMMANDS.items():
    app.command(name)(with_shared(function))


def run(arguments: list[str] | None = None) -> None:
    """Run the command line, and exit with its code: 0 done, 1 not found or failed, 2 wrong usage,
    130 stopped by Ctrl-C."""
    warnings.showwarning = _show_warning
    try:
        code = app(arguments, prog_name=PROGRAM, standalone_mode=False)
        raise SystemExit(code if isinstance(code, int) else 0)
    except _TYPERS_ERROR as error:
        shown: Any = error
        command = shown.ctx.command_path if shown.ctx else PROGRAM
        told = shown.format_message().rstrip(".")
        complain(f"{told}{'' if told.endswith('?') else '.'} See {command} --help.")
        raise SystemExit(2) from None
    except typer.Abort as abort:  # at a question: Ctrl-C, or the end of the input
        complain("Nothing was changed.")
        raise SystemExit(130 if isinstance(abort.__context__, KeyboardInterrupt) else 1) from None
    except (CheckpointError, RedisError, OSError) as error:
        complain(_sentence(error))
        raise SystemExit(1) from None


def _sentence(error: Exception) -> str:
    if isinstance(error, AuthenticationError):
        return (
            "The server refuses this user or password: put them into --url, as in "
            "redis://user:password@host:6379."
        )
    if isinstance(error, NoPermissionError):
        return (
            f"The server does not let this user run the command: {str(error).rstrip('.')}. Give "
            "the user the rights of docs/acl.conf."
        )
    if isinstance(error, OutOfMemoryError):
        return (
            "The server is full: raise its maxmemory, or delete or prune threads. Nothing was half "
            "stored."
        )
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, (ConnectionError, TimeoutError)):
        return f"The server does not answer: {str(error).rstrip('.')}. Check --url (or REDIS_URL)."
    if isinstance(error, MessagesMissingError):
        first, _, _ = str(error).partition(".")
        return f"{first}: run {PROGRAM} setup --messages first, or correct --key-prefix."
    if isinstance(error, MetadataFieldMissingError):
        return str(error)
    if isinstance(error, IndexMissingError):
        first, _, _ = str(error).partition(".")
        return f"{first}: run {PROGRAM} setup first, or correct --key-prefix."
    if isinstance(error, CheckpointError):
        return str(error)
    if "unknown command" in str(error).lower():
        return (
            f"This Redis lacks Search or JSON ({str(error).strip()}): use Redis 8, Redis Stack, or "
            "a service that offers both."
        )
    told, _, _ = str(error).partition(" script: ")  # where in a script says nothing to people
    return f"The server replied with an error: {told}"


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    complain(f"Warning: {message}")

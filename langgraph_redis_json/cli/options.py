"""What people type: the options that all commands have, filters, ages."""

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, NamedTuple

import typer

from langgraph_redis_json.cli.output import fail


class Settings(NamedTuple):
    """The options that all commands have; a command's context has them as its ``obj``.

    Attributes:
        url: of the server.
        key_prefix: of the savers.
        load: the modules that ``--load`` names.
    """

    url: str
    key_prefix: str
    load: tuple[str, ...] = ()


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The server: redis://, rediss:// or unix://. Default: REDIS_URL, or "
        "redis://localhost:6379.",
    ),
]
KeyPrefix = Annotated[
    str | None,
    typer.Option(
        "--key-prefix",
        metavar="TEXT",
        help="The key_prefix of the savers. Default: LANGGRAPH_REDIS_KEY_PREFIX, or langgraph:.",
    ),
]
Load = Annotated[
    list[str] | None,
    typer.Option(
        "--load",
        metavar="MODULE",
        help="Import this module, and let LangGraph's serializer read what is not JSON: encrypted "
        "values, pickles. MODULE:NAME is a serializer in the module. This runs its code.",
    ),
]
SHARED = {"url": Url, "key_prefix": KeyPrefix, "load": Load}
"""The options that all commands have. People type them before or after the command's name."""


def with_shared(function: Callable[..., None]) -> Callable[..., None]:
    """A command that has the options of `SHARED` too."""

    @wraps(function)
    def command(
        context: typer.Context,
        *,
        url: str | None,
        key_prefix: str | None,
        load: list[str] | None,
        **options: Any,
    ) -> None:
        before: Settings = context.obj
        context.obj = Settings(
            before.url if url is None else url,
            before.key_prefix if key_prefix is None else key_prefix,
            (*before.load, *(load or ())),
        )
        try:
            function(context, **options)
        except KeyboardInterrupt:
            fail("Stopped by Ctrl-C.", 130)
        except BrokenPipeError:  # the reader, `head` for example, has read enough
            # Else Python fails once more when it flushes stdout at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    own = signature(function, eval_str=True)
    added = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in SHARED.items()
    ]
    command.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*own.parameters.values(), *added]
    )
    command.__annotations__ = {**function.__annotations__, **SHARED}
    return command


# ---- options that several commands have

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for other programs.")]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="KEY=VALUE",
        help="Metadata of the newest checkpoint: user=ada, step>=5, score<0.5, user!=bob. "
        "May be repeated.",
    ),
]
Status = Annotated[
    str | None,
    typer.Option("--status", metavar="STATUS", help="interrupted, error or idle."),
]
OlderThan = Annotated[
    str | None,
    typer.Option("--older-than", metavar="AGE", help="Not changed for so long: 90m, 12h, 30d, 4w."),
]
NewerThan = Annotated[
    str | None,
    typer.Option("--newer-than", metavar="AGE", help="Changed within so long: 90m, 12h, 30d, 4w."),
]

_CONDITION = re.compile(r"(?s)(.+?)\s*(>=|<=|!=|=|>|<)\s*(.*)")
_OPERATORS = {">=": "$gte", "<=": "$lte", "!=": "$ne", ">": "$gt", "<": "$lt"}


def read_filters(given: Sequence[str] | None) -> dict[str, Any]:
    """The filter that ``--filter`` options spell, for ``threads(filter=…)``.

    A value is read as JSON if it is JSON, else as text; ``=`` finds both, so that user=7 finds the
    number and the text.

    Raises:
        typer.BadParameter: for an option that is no condition, or contradicts another.
    """
    found: dict[str, dict[str, Any]] = {}
    for condition in given or ():
        match = _CONDITION.fullmatch(condition)
        if match is None:
            raise typer.BadParameter(
                f"{condition!r} is no condition: write KEY=VALUE, or >=, <=, >, < or != in place "
                "of =",
                param_hint="--filter",
            )
        key, sign, text = match.groups()
        if text.startswith("=") or (not text and sign not in ("=", "!=")):
            raise typer.BadParameter(
                f"{condition!r} is no condition: the value "
                + ("begins with another =" if text else "is missing"),
                param_hint="--filter",
            )
        value = _value(text)
        operator, operand = _OPERATORS.get(sign, "$eq"), value
        if sign == "=" and not isinstance(value, str):
            operator, operand = "$in", [value, text]
        elif sign in ("<", ">", "<=", ">=") and not isinstance(value, (int, float)):
            operand = value if isinstance(value, str) else text
        conditions = found.setdefault(key, {})
        if operator in conditions:
            raise typer.BadParameter(
                f"{condition!r} comes after another condition of that kind for {key!r}",
                param_hint="--filter",
            )
        conditions[operator] = operand
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_age(given: str, option: str) -> timedelta:
    """An age such as 30d.

    Raises:
        typer.BadParameter: if it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", given.strip())
    if match is None:
        raise typer.BadParameter(
            f"{given!r} is no age: write a number and s, m (minutes), h, d or w, such as 30d",
            param_hint=option,
        )
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError:
        raise typer.BadParameter(f"{given!r} is too long", param_hint=option) from None


class Selection(NamedTuple):
    """Which threads a command is about, as keyword arguments of ``threads(…)``."""

    filter: dict[str, Any]
    status: str | None
    updated_before: datetime | None
    updated_after: datetime | None

    @property
    def is_everything(self) -> bool:
        return not any(self)


def read_selection(
    now: datetime,
    filters: Sequence[str] | None,
    status: str | None,
    older_than: str | None,
    newer_than: str | None = None,
) -> Selection:
    """Which threads the options choose.

    Args:
        now: the time of the server.
        filters, status, older_than, newer_than: the options.
    """
    if status not in (None, "idle", "interrupted", "error"):
        raise typer.BadParameter(
            f"{status!r} is no status: use interrupted, error or idle", param_hint="--status"
        )
    before = now - read_age(older_than, "--older-than") if older_than else None
    after = now - read_age(newer_than, "--newer-than") if newer_than else None
    return Selection(read_filters(filters), status, before, after)

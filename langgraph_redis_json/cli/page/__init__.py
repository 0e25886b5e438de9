"""A thread as one page for people, without anything from elsewhere: ``export --html``.

What a thread holds may be hostile. So the template escapes all of it, the page's policy
(Content-Security-Policy) allows only the page's own style and script, by their hashes, and the
script gets nothing of a thread but numbers.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple

import orjson
from jinja2 import Environment
from markupsafe import Markup, escape

from langgraph_redis_json import __version__
from langgraph_redis_json.cli import history
from langgraph_redis_json.cli.finding import message_channels
from langgraph_redis_json.cli.output import when
from langgraph_redis_json.cli.reading import Damage, DamagedValueError, StoredCheckpoint
from langgraph_redis_json.cli.values import brief
from langgraph_redis_json.storage import plain
from langgraph_redis_json.storage.loading import DAMAGE
from langgraph_redis_json.storage.plain import Message, ToolCall, block_name


class Part(NamedTuple):
    """A value that the page shows: a chat message, or text.

    Attributes:
        number: of the part in the page.
        message: the message, or None.
        opaque: for a value that only a serializer reads, what is known of it, else "".
        text: any other value, as text.
    """

    number: int
    message: Message | None
    opaque: str
    text: str


Ranges = list[tuple[int, int]]
"""Numbers of parts: first and last of each range."""


class Channel(NamedTuple):
    """A channel of a state: the parts of its value, how many items the list has (None for no list),
    and what is wrong with it."""

    name: str
    parts: str
    length: int | None
    damage: str


class Difference(NamedTuple):
    """What became of a channel since the parent: parts that were taken away and that are new, how
    many stayed, and whether the channel is gone."""

    channel: str
    removed: str
    added: str
    kept: int
    is_gone: bool


class Write(NamedTuple):
    """A pending write."""

    channel: str
    task_id: str
    part: Part


@dataclass
class Row:
    """A checkpoint of the page."""

    number: int
    checkpoint_id: str
    parent_id: str | None
    parent: int | None
    step: str
    source: str
    created_at: datetime | None
    depth: int
    forks: bool
    changes: str
    next_nodes: list[str]
    metadata: dict[str, Any]
    waits: bool
    failed: bool
    damaged: bool
    writes: list[Write]
    state: list[Channel]
    differences: list[Difference]


class Namespace(NamedTuple):
    """The checkpoints of a namespace, in the order of the tree."""

    name: str
    rows: list[Row]


class Turn(NamedTuple):
    """A message of the conversation, its tool calls with their results, and the first checkpoint
    that has it."""

    message: Message
    calls: list[tuple[ToolCall, Message | None]]
    first: Row | None


@dataclass
class Page:
    """Everything that the page shows. `add` takes the checkpoints, oldest first within a
    namespace; then `finish` makes the rest."""

    thread_id: str
    status: str = ""
    updated_at: datetime | None = None
    left_out: int = 0
    written_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    number: int = 0
    parts: list[Part] = field(default_factory=list)
    namespaces: list[Namespace] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    questions: list[Part] = field(default_factory=list)
    errors: list[Part] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._checkpoints: dict[str, list[StoredCheckpoint]] = {}
        self._states: dict[tuple[str, str], dict[str, tuple[Ranges, bool]]] = {}
        self._damaged: dict[tuple[str, str], dict[str, str]] = {}
        self._newest: tuple[list[tuple[Message, int]], StoredCheckpoint] | None = None

    def add(self, one: StoredCheckpoint) -> None:
        """Add a checkpoint with its values."""
        state: dict[str, tuple[Ranges, bool]] = {}
        damaged: dict[str, str] = {}
        for channel in one.channels:
            try:
                stored = one.stored(channel)
                members = plain.members_of(stored)
                found = [stored] if members is None else members
                numbers = [self._part(member) for member in found]
                state[channel] = (_ranges(numbers), members is not None)
            except DamagedValueError as error:
                damaged[channel] = error.damage.why
            except DAMAGE as error:
                damaged[channel] = str(error)
        place = one.identity.checkpoint_ns, one.checkpoint_id
        self._states[place], self._damaged[place] = state, damaged
        if one.identity.checkpoint_ns == "":
            self._newest = self._conversation(one), one
        # The tree needs no values any more, and all of them would take much memory.
        one.blobs, one.logs = {}, {}
        self._checkpoints.setdefault(one.identity.checkpoint_ns, []).append(one)

    def finish(self) -> None:
        """Make the tree, the conversation and what stands at the top."""
        for name in sorted(self._checkpoints):
            found = self._checkpoints[name]
            numbers = {one.checkpoint_id: self.number + place for place, one in enumerate(found, 1)}
            self.number += len(found)
            rows = [self._row(row, numbers) for row in history.tree(found)]
            self.namespaces.append(Namespace(name, rows))
            for one in found:
                self.damages += [damage for damage in one.damages if damage not in self.damages]
        if self._newest is None:
            return
        talk, newest = self._newest
        if not newest.is_answered:
            self.questions = [self._plain_part(asked) for asked in newest.interrupts]
        self.errors = [self._plain_part(error) for error in newest.errors]
        first = self._first_rows()
        results = {one.tool_call_id: one for one, _ in talk if one.tool_call_id}
        called = {call.id for one, _ in talk for call in one.tool_calls}
        for message, number in talk:
            if message.tool_call_id is None or message.tool_call_id not in called:
                calls = [(call, results.get(call.id or "")) for call in message.tool_calls]
                self.turns.append(Turn(message, calls, first.get(number)))

    # ---- parts

    def _part(self, stored: Any) -> int:
        """The number of the part that shows a stored value or a member of one."""
        digest = sha256(orjson.dumps(stored)).digest()
        if digest not in self._numbers:
            self._numbers[digest] = len(self.parts)
            message = plain.message_of(stored) if stored is not None else None
            made = self._plain_part(None if message else plain.plain(stored))
            self.parts.append(made._replace(number=len(self.parts), message=message))
        return self._numbers[digest]

    @staticmethod
    def _plain_part(value: Any) -> Part:
        if plain.is_opaque(value):
            return Part(-1, None, brief(value), "")
        return Part(-1, None, "", in_full(value))

    def _conversation(self, one: StoredCheckpoint) -> list[tuple[Message, int]]:
        """The messages of a checkpoint, each with the number of its part."""
        found: list[tuple[Message, int]] = []
        for channel in message_channels(one):
            try:
                members = plain.members_of(one.stored(channel)) or []
                pairs = [(plain.message_of(member), self._part(member)) for member in members]
                found += [(message, number) for message, number in pairs if message is not None]
            except (DamagedValueError, *DAMAGE):
                found += [(message, -1) for message in one.messages(channel)]
        return found

    # ---- rows

    def _row(self, row: history.Row, numbers: Mapping[str, int]) -> Row:
        one = row.checkpoint
        place = one.identity.checkpoint_ns, one.checkpoint_id
        before = self._states.get((one.identity.checkpoint_ns, one.parent_id or ""))
        state, damaged = self._states[place], self._damaged[place]
        is_known = before is not None or one.parent_id is None
        return Row(
            number=numbers[one.checkpoint_id],
            checkpoint_id=one.checkpoint_id,
            parent_id=one.parent_id,
            parent=numbers.get(one.parent_id or ""),
            step="?" if one.step is None else f"{one.step}",
            source=one.source,
            created_at=one.created_at,
            depth=row.depth,
            forks=row.forks,
            changes=", ".join(f"{name} {change}" for name, change in row.changes.items()),
            next_nodes=one.next_nodes,
            metadata=one.metadata,
            waits=bool(one.interrupts) and not one.is_answered,
            failed=bool(one.errors),
            damaged=bool(one.damages),
            writes=[
                Write(write.channel, write.task_id, self._plain_part(write.value))
                for write in one.writes
            ],
            state=[
                Channel(name, _text(found), _length(found) if is_list else None, "")
                for name, (found, is_list) in state.items()
            ]
            + [Channel(name, "", None, why) for name, why in damaged.items()],
            differences=[*_differences(before or {}, state, damaged)] if is_known else [],
        )

    def _first_rows(self) -> dict[int, Row]:
        """For each part the first checkpoint of the root graph that has it."""
        found: dict[int, Row] = {}
        roots = [namespace for namespace in self.namespaces if namespace.name == ""]
        for row in sorted(roots[0].rows, key=lambda row: row.checkpoint_id) if roots else ():
            for ranges, _ in self._states["", row.checkpoint_id].values():
                for first, last in ranges:
                    if first not in found or last not in found:
                        for number in range(first, last + 1):
                            found.setdefault(number, row)
        return found


def _ranges(numbers: Iterable[int]) -> Ranges:
    found: Ranges = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found


def _numbers(ranges: Ranges) -> list[int]:
    return [number for first, last in ranges for number in range(first, last + 1)]


def _length(ranges: Ranges) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _text(ranges: Ranges) -> str:
    return " ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)


def _differences(
    before: Mapping[str, tuple[Ranges, bool]],
    after: Mapping[str, tuple[Ranges, bool]],
    damaged: Mapping[str, str],
) -> Iterable[Difference]:
    for name in dict.fromkeys([*before, *after]):
        if name in damaged or before.get(name) == after.get(name):
            continue
        old = _numbers(before[name][0]) if name in before else []
        new = _numbers(after[name][0]) if name in after else []
        start = 0
        while start < min(len(old), len(new)) and old[start] == new[start]:
            start += 1
        end = 0
        while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
            end += 1
        removed = _ranges(old[start : len(old) - end])
        added = _ranges(new[start : len(new) - end])
        yield Difference(name, _text(removed), _text(added), start + end, name not in after)


# ---- the template

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
"""Control characters, and what reverses the direction of the text that follows."""

_CLASSES = {"human", "ai", "system", "tool", "interrupted", "error", "idle"}


def shown(value: object) -> Markup:
    """Text for the page: escaped, with its unseen characters as their names."""
    return Markup(
        _UNSEEN.sub(
            lambda found: f'<span class="ctl">U+{ord(found[0]):04X}</span>', str(escape(f"{value}"))
        )
    )


def in_full(value: Any) -> str:
    """A value as indented JSON; a text as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def _count(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def render(page: Page) -> Iterable[str]:
    """The page, piece by piece."""
    folder = files(__package__)
    template, style, script = (
        (folder / name).read_text("utf-8") for name in ("page.html.j2", "page.css", "page.js")
    )
    environment = Environment(autoescape=True)
    environment.filters |= {
        "shown": shown,
        "shown_plain": lambda value: _UNSEEN.sub("\ufffd", f"{value}"),
        "in_full": in_full,
        "block_name": block_name,
        "role_class": lambda role: role if role in _CLASSES else "other",
        "when": lambda moment: when(moment, seconds=True),
        "count": _count,
    }
    return environment.from_string(template).generate(
        page=page,
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
        version=__version__,
    )


__all__: Sequence[str] = ("Page", "render")

"""A conversation as JSON lines: every change of the view (`whet_tui.view`) is one object on a line of its own.

An entry is told whole once and by what changed after that, so that whoever merges the lines has the view that the chat
draws; docs/headless.md describes them. The values are those of `whet_tui.entries`, under the same names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, Final

from whet_agent.events import Envelope
from whet_agent.json_object import JsonObject, JsonView
from whet_tui.entries import Entry
from whet_tui.json_lines import json_line
from whet_tui.view import View

_UNTOLD: Final = frozenset({"heard", "earlier"})
"""Of use to a screen alone: where a reconnect goes on, and the draft before this one, which was told already."""
_GROWS: Final = "text"
"""The one field that is told by what was added to its end."""


class StreamPrinter:
    """Tells a conversation as JSON lines."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.view = View()
        self._write = write
        self._stamp: JsonObject = {}
        self._told: dict[str, JsonObject] = {}
        self._status: JsonObject = {}
        self._turns: JsonObject = {"running": [], "waiting": []}
        self._cards: set[str] = set()

    def hear(self, envelope: Envelope) -> None:
        """Fold an envelope in and tell what it changed."""
        self._stamp = _stamp(envelope)
        self._tell(self.view.apply(envelope))

    def resumed(self, last: Envelope) -> None:
        """Tell what was folded into the view unheard, as it now stands. `last` is what was folded in last."""
        self._stamp = _stamp(last)
        self._tell(self.view.entries)

    def complain(self, number: int, what: str) -> None:
        """Tell that a line of the input was not understood."""
        self._line("error", line=number, message=what)

    def _tell(self, changed: Sequence[Entry]) -> None:
        self._tell_status()
        self._tell_rewound()
        for entry in changed:
            self._tell_entry(entry)
        self._tell_turns()
        self._tell_cards()

    def _line(self, kind: str, **values: object) -> None:
        self._write(json_line({"type": kind} | self._stamp | values))

    def _tell_status(self) -> None:
        status = plain(self.view.status)
        if status != self._status:
            self._line("status", set=difference(self._status, status)[0])
            self._status = status

    def _tell_rewound(self) -> None:
        if gone := [key for key in self._told if key not in self.view.places]:
            self._line("rewound", keys=gone)
            for key in gone:
                del self._told[key]

    def _tell_entry(self, entry: Entry) -> None:
        now, before = plain(entry), self._told.get(entry.key)
        self._told[entry.key] = now
        if before is None:
            self._line(type(entry).__name__.lower(), **now)
        elif now != before:
            replaced, grown = difference(before, now)
            parts = {"set": replaced, "append": grown}
            self._line("change", key=entry.key, **{name: part for name, part in parts.items() if part})

    def _tell_turns(self) -> None:
        waiting = [{"turn": said.turn, "text": said.text} for said in self.view.waiting]
        turns: JsonObject = {"running": list(self.view.turns[:1]), "waiting": waiting}
        if turns != self._turns:
            self._turns = turns
            self._line("turns", **turns)

    def _tell_cards(self) -> None:
        for approval_id in sorted(self._cards - self.view.cards.keys()):
            self._line("approval_closed", approval_id=approval_id)
        for card in self.view.cards.values():
            if card.approval_id not in self._cards:
                self._line("approval", **plain(card))
        self._cards = set(self.view.cards)


def plain(value: object) -> Any:
    """A value of the view as JSON-ready data."""
    if is_dataclass(value):
        return {name: plain(getattr(value, name)) for name in _names(value.__class__)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value.value if isinstance(value, Enum) else value


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name not in _UNTOLD)


def difference(before: JsonView, now: JsonView) -> tuple[JsonObject, JsonObject]:
    """Return what was replaced and what was added to the end of texts, both as nested as the value is."""
    replaced: JsonObject = {}
    grown: JsonObject = {}
    for name, value in now.items():
        old = before.get(name)
        if name in before and value == old:
            continue
        if isinstance(value, dict) and isinstance(old, dict):
            inner, added = difference(old, value)
            replaced |= {name: inner} if inner else {}
            grown |= {name: added} if added else {}
        elif name == _GROWS and isinstance(old, str) and value.startswith(old):
            grown[name] = value[len(old) :]
        else:
            replaced[name] = value
    return replaced, grown


def _stamp(envelope: Envelope) -> JsonObject:
    """The sequence, and the time as RFC 3339 in UTC to the millisecond."""
    moment = datetime.fromtimestamp(envelope.time_ns / 1e9, UTC)
    return {
        "sequence": envelope.sequence,
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }

"""Put tool calls together from the pieces in which servers stream them.

The protocol says: the first piece of a call brings its index, id and name, later ones the index and a stretch of
arguments. Servers differ: the index is always 0 or missing, the id is missing or repeated in every piece, the name is
repeated, the arguments come as an object, or grow from the start each time.
"""

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from whet_agent.conversation import NOT_JSON, ToolRequest
from whet_agent.json_object import JsonView

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

ID_BYTES: Final = 5
"""Makes nine letters and digits: the strictest servers want exactly that."""


@dataclass(slots=True)
class _Slot:
    """A call as far as it has come."""

    call_id: str = ""
    name: str = ""
    arguments: str = ""

    @property
    def complete(self) -> bool:
        try:
            json.loads(self.arguments)
        except ValueError:
            return False
        return True

    def grow(self, name: str, arguments: str) -> None:
        if name and not self.name.endswith(name):
            self.name += name
        if len(arguments) > 1 and self.arguments and arguments.startswith(self.arguments):
            self.arguments = arguments  # a server that sends everything so far each time
        else:
            self.arguments += arguments


@dataclass(slots=True)
class Assembler:
    """Takes pieces in the order of the stream."""

    _slots: list[_Slot] = field(default_factory=list)
    _by_index: dict[int, _Slot] = field(default_factory=dict)
    _open: _Slot | None = None

    def feed(self, piece: JsonView) -> None:
        """Take a piece: `index`, `id` and `function` with `name` and `arguments`, each of which may be missing."""
        function = piece.get("function") or {}
        name, given = str(function.get("name") or ""), function.get("arguments")
        arguments = given if isinstance(given, str) else json.dumps(given) if given is not None else ""
        slot = self._slot(piece.get("index"), str(piece.get("id") or ""), name, arguments)
        slot.grow(name, arguments)

    def finish(self) -> tuple[ToolRequest, ...]:
        """Return the calls with ids that are unique and arguments that are a JSON object, whatever came."""
        taken: set[str] = set()
        requests = []
        for slot in self._slots:
            if not (slot.name or slot.arguments):
                continue
            call_id = slot.call_id
            if call_id in taken or not _SAFE_ID.fullmatch(call_id):
                call_id = secrets.token_hex(ID_BYTES)[:9]
            taken.add(call_id)
            requests.append(ToolRequest(call_id=call_id, name=slot.name, arguments=_whole(slot.arguments)))
        return tuple(requests)

    def _slot(self, index: int | None, call_id: str, name: str, arguments: str) -> _Slot:
        slot = self._by_index.get(index) if index is not None else self._open
        if call_id:
            known = next((other for other in self._slots if other.call_id == call_id), None)
            if known is not None and not _begins_anew(known, name, arguments):
                slot = known
            elif slot is None or slot.call_id or slot.complete:
                slot = self._new()
        elif slot is None or _begins_anew(slot, name, arguments):
            slot = self._new()
        slot.call_id = slot.call_id or call_id
        if index is not None:
            self._by_index[index] = slot
        self._open = slot
        return slot

    def _new(self) -> _Slot:
        slot = _Slot()
        self._slots.append(slot)
        return slot


def _begins_anew(slot: _Slot, name: str, arguments: str) -> bool:
    """Whether a piece that fits a call by its place starts another one: a name again, after whole arguments."""
    if not (name and slot.name and slot.complete):
        return False
    return name != slot.name or not (arguments == "" or arguments.startswith(slot.arguments))


def _whole(arguments: str) -> str:
    """Return arguments that every server can read again: broken ones are kept as a string, for the mind to see."""
    try:
        parsed = json.loads(arguments or "{}")
    except ValueError:
        parsed = None
    if isinstance(parsed, str):  # encoded twice
        return _whole(parsed)
    return json.dumps(parsed if isinstance(parsed, dict) else {NOT_JSON: arguments}, ensure_ascii=False)

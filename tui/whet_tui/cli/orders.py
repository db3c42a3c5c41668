"""What can be said to a conversation in JSON lines: one object a line."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from whet_tui.safe import safe_line

_SHOWN: Final = 120
"""Characters of a wrong line that are told again, so that it can be found."""


class BadOrder(ValueError):
    """The line cannot be understood. `str()` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A message: a turn of its own."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Steer:
    """Words into the running turn."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """An answer to an open question. With arguments it is no, and the call is made with them and asks anew."""

    approval_id: str
    digest: str
    grant: bool
    reason: str
    arguments_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End the running turn."""


Order: TypeAlias = User | Steer | Decide | Cancel

_FIELDS: Final[Mapping[str, Mapping[str, type]]] = {
    "user": {"text": str},
    "steer": {"text": str},
    "decide": {"approval_id": str, "digest": str, "decision": str, "reason": str, "arguments": dict},
    "cancel": {},
}
_DECISIONS: Final = ("grant", "reject", "edit")
_OPTIONAL: Final = frozenset({"reason", "arguments"})


def order_of(line: str) -> Order:
    """Read one line. Raises `BadOrder`."""
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadOrder(f"this is no JSON: {safe_line(line, _SHOWN)}") from error
    kind = given.get("type") if isinstance(given, dict) else None
    known = _FIELDS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise BadOrder(f'an object with a "type" of {", ".join(_FIELDS)} is needed, not {safe_line(line, _SHOWN)}')
    _check(kind, given, known)
    match kind:
        case "user":
            return User(text=given["text"])
        case "steer":
            return Steer(text=given["text"])
        case "decide":
            return _decide(given)
        case _:
            return Cancel()


def _check(kind: Any, given: Mapping[str, Any], known: Mapping[str, type]) -> None:
    for name, value in given.items():
        if name != "type" and name not in known:
            raise BadOrder(f"{kind} has no field {safe_line(name, _SHOWN)!r}; it has: {', '.join(known) or 'none'}")
        if name in known and not isinstance(value, known[name]):
            raise BadOrder(f"{kind}: {name} must be {'an object' if known[name] is dict else 'text'}")
    if missing := [name for name in known if name not in given and name not in _OPTIONAL]:
        raise BadOrder(f"{kind}: {', '.join(missing)} is missing")
    if "text" in known and not given["text"].strip():
        raise BadOrder(f"{kind}: text is empty")


def _decide(given: Mapping[str, Any]) -> Decide:
    decision = given["decision"]
    if decision not in _DECISIONS:
        raise BadOrder(f"decide: decision must be {', '.join(_DECISIONS)}")
    if ("arguments" in given) != (decision == "edit"):
        raise BadOrder("decide: edit, and only edit, takes arguments: all that the call shall have in place of its own")
    return Decide(
        approval_id=given["approval_id"],
        digest=given["digest"],
        grant=decision == "grant",
        reason=given.get("reason", ""),
        arguments_json=json.dumps(given["arguments"]) if "arguments" in given else "",
    )

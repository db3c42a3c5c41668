"""Which keys do what: collected from the bindings of all screens and widgets, with what `[keys]` says instead.

Loads every screen: call it after the first frame, and only for somebody who asks.
"""

import inspect
import pkgutil
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import KEY_TO_UNICODE_NAME, Keys, key_to_character

from whet_tui.schema import nearest

_ROOMS: Final = ("whet_tui.screens", "whet_tui.widgets")
_APPLICATION: Final = "whet_tui.application"
_MODIFIERS: Final = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
_NAMED: Final = frozenset({key.value for key in Keys} | {f"f{number}" for number in range(1, 25)})
_IN_THE_CHAT: Final = frozenset({"card", "composer", "find", "offer", "transcript"})
"""Parts of the chat's screen: their keys are pressed in the same place."""
_IN_EACH_PLACE: Final = "place"
"""What each place but the chat has."""
_TYPED: Final = frozenset({"enter", "space", "tab", "backspace"})
"""Keys that write, send or complete, like letters: an action that has none of these by itself cannot get one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One action and its keys. `place` is the id up to the dot; `everywhere`: it works in every place."""

    id: str
    keys: tuple[str, ...]
    about: str
    everywhere: bool = False

    @property
    def place(self) -> str:
        return self.id.partition(".")[0]

    @property
    def screen(self) -> str:
        """Where its keys are pressed."""
        return "chat" if self.place in _IN_THE_CHAT else self.place

    def meets(self, other: "Bound") -> set[str]:
        """The keys that would do two things."""
        screens = {self.screen, other.screen}
        apart = len(screens) > 1 and (_IN_EACH_PLACE not in screens or "chat" in screens)
        together = self.everywhere or other.everywhere or not apart
        return set(self.keys) & set(other.keys) if together else set()


def bindings() -> Iterator[tuple[type[DOMNode], Binding]]:
    """Yield every binding of ours with the class that has it."""
    names = [_APPLICATION]
    for room in _ROOMS:
        names += [f"{room}.{each.name}" for each in pkgutil.iter_modules(import_module(room).__path__)]
    for name in names:
        for _, kind in inspect.getmembers(import_module(name), inspect.isclass):
            if kind.__module__ == name and issubclass(kind, DOMNode):
                yield from (
                    (kind, binding) for binding in vars(kind).get("BINDINGS", ()) if isinstance(binding, Binding)
                )


@lru_cache(1)
def known() -> Mapping[str, Bound]:
    """Every action by its id, with the keys it has by itself."""
    found = {}
    for kind, binding in bindings():
        if binding.id:
            found[binding.id] = Bound(
                id=binding.id,
                keys=_split(binding.key),
                about=binding.description,
                everywhere=issubclass(kind, App),
            )
    return found


def effective(changed: Mapping[str, str]) -> Mapping[str, Bound]:
    """Every action with the keys it has now. `changed` has passed `checked`."""
    return {
        name: replace(bound, keys=_split(changed[name])) if name in changed else bound
        for name, bound in known().items()
    }


def checked(changed: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return what of `[keys]` can be had, and a complaint about each that cannot."""
    taken, complaints = {}, []
    for name, keys in changed.items():
        if fault := _fault(name, keys):
            complaints.append(f"keys.{name}: {fault}")
        else:
            taken[name] = ",".join(_split(keys))
    for name, fault in _clashes(taken).items():
        complaints.append(f"keys.{name}: {fault}")
        del taken[name]
    return taken, complaints


def changed_in(app: "App[Any]") -> Mapping[str, str]:
    """The keys that were changed in the running application."""
    from whet_tui.application import ChatApp  # which imports the screens that ask

    return app.keys if isinstance(app, ChatApp) else {}


def _fault(name: str, keys: str) -> str:
    bound = known().get(name)
    if bound is None:
        return f"no action has this name. {nearest(name, known())}"
    for key in _split(keys):
        if not _is_key(key):
            return f"{key!r} is no key. Write it as ctrl+s, alt+x, f2 or ctrl+down, several with commas between."
        if _is_typed(key) and not any(map(_is_typed, bound.keys)):
            return f"{key!r} is needed for writing. Add ctrl+ or alt+, or take a function key."
    return ""


def _clashes(taken: Mapping[str, str]) -> dict[str, str]:
    """The changes that would give a key a second meaning, and which one it has."""
    all_bound, found = effective(taken), {}
    for name in taken:
        for other in all_bound.values():
            if other.id != name and other.id not in found and (both := all_bound[name].meets(other)):
                found[name] = f"{', '.join(sorted(both))} is {other.id} already ({other.about})."
    return found


def _split(keys: str) -> tuple[str, ...]:
    return tuple(key.strip() or key for key in keys.split(","))


def _is_key(key: str) -> bool:
    *modifiers, name = key.split("+")
    if not name or set(modifiers) - _MODIFIERS:
        return False
    if len(name) == 1 or name in _NAMED:
        return True
    try:
        unicodedata.lookup(KEY_TO_UNICODE_NAME.get(name, name.replace("_", " ")))
    except KeyError:
        return False
    return True


def _is_typed(key: str) -> bool:
    letter = key_to_character(key)
    return key in _TYPED or (letter is not None and letter.isprintable())


def spelled(key: str) -> str:
    """A key as people write it: `Ctrl+Y`, `F1`, `PageUp`; a letter alone as it is typed, because `x` is not `X`."""
    return key if len(key) == 1 else "+".join(_SPELLED.get(part, part.capitalize()) for part in key.split("+"))


_SPELLED: Final = {
    "pageup": "PageUp",
    "pagedown": "PageDown",
    "escape": "Esc",
    "question_mark": "?",
    "slash": "/",
    "right_square_bracket": "]",
}

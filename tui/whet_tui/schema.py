"""Every setting of the terminal, once: reading, complaints, docs/configuration.md and the settings screen are made from
these tables.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeAlias, TypeVar, cast

Value: TypeAlias = str | bool | int | float

_T = TypeVar("_T", str, bool, int, float)
_META: Final = "setting"
_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
}
NANOS_PER_DOLLAR: Final = 1_000_000_000
KEYS: Final = "keys"
"""The table that gives actions other keys: its keys are the ids of bindings, not settings."""
SERVERS: Final = ("endpoint", "judge", "panel", "server", "synthesiser", "telemetry")
"""What else stands at the top of the file: the server reads and checks it. A test holds this equal to the server's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: what it may be and what it does."""

    key: str
    """As it is written: `chat.theme`."""
    default: Value
    about: str
    reader: str
    """Who reads it."""
    choices: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    """The values most people want, where others are allowed too."""
    least: float | None = None
    at_once: bool = False
    """Whether a change in the settings screen is felt at once; else at the next start."""

    @property
    def table(self) -> str:
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        return self.key.partition(".")[2]

    @property
    def expected(self) -> str:
        """What may stand there, in words."""
        if self.choices:
            return "one of " + ", ".join(f'"{choice}"' for choice in self.choices)
        kind = _KINDS[type(self.default)]
        return kind if self.least is None else f"{kind} of at least {self.least:g}"

    def fits(self, value: object) -> bool:
        """Whether the value may stand there. A whole number is a number; true and false are none."""
        match self.default, value:
            case bool(), bool():
                return True
            case str(), str():
                return value in self.choices or not self.choices
            case (bool(), _) | (_, bool()):
                return False
            case ((int() | float()), (int() | float())):
                whole = isinstance(value, int) or isinstance(self.default, float)
                return whole and (self.least is None or value >= self.least)
            case _:
                return False

    def parsed(self, text: str) -> Value | None:
        """The value that a person typed, or None when it does not fit."""
        text = text.strip()
        value: Value
        if isinstance(self.default, str):
            value = text
        else:
            try:
                value = json.loads(text.removeprefix("$"))
            except ValueError:
                return None
        return value if self.fits(value) else None


def _set(default: _T, about: str, *, reader: str = "the chat", **more: Any) -> _T:
    """A field of a table with what the schema says of it."""
    made: _T = field(default=default, metadata={_META: {"about": about, "reader": reader, **more}})
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTable:
    """`[chat]`: the screen and the conversation on it."""

    theme: str = _set(
        "dark",
        "The colours: dark, light, ansi (the terminal's own sixteen), or the name of a Textual theme",
        suggestions=("dark", "light", "ansi"),
        at_once=True,
    )
    reduced_motion: bool = _set(
        False, "Clocks are drawn once a second and nothing glides; TEXTUAL_ANIMATIONS=none does the same", at_once=True
    )
    plain: bool = _set(False, "Append-only lines in place of the screen, as --plain; so do ACCESSIBLE=1 and TERM=dumb")
    editor: str = _set("", "The editor that writes messages and arguments; without it VISUAL, then EDITOR, then vi")
    history: bool = _set(True, "Keep what you sent, so that Up finds it in later sessions")
    paste_lines: int = _set(15, "A paste of more lines than this stands in the composer as one placeholder", least=1)
    approval_mode: str = _set(
        "ask",
        "How a new session answers what needs a yes; `allowance` lets what only spends pass while its money lasts",
        choices=("ask", "allowance", "read_only"),
    )
    rater: str = _set("", "The name under which you rate answers in the terminal; without it your login name")
    allowance: float = _set(1.0, "Dollars that a session may spend unasked in the mode `allowance`", least=0)

    @property
    def allowance_nanos(self) -> int:
        return round(self.allowance * NANOS_PER_DOLLAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class MindTable:
    """`[mind]`: the model that decides which tools the agent calls. It must support tool calling."""

    base_url: str = _set(
        "", "The OpenAI-compatible API of the mind; one given here may do without a key", reader="the agent"
    )
    api_key_env: str = _set("OPENAI_API_KEY", "The environment variable that holds its key", reader="the agent")
    model: str = _set(
        "", "The mind as endpoint/model, an endpoint of the server by which its money is counted", reader="the agent"
    )
    context_tokens: int = _set(
        0,
        "The mind's window in tokens, by which long conversations are compacted; 0: what most have, 128,000",
        reader="the agent",
        least=0,
    )


TABLES: Final[Mapping[str, type]] = {"chat": ChatTable, "mind": MindTable}


def _all() -> Iterator[Setting]:
    for table, kind in TABLES.items():
        for each in fields(kind):
            yield Setting(key=f"{table}.{each.name}", default=cast("Value", each.default), **each.metadata[_META])


SETTINGS: Final[Mapping[str, Setting]] = {setting.key: setting for setting in _all()}


def nearest(word: str, known: Iterable[str]) -> str:
    """What may have been meant, as the end of a complaint."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {near[0]}?" if near else f"It knows: {', '.join(known)}."

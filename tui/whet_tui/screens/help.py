"""Keys and commands."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from whet_tui.safe import safe_line
from whet_tui.widgets.ink import ink_of

KEYS: Final = (
    ("Enter", "send; while a turn runs, the message waits its turn"),
    ("Ctrl+J", "new line (Shift+Enter and Alt+Enter where the terminal tells them apart)"),
    ("Up, Down", "earlier and later messages, at the edge of the text"),
    ("Tab", "complete a command"),
    ("Esc", "cancel the running turn"),
    ("Ctrl+O", "unfold or fold the last answer in view to its branches (or click its headline)"),
    ("PageUp, PageDown", "scroll; Ctrl+End follows the end again"),
    ("Ctrl+Y, Ctrl+N", "approve or reject what the agent asks for, while a card is open"),
    ("Ctrl+R", "take up an earlier conversation"),
    ("Ctrl+C", "copy what is selected; else clear the line; else, twice, quit"),
    ("Ctrl+D", "quit, when nothing is typed"),
    ("F1", "this help"),
    ("¹ ²·³ ⁰", "behind a sentence: the branches that say it; ⁰ means that none does"),
)

_COLUMN: Final = 20


class HelpScreen(ModalScreen[None]):
    """Shows what can be pressed and typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f1,enter,question_mark,ctrl+c,ctrl+d", "dismiss", "Close")
    ]

    def __init__(self, commands: Mapping[str, str], *, keys: Sequence[tuple[str, str]] = KEYS) -> None:
        super().__init__()
        self._keys = keys
        self._commands = commands

    def compose(self) -> ComposeResult:
        ink = ink_of(self.app.current_theme)
        text = Text()
        for key, meaning in self._keys:
            text.append(f"{key} ".ljust(_COLUMN), ink.accent)
            text.append(meaning + "\n")
        text.append("\n")
        for name, summary in self._commands.items():
            text.append(f"/{name}".ljust(_COLUMN), ink.accent)
            text.append(safe_line(summary) + "\n")
        text.append("\nEsc closes this.", ink.muted)
        with VerticalScroll(id="help"):
            yield Static(text)

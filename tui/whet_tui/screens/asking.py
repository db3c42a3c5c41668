"""A few lines to fill in before something is done: other settings for a sweep, a file to write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from whet_tui.safe import safe_line
from whet_tui.widgets.in_order import Line
from whet_tui.widgets.ink import ink_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One line: what belongs there, and what stands there at first."""

    label: str
    value: str = ""


class AskedLine(Line):
    """A line from which Up and Down lead to the others."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab,down", "app.focus_next", "Next line", show=False, id="asking.next"),
        Binding("shift+tab,up", "app.focus_previous", "Line before", show=False, id="asking.previous"),
    ]


class AskingScreen(ModalScreen[tuple[str, ...] | None]):
    """Dismissed with what stands in the lines, or with nothing. Enter goes on, in the last line it does what was asked
    for, if `check` finds nothing wrong.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "Leave everything as it is", id="asking.leave"),
    ]

    def __init__(self, title: str, words: str, fields: Sequence[Field], check: Callable[[Sequence[str]], str]) -> None:
        """`check` says what is wrong with the lines, in words; nothing when they are right."""
        super().__init__()
        self._title = title
        self._words = words
        self._fields = fields
        self._check = check

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="asking", can_focus=False):
            yield Static(id="asking-words")
            for place, field in enumerate(self._fields):
                yield Static(Text(safe_line(field.label, 140)), classes="asking-label")
                yield AskedLine(
                    value=safe_line(field.value, 1_000), id=f"asking-{place}", compact=True, max_length=1_000
                )
            yield Static(id="asking-fault")

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._write())
        self._write()
        for line in self._lines:
            line.cursor_blink = False
        self._lines[0].focus()

    @property
    def _lines(self) -> list[AskedLine]:
        return list(self.query(AskedLine))

    def _write(self) -> None:
        ink = ink_of(self.app.current_theme)
        words = Text.assemble((safe_line(self._title, 140), ink.you), f"\n{self._words}")
        words.append("\nEnter in the last line does it, Esc leaves everything as it is.", ink.muted)
        self.query_one("#asking-words", Static).update(words)

    @on(Input.Submitted)
    def _go_on(self, event: Input.Submitted) -> None:
        event.stop()
        lines = self._lines
        place = next(place for place, line in enumerate(lines) if line is event.input)
        if place + 1 < len(lines):
            lines[place + 1].focus()
            return
        values = tuple(line.value.strip() for line in lines)
        if fault := self._check(values):
            ink = ink_of(self.app.current_theme)
            self.query_one("#asking-fault", Static).update(Text(safe_line(fault, 300), ink.bad))
        else:
            self.dismiss(values)

    def action_leave(self) -> None:
        self.dismiss(None)

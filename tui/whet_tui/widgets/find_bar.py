"""One line to look for words in the conversation."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Static

from whet_tui.messages import Sought
from whet_tui.widgets.in_order import Line


class FindBar(Horizontal):
    """Takes the words and tells what is wanted; the transcript finds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down", "step(1)", "Next", id="find.next", priority=True),
        Binding("shift+enter,up", "step(-1)", "Previous", id="find.previous", priority=True),
    ]

    def __init__(self, words: str = "") -> None:
        super().__init__(id="find")
        self._words = words

    def compose(self) -> ComposeResult:
        yield Static("find", id="find-label")
        yield Line(
            self._words, compact=True, id="find-words", placeholder="words · Enter next · Up before · Esc closes"
        )
        yield Static(id="find-count")

    def on_mount(self) -> None:
        words = self.query_one(Input)
        words.cursor_blink = False
        words.focus()

    def focus_words(self) -> None:
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(Sought(event.value))

    def action_step(self, step: int) -> None:
        self.post_message(Sought(self.query_one(Input).value, step))

    def tell(self, place: int, count: int) -> None:
        """Say which of how many is in view."""
        found = f"{place} of {count}" if count else "not found"
        self.query_one("#find-count", Static).update(found if self.query_one(Input).value else "")

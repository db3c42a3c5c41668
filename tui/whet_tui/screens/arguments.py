"""Change the arguments of a call that waits for a yes."""

import json
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from whet_tui.entries import Card
from whet_tui.safe import exact_json, safe_line
from whet_tui.widgets.in_order import Page


class ArgumentsScreen(ModalScreen[str]):
    """Dismissed with the changed arguments, or with nothing: leaving, or saving what is as it was, decides nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Ask with these arguments", id="arguments.save"),
        Binding("escape", "leave", "Leave them as they are", id="arguments.leave"),
    ]

    def __init__(self, card: Card) -> None:
        super().__init__()
        self._card = card
        self._left = ""
        """The changed text that was to be left once already."""

    def compose(self) -> ComposeResult:
        with Vertical(id="arguments"):
            yield Static(
                f"Arguments of {safe_line(self._card.tool, 60)}. Ctrl+S asks anew with them, with their own cost; "
                "Esc leaves them as they are. Neither approves anything.",
                markup=False,
            )
            yield Page(exact_json(self._card.arguments_json), compact=True, show_line_numbers=False)
            yield Static(id="arguments-fault", markup=False)

    def on_mount(self) -> None:
        area = self.query_one(TextArea)
        area.cursor_blink = False
        area.focus()

    def action_save(self) -> None:
        text = self.query_one(TextArea).text
        try:
            arguments = json.loads(text)
        except ValueError as error:
            self._fault(f"This is no JSON: {error}.")
            return
        if not isinstance(arguments, dict):
            self._fault("Arguments are a JSON object: {…}.")
            return
        same = arguments == json.loads(self._card.arguments_json)
        self.dismiss("" if same else json.dumps(arguments, ensure_ascii=False))

    def action_leave(self) -> None:
        """Leave; what was changed is dropped at the second time only."""
        text = self.query_one(TextArea).text
        if text in (self._left, exact_json(self._card.arguments_json)):
            self.dismiss("")
        else:
            self._left = text
            self._fault("Esc again drops your changes; Ctrl+S asks with them.")

    def _fault(self, text: str) -> None:
        self.query_one("#arguments-fault", Static).update(text)

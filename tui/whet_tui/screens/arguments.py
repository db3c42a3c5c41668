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


class ArgumentsScreen(ModalScreen[str]):
    """Dismissed with the changed arguments, or with nothing: leaving, or saving what is as it was, decides nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Ask with these arguments", id="arguments.save", priority=True),
        Binding("escape", "leave", "Leave them as they are", id="arguments.leave", priority=True),
    ]

    def __init__(self, card: Card) -> None:
        super().__init__()
        self._card = card

    def compose(self) -> ComposeResult:
        with Vertical(id="arguments"):
            yield Static(
                f"Arguments of {safe_line(self._card.tool, 60)}. Ctrl+S asks anew with them, with their own cost; "
                "Esc leaves them as they are. Neither approves anything.",
                markup=False,
            )
            yield TextArea(exact_json(self._card.arguments_json), compact=True, show_line_numbers=False)
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
        self.dismiss("")

    def _fault(self, text: str) -> None:
        self.query_one("#arguments-fault", Static).update(text)

"""Pick the message to go back to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from whet_tui.entries import Said
from whet_tui.files import without_attachments
from whet_tui.safe import safe_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """Where to go back to. `fork`: in a copy, and this conversation stays as it is."""

    turn: int
    fork: bool


class RewindScreen(ModalScreen[Back | None]):
    """Lists what the person said, the latest chosen. Dismissed with nothing when the person stays."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "Stay", id="rewind.leave"),
        Binding("f", "fork", "Fork before the message", id="rewind.fork"),
    ]

    def __init__(self, said: Sequence[Said]) -> None:
        super().__init__()
        self._said = said

    def compose(self) -> ComposeResult:
        with Vertical(id="rewind"):
            yield Static(
                "Enter goes back to before a message and takes it up for editing, f does so in a copy, Esc stays."
            )
            yield OptionList(*(Option(_line(said), id=str(said.turn)) for said in self._said))

    def on_mount(self) -> None:
        self.query_one(OptionList).highlighted = len(self._said) - 1

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(Back(turn=int(event.option.id or 0), fork=False))

    def action_fork(self) -> None:
        place = self.query_one(OptionList).highlighted
        if place is not None:
            self.dismiss(Back(turn=self._said[place].turn, fork=True))

    def action_leave(self) -> None:
        self.dismiss(None)


def _line(said: Said) -> Text:
    return Text(f"{said.turn:>4}  {safe_line(without_attachments(said.text), 200)}", no_wrap=True, overflow="ellipsis")

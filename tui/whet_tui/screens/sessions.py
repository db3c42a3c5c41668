"""Pick an earlier conversation."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from whet_tui.safe import safe_line

if TYPE_CHECKING:
    from whet_agent.session import SessionSummary


class SessionsScreen(ModalScreen[str]):
    """Dismissed with the id of the session that was picked, or with nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c,ctrl+r", "leave", "Close", id="sessions.close")]

    def __init__(self, sessions: "Sequence[SessionSummary]") -> None:
        super().__init__()
        self._sessions = sessions

    def compose(self) -> ComposeResult:
        with Vertical(id="sessions"):
            yield Static("Enter takes a conversation up, Esc stays in this one.")
            yield OptionList(*(Option(_line(summary), id=summary.session_id) for summary in self._sessions))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id or "")

    def action_leave(self) -> None:
        self.dismiss("")


def _line(summary: "SessionSummary") -> Text:
    used = datetime.fromtimestamp(summary.last_used).astimezone().strftime("%Y-%m-%d %H:%M")
    turns = f"{summary.turns} turn{'s' * (summary.turns != 1)}"
    return Text(f"{used}  {turns:>9}  {safe_line(summary.title, 80)}", no_wrap=True)

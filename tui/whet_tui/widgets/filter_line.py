"""A line to filter a list by words. It is there while it has the focus or words."""

from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from whet_tui.widgets.in_order import Line


class FilterLine(Line):
    """Tells when its words change, and when the person is done with it."""

    DEFAULT_CSS = "FilterLine { height: 1; border: none; padding: 0 1; } FilterLine:focus { border: none; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "clear_all", "Clear", show=False, id="filter.clear")]

    class Filtered(Message):
        """The words have changed."""

    class Left(Message):
        """The focus belongs to the list again."""

    def __init__(self, what: str) -> None:
        super().__init__(placeholder=f"filter by {what}; Enter keeps it, Esc clears it", id="filter")
        self.display = False

    @property
    def words(self) -> frozenset[str]:
        """What must be found, in small letters."""
        return frozenset(self.value.lower().split())

    def open(self) -> None:
        self.display = True
        self.focus()

    def action_clear_all(self) -> None:
        self.value = ""
        self._leave()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Filtered())

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._leave()

    def _leave(self) -> None:
        self.display = bool(self.value)
        self.post_message(self.Left())

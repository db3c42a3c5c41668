"""The one question before a hold-out is opened for good."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from whet_tui.safe import safe_line
from whet_tui.widgets.approval_tray import GRACE
from whet_tui.widgets.in_order import Line
from whet_tui.widgets.ink import ink_of

if TYPE_CHECKING:
    from whet_tui.dataset_values import Dataset

_MEANS: Final = (
    "Once and for good, on the record. The {rows} of its hold-out can be read from then on, by judges and agents too, "
    "and every later version counts them as seen. Nothing closes it again: what is measured on rows that somebody has "
    "looked at proves less.\n"
)
_REASON: Final = 1000
"""Letters of a reason that the server takes."""


class SealScreen(ModalScreen[str]):
    """Dismissed with the reason, or with nothing: the seal stays. It opens for somebody who has given a reason and
    typed the data set's name, and hears nothing at first: keys that were already on their way are no decision.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "Leave the seal as it is", id="datasets.keep_seal"),
        Binding("tab,down,shift+tab,up", "app.focus_next", "Reason or name", show=False, id="datasets.seal_field"),
    ]

    def __init__(self, dataset: "Dataset", rows: int) -> None:
        """`rows`: how many are under the seal."""
        super().__init__()
        self._dataset = dataset
        self._rows = rows
        self.shown_at = float("inf")
        """When the dialog was there to be read, on the clock of key events."""

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="seal", can_focus=False):
            yield Static(id="seal-words")
            yield _Field("why, for the record; Enter goes on", self.hears, id="seal-reason", most=_REASON)
            yield _Field(f"type {self._dataset.name} to open it; Enter opens", self.hears, id="seal-name", most=100)
            yield Static(id="seal-fault")

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._write())
        self._write()
        self.query_one("#seal-reason").focus()
        self.call_after_refresh(self._shown)

    def _shown(self) -> None:
        """Begin the time in which nothing is heard, now that the words can be read."""
        self.shown_at = time.monotonic()

    def hears(self, pressed_at: float) -> bool:
        return pressed_at - self.shown_at >= GRACE

    def _write(self) -> None:
        ink, data = ink_of(self.app.current_theme), self._dataset
        rows = f"{self._rows:,} row{'s' * (self._rows != 1)}"
        words = Text.assemble(
            (f"Open the seal of {safe_line(data.name, 100)}@{data.version}?\n", ink.you),
            _MEANS.format(rows=rows),
            ("Enter in the second line opens it, Esc leaves it as it is.", ink.muted),
        )
        self.query_one("#seal-words", Static).update(words)

    @on(Input.Submitted)
    def _go_on(self, event: Input.Submitted) -> None:
        event.stop()
        reason, name = self.query_one("#seal-reason", Input), self.query_one("#seal-name", Input)
        if not reason.value.strip():
            reason.focus()
            self._fault("Say why: the reason stays on the record.")
        elif event.input is reason:
            name.focus()
        elif name.value.strip() != self._dataset.name:
            self._fault(f"That is not {self._dataset.name}. The seal is as it was.")
        else:
            self.dismiss(reason.value.strip())

    def _fault(self, words: str) -> None:
        self.query_one("#seal-fault", Static).update(Text(safe_line(words), ink_of(self.app.current_theme).bad))

    def action_leave(self) -> None:
        self.dismiss("")


class _Field(Line):
    """A line that is deaf to keys and pastes until somebody could have read what stands above it."""

    def __init__(self, what: str, hears: Callable[[float], bool], *, id: str, most: int) -> None:  # noqa: A002 -- Textual's own name
        super().__init__(placeholder=safe_line(what, 140), id=id, max_length=most, compact=True)
        self._hears = hears

    def on_mount(self) -> None:
        self.cursor_blink = False

    async def _on_key(self, event: events.Key) -> None:
        if event.key != "escape" and not self._hears(event.time):
            event.stop()
            event.prevent_default()

    def _on_paste(self, event: events.Paste) -> None:
        if not self._hears(event.time):
            event.stop()
            event.prevent_default()

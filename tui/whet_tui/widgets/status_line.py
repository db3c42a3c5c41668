"""One line about the session: who thinks, where, what it has cost, what is under way."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from rich.cells import cell_len
from rich.text import Text
from textual.theme import Theme
from textual.widget import Widget

from whet_tui.commands import MODES
from whet_tui.entries import Status, dollars, money_line
from whet_tui.safe import safe_line
from whet_tui.widgets.ink import Ink, ink_of

_SEPARATOR: Final = " · "
_SECOND: Final = 1_000_000_000


class StatusLine(Widget):
    """Draws a status; what does not fit is left out from the least telling on."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        super().__init__()
        self._now_ns = now_ns
        self._status = Status()
        self._starting = ""
        self._doing = ""
        self._turn = 0
        self._since_ns = 0
        self._hint = ""
        self._ink: Ink | None = None

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self._on_theme)

    def _on_theme(self, theme: Theme) -> None:
        self._ink = ink_of(theme)
        self.refresh()

    def tell(self, status: Status) -> None:
        """Draw the status anew if it is another one: it is told with every token."""
        if status != self._status:
            self._status = replace(status, money=replace(status.money))
            self.refresh()

    def start(self, what: str) -> None:
        """Say what is being started; empty when the session is there."""
        self._starting = what
        self.refresh()

    def work(self, doing: str, turn: int = 0) -> None:
        """Say what is under way in which turn, since now if either is new; empty when nothing is."""
        if (doing, turn) != (self._doing, self._turn):
            self._doing, self._turn, self._since_ns = doing, turn, self._now_ns()
            self.refresh()

    def hint(self, text: str) -> None:
        """Say something instead of everything else, until the next call."""
        if text != self._hint:
            self._hint = text
            self.refresh()

    def render(self) -> Text:
        ink = self._ink = self._ink or ink_of(self.app.current_theme)
        if self._hint:
            return Text(self._hint, ink.warning, no_wrap=True)
        if self._starting:
            return Text(safe_line(self._starting), ink.accent, no_wrap=True)
        doing = f"{self._doing} {(self._now_ns() - self._since_ns) // _SECOND} s" if self._doing else ""
        mind = safe_line(self._status.mind, 40)
        left: list[str] = [self._mode(), *([] if doing else [mind])]
        right: list[str] = [doing, money_line(self._status.money)]
        optional: list[tuple[str, list[str], int]] = [
            (mind if doing else "", left, 1),
            (self._filled(), right, 1),
            (safe_line(self._status.title, 40), left, 2),
            (self._tokens(), right, 1),
            (self._panel(), left, 3),
            (safe_line(self._status.server, 60), left, 4),
        ]
        width = self.size.width
        for part, side, place in optional:
            if part and _length([*left, *right, part]) + 2 <= width:
                side.insert(place, part)
        line, end = _SEPARATOR.join(part for part in left if part), _SEPARATOR.join(part for part in right if part)
        gap = max(1, width - cell_len(line) - cell_len(end))
        end_style = ink.accent if doing else ink.muted
        return Text.assemble((line + " " * gap, ink.muted), (end, end_style), no_wrap=True, end="")

    def _mode(self) -> str:
        """How calls that need a yes are answered, and under an allowance what is left of it."""
        status = self._status
        name = MODES.get(status.mode, status.mode)
        if status.mode != "allowance":
            return f"mode {name}"
        money = status.money
        left = status.allowance_nanos - money.settled - money.unknown - money.reserved
        return f"{name} {dollars(max(0, left))} of {dollars(status.allowance_nanos)} left"

    def _filled(self) -> str:
        """How full the mind's window is. Of a window nobody knows no share is given: it would lie."""
        used, window = self._status.context_tokens, self._status.context_window
        if not used:
            return ""
        return f"context {_short(used)} of {_short(window)}" if window else f"context {_short(used)}"

    def _tokens(self) -> str:
        return f"{self._status.input_tokens} + {self._status.output_tokens} tokens"

    def _panel(self) -> str:
        panel = self._status.panel
        return f"panel: {safe_line(', '.join(panel), 60)}" if panel else ""


def _short(count: int) -> str:
    return f"{count // 1000}k" if count >= 10_000 else str(count)


def _length(parts: list[str]) -> int:
    return sum(cell_len(part) + len(_SEPARATOR) for part in parts if part)

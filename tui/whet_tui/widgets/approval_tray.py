"""What waits for the person's yes, above the composer. It never takes the focus: only chords answer it, so that
typing cannot.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from whet_tui.entries import Card, dollars, with_amounts
from whet_tui.safe import exact_json, safe_line
from whet_tui.widgets.ink import ink_of

GRACE: Final = 0.5
"""Seconds during which a card that has just appeared hears nothing: a key that was already on its way is no decision.
"""

KEYS: Final = "Ctrl+Y approve · Ctrl+N reject · Ctrl+Up/Down scroll"

_FEWEST_ROWS: Final = 2
_OTHER_ROWS: Final = 5
"""Rows of the tray that are not arguments: frame, tool, facts."""

_DIGEST: Final = 12
"""Digits of the digest that are shown: enough to compare by eye with `whet approval list`."""


class ApprovalTray(Vertical):
    """Shows the oldest open card whole: tool, exact arguments, worst cost, digest, expiry."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.can_focus = False
        self._card: Card | None = None
        self._shown_at = 0.0
        self._clock = clock

    def compose(self) -> ComposeResult:
        yield Static(id="card-head")
        body = VerticalScroll(Static(id="card-arguments"), id="card-body")
        body.can_focus = False
        yield body

    def on_mount(self) -> None:
        self.display = False
        self.border_title = "May the agent do this?"

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """Let the arguments scroll in what the conversation and the composer can spare."""
        rows = max(_FEWEST_ROWS, self.screen.size.height // 2 - _OTHER_ROWS)
        self.query_one("#card-body", VerticalScroll).styles.max_height = rows

    @property
    def card(self) -> Card | None:
        """The card in view."""
        return self._card

    @property
    def listening(self) -> bool:
        """Whether a chord may decide now."""
        return self._card is not None and self._clock() - self._shown_at >= GRACE

    def deafen(self) -> None:
        """Start the grace anew: the person has just come back to the terminal."""
        self._shown_at = self._clock()

    def show(self, cards: Mapping[str, Card]) -> None:
        """Show the oldest of the open cards, or nothing."""
        card = next(iter(cards.values()), None)
        if card != self._card:
            self._card = card
            self.deafen()
            self.display = card is not None
            if card is not None:
                self._write(card)
        self.border_subtitle = KEYS + (f" · 1 of {len(cards)}" if len(cards) > 1 else "")

    def scroll_arguments(self, lines: int) -> None:
        self.query_one("#card-body", VerticalScroll).scroll_relative(y=lines, animate=False)

    def _write(self, card: Card) -> None:
        self._fit()
        ink = ink_of(self.app.current_theme)
        facts = f"{card.effect} · {_worst(card)} · expires {_local(card.expires_at)} · digest {card.digest[:_DIGEST]}"
        self.query_one("#card-head", Static).update(
            Text.assemble(
                (safe_line(card.tool, 60), ink.you),
                (f"  {safe_line(card.summary, 200)}\n", ""),
                (safe_line(facts), ink.warning),
            )
        )
        self.query_one("#card-arguments", Static).update(
            Text(with_amounts(exact_json(card.arguments_json)), overflow="fold")
        )
        self.query_one("#card-body", VerticalScroll).scroll_home(animate=False)


def _local(stamp: str) -> str:
    """A time as the person's clock shows it; what is no time is shown as it is."""
    try:
        return datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return stamp


def _worst(card: Card) -> str:
    if card.worst_cost_nanos:
        return f"at most {dollars(card.worst_cost_nanos)}"
    return "price unknown" if card.effect == "spends" else "costs nothing"

"""What waits for the person's yes, above the composer. It never takes the focus: only chords answer it, so that
typing cannot.
"""

import time
from collections.abc import Callable, Mapping, Sequence
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
"""Seconds during which cards that have just appeared or changed hear nothing: a key that was already on its way is no
decision.
"""

_FEWEST_ROWS: Final = 2
_FRAME: Final = 2

_DIGEST: Final = 12
"""Digits of the digest that are shown: enough to compare by eye with `whet approval list`."""


class ApprovalTray(Vertical):
    """Shows one open card whole (tool, exact arguments, worst cost, digest, expiry) and how many more there are."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.can_focus = False
        self._cards: Sequence[Card] = ()
        self._chosen = ""
        self._said: dict[str, str] = {}
        """What became of a decision that is not in yet, by approval."""
        self._mode = ""
        self._keys: Mapping[str, str] = {}
        self._shown_at = 0.0
        self._clock = clock

    def compose(self) -> ComposeResult:
        yield Static(id="card-head")
        body = VerticalScroll(Static(id="card-arguments"), id="card-body")
        body.can_focus = False
        yield body
        yield Static(id="card-keys")

    def on_mount(self) -> None:
        self.display = False
        self.border_title = "May the agent do this?"
        self.app.theme_changed_signal.subscribe(self, lambda _: self._write())
        self.watch(self.query_one("#card-body"), "scroll_y", self._tell_rest, init=False)

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """Let the arguments scroll in what the conversation and the composer can spare."""
        others = sum(self.query_one(name).size.height for name in ("#card-head", "#card-keys"))
        rows = max(_FEWEST_ROWS, self.screen.size.height // 2 - _FRAME - others)
        self.query_one("#card-body", VerticalScroll).styles.max_height = rows
        self.call_after_refresh(self._tell_rest)

    @property
    def card(self) -> Card | None:
        """The card in view."""
        return next((card for card in self._cards if card.approval_id == self._chosen), None)

    @property
    def alike(self) -> Sequence[Card]:
        """The open cards that ask for the same tool as the one in view."""
        card = self.card
        return [other for other in self._cards if card is not None and other.tool == card.tool]

    def hears(self, age: float = 0.0) -> bool:
        """Whether a chord that was pressed `age` seconds ago may decide: the cards stood there long enough before it,
        and the one in view is not decided already.
        """
        return self.card is not None and self._clock() - age - self._shown_at >= GRACE and not self.pending

    @property
    def pending(self) -> bool:
        """Whether a decision on the card in view is on its way."""
        return self._said.get(self._chosen, "").startswith(_SENT)

    def deafen(self) -> None:
        """Start the grace anew: something changed before the person's eyes, or the person has just come back."""
        self._shown_at = self._clock()

    def show(self, cards: Mapping[str, Card], mode: str, keys: Mapping[str, str]) -> None:
        """Show the open cards, the oldest first unless another was chosen. `keys` names the chords."""
        listed = tuple(cards.values())
        if listed == self._cards and mode == self._mode and keys == self._keys:
            return
        changed = listed != self._cards
        self._cards, self._mode, self._keys = listed, mode, keys
        self._said = {key: said for key, said in self._said.items() if key in cards}
        if changed:
            self._appear(next(iter(cards), "") if self._chosen not in cards else self._chosen)
        else:
            self._write()

    def move(self, step: int) -> None:
        """Show the next card."""
        ids = [card.approval_id for card in self._cards]
        if len(ids) > 1:
            self._appear(ids[(ids.index(self._chosen) + step) % len(ids)])

    def sent(self, approval_id: str) -> None:
        """Say that a decision is under way."""
        self._said[approval_id] = _SENT
        self._write()

    def failed(self, approval_id: str, why: str) -> bool:
        """Say why a decision was not taken; the card may be decided again. Return whether it is still there."""
        found = any(card.approval_id == approval_id for card in self._cards)
        if found:
            self._said[approval_id] = f"The decision was not taken: {safe_line(why)}"
            self.deafen()
            self._write()
        return found

    def scroll_arguments(self, lines: int) -> None:
        self.query_one("#card-body", VerticalScroll).scroll_relative(y=lines, animate=False)

    def _appear(self, approval_id: str) -> None:
        self._chosen = approval_id
        self.display = bool(self._cards)
        self.deafen()
        if self._cards:
            self._write()
            self.query_one("#card-body", VerticalScroll).scroll_home(animate=False)
            self.call_after_refresh(self.deafen)  # the grace begins when the card can be seen

    def _write(self) -> None:
        card = self.card
        if card is None:
            return
        ink = ink_of(self.app.current_theme)
        facts = f"{card.effect} · {_worst(card)} · expires {_local(card.expires_at)} · digest {card.digest[:_DIGEST]}"
        head = Text.assemble(
            (safe_line(card.tool, 60), ink.you),
            (f"  {safe_line(card.summary, 200)}\n", ""),
            (f"{safe_line(facts)} · mode {self._mode}", ink.warning),
        )
        if said := self._said.get(card.approval_id):
            head.append(f"\n{said}", ink.accent if said == _SENT else ink.bad)
        self.query_one("#card-head", Static).update(head)
        self.query_one("#card-arguments", Static).update(
            Text(with_amounts(exact_json(card.arguments_json)), overflow="fold")
        )
        self.query_one("#card-keys", Static).update(Text(self._chords(), ink.accent))
        self._tell_rest()
        self.call_after_refresh(self._fit)  # how much the words take is known when they are laid out

    def _tell_rest(self) -> None:
        """Say how much of the arguments is below, and which of several cards this is: a scroll bar alone is missed."""
        body = self.query_one("#card-body", VerticalScroll)
        below = round(body.max_scroll_y - body.scroll_y)
        told = [f"{below} line{'s' * (below > 1)} below, {self._keys.get('scroll', '')} scroll"] if below else []
        if len(self._cards) > 1 and (card := self.card) is not None:
            told.append(f"{self._cards.index(card) + 1} of {len(self._cards)}")
        self.border_subtitle = " · ".join(told)

    def _chords(self) -> str:
        """The keys that answer, each with what it does."""
        told = [("approve", "approve"), ("reject", "reject"), ("reason", "reject, typed reason")]
        told.append(("edit", "edit"))
        if len(self._cards) > 1:
            told.append(("other", "other card"))
        if len(self.alike) > 1:
            told.append(("approve_all", f"approve all {len(self.alike)} of {_together(self.alike)}"))
        return " · ".join(f"{key} {words}" for name, words in told if (key := self._keys.get(name)))


_SENT: Final = "The decision is on its way."


def _together(cards: Sequence[Card]) -> str:
    worst = sum(card.worst_cost_nanos for card in cards)
    cost = f"at most {dollars(worst)} together"
    if any(card.effect == "spends" and not card.worst_cost_nanos for card in cards):
        cost = f"{cost}, price partly unknown" if worst else "price unknown"
    return f"{safe_line(cards[0].tool, 40)} ({cost})"


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

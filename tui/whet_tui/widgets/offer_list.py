"""What may be meant by the word that is being typed, with one that is chosen."""

from collections.abc import Callable
from typing import Final

from rich.text import Text
from textual.widgets import Static

from whet_tui.completion import NONE, Offer, Offers
from whet_tui.widgets.ink import ink_of

_COLUMN: Final = 22
_VIEW: Final = 6
"""Offers in view."""


class OfferList(Static):
    """Draws offers. It never has the focus: the screen moves the choice."""

    def __init__(self, look: Callable[[str, str], Offers]) -> None:
        """`look` finds what may be meant, by the whole text and what stands before the cursor."""
        super().__init__(id="offer")
        self._look = look
        self._declined = ""
        """The text for which nothing is offered."""
        self.offers = NONE
        self.moved = False
        """Whether the person chose."""
        self._chosen = 0

    def on_mount(self) -> None:
        self.display = False
        self.app.theme_changed_signal.subscribe(self, lambda _: self._write())

    @property
    def chosen(self) -> Offer | None:
        """The offer that would be taken."""
        return self.offers.found[self._chosen] if self.offers.found else None

    def follow(self, text: str, before: str) -> None:
        """Offer what may be meant now. Most keys change nothing here, and then nothing is laid out anew."""
        offers = NONE if text == self._declined else self._look(text, before)
        if offers != self.offers:
            self.offers, self._chosen, self.moved = offers, 0, False
            self.display = bool(offers.found)
            self._write()

    def decline(self, text: str) -> None:
        """Offer nothing until the text is another one."""
        self._declined = text
        self.follow(text, "")

    def move(self, step: int) -> None:
        """Choose the next one, round the end."""
        self._chosen = (self._chosen + step) % max(1, len(self.offers.found))
        self.moved = True
        self._write()

    def _write(self) -> None:
        ink = ink_of(self.app.current_theme)
        text = Text(no_wrap=True, overflow="ellipsis")
        found = self.offers.found
        top = max(0, min(self._chosen - _VIEW // 2, len(found) - _VIEW))
        for place, offer in enumerate(found[top : top + _VIEW], top):
            chosen = place == self._chosen
            text.append("› " if chosen else "  ", ink.accent)
            text.append(offer.text.ljust(_COLUMN), ink.you if chosen else ink.accent)
            text.append(f" {offer.detail}\n", ink.muted)
        if len(found) > _VIEW:
            text.append(f"  {self._chosen + 1} of {len(found)}: Up and Down choose, Tab takes", ink.muted)
        text.rstrip()
        self.update(text)

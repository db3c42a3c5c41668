"""Where the person writes."""

from typing import ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets.text_area import Edit, EditResult, Location

from whet_tui.history import History
from whet_tui.messages import Submitted, TakeBack, Typed
from whet_tui.pastes import Pastes
from whet_tui.widgets.in_order import Page
from whet_tui.widgets.offer_list import OfferList

_NEWLINES: Final = frozenset({"ctrl+j", "shift+enter", "alt+enter"})
"""Ctrl+J works in every terminal; the others where the terminal tells them from Enter."""


class Composer(Page):
    """A text area that sends on Enter, breaks lines on Ctrl+J, keeps long pastes aside and remembers what was sent."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Take the offer", id="composer.complete", show=False),
        Binding("ctrl+e", "unfold_paste", "Show a paste whole, or go to the end of the line", id="composer.paste"),
    ]

    def __init__(self, history: History, paste_lines: int, offers: OfferList) -> None:
        super().__init__(soft_wrap=True, compact=True, placeholder="Ask something, or type / for commands")
        self.cursor_blink = False  # a blinking cursor wakes the process twice a second for nothing
        self.highlight_cursor_line = False
        self.queued = False
        """Whether messages wait that can be taken back."""
        self._history = history
        self._offers = offers
        self._recalled: int | None = None
        self._unsent = ""
        self._pastes = Pastes(paste_lines)

    @property
    def before(self) -> str:
        """What stands before the cursor in its line."""
        row, column = self.cursor_location
        return self.document.get_line(row)[:column]

    @property
    def whole(self) -> str:
        """The text with every paste in its place."""
        return self._pastes.expanded(self.text)

    def write(self, text: str) -> None:
        """Replace the text and put the cursor behind it."""
        self._pastes.clear()
        self.load_text(self._pastes.shortened(text, own=True))
        self.move_cursor(self.document.end)
        self.scroll_cursor_visible()

    def action_complete(self) -> None:
        """Take the offer; without one go to the conversation."""
        if not self._take_offer(firm=False):
            self.screen.focus_next()

    def _take_offer(self, *, firm: bool) -> bool:
        """Put the chosen offer, if any, in the place of the word at the cursor. `firm`: only one that was chosen
        by hand or without which the word means nothing.
        """
        self._offers.follow(self.text, self.before)  # keys can be faster than the list
        offers, chosen = self._offers.offers, self._offers.chosen
        if chosen is None or (firm and not (offers.firm or self._offers.moved)):
            return False
        row, column = self.cursor_location
        self.replace(f"{chosen.text} ", (row, offers.start), (row, column), maintain_selection_offset=False)
        return True

    def take(self) -> Submitted | None:
        """Take the message out of the composer and into the history; None when there is nothing."""
        typed, whole = self.text, self.whole
        if not typed.strip():
            return None
        self._history.add(whole.rstrip())
        self._recalled = None
        self.write("")
        return Submitted(whole.strip(), typed.strip())

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            if not self._take_offer(firm=True) and (message := self.take()) is not None:
                self.post_message(message)
        elif event.key in _NEWLINES:
            event.stop()
            event.prevent_default()
            self.insert("\n")

    async def _on_paste(self, event: events.Paste) -> None:
        text = event.text.replace("\r\n", "\n").replace("\r", "\n")
        await super()._on_paste(events.Paste(self._pastes.shortened(text)))
        event.prevent_default()
        event.stop()

    def edit(self, edit: Edit) -> EditResult:
        """Every change comes through here: one that would cut a placeholder in two takes or spares the whole of it."""
        start, end = sorted((edit.from_location, edit.to_location))
        if start == end:
            start = end = self._outside(start, after=True)
        else:
            start, end = self._outside(start, after=False), self._outside(end, after=True)
        if (start, end) == tuple(sorted((edit.from_location, edit.to_location))):
            return super().edit(edit)
        return super().edit(Edit(edit.text, start, end, edit.maintain_selection_offset))

    def _outside(self, location: Location, *, after: bool) -> Location:
        """The location itself, or the edge of the placeholder that it is inside of."""
        row, column = location
        for start, end in self._pastes.spans(self.document.get_line(row)):
            if start < column < end:
                return row, end if after else start
        return location

    def undo(self) -> None:
        self.move_cursor(
            (0, 0)
        )  # TextArea measures itself before it moves the cursor, which may stand in lines now gone
        super().undo()

    def redo(self) -> None:
        self.move_cursor((0, 0))  # the same
        super().redo()

    def action_unfold_paste(self) -> None:
        """Put the paste at the cursor into the text; without one go to the end of the line."""
        row, column = self.cursor_location
        line = self.document.get_line(row)
        for start, end in self._pastes.spans(line):
            if start <= column <= end:
                text = self._pastes.expanded(line[start:end])
                self.replace(text, (row, start), (row, end), maintain_selection_offset=False)
                return
        self.action_cursor_line_end()

    def on_text_area_changed(self) -> None:
        self.post_message(Typed(self.text, self.before))

    def action_cursor_up(self, select: bool = False) -> None:  # noqa: FBT001, FBT002 -- the signature of TextArea
        sent = self._history.sent
        if self._offers.chosen is not None and not select:
            self._offers.move(-1)
        elif not select and self.queued and not self.text:
            self.post_message(TakeBack())
        elif not select and self.cursor_at_first_line and sent and self._recalled != 0:
            self._recall(len(sent) - 1 if self._recalled is None else self._recalled - 1)
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:  # noqa: FBT001, FBT002 -- the signature of TextArea
        if self._offers.chosen is not None and not select:
            self._offers.move(1)
        elif not select and self.cursor_at_last_line and self._recalled is not None:
            self._recall(self._recalled + 1)
        else:
            super().action_cursor_down(select)

    def _recall(self, place: int) -> None:
        """Show a message of the history; behind the last one stands what had not been sent."""
        if self._recalled is None:
            self._unsent = self.whole
        sent = self._history.sent
        self._recalled = place if place < len(sent) else None
        self.write(self._unsent if self._recalled is None else sent[place])
        self._offers.decline(self.text)  # the arrow keys go on through the history

"""Where the person writes."""

from typing import ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from whet_tui.messages import Submitted, Typed

_NEWLINES: Final = frozenset({"ctrl+j", "shift+enter", "alt+enter"})
"""Ctrl+J works in every terminal; the others where the terminal tells them from Enter."""


class Composer(TextArea):
    """A text area that sends on Enter, breaks lines on Ctrl+J and remembers what was sent."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "screen.complete", "Complete a command", show=False, id="composer.complete")
    ]

    def __init__(self) -> None:
        super().__init__(soft_wrap=True, compact=True, placeholder="Ask something, or type / for commands")
        self.cursor_blink = False  # a blinking cursor wakes the process twice a second for nothing
        self.highlight_cursor_line = False
        self._sent: list[str] = []
        self._recalled: int | None = None
        self._unsent = ""

    def remember(self, text: str) -> None:
        """Put a message into the history, unless it is the one that was put there last."""
        if text and self._sent[-1:] != [text]:
            self._sent.append(text)
        self._recalled = None

    def write(self, text: str) -> None:
        """Replace the text and put the cursor behind it."""
        self.load_text(text)
        self.move_cursor(self.document.end)
        self.scroll_cursor_visible()

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self._send()
        elif event.key in _NEWLINES:
            event.stop()
            event.prevent_default()
            self.insert("\n")
        else:
            await super()._on_key(event)

    def on_text_area_changed(self) -> None:
        self.post_message(Typed(self.text))

    def action_cursor_up(self, select: bool = False) -> None:  # noqa: FBT001, FBT002 -- the signature of TextArea
        if not select and self.cursor_at_first_line and self._sent and self._recalled != 0:
            self._recall(len(self._sent) - 1 if self._recalled is None else self._recalled - 1)
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:  # noqa: FBT001, FBT002 -- the signature of TextArea
        if not select and self.cursor_at_last_line and self._recalled is not None:
            self._recall(self._recalled + 1)
        else:
            super().action_cursor_down(select)

    def _recall(self, place: int) -> None:
        """Show a message of the history; behind the last one stands what had not been sent."""
        if self._recalled is None:
            self._unsent = self.text
        self._recalled = place if place < len(self._sent) else None
        self.write(self._unsent if self._recalled is None else self._sent[place])

    def _send(self) -> None:
        text = self.text.strip()
        if text:
            self.remember(text)
            self.load_text("")
            self.post_message(Submitted(text))

"""The part of the chat that looks through the conversation, and takes something of it along."""

from typing import TYPE_CHECKING

from textual import work

from whet_tui.messages import Sought
from whet_tui.screens.conversing import ConversingScreen
from whet_tui.surroundings import Surroundings

if TYPE_CHECKING:
    from whet_tui.widgets.find_bar import FindBar


class ReadingScreen(ConversingScreen):
    """Scrolls, unfolds, finds, copies, saves."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._find_bar: FindBar | None = None

    def action_unfold(self) -> None:
        self._transcript.action_unfold()

    def action_page(self, direction: int) -> None:
        height = max(1, self._transcript.size.height - 2)
        self._transcript.scroll_relative(y=direction * height, animate=False)

    def action_follow(self) -> None:
        self._transcript.follow()

    def action_find(self) -> None:
        self.find("")

    def find(self, words: str) -> None:
        """Open the line to look for words."""
        self._open_find(words)

    @work(group="find", exclusive=True)
    async def _open_find(self, words: str) -> None:
        from whet_tui.widgets.find_bar import FindBar  # its input is not needed for the first frame

        if self._find_bar is None:
            self._find_bar = FindBar(words)
            await self.mount(self._find_bar, after=self._transcript)
        else:
            self._find_bar.focus_words()

    def on_sought(self, message: Sought) -> None:
        if self._find_bar is not None:
            self._find_bar.tell(*self._transcript.find(message.words, message.step))

    def _close_find(self) -> None:
        if self._find_bar is not None:
            self._find_bar.remove()
            self._find_bar = None
        self._transcript.find("", 0)
        self._composer.focus()

    def copy_answer(self) -> None:
        text = self._view.last_answer() if self._view is not None else ""
        if text:
            self.app.copy_to_clipboard(text)
        self._status.hint("copied" if text else "There is no answer yet.")

    def save(self, name: str) -> None:
        """Write the conversation to a new file."""
        path = self._around.root / (name or f"{self.session_id or 'conversation'}.md")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(self._transcript.source())
        except OSError as error:
            self._status.hint(f"Not saved: {path}: {error.strerror}.")
        else:
            self._status.hint(f"saved as {path}")

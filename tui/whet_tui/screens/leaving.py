"""The part of the chat that leaves, for good or for another conversation."""

import asyncio
from typing import Final

from textual import work

from whet_tui.screens.conversing import ConversingScreen
from whet_tui.surroundings import Surroundings

NEW: Final = "new"
"""With what the application is left, in place of a session's id, when a new conversation is to begin."""
_PARTING: Final = 3.0
"""Seconds a session gets to give up its lease before the screen goes without it."""


class LeavingScreen(ConversingScreen):
    """Closes the session, then leaves the application with the id of the session that is to be taken up, if any."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._closed_session = False
        self._loss_told = ""
        """Of what loss the person was told."""

    def take_up(self, session_id: str) -> None:
        """Leave for another conversation."""
        self._leave(session_id)

    def action_interrupt(self) -> None:
        """Copy what is selected, else clear what is typed, else quit at the second press."""
        selected = self.get_selected_text() or self._composer.selected_text
        if selected:
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
            self._status.hint("copied")
        elif self._composer.text:
            self._composer.write("")
        elif self._twice("leave", "Press Ctrl+C again to quit; the session can be taken up again."):
            self.action_leave()

    def action_leave_empty(self) -> None:
        if self._composer.text:
            self._composer.action_delete_right()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        self._leave("")

    def begin_anew(self) -> None:
        """Leave for a new conversation."""
        self._leave(NEW)

    @work(group="leave", exclusive=True)
    async def _leave(self, other: str) -> None:
        """Close the session, then leave; to another one if it is named. What would be lost is told first."""
        loss = getattr(self.app, "unsaved", "")
        if loss != self._loss_told:
            self._loss_told = loss
            if loss:
                self._warn(f"{loss}, and would be lost: leave once more, or wait until the server is back (Alt+7).")
                return
        await self.close_session()
        self.app.exit(other)

    def _warn(self, words: str) -> None:
        """Say it where the person is."""
        tell = getattr(self.app.screen, "tell", self._status.hint)
        tell(words)

    async def close_session(self) -> None:
        """Give up the lease and the connections, however one leaves: a session left open keeps the process alive."""
        if self._session is not None and not self._closed_session:
            self._closed_session = True
            try:
                async with asyncio.timeout(_PARTING):
                    await self._session.close()
            except TimeoutError:
                pass  # the lease dies with the process

"""The part of the chat that arranges the session: modes and money, the mind's window, titles, forks, going back."""

import re
from collections.abc import Awaitable
from decimal import Decimal
from typing import Final

from textual import work
from textual.worker import Worker

from whet_tui.bridge import ChatSession
from whet_tui.commands import MODES
from whet_tui.entries import Said
from whet_tui.files import without_attachments
from whet_tui.screens.leaving import LeavingScreen
from whet_tui.surroundings import Surroundings

_ALLOWANCE: Final = "/allowance $"


class ArrangingScreen(LeavingScreen):
    """Passes on what the person arranges, and says why if it is refused."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._aimed = ""
        """The mode that Shift+Tab has come to and that the session has not told yet, or that lacks its amount."""
        self._compacting: Worker[None] | None = None

    def action_next_mode(self) -> None:
        """Go to the next approval mode. The allowance asks for its amount the first time."""
        if self._view is None:
            return
        modes = list(MODES)
        status = self._view.status
        mode = modes[(modes.index(self._aimed or status.mode) + 1) % len(modes)]
        if self._composer.text == _ALLOWANCE:
            self._composer.write("")
        self._aimed = mode
        if mode == "allowance" and not status.allowance_nanos:
            if not self._composer.text:
                self._composer.write(_ALLOWANCE)
            self._status.hint("Allowance: send /allowance with an amount. Shift+Tab again: read only.")
        else:
            self._status.hint("")
            self.set_mode(mode)

    def set_mode(self, name: str) -> None:
        """Change how calls that need a yes are answered."""
        if self._session is None or self._view is None:
            return
        nanos = self._view.status.allowance_nanos
        match name.replace("-", "_").replace(" ", "_"):
            case "ask":
                self._arrange(self._session.set_mode("ask", nanos))
            case "read_only":
                self._arrange(self._session.set_mode("read_only", nanos))
            case "allowance" if nanos:
                self._arrange(self._session.set_mode("allowance", nanos))
            case "allowance":
                self._status.hint("Send /allowance with an amount: /allowance $1")
            case _:
                self._status.hint("Modes: /mode ask, /mode allowance, /mode read-only")

    def set_allowance(self, amount: str) -> None:
        """Let what only spends pass up to this amount, for the whole session."""
        nanos = _nanos(amount)
        if self._session is None or not nanos:
            self._status.hint("An amount in dollars: /allowance $1")
            return
        self._arrange(self._session.set_mode("allowance", nanos))

    def compact(self) -> None:
        if self._session is not None and self._compacting is None:
            self._compacting = self._compact(self._session)
            self._show_work()

    @work(group="compact")
    async def _compact(self, session: ChatSession) -> None:
        try:
            await self._try(session.compact())
        finally:
            self._compacting = None
            self._show_work()

    def read_whole(self) -> None:
        if self._session is not None:
            self._arrange(self._session.expand())

    def rename(self, title: str) -> None:
        if not title:
            self._status.hint("A title: /rename TITLE")
        elif self._session is not None:
            self._arrange(self._session.rename(title), "renamed")

    def fork(self, turn: int) -> None:
        """Leave for a copy of this conversation up to a turn, the whole of it for 0."""
        if self._session is not None:
            self._fork(self._session, turn)

    @work(group="arrange")
    async def _fork(self, session: ChatSession, turn: int) -> None:
        forked = await self._asked(session.fork(turn))
        if forked is not None:
            self._leave(forked)

    @work(group="arrange")
    async def _arrange(self, asked: Awaitable[object], done: str = "") -> None:
        await self._try(asked, done)

    async def _try(self, asked: Awaitable[object], done: str = "") -> None:
        async def doing() -> str:
            await asked
            return done

        if await self._asked(doing()):
            self._status.hint(done)

    def action_rewind(self) -> None:
        self._go_back()

    @work(group="rewind", exclusive=True)
    async def _go_back(self) -> None:
        """Let the person pick the message to go back to; it comes back into the composer."""
        session, view = self._session, self._view
        if session is None or view is None:
            return
        said = [entry for entry in view.entries if isinstance(entry, Said) and not entry.steering]
        if view.busy or not said:
            self._status.hint("Esc cancels the turn first." if view.busy else "Nothing was said yet.")
            return
        from whet_tui.screens.rewind import RewindScreen  # not needed for the first frame

        back = await self.app.push_screen_wait(RewindScreen(said))
        if back is None:
            return
        if back.fork:
            self._fork(session, back.turn)
            return
        text = await self._asked(session.rewind(back.turn))
        if text is not None:
            self._composer.write(without_attachments(text))


def _nanos(amount: str) -> int:
    """Dollars as they are typed, in nanos; 0 for what is no amount."""
    found = re.fullmatch(r"\$?\s*(\d{1,6}(?:\.\d{1,9})?)", amount.strip())
    return int(Decimal(found[1]) * 1_000_000_000) if found else 0

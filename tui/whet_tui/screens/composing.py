"""The part of the chat that sends: messages, what waits to be sent, what is offered while the person types."""

import asyncio
import time
from typing import Final

from rich.text import Text
from textual import events, work
from textual.app import SuspendNotSupported
from textual.widgets import Static

from whet_tui.bridge import ChatSession
from whet_tui.completion import Known, Offers, offered, own_commands
from whet_tui.entries import Said
from whet_tui.files import listed, without_attachments
from whet_tui.mentions import spelled_out
from whet_tui.messages import Submitted, TakeBack, Typed
from whet_tui.safe import safe_line
from whet_tui.screens.conversing import ConversingScreen
from whet_tui.surroundings import NotEdited, Surroundings, edited
from whet_tui.widgets.offer_list import OfferList

_QUEUED: Final = 3
"""Waiting messages in view."""
_FRESH: Final = 15.0
"""Seconds for which files, runs and models that were listed are offered without asking again."""


class ComposingScreen(ConversingScreen):
    """Passes on what the person says, in the order in which it was said."""

    _offers: OfferList

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._unsent: list[Submitted] = []
        self._waiting: list[str] = []
        self._known = Known(commands=own_commands())
        self._learnt = 0.0
        self._sending = asyncio.Lock()

    def action_steer(self) -> None:
        """Say what is typed into the running turn; without one it is sent like any message."""
        message = self._composer.take()
        if message is None:
            self._status.hint("Type what to say into the running turn first.")
        elif self._session is None or self._view is None or not self._view.busy:
            self.post_message(message)
        else:
            self._post(self._session, message, steer=True)

    def steer(self, words: str) -> None:
        """Say words into the running turn."""
        if self._session is None or self._view is None or not self._view.busy:
            self._status.hint("No turn is running: send it as a message.")
        elif words:
            self._post(self._session, Submitted(words, words), steer=True)

    @work(group="send")
    async def _post(self, session: ChatSession, message: Submitted, *, steer: bool = False) -> None:
        await self._post_in_order(session, message, steer=steer)

    async def _post_in_order(self, session: ChatSession, message: Submitted, *, steer: bool = False) -> None:
        """Send; what is said later does not overtake a message whose files are still being read."""
        async with self._sending:
            text = message.text
            if "@" in text:
                await self._learn_files()
                text = await asyncio.to_thread(
                    spelled_out, text, message.typed, self._around.root, frozenset(self._known.files)
                )
            await (session.steer(text) if steer else session.send(text))

    def _show_queue(self) -> None:
        """Show what has been sent and is not yet in the conversation."""
        waiting = [without_attachments(said.text) for said in self._view.waiting] if self._view is not None else []
        waiting += [message.text for message in self._unsent]
        if waiting == self._waiting:
            return
        self._waiting = waiting
        self._composer.queued = bool(waiting)
        queue = self.query_one("#queue", Static)
        queue.display = bool(waiting)
        room = max(10, self.size.width - 10)
        lines = [f"waits: {safe_line(text, room)}" for text in waiting[:_QUEUED]]
        if len(waiting) > _QUEUED:
            lines.append(f"and {len(waiting) - _QUEUED} more")
        lines.append("Up takes the last one back")
        queue.update(Text("\n".join(lines)))

    def on_take_back(self, message: TakeBack) -> None:
        if self._unsent:
            self._composer.write(self._unsent.pop().text)
            self._show_queue()
        elif self._session is not None and self._view is not None and self._view.waiting:
            self._take_back(self._session, self._view.waiting[-1])

    @work(group="take-back", exclusive=True)
    async def _take_back(self, session: ChatSession, said: Said) -> None:
        if await session.withdraw(said.turn):
            self._composer.write(without_attachments(said.text))
        else:
            self._status.hint("It is under way already.")

    def _look(self, text: str, before: str) -> Offers:
        return offered(text, before, self._known)

    def on_typed(self, message: Typed) -> None:
        self._offers.follow(message.text, message.before)
        if "@" in message.before or (message.text.startswith("/") and " " in message.before):
            self._learn()

    @work(group="learn", exclusive=True)
    async def _learn(self) -> None:
        """Find out what can be named, and offer it if it is still being typed."""
        if time.monotonic() - self._learnt < _FRESH:
            return
        self._learnt = time.monotonic()
        await self._learn_files()
        if self._session is not None:
            self._known.named = await self._around.ask()
        self._offers.follow(self._composer.text, self._composer.before)

    async def _learn_files(self) -> None:
        self._known.files = await asyncio.to_thread(listed, self._around.root)

    def on_key(self, event: events.Key) -> None:
        """A letter typed while the conversation has the focus belongs to the composer."""
        if event.is_printable and event.character is not None and self.focused is not self._composer:
            self._composer.focus()
            self._composer.insert(event.character)

    def action_edit_outside(self) -> None:
        self._edit_outside()

    @work(group="edit", exclusive=True)
    async def _edit_outside(self) -> None:
        """Write the message in the person's own editor. What the session tells meanwhile is heard, and drawn after."""
        if not self._around.editor:
            self._status.hint("No editor is named: set VISUAL or EDITOR.")
            return
        try:
            with self.app.batch_update(), self.app.suspend():
                text = await asyncio.to_thread(edited, self._around.editor, self._composer.whole)
        except SuspendNotSupported:
            self._status.hint("An editor cannot be opened from here.")
        except NotEdited as error:
            self._status.hint(str(error))
        else:
            self._composer.write(text)

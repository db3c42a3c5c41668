"""The chat: hears a session, draws its view, passes on what the person says and decides."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Final

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import Static

from whet_tui.bridge import ChatSession, NotOpened, Opener
from whet_tui.commands import MODES, OWN, summaries
from whet_tui.completion import all_commands
from whet_tui.entries import Call, Entry, Note
from whet_tui.greeting import greeting
from whet_tui.history import History
from whet_tui.messages import Submitted, Waiting
from whet_tui.places import BY_COMMAND
from whet_tui.screens.arranging import ArrangingScreen
from whet_tui.screens.composing import ComposingScreen
from whet_tui.screens.deciding import DecidingScreen
from whet_tui.screens.help import HelpScreen
from whet_tui.screens.reading import ReadingScreen
from whet_tui.surroundings import Surroundings
from whet_tui.themes import after
from whet_tui.widgets.approval_tray import ApprovalTray
from whet_tui.widgets.composer import Composer
from whet_tui.widgets.offer_list import OfferList
from whet_tui.widgets.status_line import StatusLine
from whet_tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from whet_tui.view import View

_CLOCK: Final = 0.25
"""Seconds between two drawings of running times; only while a turn is under way."""
_CALM_CLOCK: Final = 1.0
"""The same with reduced motion."""
_AT_ONCE: Final = 200
"""Events of a journal that are folded before keys are looked at again."""
_BACK: Final = "Press Esc again to go back to an earlier message."


class ChatScreen(DecidingScreen, ComposingScreen, ArrangingScreen, ReadingScreen):
    """One conversation. Leaves the application with the id of another session when that one is to be taken up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # Without priority, so that they do not overtake the letters that were typed before them.
        Binding("ctrl+s", "steer", "Say it into the running turn", id="chat.steer", show=False),
        Binding("shift+tab", "next_mode", "Next approval mode", id="chat.mode", show=False),
        Binding("ctrl+g", "edit_outside", "Write in your editor", id="chat.editor", show=False),
        Binding("ctrl+f", "find", "Find", id="chat.find", priority=True, show=False),
        Binding("escape", "cancel", "Cancel; twice when idle: go back", id="chat.cancel", show=False),
        Binding("ctrl+c", "interrupt", "Copy, clear or quit", id="chat.interrupt", priority=True, show=False),
        Binding("ctrl+d", "leave_empty", "Quit", id="chat.quit", priority=True, show=False),
        Binding("ctrl+o", "unfold", "Unfold", id="chat.unfold", priority=True, show=False),
        Binding("ctrl+r", "app.open_place('sessions')", "Sessions", id="chat.sessions", priority=True, show=False),
        Binding("f1", "help", "Help", id="chat.help", priority=True, show=False),
        Binding("pageup", "page(-1)", "Scroll up", id="chat.page_up", priority=True, show=False),
        Binding("pagedown", "page(1)", "Scroll down", id="chat.page_down", priority=True, show=False),
        Binding("ctrl+end", "follow", "Follow the end", id="chat.follow", priority=True, show=False),
    ]

    def __init__(self, opener: Opener, around: Surroundings, now_ns: Callable[[], int]) -> None:
        super().__init__(around)
        self._now_ns = now_ns
        self.calm = False
        """Whether clocks tick seldom."""
        self._opener = opener
        self._opening = False
        self._cancelling = False
        self._told = ""
        """What the other places were told that the conversation waits for."""
        self._rewinds = 0
        self._crashed = ""
        self._greeting = Note(key="own/greeting", level="info", text="")
        self._clock: Timer | None = None

    @property
    def session(self) -> ChatSession | None:
        """The session, once it is open."""
        return self._session

    @property
    def run_ids(self) -> Collection[str]:
        """The runs of this conversation, for other places."""
        entries = self._view.entries if self._view is not None else []
        return [entry.run_id for entry in entries if isinstance(entry, Call) and entry.run_id]

    @property
    def waits(self) -> str:
        """What the conversation waits for, for other places."""
        return "waits for your decision" if self._view is not None and self._view.cards else ""

    def compose(self) -> ComposeResult:
        yield Transcript(self._now_ns)
        yield Static(id="queue")
        yield ApprovalTray()
        self._offers = OfferList(self._look)
        yield self._offers
        yield Composer(History(self._around.history), self._around.paste_lines, self._offers)
        yield StatusLine(self._now_ns)

    def on_mount(self) -> None:
        self._transcript = self.query_one(Transcript)
        self._tray = self.query_one(ApprovalTray)
        self._composer = self.query_one(Composer)
        self._status = self.query_one(StatusLine)
        self._composer.focus()
        self.query_one("#queue").display = False
        self._keys = self._chords()
        self.call_after_refresh(self._open)

    @work(group="open")
    async def _open(self) -> None:
        """Open the session; what was typed meanwhile is sent when it is there."""
        if self._opening:
            return
        self._opening = True
        try:
            await asyncio.to_thread(import_module, "whet_tui.widgets.block")  # before there is anything to draw
            self._greet((), "")
            self._session = await self._opener(self._status.start)
        except NotOpened as error:
            self._tell("error", f"{error}\nSend a message to try again.")
            return
        finally:
            self._opening = False
            self._status.start("")
        from whet_tui.view import View  # loads the contract, which the first frame does not wait for

        self._view = View()
        self._crashed = await self._around.crashed()
        self._known.commands = all_commands(lambda: self._known.named)
        self._listen(self._session, self._view)
        unsent, self._unsent = self._unsent, []
        for message in unsent:
            await self._post_in_order(self._session, message)

    @work(group="listen")
    async def _listen(self, session: ChatSession, view: "View") -> None:
        """Fold what the session tells, as long as it tells."""
        count = 0
        async for envelope in session.events(0):
            self._heard(view, view.apply(envelope))
            count += 1
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def _heard(self, view: "View", entries: list[Entry]) -> None:
        if view.rewinds != self._rewinds:
            self._rewinds = view.rewinds
            self._transcript.cut(view.places.keys() | {self._greeting.key})
        self._transcript.hear(entries)
        self._show_queue()
        self._tray.show(view.cards, MODES.get(view.status.mode, view.status.mode), self._keys)
        self._status.tell(view.status)
        if view.status.mode == self._aimed:
            self._aimed = ""
        self._greet(view.status.panel, view.status.mind)
        self._show_work()
        if self.waits != self._told:
            self._told = self.waits
            for place in self.app.screen_stack[1:]:
                place.post_message(Waiting())

    def _greet(self, panel: Sequence[str], mind: str) -> None:
        """Say what this is and who answers, at the head of the conversation."""
        words = greeting(panel, mind, self._crashed)
        if words != self._greeting.text:
            self._greeting.text = words
            self._transcript.hear([self._greeting])

    def _show_work(self) -> None:
        view = self._view
        if view is None:
            return
        self._cancelling &= view.busy
        doing = "waits for your decision" if view.cards else "working, Esc cancels"
        if view.busy:
            self._status.work("cancelling" if self._cancelling else doing, view.turns[0])
        else:
            self._status.work("" if self._compacting is None else "compacting, Esc cancels")
        busy = view.busy or self._compacting is not None
        if busy and self._clock is None:
            self._clock = self.set_interval(_CALM_CLOCK if self.calm else _CLOCK, self._on_clock)
        elif not busy and self._clock is not None:
            self._clock.stop()
            self._clock = None

    def _on_clock(self) -> None:
        self._transcript.hear_clock()
        self._status.refresh()

    def on_submitted(self, message: Submitted) -> None:
        self._transcript.follow()
        name, _, rest = message.text.removeprefix("/").partition(" ")
        if message.text.startswith("/") and name in OWN and not (name in BY_COMMAND and rest.strip()):
            OWN[name].run(self, rest.strip())
        elif self._session is None:
            self._unsent.append(message)
            self._show_queue()
            self._open()
        else:
            self._post(self._session, message)

    def action_cancel(self) -> None:
        """Close what is open over the composer; else cancel the running turn; else, twice, go back."""
        if self._find_bar is not None:
            self._close_find()
        elif self._offers.chosen is not None:
            self._offers.decline(self._composer.text)
        elif self._session is None or self._view is None:
            return
        elif self._view.busy or self._compacting is not None:
            self._stop(self._session, self._view)
        elif self._composer.text:
            self._status.hint("Nothing runs. Ctrl+C clears what is typed.")
        elif self._view.entries and self._twice("back", _BACK):
            self.action_rewind()

    def _stop(self, session: ChatSession, view: "View") -> None:
        """End what is under way, unless the key was still meant for what had just lain over the chat."""
        if self._meant_elsewhere:
            self._status.hint("Esc cancels what is under way: press it again if you mean that.")
        elif not view.busy and self._compacting is not None:
            self._compacting.cancel()
            self._tell("info", "Cancelled: nothing was compacted.")
        elif not self._cancelling:
            self._cancelling = True
            self._show_work()
            self._cancel(session)

    @work(group="cancel")
    async def _cancel(self, session: ChatSession) -> None:
        await session.cancel()

    def action_help(self) -> None:
        own = {name: command.summary for name, command in OWN.items()}
        self.app.push_screen(HelpScreen(summaries() if self._session is not None else own))

    def open_place(self, place_id: str) -> None:
        self.call_later(self.run_action, f"app.open_place('{place_id}')")

    def change_theme(self) -> None:
        self.app.theme = after(self.app.theme)

    def complain(self, complaints: Sequence[str]) -> None:
        """Say what in the configuration was not understood."""
        self._greet((), "")  # which stands first, whoever comes first
        for complaint in complaints:
            self._tell("warning", complaint)

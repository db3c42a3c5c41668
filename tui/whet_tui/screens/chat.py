"""The chat: hears a session, draws its view, passes on what the person says and decides."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from whet_tui.bridge import ChatSession, NotOpened, Opener
from whet_tui.commands import OWN, matching, with_tools
from whet_tui.entries import Call, Entry, Note, Said
from whet_tui.greeting import greeting
from whet_tui.messages import Submitted, Typed
from whet_tui.places import BY_COMMAND
from whet_tui.safe import safe_line
from whet_tui.screens.help import HelpScreen
from whet_tui.themes import after
from whet_tui.widgets.approval_tray import ApprovalTray
from whet_tui.widgets.composer import Composer
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
_OFFERED: Final = 6
"""Commands in view while one is typed."""
_PARTING: Final = 3.0
"""Seconds a session gets to give up its lease before the screen goes without it."""


class ChatScreen(Screen[None]):
    """One conversation. Leaves the application with the id of another session when that one is to be taken up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+y", "decide(True)", "Approve the card in view", priority=True, show=False, id="chat.approve"),
        Binding("ctrl+n", "decide(False)", "Reject the card in view", priority=True, show=False, id="chat.reject"),
        Binding("ctrl+up", "scroll_card(-3)", "Scroll the card up", priority=True, show=False, id="chat.card_up"),
        Binding("ctrl+down", "scroll_card(3)", "Scroll the card down", priority=True, show=False, id="chat.card_down"),
        Binding("escape", "cancel", "Cancel the running turn", show=False, id="chat.cancel"),
        Binding("ctrl+c", "interrupt", "Copy, clear or quit", priority=True, show=False, id="chat.interrupt"),
        Binding("ctrl+d", "leave_empty", "Quit, when nothing is typed", priority=True, show=False, id="chat.leave"),
        Binding(
            "ctrl+o", "unfold", "Unfold or fold the last answer in view", priority=True, show=False, id="chat.unfold"
        ),
        Binding(
            "ctrl+r",
            "app.open_place('sessions')",
            "Take up an earlier conversation",
            priority=True,
            show=False,
            id="chat.sessions",
        ),
        Binding("f1", "help", "Keys and commands", priority=True, show=False, id="chat.help"),
        Binding("pageup", "page(-1)", "Scroll up", priority=True, show=False, id="chat.page_up"),
        Binding("pagedown", "page(1)", "Scroll down", priority=True, show=False, id="chat.page_down"),
        Binding("ctrl+end", "follow", "Go to the end and follow it", priority=True, show=False, id="chat.follow"),
    ]

    def __init__(self, opener: Opener) -> None:
        super().__init__()
        self.calm = False
        """Whether clocks tick seldom."""
        self._opener = opener
        self._session: ChatSession | None = None
        self._closed_session = False
        self._view: View | None = None
        self._opening = False
        self._unsent: list[str] = []
        self._waiting: list[str] = []
        self._offered: list[tuple[str, str]] = []
        self._cancelling = False
        self._leaving = False
        self._notes = 0
        self._greeting = Note(key="own/greeting", level="info", text="")
        self._commands: Mapping[str, str] = OWN
        self._clock: Timer | None = None

    @property
    def session_id(self) -> str:
        """The session's id, empty before there is one."""
        return self._session.session_id if self._session is not None else ""

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

    def take_up(self, session_id: str) -> None:
        """Leave for another conversation."""
        self._leave(session_id)

    def compose(self) -> ComposeResult:
        yield Transcript()
        yield Static(id="queue")
        yield ApprovalTray()
        yield Static(id="offer")
        yield Composer()
        yield StatusLine()

    def on_mount(self) -> None:
        self._transcript = self.query_one(Transcript)
        self._tray = self.query_one(ApprovalTray)
        self._composer = self.query_one(Composer)
        self._status = self.query_one(StatusLine)
        self._composer.focus()
        self.query_one("#queue").display = self.query_one("#offer").display = False
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
        self._commands = with_tools()
        self._listen(self._session, self._view)
        unsent, self._unsent = self._unsent, []
        for text in unsent:
            await self._session.send(text)

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
        self._transcript.hear(entries)
        for entry in entries:
            if isinstance(entry, Said):
                self._composer.remember(entry.text)
        self._show_queue()
        self._tray.show(view.cards)
        self._status.tell(view.status)
        self._greet(view.status.panel, view.status.mind)
        self._show_work(view)

    def _greet(self, panel: Sequence[str], mind: str) -> None:
        """Say what this is and who answers, at the head of the conversation."""
        words = greeting(panel, mind)
        if words != self._greeting.text:
            self._greeting.text = words
            self._transcript.hear([self._greeting])

    def _show_work(self, view: "View") -> None:
        """Say whether a turn is under way, and let the clock tick exactly as long as one is."""
        self._cancelling &= view.busy
        doing = "waits for your decision" if view.cards else "working, Esc cancels"
        if view.busy:
            self._status.work("cancelling" if self._cancelling else doing, view.turns[0])
        else:
            self._status.work("")
        if view.busy and self._clock is None:
            self._clock = self.set_interval(_CALM_CLOCK if self.calm else _CLOCK, self._on_clock)
        elif not view.busy and self._clock is not None:
            self._clock.stop()
            self._clock = None

    def _on_clock(self) -> None:
        self._transcript.hear_clock()
        self._status.refresh()

    def on_submitted(self, message: Submitted) -> None:
        name, _, arguments = message.text.removeprefix("/").partition(" ")
        self._transcript.follow()
        if message.text.startswith("/") and name in OWN and not (name in BY_COMMAND and arguments.strip()):
            self._run_own(name)
        elif self._session is None:
            self._unsent.append(message.text)
            self._show_queue()
            self._open()
        else:
            self._post(self._session, message.text)

    @work(group="send")
    async def _post(self, session: ChatSession, text: str) -> None:
        await session.send(text)

    def _show_queue(self) -> None:
        """Show what has been sent and is not yet in the conversation."""
        waiting = [said.text for said in self._view.waiting] if self._view is not None else []
        waiting += self._unsent
        if waiting == self._waiting:
            return
        self._waiting = waiting
        queue = self.query_one("#queue", Static)
        queue.display = bool(waiting)
        room = max(10, self.size.width - 10)
        queue.update(Text("\n".join(f"waits: {safe_line(text, room)}" for text in waiting[:3])))

    def on_typed(self, message: Typed) -> None:
        self._leaving = False
        self._status.hint("")
        self._show_offer(matching(self._commands, message.text)[:_OFFERED])

    def _show_offer(self, offered: list[tuple[str, str]]) -> None:
        """Show the commands that may be meant. Most keys change nothing here, and then nothing is laid out anew."""
        if offered != self._offered:
            self._offered = offered
            offer = self.query_one("#offer", Static)
            offer.display = bool(offered)
            offer.update(Text("\n".join(f"/{name:<18} {safe_line(summary, 80)}" for name, summary in offered)))

    def action_complete(self) -> None:
        """Complete the command that is being typed to the first that fits; else go to the conversation."""
        found = matching(self._commands, self._composer.text)
        if found:
            self._composer.write(f"/{found[0][0]} ")
        else:
            self.focus_next()

    def on_key(self, event: events.Key) -> None:
        """A letter typed while the conversation has the focus belongs to the composer."""
        if event.is_printable and event.character is not None and self.focused is not self._composer:
            self._composer.focus()
            self._composer.insert(event.character)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in {"decide", "scroll_card"}:
            return self._tray.card is not None
        return super().check_action(action, parameters)

    def on_app_focus(self, event: events.AppFocus) -> None:
        self._tray.deafen()

    def action_decide(self, grant: bool) -> None:  # noqa: FBT001 -- the argument of an action
        """Decide the card in view. Before its grace is over the chord is swallowed and nothing is decided."""
        card = self._tray.card
        if card is not None and self._session is not None and self._tray.listening:
            self._tray.deafen()
            self._decide(self._session, card.approval_id, grant=grant)

    @work(group="decide")
    async def _decide(self, session: ChatSession, approval_id: str, *, grant: bool) -> None:
        from whet_agent.client import CallError  # loaded with the session

        try:
            await session.decide(approval_id, grant=grant)
        except (CallError, LookupError) as error:
            self._tell("error", f"The decision was not taken: {error}")

    def action_scroll_card(self, lines: int) -> None:
        self._tray.scroll_arguments(lines)

    def action_cancel(self) -> None:
        if self._offered:
            self._show_offer([])
        elif self._session is not None and self._view is not None and self._view.busy and not self._cancelling:
            self._cancelling = True
            self._show_work(self._view)
            self._cancel(self._session)

    @work(group="cancel")
    async def _cancel(self, session: ChatSession) -> None:
        await session.cancel()

    def action_interrupt(self) -> None:
        """Copy what is selected, else clear what is typed, else quit at the second press."""
        selected = self.get_selected_text() or self._composer.selected_text
        if selected:
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
            self._status.hint("copied")
        elif self._composer.text:
            self._composer.load_text("")
        elif self._leaving:
            self.action_leave()
        else:
            self._leaving = True
            self._status.hint("Press Ctrl+C again to quit; the session can be taken up again.")

    def action_leave_empty(self) -> None:
        if self._composer.text:
            self._composer.action_delete_right()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        self._leave("")

    @work(group="leave", exclusive=True)
    async def _leave(self, other: str) -> None:
        """Close the session, then leave; to another one if it is named."""
        await self.close_session()
        self.app.exit(other)

    async def close_session(self) -> None:
        """Give up the lease and the connections, however one leaves: a session left open keeps the process alive."""
        if self._session is not None and not self._closed_session:
            self._closed_session = True
            try:
                async with asyncio.timeout(_PARTING):
                    await self._session.close()
            except TimeoutError:
                pass  # the lease dies with the process

    def action_unfold(self) -> None:
        self._transcript.action_unfold()

    def action_page(self, direction: int) -> None:
        height = max(1, self._transcript.size.height - 2)
        self._transcript.scroll_relative(y=direction * height, animate=False)

    def action_follow(self) -> None:
        self._transcript.follow()

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen(self._commands))

    def _run_own(self, name: str) -> None:
        if name in BY_COMMAND:
            self.call_later(self.run_action, f"app.open_place('{BY_COMMAND[name].place_id}')")
        elif name == "help":
            self.action_help()
        elif name == "copy":
            text = self._view.last_answer() if self._view is not None else ""
            if text:
                self.app.copy_to_clipboard(text)
            self._status.hint("copied" if text else "There is no answer yet.")
        elif name == "theme":
            self.app.theme = after(self.app.theme)
        else:
            self.action_leave()

    def complain(self, complaints: Sequence[str]) -> None:
        """Say what in the configuration was not understood."""
        self._greet((), "")  # which stands first, whoever comes first
        for complaint in complaints:
            self._tell("warning", complaint)

    def _tell(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """Say something of the screen's own in the conversation."""
        self._notes += 1
        self._transcript.hear([Note(key=f"own/{self._notes}", level=level, text=text)])

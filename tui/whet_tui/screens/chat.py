"""The chat: hears a session, draws its view, passes on what the person says and decides."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from rich.text import Text
from textual import events, work
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import Static

from whet_tui.bridge import ChatSession, NotOpened, Opener
from whet_tui.commands import MODES, OWN, summaries
from whet_tui.completion import Known, Offers, all_commands, offered, own_commands
from whet_tui.entries import Call, Entry, Note, Said
from whet_tui.files import listed, without_attachments
from whet_tui.greeting import greeting
from whet_tui.history import History
from whet_tui.mentions import spelled_out
from whet_tui.messages import Sought, Submitted, TakeBack, Typed
from whet_tui.places import BY_COMMAND
from whet_tui.safe import safe_line
from whet_tui.screens.deciding import DecidingScreen
from whet_tui.screens.help import HelpScreen
from whet_tui.surroundings import NotEdited, Surroundings, edited
from whet_tui.themes import after
from whet_tui.widgets.approval_tray import ApprovalTray
from whet_tui.widgets.composer import Composer
from whet_tui.widgets.offer_list import OfferList
from whet_tui.widgets.status_line import StatusLine
from whet_tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from whet_tui.view import View
    from whet_tui.widgets.find_bar import FindBar

_CLOCK: Final = 0.25
"""Seconds between two drawings of running times; only while a turn is under way."""
_CALM_CLOCK: Final = 1.0
"""The same with reduced motion."""
_AT_ONCE: Final = 200
"""Events of a journal that are folded before keys are looked at again."""
_QUEUED: Final = 3
"""Waiting messages in view."""
_PARTING: Final = 3.0
"""Seconds a session gets to give up its lease before the screen goes without it."""
_FRESH: Final = 15.0
"""Seconds for which files, runs and models that were listed are offered without asking again."""
_BACK: Final = "Press Esc again to go back to an earlier message."
_ALLOWANCE: Final = "/allowance $"


class ChatScreen(DecidingScreen):
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
        super().__init__()
        self._now_ns = now_ns
        self.calm = False
        """Whether clocks tick seldom."""
        self._opener = opener
        self._closed_session = False
        self._around = around
        self._view: View | None = None
        self._opening = False
        self._unsent: list[Submitted] = []
        self._waiting: list[str] = []
        self._cancelling = False
        self._warned: tuple[str, int] = ("", 0)
        """What the next key does if it is the same once more, and how many keys had come when this was said."""
        self._aimed = ""
        """The mode that Shift+Tab has come to and that still lacks its amount."""
        self._notes = 0
        self._rewinds = 0
        self._crashed = ""
        self._greeting = Note(key="own/greeting", level="info", text="")
        self._known = Known(commands=own_commands())
        self._learnt = 0.0
        self._sending = asyncio.Lock()
        self._find_bar: FindBar | None = None
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
        super().on_mount()
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
        self._greet(view.status.panel, view.status.mind)
        self._show_work(view)

    def _greet(self, panel: Sequence[str], mind: str) -> None:
        """Say what this is and who answers, at the head of the conversation."""
        words = greeting(panel, mind, self._crashed)
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

    # What the person says.

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

    def action_steer(self) -> None:
        """Say what is typed into the running turn; without one it is sent like any message."""
        message = self._composer.take()
        if message is None:
            self._status.hint("Type what to say into the running turn first.")
        elif self._session is None or self._view is None or not self._view.busy:
            self.on_submitted(message)
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
        waiting = [said.text for said in self._view.waiting] if self._view is not None else []
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

    # What is offered while the person types.

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

    # What the person arranges.

    def action_next_mode(self) -> None:
        """Go to the next approval mode. The allowance asks for its amount the first time."""
        if self._view is None:
            return
        modes = list(MODES)
        status = self._view.status
        mode = modes[(modes.index(self._aimed or status.mode) + 1) % len(modes)]
        if self._composer.text == _ALLOWANCE:
            self._composer.write("")
        self._aimed = ""
        if mode == "allowance" and not status.allowance_nanos:
            self._aimed = mode
            if not self._composer.text:
                self._composer.write(_ALLOWANCE)
            self._status.hint("Allowance: send /allowance with an amount. Shift+Tab again: read only.")
        else:
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
        self._aimed = ""
        self._arrange(self._session.set_mode("allowance", nanos))

    def compact(self) -> None:
        if self._session is not None:
            self._arrange(self._session.compact())

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
        async def doing() -> str:
            await asked
            return done

        if await self._asked(doing()):
            self._status.hint(done)

    async def _asked(self, asked: Awaitable[str]) -> str | None:
        """Wait for something that was asked of the session; say why if it is refused."""
        from whet_agent.client import CallError  # loaded with the session
        from whet_agent.session import SessionError  # the same

        try:
            return await asked
        except (CallError, SessionError, LookupError, ValueError) as error:
            self._tell("error", str(error))
            return None

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

    def action_cancel(self) -> None:
        """Close what is open over the composer; else cancel the running turn; else, twice, go back."""
        if self._find_bar is not None:
            self._close_find()
        elif self._offers.chosen is not None:
            self._offers.decline(self._composer.text)
        elif self._view is not None and self._view.busy:
            if self._session is not None and not self._cancelling:
                self._cancelling = True
                self._show_work(self._view)
                self._cancel(self._session)
        elif self._view is not None and self._view.entries and self._twice("back", _BACK):
            self.action_rewind()

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
            self._composer.write("")
        elif self._twice("leave", "Press Ctrl+C again to quit; the session can be taken up again."):
            self.action_leave()

    def _twice(self, what: str, warning: str) -> bool:
        """Whether the key before this one asked for the same; if not, say that it must."""
        again = self._warned == (what, self._keys_came - 1)
        self._warned = ("", 0) if again else (what, self._keys_came)
        self._status.hint("" if again else warning)
        return again

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

    # What the person looks at.

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

    def action_help(self) -> None:
        own = {name: command.summary for name, command in OWN.items()}
        self.app.push_screen(HelpScreen(summaries() if self._session is not None else own))

    def open_place(self, place_id: str) -> None:
        self.call_later(self.run_action, f"app.open_place('{place_id}')")

    # What the person takes along.

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

    def change_theme(self) -> None:
        self.app.theme = after(self.app.theme)

    def complain(self, complaints: Sequence[str]) -> None:
        """Say what in the configuration was not understood."""
        self._greet((), "")  # which stands first, whoever comes first
        for complaint in complaints:
            self._tell("warning", complaint)

    def _tell(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """Say something of the screen's own in the conversation."""
        self._notes += 1
        self._transcript.hear([Note(key=f"own/{self._notes}", level=level, text=text)])


def _nanos(amount: str) -> int:
    """Dollars as they are typed, in nanos; 0 for what is no amount."""
    found = re.fullmatch(r"\$?\s*(\d{1,6}(?:\.\d{1,9})?)", amount.strip())
    return int(Decimal(found[1]) * 1_000_000_000) if found else 0

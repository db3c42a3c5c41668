"""`whet chat --plain`: a conversation in lines that are only ever added, for terminals and people that want no screen.

The session lives on a loop in a thread of its own, so that it goes on while the main thread waits for a line: a
terminal's line editing, and Ctrl+C, belong to the main thread.
"""

import asyncio
import json
import sys
import termios
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import click

from whet_agent.client import CallError
from whet_agent.events import TurnEnded
from whet_agent.session import SessionError
from whet_tui.app import farewell
from whet_tui.bridge import ChatSession, arrange
from whet_tui.cli.exits import OK
from whet_tui.cli.talk import opened_or_stopped
from whet_tui.commands import OWN, summaries
from whet_tui.entries import Call, Card, Fanout, Judging, money_line
from whet_tui.judged import progress_words
from whet_tui.opening import NO_LIMITS
from whet_tui.places import BY_COMMAND
from whet_tui.plain import PlainPrinter
from whet_tui.safe import exact_json, safe, safe_line
from whet_tui.schema import NANOS_PER_DOLLAR, SETTINGS
from whet_tui.settings import Settings
from whet_tui.surroundings import NotEdited, edited

MILESTONE: Final = 30.0
"""Seconds of silence after which it is said that work goes on."""
_GRACE: Final = 0.5
"""Seconds before a question is put: one that settles itself is none, and a key on its way is no answer."""
_PARTING: Final = 3.0
"""Seconds a session gets to give up its lease."""
_FENCE: Final = '"""'
_HERE: Final = {
    "help": "Say what can be typed",
    "quit": "Leave; the session can be taken up again",
    **{name: OWN[name].summary for name in ("allowance", "compact", "expand", "mode", "rename")},
}
"""Commands that lines have, too."""
_HOW: Final = (
    'A line is a message. End it with \\ to go on in the next one, or write several lines between two lines of """.'
    "\nCtrl+C cancels the running turn, Ctrl+D leaves."
)
_CHOICES: Final = "approve · reject [REASON] · edit -- write the whole word"

_T = TypeVar("_T")


class Behind:
    """A loop in a thread."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session", daemon=True)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        with asyncio.Runner() as runner:  # ends what is still under way
            runner.run(self._live())

    async def _live(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._closing.wait()

    def wait(self, work: Coroutine[Any, Any, _T], seconds: float | None = None) -> _T:
        """Run it there and wait here."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it there without waiting."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(_PARTING)


class Lines:
    """One conversation. `read` asks for a line and raises `EOFError` at the end."""

    def __init__(
        self,
        session: ChatSession,
        behind: Behind,
        *,
        editor: str,
        read: Callable[[str], str],
        milestone: float = MILESTONE,
    ) -> None:
        self._session = session
        self._behind = behind
        self._editor = editor
        self._read = read
        self._milestone_after = milestone
        self._printer = PlainPrinter(self._tell, self._tell)
        self._view = self._printer.view
        self._changed = threading.Condition()
        self._ended: set[int] = set()
        self._told_at = time.monotonic()
        self._broken = ""

    def converse(self) -> None:
        """Until the person leaves, by raising `EOFError`."""
        self._behind.wait(self._begin())
        self._tell(_HOW)
        while True:
            self._until_idle()
            text = self._message()
            name, _, rest = text.removeprefix("/").partition(" ")
            if text.startswith("/") and name in OWN and not (name in BY_COMMAND and rest.strip()):
                self._own(name, rest.strip())
            elif text:
                self._say(text)

    async def _begin(self) -> None:
        """Listen. What was journalled is told before anything else can happen: reading it gives up the loop nowhere."""
        self._listening = asyncio.create_task(self._listen())
        await asyncio.sleep(0)

    async def _listen(self) -> None:
        try:
            async for envelope in self._session.events():
                self._printer.hear(envelope)
                with self._changed:
                    if isinstance(envelope.happening, TurnEnded):
                        self._ended.add(envelope.happening.turn)
                    self._changed.notify_all()
        except Exception as error:
            with self._changed:
                self._broken = f"{type(error).__name__}: {error}"
                self._changed.notify_all()
            raise

    def _tell(self, line: str) -> None:
        self._told_at = time.monotonic()
        click.echo(line)

    def _message(self) -> str:
        """One message of one or more lines."""
        try:
            line = self._read("you> ")
            if line.strip() == _FENCE:
                return "\n".join(iter(lambda: self._read("...> "), _FENCE)).strip()
            lines = [line]
            while lines[-1].endswith("\\"):
                lines.append(self._read("...> "))
        except KeyboardInterrupt:
            self._tell("\nNothing was sent. Ctrl+D leaves.")
            return ""
        return "\n".join(each.removesuffix("\\") for each in lines).strip()

    def _own(self, name: str, rest: str) -> None:
        if name == "quit":
            raise EOFError
        if name == "help":
            self._help()
        elif name not in _HERE:
            self._tell(f"/{name} is for the screen: whet chat without --plain.")
        elif (wish := _wish(self._session, name, rest)) is None:
            self._tell(f"/{name}: {_HERE[name]}")
        else:
            try:
                self._behind.wait(wish)
            except (CallError, SessionError, ValueError) as error:
                self._tell(f"/{name} was not done: {safe(str(error))}")

    def _help(self) -> None:
        self._tell(_HOW)
        for command, summary in {**summaries(), **_HERE}.items():
            if command in _HERE or command not in OWN:
                self._tell(f"  /{command:<20} {safe_line(summary)}")

    def _say(self, text: str) -> None:
        self._printer.typed = {text}
        turn = self._behind.wait(self._session.send(text))
        self._until(lambda: turn in self._ended)

    def _until_idle(self) -> None:
        """A session that was taken up may be in the middle of something."""
        self._until(lambda: not self._view.busy)

    def _until(self, done: Callable[[], bool]) -> None:
        """Wait, let the person decide what is asked, cancel at the first Ctrl+C, leave at the second."""
        cancelled = False

        def asked() -> bool:
            return bool(self._view.cards) and not cancelled

        while True:
            try:
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._broken or asked() or done(),
                        max(0.0, self._told_at + self._milestone_after - time.monotonic()),
                    )
                if self._broken:
                    raise RuntimeError(self._broken)
                if done():
                    return
                if asked():
                    self._decide(next(iter(self._view.cards.values())))
                else:
                    self._milestone()
            except KeyboardInterrupt:
                if cancelled:
                    raise
                cancelled = True
                self._tell("\nCancelling. Ctrl+C again leaves at once.")
                self._behind.start(self._cancel())

    async def _cancel(self) -> None:
        await self._session.cancel()

    def _milestone(self) -> None:
        """Say that work goes on, unless something was said in the meantime."""
        if time.monotonic() - self._told_at < self._milestone_after:
            return
        parts = ["still working"]
        runs = [e.fanout or e.judging for e in self._view.entries if isinstance(e, Call) and (e.fanout or e.judging)]
        match runs[-1:]:
            case [Fanout(ended=False) as fanout]:
                lanes = fanout.lanes.values()
                parts.append(f"{sum(lane.state.ended for lane in lanes)} of {len(lanes)} branches are in")
            case [Judging(ended=False) as judging]:
                parts.append(progress_words(judging))
            case _:
                pass
        self._tell("... " + ", ".join([*parts, money_line(self._view.status.money)]))

    def _decide(self, card: Card) -> None:
        """Take the person's word. What was typed before the question could be seen is no answer to it."""
        if self._gone(card, _GRACE):
            return
        if sys.stdin.isatty():
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
        self._tell(_CHOICES)
        word, _, rest = self._read("decide> ").strip().partition(" ")
        if self._gone(card, 0.0):
            self._tell("It was decided or has expired meanwhile.")
            return
        if word not in {"approve", "reject", "edit"} or (word != "reject" and rest):
            self._tell("Nothing is decided.")
            return
        if word == "edit":
            arguments = self._edited(card.arguments_json)
            if not arguments:
                return
            decision = self._session.decide(card.approval_id, grant=False, arguments_json=arguments)
        else:
            decision = self._session.decide(card.approval_id, grant=word == "approve", reason=rest.strip())
        try:
            self._behind.wait(decision)
        except (CallError, LookupError, ValueError) as error:
            self._tell(f"The decision was not taken: {safe(str(error))}")
            return
        self._gone(card, _PARTING)

    def _gone(self, card: Card, seconds: float) -> bool:
        """Whether the question is settled, or is within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: card.approval_id not in self._view.cards, seconds)

    def _edited(self, arguments: str) -> str:
        """The arguments as the person changed them, empty when they did not."""
        before = exact_json(arguments)
        try:
            after = edited(self._editor, before, ".json")
            json.loads(after)
        except (NotEdited, ValueError) as error:
            self._tell(f"The arguments were not changed: {safe_line(str(error))}")
            return ""
        if after.strip() == before.strip():
            self._tell("The arguments are as they were; nothing is decided.")
            return ""
        return after


def _wish(session: ChatSession, name: str, rest: str) -> Coroutine[Any, Any, None] | None:
    """What a command asks of the session; None when something is missing."""
    amount = SETTINGS["chat.allowance"].parsed(rest)
    wish: Coroutine[Any, Any, None] | None = None
    match name:
        case "compact":
            wish = session.compact()
        case "expand":
            wish = session.expand()
        case "rename" if rest:
            wish = session.rename(rest)
        case "allowance" if isinstance(amount, int | float) and amount > 0:
            wish = session.set_mode("allowance", round(amount * NANOS_PER_DOLLAR))
        case "mode" if rest in {"ask", "read_only", "read-only", "read only"}:
            wish = session.set_mode("ask" if rest == "ask" else "read_only")
    return wish


def chat_in_lines(settings: Settings, session_id: str) -> int:
    """Converse until the person leaves; say how to take the session up."""
    behind = Behind()
    try:
        session = behind.wait(_opened(settings, session_id))
        try:
            Lines(session, behind, editor=settings.chat.editor or "vi", read=_reader()).converse()
        except EOFError:
            click.echo()
        finally:
            behind.wait(_closed(session))
            click.echo(farewell(session.session_id, OK, settings.data, settings.program), nl=False)
    finally:
        behind.close()
    return OK


async def _opened(settings: Settings, session_id: str) -> ChatSession:
    session: ChatSession = (await opened_or_stopped(settings, session_id, NO_LIMITS)).session
    if not session_id:
        await arrange(session, settings.chat)
    return session


async def _closed(session: ChatSession) -> None:
    try:
        async with asyncio.timeout(_PARTING):
            await session.close()
    except TimeoutError:
        pass  # the lease dies with the process


def _reader() -> Callable[[str], str]:
    """Ask for a line, with the terminal's line editing where Python has it."""
    with suppress(ImportError):
        import readline  # noqa: F401 -- from now on `input` edits lines
    return input

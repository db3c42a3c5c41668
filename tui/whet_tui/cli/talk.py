"""A conversation without a screen: what `whet ask`, `whet run`, `whet demo` and `whet` on a pipe share."""

import asyncio
import os
import select
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Protocol

from whet.v1 import approval_pb2
from whet_agent.catalogue import method_named
from whet_agent.client import Client
from whet_agent.connect import Connection
from whet_agent.events import ApprovalAsked, Envelope, SessionOpened, TurnEnded
from whet_agent.granting import decide_command
from whet_agent.planner.commands import is_command
from whet_agent.session import SessionInUse, SessionNotFound
from whet_tui.cli.exits import FAILED, INTERRUPTED, NEEDS_DECISION, OK, TRY_AGAIN, USAGE, Stopped
from whet_tui.cli.interruption import Interruption, interruptible
from whet_tui.entries import Call, CallState, Card, Fanout, Said, dollars
from whet_tui.opening import NO_LIMITS, Limits, Opened, open_session
from whet_tui.settings import Settings
from whet_tui.view import View

_PIECE_BYTES: Final = 65536
"""What a pipe holds."""
_MODE_SECONDS: Final = 2.0
"""A mode that answers a question in the person's name does so in one call to the server."""
_AGAIN_SECONDS: Final = 0.05
"""A turn that has been asked for and has not begun cannot be cancelled yet; it begins within this."""


class Printer(Protocol):
    """Whoever tells a conversation."""

    view: View

    def hear(self, envelope: Envelope) -> None:
        """Fold an envelope in and tell what is new."""

    def resumed(self, last: Envelope) -> None:
        """What happened before this command has been folded into the view; `last` came last."""


class Talk:
    """One session whose every event goes to a printer."""

    def __init__(self, opened: Opened, printer: Printer, interruption: Interruption, settings: Settings) -> None:
        self._settings = settings
        self.session = opened.session
        self.session_id = self.session.session_id
        self._connection = opened.connection
        self.printer = printer
        self.interruption = interruption
        self.undecided: Callable[[ApprovalAsked], Awaitable[None]] = self.stop_undecided
        """What to do about a question. Nobody here can be asked, and silence is no yes."""
        self.ended: dict[int, TurnEnded] = {}
        """Turns that have ended while this command ran."""
        self._events = self.session.events()
        self._next: asyncio.Future[Envelope] | None = None
        self._cancelling: asyncio.Task[None] | None = None

    @property
    def view(self) -> View:
        return self.printer.view

    async def say(self, text: str) -> TurnEnded:
        """Send a message and tell everything until its turn has ended. Raises `Stopped` when a person must decide."""
        return await self.until_ended(await self.session.send(text))

    async def until_ended(self, turn: int) -> TurnEnded:
        """Tell everything until the turn has ended. Raises `Stopped` when a person must decide."""
        with self.cancellable():
            while turn not in self.ended:
                await self.hear()
        return self.ended[turn]

    async def hear(self, *others: "asyncio.Future[None]") -> None:
        """Tell the next thing that happens; return without one when one of the others is done first."""
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._events))
        waited: set[asyncio.Future[Any]] = {self._next, *others}
        done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if self._next not in done:
            return
        envelope, self._next = self._next.result(), None
        self.printer.hear(envelope)
        match envelope.happening:
            case ApprovalAsked() as asked:
                await self.undecided(asked)
            case TurnEnded() as ended:
                self.ended[ended.turn] = ended
            case _:
                pass

    @contextmanager
    def cancellable(self, strike: Callable[[], None] | None = None) -> Iterator[None]:
        """Within the block a strike cancels the turn, or does what is given, instead of ending the command."""
        self.interruption.ask = strike or self.cancel
        try:
            yield
        finally:
            self.interruption.ask = None

    def cancel(self) -> None:
        """Cancel the running turn at the server; its end is heard like any other."""
        self._cancelling = self._cancelling or asyncio.create_task(self._cancel())

    async def _cancel(self) -> None:
        while not await self.session.cancel():  # noqa: ASYNC110  the session tells of no beginning
            await asyncio.sleep(_AGAIN_SECONDS)
        self._cancelling = None

    async def catch_up(self, opened_ns: int) -> None:
        """Fold in what happened before this command opened the session, unheard."""
        async for envelope in self._events:
            self.view.apply(envelope)
            if isinstance(envelope.happening, SessionOpened) and envelope.time_ns >= opened_ns:
                self.printer.resumed(envelope)
                return

    async def finish(self) -> TurnEnded | None:
        """Take up the turns that earlier commands left unfinished; return how the last of them ended. Raises `Stopped`
        when a question of then is still open.
        """
        for card in list(self.view.cards.values()):
            if await _is_open(self._connection, card.approval_id):
                raise self.needs(card)
        ended = None
        while self.view.turns and not self.interruption.code:
            ended = await self.until_ended(self.view.turns[0])
        return ended

    def verdict(self, ended: TurnEnded) -> int:
        """Return the exit code of a turn. An answer that can only tell how its last call failed is no success, nor is
        one that can only tell how a slash command is written.
        """
        if ended.state == "cancelled":
            return self.interruption.code or INTERRUPTED
        calls = [each for each in self.view.entries if isinstance(each, Call) and each.turn == ended.turn]
        done = calls[-1].state is not CallState.FAILED if calls else not self._commanded(ended.turn)
        return OK if done and ended.state == "done" else FAILED

    def _commanded(self, turn: int) -> bool:
        """Whether a turn began with a command that must make a call."""
        said = self.view.find(f"said/{turn}")
        return isinstance(said, Said) and is_command(said.text) and said.text.split()[0].lower() not in {"/help", "/h"}

    @property
    def last_fanout(self) -> Fanout | None:
        """The latest fan-out of the conversation."""
        for entry in reversed(self.view.entries):
            if isinstance(entry, Call) and entry.fanout is not None:
                return entry.fanout
        return None

    async def stop_undecided(self, asked: ApprovalAsked) -> None:
        """Raise the question as what ends the command, unless the session's mode answers it."""
        if self.view.status.mode != "ask":
            patience = asyncio.ensure_future(asyncio.sleep(_MODE_SECONDS))
            while asked.approval_id in self.view.cards and not patience.done():
                await self.hear(patience)
            patience.cancel()
        if asked.approval_id in self.view.cards:
            raise self.needs(asked)

    def needs(self, question: ApprovalAsked | Card) -> Stopped:
        cost = f", up to {dollars(question.worst_cost_nanos)}" if question.worst_cost_nanos else ""
        return Stopped(
            f"{question.tool} needs your decision ({question.approval_id}): {question.summary} "
            f"({question.effect}{cost}; digest {question.digest}).",
            advice=f"Decide it with: {self.decide_command(question)}\nthen go on with: {self.resume_command}"
            f"\nor do both in the chat: {self._settings.program} chat --resume {self.session_id}",
            code=NEEDS_DECISION,
        )

    def decide_command(self, question: ApprovalAsked | Card) -> str:
        """What a person runs to grant it."""
        return decide_command(question.approval_id, question.digest, program=self._settings.decider)

    @property
    def resume_command(self) -> str:
        """What goes on afterwards."""
        return f"{self._settings.program} ask --resume {self.session_id}"

    async def close(self) -> None:
        """Let go of the events and the session. Runs at the server go on."""
        waiting: set[asyncio.Future[Any]] = {each for each in (self._next, self._cancelling) if each is not None}
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await self.session.close()


@asynccontextmanager
async def talking(
    settings: Settings,
    printer: Printer,
    *,
    session_id: str = "",
    limits: Limits = NO_LIMITS,
    seconds: float | None = None,
) -> AsyncIterator[Talk]:
    """Open a new session or take one up; signals and the time limit end what runs. Raises `Stopped` and
    `ServerUnavailable`.
    """
    with interruptible(seconds) as interruption:
        opened_ns = time.time_ns()
        opened = await opened_or_stopped(settings, session_id, limits)
        talk = Talk(opened, printer, interruption, settings)
        try:
            await talk.catch_up(opened_ns)
            yield talk
        finally:
            await talk.close()
        if interruption.code == TRY_AGAIN:
            raise Stopped(f"Not done within {seconds:g} seconds: the turn was cancelled.", code=TRY_AGAIN)


async def stdin_lines() -> AsyncIterator[str]:
    """Yield the lines of stdin as they come, without a thread that Ctrl-C would have to wait for."""
    loop, file = asyncio.get_running_loop(), sys.stdin.fileno()
    ready = asyncio.Event()
    try:
        loop.add_reader(file, ready.set)
    except PermissionError:  # a regular file is always ready, and the kernel does not wait for what is
        for line in sys.stdin:
            yield line
        return
    rest = b""
    try:
        while True:
            await ready.wait()
            ready.clear()
            if not select.select([file], [], [], 0)[0]:
                continue  # told twice of what was read once: to read now would hold everything up
            piece = os.read(file, _PIECE_BYTES)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")
            if not piece:
                yield rest.decode(errors="replace")
                return
    finally:
        loop.remove_reader(file)


async def opened_or_stopped(settings: Settings, session_id: str, limits: Limits) -> Opened:
    """Open a session; what keeps it shut becomes a `Stopped`."""
    try:
        return await open_session(settings, session_id, limits)
    except SessionInUse as error:
        raise Stopped(str(error), code=TRY_AGAIN) from error
    except SessionNotFound as error:
        raise Stopped(str(error), code=USAGE) from error


async def _is_open(connection: Connection, approval_id: str) -> bool:
    client = Client(connection.address, connection.person_token)
    try:
        method = method_named("ApprovalService", "GetApproval")
        answer = await client.call(method, approval_pb2.GetApprovalRequest(approval_id=approval_id))
    finally:
        await client.close()
    assert isinstance(answer, approval_pb2.GetApprovalResponse)  # noqa: S101  the contract says so
    return answer.approval.state == approval_pb2.APPROVAL_STATE_PENDING

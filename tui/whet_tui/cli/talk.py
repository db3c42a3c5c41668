"""A conversation without a screen: what `whet ask`, `whet demo` and `whet` on a pipe share."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click

from whet_agent.events import ApprovalAsked, Envelope, TurnEnded
from whet_agent.granting import decide_command
from whet_agent.session import AgentSession, SessionInUse, SessionNotFound
from whet_tui.cli.exits import FAILED, INTERRUPTED, NEEDS_DECISION, OK, TRY_AGAIN, USAGE, Stopped
from whet_tui.entries import Call, CallState, Fanout
from whet_tui.opening import Opened, open_session
from whet_tui.plain import PlainPrinter
from whet_tui.settings import Settings

_PIECE_BYTES = 65536
"""What a pipe holds."""


class Talk:
    """One session whose every event goes to a printer."""

    def __init__(self, session: AgentSession, printer: PlainPrinter) -> None:
        self.session_id = session.session_id
        self.printer = printer
        self._session = session
        self._events: AsyncIterator[Envelope] = session.events()

    async def say(self, text: str) -> TurnEnded:
        """Send a message and tell everything until its turn has ended.

        Raises `Stopped` when a person must decide: nobody here can be asked, and silence is no yes.
        """
        turn = await self._session.send(text)
        try:
            while True:
                envelope = await anext(self._events)
                self.printer.hear(envelope)
                match envelope.happening:
                    case ApprovalAsked() as asked:
                        raise self._undecided(asked)
                    case TurnEnded() as ended if ended.turn == turn:
                        return ended
        except asyncio.CancelledError:
            self._leave()
            raise

    def verdict(self, ended: TurnEnded) -> int:
        """Return the exit code of a turn. An answer that can only tell how its last call failed is no success."""
        if ended.state == "cancelled":
            return INTERRUPTED
        calls = [each for each in self.printer.view.entries if isinstance(each, Call) and each.turn == ended.turn]
        failed = ended.state == "failed" or (bool(calls) and calls[-1].state is CallState.FAILED)
        return FAILED if failed else OK

    @property
    def last_fanout(self) -> Fanout | None:
        """The latest fan-out of the conversation."""
        for entry in reversed(self.printer.view.entries):
            if isinstance(entry, Call) and entry.fanout is not None:
                return entry.fanout
        return None

    def _undecided(self, asked: ApprovalAsked) -> Stopped:
        command = decide_command(asked.approval_id, asked.digest)
        return Stopped(
            f"{asked.tool} needs your decision ({asked.approval_id}): {asked.summary}.",
            advice=f"Decide it with: {command}\nor in the chat: whet chat --resume {self.session_id}",
            code=NEEDS_DECISION,
        )

    def _leave(self) -> None:
        fanout = self.last_fanout
        if fanout is not None and fanout.run_id and not fanout.ended:
            click.echo(
                f"\n{fanout.run_id} goes on. Follow it with: whet fanout watch {fanout.run_id}"
                f" -- or end it with: whet fanout cancel {fanout.run_id}",
                err=True,
            )


@asynccontextmanager
async def talking(settings: Settings, printer: PlainPrinter) -> AsyncIterator[Talk]:
    """Open a new session. Raises `Stopped` and `ServerUnavailable`."""
    opened = await opened_or_stopped(settings, "")
    try:
        yield Talk(opened.session, printer)
    finally:
        await opened.session.close()


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
            piece = os.read(file, _PIECE_BYTES)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")
            if not piece:
                yield rest.decode(errors="replace")
                return
    finally:
        loop.remove_reader(file)


async def opened_or_stopped(settings: Settings, session_id: str) -> Opened:
    """Open a session; what keeps it shut becomes a `Stopped`."""
    try:
        return await open_session(settings, session_id)
    except SessionInUse as error:
        raise Stopped(str(error), code=TRY_AGAIN) from error
    except SessionNotFound as error:
        raise Stopped(str(error), code=USAGE) from error

"""One conversation, with no screen inside: send, decide, cancel, hear.

The session owns the graph's checkpoints, the journal of what was heard and a lease, so that no two processes continue
the same conversation. A session that was killed is opened again by its id: the journal replays the screen, open
approvals are asked again, an unfinished turn is taken up.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from whet_agent.connect import Connection
from whet_agent.events import ApprovalMode, Decider, Envelope, Renamed
from whet_agent.lease import Lease
from whet_agent.record import Record
from whet_agent.sessions import (
    SessionError,
    SessionInUse,
    SessionNotFound,
    SessionSummary,
    delete_session,
    empty_trash,
    good_title,
    home_of,
    list_sessions,
    new_session_id,
    rename_session,
    restore_session,
    take_lease,
)

if TYPE_CHECKING:
    from whet_agent.model.base import Mind
    from whet_agent.turns import Turns

__all__ = [
    "AgentSession",
    "MindSettings",
    "SessionError",
    "SessionInUse",
    "SessionNotFound",
    "SessionSettings",
    "SessionSummary",
    "delete_session",
    "list_sessions",
    "rename_session",
    "restore_session",
]

CONTEXT_TOKENS: Final = 128_000
"""The window of a mind of which nothing else is known: most models that call tools have at least this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MindSettings:
    """A tool-calling model behind an OpenAI-compatible API. `model` is the server's name for it (`endpoint/model`),
    by which its spending is priced.
    """

    base_url: str
    api_key: str = field(repr=False)
    model: str
    context_tokens: int = CONTEXT_TOKENS
    """How much the model reads at most; 0 when it is not known. A conversation that fills it is compacted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """What a session is told at start. Nothing below reads the environment. `folder` keeps checkpoints and journals."""

    folder: Path
    mind: MindSettings | None = None
    """None: the offline planner thinks."""
    max_steps: int = 24
    """A turn that has thought this often is ended: a loop, not a plan."""
    max_cost_nanos: int | None = None
    """The most that the whole session may cost, earlier turns and the mind included, in nanos of a US dollar: a hard
    limit, as an allowance is (see `AgentSession.set_mode`). None: only the workspace's caps apply.
    """


class AgentSession:
    """One conversation."""

    def __init__(self, session_id: str, *, record: Record, turns: "Turns", lease: Lease) -> None:
        """Use `open`."""
        self.session_id = session_id
        self._record = record
        self._turns = turns
        self._lease = lease

    @classmethod
    async def open(
        cls, connection: Connection, settings: SessionSettings, *, session_id: str = "", mind: "Mind | None" = None
    ) -> "AgentSession":
        """Open a new session, or the one named. `mind` thinks instead of the one that the settings name.

        Raises `SessionInUse` when another process holds its lease, `SessionNotFound` when there is none.
        """
        lease, folder = _take(settings.folder, session_id)
        await asyncio.to_thread(empty_trash, settings.folder)
        try:
            return await _assemble(connection, settings, folder, lease, mind)
        except BaseException:
            lease.release()
            raise

    async def send(self, text: str) -> int:
        """Take a message and return its turn's number at once. While a turn runs, the message waits its turn."""
        return self._turns.send(text)

    async def steer(self, text: str) -> int:
        """Say something into the running turn and return its number: the mind hears it before its next step, and what
        its tools are doing is not interrupted. Without a running turn it is a message. It becomes one too when the turn
        fails before the mind has heard it; a cancel names it in a notice instead.
        """
        return self._turns.steer(text)

    async def withdraw(self, turn: int) -> bool:
        """Take back a message that waits for its turn; return False when the turn has begun or there is none."""
        return self._turns.withdraw(turn)

    async def decide(
        self, approval_id: str, *, grant: bool, reason: str = "", arguments_json: str = "", by: Decider = "person"
    ) -> None:
        """Decide an approval as the person. The decision goes to the server with the person's token and the digest
        that was shown. `by` is what the journal keeps of who decided: a script does so by its rules.

        With `arguments_json` the call is changed instead, whatever `grant` says: the approval is rejected, the call is
        made with these arguments and asks anew. They may be written as a model writes them or as the approval shows
        them.

        Raises `CallError` when the server refuses it, `LookupError` when this session has not asked for it or it is
        not open any more, `ValueError` with a sentence when changed arguments do not fit: then it stays open.
        """
        await self._turns.decide(approval_id, grant=grant, reason=reason, arguments_json=arguments_json, by=by)

    async def set_mode(self, mode: ApprovalMode, allowance_nanos: int = 0) -> None:
        """Say how calls are answered from now on. What was asked before stays asked, and what has begun goes on: going
        through the modes decides nothing.

        - `ask`: the server asks for what changes something and for what may cost more than its threshold, and the
          person decides each.
        - `allowance`: a call that only spends, at known prices, is granted in the person's name when its worst cost
          fits into its share of what is left of `allowance_nanos`; the rest is asked as before. The allowance is a
          hard limit: what the session has spent, does not know or holds never exceeds it. Fan-outs are capped at their
          share, asked for or not, and a thought of the mind that could cross the limit is not made: the turn fails
          and says so. A model without a price is refused, as under any cap. A run that began before the mode was set
          keeps the cap that it had.
        - `read_only`: whatever spends or changes something is refused before it is made; reading works. The mind is
          told why.

        Kept on the disk, and in force again when the session is opened again. Raises `ValueError` for an allowance
        below nothing.
        """
        self._turns.set_mode(mode, allowance_nanos)

    async def cancel(self) -> bool:
        """Cancel the running turn and what it started at the server; return whether there was one. The conversation
        accepts the next message after it.
        """
        return await self._turns.cancel()

    async def rewind(self, turn: int) -> str:
        """Let the conversation go on from before a turn and return what the person had said to begin it. What was done
        in that turn and those after it stays done, and stays in the journal.

        Raises `SessionError` while a turn runs and for a turn that the conversation has not.
        """
        return await self._turns.past.rewind(turn)

    async def fork(self, turn: int = 0) -> str:
        """Begin another session with the conversation before `turn`, or with all turns that have ended; return its id.

        Raises `SessionError` for a turn that the conversation has not.
        """
        return await self._turns.past.fork(turn)

    async def compact(self) -> None:
        """Have the early turns summarised now, whether or not the window is full. `expand` undoes it.

        Raises `SessionError` while a turn runs, when there is nothing to summarise, and when the mind cannot.
        """
        await self._turns.past.compact()

    async def expand(self) -> None:
        """Let the mind read the whole conversation again. Raises `SessionError` when nothing is compacted."""
        await self._turns.past.expand()

    async def rename(self, title: str) -> None:
        """Give the session a title. Raises `SessionError` for an empty one."""
        self._record.tell(Renamed(title=good_title(title)))

    def events(self, since: int = 0) -> AsyncIterator[Envelope]:
        """Replay the journal after `since`, then follow. Ends when the session is closed."""
        return self._record.events(since)

    async def close(self) -> None:
        """Give up the lease and the connections. Runs at the server go on."""
        await self._turns.close()
        self._record.close()
        self._lease.release()


def _take(folder: Path, session_id: str) -> tuple[Lease, Path]:
    if session_id:
        home = home_of(folder, session_id)
    else:
        home = folder / new_session_id()
        home.mkdir(parents=True, mode=0o700)
    return take_lease(home), home


async def _assemble(
    connection: Connection, settings: SessionSettings, home: Path, lease: Lease, mind: "Mind | None"
) -> AgentSession:
    # LangGraph and openai take seconds to import: whoever waits for a first frame must not wait for them.
    assemble = await asyncio.to_thread(_load)
    record = await asyncio.to_thread(Record, home)
    try:
        turns = await assemble(connection, settings, home, record, mind)
    except BaseException:
        record.close()
        raise
    return AgentSession(home.name, record=record, turns=turns, lease=lease)


def _load() -> "Callable[..., Awaitable[Turns]]":
    from whet_agent.assembly import assemble

    return assemble

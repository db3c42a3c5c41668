"""One conversation, with no screen inside: send, decide, cancel, hear.

The session owns the graph's checkpoints, the journal of what was heard and a lease, so that no two processes continue the same conversation. A session that
was killed is opened again by its id: the journal replays the screen, open approvals are asked again, an unfinished turn is taken up.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from whet_agent.connect import Connection
from whet_agent.events import Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class MindSettings:
    """A tool-calling model behind an OpenAI-compatible API. `model` is the server's name for it (`endpoint/model`), by which its spending is priced."""

    base_url: str
    api_key: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """What a session is told at start. Nothing below reads the environment. `folder` keeps checkpoints and journals."""

    folder: Path
    mind: MindSettings | None = None
    """None: the offline planner thinks."""
    max_steps: int = 24
    """A turn that has thought this often is ended: a loop, not a plan."""


class AgentSession:
    """One conversation."""

    session_id: str

    @classmethod
    async def open(cls, connection: Connection, settings: SessionSettings, *, session_id: str = "") -> "AgentSession":
        """Open a new session, or the one named. Raises `SessionInUse` when another process holds its lease, `SessionNotFound` when there is none."""
        raise NotImplementedError

    async def send(self, text: str) -> int:
        """Take a message and return its turn's number at once. While a turn runs, the message waits its turn."""
        raise NotImplementedError

    async def decide(self, approval_id: str, *, grant: bool, reason: str = "") -> None:
        """Decide an approval as the person. The decision goes to the server with the person's token and the digest that was shown."""
        raise NotImplementedError

    async def cancel(self) -> bool:
        """Cancel the running turn and what it started at the server; return whether there was one. The conversation accepts the next message after it."""
        raise NotImplementedError

    def events(self, since: int = 0) -> AsyncIterator[Envelope]:
        """Replay the journal after `since`, then follow. Ends when the session is closed."""
        raise NotImplementedError

    async def close(self) -> None:
        """Give up the lease and the connections. Runs at the server go on."""
        raise NotImplementedError

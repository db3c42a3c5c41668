"""A session whose happenings are told by hand: the twin of `whet_agent.session.AgentSession` for a screen without a
server.
"""

import asyncio
import time
from collections.abc import AsyncIterator

from whet_agent.events import (
    ApprovalMode,
    Decider,
    Envelope,
    Happening,
    ModeChanged,
    Renamed,
    Rewound,
    SessionOpened,
    Steered,
    UserSaid,
    Withdrawn,
    is_live,
)


class ScriptedSession:
    """Keeps what the screen asks for, and tells what it is told to tell."""

    def __init__(self, session_id: str = "ses_scripted") -> None:
        self.session_id = session_id
        self.sent: list[str] = []
        self.decisions: list[tuple[str, bool]] = []
        self.reasons: dict[str, str] = {}
        self.deciders: dict[str, Decider] = {}
        self.edits: dict[str, str] = {}
        """Arguments as the person changed them, by approval."""
        self.steered: list[str] = []
        self.calls: list[str] = []
        """What else was asked for, in words: `fork 3`, `compact`."""
        self.cancels = 0
        self.closed = False
        self._heard: list[Envelope] = []
        self._grown = asyncio.Condition()
        self._sequence = 0

    async def tell(self, *happenings: Happening) -> None:
        """Let everybody who listens hear these, in order."""
        for happening in happenings:
            live = is_live(happening)
            self._sequence += not live
            sequence = 0 if live else self._sequence
            self._heard.append(Envelope(sequence=sequence, time_ns=time.time_ns(), happening=happening))
        await self._wake()

    async def open(self, *, mind: str = "scripted mind", panel: tuple[str, ...] = ("sim/one", "sim/two")) -> None:
        """Tell that the session is there."""
        await self.tell(SessionOpened(session_id=self.session_id, mind=mind, server="in memory", panel=panel))

    async def send(self, text: str) -> int:
        self.sent.append(text)
        await self.tell(UserSaid(turn=len(self.sent), text=text))
        return len(self.sent)

    async def steer(self, text: str) -> int:
        self.steered.append(text)
        await self.tell(Steered(turn=len(self.sent), number=len(self.steered), text=text))
        return len(self.sent)

    async def withdraw(self, turn: int) -> bool:
        await self.tell(Withdrawn(turn=turn))
        return True

    async def decide(
        self, approval_id: str, *, grant: bool, reason: str = "", arguments_json: str = "", by: Decider = "person"
    ) -> None:
        self.decisions.append((approval_id, grant))
        self.reasons[approval_id] = reason
        self.deciders[approval_id] = by
        if arguments_json:
            self.edits[approval_id] = arguments_json
        await self._wake()

    async def set_mode(self, mode: ApprovalMode, allowance_nanos: int = 0) -> None:
        await self.tell(ModeChanged(mode=mode, allowance_nanos=allowance_nanos))

    async def rewind(self, turn: int) -> str:
        await self.tell(Rewound(turn=turn, thread=1))
        return self.sent[turn - 1]

    async def fork(self, turn: int = 0) -> str:
        self.calls.append(f"fork {turn}")
        return "ses_forked"

    async def compact(self) -> None:
        self.calls.append("compact")

    async def expand(self) -> None:
        self.calls.append("expand")

    async def rename(self, title: str) -> None:
        await self.tell(Renamed(title=title))

    async def cancel(self) -> bool:
        self.cancels += 1
        await self._wake()
        return True

    async def events(self, since: int = 0) -> AsyncIterator[Envelope]:
        place = 0
        while True:
            for envelope in self._heard[place:]:
                place += 1
                if envelope.sequence > since or not envelope.sequence:
                    yield envelope
            async with self._grown:
                await self._grown.wait_for(lambda: self.closed or len(self._heard) > place)  # noqa: B023  read at once
            if self.closed:
                return

    async def close(self) -> None:
        self.closed = True
        await self._wake()

    async def until_asked(self, count: int, what: str) -> None:
        """Wait until the screen has sent, decided or cancelled this often."""
        async with self._grown:
            await self._grown.wait_for(lambda: self._asked(what) >= count)

    def _asked(self, what: str) -> int:
        return {"sent": len(self.sent), "decisions": len(self.decisions), "cancels": self.cancels}[what]

    async def _wake(self) -> None:
        async with self._grown:
            self._grown.notify_all()

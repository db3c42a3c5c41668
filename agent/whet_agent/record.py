"""What a session tells: numbered, journalled, and passed to everybody who listens.

A step that is taken up after a crash tells again what it had told before. The record knows what was told and drops
the repetition, so that a listener hears each thing once.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Hashable
from pathlib import Path

from whet_agent.events import (
    ApprovalAsked,
    ApprovalDecided,
    AssistantSaid,
    Envelope,
    Happening,
    RunHeard,
    Steered,
    ToolAnswered,
    ToolAsked,
    TurnEnded,
    UserSaid,
    Withdrawn,
    is_live,
)
from whet_agent.journal import Journal


def mark_of(happening: Happening) -> Hashable | None:  # noqa: PLR0911 -- one line for each kind
    """Return what makes a happening the same as an earlier one, or None when it may come as often as it likes."""
    match happening:
        case UserSaid() | TurnEnded():
            return type(happening), happening.turn
        case AssistantSaid():
            return AssistantSaid, happening.turn, happening.step
        case Steered():
            return Steered, happening.turn, happening.number
        case Withdrawn():
            return Withdrawn, happening.turn
        case ToolAsked():
            return ToolAsked, happening.key, happening.arguments_json
        case ToolAnswered():
            return ToolAnswered, happening.key
        case ApprovalAsked() | ApprovalDecided():
            return type(happening), happening.approval_id
        case RunHeard() if happening.event.sequence:
            return RunHeard, happening.key, happening.run_id, happening.event.sequence
        case _:
            return None


class Record:
    """The journal, and those who listen now."""

    def __init__(self, path: Path) -> None:
        """Open the record. `restored` keeps what was told before, for whoever takes the session up."""
        self._journal = Journal(path)
        self.restored: tuple[Envelope, ...] = tuple(self._journal.read())
        self._marks = {mark for envelope in self.restored if (mark := mark_of(envelope.happening)) is not None}
        self._listeners: set[asyncio.Queue[Envelope | None]] = set()
        self._closed = False

    def tell(self, happening: Happening) -> bool:
        """Tell it, unless it was told before; return whether it was new."""
        if self._closed:
            return False
        mark = mark_of(happening)
        if mark is not None:
            if mark in self._marks:
                return False
            self._marks.add(mark)
        sequence = 0 if is_live(happening) else self._journal.last_sequence + 1
        envelope = Envelope(sequence=sequence, time_ns=time.time_ns(), happening=happening)
        if sequence:
            self._journal.append(envelope)
        for listener in self._listeners:
            listener.put_nowait(envelope)
        return True

    async def events(self, since: int = 0) -> AsyncIterator[Envelope]:
        """Replay what is journalled after `since`, then follow until the record is closed."""
        listener: asyncio.Queue[Envelope | None] = asyncio.Queue()  # a listener of this process: it slows down with us
        self._listeners.add(listener)
        try:
            last = since
            for envelope in self._journal.read(since):
                last = envelope.sequence
                yield envelope
            while not self._closed or not listener.empty():
                following = await listener.get()
                if following is None:
                    return
                if not following.sequence or following.sequence > last:
                    yield following
        finally:
            self._listeners.discard(listener)

    def close(self) -> None:
        """Make everything durable and end every listener's iteration."""
        self._closed = True
        self._journal.close()
        for listener in self._listeners:
            listener.put_nowait(None)

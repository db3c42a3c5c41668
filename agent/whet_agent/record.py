"""What a session tells: numbered, journalled, and passed to everybody who listens.

A step that is taken up after a crash tells again what it had told before. The record knows what was told and drops
the repetition, so that a listener hears each thing once.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Final

from whet_agent.events import (
    ApprovalAsked,
    ApprovalDecided,
    AssistantSaid,
    Compacted,
    Envelope,
    Expanded,
    Happening,
    Renamed,
    Rewound,
    RunHeard,
    Steered,
    ToolAnswered,
    ToolAsked,
    TurnEnded,
    UserSaid,
    Withdrawn,
    is_live,
)
from whet_agent.journal import JOURNAL, Journal
from whet_agent.tally import read_tally, write_tally

REPLAYED: Final = 200
"""So many envelopes are told again in one go: they take some milliseconds, in which no key is heard."""

_KEPT_AT: Final = (TurnEnded, Withdrawn, Rewound, Renamed, Compacted, Expanded)
"""After these the tally is written: between them a kill costs the next start a part of the journal to read."""


_SAME: Final[Mapping[type, tuple[str, ...]]] = {
    UserSaid: ("turn",),
    TurnEnded: ("turn",),
    AssistantSaid: ("turn", "step"),
    Steered: ("turn", "number"),
    Withdrawn: ("turn",),
    ToolAsked: ("key", "arguments_json"),
    ToolAnswered: ("key",),
    ApprovalAsked: ("approval_id",),
    ApprovalDecided: ("approval_id",),
}
"""What makes a happening the same as an earlier one of its kind. Those that are not named here may come again."""


def mark_of(happening: Happening) -> Hashable | None:
    """Return what makes a happening the same as an earlier one, or None when it may come as often as it likes."""
    if isinstance(happening, RunHeard):
        sequence = happening.event.sequence
        return (RunHeard, happening.key, happening.run_id, sequence) if sequence else None
    names = _SAME.get(type(happening))
    return None if names is None else (type(happening), *(getattr(happening, name) for name in names))


def _turn(happening: Happening) -> int:
    """Return the turn that a happening belongs to, 0 for one that belongs to none."""
    turn: int = getattr(happening, "turn", 0)
    return 0 if isinstance(happening, Rewound) else turn


class Record:
    """The journal with its tally, and those who listen now."""

    def __init__(self, home: Path) -> None:
        """Open the record of a session. `restored` is what was told of turns that have not ended, for whoever takes
        them up, and the mode that was set last.
        """
        self.home = home
        self.tally = read_tally(home)
        self._journal = Journal(home / JOURNAL, end=self.tally.offset, last_sequence=self.tally.sequence)
        self.restored: tuple[Envelope, ...] = tuple(self._unfinished())
        self._marks: dict[int, set[Hashable]] = defaultdict(set)
        """What was told, by turn: after a turn's end nothing of it is repeated."""
        for envelope in self.restored:
            self._is_new(envelope.happening)
        self._listeners: set[asyncio.Queue[Envelope | None]] = set()
        self._closed = False
        self._keep(closed=False)

    def tell(self, happening: Happening) -> bool:
        """Tell it, unless it was told before; return whether it was new."""
        if self._closed or not self._is_new(happening):
            return False
        sequence = 0 if is_live(happening) else self._journal.last_sequence + 1
        envelope = Envelope(sequence=sequence, time_ns=time.time_ns(), happening=happening)
        if sequence:
            self._write(envelope)
        for listener in self._listeners:
            listener.put_nowait(envelope)
        return True

    def words_of(self, turn: int) -> str:
        """Return what the person said to begin a turn. Raises `LookupError`."""
        return self._journal.words_of(turn)

    def _unfinished(self) -> Iterator[Envelope]:
        if self.tally.mode is not None:
            yield Envelope(sequence=0, time_ns=0, happening=self.tally.mode)
        if self.tally.open:
            for envelope in self._journal.read(offset=min(self.tally.open.values())):
                if _turn(envelope.happening) in self.tally.open:
                    yield envelope

    def _is_new(self, happening: Happening) -> bool:
        mark = mark_of(happening)
        if mark is None:
            return True
        told = self._marks[_turn(happening)]
        if mark in told:
            return False
        told.add(mark)
        return True

    def _write(self, envelope: Envelope) -> None:
        begins = self._journal.end
        self._journal.append(envelope)
        self.tally.hear(envelope, begins=begins, ends=self._journal.end)
        if isinstance(envelope.happening, TurnEnded | Withdrawn):
            self._marks.pop(envelope.happening.turn, None)
        if isinstance(envelope.happening, _KEPT_AT):
            self._keep(closed=False)

    def _keep(self, *, closed: bool) -> None:
        self._journal.flush()
        self.tally.closed = closed
        write_tally(self.home, self.tally)

    async def events(self, since: int = 0) -> AsyncIterator[Envelope]:
        """Replay what is journalled after `since`, then follow until the record is closed."""
        listener: asyncio.Queue[Envelope | None] = asyncio.Queue()  # a listener of this process: it slows down with us
        self._listeners.add(listener)
        try:
            last = since
            for number, envelope in enumerate(self._journal.read(since), start=1):
                last = envelope.sequence
                yield envelope
                if not number % REPLAYED:
                    await asyncio.sleep(0)
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
        self._keep(closed=True)
        self._journal.close()
        for listener in self._listeners:
            listener.put_nowait(None)

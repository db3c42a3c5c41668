"""What the person says into a running turn, for as long as the mind has not heard it.

It is on the disk at once. The mind hears it before its next step; a turn does not end as done while something is
unheard. When the turn fails first, it becomes a message of its own; when the person cancels the turn, they are told.
"""

import asyncio
from collections.abc import Iterable, Sequence

from whet_agent.conversation import Entry, from_steer
from whet_agent.events import Envelope, Steered, TurnEnded, UserSaid
from whet_agent.record import Record


class Steering:
    """Keeps the unheard words of each turn, oldest first."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._unheard: dict[int, list[Steered]] = {}
        self._last: dict[int, int] = {}
        """The number of the last words of each turn, heard or not."""
        self._knocked: set[int] = set()
        self._spoken = asyncio.Event()

    def restore(self, restored: Iterable[Envelope]) -> None:
        """Learn from the journal what was said. The conversation tells later what of it was heard."""
        for envelope in restored:
            match envelope.happening:
                case Steered() as words:
                    self._take(words)
                case UserSaid(steered=name) if name:
                    turn, _, number = name.partition("/")
                    waiting = self._unheard.get(int(turn), [])
                    self._unheard[int(turn)] = [words for words in waiting if words.number != int(number)]
                case TurnEnded(turn=turn):
                    self._unheard.pop(turn, None)
                case _:
                    pass

    def say(self, turn: int, text: str) -> None:
        """Take what the person says into the turn."""
        words = Steered(turn=turn, number=self._last.get(turn, 0) + 1, text=text)
        self._record.tell(words)
        self._take(words)

    def unheard(self, turn: int, entries: Sequence[Entry]) -> list[Entry]:
        """Return what this conversation of the turn does not hold yet."""
        held = {entry["k"] for entry in entries}
        said = map(_entry, self._unheard.get(turn, ()))
        return [entry for entry in said if entry["k"] not in held]

    def heard(self, turn: int, entries: Sequence[Entry]) -> None:
        """Forget what this conversation, which is on the disk, holds."""
        held = {entry["k"] for entry in entries}
        waiting = self._unheard.get(turn, [])
        self._unheard[turn] = [words for words in waiting if _entry(words)["k"] not in held]

    def waits(self, turn: int) -> bool:
        """Whether something is unheard."""
        return bool(self._unheard.get(turn))

    def knock(self, turn: int) -> None:
        """Know of a message that waits behind the turn."""
        self._knocked.add(turn)
        self._spoken.set()

    async def spoken(self, turn: int) -> None:
        """Wait until something is unheard, or a message waits behind the turn."""
        while not (self.waits(turn) or turn in self._knocked):
            self._spoken.clear()
            await self._spoken.wait()

    def take_back(self, turn: int) -> list[Steered]:
        """Return what the turn has not heard, and forget the turn."""
        self._last.pop(turn, None)
        self._knocked.discard(turn)
        return self._unheard.pop(turn, [])

    def _take(self, words: Steered) -> None:
        self._unheard.setdefault(words.turn, []).append(words)
        self._last[words.turn] = words.number
        self._spoken.set()


def _entry(words: Steered) -> Entry:
    return from_steer(words.turn, words.number, words.text)

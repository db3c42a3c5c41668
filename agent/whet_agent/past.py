"""What a person does with the conversation itself between its turns: go back, fork, shorten and read whole again."""

import asyncio
from collections.abc import Sequence

from whet_agent.account import Account
from whet_agent.conversation import Entry, turn_of, unlimited
from whet_agent.events import Expanded, Rewound
from whet_agent.fork import found
from whet_agent.graph import Thread, thread_id
from whet_agent.memory import Memory
from whet_agent.model.base import MindError
from whet_agent.record import Record
from whet_agent.sessions import SessionError, new_session_id


class Past:
    """The turns that have ended."""

    def __init__(
        self, *, session_id: str, record: Record, thread: Thread, account: Account, memory: Memory | None
    ) -> None:
        self._session_id = session_id
        self._record = record
        self._thread = thread
        self._account = account
        self._memory = memory
        self._going_back = asyncio.Lock()

    async def rewind(self, turn: int) -> str:
        """Go on from before a turn; return its words. Raises `SessionError`."""
        async with self._going_back:
            self._rest("go back")
            text, number = self._words_of(turn), self._record.tally.thread + 1
            thread = thread_id(self._session_id, number)
            kept, gone = _parted((await self._thread.standing()).entries, turn)
            await self._thread.copy(thread, kept)
            self._rest("go back")
            held = self._account.owed(gone)
            self._record.tell(Rewound(turn=turn, thread=number, held=held))  # from here on it holds
            self._thread.go_to(thread)
        if self._memory is not None:
            self._memory.measure(kept, turn)
        return text

    async def fork(self, turn: int) -> str:
        """Begin another session with the turns before this one, or all that have ended. Raises `SessionError`."""
        if turn:
            self._words_of(turn)
        tally = self._record.tally
        before = min([turn or tally.last_turn + 1, *tally.open])
        turns = {each for each in tally.turns if each < before}
        kept = [unlimited(entry) for entry in (await self._thread.standing()).entries if turn_of(entry) in turns]
        session_id = new_session_id()
        await self._thread.copy(session_id, kept)
        await asyncio.to_thread(found, self._record.home, session_id, tally, turns)
        return session_id

    async def compact(self) -> None:
        """Let the mind read a summary in place of early turns. Raises `SessionError`."""
        if self._memory is None:
            raise SessionError(
                "The offline planner reads the last message only: it has no window to fill, and nothing to compact."
            )
        self._rest("compact")
        try:
            done = await self._memory.compact((await self._thread.standing()).entries, self._record.tally.last_turn)
        except MindError as error:
            raise SessionError(f"Nothing was compacted. {error}") from error
        if not done:
            raise SessionError("There are no early turns to summarise: the last one is always kept word for word.")

    async def expand(self) -> None:
        """Let the mind read everything again. Raises `SessionError`."""
        if self._record.tally.compacted is None:
            raise SessionError("Nothing is compacted: the mind reads the whole conversation.")
        self._record.tell(Expanded())
        if self._memory is not None:
            self._memory.measure((await self._thread.standing()).entries, self._record.tally.last_turn)

    def _words_of(self, turn: int) -> str:
        if turn not in self._record.tally.turns:
            raise SessionError(f"The conversation has no turn {turn}.")
        return self._record.words_of(turn)

    def _rest(self, wish: str) -> None:
        """Raises `SessionError` when there is something under way."""
        if self._record.tally.open:
            raise SessionError(f"A turn is under way. Cancel it or wait until it has ended, then {wish}.")


def _parted(entries: Sequence[Entry], turn: int) -> tuple[list[Entry], list[Entry]]:
    """Return the entries before a turn, and the others."""
    kept = [entry for entry in entries if turn_of(entry) < turn]
    return kept, [entry for entry in entries if turn_of(entry) >= turn]

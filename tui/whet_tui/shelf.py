"""The sessions that are kept. The agent's folder is one shelf; the twin in memory is `whet_tui.memory_shelf`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from whet_agent.connect import Connection
    from whet_agent.sessions import SessionSummary

_TAIL: Final = 65_536
"""Bytes at a journal's end that are looked at first for the last words."""

_Result = TypeVar("_Result")


class ShelfError(Exception):
    """It cannot be done. `str()` says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWords:
    """What was said last, for somebody who looks for a conversation."""

    person: str = ""
    answer: str = ""


class Shelf(Protocol):
    """Every method raises `ShelfError`."""

    async def sessions(self) -> "Sequence[SessionSummary]":
        """The sessions in which something was said, the one used last first."""
        ...

    async def last_words(self, session_id: str) -> LastWords: ...

    async def rename(self, session_id: str, title: str) -> None: ...

    async def fork(self, session_id: str) -> str:
        """Begin another session with the same conversation; return its id."""
        ...

    async def delete(self, session_id: str) -> None: ...

    async def restore(self, session_id: str) -> None:
        """Undo a deletion."""
        ...


class FolderShelf:
    """Reads and changes files, in a thread. A fork opens the session for a moment, which takes a server."""

    def __init__(self, folder: Path, connect: "Callable[[], Awaitable[Connection]]") -> None:
        self._folder = folder
        self._connect = connect

    async def sessions(self) -> "Sequence[SessionSummary]":
        from whet_agent.sessions import list_sessions  # the agent is loaded after the first frame

        return await _in_thread(list_sessions, self._folder)

    async def last_words(self, session_id: str) -> LastWords:
        return await _in_thread(_last_words, self._folder, session_id)

    async def rename(self, session_id: str, title: str) -> None:
        from whet_agent.sessions import good_title, rename_session  # the same

        await _in_thread(lambda: rename_session(self._folder, session_id, good_title(title)))

    async def fork(self, session_id: str) -> str:
        await asyncio.to_thread(import_module, "whet_agent.assembly")
        from whet_agent.connect import ServerUnavailable  # the same
        from whet_agent.session import AgentSession, SessionError, SessionSettings  # the same

        if await _in_thread(_under_way, self._folder, session_id):
            raise ShelfError("A turn of this session has not ended. Take it up with Enter, and fork it there.")
        try:
            settings = SessionSettings(folder=self._folder)
            session = await AgentSession.open(await self._connect(), settings, session_id=session_id)
            try:
                return await session.fork()
            finally:
                await session.close()
        except (SessionError, ServerUnavailable) as error:
            raise ShelfError(str(error)) from error

    async def delete(self, session_id: str) -> None:
        from whet_agent.sessions import delete_session  # the same

        await _in_thread(delete_session, self._folder, session_id)

    async def restore(self, session_id: str) -> None:
        from whet_agent.sessions import restore_session  # the same

        await _in_thread(restore_session, self._folder, session_id)


async def _in_thread(work: Callable[..., _Result], *arguments: object) -> _Result:
    from whet_agent.sessions import SessionError  # the same

    try:
        return await asyncio.to_thread(work, *arguments)
    except (SessionError, OSError) as error:
        raise ShelfError(str(error)) from error


def _under_way(folder: Path, session_id: str) -> bool:
    """Whether opening the session would take up a turn."""
    from whet_agent.sessions import home_of  # the same
    from whet_agent.tally import read_tally  # the same

    return bool(read_tally(home_of(folder, session_id)).open)


def _last_words(folder: Path, session_id: str) -> LastWords:
    """Read the journal from its end on, further back until both have spoken."""
    from whet_agent.events import AssistantSaid, UserSaid  # the same
    from whet_agent.journal import JOURNAL, whole_lines  # the same
    from whet_agent.sessions import home_of  # the same

    path = home_of(folder, session_id) / JOURNAL
    size, look = path.stat().st_size, _TAIL
    while True:
        words = LastWords()
        for _, _, _, envelope in whole_lines(path, _line_after(path, max(0, size - look))):
            match envelope and envelope.happening:
                case UserSaid(text=text):
                    words = LastWords(person=text)
                case AssistantSaid(text=text):
                    words = LastWords(person=words.person, answer=text)
                case _:
                    pass
        if words.person or look >= size:
            return words
        look *= 4


def _line_after(path: Path, offset: int) -> int:
    """Where the first line begins at or after this place."""
    if not offset:
        return 0
    with path.open("rb") as file:
        file.seek(offset - 1)
        file.readline()
        return file.tell()

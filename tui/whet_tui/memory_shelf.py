"""The shelf in memory: the twin of `whet_tui.shelf.FolderShelf`, for tests and pictures of screens without files."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from whet_agent.sessions import SessionSummary
from whet_tui.shelf import LastWords, ShelfError

_MARK: Final = " (fork)"


class MemoryShelf:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.kept: dict[str, SessionSummary] = {}
        self.words: dict[str, LastWords] = {}
        self._trash: dict[str, SessionSummary] = {}
        self._forks = 0

    def put(self, summary: SessionSummary, words: LastWords | None = None) -> None:
        self.kept[summary.session_id] = summary
        self.words[summary.session_id] = words or LastWords()

    async def sessions(self) -> Sequence[SessionSummary]:
        return sorted(self.kept.values(), key=lambda summary: summary.last_used, reverse=True)

    async def last_words(self, session_id: str) -> LastWords:
        self._of(session_id)
        return self.words[session_id]

    async def rename(self, session_id: str, title: str) -> None:
        if not title.strip():
            raise ShelfError("A title needs at least one word.")
        self.kept[session_id] = replace(self._free(session_id), title=title)

    async def fork(self, session_id: str) -> str:
        summary = self._free(session_id)
        self._forks += 1
        forked = f"ses_fork{self._forks}"
        self.put(replace(summary, session_id=forked, title=summary.title + _MARK), self.words[session_id])
        return forked

    async def delete(self, session_id: str) -> None:
        self._trash[session_id] = self._free(session_id)
        del self.kept[session_id]

    async def restore(self, session_id: str) -> None:
        if session_id not in self._trash:
            raise ShelfError(f"There is no session {session_id!r} in the trash.")
        self.kept[session_id] = self._trash.pop(session_id)

    def _of(self, session_id: str) -> SessionSummary:
        if session_id not in self.kept:
            raise ShelfError(f"There is no session {session_id!r}.")
        return self.kept[session_id]

    def _free(self, session_id: str) -> SessionSummary:
        summary = self._of(session_id)
        if summary.holder:
            raise ShelfError(f"Session {session_id} is open in process {summary.holder}. Close it there.")
        return summary

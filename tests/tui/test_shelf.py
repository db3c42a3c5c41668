"""Where sessions are kept: one contract, kept by the twin in memory and by a real folder."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from tests.agent.house import House, open_house

from whet_agent.connect import Connection
from whet_agent.events import AssistantSaid, TurnEnded, UserSaid
from whet_agent.journal import JOURNAL
from whet_agent.record import Record
from whet_agent.sessions import SessionSummary, take_lease
from whet_tui.memory_shelf import MemoryShelf
from whet_tui.shelf import _TAIL, FolderShelf, LastWords, Shelf, ShelfError


class Stage(Protocol):
    @property
    def shelf(self) -> Shelf: ...

    def keep(self, session_id: str, title: str) -> None:
        """Let there be a session of one turn, in which this was asked."""
        ...

    def hold(self, session_id: str) -> None:
        """Let somebody have it open."""
        ...


class MemoryStage:
    def __init__(self) -> None:
        self.shelf = MemoryShelf()

    def keep(self, session_id: str, title: str) -> None:
        summary = SessionSummary(session_id=session_id, title=title, last_used=time.time(), turns=1)
        self.shelf.put(summary, LastWords(person=title, answer="An answer."))

    def hold(self, session_id: str) -> None:
        kept = self.shelf.kept[session_id]
        self.shelf.kept[session_id] = SessionSummary(
            session_id=session_id, title=kept.title, last_used=kept.last_used, turns=1, holder=1
        )


class FolderStage:
    def __init__(self, folder: Path, house: House) -> None:
        self.folder = folder
        self._house = house
        self.shelf = FolderShelf(folder, self._connect)

    async def _connect(self) -> Connection:
        return self._house.connection

    def keep(self, session_id: str, title: str) -> None:
        home = self.folder / session_id
        home.mkdir(parents=True)
        record = Record(home)
        record.tell(UserSaid(turn=1, text=title))
        record.tell(AssistantSaid(turn=1, step=1, text="An answer.", author="scripted"))
        record.tell(TurnEnded(turn=1, state="done"))
        record.close()

    def hold(self, session_id: str) -> None:
        self.held = take_lease(self.folder / session_id)


class ShelfContract:
    async def test_sessions_are_listed_the_one_used_last_first_with_what_was_said_last(self, stage: Stage) -> None:
        stage.keep("ses_1", "What is a monad?")
        stage.keep("ses_2", "Tabs or spaces?")
        listed = await stage.shelf.sessions()
        assert [(each.session_id, each.title) for each in listed] == [
            ("ses_2", "Tabs or spaces?"),
            ("ses_1", "What is a monad?"),
        ]
        words = await stage.shelf.last_words("ses_1")
        assert words == LastWords(person="What is a monad?", answer="An answer.")

    async def test_a_session_gets_another_title_that_is_not_empty(self, stage: Stage) -> None:
        stage.keep("ses_1", "What is a monad?")
        await stage.shelf.rename("ses_1", "Monads")
        (kept,) = await stage.shelf.sessions()
        assert kept.title == "Monads"
        with pytest.raises(ShelfError, match="at least one word"):
            await stage.shelf.rename("ses_1", "  ")

    async def test_a_deleted_session_can_be_had_back_once(self, stage: Stage) -> None:
        stage.keep("ses_1", "What is a monad?")
        await stage.shelf.delete("ses_1")
        assert not await stage.shelf.sessions()
        await stage.shelf.restore("ses_1")
        (kept,) = await stage.shelf.sessions()
        assert kept.title == "What is a monad?"
        with pytest.raises(ShelfError, match="trash"):
            await stage.shelf.restore("ses_1")

    async def test_a_fork_is_a_session_of_its_own_with_the_same_words(self, stage: Stage) -> None:
        stage.keep("ses_1", "What is a monad?")
        forked = await stage.shelf.fork("ses_1")
        assert forked != "ses_1"
        titles = {each.session_id: each.title for each in await stage.shelf.sessions()}
        assert titles == {"ses_1": "What is a monad?", forked: "What is a monad? (fork)"}
        assert (await stage.shelf.last_words(forked)).answer == "An answer."

    async def test_nothing_is_changed_under_the_feet_of_whoever_has_it_open(self, stage: Stage) -> None:
        stage.keep("ses_1", "What is a monad?")
        stage.hold("ses_1")
        with pytest.raises(ShelfError, match="open in"):
            await stage.shelf.delete("ses_1")
        with pytest.raises(ShelfError, match="open in"):
            await stage.shelf.fork("ses_1")
        assert (await stage.shelf.sessions())[0].holder

    async def test_what_is_not_there_cannot_be_changed(self, stage: Stage) -> None:
        with pytest.raises(ShelfError):
            await stage.shelf.delete("ses_9")
        with pytest.raises(ShelfError):
            await stage.shelf.last_words("ses_9")


class TestMemoryShelf(ShelfContract):
    @pytest.fixture
    def stage(self) -> Stage:
        return MemoryStage()


class TestFolderShelf(ShelfContract):
    @pytest.fixture
    async def stage(self, tmp_path: Path) -> AsyncIterator[Stage]:
        async with open_house(House()) as house:
            stage = FolderStage(tmp_path, house)
            yield stage
            if hasattr(stage, "held"):
                stage.held.release()


async def test_a_session_whose_turn_has_not_ended_is_not_forked_from_outside(tmp_path: Path) -> None:
    home = tmp_path / "ses_1"
    home.mkdir()
    record = Record(home)
    record.tell(UserSaid(turn=1, text="Go on without me"))
    record.close()
    stage = FolderStage(tmp_path, House())
    with pytest.raises(ShelfError, match="has not ended"):
        await stage.shelf.fork("ses_1")


async def test_the_last_words_are_found_however_much_was_told_since(tmp_path: Path) -> None:
    home = tmp_path / "ses_1"
    home.mkdir()
    record = Record(home)
    record.tell(UserSaid(turn=1, text="A long one"))
    for step in range(1, 40):
        record.tell(AssistantSaid(turn=1, step=step, text="word " * (_TAIL // 50), author="scripted"))
    record.tell(AssistantSaid(turn=1, step=40, text="The end.", author="scripted"))
    record.close()
    assert (home / JOURNAL).stat().st_size > 3 * _TAIL
    words = await FolderStage(tmp_path, House()).shelf.last_words("ses_1")
    assert words == LastWords(person="A long one", answer="The end.")

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.agent.house import House
from tests.agent.listening import DEADLINE, Listener, listening
from tests.agent.test_crashes import asks, child, opened

from whet_agent.conversation import turn_of
from whet_agent.events import (
    ApprovalAsked,
    AssistantSaid,
    Envelope,
    Rewound,
    RunHeard,
    SessionOpened,
    Spent,
    TurnEnded,
    UserSaid,
)
from whet_agent.model.base import Moment, Thought
from whet_agent.model.scripted import ScriptedMind
from whet_agent.session import (
    AgentSession,
    SessionError,
    SessionInUse,
    SessionNotFound,
    SessionSettings,
    SessionSummary,
    delete_session,
    list_sessions,
    rename_session,
    restore_session,
)
from whet_agent.sessions import empty_trash
from whet_agent.tally import SUMMARY, read_tally

KILLED = Path(__file__).with_name("killed.py")
QUESTION = 'fanout {"spec": {"prompt": "what"}}'


@asynccontextmanager
async def talk(house: House, folder: Path, mind: ScriptedMind, session_id: str = "") -> AsyncIterator[AgentSession]:
    settings = SessionSettings(folder=folder)
    session = await AgentSession.open(house.connection, settings, session_id=session_id, mind=mind)
    try:
        yield session
    finally:
        await session.close()


async def four_turns(house: House, folder: Path) -> str:
    """A session of four turns: a word, a fan-out, a turn that failed, a word."""
    lines = [Thought(text="one"), asks(QUESTION), Thought(text="two"), asks('no_such {"a": 1}')]

    def fails(moment: Moment) -> Thought:
        raise RuntimeError("a bug")

    async with (
        talk(house, folder, ScriptedMind([*lines, fails, Thought(text="four")])) as session,
        listening(session) as heard,
    ):
        for number in range(1, 5):
            await heard.turn_ended(await session.send(f"say {number}"))
        return session.session_id


def turns_read(moment: Moment) -> list[int]:
    return sorted({turn_of(entry) for entry in moment.entries})


async def read_next(house: House, folder: Path, session_id: str) -> tuple[list[int], Listener]:
    """Say one thing more; return the turns that the mind reads then, and what was heard."""
    mind = ScriptedMind([Thought(text="next")])
    async with talk(house, folder, mind, session_id) as session, listening(session) as heard:
        assert (await heard.turn_ended(await session.send("and?"))).state == "done"
    return turns_read(mind.heard[0]), heard


@pytest.mark.parametrize("turn", [1, 2, 3, 4])
async def test_a_conversation_goes_on_from_before_any_turn(house: House, tmp_path: Path, turn: int) -> None:
    session_id = await four_turns(house, tmp_path)
    mind = ScriptedMind([Thought(text="again"), Thought(text="later")])
    async with talk(house, tmp_path, mind, session_id) as session, listening(session) as heard:
        assert await session.rewind(turn) == f"say {turn}"
        assert await session.send("otherwise") == 5  # a number is a request's id: it is never used again
        await heard.turn_ended(5)
        assert turns_read(mind.heard[0]) == [*range(1, turn), 5]
    read, later = await read_next(house, tmp_path, session_id)
    assert read == [*range(1, turn), 5, 6]
    assert [gone.turn for gone in later.all(Rewound)] == [turn]
    (summary,) = list_sessions(tmp_path)
    assert (summary.turns, summary.title) == (turn + 1, "say 1" if turn > 1 else "otherwise")


async def test_one_goes_back_again_and_again(house: House, tmp_path: Path) -> None:
    session_id = await four_turns(house, tmp_path)
    async with talk(house, tmp_path, ScriptedMind([]), session_id) as session:
        assert [await session.rewind(turn) for turn in (4, 3, 2)] == ["say 4", "say 3", "say 2"]
        with pytest.raises(SessionError, match="no turn 3"):
            await session.rewind(3)
    assert (await read_next(house, tmp_path, session_id))[0] == [1, 5]


async def test_going_back_twice_at_once_is_going_back_twice(house: House, tmp_path: Path) -> None:
    session_id = await four_turns(house, tmp_path)
    async with talk(house, tmp_path, ScriptedMind([]), session_id) as session:
        later, earlier = await asyncio.gather(session.rewind(4), session.rewind(2))
        assert (later, earlier) == ("say 4", "say 2")
    read, heard = await read_next(house, tmp_path, session_id)
    assert read == [1, 5]
    assert [(gone.turn, gone.thread) for gone in heard.all(Rewound)] == [(4, 1), (2, 2)]


async def test_nobody_goes_back_while_a_turn_runs(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with opened(house, tmp_path, asks(QUESTION), Thought(text="there")) as session, listening(session) as heard:
        turn = await session.send("go")
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        with pytest.raises(SessionError, match="under way"):
            await session.rewind(turn)
        run.finish()
        assert (await heard.turn_ended(turn)).state == "done"


@pytest.mark.parametrize("turn", [0, 1, 2, 3, 4])
async def test_a_fork_has_the_turns_before_and_pays_for_itself(house: House, tmp_path: Path, turn: int) -> None:
    session_id = await four_turns(house, tmp_path)
    async with talk(house, tmp_path, ScriptedMind([]), session_id) as session:
        forked = await session.fork(turn)
    kept = [*range(1, turn or 5)]
    read, heard = await read_next(house, tmp_path, forked)
    said = [said.turn for said in heard.all(UserSaid)]
    assert read == said == [*kept, (kept or [0])[-1] + 1]
    assert [envelope.sequence for envelope in heard.heard if envelope.sequence] == [
        *range(1, 1 + sum(1 for envelope in heard.heard if envelope.sequence))
    ]
    assert {opened.session_id for opened in heard.all(SessionOpened)} == {forked}
    assert all(spent.settled == 0 for spent in heard.all(Spent))
    titles = {each.session_id: (each.title, each.settled) for each in list_sessions(tmp_path)}
    assert titles == {session_id: ("say 1", 1000), forked: ("say 1 (fork)", 0)}
    assert (await read_next(house, tmp_path, session_id))[0] == [1, 2, 3, 4, 5]  # the first one is as it was


async def test_a_fork_leaves_the_turn_under_way_to_the_first_one(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with (
        opened(house, tmp_path, Thought(text="a"), asks(QUESTION), Thought(text="b")) as session,
        listening(session) as heard,
    ):
        await heard.turn_ended(await session.send("first"))
        await session.send("second")
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        forked = await session.fork()
        run.finish()
        assert (await heard.turn_ended(2)).state == "done"
    assert (await read_next(house, tmp_path, forked))[0] == [1, 2]
    assert len(house.runs) == 1


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("action", "whole"), [("rewind 2", [1, 5]), ("fork 3", [1, 2, 3])])
async def test_a_kill_at_any_write_leaves_the_old_or_the_new(
    house: House, tmp_path: Path, action: str, whole: list[int], step: int
) -> None:
    folder = tmp_path / "agent"
    session_id = await four_turns(house, folder)
    arguments = [str(KILLED), house.address, str(folder), session_id, action, str(step)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 3 * DEADLINE)
    seen = set()
    for point in range(step, int(out) + 1, step):
        copy = Path(f"{folder}.{point}")
        forks = [each.session_id for each in list_sessions(copy) if each.session_id != session_id]
        assert all(each.crashed == (each.session_id == session_id) for each in list_sessions(copy))
        old = (await read_next(house, copy, session_id))[0]
        new = (await read_next(house, copy, forks[0]))[0] if forks else old
        assert new in ([1, 2, 3, 4, 5], whole)
        assert old == [1, 2, 3, 4, 5] or action.startswith("rewind")
        seen.add(tuple(new))
    assert (int(out) > 8 * step, len(seen)) == (True, 2)


async def test_a_tally_is_what_the_journal_gives(house: House, tmp_path: Path) -> None:
    session_id = await four_turns(house, tmp_path)
    home = tmp_path / session_id
    async with talk(house, tmp_path, ScriptedMind([]), session_id) as session:
        await session.rewind(3)
        await session.rename("  What\nis it ")
    kept = read_tally(home)
    whole = (home / SUMMARY).read_text()
    for damaged in ("", "{", whole.replace('"version":1', '"version":0'), whole.replace('"offset":', '"offset":1')):
        (home / SUMMARY).write_text(damaged)
        again = read_tally(home)
        again.closed = kept.closed  # the one thing that the journal does not say
        assert again == kept
    (home / SUMMARY).unlink()
    (summary,) = list_sessions(tmp_path)
    assert (summary.title, summary.turns, summary.settled, summary.runs) == ("What is it", 2, 1000, ())
    assert json.loads((home / SUMMARY).read_text())["name"] == "What is it"


async def test_a_list_reads_only_what_the_tally_has_not(house: House, tmp_path: Path) -> None:
    session_id = await four_turns(house, tmp_path)
    journal = tmp_path / session_id / "journal.jsonl"
    with journal.open("r+b") as file:
        file.write(b"x" * 100)  # whoever read it from the start would stop here
    assert list_sessions(tmp_path)[0].turns == 4


async def test_a_session_that_was_killed_is_listed_as_such(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with child(house, tmp_path, QUESTION) as killed:
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        await killed.hears("RunHeard")
        alive = await listed(tmp_path, lambda each: bool(each.runs))
        assert (alive.holder, alive.crashed) == (killed.process.pid, False)
        await killed.kill()
        (dead,) = list_sessions(tmp_path)
        assert (dead.holder, dead.crashed, dead.runs) == (0, True, (run.run_id,))
        async with (
            opened(house, tmp_path, Thought(text="there"), session_id=killed.session_id) as session,
            listening(session) as heard,
        ):
            run.finish()
            await heard.turn_ended(1)
    (closed,) = list_sessions(tmp_path)
    assert (closed.holder, closed.crashed, closed.runs, closed.settled) == (0, False, (), 1000)


async def listed(folder: Path, test: Callable[[SessionSummary], bool]) -> SessionSummary:
    """Wait until the only session is listed so: what is heard is on the disk a moment later."""
    async with asyncio.timeout(DEADLINE):
        while not test(summary := list_sessions(folder)[0]):  # noqa: ASYNC110 -- a file tells nobody that it grew
            await asyncio.sleep(0.01)
    return summary


async def test_open_questions_are_counted(house: House, tmp_path: Path) -> None:
    cap = 'put_cap {"period": "day", "limit": "$5"}'
    async with opened(house, tmp_path, asks(cap), Thought(text="no")) as session, listening(session) as heard:
        await session.send("cap it")
        asked = await heard.wait(ApprovalAsked)
        await listed(tmp_path, lambda each: each.approvals == 1)
        await session.decide(asked.approval_id, grant=False)
        await heard.turn_ended(1)
        assert list_sessions(tmp_path)[0].approvals == 0


async def test_a_deleted_session_comes_back_whole_until_the_trash_is_emptied(house: House, tmp_path: Path) -> None:
    session_id = await four_turns(house, tmp_path)
    delete_session(tmp_path, session_id)
    assert list_sessions(tmp_path) == []
    with pytest.raises(SessionNotFound):
        await AgentSession.open(house.connection, SessionSettings(folder=tmp_path), session_id=session_id)
    empty_trash(tmp_path)
    restore_session(tmp_path, session_id)
    assert (await read_next(house, tmp_path, session_id))[0] == [1, 2, 3, 4, 5]
    delete_session(tmp_path, session_id)
    empty_trash(tmp_path, days=-1)
    with pytest.raises(SessionNotFound):
        restore_session(tmp_path, session_id)
    again = tmp_path / session_id
    again.mkdir()  # with the same id the mind would read what was deleted, were it still there
    assert (await read_next(house, tmp_path, session_id))[0] == [1]


async def test_an_open_session_is_neither_deleted_nor_renamed_from_outside(house: House, tmp_path: Path) -> None:
    async with opened(house, tmp_path, Thought(text="a")) as session, listening(session) as heard:
        await heard.turn_ended(await session.send("hello"))
        for change in (delete_session, lambda folder, of: rename_session(folder, of, "x")):
            with pytest.raises(SessionInUse):
                change(tmp_path, session.session_id)
        with pytest.raises(SessionError, match="at least one word"):
            await session.rename("  ")
    with pytest.raises(SessionError, match="at least one word"):
        rename_session(tmp_path, session.session_id, "  ")
    rename_session(tmp_path, session.session_id, "Greetings")
    assert list_sessions(tmp_path)[0].title == "Greetings"
    with pytest.raises(SessionNotFound):
        delete_session(tmp_path, "ses_../..")


async def test_a_long_session_opens_without_reading_its_journal(house: House, tmp_path: Path) -> None:
    session_id = await four_turns(house, tmp_path)
    journal = tmp_path / session_id / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(b"x" * (len(whole) - 1) + b"\n")
    async with opened(house, tmp_path, session_id=session_id) as session:
        assert await session.send("more") == 5


def ended(heard: list[Envelope]) -> list[int]:
    return [envelope.happening.turn for envelope in heard if isinstance(envelope.happening, TurnEnded)]


async def test_the_screen_after_a_rewind_is_told_again_the_same(house: House, tmp_path: Path) -> None:
    session_id = await four_turns(house, tmp_path)
    async with talk(house, tmp_path, ScriptedMind([]), session_id) as session, listening(session) as live:
        await session.rewind(2)
        await live.wait(Rewound)
    shutil.copytree(tmp_path, copy := tmp_path.with_name("copy"))
    async with talk(house, copy, ScriptedMind([]), session_id) as session, listening(session) as replayed:
        await replayed.wait(SessionOpened, count=3)
    assert replayed.heard[: len(live.heard)] == live.heard
    assert ended(live.heard) == [1, 2, 3, 4]
    assert [run.event.sequence for run in replayed.all(RunHeard)] == [1, 2, 3, 4, 5]
    assert len(live.all(AssistantSaid)) >= 3

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
import pytest
from tests.agent.house import House, open_house
from tests.agent.listening import DEADLINE, Listener, listening

from whet.v1 import approval_pb2
from whet_agent.conversation import ToolRequest
from whet_agent.events import (
    ApprovalAsked,
    AssistantSaid,
    Envelope,
    Notice,
    RunHeard,
    SessionOpened,
    ToolAnswered,
    UserSaid,
)
from whet_agent.journal import Journal
from whet_agent.model.base import Thought
from whet_agent.model.scripted import Line, ScriptedMind
from whet_agent.session import AgentSession, SessionInUse, SessionNotFound, SessionSettings, list_sessions

CHILD = Path(__file__).with_name("child.py")
CAP = 'put_cap {"period": "day", "limit": "$5"}'
QUESTION = 'fanout {"spec": {"prompt": "one"}}'


class Child:
    """A session in another process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.session_id = ""

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            return (await self.process.stdout.readline()).decode().strip()

    async def hears(self, kind: str) -> None:
        while (line := await self.line()) != kind:
            assert line, f"the child ended before {kind}"

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def child(house: House, folder: Path, message: str, *person: str) -> AsyncIterator[Child]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), house.address, str(folder), message, *person, stdout=asyncio.subprocess.PIPE
    )
    running = Child(process)
    try:
        running.session_id = await running.line()
        yield running
    finally:
        if process.returncode is None:
            await running.kill()


@asynccontextmanager
async def opened(house: House, folder: Path, *lines: Line, session_id: str = "") -> AsyncIterator[AgentSession]:
    session = await AgentSession.open(
        house.connection, SessionSettings(folder=folder), session_id=session_id, mind=ScriptedMind(list(lines))
    )
    try:
        yield session
    finally:
        await session.close()


def asks(*calls: str) -> Thought:
    parts = [call.partition(" ") for call in calls]
    return Thought(
        calls=tuple(ToolRequest(call_id=f"c{n}", name=name, arguments=text) for n, (name, _, text) in enumerate(parts))
    )


async def test_a_call_cut_off_by_a_kill_is_taken_up_and_not_paid_twice(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with child(house, tmp_path, QUESTION) as killed:
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        await killed.hears("RunHeard")
        await killed.kill()
        async with (
            opened(house, tmp_path, Thought(text="there it is"), session_id=killed.session_id) as session,
            listening(session) as heard,
        ):
            await heard.wait(Notice, lambda notice: "Taking up" in notice.text)
            run.finish()
            assert (await heard.turn_ended(1)).state == "done"
    assert list(house.runs) == [f"{killed.session_id}/1/1.1"]
    assert [event.event.sequence for event in heard.all(RunHeard)] == [1, 2, 3, 4, 5]
    assert [said.text for said in heard.all(AssistantSaid)] == ["there it is"]
    assert [told.restored for told in heard.all(SessionOpened)] == [False, True]


async def test_a_finished_sibling_is_not_called_again_after_a_kill(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with child(house, tmp_path, f"{QUESTION} && get_cache {{}}") as killed:
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        await killed.hears("ToolAnswered")
        await kept(tmp_path, "log", b"get_cache\xa3run")
        await killed.kill()
        async with (
            opened(house, tmp_path, Thought(text="both"), session_id=killed.session_id) as session,
            listening(session) as heard,
        ):
            run.finish()
            assert (await heard.turn_ended(1)).state == "done"
    assert (house.count("GetCache"), house.count("RunFanout")) == (1, 2)
    assert len(heard.all(ToolAnswered)) == 2


async def kept(folder: Path, channel: str, words: bytes = b"") -> None:
    """Wait until another process has written a step's result to the checkpoints."""
    query = "SELECT value FROM writes WHERE channel = ?"
    async with aiosqlite.connect(folder / "checkpoints.sqlite") as database, asyncio.timeout(DEADLINE):
        while not any(words in row[0] for row in await database.execute_fetchall(query, (channel,))):  # noqa: ASYNC110 -- SQLite tells nobody of a commit
            await asyncio.sleep(0.01)


async def test_an_approval_that_was_open_at_a_kill_is_asked_again_and_done_once(house: House, tmp_path: Path) -> None:
    async with child(house, tmp_path, CAP) as killed:
        await killed.hears("ApprovalAsked")
        await kept(tmp_path, "__interrupt__")
        await killed.kill()
        async with (
            opened(house, tmp_path, Thought(text="done"), session_id=killed.session_id) as session,
            listening(session) as heard,
        ):
            asked = await heard.wait(ApprovalAsked)
            await session.decide(asked.approval_id, grant=True)
            assert (await heard.turn_ended(1)).state == "done"
    assert list(house.caps.values()) == [5_000_000_000]
    assert len(heard.all(ApprovalAsked)) == 1


async def test_what_was_decided_while_nobody_listened_is_learned_at_the_next_start(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet_agent.decisions.LOOK_SECONDS", 0.02)
    async with opened(house, tmp_path, asks(CAP)) as first, listening(first) as heard:
        await first.send("cap it")
        await heard.wait(ApprovalAsked)
        session_id = first.session_id
    (approval,) = house.approvals.values()
    approval.state, approval.reason = approval_pb2.APPROVAL_STATE_REJECTED, "too low"
    async with (
        opened(house, tmp_path, Thought(text="fine"), session_id=session_id) as second,
        listening(second) as told,
    ):
        assert (await told.turn_ended(1)).state == "done"
        assert "rejected by the person: too low" in told.all(ToolAnswered)[0].text
    assert house.caps == {}


async def test_a_queued_message_survives_a_kill(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with child(house, tmp_path, QUESTION) as killed:
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        await killed.kill()
    journal = Journal(tmp_path / killed.session_id / "journal.jsonl")
    second = UserSaid(turn=2, text="and then?")
    journal.append(Envelope(sequence=journal.last_sequence + 1, time_ns=1, happening=second))
    journal.close()
    run.finish()
    async with (
        opened(house, tmp_path, Thought(text="one"), Thought(text="two"), session_id=killed.session_id) as session,
        listening(session) as heard,
    ):
        assert (await heard.turn_ended(2)).state == "done"
        assert [said.text for said in heard.all(AssistantSaid)] == ["one", "two"]
        assert await session.send("three") == 3


async def test_two_processes_cannot_continue_one_conversation(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with child(house, tmp_path, QUESTION) as other:
        with pytest.raises(SessionInUse, match=rf"process {other.process.pid}"):
            await AgentSession.open(
                house.connection, SessionSettings(folder=tmp_path), session_id=other.session_id, mind=ScriptedMind([])
            )
        await other.kill()
        async with opened(house, tmp_path, Thought(text="mine now"), session_id=other.session_id):
            pass


@pytest.mark.parametrize("session_id", ["ses_unknown", "../../etc", "ses_a/b", "x"])
async def test_an_unknown_session_is_named_as_such(house: House, tmp_path: Path, session_id: str) -> None:
    with pytest.raises(SessionNotFound):
        await AgentSession.open(house.connection, SessionSettings(folder=tmp_path), session_id=session_id)


async def test_streams_that_break_are_attached_again_where_they_were(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet_agent.calls.FIRST_WAIT_SECONDS", 0.01)
    house.cuts = 4
    async with opened(house, tmp_path, asks(QUESTION), Thought(text="whole")) as session, listening(session) as heard:
        await heard.turn_ended(await session.send("go"))
    assert [event.event.sequence for event in heard.all(RunHeard)] == [1, 2, 3, 4, 5]
    assert (house.count("RunFanout"), house.count("WatchFanout")) == (1, 4)
    assert heard.all(Notice) == []  # each healed at once


async def test_a_server_that_is_restarted_is_attached_to_again(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    house = House(hold=True)
    async with open_house(house, address):
        session = await AgentSession.open(
            house.connection,
            SessionSettings(folder=tmp_path / "agent"),
            mind=ScriptedMind([asks(QUESTION), Thought(text="survived")]),
        )
        stack = listening(session)
        heard: Listener = await stack.__aenter__()
        turn = await session.send("go")
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        await heard.wait(RunHeard)
    await heard.wait(Notice, lambda notice: "trying again" in notice.text)
    async with open_house(house, address):
        run.finish()
        assert (await heard.turn_ended(turn)).state == "done"
        await stack.__aexit__(None, None, None)
        await session.close()
    assert len(house.runs) == 1


async def test_a_torn_last_line_is_cut_off_and_the_rest_replayed(house: House, tmp_path: Path) -> None:
    async with opened(house, tmp_path, Thought(text="hi")) as session, listening(session) as heard:
        await heard.turn_ended(await session.send("hello"))
        session_id = session.session_id
    path = tmp_path / session_id / "journal.jsonl"
    with path.open("ab") as file:
        file.write(b'{"h":"UserSaid","q":99,"t":1,"d":{"tu')
    async with opened(house, tmp_path, session_id=session_id) as again, listening(again) as told:
        await told.wait(SessionOpened, count=2)
    whole = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["q"] for line in whole] == list(range(1, len(whole) + 1))


async def test_a_replay_tells_what_was_told_live(house: House, tmp_path: Path) -> None:
    async with opened(house, tmp_path, asks(QUESTION), Thought(text="a"), Thought(text="b")) as session:
        async with listening(session) as live:
            await heard_two_turns(session, live)
            async with listening(session) as replayed:
                await replayed.turn_ended(2)
            async with listening(session, since=5) as later:
                await later.turn_ended(2)
        session_id = session.session_id
    kept_live = [envelope for envelope in live.heard if envelope.sequence]
    assert replayed.heard == kept_live
    assert later.heard == kept_live[5:]
    assert [envelope.sequence for envelope in kept_live] == list(range(1, len(kept_live) + 1))
    journal = Journal(tmp_path / session_id / "journal.jsonl")
    assert list(journal.read()) == kept_live
    journal.close()


async def heard_two_turns(session: AgentSession, heard: Listener) -> None:
    await session.send("one")
    await session.send("two")
    await heard.turn_ended(2)


async def test_sessions_are_listed_with_their_first_words(house: House, tmp_path: Path) -> None:
    async with opened(house, tmp_path, Thought(text="a"), Thought(text="b")) as session, listening(session) as heard:
        await session.send("What is  a monad?\nReally?")
        await heard.turn_ended(await session.send("and now"))
    async with opened(house, tmp_path):
        pass
    (summary,) = list_sessions(tmp_path)
    assert (summary.session_id, summary.title, summary.turns) == (session.session_id, "What is a monad? Really?", 2)


async def test_importing_a_session_loads_no_heavy_library() -> None:
    code = (
        "import sys, whet_agent.session; print([m for m in ('langgraph', 'openai', 'wordllama') if m in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert out.strip() == b"[]"


async def test_a_turn_that_cannot_be_kept_fails_and_the_session_goes_on_hearing(house: House, tmp_path: Path) -> None:
    async with (
        opened(house, tmp_path, Thought(text="one"), Thought(text="two")) as session,
        listening(session) as heard,
    ):
        assert (await heard.turn_ended(await session.send("first"))).state == "done"
        async with aiosqlite.connect(tmp_path / "checkpoints.sqlite") as database:
            await database.execute("ALTER TABLE writes RENAME TO lost")
            await database.commit()
            ended = await heard.turn_ended(await session.send("second"))
            assert (ended.state, "OperationalError" in ended.failure) == ("failed", True)
            await database.execute("ALTER TABLE lost RENAME TO writes")
            await database.commit()
        assert (await heard.turn_ended(await session.send("third"))).state == "done"

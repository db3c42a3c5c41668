import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.agent.house import House
from tests.agent.listening import DEADLINE, listening
from tests.agent.sse import Reply, calls, provider, text
from tests.agent.test_cancel import fits
from tests.agent.test_chat import settings
from tests.agent.test_crashes import QUESTION, asks, child, opened

from whet_agent.events import AssistantSaid, Envelope, Happening, Notice, Steered, ToolAsked, TurnEnded, UserSaid
from whet_agent.journal import Journal
from whet_agent.model.base import Moment, Thought
from whet_agent.session import AgentSession, SessionSettings
from whet_tui.entries import Said
from whet_tui.view import View

FAN = ("fanout", {"spec": {"prompt": "one"}})


def said(moment: Moment) -> list[str]:
    return [entry["m"]["content"] for entry in moment.entries if entry["m"]["role"] == "user"]


def add(folder: Path, session_id: str, *happenings: Happening) -> None:
    """Write to a journal what a session that was killed had just written."""
    journal = Journal(folder / session_id / "journal.jsonl")
    for happening in happenings:
        journal.append(Envelope(sequence=journal.last_sequence + 1, time_ns=1, happening=happening))
    journal.close()


def shown(heard: Sequence[Envelope]) -> list[str]:
    """What the person sees of what they said."""
    view = View()
    for envelope in heard:
        view.apply(envelope)
    return [entry.text for entry in view.entries if isinstance(entry, Said)]


async def test_what_is_said_while_tools_run_is_heard_before_the_next_step(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with provider(calls(FAN), text("in German then")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("ask")
            run = await asyncio.wait_for(house.started.get(), DEADLINE)
            assert await session.steer("in German") == turn
            assert await session.steer("and short") == turn
            run.finish()
            assert (await heard.turn_ended(turn)).state == "done"
        await session.close()
    messages = mind.requests[1]["messages"]
    assert messages[-1] == {"role": "user", "content": "in German\n\nand short"}
    assert fits(messages)
    assert [(words.turn, words.number) for words in heard.all(Steered)] == [(1, 1), (1, 2)]
    assert house.count("CancelFanout") == 0


async def test_a_step_that_ends_without_calls_is_followed_by_one_that_has_heard(house: House, tmp_path: Path) -> None:
    session: AgentSession
    steered: list[asyncio.Task[int]] = []

    def speak(moment: Moment) -> Thought:
        steered.append(asyncio.ensure_future(session.steer("shorter")))
        return Thought(text="a long answer")

    def hear(moment: Moment) -> Thought:
        assert said(moment) == ["go", "shorter"]
        return Thought(text="short")

    async with opened(house, tmp_path, speak, hear) as session, listening(session) as heard:
        turn = await session.send("go")
        assert (await heard.turn_ended(turn)).state == "done"
        assert [words.text for words in heard.all(AssistantSaid)] == ["a long answer", "short"]
        assert await steered[0] == turn
        assert await session.steer("nobody is listening") == 2  # a message, between turns
        await heard.wait(UserSaid, lambda words: words.turn == 2)


async def test_the_planner_tells_what_came_and_does_what_was_said_meanwhile(house: House, tmp_path: Path) -> None:
    house.hold = True
    session = await AgentSession.open(house.connection, SessionSettings(folder=tmp_path))
    async with listening(session) as heard:
        turn = await session.send("What is a monad?")
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        await session.steer("/models")
        await session.steer("/caps")
        run.finish()
        await heard.turn_ended(turn)
    await session.close()
    assert heard.all(ToolAsked)[0].tool == "fanout"
    assert sorted(asked.tool for asked in heard.all(ToolAsked)[1:]) == ["list_caps", "list_models"]
    first, second = heard.all(AssistantSaid)
    assert first.text == "In short: What is a monad?"
    assert "| local/smollm2 |" in second.text


async def test_what_a_failed_turn_had_not_heard_becomes_a_message_and_is_shown_once(
    house: House, tmp_path: Path
) -> None:
    async with provider(Reply(status=500, error="broken"), text("heard")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            first = await session.send("go")
            await asyncio.wait_for(mind.asked.wait(), DEADLINE)
            mind.script[:0] = [Reply(status=401, error="no")]
            await session.steer("try this")
            assert (await heard.turn_ended(first)).state == "failed"
            assert (await heard.turn_ended(2)).state == "done"
        await session.close()
    assert [(words.text, words.steered) for words in heard.all(UserSaid)] == [("go", ""), ("try this", "1/1")]
    assert shown(heard.heard) == ["go", "try this"]
    assert mind.requests[-1]["messages"][-1]["content"] == "try this"


async def test_a_cancel_names_what_was_not_heard(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with opened(house, tmp_path, asks(QUESTION), Thought(text="next")) as session, listening(session) as heard:
        turn = await session.send("go")
        await asyncio.wait_for(house.started.get(), DEADLINE)
        await session.steer("in German")
        assert await session.cancel()
        assert (await heard.turn_ended(turn)).state == "cancelled"
        assert "send it again if it still holds: in German" in heard.all(Notice)[-1].text
        assert await session.send("next") == 2
        assert (await heard.turn_ended(2)).state == "done"
    assert len(heard.all(UserSaid)) == 2


async def test_a_kill_loses_nothing_that_was_said_into_the_turn(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with child(house, tmp_path, QUESTION) as killed:
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        await killed.kill()
    add(tmp_path, killed.session_id, Steered(turn=1, number=1, text="in German"))
    run.finish()

    def hear(moment: Moment) -> Thought:
        assert said(moment) == [QUESTION, "in German"]
        return Thought(text="auf Deutsch")

    async with opened(house, tmp_path, hear, session_id=killed.session_id) as session, listening(session) as heard:
        assert (await heard.turn_ended(1)).state == "done"
        assert [words.text for words in heard.all(AssistantSaid)] == ["auf Deutsch"]


@pytest.mark.parametrize("ended", [False, True])
async def test_words_that_were_passed_on_before_a_kill_are_not_passed_on_again(
    house: House,
    tmp_path: Path,
    ended: bool,  # noqa: FBT001 -- a parameter of the table above
) -> None:
    async with opened(house, tmp_path, Thought(text="one")) as session, listening(session) as heard:
        await heard.turn_ended(await session.send("go"))
        session_id = session.session_id
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in (tmp_path / session_id / "journal.jsonl").read_text().splitlines()
    ]
    if not ended:
        kept = [json.dumps(line) for line in lines if line["h"] != "TurnEnded"]
        (tmp_path / session_id / "journal.jsonl").write_text("\n".join(kept) + "\n")
    add(
        tmp_path,
        session_id,
        Steered(turn=1, number=1, text="and?"),
        UserSaid(turn=2, text="and?", steered="1/1"),
    )
    async with opened(house, tmp_path, Thought(text="two"), session_id=session_id) as again, listening(again) as told:
        assert (await told.turn_ended(2)).state == "done"
        assert len(told.all(TurnEnded)) == 2
        assert shown(told.heard) == ["go", "and?"]


async def test_a_waiting_message_can_be_taken_back_until_its_turn_begins(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with opened(house, tmp_path, asks(QUESTION), Thought(text="one")) as session, listening(session) as heard:
        first = await session.send("go")
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        second = await session.send("and then?")
        assert not await session.withdraw(first)
        assert await session.withdraw(second)
        assert not await session.withdraw(second)
        run.finish()
        await heard.turn_ended(first)
        session_id = session.session_id
    async with opened(house, tmp_path, Thought(text="three"), session_id=session_id) as again, listening(again) as told:
        assert await again.send("three") == 3
        assert (await told.turn_ended(3)).state == "done"
        assert [ended.turn for ended in told.all(TurnEnded)] == [1, 3]
        assert shown(told.heard) == ["go", "three"]

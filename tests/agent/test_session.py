import json
from pathlib import Path

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.agent.house import House
from tests.agent.listening import listening

from whet_agent.events import (
    OFFLINE_PLANNER,
    ApprovalAsked,
    AssistantSaid,
    Notice,
    RunHeard,
    SessionOpened,
    Spent,
    ToolAnswered,
    ToolAsked,
)
from whet_agent.model.base import Thought
from whet_agent.model.scripted import ScriptedMind
from whet_agent.session import AgentSession, SessionSettings


async def test_a_plain_question_becomes_a_fanout_to_the_panel(house: House, tmp_path: Path) -> None:
    session = await AgentSession.open(house.connection, SessionSettings(folder=tmp_path))
    async with listening(session) as heard:
        turn = await session.send("What is a monad?")
        ended = await heard.turn_ended(turn)
        assert ended.state == "done", ended.failure
        opened = heard.all(SessionOpened)[0]
        assert (opened.mind, opened.panel) == (OFFLINE_PLANNER, ("local/smollm2", "sim/fast"))
        said = heard.all(AssistantSaid)
        assert [(s.text, s.author, s.run_id) for s in said] == [
            ("In short: What is a monad?", OFFLINE_PLANNER, "fan_01")
        ]
        assert [event.event.sequence for event in heard.all(RunHeard)] == [1, 2, 3, 4, 5]
        assert heard.all(ToolAnswered)[0].ok
        assert heard.all(Spent)[-1].settled == 1000
        assert list(house.runs) == [f"{session.session_id}/1/1.1"]
    await session.close()


async def test_the_planner_shows_what_is_asked_for_as_a_table_in_its_own_name(house: House, tmp_path: Path) -> None:
    session = await AgentSession.open(house.connection, SessionSettings(folder=tmp_path))
    async with listening(session) as heard:
        for turn, text in enumerate(["/models", "which models are there?"], start=1):
            await heard.turn_ended(await session.send(text))
            said = heard.all(AssistantSaid)[turn - 1]
            assert "| local/smollm2 |" in said.text
            assert said.author == OFFLINE_PLANNER
    await session.close()
    assert house.runs == {}


async def test_the_planner_asks_back_and_takes_a_number_for_an_answer(house: House, tmp_path: Path) -> None:
    session = await AgentSession.open(house.connection, SessionSettings(folder=tmp_path))
    async with listening(session) as heard:
        await heard.turn_ended(await session.send("what did I pay for groceries this week"))
        asked = heard.all(AssistantSaid)[0]
        assert "1. `/get_usage`" in asked.text
        assert heard.all(ToolAsked) == []
        await heard.turn_ended(await session.send("1"))
        assert [call.tool for call in heard.all(ToolAsked)] == ["get_usage"]
    await session.close()


async def test_a_change_in_plain_words_waits_for_a_person(house: House, tmp_path: Path) -> None:
    session = await AgentSession.open(house.connection, SessionSettings(folder=tmp_path))
    async with listening(session) as heard:
        turn = await session.send("set a daily cap of five dollars")
        asked = await heard.wait(ApprovalAsked)
        assert house.caps == {}
        await session.decide(asked.approval_id, grant=False, reason="not now")
        await heard.turn_ended(turn)
        assert "rejected by the person: not now" in heard.all(AssistantSaid)[0].text
    await session.close()
    assert house.caps == {}


async def test_a_follow_up_takes_the_last_exchange_along(house: House, tmp_path: Path) -> None:
    session = await AgentSession.open(house.connection, SessionSettings(folder=tmp_path))
    async with listening(session) as heard:
        await heard.turn_ended(await session.send("What is a monad?"))
        await heard.turn_ended(await session.send("and in German?"))
        await heard.turn_ended(await session.send("/trace"))
    await session.close()
    followed = json.loads(heard.all(ToolAsked)[1].arguments_json)["spec"]["messages"]
    assert [message["content"] for message in followed] == [
        "What is a monad?",
        "In short: What is a monad?",
        "and in German?",
    ]
    assert json.loads(heard.all(ToolAsked)[2].arguments_json) == {"run_id": "fan_02"}


async def test_a_background_fanout_answers_at_once_and_can_be_watched(house: House, tmp_path: Path) -> None:
    house.hold = True
    session = await AgentSession.open(house.connection, SessionSettings(folder=tmp_path))
    async with listening(session) as heard:
        await heard.turn_ended(await session.send("/start what is love"))
        assert "Started fan_01 in the background" in heard.all(AssistantSaid)[0].text
        turn = await session.send("/watch last")
        run = await house.started.get()
        run.finish()
        await heard.turn_ended(turn)
        assert heard.all(AssistantSaid)[1].text == "In short: what is love"
    await session.close()


async def test_a_turn_is_one_trace_down_to_the_server(
    house: House, tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    session = await AgentSession.open(house.connection, SessionSettings(folder=tmp_path))
    async with listening(session) as heard:
        await heard.turn_ended(await session.send("What is a monad?"))
    await session.close()
    finished = {span.name: span for span in spans.get_finished_spans()}
    turn, tool = finished["whet.turn"], finished["whet.tool"]
    call = finished["whet.v1.FanoutService/RunFanout"]
    assert turn.context is not None
    assert {span.context.trace_id for span in (tool, call, finished["whet.mind"]) if span.context} == {
        turn.context.trace_id
    }
    assert call.parent is not None
    assert tool.context is not None
    assert call.parent.span_id == tool.context.span_id


async def test_a_command_goes_to_the_planner_whoever_thinks(house: House, tmp_path: Path) -> None:
    mind = ScriptedMind([Thought(text="a path, I see")])
    session = await AgentSession.open(house.connection, SessionSettings(folder=tmp_path), mind=mind)
    async with listening(session) as heard:
        for turn, text in enumerate(["/models", "/modles", "/usr/bin/env is what?"], start=1):
            await heard.turn_ended(await session.send(text))
            assert len(heard.all(AssistantSaid)) == turn
        listed, unknown, thought = heard.all(AssistantSaid)
        assert "| local/smollm2 |" in listed.text
        assert "Do you mean `/models`?" in unknown.text
        assert (listed.author, unknown.author, thought.author) == (OFFLINE_PLANNER, OFFLINE_PLANNER, "scripted")
        assert [moment.turn for moment in mind.heard] == [3]
    await session.close()


async def test_a_panel_without_a_price_is_said_when_the_session_opens(house: House, tmp_path: Path) -> None:
    house.priced = False
    session = await AgentSession.open(house.connection, SessionSettings(folder=tmp_path))
    async with listening(session) as heard:
        told = await heard.wait(Notice)
        assert told.text.startswith("No price is known for local/smollm2, sim/fast")
    await session.close()

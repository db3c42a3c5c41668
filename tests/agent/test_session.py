from pathlib import Path

from tests.agent.house import House
from tests.agent.listening import listening

from whet_agent.events import OFFLINE_PLANNER, AssistantSaid, RunHeard, SessionOpened, Spent, ToolAnswered
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

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.agent.listening import Listener, listening

from whet_agent.connect import ConnectSettings, connect, find, stop
from whet_agent.events import AssistantSaid, Notice, RunHeard
from whet_agent.session import AgentSession, SessionSettings

SLOW = "/fanout --model sim/slow?first_ms=1500 --model sim/fast --mode first --enough 2 what is a monad?"


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[ConnectSettings]:
    yield ConnectSettings(data=tmp_path / "data")
    await stop(tmp_path / "data")


def kill(settings: ConnectSettings) -> None:
    os.kill(json.loads((settings.data / "server.json").read_text())["pid"], signal.SIGKILL)


async def open_session(settings: ConnectSettings) -> AgentSession:
    return await AgentSession.open(await connect(settings), SessionSettings(folder=settings.data / "agent"))


def notices(heard: Listener) -> list[str]:
    return [notice.text for notice in heard.all(Notice)]


async def test_a_server_killed_in_the_middle_is_started_again_and_the_run_goes_on(settings: ConnectSettings) -> None:
    session = await open_session(settings)
    async with listening(session) as heard:
        turn = await session.send(SLOW)
        begun = await heard.wait(RunHeard)
        kill(settings)
        ended = await heard.turn_ended(turn)
        assert (ended.state, ended.failure) == ("done", "")
        assert {run.run_id for run in heard.all(RunHeard)} == {begun.run_id}
        assert heard.all(RunHeard)[-1].event.HasField("run_finished")
        assert notices(heard) == [
            "The server is gone. Starting it again.",
            "The server is back. What was under way goes on.",
        ]
    await session.close()


async def test_a_server_that_died_between_two_messages_is_back_for_the_second(settings: ConnectSettings) -> None:
    session = await open_session(settings)
    async with listening(session) as heard:
        await heard.turn_ended(await session.send("/caps"))
        kill(settings)
        ended = await heard.turn_ended(await session.send("/models"))
        assert ended.state == "done"
        assert "sim/fast" in heard.all(AssistantSaid)[-1].text
    await session.close()


async def test_a_stopped_server_stays_stopped_while_nobody_needs_it(settings: ConnectSettings) -> None:
    session = await open_session(settings)
    async with listening(session) as heard:
        assert await stop(settings.data)
        assert await find(settings) is None
        assert notices(heard) == []
    async with asyncio.timeout(5):
        await session.close()

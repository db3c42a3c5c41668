"""A session in a process of its own, to be killed: `python child.py ADDRESS FOLDER MESSAGE`.

The message is calls, joined by `&&`. Prints the session's id, then the kind of everything that is heard.
"""

import asyncio
import sys
from pathlib import Path

from whet_agent.connect import Connection
from whet_agent.conversation import ToolRequest
from whet_agent.model.base import Thought
from whet_agent.model.scripted import ScriptedMind
from whet_agent.session import AgentSession, SessionSettings


async def main(address: str, folder: str, message: str) -> None:
    connection = Connection(address=address, person_token="person-token", agent_token="agent-token", embedded=False)
    calls = [
        ToolRequest(call_id=f"c{number}", name=name, arguments=arguments)
        for number, (name, _, arguments) in enumerate(part.partition(" ") for part in message.split(" && "))
    ]
    mind = ScriptedMind([Thought(calls=tuple(calls))])
    session = await AgentSession.open(connection, SessionSettings(folder=Path(folder)), mind=mind)
    print(session.session_id, flush=True)  # noqa: T201 -- the parent reads it
    await session.send(message)
    async for envelope in session.events():
        print(type(envelope.happening).__name__, flush=True)  # noqa: T201 -- the parent reads it


asyncio.run(main(*sys.argv[1:]))

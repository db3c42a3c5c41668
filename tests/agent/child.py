"""A session in a process of its own, to be killed: `python child.py ADDRESS FOLDER MESSAGE [ARGUMENTS WORDS]`.

The message is calls, joined by `&&`. Prints the session's id, then the kind of everything that is heard. With ARGUMENTS
there is a person, who steers with WORDS and changes the first call that asks, then grants what it asks.
"""

import asyncio
import sys
from pathlib import Path

from whet_agent.connect import Connection
from whet_agent.conversation import ToolRequest
from whet_agent.events import ApprovalAsked
from whet_agent.model.base import Thought
from whet_agent.model.scripted import ScriptedMind
from whet_agent.session import AgentSession, SessionSettings


async def main(address: str, folder: str, message: str, arguments: str = "", words: str = "") -> None:
    connection = Connection(address=address, person_token="person-token", agent_token="agent-token", embedded=False)
    calls = [
        ToolRequest(call_id=f"c{number}", name=name, arguments=arguments)
        for number, (name, _, arguments) in enumerate(part.partition(" ") for part in message.split(" && "))
    ]
    mind = ScriptedMind([Thought(calls=tuple(calls))])
    session = await AgentSession.open(connection, SessionSettings(folder=Path(folder)), mind=mind)
    print(session.session_id, flush=True)  # noqa: T201 -- the parent reads it
    await session.send(message)
    questions = 0
    async for envelope in session.events():
        print(type(envelope.happening).__name__, flush=True)  # noqa: T201 -- the parent reads it
        if arguments and isinstance(envelope.happening, ApprovalAsked):
            questions += 1
            change = arguments if questions == 1 else ""
            if change:
                await session.steer(words)
            await session.decide(envelope.happening.approval_id, grant=True, arguments_json=change)


asyncio.run(main(*sys.argv[1:]))

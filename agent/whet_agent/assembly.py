"""Put a session together: clients, mind, graph, worker. Importing this loads LangGraph; a session imports it in a
thread.
"""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from whet.v1 import model_pb2
from whet_agent.calls import Backend, method_named
from whet_agent.catalogue import tools
from whet_agent.client import CallError, Client
from whet_agent.connect import Connection
from whet_agent.events import Notice, SessionOpened
from whet_agent.graph import Thread
from whet_agent.model.base import Mind
from whet_agent.nodes import Context
from whet_agent.planner import OfflinePlanner
from whet_agent.purse import Purse
from whet_agent.record import Record
from whet_agent.turns import Turns

if TYPE_CHECKING:
    from whet_agent.session import SessionSettings

CHECKPOINTS = "checkpoints.sqlite"


async def assemble(
    connection: Connection, settings: "SessionSettings", home: Path, record: Record, mind: Mind | None
) -> Turns:
    """Return the worker of a session, under way. Its first word is that the session is open."""
    person = Client(connection.address, connection.person_token)
    agent = Client(connection.address, connection.agent_token)
    purse = Purse()
    mind = mind or OfflinePlanner()
    context = Context(session_id=home.name, mind=mind, agent=agent, tools=tools(), max_steps=settings.max_steps)
    thread = await Thread.open(settings.folder / CHECKPOINTS, home.name, context)
    turns = Turns(record=record, thread=thread, context=context, person=person, purse=purse)
    opened = SessionOpened(
        session_id=home.name,
        mind=mind.name,
        server=connection.address,
        panel=await _panel(agent, record),
        restored=bool(record.restored),
    )
    record.tell(opened)
    await turns.begin(record.restored)
    return turns


async def _panel(agent: Backend, record: Record) -> tuple[str, ...]:
    """Return the models that a plain question goes to."""
    try:
        answer = await agent.call(method_named("ModelService", "ListModels"), model_pb2.ListModelsRequest())
    except CallError as error:
        record.tell(Notice(level="warning", text=f"The models could not be listed: {error}"))
        return ()
    return tuple(model.name for model in cast("model_pb2.ListModelsResponse", answer).models if model.in_panel)

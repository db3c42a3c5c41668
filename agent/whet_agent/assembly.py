"""Put a session together: clients, mind, graph, worker. Importing this loads LangGraph; a session imports it in a
thread.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, cast

from whet.v1 import ledger_pb2, model_pb2
from whet_agent.calls import Backend, method_named
from whet_agent.catalogue import tools
from whet_agent.client import CallError, Client
from whet_agent.connect import Connection
from whet_agent.events import Notice, RunHeard, SessionOpened
from whet_agent.graph import Thread
from whet_agent.model.base import Mind
from whet_agent.model.billing import Billing
from whet_agent.nodes import Context
from whet_agent.planner import OfflinePlanner
from whet_agent.purse import Purse
from whet_agent.record import Record
from whet_agent.turns import Turns

if TYPE_CHECKING:
    from whet_agent.session import MindSettings, SessionSettings

CHECKPOINTS = "checkpoints.sqlite"


async def assemble(
    connection: Connection, settings: "SessionSettings", home: Path, record: Record, given: Mind | None
) -> Turns:
    """Return the worker of a session, under way. Its first word is that the session is open."""
    person = Client(connection.address, connection.person_token)
    agent = Client(connection.address, connection.agent_token)
    purse = Purse()
    mind = given
    if mind is None:
        mind = await asyncio.to_thread(_make_mind, settings.mind, agent, home.name, record, purse)
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
    for envelope in record.restored:
        if isinstance(envelope.happening, RunHeard):
            purse.hear(envelope.happening.run_id, envelope.happening.event)
    if record.restored and settings.mind is not None:
        await _earlier(agent, home.name, purse)
    await turns.begin(record.restored)
    return turns


def _make_mind(settings: "MindSettings | None", agent: Backend, session_id: str, record: Record, purse: Purse) -> Mind:
    """Return whoever thinks. Called in a thread: openai takes a second to import, embeddings nearly as long."""
    if settings is None:
        return OfflinePlanner()
    from whet_agent.model.chat import ChatMind

    def heard(reservation: ledger_pb2.Reservation) -> None:
        purse.take(reservation)
        record.tell(purse.spent())

    billing = Billing(agent=agent, session_id=session_id, model=settings.model, heard=heard)
    return ChatMind(base_url=settings.base_url, api_key=settings.api_key, billing=billing)


async def _panel(agent: Backend, record: Record) -> tuple[str, ...]:
    """Return the models that a plain question goes to."""
    try:
        answer = await agent.call(method_named("ModelService", "ListModels"), model_pb2.ListModelsRequest())
    except CallError as error:
        record.tell(Notice(level="warning", text=f"The models could not be listed: {error}"))
        return ()
    return tuple(model.name for model in cast("model_pb2.ListModelsResponse", answer).models if model.in_panel)


async def _earlier(agent: Backend, session_id: str, purse: Purse) -> None:
    """Ask the ledger what the mind of this session has spent before."""
    request = ledger_pb2.GetUsageRequest(run_id=session_id)
    try:
        answer = await agent.call(method_named("LedgerService", "GetUsage"), request)
    except CallError:
        return  # the sums of the screen begin at the runs then; the ledger itself is complete
    purse.take_earlier(cast("ledger_pb2.GetUsageResponse", answer).totals)

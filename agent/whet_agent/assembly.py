"""Put a session together: clients, mind, graph, worker. Importing this loads LangGraph; a session imports it in a
thread.
"""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from whet.v1 import ledger_pb2, model_pb2
from whet_agent.account import Account
from whet_agent.calls import Backend
from whet_agent.catalogue import method_named, tools
from whet_agent.client import CallError, Client
from whet_agent.connect import Connection
from whet_agent.decisions import Decisions
from whet_agent.events import Notice, SessionOpened
from whet_agent.graph import Thread
from whet_agent.lifeline import Lifeline
from whet_agent.memory import Memory
from whet_agent.model.base import Mind
from whet_agent.model.billing import Billing
from whet_agent.nodes import Context
from whet_agent.planner import CommandsFirst, OfflinePlanner
from whet_agent.purse import Purse
from whet_agent.record import Record
from whet_agent.sessions import CHECKPOINTS
from whet_agent.steering import Steering
from whet_agent.turns import Turns

SPARE: Final = "openai._vendor.httpx_aiohttp"
"""The SDK loads a second HTTP client wherever it finds one: 9 MB for something that nobody uses here."""

if TYPE_CHECKING:
    from whet_agent.session import MindSettings, SessionSettings


async def assemble(
    connection: Connection, settings: "SessionSettings", home: Path, record: Record, given: Mind | None
) -> Turns:
    """Return the worker of a session, under way. Its first word is that the session is open."""
    lifeline = Lifeline(connection, record.tell)
    person = Client(connection.address, connection.person_token, restore=lifeline.restore)
    agent = Client(connection.address, connection.agent_token, restore=lifeline.restore)
    restored = bool(record.tally.sequence)
    purse = Purse(record.tally.runs)
    account = Account(purse, max_cost_nanos=settings.max_cost_nanos, held=record.tally.held)
    panel, doubt = await _panel(agent)
    money = Money(agent=agent, session_id=home.name, record=record, purse=purse, account=account)
    thinker = await _thinker(given, settings.mind, money)
    planner = OfflinePlanner(panel=panel, backend=agent)
    memory = None if thinker is None else _memory(thinker, settings.mind, money)
    steering = Steering(record)
    context = Context(
        session_id=home.name,
        mind=planner if memory is None else CommandsFirst(memory, planner),
        agent=agent,
        tools=tools(),
        max_steps=settings.max_steps,
        account=account,
        decisions=Decisions(record, person, account),
        unheard=steering.unheard,
        spoken=steering.spoken,
    )
    thread = await Thread.open(settings.folder / CHECKPOINTS, home.name, context, number=record.tally.thread)
    turns = Turns(
        record=record,
        thread=thread,
        context=context,
        person=person,
        lifeline=lifeline,
        purse=purse,
        memory=memory,
        steering=steering,
    )
    record.tell(
        SessionOpened(
            session_id=home.name,
            mind=context.mind.name,
            server=connection.address,
            panel=panel,
            restored=restored,
        )
    )
    if doubt:
        record.tell(Notice(level="warning", text=doubt))
    if restored:
        await _earlier(agent, home.name, purse)
    turns.begin(record.restored)
    record.restored = ()  # a long turn need not be held twice
    return turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What a mind that costs something is accounted with."""

    agent: Backend
    session_id: str
    record: Record
    purse: Purse
    account: Account

    def heard(self, reservation: ledger_pb2.Reservation) -> None:
        self.purse.take(reservation)
        self.record.tell(self.purse.spent())


async def _thinker(given: Mind | None, settings: "MindSettings | None", money: Money) -> Mind | None:
    """Return the model that thinks; None when the planner does."""
    if given is not None or settings is None:
        return given
    # openai takes a second to import, and its client reads certificates.
    return await asyncio.to_thread(chat_mind, settings, money)


def _memory(mind: Mind, settings: "MindSettings | None", money: Money) -> Memory:
    window = settings.context_tokens if settings is not None else 0
    return Memory(mind, record=money.record, session_id=money.session_id, tools=tools(), window=window)


def chat_mind(settings: "MindSettings", money: Money) -> Mind:
    """Return a model that thinks, after loading the SDK."""
    sys.modules.setdefault(SPARE, None)  # type: ignore[arg-type]  # Python's own way to say: not here
    from whet_agent.model.chat import ChatMind

    billing = Billing(
        agent=money.agent,
        session_id=money.session_id,
        model=settings.model,
        heard=money.heard,
        account=money.account,
    )
    return ChatMind(base_url=settings.base_url, api_key=settings.api_key, billing=billing)


async def _panel(agent: Backend) -> tuple[tuple[str, ...], str]:
    """Return the models that a plain question goes to, and what there is to doubt about them."""
    try:
        answer = await agent.call(method_named("ModelService", "ListModels"), model_pb2.ListModelsRequest())
    except CallError as error:
        return (), f"The models could not be listed: {error}"
    models = [model for model in cast("model_pb2.ListModelsResponse", answer).models if model.in_panel]
    unpriced = ", ".join(model.name for model in models if not model.HasField("price"))
    doubt = (
        f"No price is known for {unpriced}: what it costs is not counted. config.toml can set one." if unpriced else ""
    )
    return tuple(model.name for model in models), doubt


async def _earlier(agent: Backend, session_id: str, purse: Purse) -> None:
    """Ask the ledger what the mind of this session has spent before."""
    request = ledger_pb2.GetUsageRequest(run_id=session_id)
    try:
        answer = await agent.call(method_named("LedgerService", "GetUsage"), request)
    except CallError:
        return  # the sums of the screen begin at the runs then; the ledger itself is complete
    purse.take_earlier(cast("ledger_pb2.GetUsageResponse", answer).totals)

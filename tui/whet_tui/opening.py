"""From settings to a session: find or start the server, choose the mind, open the conversation."""

import asyncio
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Final

from whet_agent.catalogue import methods, request_from
from whet_agent.client import CallError, Client
from whet_agent.connect import Connection, ConnectSettings, connect
from whet_agent.session import AgentSession, MindSettings, SessionSettings
from whet_agent.sessions import home_of
from whet_tui.settings import FALLBACK_MODEL, PREFERRED, MindChoice, Settings

_LIST_SECONDS = 10.0
"""An endpoint that does not list its models in this time is not waited for: the fallback is named instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What whoever scripts a session allows it; None is the session's own default."""

    max_steps: int | None = None
    max_cost_nanos: int | None = None


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A session and the server behind it."""

    session: AgentSession
    connection: Connection


def connect_settings(settings: Settings) -> ConnectSettings:
    return ConnectSettings(data=settings.data, config=settings.config, address=settings.server, token=settings.token)


async def open_session(settings: Settings, session_id: str = "", limits: Limits = NO_LIMITS) -> Opened:
    """Open a new session or the one named. Raises `ServerUnavailable` and the session's own errors."""
    if session_id:
        home_of(settings.data / "agent", session_id)  # who mistypes an id need not wait for a server
    # The graph and the mind's SDK take two seconds to load: the server starts meanwhile.
    connection, _ = await asyncio.gather(
        connect(connect_settings(settings)), asyncio.to_thread(import_module, "whet_agent.assembly")
    )
    mind = await mind_for(settings.mind, connection)
    wanted = SessionSettings(folder=settings.data / "agent", mind=mind, max_cost_nanos=limits.max_cost_nanos)
    if limits.max_steps is not None:
        wanted = replace(wanted, max_steps=limits.max_steps)
    session = await AgentSession.open(connection, wanted, session_id=session_id)
    return Opened(session=session, connection=connection)


async def mind_for(choice: MindChoice | None, connection: Connection) -> MindSettings | None:
    """Return the mind: the model that was named, else the best that the endpoint lists, else its first, else the
    fallback.
    """
    if choice is None:
        return None
    model = choice.model or f"openai/{_preferred(await _listed(connection))}"
    mind = MindSettings(base_url=choice.base_url, api_key=choice.api_key, model=model)
    return replace(mind, context_tokens=choice.context_tokens) if choice.context_tokens else mind


def _preferred(listed: list[str]) -> str:
    return next((model for model in PREFERRED if model in listed), next(iter(listed), FALLBACK_MODEL))


async def _listed(connection: Connection) -> list[str]:
    """The models that the endpoint `openai` names, which costs nothing to ask; none when it cannot be asked."""
    method = next(method for method in methods() if method.name == "TestEndpoint")
    client = Client(connection.address, connection.person_token)
    try:
        answer = await client.call(method, request_from(method, {"name": "openai"}), timeout=_LIST_SECONDS)
    except CallError:
        return []
    finally:
        await client.close()
    return list(getattr(answer, "models", ()))

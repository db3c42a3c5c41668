"""Between the screen and the agent: what the screen needs of a session, and how one is opened."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from whet_tui.chat_settings import ChatSettings
from whet_tui.surroundings import Named

if TYPE_CHECKING:
    from whet_agent.events import ApprovalMode, Envelope
    from whet_agent.session import SessionSummary


_NAMED_RUNS: Final = 100
"""Runs that are offered: who means an older one knows its id."""
_ASK_SECONDS: Final = 5.0


class ChatSession(Protocol):
    """The part of `whet_agent.session.AgentSession` that the screen uses."""

    session_id: str

    async def send(self, text: str) -> int: ...

    async def steer(self, text: str) -> int: ...

    async def withdraw(self, turn: int) -> bool: ...

    async def decide(self, approval_id: str, *, grant: bool, reason: str = "", arguments_json: str = "") -> None: ...

    async def cancel(self) -> bool: ...

    async def set_mode(self, mode: "ApprovalMode", allowance_nanos: int = 0) -> None: ...

    async def rewind(self, turn: int) -> str: ...

    async def fork(self, turn: int = 0) -> str: ...

    async def compact(self) -> None: ...

    async def expand(self) -> None: ...

    async def rename(self, title: str) -> None: ...

    def events(self, since: int = 0) -> "AsyncIterator[Envelope]": ...

    async def close(self) -> None: ...


Progress: TypeAlias = Callable[[str], None]
"""Told in words what is being waited for."""

Opener: TypeAlias = Callable[[Progress], Awaitable[ChatSession]]
"""Opens the session. Raises `NotOpened`."""


Lister: TypeAlias = "Callable[[], Sequence[SessionSummary]]"
"""Lists earlier sessions, the one used last first."""


class NotOpened(Exception):
    """There is no session. `str()` says why and what to do."""


async def open_session(settings: ChatSettings, progress: Progress) -> ChatSession:
    """Find or start the server, load the agent beside it, open the session. Heavy imports run in a thread."""
    progress("loading the client")
    await asyncio.to_thread(import_module, "whet_tui.opening")
    from whet_agent.connect import ServerUnavailable, connect  # loaded by now, after the first frame
    from whet_tui.opening import connect_settings, mind_for  # the same

    progress("starting the server" if not settings.settings.server else f"connecting to {settings.settings.server}")
    try:
        connection, _ = await asyncio.gather(
            connect(connect_settings(settings.settings)), asyncio.to_thread(import_module, "whet_agent.assembly")
        )
    except ServerUnavailable as error:
        raise NotOpened(str(error)) from error
    from whet_agent.session import AgentSession, SessionError, SessionSettings  # the same

    progress("loading the agent")
    mind = await mind_for(settings.settings.mind, connection)
    try:
        return await AgentSession.open(
            connection, SessionSettings(folder=settings.sessions, mind=mind), session_id=settings.resume
        )
    except SessionError as error:
        raise NotOpened(str(error)) from error


def list_sessions(settings: ChatSettings) -> "Sequence[SessionSummary]":
    """List the sessions of the data directory. Reads files: call it in a thread."""
    from whet_agent import session

    return session.list_sessions(settings.sessions)


async def ask_server(settings: ChatSettings) -> Named:
    """Ask the server for what it knows by name. What cannot be asked is left out: it would only have been offered."""
    from whet_agent.catalogue import methods, request_from  # loaded with the session
    from whet_agent.client import CallError, Client
    from whet_agent.connect import ServerUnavailable, connect
    from whet_tui.opening import connect_settings

    by_name = {method.name: method for method in methods()}
    try:
        connection = await connect(connect_settings(settings.settings))
        client = Client(connection.address, connection.person_token)
    except ServerUnavailable:
        return Named()
    try:
        runs, models = by_name["ListFanouts"], by_name["ListModels"]
        listed = await client.call(runs, request_from(runs, {"page": {"size": _NAMED_RUNS}}), timeout=_ASK_SECONDS)
        offered = await client.call(models, request_from(models, {}), timeout=_ASK_SECONDS)
    except CallError:
        return Named()
    finally:
        await client.close()
    return Named(
        runs={run.run_id: run.title for run in getattr(listed, "fanouts", ())},
        models=[model.name for model in getattr(offered, "models", ())],
    )

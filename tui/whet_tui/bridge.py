"""Between the screen and the agent: what the screen needs of a session, and how one is opened."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from whet_tui.chat_settings import ChatSettings
from whet_tui.desk import Desk, DeskError, DeskOpener
from whet_tui.schema import ChatTable
from whet_tui.shelf import FolderShelf, Shelf, ShelfError
from whet_tui.surroundings import Named

if TYPE_CHECKING:
    from whet_agent.connect import Connection
    from whet_agent.events import ApprovalMode, Decider, Envelope


class ChatSession(Protocol):
    """The part of `whet_agent.session.AgentSession` that the screen uses."""

    session_id: str

    async def send(self, text: str) -> int: ...

    async def steer(self, text: str) -> int: ...

    async def withdraw(self, turn: int) -> bool: ...

    async def decide(
        self, approval_id: str, *, grant: bool, reason: str = "", arguments_json: str = "", by: "Decider" = "person"
    ) -> None: ...

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
        session: ChatSession = await AgentSession.open(
            connection, SessionSettings(folder=settings.sessions, mind=mind), session_id=settings.resume
        )
    except SessionError as error:
        raise NotOpened(str(error)) from error
    if not settings.resume:
        await arrange(session, settings.settings.chat)
    return session


def shelf_of(settings: ChatSettings) -> Shelf:
    """Return the sessions of the data directory."""

    async def connected() -> "Connection":
        from whet_agent.connect import connect  # after the first frame
        from whet_tui.opening import connect_settings  # the same

        return await connect(connect_settings(settings.settings))

    return FolderShelf(settings.sessions, connected)


def desk_opener(settings: ChatSettings) -> DeskOpener:
    """Return what opens the desk at the first call and returns the same one afterwards."""
    return _OneDesk(settings).open


class _OneDesk:
    def __init__(self, settings: ChatSettings) -> None:
        self._settings = settings
        self._desk: Desk | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> Desk:
        async with self._opening:
            if self._desk is None:
                self._desk = await _open_desk(self._settings)
            return self._desk


async def _open_desk(settings: ChatSettings) -> Desk:
    await asyncio.to_thread(import_module, "whet_tui.opening")
    await asyncio.to_thread(import_module, "whet_tui.grpc_desk")
    from whet_agent.connect import ServerUnavailable, connect  # loaded by now, after the first frame
    from whet_tui.grpc_desk import GrpcDesk  # the same
    from whet_tui.opening import connect_settings  # the same

    try:
        return GrpcDesk(await connect(connect_settings(settings.settings)))
    except ServerUnavailable as error:
        raise DeskError(str(error)) from error


async def arrange(session: ChatSession, chat: ChatTable) -> None:
    """Give a new session the mode that the settings name; one that is taken up has its own."""
    if chat.approval_mode != "ask":
        await session.set_mode(cast("ApprovalMode", chat.approval_mode), chat.allowance_nanos)


async def names_from(opener: DeskOpener) -> Named:
    """What the server knows by name. What cannot be asked is left out: it would only have been offered."""
    try:
        desk = await opener()
        runs, endpoints = await desk.runs(), await desk.endpoints()
    except DeskError:
        return Named()
    return Named(
        runs={run.run_id: run.title for run in runs},
        models=[model.name for endpoint in endpoints for model in endpoint.models],
    )


async def cut_short(shelf: Shelf, resumed: str) -> str:
    """The title of the conversation used last if a crash ended it; empty for one that is taken up right now."""
    try:
        latest = next(iter(await shelf.sessions()), None)
    except ShelfError:
        return ""
    return latest.title if latest is not None and latest.crashed and latest.session_id != resumed else ""

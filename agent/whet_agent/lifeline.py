"""A session's hold on its server: a sign of life while the session is open, and a new server when the old one died."""

import asyncio
from collections.abc import Callable
from typing import Final

from whet_agent.connect import Connection, ServerUnavailable, connect, find
from whet_agent.events import Happening, Notice
from whet_agent.health import watch_health

LOOK_SECONDS: Final = 5.0
"""How long after a lost watch the next one is tried when nobody has needed the server meanwhile."""


class Lifeline:
    """Watches the server's health, which keeps an embedded one from going home while nobody talks to it. A dead
    embedded server is started again by the first call that misses it: one that was stopped on purpose stays stopped
    until then.
    """

    def __init__(self, connection: Connection, tell: Callable[[Happening], object]) -> None:
        self._connection = connection
        self._tell = tell
        self._mending = asyncio.Lock()
        self._mended = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    def hold(self) -> None:
        """Begin to watch."""
        self._watching = asyncio.create_task(self._watch(), name="health watch")

    async def restore(self) -> str:
        """Return where the server answers, after starting it if it is ours and gone; empty when it stays away."""
        settings = self._connection.settings
        if settings is None:
            return ""
        async with self._mending:
            found = await find(settings)
            if found is None:
                self._tell(Notice(level="warning", text="The server is gone. Starting it again."))
                try:
                    found = await connect(settings)
                except ServerUnavailable as error:
                    self._tell(Notice(level="error", text=str(error)))
                    return ""
                self._tell(Notice(level="info", text="The server is back. What was under way goes on."))
            self._connection = found
            self._mended.set()
        return found.address

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    async def _watch(self) -> None:
        while True:
            self._mended.clear()
            async for _ in watch_health(self._connection.address):
                pass
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._mended.wait()
            except TimeoutError:
                continue

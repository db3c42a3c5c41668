"""Wait for what a session tells, under a deadline."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from whet_agent.events import Envelope, Happening, TurnEnded
from whet_agent.session import AgentSession

T = TypeVar("T", bound=Happening)

DEADLINE = 20.0


@dataclass
class Listener:
    """Everything heard so far."""

    heard: list[Envelope] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def all(self, kind: type[T]) -> list[T]:
        return [e.happening for e in self.heard if isinstance(e.happening, kind)]

    async def wait(self, kind: type[T], test: Callable[[T], bool] = lambda _: True, *, count: int = 1) -> T:
        """Return the `count`-th happening of a kind that passes the test."""
        async with asyncio.timeout(DEADLINE):
            while True:
                self.news.clear()
                found = [happening for happening in self.all(kind) if test(happening)]
                if len(found) >= count:
                    return found[count - 1]
                await self.news.wait()

    async def turn_ended(self, turn: int) -> TurnEnded:
        return await self.wait(TurnEnded, lambda ended: ended.turn == turn)


@asynccontextmanager
async def listening(session: AgentSession, since: int = 0) -> AsyncIterator[Listener]:
    listener = Listener()

    async def listen() -> None:
        async for envelope in session.events(since):
            listener.heard.append(envelope)
            listener.news.set()

    task = asyncio.create_task(listen())
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.wait({task})

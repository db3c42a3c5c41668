"""A chat on a scripted session without a terminal, and hands on its keyboard."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import Static

from whet_agent.events import ApprovalAsked
from whet_tui.application import ChatApp
from whet_tui.bridge import ChatSession, Progress
from whet_tui.desk import Desk, DeskError
from whet_tui.memory_shelf import MemoryShelf
from whet_tui.screens.chat import ChatScreen
from whet_tui.scripted import ScriptedSession
from whet_tui.surroundings import Surroundings
from whet_tui.widgets.approval_tray import ApprovalTray
from whet_tui.widgets.composer import Composer
from whet_tui.widgets.offer_list import OfferList
from whet_tui.widgets.status_line import StatusLine
from whet_tui.widgets.transcript import Transcript

PATIENCE = 5.0


async def no_desk() -> Desk:
    raise DeskError("There is no server here.")


@dataclass
class Stage:
    """A chat under way, what it heard, and hands on the keyboard."""

    app: ChatApp
    pilot: Pilot[str]
    session: ScriptedSession
    now: float = 0.0

    @property
    def chat(self) -> ChatScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    @property
    def composer(self) -> Composer:
        return self.chat.query_one(Composer)

    @property
    def tray(self) -> ApprovalTray:
        return self.chat.query_one(ApprovalTray)

    @property
    def transcript(self) -> Transcript:
        return self.chat.query_one(Transcript)

    def lines(self) -> list[str]:
        height = self.transcript.size.height
        return [self.transcript.render_line(y).text.rstrip() for y in range(height)]

    def card_text(self) -> str:
        return "\n".join(str(widget.render()) for widget in self.tray.query("Static"))

    def offers(self) -> list[str]:
        return [offer.text for offer in self.chat.query_one(OfferList).offers.found]

    def queue(self) -> str:
        queue = self.chat.query_one("#queue", Static)
        return str(queue.render()) if queue.display else ""

    async def paste(self, text: str) -> None:
        self.composer.post_message(Paste(text))
        await self.pilot.pause()

    def status(self) -> str:
        return self.chat.query_one(StatusLine).render().plain

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop run until the condition holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self.pilot.pause(0.01)

    async def until_shown(self, words: str) -> None:
        await self.until(lambda: any(words in line for line in self.lines()))

    async def type(self, text: str) -> None:
        self.composer.insert(text)
        await self.pilot.pause()

    async def press(self, text: str) -> None:
        """Type letter by letter."""
        await self.pilot.press(*("space" if letter == " " else letter for letter in text))

    async def say(self, text: str) -> None:
        await self.type(text)
        await self.pilot.press("enter")
        await self.session.until_asked(len(self.session.sent) or 1, "sent")


@asynccontextmanager
async def staged(
    size: tuple[int, int] = (100, 30), around: Surroundings | None = None, session: ScriptedSession | None = None
) -> AsyncIterator[Stage]:
    session = session or ScriptedSession()
    await session.open()

    async def opener(progress: Progress) -> ChatSession:
        progress("raising the curtain")
        return session

    app = ChatApp(opener, no_desk, MemoryShelf(), around=around)
    async with app.run_test(size=size) as pilot:
        stage = Stage(app, pilot, session)
        stage.tray._clock = lambda: stage.now
        await stage.until(lambda: "scripted mind" in stage.status())
        yield stage


def card(approval_id: str, turn: int = 1, arguments: str = '{"spec": {"prompt": "What?"}}') -> ApprovalAsked:
    return ApprovalAsked(
        turn=turn,
        key=f"s/{turn}/{approval_id}",
        approval_id=approval_id,
        tool="fanout",
        summary="Ask several models",
        effect="spends",
        arguments_json=arguments,
        digest="0123456789abcdef",
        worst_cost_nanos=3_100_000_000,
        expires_at="12:30:00",
    )

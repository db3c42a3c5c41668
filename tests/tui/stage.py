"""A chat on a scripted session, for tests that need a real terminal: `python -m tests.tui.stage SCENE LOG`."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from whet_tui.application import ChatApp
from whet_tui.bridge import ChatSession, Progress
from whet_tui.desk import Desk, DeskError
from whet_tui.memory_shelf import MemoryShelf
from whet_tui.stray import stray_output_to
from whet_tui.surroundings import Surroundings

MARKDOWN = (
    "A **monad** is a value in a context, with a way to chain steps that each give such a value.\n\n"
    "- unit puts a value in\n- bind chains\n\n```python\ndef unit(x):\n    return [x]\n```\n\n"
)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[?1049l\x9b31mred [@click=app.bell]press[/] \x1b]52;c;AAAA\x07 \u202eesrever"
HOSTILE_MARKDOWN = f"{HOSTILE} [link](http://evil.example/\x1b]0;x\x07)\n\n```\n{HOSTILE}\n```"
TOKENS_A_SECOND = 300


class Play:
    """Opens the scripted session and plays one scene on it."""

    def __init__(self, scene: str) -> None:
        self._scene: Callable[[object], Awaitable[None]] = SCENES[scene]
        self._task: asyncio.Task[None] | None = None

    async def open(self, progress: Progress) -> ChatSession:
        from whet_tui.scripted import ScriptedSession

        progress("raising the curtain")
        session = ScriptedSession()
        await session.open()
        self._task = asyncio.create_task(self._play(session))
        return session

    async def desk(self) -> Desk:
        raise DeskError("There is no server on a stage.")

    async def _play(self, session: object) -> None:
        await self._scene(session)


async def idle(session: object) -> None:
    """Nothing happens."""


async def quick(session: object) -> None:
    """Every message becomes a fan-out, at once."""
    await fanouts(session, pause=0.0)


async def fanouts(session: object, pause: float = 0.05) -> None:
    """Every message becomes a fan-out, slowly enough to watch."""
    from tests.tui import story

    from whet_agent.events import AssistantSaid, RunHeard, Spent, ToolAnswered, ToolAsked, TurnEnded
    from whet_tui.scripted import ScriptedSession

    assert isinstance(session, ScriptedSession)
    turn = 0
    while True:
        turn += 1
        await session.until_asked(turn, "sent")
        key = f"s/{turn}/c"
        await session.tell(ToolAsked(turn=turn, key=key, tool="fanout", arguments_json='{"spec":{"prompt":"monads"}}'))
        for event in story.fanout(int(time.time())):
            await session.tell(RunHeard(turn=turn, key=key, run_id=story.RUN, event=event))
            await asyncio.sleep(pause)
        await session.tell(
            ToolAnswered(turn=turn, key=key, tool="fanout", ok=True, text="done", run_id=story.RUN),
            AssistantSaid(turn=turn, step=2, text=story.ANSWER, author="offline planner", run_id=story.RUN),
            Spent(settled=1_230_000, unknown=500_000, reserved=0, input_tokens=120, output_tokens=310),
            TurnEnded(turn=turn, state="done"),
        )


async def long_stream(session: object) -> None:
    """A thousand messages, then an answer that streams without an end."""
    from whet_agent.events import AssistantSaid, MindSaid, TurnEnded, UserSaid
    from whet_tui.scripted import ScriptedSession

    assert isinstance(session, ScriptedSession)
    for turn in range(1, 501):
        await session.tell(
            UserSaid(turn=turn, text=f"question {turn}"),
            AssistantSaid(turn=turn, step=1, text=MARKDOWN, author="scripted mind"),
            TurnEnded(turn=turn, state="done"),
        )
    await session.tell(UserSaid(turn=501, text="and now at length"))
    text = MARKDOWN * 2000
    started, offset = time.monotonic(), 0
    while offset < len(text):
        piece = text[offset : offset + 4]
        await session.tell(MindSaid(turn=501, step=1, attempt=1, offset=offset, text=piece))
        offset += len(piece)
        ahead = started + offset / 4 / TOKENS_A_SECOND - time.monotonic()
        await asyncio.sleep(max(0.0, ahead))


async def hostile(session: object) -> None:
    """Everything that can be said is an attack on the terminal."""
    from whet_agent.events import (
        ApprovalAsked,
        AssistantSaid,
        MindSaid,
        Notice,
        ToolAnswered,
        ToolAsked,
        TurnEnded,
        UserSaid,
    )
    from whet_tui.scripted import ScriptedSession

    assert isinstance(session, ScriptedSession)
    await session.open(mind=HOSTILE, panel=(HOSTILE,))
    await session.tell(
        UserSaid(turn=1, text=HOSTILE),
        MindSaid(turn=1, step=1, attempt=1, offset=0, text=HOSTILE),
        AssistantSaid(turn=1, step=1, text=HOSTILE_MARKDOWN, author=HOSTILE),
        ToolAsked(turn=1, key="k", tool=HOSTILE, arguments_json=HOSTILE),
        ToolAnswered(turn=1, key="k", tool=HOSTILE, ok=False, text=HOSTILE),
        Notice(level="error", text=HOSTILE),
        TurnEnded(turn=1, state="failed", failure=HOSTILE),
        UserSaid(turn=2, text="end of the attack"),
        ApprovalAsked(
            turn=2,
            key="a",
            approval_id="apr_1",
            tool=HOSTILE,
            summary=HOSTILE,
            effect=HOSTILE,
            arguments_json=f'{{"prompt": "{HOSTILE}"}}',
            digest="abc",
            worst_cost_nanos=1,
            expires_at="12:00",
        ),
    )


async def approval(session: object) -> None:
    """The agent wants to spend."""
    from whet_agent.events import ApprovalAsked, ToolAsked, UserSaid
    from whet_tui.scripted import ScriptedSession

    assert isinstance(session, ScriptedSession)
    arguments = '{"spec": {"prompt": "What is a monad?", "models": ["openai/gpt-4.1", "local/smollm2"]}}'
    await session.tell(
        UserSaid(turn=1, text="ask the expensive ones"),
        ToolAsked(turn=1, key="k", tool="fanout", arguments_json=arguments),
        ApprovalAsked(
            turn=1,
            key="k",
            approval_id="apr_1",
            tool="fanout",
            summary="Ask several models the same question side by side and draft one answer from theirs",
            effect="spends",
            arguments_json=arguments,
            digest="0123456789abcdef",
            worst_cost_nanos=3_100_000_000,
            expires_at="12:30:00",
        ),
    )


async def cards(session: object) -> None:
    """A card appears and goes again and again. Decisions are written to standard output, which is the log."""
    from whet_agent.events import ApprovalAsked, ApprovalDecided, UserSaid
    from whet_tui.scripted import ScriptedSession

    assert isinstance(session, ScriptedSession)
    await session.tell(UserSaid(turn=1, text="ask the expensive ones"))
    for number in range(1_000):
        key, name = f"k{number}", f"apr_{number}"
        await session.tell(
            ApprovalAsked(
                turn=1,
                key=key,
                approval_id=name,
                tool="fanout",
                summary="Ask several models",
                effect="spends",
                arguments_json='{"spec": {"prompt": "What?"}}',
                digest="0123456789abcdef",
                worst_cost_nanos=number,
                expires_at="12:30:00",
            )
        )
        await asyncio.sleep(0.6)
        await session.tell(
            ApprovalDecided(turn=1, key=key, approval_id=name, granted=False, reason="gone", by="elsewhere")
        )
        os.write(1, f"decided: {len(session.decisions)}\n".encode())


async def fault(session: object) -> None:
    """A happening that nobody knows: a mistake in the program."""
    from whet_tui.scripted import ScriptedSession

    class TheRoofFellIn:
        """Has no place in the reducer."""

    assert isinstance(session, ScriptedSession)
    await session.tell(TheRoofFellIn())  # type: ignore[arg-type]  # that is the mistake


async def noisy(session: object) -> None:
    """Libraries print, from Python and from C."""
    os.write(1, b"printed to one\n")
    os.write(2, b"printed to two\n")
    sys.stderr.write("printed by python\n")


SCENES = {
    "quick": quick,
    "fault": fault,
    "noisy": noisy,
    "approval": approval,
    "cards": cards,
    "idle": idle,
    "fanouts": fanouts,
    "long_stream": long_stream,
    "hostile": hostile,
}


def main() -> None:
    play = Play(sys.argv[1])
    app = ChatApp(
        play.open,
        play.desk,
        MemoryShelf(),
        around=Surroundings(editor=os.environ.get("EDITOR", "")),
        theme=sys.argv[3] if len(sys.argv) > 3 else "dark",
    )
    with stray_output_to(Path(sys.argv[2])):
        app.run()
    sys.exit(app.return_code or 0)


if __name__ == "__main__":
    main()

"""The live things that a node works with. They never enter the state, which is kept on disk."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from whet_agent.account import Account
from whet_agent.calls import Backend
from whet_agent.catalogue import Tool
from whet_agent.conversation import Entry
from whet_agent.decisions import Decisions
from whet_agent.events import Happening
from whet_agent.json_object import JsonObject
from whet_agent.model.base import Mind


def _nobody(happening: Happening) -> None:
    """Hear nothing."""


def _nothing(turn: int, entries: Sequence[Entry]) -> list[Entry]:
    """Nothing was said in the meantime."""
    return []


async def _silence(turn: int) -> None:
    """Nobody ever speaks."""
    await asyncio.Event().wait()


def _no_person(question: JsonObject) -> JsonObject:
    raise RuntimeError("a node asked for a decision outside the graph")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a node may use. The graph fills in `hear` and `ask` for the task at hand."""

    session_id: str
    mind: Mind
    agent: Backend
    """The client with the agent's token: an agent cannot approve its own calls."""
    tools: Mapping[str, Tool]
    max_steps: int
    running: dict[str, str] = field(default_factory=dict)
    """Runs that open calls began, by the call's key: what a cancel has to end at the server."""
    account: Account
    """What the session may still spend."""
    decisions: Decisions
    """How calls that need a yes are answered in the session's mode."""
    unheard: Callable[[int, Sequence[Entry]], list[Entry]] = _nothing
    """What the person has said into a turn and its conversation does not hold yet."""
    spoken: Callable[[int], Awaitable[None]] = _silence
    """Wait until the person says something into a turn."""
    hear: Callable[[Happening], None] = _nobody
    ask: Callable[[JsonObject], JsonObject] = _no_person
    """Ask the person and wait, however long, over restarts too. Takes and returns what can be kept on disk."""

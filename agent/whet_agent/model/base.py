"""What a mind is: it reads the conversation and says something, or asks for calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from whet_agent.catalogue import Tool
from whet_agent.conversation import Entry, ToolRequest
from whet_agent.events import Compacted

Saying = Callable[[int, int, str], None]
"""Told as the text grows: the attempt, where the new text begins, the text. A higher attempt withdraws what a lower
one said.
"""


class MindError(Exception):
    """The mind could not answer. `str()` is one sentence or two: what went wrong and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a mind is asked to think about. `tools` are those it may call, `earlier` is what it reads in place of the
    first turns, `prompt` names its instructions.
    """

    session_id: str
    turn: int
    step: int
    entries: Sequence[Entry]
    tools: Mapping[str, Tool]
    earlier: Compacted | None = None
    prompt: str = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """What came of it: text, calls, or both. `quoted_run` names the run whose answer the text is, word for word.
    `author` is whoever thought it, when that was not the mind that was asked. `used` is how many tokens of its window
    the conversation fills, 0 when the provider did not say.
    """

    text: str = ""
    author: str = ""
    calls: tuple[ToolRequest, ...] = ()
    simulated: bool = False
    quoted_run: str = ""
    used: int = 0


class Mind(Protocol):
    """Whatever decides what to do next."""

    @property
    def name(self) -> str:
        """Under which it answers."""

    async def think(self, moment: Moment, saying: Saying) -> Thought:
        """Say something or ask for calls. Raises `MindError`."""

    async def close(self) -> None:
        """Give up its connections."""

"""A model that thinks, with the planner beside it for what is typed as a command."""

from collections.abc import Sequence
from dataclasses import replace

from whet_agent.conversation import Entry
from whet_agent.model.base import Mind, Moment, Saying, Thought
from whet_agent.planner.commands import is_command
from whet_agent.planner.planner import OfflinePlanner


class CommandsFirst:
    """A slash command means the same whoever thinks, and costs nothing to understand; everything else is the mind's."""

    def __init__(self, mind: Mind, planner: OfflinePlanner) -> None:
        self.name = mind.name
        self._mind = mind
        self._planner = planner

    async def think(self, moment: Moment, saying: Saying) -> Thought:
        """Raises `MindError`."""
        if not is_command(_said_last(moment.entries)):
            return await self._mind.think(moment, saying)
        return replace(await self._planner.think(moment, saying), author=self._planner.name)

    async def close(self) -> None:
        await self._mind.close()
        await self._planner.close()


def _said_last(entries: Sequence[Entry]) -> str:
    """Return what the person said last."""
    return next((str(entry["m"]["content"]) for entry in reversed(entries) if entry["m"]["role"] == "user"), "")

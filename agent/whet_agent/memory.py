"""What the mind reads of a long conversation: all of it while it fits its window, else a summary of the early turns.

What holds is what the journal says (`Compacted`, `Expanded`); the turns themselves stay in the checkpoints, so that
nothing is lost and the mind can read everything again.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from whet_agent.catalogue import Tool
from whet_agent.conversation import Entry, calls_of, from_user, turn_of
from whet_agent.events import Compacted, ContextUsed, Notice
from whet_agent.json_object import JsonView
from whet_agent.model.base import Mind, MindError, Moment, Saying, Thought
from whet_agent.model.messages import request_of
from whet_agent.record import Record
from whet_agent.results import fenced, shorten

FULL: Final = 0.8
"""A request that fills more of the window than this is shortened first: the rest is for the answer, and for what is
read next.
"""

LEFT: Final = 0.5
"""What is kept word for word should fill no more than this of what the instructions and tools leave, or the next
summary would come at once.
"""

KEPT_TURNS: Final = 3
"""How many turns are kept word for word where they fit: what is being talked about."""

CHARACTERS_A_TOKEN: Final = 4
"""In most languages; a provider's own count, where there is one, takes its place when it is higher."""

UNKNOWN_WINDOW: Final = 32_000
"""Tokens of conversation that are summarised at once when the window is not known."""

_FRAME: Final = 40
"""Characters that stand around the content of a message, or around the name or the arguments of a call."""

_AS_JSON: Final = json.JSONEncoder(ensure_ascii=False).encode

PARTS: Final = 6
"""A conversation that was never summarised is read in at most about as many parts. The longer it is, the less of each
message.
"""

TOLD_CHARACTERS: Final = (200, 4_000)
"""The least and the most of one message in what is summarised."""


class Memory:
    """A mind that thinks within its window."""

    def __init__(self, mind: Mind, *, record: Record, session_id: str, tools: Mapping[str, Tool], window: int) -> None:
        """`window` is in tokens, 0 when it is not known: nothing is compacted by itself then."""
        self.name = mind.name
        self._mind = mind
        self._record = record
        self._session_id = session_id
        self._tools = tools
        self._window = window
        self._reported = 0
        self._gave_up = 0
        self._compacting = asyncio.Lock()

    async def think(self, moment: Moment, saying: Saying) -> Thought:
        """Raises `MindError`."""
        await self._fit(moment)
        moment = replace(moment, earlier=self._record.tally.compacted)
        thought = await self._mind.think(moment, saying)
        self._reported = thought.used
        tokens = thought.used or _size(moment) + len(thought.text) // CHARACTERS_A_TOKEN
        self._record.tell(ContextUsed(tokens=tokens, window=self._window, estimated=not thought.used))
        return thought

    async def close(self) -> None:
        await self._mind.close()

    async def compact(self, entries: Sequence[Entry], turn: int) -> bool:
        """Summarise what can be summarised; return whether there was anything. Raises `MindError`."""
        async with self._compacting:
            upto = self._upto(entries)
            if upto is None:
                return False
            before = self._moment(entries, turn)
            summary = await self._summarised(entries, turn, upto)
            after = Compacted(upto=upto, summary=summary, tokens_before=_size(before), tokens_after=0)
            after = replace(after, tokens_after=_size(replace(before, earlier=after)))
            if after.tokens_after >= after.tokens_before:
                raise MindError("The summary came out no shorter than what it would take the place of.")
            if upto not in self._record.tally.turns:
                raise MindError("The conversation has gone back meanwhile.")
            self._record.tell(after)
        self.measure(entries, turn)
        return True

    def measure(self, entries: Sequence[Entry], turn: int) -> None:
        """Tell how full the window is with these entries as they are read now."""
        self._reported = 0
        self._record.tell(ContextUsed(tokens=_size(self._moment(entries, turn)), window=self._window))

    async def _fit(self, moment: Moment) -> None:
        """Compact the conversation when it has to be. One that cannot be summarised is thought about as it is."""
        if not self._window or self._gave_up == moment.turn:
            return
        if max(_size(self._moment(moment.entries, moment.turn)), self._reported) <= FULL * self._window:
            return
        try:
            await self.compact(moment.entries, moment.turn)
        except MindError as error:
            self._gave_up = moment.turn
            self._record.tell(Notice(level="warning", text=f"The conversation could not be compacted. {error}"))

    def _moment(self, entries: Sequence[Entry], turn: int) -> Moment:
        earlier = self._record.tally.compacted
        return Moment(
            session_id=self._session_id, turn=turn, step=0, entries=entries, tools=self._tools, earlier=earlier
        )

    def _upto(self, entries: Sequence[Entry]) -> int | None:
        """Return the last turn to summarise: one that leaves the latest turns, as many of them as the window has room
        for.
        """
        earlier = self._record.tally.compacted
        turns = sorted({turn_of(entry) for entry in entries} - set(range(1, earlier.upto + 1 if earlier else 1)))
        fixed = _size(_moment_of([], self._tools))
        limit = fixed + LEFT * (FULL * self._window - fixed)
        found = None
        for kept in range(KEPT_TURNS, 0, -1):
            if len(turns) > kept:
                found = turns[-kept - 1]
                left = _moment_of([entry for entry in entries if turn_of(entry) > found], self._tools)
                if not self._window or _size(left) <= limit:
                    break
        return found

    async def _summarised(self, entries: Sequence[Entry], turn: int, upto: int) -> str:
        earlier = self._record.tally.compacted
        summary, begin = (earlier.summary, earlier.upto) if earlier else ("", 0)
        room = int(FULL / 2 * (self._window or UNKNOWN_WINDOW)) * CHARACTERS_A_TOKEN
        early = [entry for entry in entries if begin < turn_of(entry) <= upto]
        least, most = TOLD_CHARACTERS
        each = min(most, max(least, PARTS * room // max(1, len(early))))
        told = "\n\n".join(_told(entry, each) for entry in early)
        for start in range(0, len(told), room):
            before = f"Summary of what came before:\n{summary}\n\n" if summary else ""
            text = fenced("The beginning of a conversation", before + told[start : start + room])
            asked = [from_user(turn, f"{text}\nWrite the summary now.")]
            moment = Moment(session_id=self._session_id, turn=turn, step=0, entries=asked, tools={}, prompt="compact")
            summary = (await self._mind.think(moment, _unheard)).text.strip()
            if not summary:
                raise MindError(f"{self.name} gave no summary.")
        return summary


def _moment_of(entries: Sequence[Entry], tools: Mapping[str, Tool]) -> Moment:
    return Moment(session_id="", turn=0, step=0, entries=entries, tools=tools)


def _size(moment: Moment) -> int:
    """Return about how many tokens a request has, without writing it: this is asked before each thought."""
    messages, tools = request_of(moment)
    return (sum(map(_length, messages)) + len(_AS_JSON(tools))) // CHARACTERS_A_TOKEN


def _length(message: JsonView) -> int:
    arguments = [call["function"]["arguments"] for call in message.get("tool_calls", ())]
    return _FRAME + len(message["content"]) + sum(2 * _FRAME + len(text) for text in arguments)


def _told(entry: Entry, limit: int) -> str:
    """Return an entry as a line of a play."""
    content = shorten(entry["m"]["content"], limit, "left out")
    match entry["m"]["role"]:
        case "user":
            return f"Person: {content}"
        case "tool":
            return f"{entry.get('tool', 'a tool')} answered: {content}"
        case _:
            asked = [(call.name, shorten(call.arguments, limit, "left out")) for call in calls_of(entry)]
            calls = "".join(f"\nWhet called {name} with {arguments}" for name, arguments in asked)
            return f"Whet: {content}{calls}"


def _unheard(attempt: int, offset: int, text: str) -> None:
    """A summary is told when it is whole."""

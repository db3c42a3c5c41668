"""The mind that needs no model: slash commands, sentences like the catalogue's examples, questions for the panel."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from whet_agent.catalogue import Tool
from whet_agent.conversation import Entry, ToolRequest
from whet_agent.events import OFFLINE_PLANNER
from whet_agent.model.base import Moment, Saying, Thought
from whet_agent.planner.commands import is_command, parse
from whet_agent.planner.match import Matcher
from whet_agent.planner.plan import Call, Calls, Plan, Say, Situation, situation_of
from whet_agent.planner.sentences import Reader

_WATCHED: Final = frozenset({"fanout", "watch_fanout"})
_OPTION: Final = re.compile(r"^(\d)\. `(/[^`]+)`", re.MULTILINE)
_ORDINALS: Final = {"first": "1", "second": "2", "third": "3", "the first": "1", "the second": "2", "the third": "3"}


class OfflinePlanner:
    """Maps a message to tool calls, one after the other, or asks back; it hands on what each tool said."""

    name = OFFLINE_PLANNER

    def __init__(self, *, panel: tuple[str, ...] = ()) -> None:
        """`panel` are the models that a plain question goes to."""
        self._panel = panel
        self._matcher: asyncio.Task[Matcher] | None = None

    def prepare(self, tools: Mapping[str, Tool]) -> "asyncio.Task[Matcher]":
        """Begin to load the embeddings, in a thread, so that they are there when the first sentence is."""
        if self._matcher is None:
            self._matcher = asyncio.create_task(asyncio.to_thread(Matcher, tools), name="load embeddings")
        return self._matcher

    async def think(self, moment: Moment, saying: Saying) -> Thought:
        entries = moment.entries
        asked = next(index for index in reversed(range(len(entries))) if entries[index]["m"]["role"] == "user")
        calls = await self._calls(entries[: asked + 1], moment)
        if isinstance(calls, Say):
            return Thought(text=calls.text)
        done = [entry for entry in entries[asked:] if entry["m"]["role"] == "tool"]
        said = _handed_on(done[-1]) if done else Thought()
        if left := calls[len(done) :]:
            if done and not done[-1]["ok"]:
                return replace(said, text=f"{said.text}\n\n{_left(left)}")
            return replace(said, calls=(_request(left[0], moment.turn, len(done)),))
        return said

    async def _calls(self, entries: Sequence[Entry], moment: Moment) -> Sequence[Call] | Say:
        """Return the calls that the last message asks for, all of them: what is done of them is in the conversation."""
        situation = situation_of(entries, panel=self._panel)
        plan = await self._plan(_chosen(entries[-1]["m"]["content"], situation), situation, moment)
        match plan:
            case Call():
                return (plan,)
            case Calls():
                return plan.calls
            case Say():
                return plan

    async def close(self) -> None:
        """Give up what is still being loaded."""
        if self._matcher is not None:
            await asyncio.wait({self._matcher})

    async def _plan(self, text: str, situation: Situation, moment: Moment) -> Plan:
        if is_command(text):
            return parse(text, moment.tools, situation)
        matcher = await asyncio.shield(self.prepare(moment.tools))
        return Reader(tools=moment.tools, matcher=matcher).read(text, situation)


def _chosen(text: str, situation: Situation) -> str:
    """Return the command behind a number, when the planner has just asked back."""
    options: dict[str, str] = dict(_OPTION.findall(situation.last_said))
    word = text.strip().lower().rstrip(".!)")
    if len(options) == 1 and word in {"yes", "y", "yes please"}:
        word = next(iter(options))
    return options.get(_ORDINALS.get(word, word), text)


def _request(call: Call, turn: int, done: int) -> ToolRequest:
    number = f".{done + 1}" if done else ""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return ToolRequest(call_id=f"plan{turn:05}{number}", name=call.tool, arguments=arguments)


def _left(calls: Sequence[Call]) -> str:
    """Say what was not tried after a step that failed."""
    return f"Not done after that: {', '.join(f'`{call.tool}`' for call in calls)}. Say it again if you still want it."


def _handed_on(entry: Entry) -> Thought:
    """Say what the tool said; of a run that was watched, its own answer is enough."""
    if entry.get("answer") and entry["tool"] in _WATCHED:
        return Thought(text=entry["answer"], simulated=entry["simulated"], quoted_run=entry["run"])
    text = entry["m"]["content"]
    if entry.get("run") and entry["tool"] in _WATCHED:
        text = text.partition("\n\n")[0]  # what became of each branch has been seen
    return Thought(text=text, simulated=entry.get("simulated", False))

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
from whet_agent.planner.plan import Call, Plan, Situation, situation_of
from whet_agent.planner.sentences import Reader

_WATCHED: Final = frozenset({"fanout", "watch_fanout"})
_OPTION: Final = re.compile(r"^(\d)\. `(/[^`]+)`", re.MULTILINE)
_ORDINALS: Final = {"first": "1", "second": "2", "third": "3", "the first": "1", "the second": "2", "the third": "3"}


class OfflinePlanner:
    """Maps a message to one tool call, or asks back; afterwards it hands on what the tool said."""

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
        """Answer whatever came since the last thing that was said: what a tool returned, what the person said."""
        spoken = [place for place, entry in enumerate(moment.entries) if entry["m"]["role"] == "assistant"]
        fresh = range(spoken[-1] + 1 if spoken else 0, len(moment.entries))
        thoughts = [await self._answer(moment.entries[: place + 1], moment) for place in fresh]
        return thoughts[0] if len(thoughts) == 1 else _joined(thoughts, moment)

    async def _answer(self, entries: Sequence[Entry], moment: Moment) -> Thought:
        """Answer the last entry."""
        last = entries[-1]
        if last["m"]["role"] == "tool":
            return _handed_on(last)
        situation = situation_of(entries, panel=self._panel)
        plan = await self._plan(_chosen(last["m"]["content"], situation), situation, moment)
        if not isinstance(plan, Call):
            return Thought(text=plan.text)
        call_id = f"p{moment.turn:05}{moment.step:03}"  # the strictest servers want nine letters and digits
        arguments = json.dumps(plan.arguments, ensure_ascii=False)
        return Thought(calls=(ToolRequest(call_id=call_id, name=plan.tool, arguments=arguments),))

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


def _joined(thoughts: Sequence[Thought], moment: Moment) -> Thought:
    """Make one of several: a person may steer while a tool runs, and say more than one thing."""
    calls = [call for thought in thoughts for call in thought.calls]
    return Thought(
        text="\n\n".join(thought.text for thought in thoughts if thought.text),
        calls=tuple(
            replace(call, call_id=f"p{moment.turn:05}{moment.step:02}{place}") for place, call in enumerate(calls)
        ),
        simulated=any(thought.simulated for thought in thoughts),
    )


def _handed_on(entry: Entry) -> Thought:
    """Say what the tool said; of a run that was watched, its own answer is enough."""
    if entry.get("answer") and entry["tool"] in _WATCHED:
        return Thought(text=entry["answer"], simulated=entry["simulated"], quoted_run=entry["run"])
    text = entry["m"]["content"]
    if entry.get("run") and entry["tool"] in _WATCHED:
        text = text.partition("\n\n")[0]  # what became of each branch has been seen
    return Thought(text=text, simulated=entry.get("simulated", False))

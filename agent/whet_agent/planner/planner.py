"""The mind that needs no model: slash commands, sentences like the catalogue's examples, questions for the panel."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from whet_agent.calls import Backend
from whet_agent.catalogue import Tool
from whet_agent.conversation import NO_LONGER_FOLLOWED, Entry, ToolRequest
from whet_agent.events import OFFLINE_PLANNER
from whet_agent.model.base import Moment, Saying, Thought
from whet_agent.planner import answering, wishing
from whet_agent.planner.commands import PROPOSE, is_command, parse
from whet_agent.planner.facts import Looking
from whet_agent.planner.match import Matcher
from whet_agent.planner.plan import (
    Call,
    Calls,
    Follow,
    GiveMore,
    Plan,
    Propose,
    Say,
    Situation,
    Start,
    chosen,
    situation_of,
)
from whet_agent.planner.sentences import Reader
from whet_agent.planner.sweeps import Sweeping

_WATCHED: Final = frozenset({"fanout", "watch_fanout"})
_PROPOSING: Final = re.compile(rf"/{PROPOSE}\b\s*", re.IGNORECASE)


class OfflinePlanner:
    """Maps a message to tool calls, one after the other, or asks back; it hands on what each tool said."""

    name = OFFLINE_PLANNER

    def __init__(self, *, panel: tuple[str, ...] = (), backend: Backend | None = None) -> None:
        """`panel` are the models that a plain question goes to. `backend` is where a proposed sweep's grounds are
        looked up.
        """
        self._panel = panel
        self._sweeping = Sweeping(looking=None if backend is None else Looking(backend=backend), panel=panel)
        self._matcher: asyncio.Task[Matcher] | None = None

    def prepare(self, tools: Mapping[str, Tool]) -> "asyncio.Task[Matcher]":
        """Begin to load the embeddings, in a thread, so that they are there when the first sentence is."""
        if self._matcher is None:
            self._matcher = asyncio.create_task(asyncio.to_thread(Matcher, tools), name="load embeddings")
        return self._matcher

    async def think(self, moment: Moment, saying: Saying) -> Thought:
        """Answer whatever came since the last thing that was said: what tools returned, what the person said. Of a
        message that asks for several calls one is made in each step.
        """
        roles = [entry["m"]["role"] for entry in moment.entries]
        fresh = range(_last(roles, "assistant") + 1, len(roles))
        answers = [moment.entries[place] for place in fresh if roles[place] == "tool"]
        asked = [place for place in fresh if roles[place] == "user"]
        last = asked.pop() if asked else _last(roles, "user")
        before = [await self._calls(moment.entries[: place + 1], moment, done=()) for place in asked]
        left_sweep = _left_sweep(moment.entries[:last])
        steps = await self._calls(moment.entries[: last + 1], moment, done=moment.entries[last + 1 :])
        calls, after = (steps.calls, steps.after) if isinstance(steps, Calls) else (steps, "")
        over = (
            isinstance(calls, Say) or calls[-1].tool == "watch_sweep" or calls[-1].arguments.get("action") == "cancel"
        )
        if left_sweep and not over and not after and not isinstance(calls, Say):
            calls = (*calls, Call(tool="watch_sweep", arguments={"run_id": left_sweep}))
        made = roles[last:].count("assistant")
        left = () if isinstance(calls, Say) else calls[made:]
        follows = bool(left) and left[0].tool == "watch_sweep"  # which shows that it has begun
        thoughts = [_handed_on(answer) for answer in answers if not (follows and answer["tool"] == "sweep")]
        thoughts += [_begun(plan) for plan in before]
        if isinstance(calls, Say):
            thoughts.append(Thought(text=calls.text))
        elif left and made and not all(answer["ok"] for answer in answers):
            thoughts.append(Thought(text=_left(left)))
        elif left:
            before_all = steps.before if isinstance(steps, Calls) and not made else ""
            thoughts.append(_begun(Calls(calls=tuple(left[:1]), before=before_all)))
        elif after and answers and all(answer["ok"] for answer in answers):
            thoughts.append(Thought(text=after))
        return _joined(thoughts, moment)

    async def _calls(self, entries: Sequence[Entry], moment: Moment, *, done: Sequence[Entry]) -> Calls | Say:
        """Return the calls that the last message asks for, all of them: what is `done` of them is in the
        conversation.
        """
        situation = situation_of(entries, panel=self._panel)
        plan = await self._plan(chosen(entries[-1]["m"]["content"], situation.last_said), situation, moment)
        match plan:
            case Call():
                return Calls(calls=(plan,))
            case Calls() | Say():
                return plan
            case Propose():
                return await self._sweeping.proposed(plan, done)
            case Follow():
                return self._sweeping.followed(plan, done)
            case Start():
                return self._sweeping.started(plan, done)
            case GiveMore():
                return await self._sweeping.given_more(plan, done)

    async def close(self) -> None:
        """Give up what is still being loaded."""
        if self._matcher is not None:
            await asyncio.wait({self._matcher})

    async def _plan(self, text: str, situation: Situation, moment: Moment) -> Plan:
        if (answer := answering.read(text, situation)) is not None:
            return answer
        if proposing := _PROPOSING.match(text):
            return wishing.read_command(text[proposing.end() :], situation)
        if is_command(text):
            return parse(text, moment.tools, situation)
        matcher = await asyncio.shield(self.prepare(moment.tools))
        return Reader(tools=moment.tools, matcher=matcher).read(text, situation)


def _last(roles: Sequence[str], role: str) -> int:
    """Return the place of the last entry of a role, -1 when there is none."""
    return max((place for place, other in enumerate(roles) if other == role), default=-1)


def _left_sweep(entries: Sequence[Entry]) -> str:
    """Return the sweep that was followed until the person said what is answered now; empty when there is none."""
    entry = next((entry for entry in reversed(entries) if entry["m"]["content"] or entry.get("tool")), None)
    left = entry is not None and entry.get("tool") == "watch_sweep" and entry["m"]["content"] == NO_LONGER_FOLLOWED
    return entry["run"] if entry is not None and left else ""


def _begun(plan: Calls | Say) -> Thought:
    """Return the thought that makes these calls. They are named when it is known what else is asked for."""
    if isinstance(plan, Say):
        return Thought(text=plan.text)
    return Thought(
        text=plan.before,
        calls=tuple(
            ToolRequest(call_id="", name=call.tool, arguments=json.dumps(call.arguments, ensure_ascii=False))
            for call in plan.calls
        ),
    )


def _joined(thoughts: Sequence[Thought], moment: Moment) -> Thought:
    """Make one of several: a person may steer while a tool runs, and say more than one thing."""
    told = [thought for thought in thoughts if thought.text]
    calls = [call for thought in thoughts for call in thought.calls]
    first = f"p{moment.turn:05}{moment.step:02}"  # the strictest servers want nine letters and digits
    return Thought(
        text="\n\n".join(thought.text for thought in told),
        calls=tuple(replace(call, call_id=f"{first}{place}") for place, call in enumerate(calls)),
        simulated=any(thought.simulated for thought in thoughts),
        quoted_run=told[0].quoted_run if len(told) == 1 else "",
    )


def _left(calls: Sequence[Call]) -> str:
    """Say what was not tried after a step that failed."""
    return f"Not done after that: {', '.join(f'`{call.tool}`' for call in calls)}. Say it again if you still want it."


def _handed_on(entry: Entry) -> Thought:
    """Say what the tool said; of a run that was watched, its own answer is enough."""
    if entry.get("answer") and entry["tool"] in _WATCHED:
        return Thought(text=entry["answer"], simulated=entry["simulated"], quoted_run=entry["run"])
    text = entry["m"]["content"]
    if text == NO_LONGER_FOLLOWED:
        return Thought()  # whoever has just spoken knows why
    if entry.get("run") and entry["tool"] in _WATCHED:
        text = text.partition("\n\n")[0]  # what became of each branch has been seen
    return Thought(text=text, simulated=entry.get("simulated", False))

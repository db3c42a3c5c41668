"""Bring the conversation, the journal and the server together again after a cancel, a failure or a crash."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from whet_agent.calls import Backend, Outcome, follow
from whet_agent.client import CallError
from whet_agent.conversation import Entry, OpenCall, calls_of
from whet_agent.events import ApprovalAsked, Happening, Notice, ToolAnswered, ToolAsked
from whet_agent.graph import Standing, Thread
from whet_agent.heal import heal
from whet_agent.nodes import Context
from whet_agent.nodes.act import heard_answer
from whet_agent.nodes.reporter import Reporter
from whet_agent.nodes.think import heard_of
from whet_agent.runs import FOLLOWING_TOOLS, cancelling

FAREWELL_SECONDS: Final = 5.0
"""How long the server has to cancel what a cancelled turn had begun, and to tell again what a turn that is taken up had
heard of.
"""


class Mending:
    """Ends at the server what a turn had begun, answers what it left open, and tells what was not told."""

    def __init__(self, *, thread: Thread, context: Context, person: Backend, hear: Callable[[Happening], None]) -> None:
        self._thread = thread
        self._context = context
        self._person = person
        self._hear = hear
        self._decisions = context.decisions

    async def heal(self, turn: int, because: str, running: Mapping[str, str]) -> Sequence[Entry]:
        """Answer what was left open, so that the next message is not refused for ever; return the conversation."""
        standing = await self._thread.standing()
        if standing.turn != turn:
            return ()  # cancelled before the graph had begun: the message was never part of the conversation
        runs = {key.partition("/")[2]: run_id for key, run_id in running.items()}
        asking = {str(question["key"]).partition("/")[2] for question in standing.questions.values()}
        added = heal(standing.entries, turn, finished=standing.finished, because=because, runs=runs, asking=asking)
        if added or standing.unfinished:
            await self._thread.write([*standing.of_turn, *added])
        healed = await self._thread.standing()
        await self.tell_again(healed, runs=False)
        return healed.entries

    def _call_heard(self, turn: int, call: OpenCall) -> ToolAsked:
        key = f"{self._context.session_id}/{call.k}"
        return ToolAsked(turn=turn, key=key, tool=call.name, arguments_json=call.arguments)

    def _answer_heard(self, turn: int, entry: Entry) -> ToolAnswered:
        outcome = Outcome(text=entry["m"]["content"], ok=entry["ok"], run_id=entry["run"])
        return heard_answer(turn, f"{self._context.session_id}/{entry['k']}", entry["tool"], outcome)

    async def end_at_server(self, turn: int, running: Mapping[str, str]) -> None:
        """Cancel the runs that open calls had begun, and withdraw open questions. What cannot be reached is said."""
        endings = [self._cancel_run(turn, key, run_id) for key, run_id in running.items()]
        await self._told_to_server(*self._decisions.withdrawn(turn, "the turn was cancelled"), *endings)

    async def withdraw(self, turn: int) -> None:
        """Withdraw the questions that an ended turn has left open."""
        await self._told_to_server(*self._decisions.withdrawn(turn, "the turn has ended"))

    async def _told_to_server(self, *endings: Awaitable[None]) -> None:
        for failed in await asyncio.gather(*endings, return_exceptions=True):
            if isinstance(failed, CallError | TimeoutError):
                words = str(failed) or "it did not answer in time"
                self._hear(Notice(level="warning", text=f"Ended here, but not surely at the server: {words}"))
            elif isinstance(failed, BaseException):
                raise failed

    async def _cancel_run(self, turn: int, key: str, run_id: str) -> None:
        """Cancel a run and hear how it ends: what was cut off is billed too."""
        reporter = Reporter(turn=turn, key=key, hear=self._hear, running={})
        async with asyncio.timeout(FAREWELL_SECONDS):
            await self._person.call(*cancelling(run_id), timeout=FAREWELL_SECONDS)
            await follow(self._person, run_id, reporter)

    async def tell_again(self, standing: Standing, *, runs: bool) -> None:
        """Tell what the checkpoint knows of the last turn and the journal had not yet on the disk. `runs`: also what
        the server knows of the runs that its calls have made.
        """
        deadline = asyncio.get_running_loop().time() + FAREWELL_SECONDS
        for entry in standing.of_turn:
            match entry["m"]["role"]:
                case "assistant":
                    for said in heard_of(entry):
                        self._hear(said)
                    for call in calls_of(entry):
                        self._hear(self._call_heard(standing.turn, call))
                case "tool":
                    if runs and entry["tool"] in FOLLOWING_TOOLS and entry["run"]:
                        await self._hear_run_again(standing.turn, entry, deadline)
                    self._hear(self._answer_heard(standing.turn, entry))
        for question in standing.questions.values():
            self._hear(ApprovalAsked(**question))

    async def _hear_run_again(self, turn: int, entry: Entry, deadline: float) -> None:
        """Hear a run once more. What was told before is not told again."""
        key = f"{self._context.session_id}/{entry['k']}"
        reporter = Reporter(turn=turn, key=key, hear=self._hear, running={})
        try:
            async with asyncio.timeout_at(deadline):
                await follow(self._context.agent, entry["run"], reporter)
        except (CallError, TimeoutError) as error:
            self._hear(Notice(level="warning", text=f"The run {entry['run']} could not be read again: {error}"))

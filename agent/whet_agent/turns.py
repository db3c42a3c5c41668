"""Run a session's turns, one after the other, and end each in a way that lets the next one begin."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from opentelemetry import trace

from whet.v1 import fanout_pb2
from whet_agent.calls import Backend, Outcome, make, method_named
from whet_agent.client import CallError
from whet_agent.conversation import CANCELLED, Entry, OpenCall, calls_of, turn_of
from whet_agent.decisions import Decisions
from whet_agent.events import (
    ApprovalAsked,
    Envelope,
    Happening,
    Notice,
    RunHeard,
    ToolAnswered,
    ToolAsked,
    TurnEnded,
    UserSaid,
)
from whet_agent.graph import Standing, Thread
from whet_agent.heal import heal
from whet_agent.lifeline import Lifeline
from whet_agent.model.base import MindError
from whet_agent.nodes import Context
from whet_agent.nodes.act import heard_answer
from whet_agent.nodes.reporter import Reporter
from whet_agent.nodes.think import heard_of
from whet_agent.purse import Purse
from whet_agent.record import Record

FAREWELL_SECONDS: Final = 5.0
"""How long the server has to cancel what a cancelled turn had begun."""

_FOLLOWED: Final = frozenset({"fanout", "watch_fanout"})
"""Tools that tell a run event by event until its end."""

_log = logging.getLogger(__name__)
_tracer = trace.get_tracer("whet_agent")

Start = Callable[[Callable[[Happening], None]], Awaitable[None]]
"""How a turn begins: with a message, or where it was cut off."""


class Turns:
    """The worker of a session. It owns the graph's thread, the clients and the lifeline, and closes them."""

    def __init__(
        self, *, record: Record, thread: Thread, context: Context, person: Backend, lifeline: Lifeline, purse: Purse
    ) -> None:
        self._record = record
        self._thread = thread
        self._context = context
        self._person = person
        self._lifeline = lifeline
        self._purse = purse
        self._decisions = Decisions(record, person)
        self._waiting: asyncio.Queue[tuple[int, Start]] = asyncio.Queue()
        self._running: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._last_turn = 0
        self._worker: asyncio.Task[None] | None = None

    async def begin(self, restored: Sequence[Envelope]) -> None:
        """Take up what the journal says is unfinished, then take messages."""
        self._lifeline.hold()
        said = {e.happening.turn: e.happening.text for e in restored if isinstance(e.happening, UserSaid)}
        ended = {e.happening.turn for e in restored if isinstance(e.happening, TurnEnded)}
        self._last_turn = max(said, default=0)
        for envelope in restored:  # a card that is shown can be decided, also before its call has come to ask again
            if isinstance(envelope.happening, ApprovalAsked):
                self._decisions.asked(envelope.happening)
        standing = await self._thread.standing()
        for turn in sorted(said.keys() - ended):
            self._waiting.put_nowait((turn, self._resumption(turn, said[turn], standing)))
        self._worker = asyncio.create_task(self._work(), name=f"turns of {self._context.session_id}")

    def send(self, text: str) -> int:
        """Take a message and return its turn's number."""
        self._last_turn += 1
        turn = self._last_turn
        self._record.tell(UserSaid(turn=turn, text=text))
        self._waiting.put_nowait((turn, lambda hear: self._thread.begin(turn, text, hear)))
        return turn

    async def decide(self, approval_id: str, *, grant: bool, reason: str) -> None:
        """Raises `CallError` or `LookupError`."""
        await self._decisions.decide(approval_id, grant=grant, reason=reason)

    async def cancel(self) -> bool:
        """Cancel the running turn and wait until it has ended; return whether there was one."""
        if self._running is None:
            return False
        self._running.cancel()
        await self._ended.wait()
        return True

    async def close(self) -> None:
        """Stop working. An unfinished turn is taken up when the session is opened again."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait({self._worker})
        await self._thread.close()
        await self._context.mind.close()
        await self._context.agent.close()
        await self._person.close()
        await self._lifeline.close()

    def hear(self, happening: Happening) -> None:
        """Tell a happening and keep what the session must know of it."""
        if isinstance(happening, ApprovalAsked):
            self._decisions.asked(happening)
        new = self._record.tell(happening)
        if new and isinstance(happening, RunHeard) and self._purse.hear(happening.run_id, happening.event):
            self._record.tell(self._purse.spent())

    async def _work(self) -> None:
        while True:
            turn, start = await self._waiting.get()
            self._ended.clear()
            running = self._running = asyncio.create_task(self._steps(turn, start), name=f"turn {turn}")
            try:
                await asyncio.wait({running})
                ending = await self._ending(turn, running)
            finally:
                self._running = None
                running.cancel()
                await asyncio.wait({running})
            self.hear(ending)
            self._ended.set()

    async def _steps(self, turn: int, start: Start) -> None:
        """Run a turn to its end, waiting for the person as often as it takes."""
        with _tracer.start_as_current_span("whet.turn", attributes={"whet.session": self._context.session_id}):
            await start(self.hear)
            while questions := (await self._thread.standing()).questions:
                answers = await self._decisions.of(questions)
                await self._thread.answer(answers, self.hear)

    async def _ending(self, turn: int, running: "asyncio.Task[None]") -> TurnEnded:
        if running.cancelled():
            runs = dict(self._context.running)
            self._context.running.clear()
            await self._end_at_server(turn, runs)
            await self._heal(turn, CANCELLED, runs)
            return TurnEnded(turn=turn, state="cancelled")
        error = running.exception()
        if error is None:
            return TurnEnded(turn=turn, state="done")
        if isinstance(error, MindError):
            failure = str(error)
        else:
            # A bug must not end the conversation: it is logged with its trace, and the next message is taken.
            _log.error("turn %s failed", turn, exc_info=error)
            failure = f"Something went wrong inside the agent ({type(error).__name__}). The log has the details."
        await self._heal(turn, "not answered: " + failure, {})
        return TurnEnded(turn=turn, state="failed", failure=failure)

    async def _heal(self, turn: int, because: str, running: Mapping[str, str]) -> None:
        """Answer what was left open, so that the next message is not refused for ever."""
        standing = await self._thread.standing()
        if standing.turn != turn:
            return  # cancelled before the graph had begun: the message was never part of the conversation
        runs = {key.partition("/")[2]: run_id for key, run_id in running.items()}
        added = heal(standing.entries, turn, finished=standing.finished, because=because, runs=runs)
        if added or standing.unfinished:
            # Writing drops what finished steps had not yet handed in, though it can be read: so the turn is written
            # whole.
            said = [entry for entry in standing.entries if turn_of(entry) == turn]
            await self._thread.write([*said, *added])
        await self._tell_again(await self._thread.standing(), runs=False)

    def _call_heard(self, turn: int, call: OpenCall) -> ToolAsked:
        key = f"{self._context.session_id}/{call.k}"
        return ToolAsked(turn=turn, key=key, tool=call.name, arguments_json=call.arguments)

    def _answer_heard(self, turn: int, entry: Entry) -> ToolAnswered:
        outcome = Outcome(text=entry["m"]["content"], ok=entry["ok"], run_id=entry["run"])
        return heard_answer(turn, f"{self._context.session_id}/{entry['k']}", entry["tool"], outcome)

    async def _end_at_server(self, turn: int, running: Mapping[str, str]) -> None:
        """Cancel the runs that open calls had begun, and withdraw open questions. What cannot be reached is said."""
        standing = await self._thread.standing()
        approvals = [str(question["approval_id"]) for question in standing.questions.values()]
        endings = [self._cancel_run(turn, key, run_id) for key, run_id in running.items()]
        endings += [self._decisions.withdraw(approval_id) for approval_id in approvals]
        for failed in await asyncio.gather(*endings, return_exceptions=True):
            if isinstance(failed, CallError | TimeoutError):
                words = str(failed) or "it did not answer in time"
                self.hear(Notice(level="warning", text=f"Cancelled here, but not surely at the server: {words}"))
            elif isinstance(failed, BaseException):
                raise failed

    async def _cancel_run(self, turn: int, key: str, run_id: str) -> None:
        """Cancel a run and hear how it ends: what was cut off is billed too."""
        reporter = Reporter(turn=turn, key=key, hear=self.hear, running={})
        async with asyncio.timeout(FAREWELL_SECONDS):
            cancel = method_named("FanoutService", "CancelFanout")
            await self._person.call(cancel, fanout_pb2.CancelFanoutRequest(run_id=run_id), timeout=FAREWELL_SECONDS)
            watch = self._context.tools["watch_fanout"]
            await make(self._person, watch, fanout_pb2.WatchFanoutRequest(run_id=run_id), reporter)

    def _resumption(self, turn: int, text: str, standing: Standing) -> Start:
        """Return how a turn that a crash cut off goes on."""

        async def resume(hear: Callable[[Happening], None]) -> None:
            if turn == standing.turn:
                await self._tell_again(standing, runs=True)
            if turn == standing.turn and (standing.questions or standing.closed):
                return
            if turn == standing.turn and standing.unfinished:
                hear(Notice(level="info", text="Taking up the step that was cut off."))
                await self._thread.go_on(hear)
            else:  # it waited for its turn, or the crash came before its first step was kept
                await self._thread.begin(turn, text, hear)

        return resume

    async def _tell_again(self, standing: Standing, *, runs: bool) -> None:
        """Tell what the checkpoint knows of the last turn and the journal had not yet on the disk. `runs`: also what
        the server knows of the runs that its calls have made.
        """
        told = {entry["k"]: entry for entry in standing.entries if turn_of(entry) == standing.turn} | standing.finished
        for entry in told.values():
            match entry["m"]["role"]:
                case "assistant":
                    for said in heard_of(entry):
                        self.hear(said)
                    for call in calls_of(entry):
                        self.hear(self._call_heard(standing.turn, call))
                case "tool":
                    if runs and entry["tool"] in _FOLLOWED and entry["run"]:
                        await self._hear_run_again(standing.turn, entry)
                    self.hear(self._answer_heard(standing.turn, entry))
        for question in standing.questions.values():
            self.hear(ApprovalAsked(**question))

    async def _hear_run_again(self, turn: int, entry: Entry) -> None:
        """Hear a run once more. What was told before is not told again."""
        key = f"{self._context.session_id}/{entry['k']}"
        reporter = Reporter(turn=turn, key=key, hear=self.hear, running={})
        watch = fanout_pb2.WatchFanoutRequest(run_id=entry["run"])
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await make(self._context.agent, self._context.tools["watch_fanout"], watch, reporter)
        except (CallError, TimeoutError) as error:
            self.hear(Notice(level="warning", text=f"The run {entry['run']} could not be read again: {error}"))

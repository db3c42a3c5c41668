"""Run a session's turns, one after the other, and end each in a way that lets the next one begin."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from opentelemetry import trace

from whet.v1 import fanout_pb2
from whet_agent.calls import Backend, Outcome, make, method_named
from whet_agent.client import CallError
from whet_agent.conversation import CANCELLED, Entry, OpenCall, calls_of, turn_of, unlimited
from whet_agent.editing import amended
from whet_agent.events import (
    ApprovalAsked,
    ApprovalMode,
    Decider,
    Envelope,
    Expanded,
    Happening,
    ModeChanged,
    Notice,
    Rewound,
    RunHeard,
    Steered,
    ToolAnswered,
    ToolAsked,
    TurnEnded,
    UserSaid,
    Withdrawn,
)
from whet_agent.fork import found
from whet_agent.graph import Standing, Thread, thread_id
from whet_agent.heal import heal
from whet_agent.lifeline import Lifeline
from whet_agent.memory import Memory
from whet_agent.model.base import MindError
from whet_agent.nodes import Context
from whet_agent.nodes.act import heard_answer
from whet_agent.nodes.reporter import Reporter
from whet_agent.nodes.think import heard_of
from whet_agent.purse import Purse
from whet_agent.record import Record
from whet_agent.sessions import SessionError, new_session_id
from whet_agent.steering import Steering
from whet_agent.sums import is_billed

FAREWELL_SECONDS: Final = 5.0
"""How long the server has to cancel what a cancelled turn had begun."""

_FOLLOWED: Final = frozenset({"fanout", "watch_fanout"})
"""Tools that tell a run event by event until its end."""

_log = logging.getLogger(__name__)
_tracer = trace.get_tracer("whet_agent")

Start: TypeAlias = Callable[[Callable[[Happening], None]], Awaitable[bool]]
"""How a turn begins: with a message, or where it was cut off. Returns whether there may be something left to do."""


class Turns:
    """The worker of a session. It owns the graph's thread, the clients and the lifeline, and closes them."""

    def __init__(
        self,
        *,
        record: Record,
        thread: Thread,
        context: Context,
        person: Backend,
        lifeline: Lifeline,
        purse: Purse,
        memory: Memory | None,
        steering: Steering,
    ) -> None:
        self._record = record
        self._thread = thread
        self._context = context
        self._person = person
        self._lifeline = lifeline
        self._purse = purse
        self._memory = memory
        self._steering = steering
        self._account = context.account
        self._decisions = context.decisions
        self._waiting: asyncio.Queue[int] = asyncio.Queue()
        self._starts: dict[int, Start] = {}
        """How the turns that wait begin; one that was withdrawn has no start any more."""
        self._running: asyncio.Task[None] | None = None
        self._turn = 0
        """The turn that has begun and not ended; 0 between turns."""
        self._ended = asyncio.Event()
        self._last_turn = 0
        self._worker: asyncio.Task[None] | None = None
        self._going_back = asyncio.Lock()

    async def begin(self, restored: Sequence[Envelope]) -> None:
        """Take up what the journal says is unfinished, then take messages."""
        self._lifeline.hold()
        said = {e.happening.turn: e.happening.text for e in restored if isinstance(e.happening, UserSaid)}
        ended = {e.happening.turn for e in restored if isinstance(e.happening, TurnEnded | Withdrawn)}
        self._last_turn = self._record.tally.last_turn
        self._steering.restore(restored)
        for envelope in restored:
            if isinstance(envelope.happening, ModeChanged):
                self._account.arrange(envelope.happening)
        if unfinished := sorted(said.keys() - ended):  # else a long conversation need not be read before it goes on
            standing = await self._thread.standing()
            await self._decisions.restore(restored, standing.questions.values())
            for turn in unfinished:
                self._queue(turn, partial(self._resume, turn, said[turn]))
        self._worker = asyncio.create_task(self._work(), name=f"turns of {self._context.session_id}")

    def send(self, text: str, *, steered: str = "") -> int:
        """Take a message and return its turn's number."""
        self._last_turn += 1
        turn = self._last_turn
        self._record.tell(UserSaid(turn=turn, text=text, steered=steered))
        self._queue(turn, lambda hear: self._thread.begin(turn, text, hear))
        return turn

    def steer(self, text: str) -> int:
        """Take words into the running turn and return its number; without one, or when it is being cancelled, take
        them as a message.
        """
        if not self._turn or (self._running is not None and (self._running.cancelling() or self._running.cancelled())):
            return self.send(text)
        self._steering.say(self._turn, text)
        return self._turn

    def withdraw(self, turn: int) -> bool:
        """Take back a message whose turn has not begun; return whether it could be."""
        if self._starts.pop(turn, None) is None:
            return False
        self._record.tell(Withdrawn(turn=turn))
        return True

    def set_mode(self, mode: ApprovalMode, allowance_nanos: int) -> None:
        """Raises `ValueError` for an allowance below nothing."""
        if allowance_nanos < 0:
            raise ValueError("An allowance is an amount of money: give $0 or more.")
        changed = ModeChanged(mode=mode, allowance_nanos=allowance_nanos)
        self._record.tell(changed)
        self._account.arrange(changed)

    async def decide(self, approval_id: str, *, grant: bool, reason: str, arguments_json: str, by: Decider) -> None:
        """Raises `CallError`, `LookupError` or `ValueError`."""
        await self._decisions.decide(approval_id, grant=grant, reason=reason, arguments_json=arguments_json, by=by)

    async def cancel(self) -> bool:
        """Cancel the running turn and wait until it has ended; return whether there was one."""
        if self._running is None:
            return False
        self._running.cancel()
        await self._ended.wait()
        return True

    async def rewind(self, turn: int) -> str:
        """Go on from before a turn; return its words. Raises `SessionError`."""
        async with self._going_back:
            self._rest("go back")
            text, number = self._words_of(turn), self._record.tally.thread + 1
            thread = thread_id(self._context.session_id, number)
            kept, gone = _parted((await self._thread.standing()).entries, turn)
            await self._thread.copy(thread, kept)
            self._rest("go back")
            held = self._account.owed(gone)
            self._record.tell(Rewound(turn=turn, thread=number, held=held))  # from here on it holds
            self._thread.go_to(thread)
        if self._memory is not None:
            self._memory.measure(kept, turn)
        return text

    async def fork(self, turn: int) -> str:
        """Begin another session with the turns before this one, or all that have ended. Raises `SessionError`."""
        if turn:
            self._words_of(turn)
        tally = self._record.tally
        before = min([turn or tally.last_turn + 1, *tally.open])
        turns = {each for each in tally.turns if each < before}
        kept = [unlimited(entry) for entry in (await self._thread.standing()).entries if turn_of(entry) in turns]
        session_id = new_session_id()
        await self._thread.copy(session_id, kept)
        await asyncio.to_thread(found, self._record.home, session_id, tally, turns)
        return session_id

    async def compact(self) -> None:
        """Let the mind read a summary in place of early turns. Raises `SessionError`."""
        if self._memory is None:
            raise SessionError(
                "The offline planner reads the last message only: it has no window to fill, and nothing to compact."
            )
        self._rest("compact")
        try:
            done = await self._memory.compact((await self._thread.standing()).entries, self._last_turn)
        except MindError as error:
            raise SessionError(f"Nothing was compacted. {error}") from error
        if not done:
            raise SessionError("There are no early turns to summarise: the last one is always kept word for word.")

    async def expand(self) -> None:
        """Let the mind read everything again. Raises `SessionError`."""
        if self._record.tally.compacted is None:
            raise SessionError("Nothing is compacted: the mind reads the whole conversation.")
        self._record.tell(Expanded())
        if self._memory is not None:
            self._memory.measure((await self._thread.standing()).entries, self._last_turn)

    def _words_of(self, turn: int) -> str:
        if turn not in self._record.tally.turns:
            raise SessionError(f"The conversation has no turn {turn}.")
        return self._record.words_of(turn)

    def _rest(self, wish: str) -> None:
        """Raises `SessionError` when there is something under way."""
        if self._record.tally.open:
            raise SessionError(f"A turn is under way. Cancel it or wait until it has ended, then {wish}.")

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
        if new and isinstance(happening, RunHeard) and is_billed(happening.event):
            self._record.tell(self._purse.spent())

    def _queue(self, turn: int, start: Start) -> None:
        self._starts[turn] = start
        self._waiting.put_nowait(turn)

    async def _work(self) -> None:
        while True:
            turn = await self._waiting.get()
            start = self._starts.pop(turn, None)
            if start is None:
                continue
            self._turn = turn
            self._ended.clear()
            ending = await self._run(turn, start)
            while ending.state == "done" and self._steering.waits(turn):  # said after the last look
                ending = await self._run(turn, _where_it_stands)
            self._pass_on(self._steering.take_back(turn), ending)
            self.hear(ending)
            self._turn = 0
            self._ended.set()

    async def _run(self, turn: int, start: Start) -> TurnEnded:
        running = self._running = asyncio.create_task(self._steps(turn, start), name=f"turn {turn}")
        try:
            await asyncio.wait({running})
            return await self._ending(turn, running)
        except Exception as error:  # noqa: BLE001 -- a disk that is full must not end the conversation either
            return TurnEnded(turn=turn, state="failed", failure=_failure(turn, error))
        finally:
            running.cancel()
            await asyncio.wait({running})
            self._running = None

    def _pass_on(self, unheard: Sequence[Steered], ending: TurnEnded) -> None:
        """See to what was said into a turn that has ended before the mind heard it. This comes before the turn's end
        is told: what a crash cuts off is done again.
        """
        for words in unheard:
            if ending.state == "cancelled":
                text = f"Cancelled before the mind heard this; send it again if it still holds: {words.text}"
                self.hear(Notice(level="warning", text=text))
            else:
                self.send(words.text, steered=f"{words.turn}/{words.number}")

    async def _steps(self, turn: int, start: Start) -> None:
        """Run a turn to its end, waiting for the person as often as it takes. The conversation is read again only when
        somebody has been asked or has said something: it may be long.
        """
        with _tracer.start_as_current_span("whet.turn", attributes={"whet.session": self._context.session_id}):
            left = await start(self.hear)
            _obey_cancel()
            while left or self._steering.waits(turn):
                left = await self._go_on(turn)
                _obey_cancel()

    async def _go_on(self, turn: int) -> bool:
        """Take the turn one stretch further; return whether there may be something left to do."""
        standing = await self._thread.standing()
        self._steering.heard(turn, standing.entries)
        if changed := self._changed(standing):
            await self._thread.write(changed)
            return await self._thread.go_on(self.hear)
        if unheard := [] if standing.questions else self._steering.unheard(turn, standing.entries):
            return await self._thread.steer(turn, unheard, self.hear)
        questions, edits = standing.questions, dict(self._decisions.edits)
        del standing  # a person may take long, and the conversation need not be held meanwhile
        if not questions:
            return False
        answers = await self._decisions.of(questions)
        if self._decisions.edits != edits:
            return True
        return await self._thread.answer(answers, self.hear)

    def _changed(self, standing: Standing) -> list[Entry]:
        """Return what must be written so that calls are made as the person changed them; nothing when they are already.
        The step's other open calls are then made again too, which attaches to what they began or asks the same
        question.
        """
        edited = amended(standing.entries, self._decisions.edits) if standing.unfinished else None
        return [] if edited is None else [*_whole(standing), edited]

    async def _ending(self, turn: int, running: "asyncio.Task[None]") -> TurnEnded:
        if running.cancelled():
            runs = dict(self._context.running)
            self._context.running.clear()
            await self._end_at_server(turn, runs)
            await self._heal(turn, CANCELLED, runs)
            return TurnEnded(turn=turn, state="cancelled")
        error = running.exception()
        await self._told_to_server(*self._decisions.withdrawn(turn, "the turn has ended"))
        if error is None:
            return TurnEnded(turn=turn, state="done")
        failure = _failure(turn, error)
        await self._heal(turn, "not answered: " + failure, {})
        return TurnEnded(turn=turn, state="failed", failure=failure)

    async def _heal(self, turn: int, because: str, running: Mapping[str, str]) -> None:
        """Answer what was left open, so that the next message is not refused for ever."""
        standing = await self._thread.standing()
        if standing.turn != turn:
            return  # cancelled before the graph had begun: the message was never part of the conversation
        runs = {key.partition("/")[2]: run_id for key, run_id in running.items()}
        asking = {str(question["key"]).partition("/")[2] for question in standing.questions.values()}
        added = heal(standing.entries, turn, finished=standing.finished, because=because, runs=runs, asking=asking)
        if added or standing.unfinished:
            await self._thread.write([*_whole(standing), *added])
        healed = await self._thread.standing()
        self._steering.heard(turn, healed.entries)
        await self._tell_again(healed, runs=False)

    def _call_heard(self, turn: int, call: OpenCall) -> ToolAsked:
        key = f"{self._context.session_id}/{call.k}"
        return ToolAsked(turn=turn, key=key, tool=call.name, arguments_json=call.arguments)

    def _answer_heard(self, turn: int, entry: Entry) -> ToolAnswered:
        outcome = Outcome(text=entry["m"]["content"], ok=entry["ok"], run_id=entry["run"])
        return heard_answer(turn, f"{self._context.session_id}/{entry['k']}", entry["tool"], outcome)

    async def _end_at_server(self, turn: int, running: Mapping[str, str]) -> None:
        """Cancel the runs that open calls had begun, and withdraw open questions. What cannot be reached is said."""
        endings = [self._cancel_run(turn, key, run_id) for key, run_id in running.items()]
        await self._told_to_server(*self._decisions.withdrawn(turn, "the turn was cancelled"), *endings)

    async def _told_to_server(self, *endings: Awaitable[None]) -> None:
        for failed in await asyncio.gather(*endings, return_exceptions=True):
            if isinstance(failed, CallError | TimeoutError):
                words = str(failed) or "it did not answer in time"
                self.hear(Notice(level="warning", text=f"Ended here, but not surely at the server: {words}"))
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

    async def _resume(self, turn: int, text: str, hear: Callable[[Happening], None]) -> bool:
        """Go on with a turn that a crash cut off."""
        standing = await self._thread.standing()
        if standing.turn == turn:
            await self._tell_again(standing, runs=True)
            if standing.questions or standing.closed or self._changed(standing):
                return True
            if standing.unfinished:
                del standing  # the step reads it itself
                hear(Notice(level="info", text="Taking up the step that was cut off."))
                return await self._thread.go_on(hear)
        # it waited for its turn, or the crash came before its first step was kept
        return await self._thread.begin(turn, text, hear)

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


def _parted(entries: Sequence[Entry], turn: int) -> tuple[list[Entry], list[Entry]]:
    """Return the entries before a turn, and the others."""
    kept = [entry for entry in entries if turn_of(entry) < turn]
    return kept, [entry for entry in entries if turn_of(entry) >= turn]


def _whole(standing: Standing) -> list[Entry]:
    """Return the turn as it stands. Writing drops what finished steps had not yet handed in, though it can be read."""
    said = [entry for entry in standing.entries if turn_of(entry) == standing.turn]
    return [*said, *standing.finished.values()]


async def _where_it_stands(hear: Callable[[Happening], None]) -> bool:
    """Begin nothing: what is left to do shows where the conversation stands."""
    return True


def _failure(turn: int, error: BaseException) -> str:
    """Say what went wrong. A bug must not end the conversation: it is logged with its trace."""
    if isinstance(error, MindError):
        return str(error)
    _log.error("turn %s failed", turn, exc_info=error)
    return f"Something went wrong inside the agent ({type(error).__name__}). The log has the details."


def _obey_cancel() -> None:
    """LangGraph swallows a cancel that comes while a step is being interrupted; the task would wait on for a person
    who has left.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError

"""Run a session's turns, one after the other, and end each in a way that lets the next one begin."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

from opentelemetry import trace

from whet_agent.calls import Backend
from whet_agent.conversation import CANCELLED, Entry
from whet_agent.editing import amended
from whet_agent.events import (
    ApprovalAsked,
    ApprovalMode,
    Decider,
    Envelope,
    Happening,
    ModeChanged,
    Notice,
    RunHeard,
    Steered,
    TurnEnded,
    UserSaid,
    Withdrawn,
)
from whet_agent.graph import Standing, Thread
from whet_agent.lifeline import Lifeline
from whet_agent.memory import Memory
from whet_agent.mending import Mending
from whet_agent.model.base import MindError
from whet_agent.nodes import Context
from whet_agent.past import Past
from whet_agent.purse import Purse
from whet_agent.record import Record
from whet_agent.steering import Steering
from whet_agent.sums import is_billed

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
        self._steering = steering
        self._account = context.account
        self._decisions = context.decisions
        self.past = Past(
            session_id=context.session_id, record=record, thread=thread, account=context.account, memory=memory
        )
        self._mending = Mending(thread=thread, context=context, person=person, hear=self.hear)
        self._waiting: asyncio.Queue[int] = asyncio.Queue()
        self._starts: dict[int, Start] = {}
        """How the turns that wait begin; one that was withdrawn has no start any more."""
        self._running: asyncio.Task[None] | None = None
        self._turn = 0
        """The turn that has begun and not ended; 0 between turns."""
        self._ended = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def begin(self, restored: Sequence[Envelope]) -> None:
        """Take up what the journal says is unfinished, then take messages."""
        self._lifeline.hold()
        said = {e.happening.turn: e.happening.text for e in restored if isinstance(e.happening, UserSaid)}
        ended = {e.happening.turn for e in restored if isinstance(e.happening, TurnEnded | Withdrawn)}
        self._steering.restore(restored)
        self._decisions.restore(restored)
        for envelope in restored:
            if isinstance(envelope.happening, ModeChanged):
                self._account.arrange(envelope.happening)
        for turn in sorted(said.keys() - ended):
            self._queue(turn, partial(self._resume, turn, said[turn]))
        self._worker = asyncio.create_task(self._work(), name=f"turns of {self._context.session_id}")

    def send(self, text: str, *, steered: str = "") -> int:
        """Take a message and return its turn's number."""
        turn = self._record.tally.last_turn + 1
        self._record.tell(UserSaid(turn=turn, text=text, steered=steered))
        self._queue(turn, lambda hear: self._thread.begin(turn, text, hear))
        if self._turn:
            self._steering.knock(self._turn)
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
        return [] if edited is None else [*standing.of_turn, edited]

    async def _ending(self, turn: int, running: "asyncio.Task[None]") -> TurnEnded:
        if running.cancelled():
            runs = dict(self._context.running)
            self._context.running.clear()
            await self._mending.end_at_server(turn, runs)
            self._steering.heard(turn, await self._mending.heal(turn, CANCELLED, runs))
            return TurnEnded(turn=turn, state="cancelled")
        error = running.exception()
        await self._mending.withdraw(turn)
        if error is None:
            return TurnEnded(turn=turn, state="done")
        failure = _failure(turn, error)
        self._steering.heard(turn, await self._mending.heal(turn, "not answered: " + failure, {}))
        return TurnEnded(turn=turn, state="failed", failure=failure)

    async def _resume(self, turn: int, text: str, hear: Callable[[Happening], None]) -> bool:
        """Go on with a turn that a crash cut off."""
        standing = await self._thread.standing()
        if standing.turn == turn:
            await self._mending.tell_again(standing, runs=True)
            await self._decisions.catch_up(standing.questions.values())
            if standing.questions or standing.closed or self._changed(standing):
                return True
            if standing.unfinished:
                del standing  # the step reads it itself
                hear(Notice(level="info", text="Taking up the step that was cut off."))
                return await self._thread.go_on(hear)
        # it waited for its turn, or the crash came before its first step was kept
        return await self._thread.begin(turn, text, hear)


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

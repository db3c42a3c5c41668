"""Cases under way: a bounded number at once over all trials, the lowest trial first, so that what others wait for ends
first.

A case that the run's cap refuses while others are under way waits until one of them has ended: they hold the worst that
they can cost, and most of it comes back. A refusal while nothing is under way is final.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from whet_server.errors import Reason
from whet_server.judging import Item, Outcome
from whet_server.sweeping import TrialCase
from whet_server.values import Failure, Totals

OWN_CAPS: Final = frozenset({"run", "tokens"})
"""Caps of the sweep itself."""
WORKSPACE_CAPS: Final = frozenset({"day", "month"})


class Question(NamedTuple):
    """One case of one trial, asked once. `place`: of the case in the order of the sweep."""

    number: int
    place: int
    item: Item
    sample: int = 1
    holdout: bool = False


class Hears(NamedTuple):
    """Who hears of a crew: of answers (which may make it wait), of the cap whose refusal is final, and of the refusal
    of a workspace's cap.
    """

    landed: Callable[[Question, TrialCase], Awaitable[None]]
    broke: Callable[[str], None]
    refused: Callable[[Failure], None]


class _Batch:
    """Questions that are waited for together."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not left:
            self.done.set_result(None)

    def ended(self) -> None:
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


class _Waiting(NamedTuple):
    number: int
    turn: int
    question: Question
    batch: _Batch


class Crew:
    """Asks questions. `ask` never raises for what models do; `spawn` owns the tasks."""

    def __init__(
        self,
        ask: Callable[[Question, asyncio.Event], Awaitable[TrialCase]],
        hears: Hears,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
        concurrency: int,
        paused: bool = False,
    ) -> None:
        self._ask = ask
        self._hears = hears
        self._spawn = spawn
        self._concurrency = concurrency
        self._paused = paused
        self._closed = False
        self._stop = asyncio.Event()
        self._queue: list[_Waiting] = []
        self._parked: deque[_Waiting] = deque()
        self._spent: dict[int, Totals] = {}
        """What refused tries have cost, by turn."""
        self._turn = 0
        self.in_flight = 0

    async def do(self, questions: Sequence[Question]) -> None:
        """Ask all of them; returns when each has landed or has been left out because the crew was closed."""
        batch = _Batch(len(questions))
        for question in questions:
            self._turn += 1
            heapq.heappush(self._queue, _Waiting(question.number, self._turn, question, batch))
        self._go_on()
        await batch.done

    def pause(self) -> None:
        """Begin nothing more for the time being; what is under way goes on."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        while self._parked:
            heapq.heappush(self._queue, self._parked.popleft())
        self._go_on()

    def retune(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._go_on()

    def close(self, *, cut: bool) -> None:
        """Leave out what has not begun; with `cut` what is under way is cut off too."""
        self._closed = True
        if cut:
            self._stop.set()
        self._go_on()

    def reopen(self) -> None:
        """Take questions again after an end of the search that leaves something to do."""
        self._closed = False

    def _go_on(self) -> None:
        if self._closed:
            for waiting in (*self._queue, *self._parked):
                waiting.batch.ended()
            self._queue.clear()
            self._parked.clear()
            return
        while self._queue and not self._paused and not self._parked and self.in_flight < self._concurrency:
            self._begin(heapq.heappop(self._queue))

    def _begin(self, waiting: _Waiting) -> None:
        self.in_flight += 1
        self._spawn(self._one(waiting))

    async def _one(self, waiting: _Waiting) -> None:
        try:
            case = await self._ask(waiting.question, self._stop)
        finally:
            self.in_flight -= 1
        cap = _refusal(case)
        if cap and not self._closed:
            self._was_refused(waiting, case, cap)
            return
        spent = self._spent.pop(waiting.turn, None)
        if spent is not None:
            case = replace(case, totals=spent + case.totals)
        if (not cap and case.outcome is not Outcome.CANCELLED) or case.totals.attempts:
            await self._hears.landed(waiting.question, case)
        waiting.batch.ended()
        if self._parked and not self._paused and not self._closed:
            self._begin(self._parked.popleft())
        self._go_on()

    def _was_refused(self, waiting: _Waiting, case: TrialCase, cap: str) -> None:
        """Wait for money, or find that there will be none."""
        if case.totals.attempts:
            self._spent[waiting.turn] = self._spent.get(waiting.turn, Totals()) + case.totals
        self._parked.append(waiting)
        if cap in WORKSPACE_CAPS:
            if not self._paused and case.failure is not None:
                self._paused = True
                self._hears.refused(case.failure)
        elif not self.in_flight and not self._paused:
            self._hears.broke(cap)


def _refusal(case: TrialCase) -> str:
    """Return the cap that refused a case; empty when none did, or when waiting does not help."""
    if case.outcome is not Outcome.UNAFFORDABLE or case.failure is None:
        return ""
    cap = case.failure.metadata.get("cap", "")
    return cap if case.failure.reason == Reason.CAP_EXCEEDED and cap in OWN_CAPS | WORKSPACE_CAPS else ""

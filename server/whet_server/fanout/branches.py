"""One branch while it is under way, and all of them together."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from whet_server.errors import Reason
from whet_server.fanout.recorder import Recorder
from whet_server.llm.base import Caller, CallResult, CallSpec
from whet_server.log.events import AttemptFailed, BranchDelta, BranchFinished, BranchPlan, BranchProgress, LivePayload
from whet_server.log.lifecycle import BranchState
from whet_server.values import Attempt, BranchId, Failure, Totals

CANCELLED_BY_CALLER = Failure(reason=Reason.CANCELLED, message="Cancelled as asked.")
ENOUGH = Failure(reason=Reason.CANCELLED, message="Cut off: enough other branches were in.")
TOO_LATE = Failure(
    reason=Reason.DEADLINE_EXCEEDED,
    message="Cut off at the fan-out's deadline. Give it more time or ask a faster model.",
)


class Lane:
    """One branch under way. Hears its call: every piece of text becomes a live event with its offset. `spent` is what
    it has cost before, when a crash makes that it is asked again.
    """

    __slots__ = ("_emit", "_length", "_over", "_pieces", "_spent", "_writer", "call", "cause", "plan", "state", "stop")

    def __init__(self, plan: BranchPlan, call: CallSpec, writer: Recorder, spent: Totals) -> None:
        self.plan = plan
        self.call = call
        self.state = BranchState.WAITING
        self.stop = asyncio.Event()
        self.cause: Failure | None = None
        self._writer = writer
        self._spent = spent
        self._emit = writer.emit
        self._pieces: list[str] = []
        self._length = 0
        self._over = False

    def text(self, piece: str) -> None:
        self._emit(BranchDelta(branch_id=self.plan.branch_id, offset=self._length, text=piece))
        self._pieces.append(piece)
        self._length += len(piece)

    def progress(
        self, state: BranchState, *, detail: str = "", fraction: float = 0.0, wait: float | None = None
    ) -> None:
        self.state = state
        wait_ns = None if wait is None else int(wait * 1e9)
        self._emit(
            BranchProgress(
                branch_id=self.plan.branch_id, state=state, detail=detail, fraction=fraction, wait_ns=wait_ns
            )
        )

    async def attempt_failed(self, attempt: Attempt) -> None:
        await self._writer.append(AttemptFailed(attempt=attempt, branch_id=self.plan.branch_id))

    def cut(self, cause: Failure) -> None:
        """Cut the branch off; the first cause is the one on the record."""
        if self.cause is None:
            self.cause = cause
            self.stop.set()

    def snapshot(self) -> Iterator[LivePayload]:
        """Yield what a new watcher has missed; of a call that is over, its durable end is about to tell."""
        if self._over:
            return
        yield BranchProgress(branch_id=self.plan.branch_id, state=self.state)
        if self._pieces:
            yield BranchDelta(branch_id=self.plan.branch_id, offset=0, text="".join(self._pieces))

    async def ask(self, caller: Caller) -> BranchFinished:
        """Make the call and return how it ended. A branch that was cut off before it began is not asked."""
        if self.cause is not None:
            return BranchFinished(
                branch_id=self.plan.branch_id,
                state=BranchState.CANCELLED,
                model=self.plan.model,
                failure=self.cause,
                totals=self._spent,
            )
        result = await caller.call(self.call, self, self.stop)
        self._over = True
        return self._finished(result)

    def _finished(self, result: CallResult) -> BranchFinished:
        cut = self.cause is not None and result.state in {BranchState.CANCELLED, BranchState.PARTIAL}
        return BranchFinished(
            branch_id=self.plan.branch_id,
            state=result.state,
            model=result.model,
            text=result.text,
            failure=self.cause if cut else result.failure,
            attempts=result.attempts,
            totals=self._spent + result.totals,
            latency_ns=result.latency_ns,
            first_token_ns=result.first_token_ns,
            cached=result.cached,
            simulated=result.simulated,
            finish_reason=result.finish_reason,
        )


class Branches:
    """All branches of a run: which are under way, which have ended, which were there when."""

    def __init__(self, order: Sequence[BranchId], lanes: Mapping[BranchId, Lane]) -> None:
        self.lanes = dict(lanes)
        """Branches under way."""
        self.finished: dict[BranchId, BranchFinished] = {}
        """Branches that ended, in the order in which they did."""
        self.done = 0
        self._order = {branch: at for at, branch in enumerate(order)}
        self._moved = asyncio.Event()

    def land(self, finished: BranchFinished) -> None:
        """Take the end of a branch in and wake who waits for one."""
        self.lanes.pop(finished.branch_id, None)
        self.finished[finished.branch_id] = finished
        self.done += finished.state is BranchState.DONE
        self.wake()

    def wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready()`, asked again whenever a branch has ended. Each branch ends by its own limits of time, so
        this ends too.
        """
        while not ready():
            await self._moved.wait()

    def cut(self, cause: Failure, branches: Sequence[BranchId] = ()) -> None:
        """Cut off these branches, or all that are under way."""
        for branch in branches or tuple(self.lanes):
            if branch in self.lanes:
                self.lanes[branch].cut(cause)

    @property
    def ended(self) -> bool:
        return not self.lanes

    def answers(self) -> list[BranchFinished]:
        """Return the branches that are DONE, in the order of the plan."""
        done = [finished for finished in self.finished.values() if finished.state is BranchState.DONE]
        return sorted(done, key=lambda finished: self._order[finished.branch_id])


def no_answer(finished: Iterable[BranchFinished]) -> Failure:
    """Return why nothing came of these branches: the reason of the first one that failed speaks for them."""
    first = next((branch.failure for branch in finished if branch.failure is not None), None)
    if first is None:
        return Failure(reason=Reason.EMPTY_ANSWER, message="No branch answered.")
    return Failure(
        reason=first.reason,
        message=f"No branch answered. The first one said: {first.message}",
        metadata=first.metadata,
        transient=first.transient,
        retry_after_ns=first.retry_after_ns,
    )

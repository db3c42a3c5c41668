"""One running fan-out: every branch one task, the synthesis in the run's own, all of them inside one group.

Branches start at once; how many are under way at a model is decided where the calls are made. When the finish rule is
met, what is not in is cut off through its stop event, and its honest end is on the record before the run's.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from whet_server.fanout.branches import CANCELLED_BY_CALLER, ENOUGH, TOO_LATE, Branches, Lane, no_answer
from whet_server.fanout.plan import branch_calls
from whet_server.fanout.recorder import Recorder
from whet_server.fanout.spec import FanoutSpec
from whet_server.fanout.synthesis import Synthesis
from whet_server.fanout.view import History, sum_of
from whet_server.llm.base import Caller
from whet_server.log.events import BranchFinished, LivePayload, RunFinished, SynthesisFinished
from whet_server.log.lifecycle import BranchState
from whet_server.values import BranchId, Failure, RunState, Totals


class FanoutRun:
    """A fan-out under way."""

    def __init__(
        self,
        writer: Recorder,
        caller: Caller,
        spec: FanoutSpec,
        history: History,
        *,
        budget: int,
        clock: Callable[[], int],
        with_evidence: bool = True,
    ) -> None:
        """`history` is what the record says already: of a new run, that it was opened. Without evidence the synthesis
        does not say which branches support it.
        """
        self._writer = writer
        self._caller = caller
        self._spec = spec
        self._clock = clock
        self._history = history
        plans = history.opened.branches
        calls = branch_calls(writer.run.workspace, writer.run.run_id, spec, plans)
        self.branches = Branches(
            [plan.branch_id for plan in plans],
            {
                plan.branch_id: Lane(plan, call, writer, history.spent.get(plan.branch_id, Totals()))
                for plan, call in zip(plans, calls, strict=True)
            },
        )
        self._synthesis = Synthesis(writer, caller, spec, self.branches, budget=budget, with_evidence=with_evidence)
        self._cancelled = False
        for finished in history.finished.values():
            self.branches.land(finished)
        self._synthesis.resume(history)
        writer.snapshot = self._snapshot

    async def drive(self) -> None:
        """Carry the fan-out to its end. Cancelling the task cuts every call off and leaves the run as it is, to be
        taken up again.
        """
        left = self._time_left()
        if left == 0:
            self.branches.cut(TOO_LATE)
        timer = asyncio.get_running_loop().call_later(left, self.branches.cut, TOO_LATE) if left else None
        try:
            async with asyncio.TaskGroup() as group:
                self._judge()
                for lane in tuple(self.branches.lanes.values()):
                    group.create_task(self._ask(lane))
                synthesis = await self._made()
                await self._finish(*self._outcome(synthesis))
        finally:
            if timer is not None:
                timer.cancel()

    def cancel(self, branches: Sequence[BranchId] = ()) -> None:
        """Cut these branches off, or without any the whole fan-out with its synthesis."""
        self.branches.cut(CANCELLED_BY_CALLER, branches)
        if not branches:
            self._cancelled = True
            self._synthesis.cancel()

    async def ended(self, branches: Sequence[BranchId]) -> None:
        """Wait until these branches have ended and their ends are on the record."""
        await self.branches.until(lambda: self.branches.lanes.keys().isdisjoint(branches))
        await self._writer.idle()

    async def _ask(self, lane: Lane) -> None:
        finished = await lane.ask(self._caller)
        recorded = self._writer.post(finished)
        self.branches.land(finished)
        self._judge()
        self._synthesis.landed()
        await recorded

    def _judge(self) -> None:
        """Apply the finish rules that need no clock."""
        if self._spec.enough and self.branches.done >= self._spec.enough:
            self.branches.cut(ENOUGH)

    async def _made(self) -> SynthesisFinished | None:
        """Return the synthesis, which is on the record then."""
        if self._history.synthesis is not None:
            return self._history.synthesis
        synthesis = await self._synthesis.make()
        await self.branches.until(lambda: self.branches.ended)
        if synthesis is not None:
            await self._writer.append(synthesis)
        return synthesis

    async def close(self, failure: Failure) -> None:
        """Close the run as FAILED, because it cannot be carried on."""
        await self._finish(RunState.FAILED, failure)

    async def _finish(self, state: RunState, failure: Failure | None) -> None:
        await self._writer.finish(
            RunFinished(
                state=state,
                failure=failure,
                totals=sum_of([*self.branches.finished.values(), *self._synthesis.drafts]),
                latency_ns=max(0, self._clock() - self._writer.run.create_ns),
            )
        )

    def _outcome(self, synthesis: SynthesisFinished | None) -> tuple[RunState, Failure | None]:
        ends = list(self.branches.finished.values())
        short = [end for end in ends if end.state is not BranchState.DONE]
        if self._cancelled or (len(short) == len(ends) and all(map(_was_cancelled, ends))):
            return RunState.CANCELLED, CANCELLED_BY_CALLER
        if len(short) == len(ends):
            return RunState.FAILED, no_answer(ends)
        if synthesis is not None and synthesis.state is not BranchState.DONE:
            return RunState.PARTIAL, synthesis.failure
        if short and not (self._spec.enough and self.branches.done >= self._spec.enough):
            return RunState.PARTIAL, _missing(short, len(ends))
        return RunState.SUCCEEDED, None

    def _time_left(self) -> float | None:
        """Return the seconds until the finish rule's deadline; it counts from the acceptance, also after a crash."""
        if self._spec.deadline is None:
            return None
        return max(0.0, self._spec.deadline - (self._clock() - self._writer.run.create_ns) / 1e9)

    def _snapshot(self) -> Sequence[LivePayload]:
        return tuple(chain(self._lanes(), self._synthesis.snapshot()))

    def _lanes(self) -> Iterator[LivePayload]:
        for lane in self.branches.lanes.values():
            yield from lane.snapshot()


def _was_cancelled(end: BranchFinished) -> bool:
    return end.failure is not None and end.failure == CANCELLED_BY_CALLER


def _missing(short: Sequence[BranchFinished], of: int) -> Failure:
    """Return what is missing of a run that is PARTIAL, with the first reason for it."""
    first = next((end.failure for end in short if end.failure is not None), no_answer(()))
    return Failure(
        reason=first.reason,
        message=f"{len(short)} of {of} branches did not answer. The first one said: {first.message}",
        metadata=first.metadata | {"missing": " ".join(end.branch_id for end in short[:20])},
        transient=first.transient,
        retry_after_ns=first.retry_after_ns,
    )

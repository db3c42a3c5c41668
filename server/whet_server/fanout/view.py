"""A fan-out folded from its events: what `get` shows, and what recovery goes on from."""

from collections.abc import Iterable, Mapping, Sequence

from whet_server.fanout.spec import FanoutView
from whet_server.log.events import (
    AnyPayload,
    BranchFinished,
    DraftEnded,
    DraftStarted,
    Event,
    RunFinished,
    RunOpened,
    SynthesisFinished,
)
from whet_server.values import BranchId, Run, Totals


class History:
    """What the durable events of a fan-out come to."""

    def __init__(self, opened: RunOpened) -> None:
        self.opened = opened
        self.finished: dict[BranchId, BranchFinished] = {}
        self.started: dict[int, DraftStarted] = {}
        self.ended: dict[int, DraftEnded] = {}
        self.synthesis: SynthesisFinished | None = None
        self.end: RunFinished | None = None
        self.spent: Mapping[BranchId, Totals] = {}
        """What the ledger holds of branches that are asked again, because a crash took the event that would say it."""

    def take(self, *payloads: AnyPayload) -> None:
        """Take events in, in the order of the log."""
        for payload in payloads:
            self._take(payload)

    def _take(self, payload: AnyPayload) -> None:
        match payload:
            case BranchFinished() as finished:
                self.finished[finished.branch_id] = finished
            case DraftStarted() as started:
                self.started[started.revision] = started
            case DraftEnded() as ended:
                self.ended[ended.revision] = ended
            case SynthesisFinished() as synthesis:
                self.synthesis = synthesis
            case RunFinished() as end:
                self.end = end
            case _:
                pass

    def totals(self) -> Totals:
        """Return the sums over the calls that ended."""
        return sum_of([*self.finished.values(), *self.ended.values()])

    def view(self, run: Run) -> FanoutView:
        return FanoutView(
            run=run,
            prompt=self.opened.prompt,
            plan=self.opened.branches,
            branches=tuple(
                self.finished[plan.branch_id] for plan in self.opened.branches if plan.branch_id in self.finished
            ),
            drafts=tuple(self.ended.values()),
            synthesis=self.synthesis,
            failure=self.end.failure if self.end else None,
        )


def fold(events: Sequence[Event]) -> History:
    """Return the history of a run's durable events, the first of which opened it."""
    opened = events[0].payload
    if not isinstance(opened, RunOpened):
        raise TypeError(f"a run's log begins with run_opened, not with {type(opened).__name__}")
    history = History(opened)
    history.take(*(event.payload for event in events[1:]))
    return history


def sum_of(ends: Iterable[BranchFinished | DraftEnded]) -> Totals:
    """Return the totals of ended calls together."""
    whole = Totals()
    for end in ends:
        whole += end.totals
    return whole

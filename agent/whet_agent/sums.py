"""What a session's runs cost, summed so that hearing something twice changes nothing, in little memory."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from whet.v1 import event_pb2, value_pb2

_BILLED: Final = frozenset({"branch_finished", "draft_ended", "run_finished"})
"""The events that carry sums."""


@dataclass(frozen=True, slots=True)
class Sum:
    """Money in nanos of a US dollar, and tokens."""

    settled: int = 0
    unknown: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def plus(self, totals: value_pb2.Totals) -> "Sum":
        return Sum(
            self.settled + totals.settled.nanos,
            self.unknown + totals.unknown.nanos,
            self.input_tokens + totals.usage.input_tokens,
            self.output_tokens + totals.usage.output_tokens,
        )


def is_billed(event: event_pb2.Event) -> bool:
    """Whether the event may change a sum."""
    return bool(event.sequence) and event.WhichOneof("payload") in _BILLED


@dataclass(slots=True, kw_only=True)
class RunSums:
    """The runs of a session. Of one that has ended its id is kept, and its sum is in `total`."""

    total: Sum = field(default_factory=Sum)
    ended: set[str] = field(default_factory=set)
    running: dict[str, tuple[int, Sum]] = field(default_factory=dict)
    """Runs whose end was not told: the sequence of the last event and the sum so far."""

    def hear(self, run_id: str, event: event_pb2.Event) -> None:
        if not event.sequence or run_id in self.ended:
            return
        last, so_far = self.running.get(run_id, (0, Sum()))
        if event.sequence <= last:
            return
        match event.WhichOneof("payload"):
            case "branch_finished":
                so_far = so_far.plus(event.branch_finished.totals)
            case "draft_ended":
                so_far = so_far.plus(event.draft_ended.totals)
            case "run_finished":
                self.total = self.total.plus(event.run_finished.totals)
                self.leave_out(run_id)
                return
            case _:
                pass
        self.running[run_id] = (event.sequence, so_far)

    def begin(self, run_id: str) -> None:
        """Know of a run that nobody may ever watch."""
        if run_id not in self.ended:
            self.running.setdefault(run_id, (0, Sum()))

    def leave_out(self, run_id: str) -> None:
        """Count nothing more of this run."""
        self.running.pop(run_id, None)
        self.ended.add(run_id)

    def each(self, *, without: AbstractSet[str] = frozenset()) -> list[Sum]:
        """Return sums that add up to those of all runs but the running ones named."""
        return [self.total, *(so_far for run, (_, so_far) in self.running.items() if run not in without)]

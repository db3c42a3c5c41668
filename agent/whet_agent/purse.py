"""The money of one session: what its runs and its mind cost, summed from what the server says."""

from whet.v1 import ledger_pb2, value_pb2
from whet_agent.events import Spent
from whet_agent.folds import Fold
from whet_agent.sums import RunSums, Sum


class Purse:
    """Sums by run and by reservation, so that hearing something twice changes nothing."""

    def __init__(self, runs: RunSums) -> None:
        """`runs` are the record's own sums: whatever is told of a run is in them."""
        self._runs = runs
        self._fetched: dict[str, Fold] = {}
        """Runs that nobody here watches, as the server last told them."""
        self._mind: dict[str, value_pb2.Totals] = {}

    def take(self, reservation: ledger_pb2.Reservation) -> None:
        """Take an entry of the ledger as it now stands."""
        totals = value_pb2.Totals(usage=reservation.usage)
        match reservation.billing:
            case value_pb2.BILLING_RESERVED:
                totals.reserved.CopyFrom(reservation.reserved)
            case value_pb2.BILLING_UNKNOWN:
                totals.unknown.CopyFrom(reservation.reserved)
            case value_pb2.BILLING_SETTLED:
                totals.settled.CopyFrom(reservation.settled)
            case _:
                pass  # nothing was sent and nothing is owed
        self._mind[reservation.reservation_id] = totals

    def take_run(self, fold: Fold) -> None:
        """Take a run that was fetched, because nobody watches it."""
        self._fetched[fold.run_id] = fold

    @property
    def running(self) -> list[str]:
        """The session's runs that may spend yet."""
        return [run_id for run_id in self._runs.running if not self.has_ended(run_id)]

    def has_ended(self, run_id: str) -> bool:
        """Whether the run is known to spend no more."""
        fold = self._fetched.get(run_id)
        return run_id in self._runs.ended or (fold is not None and fold.finished is not None)

    def of_run(self, run_id: str) -> int:
        """Return what a run that has not ended has cost so far, in nanos, as far as it is known."""
        if (fold := self._fetched.get(run_id)) is not None:
            return _counted(fold.totals)
        _, so_far = self._runs.running.get(run_id, (0, Sum()))
        return so_far.settled + so_far.unknown

    def take_earlier(self, totals: value_pb2.Totals) -> None:
        """Take what the mind had spent before the session was opened again."""
        self._mind[""] = totals

    def spent(self) -> Spent:
        fetched = {run: fold.totals for run, fold in self._fetched.items() if run not in self._runs.ended}
        others = Sum()
        for totals in [*self._mind.values(), *fetched.values()]:
            others = others.plus(totals)
        sums = [others, *self._runs.each(without=fetched.keys())]
        return Spent(
            settled=sum(each.settled for each in sums),
            unknown=sum(each.unknown for each in sums),
            reserved=sum(totals.reserved.nanos for totals in [*self._mind.values(), *fetched.values()]),
            input_tokens=sum(each.input_tokens for each in sums),
            output_tokens=sum(each.output_tokens for each in sums),
        )


def _counted(totals: value_pb2.Totals) -> int:
    return totals.settled.nanos + totals.unknown.nanos + totals.reserved.nanos

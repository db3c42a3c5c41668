"""The money of one session: what its runs and its mind cost, summed from what the server says."""

from whet.v1 import event_pb2, ledger_pb2, value_pb2
from whet_agent.events import Spent
from whet_agent.runs import RunFold


class Purse:
    """Sums by run and by reservation, so that hearing something twice changes nothing."""

    def __init__(self) -> None:
        self._runs: dict[str, RunFold] = {}
        self._mind: dict[str, value_pb2.Totals] = {}

    def hear(self, run_id: str, event: event_pb2.Event) -> bool:
        """Take an event of a run; return whether it may have changed the sums."""
        if not event.sequence:
            return False
        fold = self._runs.setdefault(run_id, RunFold())
        return fold.hear(event) and event.WhichOneof("payload") in {"branch_finished", "draft_ended", "run_finished"}

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

    def take_run(self, fold: RunFold) -> None:
        """Take a run that was fetched, because nobody watches it."""
        self._runs[fold.run_id] = fold

    def has_ended(self, run_id: str) -> bool:
        """Whether the run is known to spend no more."""
        fold = self._runs.get(run_id)
        return fold is not None and fold.finished is not None

    def of_run(self, run_id: str) -> int:
        """Return what the run has cost so far, in nanos, as far as it is known."""
        return _counted(self._runs[run_id].totals) if run_id in self._runs else 0

    def take_earlier(self, totals: value_pb2.Totals) -> None:
        """Take what the mind had spent before the session was opened again."""
        self._mind[""] = totals

    def spent(self) -> Spent:
        sums = [fold.totals for fold in self._runs.values()] + list(self._mind.values())
        return Spent(
            settled=sum(totals.settled.nanos for totals in sums),
            unknown=sum(totals.unknown.nanos for totals in sums),
            reserved=sum(totals.reserved.nanos for totals in sums),
            input_tokens=sum(totals.usage.input_tokens for totals in sums),
            output_tokens=sum(totals.usage.output_tokens for totals in sums),
        )


def _counted(totals: value_pb2.Totals) -> int:
    return totals.settled.nanos + totals.unknown.nanos + totals.reserved.nanos

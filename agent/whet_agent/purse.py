"""The money of one session: what its runs and its mind cost, summed from what the server says."""

from whet.v1 import ledger_pb2, value_pb2
from whet_agent.events import Spent
from whet_agent.sums import RunSums, Sum


class Purse:
    """Sums by run and by reservation, so that hearing something twice changes nothing."""

    def __init__(self, runs: RunSums) -> None:
        """`runs` are the record's own sums: whatever is told of a run is in them."""
        self._runs = runs
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

    def take_earlier(self, totals: value_pb2.Totals) -> None:
        """Take what the mind had spent before the session was opened again."""
        self._mind[""] = totals

    def spent(self) -> Spent:
        mind = Sum()
        for totals in self._mind.values():
            mind = mind.plus(totals)
        sums = [mind, *self._runs.each()]
        return Spent(
            settled=sum(each.settled for each in sums),
            unknown=sum(each.unknown for each in sums),
            reserved=sum(totals.reserved.nanos for totals in self._mind.values()),
            input_tokens=sum(each.input_tokens for each in sums),
            output_tokens=sum(each.output_tokens for each in sums),
        )

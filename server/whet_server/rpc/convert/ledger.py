"""Entries, caps and usage of the ledger."""

from collections.abc import Iterable, Sequence

from whet.v1 import ledger_pb2
from whet_server.ledger.ledger import CapStatus
from whet_server.rpc.convert.enums import BILLING, CAP_PERIOD
from whet_server.rpc.convert.values import money, timestamp, timestamp_or_none, totals_message, usage_message
from whet_server.store.base import ReservationRecord, UsageSum
from whet_server.values import Billing, Nanos, Totals, Usage


def cap_message(cap: CapStatus) -> ledger_pb2.Cap:
    return ledger_pb2.Cap(
        cap_id=cap.period,
        period=CAP_PERIOD.wire[cap.period],
        limit=money(cap.limit),
        settled=money(cap.settled),
        unknown=money(cap.unknown),
        reserved=money(cap.reserved),
    )


def reservation_message(record: ReservationRecord) -> ledger_pb2.Reservation:
    ended = record.billing in {Billing.SETTLED, Billing.NONE}
    return ledger_pb2.Reservation(
        reservation_id=record.reservation_id,
        run_id=record.run_id,
        model=record.model,
        billing=BILLING.wire[record.billing],
        reserved=money(record.reserved),
        settled=money(record.settled) if ended else None,
        usage=usage_message(record.usage),
        create_time=timestamp(record.create_ns),
        end_time=timestamp_or_none(record.end_ns),
    )


def totals_of(sums: Iterable[UsageSum]) -> Totals:
    """Add sums of one key up. What was never sent counts for nothing; what is still reserved is no attempt yet."""
    totals = Totals()
    for each in sums:
        if each.billing is Billing.NONE:
            continue
        totals += Totals(
            settled=each.money if each.billing is Billing.SETTLED else Nanos(0),
            unknown=each.money if each.billing is Billing.UNKNOWN else Nanos(0),
            reserved=each.money if each.billing is Billing.RESERVED else Nanos(0),
            usage=Usage(input_tokens=each.input_tokens, output_tokens=each.output_tokens, estimated=each.estimated),
            attempts=0 if each.billing is Billing.RESERVED else each.entries,
        )
    return totals


def usage_response(sums: Sequence[UsageSum], *, by_day: bool) -> ledger_pb2.GetUsageResponse:
    """Group sums by key: most money first; by day, newest first."""
    keys = dict.fromkeys(each.key for each in sums)
    lines = [(key, totals_of(each for each in sums if each.key == key)) for key in keys]
    if by_day:
        lines.sort(key=lambda line: line[0], reverse=True)
    else:
        lines.sort(key=lambda line: (-(line[1].settled + line[1].unknown + line[1].reserved), line[0]))
    return ledger_pb2.GetUsageResponse(
        lines=[ledger_pb2.UsageLine(key=key, totals=totals_message(totals)) for key, totals in lines],
        totals=totals_message(totals_of(sums)),
    )

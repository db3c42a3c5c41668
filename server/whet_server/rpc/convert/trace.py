"""Runs of every kind, as lists and proofs show them."""

from whet.v1 import trace_pb2
from whet_server.log.log import Verification
from whet_server.rpc.convert.enums import RUN_KIND, RUN_STATE
from whet_server.rpc.convert.values import timestamp, timestamp_or_none, totals_message
from whet_server.values import Run


def trace_message(run: Run) -> trace_pb2.Trace:
    return trace_pb2.Trace(
        run_id=run.run_id,
        kind=RUN_KIND.wire[run.kind],
        title=run.title,
        state=RUN_STATE.wire[run.state],
        create_time=timestamp(run.create_ns),
        end_time=timestamp_or_none(run.end_ns),
        event_count=run.event_count,
        head_hash=run.head_hash,
        role=run.role,
        totals=totals_message(run.totals),
    )


def verification_message(found: Verification) -> trace_pb2.VerifyTraceResponse:
    return trace_pb2.VerifyTraceResponse(
        valid=found.valid,
        events_checked=found.events_checked,
        first_bad_sequence=found.first_bad_sequence,
        problem=found.problem,
        head_hash=found.head_hash,
    )

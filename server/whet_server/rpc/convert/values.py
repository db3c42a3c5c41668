"""Money, time, usage, parameters, failures, attempts: what more than one service speaks of."""

from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from whet.v1 import value_pb2
from whet_server.errors import Reason
from whet_server.rpc.convert.enums import BILLING, REASON, SPEAKER
from whet_server.rpc.status import code_number
from whet_server.values import (
    Attempt,
    CallLimits,
    Failure,
    Message,
    Nanos,
    Parameters,
    Speaker,
    Totals,
    Usage,
)

SECOND: Final = 1_000_000_000


def timestamp(nanoseconds: int) -> Timestamp:
    return Timestamp(seconds=nanoseconds // SECOND, nanos=nanoseconds % SECOND)


def duration(nanoseconds: int) -> Duration:
    """Return a span of time; latencies and waits are never negative, so seconds and nanos have one sign."""
    return Duration(seconds=nanoseconds // SECOND, nanos=nanoseconds % SECOND)


def duration_or_none(nanoseconds: int | None) -> Duration | None:
    return None if nanoseconds is None else duration(nanoseconds)


def timestamp_or_none(nanoseconds: int | None) -> Timestamp | None:
    return None if nanoseconds is None else timestamp(nanoseconds)


def rfc3339(nanoseconds: int) -> str:
    """Return a moment as text, in UTC."""
    return timestamp(nanoseconds).ToJsonString()


def nanoseconds_of(moment: Timestamp) -> int:
    return moment.seconds * SECOND + moment.nanos


def seconds_of(span: Duration) -> float:
    return span.seconds + span.nanos / SECOND


def money(nanos: int) -> value_pb2.Money:
    return value_pb2.Money(nanos=nanos)


def nanos_of(amount: value_pb2.Money) -> Nanos:
    return Nanos(amount.nanos)


def usage_message(usage: Usage) -> value_pb2.Usage:
    return value_pb2.Usage(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, estimated=usage.estimated
    )


def usage_of(message: value_pb2.Usage) -> Usage:
    return Usage(input_tokens=message.input_tokens, output_tokens=message.output_tokens, estimated=message.estimated)


def message_of(message: value_pb2.ChatMessage) -> Message:
    return Message(role=SPEAKER.value.get(message.role, Speaker.USER), content=message.content)


def parameters_of(message: value_pb2.Parameters) -> Parameters:
    return Parameters(
        temperature=message.temperature if message.HasField("temperature") else None,
        top_p=message.top_p if message.HasField("top_p") else None,
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
        seed=message.seed if message.HasField("seed") else None,
        stop=tuple(message.stop),
        json_schema=message.json_schema,
    )


def limits_of(message: value_pb2.CallLimits) -> CallLimits:
    return CallLimits(
        connect=seconds_of(message.connect) if message.HasField("connect") else None,
        first_token=seconds_of(message.first_token) if message.HasField("first_token") else None,
        idle=seconds_of(message.idle) if message.HasField("idle") else None,
        total=seconds_of(message.total) if message.HasField("total") else None,
    )


def failure_message(failure: Failure) -> value_pb2.Failure:
    reason = Reason(failure.reason) if failure.reason in Reason.__members__ else Reason.INTERNAL
    return value_pb2.Failure(
        code=code_number(reason),
        message=failure.message,
        reason=REASON.wire[reason],
        metadata=failure.metadata,
        transient=failure.transient,
        retry_after=duration_or_none(failure.retry_after_ns),
    )


def failure_or_none(failure: Failure | None) -> value_pb2.Failure | None:
    return None if failure is None else failure_message(failure)


def attempt_message(attempt: Attempt) -> value_pb2.Attempt:
    return value_pb2.Attempt(
        number=attempt.number,
        model=attempt.model,
        failure=failure_or_none(attempt.failure),
        start_time=timestamp(attempt.start_ns),
        first_token_latency=duration_or_none(attempt.first_token_ns),
        latency=duration(attempt.latency_ns),
        usage=usage_message(attempt.usage),
        billing=BILLING.wire[attempt.billing],
        cost=money(attempt.cost),
        provider_request_id=attempt.provider_request_id,
        wait=duration_or_none(attempt.wait_ns),
    )


def totals_message(totals: Totals) -> value_pb2.Totals:
    return value_pb2.Totals(
        settled=money(totals.settled),
        unknown=money(totals.unknown),
        reserved=money(totals.reserved),
        usage=usage_message(totals.usage),
        attempts=totals.attempts,
        cache_hits=totals.cache_hits,
        unpriced=totals.unpriced,
    )

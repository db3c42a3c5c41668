"""The one place that turns reasons into gRPC status codes and errors into `google.rpc.Status`.

A status travels in HTTP/2 trailers. Above about 8 KB peers drop trailers at random and the code with them, so
everything here is cut to fit under `MAX_BYTES`: what was wrong always arrives, if need be in fewer words.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from whet_server.errors import InvalidField, Reason, WhetError

DOMAIN: Final = "whet"
MAX_BYTES: Final = 6000
"""Below the 8 KB at which peers begin to drop trailers, with room for other trailers beside it."""
MAX_TEXT: Final = 1024
"""Longest message and longest metadata value, in bytes as they travel."""
MAX_VIOLATIONS: Final = 40
"""Nobody mends more fields than this at once."""
MAX_VIOLATION: Final = 300
"""Longest path or description of one violation."""
RETRY_SECONDS: Final = 1.0
"""When a retry can work and nobody said when: long enough for a restart, short enough for a person who waits."""

_Code = grpc.StatusCode
CODES: Final[Mapping[Reason, grpc.StatusCode]] = MappingProxyType(
    {
        Reason.INVALID_FIELD: _Code.INVALID_ARGUMENT,
        Reason.MALFORMED_MESSAGE: _Code.INVALID_ARGUMENT,
        Reason.REQUEST_ID_REUSED: _Code.INVALID_ARGUMENT,
        Reason.TOKEN_INVALID: _Code.UNAUTHENTICATED,
        Reason.TOKEN_EXPIRED: _Code.UNAUTHENTICATED,
        Reason.ROLE_NOT_ALLOWED: _Code.PERMISSION_DENIED,
        Reason.APPROVAL_REQUIRED: _Code.FAILED_PRECONDITION,
        Reason.APPROVAL_NOT_OPEN: _Code.FAILED_PRECONDITION,
        Reason.RUN_NOT_FOUND: _Code.NOT_FOUND,
        Reason.ENDPOINT_NOT_FOUND: _Code.NOT_FOUND,
        Reason.MODEL_NOT_FOUND: _Code.NOT_FOUND,
        Reason.CURSOR_INVALID: _Code.INVALID_ARGUMENT,
        Reason.CURSOR_EXPIRED: _Code.OUT_OF_RANGE,
        Reason.PLAN_CHANGED: _Code.FAILED_PRECONDITION,
        Reason.CAP_EXCEEDED: _Code.RESOURCE_EXHAUSTED,
        Reason.PRICE_UNKNOWN: _Code.FAILED_PRECONDITION,
        Reason.RESERVATION_NOT_FOUND: _Code.NOT_FOUND,
        Reason.WRONG_STATE: _Code.FAILED_PRECONDITION,
        Reason.DRAINING: _Code.UNAVAILABLE,
        Reason.SLOW_CONSUMER: _Code.RESOURCE_EXHAUSTED,
        Reason.TOO_LARGE: _Code.RESOURCE_EXHAUSTED,
        Reason.INTERNAL: _Code.INTERNAL,
        Reason.STORAGE_UNAVAILABLE: _Code.UNAVAILABLE,
        Reason.CAP_NOT_FOUND: _Code.NOT_FOUND,
        Reason.DEADLINE_EXCEEDED: _Code.DEADLINE_EXCEEDED,
        Reason.CANCELLED: _Code.CANCELLED,
        Reason.INTERRUPTED: _Code.ABORTED,
        Reason.DATASET_NOT_FOUND: _Code.NOT_FOUND,
        Reason.HOLDOUT_SEALED: _Code.FAILED_PRECONDITION,
        Reason.RUBRIC_NOT_FOUND: _Code.NOT_FOUND,
        Reason.SCORER_NOT_FOUND: _Code.NOT_FOUND,
        Reason.JUDGE_UNCALIBRATED: _Code.FAILED_PRECONDITION,
        Reason.JUDGE_STALE: _Code.FAILED_PRECONDITION,
        Reason.JUDGE_TOO_WEAK: _Code.FAILED_PRECONDITION,
        Reason.TOO_FEW_SCORES: _Code.FAILED_PRECONDITION,
        Reason.HOLDOUT_SPENT: _Code.FAILED_PRECONDITION,
        Reason.TRIAL_NOT_FOUND: _Code.NOT_FOUND,
        Reason.HOOK_NOT_FOUND: _Code.NOT_FOUND,
        Reason.PROVIDER_UNREACHABLE: _Code.UNAVAILABLE,
        Reason.CONNECT_TIMEOUT: _Code.DEADLINE_EXCEEDED,
        Reason.FIRST_TOKEN_TIMEOUT: _Code.DEADLINE_EXCEEDED,
        Reason.IDLE_TIMEOUT: _Code.DEADLINE_EXCEEDED,
        Reason.TOTAL_TIMEOUT: _Code.DEADLINE_EXCEEDED,
        Reason.RATE_LIMITED: _Code.RESOURCE_EXHAUSTED,
        Reason.QUOTA_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
        Reason.PROVIDER_ERROR: _Code.UNAVAILABLE,
        Reason.PROVIDER_OVERLOADED: _Code.UNAVAILABLE,
        Reason.KEY_REFUSED: _Code.FAILED_PRECONDITION,
        Reason.REQUEST_REFUSED: _Code.FAILED_PRECONDITION,
        Reason.PROTOCOL_VIOLATION: _Code.UNKNOWN,
        Reason.STREAM_CUT: _Code.UNAVAILABLE,
        Reason.CONTENT_FILTERED: _Code.FAILED_PRECONDITION,
        Reason.ANSWER_TOO_LARGE: _Code.RESOURCE_EXHAUSTED,
        Reason.CIRCUIT_OPEN: _Code.UNAVAILABLE,
        Reason.RETRY_BUDGET_EXHAUSTED: _Code.UNAVAILABLE,
        Reason.LOCAL_MODEL_FAILED: _Code.UNAVAILABLE,
        Reason.REDIRECT_REFUSED: _Code.FAILED_PRECONDITION,
        Reason.EMPTY_ANSWER: _Code.UNAVAILABLE,
        Reason.NO_VERDICT: _Code.UNKNOWN,
        Reason.EVIDENCE_NOT_FOUND: _Code.UNKNOWN,
        Reason.JUDGE_DECLINED: _Code.FAILED_PRECONDITION,
        Reason.NOT_APPLICABLE: _Code.FAILED_PRECONDITION,
        Reason.SCORER_FAILED: _Code.UNAVAILABLE,
        Reason.TEMPLATE_FAILED: _Code.FAILED_PRECONDITION,
        Reason.OUTSIDE_FAILED: _Code.UNKNOWN,
    }
)

RETRY_CAN_WORK: Final = frozenset({Reason.DRAINING, Reason.STORAGE_UNAVAILABLE})
"""Reasons that pass by themselves. Others carry RetryInfo only when the error says when to come back."""


def code_number(reason: str) -> int:
    """Return the `google.rpc.Code` of a reason as a number; a reason that is not published counts as INTERNAL."""
    known = reason if reason in Reason.__members__ else Reason.INTERNAL
    number: int = CODES[Reason(known)].value[0]
    return number


def status_of(error: WhetError) -> Status:
    """Return the error as it goes over the wire, at most `MAX_BYTES` large; its text counts twice, as it travels."""
    violations = list(error.violations[:MAX_VIOLATIONS]) if isinstance(error, InvalidField) else []
    text_limit = MAX_TEXT
    while True:
        status = _built(error, violations, text_limit)
        if status.ByteSize() + len(quote(status.message)) <= MAX_BYTES:
            return status
        if violations:
            violations.pop()
        else:
            text_limit //= 2


def _built(error: WhetError, violations: list[tuple[str, str]], text_limit: int) -> Status:
    info = ErrorInfo(reason=error.reason.value, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[_cut(key, 64)] = _cut(value, text_limit)
    details: list[Message] = [info]
    if violations:
        bad = BadRequest()
        for path, what in violations:
            bad.field_violations.add(field=_cut(path, MAX_VIOLATION), description=_cut(what, MAX_VIOLATION))
        details.append(bad)
    wait = error.retry_after
    if wait is None and error.reason in RETRY_CAN_WORK:
        wait = RETRY_SECONDS
    if wait is not None:
        delay = Duration()
        delay.FromNanoseconds(int(wait * 1e9))
        details.append(RetryInfo(retry_delay=delay))
    number: int = CODES[error.reason].value[0]
    return Status(code=number, message=_cut(str(error), text_limit), details=[_packed(each) for each in details])


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


def _cut(text: str, limit: int) -> str:
    """Return the text, cut so that it takes at most `limit` bytes once percent-encoded, as the trailer carries it."""
    if len(quote(text)) <= limit:
        return text
    room = limit - len(quote("…"))
    kept = 0
    for place, character in enumerate(text):
        kept += len(quote(character))
        if kept > room:
            return text[:place] + "…"
    return text

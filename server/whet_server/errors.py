"""Everything this server refuses, and why.

WhetError
  InvalidField            a field of the request is missing, malformed or out of bounds
  RequestIdReused         the request id came before with another payload
  Unauthenticated         no token, or one this server does not know, or one that has expired
  RoleNotAllowed          the token's role may not make this call
  ApprovalRequired        a person must approve the call first
  ApprovalNotOpen         the approval cannot be decided or used (any more)
  NotFound                the named run, endpoint, model, reservation, cap or approval does not exist
  HoldoutSealed           the hold-out is under seal
  HoldoutSpent            the hold-out was opened before
  CursorInvalid           the cursor is not one of this run
  PlanChanged             the plan no longer matches what would run
  WrongState              the thing cannot do that in its state
  CapExceeded             the reservation would cross a cap
  PriceUnknown            a money cap applies and the model has no price
  SlowConsumer            a subscriber read too slowly
  StorageUnavailable      the database does not take writes now
  TemplateFailed          a template cannot be read, or not be filled in
  Draining                the server is about to stop
  MalformedMessage        the message could not be decoded
  TooLarge                the request is larger than the method accepts
  DeadlineExceeded        the deadline passed before the work was done

Each knows its reason; `rpc/status.py` is the one place that maps reasons to status codes. A failing branch is not an
exception but a `Failure`, made by `failure_of` or from a provider's answer in `llm/taxonomy.py`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

from whet_server.values import Failure


class Reason(StrEnum):
    """The published reasons; `error_reason.proto` documents each. A test holds the two lists equal."""

    INVALID_FIELD = "INVALID_FIELD"
    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    TOKEN_INVALID = "TOKEN_INVALID"  # noqa: S105 -- a reason's name, not a secret
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 -- a reason's name, not a secret
    ROLE_NOT_ALLOWED = "ROLE_NOT_ALLOWED"
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
    APPROVAL_NOT_OPEN = "APPROVAL_NOT_OPEN"
    RUN_NOT_FOUND = "RUN_NOT_FOUND"
    ENDPOINT_NOT_FOUND = "ENDPOINT_NOT_FOUND"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    CURSOR_INVALID = "CURSOR_INVALID"
    CURSOR_EXPIRED = "CURSOR_EXPIRED"
    PLAN_CHANGED = "PLAN_CHANGED"
    CAP_EXCEEDED = "CAP_EXCEEDED"
    PRICE_UNKNOWN = "PRICE_UNKNOWN"
    RESERVATION_NOT_FOUND = "RESERVATION_NOT_FOUND"
    WRONG_STATE = "WRONG_STATE"
    DRAINING = "DRAINING"
    SLOW_CONSUMER = "SLOW_CONSUMER"
    TOO_LARGE = "TOO_LARGE"
    INTERNAL = "INTERNAL"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    CAP_NOT_FOUND = "CAP_NOT_FOUND"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    INTERRUPTED = "INTERRUPTED"
    DATASET_NOT_FOUND = "DATASET_NOT_FOUND"
    HOLDOUT_SEALED = "HOLDOUT_SEALED"
    RUBRIC_NOT_FOUND = "RUBRIC_NOT_FOUND"
    SCORER_NOT_FOUND = "SCORER_NOT_FOUND"
    JUDGE_UNCALIBRATED = "JUDGE_UNCALIBRATED"
    JUDGE_STALE = "JUDGE_STALE"
    JUDGE_TOO_WEAK = "JUDGE_TOO_WEAK"
    TOO_FEW_SCORES = "TOO_FEW_SCORES"
    HOLDOUT_SPENT = "HOLDOUT_SPENT"
    TRIAL_NOT_FOUND = "TRIAL_NOT_FOUND"
    HOOK_NOT_FOUND = "HOOK_NOT_FOUND"
    PROVIDER_UNREACHABLE = "PROVIDER_UNREACHABLE"
    CONNECT_TIMEOUT = "CONNECT_TIMEOUT"
    FIRST_TOKEN_TIMEOUT = "FIRST_TOKEN_TIMEOUT"  # noqa: S105 -- a reason's name, not a secret
    IDLE_TIMEOUT = "IDLE_TIMEOUT"
    TOTAL_TIMEOUT = "TOTAL_TIMEOUT"
    RATE_LIMITED = "RATE_LIMITED"
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"
    PROVIDER_ERROR = "PROVIDER_ERROR"
    PROVIDER_OVERLOADED = "PROVIDER_OVERLOADED"
    KEY_REFUSED = "KEY_REFUSED"
    REQUEST_REFUSED = "REQUEST_REFUSED"
    PROTOCOL_VIOLATION = "PROTOCOL_VIOLATION"
    STREAM_CUT = "STREAM_CUT"
    CONTENT_FILTERED = "CONTENT_FILTERED"
    ANSWER_TOO_LARGE = "ANSWER_TOO_LARGE"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    RETRY_BUDGET_EXHAUSTED = "RETRY_BUDGET_EXHAUSTED"
    LOCAL_MODEL_FAILED = "LOCAL_MODEL_FAILED"
    REDIRECT_REFUSED = "REDIRECT_REFUSED"
    EMPTY_ANSWER = "EMPTY_ANSWER"
    NO_VERDICT = "NO_VERDICT"
    EVIDENCE_NOT_FOUND = "EVIDENCE_NOT_FOUND"
    JUDGE_DECLINED = "JUDGE_DECLINED"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    SCORER_FAILED = "SCORER_FAILED"
    TEMPLATE_FAILED = "TEMPLATE_FAILED"
    OUTSIDE_FAILED = "OUTSIDE_FAILED"


class WhetError(Exception):
    """Something this server refuses. `str()` is for the caller: what was wrong and what to do."""

    reason: ClassVar[Reason] = Reason.INTERNAL

    def __init__(
        self, message: str, *, metadata: Mapping[str, str] | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        """Seconds after which the same call may work; None where a retry cannot help."""


class InvalidField(WhetError):
    """Fields of the request are wrong. `violations` are (field path, description) pairs."""

    reason = Reason.INVALID_FIELD

    def __init__(self, *violations: tuple[str, str]) -> None:
        super().__init__(
            "; ".join(f"{path}: {what}" for path, what in violations[:5]), metadata={"field": violations[0][0]}
        )
        self.violations = violations


class RequestIdReused(WhetError):
    """The request id came before with another payload."""

    reason = Reason.REQUEST_ID_REUSED


class Unauthenticated(WhetError):
    """No token, or one this server does not know."""

    reason = Reason.TOKEN_INVALID


class TokenExpired(Unauthenticated):
    """The token was valid once."""

    reason = Reason.TOKEN_EXPIRED


class RoleNotAllowed(WhetError):
    """The token's role may not make this call."""

    reason = Reason.ROLE_NOT_ALLOWED


class ApprovalRequired(WhetError):
    """A person must approve the call first; metadata names the approval and the digest."""

    reason = Reason.APPROVAL_REQUIRED


class ApprovalNotOpen(WhetError):
    """The approval cannot be decided or used (any more)."""

    reason = Reason.APPROVAL_NOT_OPEN


class NotFound(WhetError):
    """The named thing does not exist in this workspace; subclasses say which kind."""


class RunNotFound(NotFound):
    reason = Reason.RUN_NOT_FOUND


class EndpointNotFound(NotFound):
    reason = Reason.ENDPOINT_NOT_FOUND


class ModelNotFound(NotFound):
    reason = Reason.MODEL_NOT_FOUND


class ReservationNotFound(NotFound):
    reason = Reason.RESERVATION_NOT_FOUND


class CapNotFound(NotFound):
    reason = Reason.CAP_NOT_FOUND


class DatasetNotFound(NotFound):
    reason = Reason.DATASET_NOT_FOUND


class RubricNotFound(NotFound):
    reason = Reason.RUBRIC_NOT_FOUND


class ScorerNotFound(NotFound):
    reason = Reason.SCORER_NOT_FOUND


class TrialNotFound(NotFound):
    reason = Reason.TRIAL_NOT_FOUND


class HookNotFound(NotFound):
    reason = Reason.HOOK_NOT_FOUND


class HoldoutSpent(WhetError):
    """The hold-out was opened before: a figure on it would not be one on rows that nothing was chosen by."""

    reason = Reason.HOLDOUT_SPENT


class HoldoutSealed(WhetError):
    """The hold-out is under seal."""

    reason = Reason.HOLDOUT_SEALED


class CursorInvalid(WhetError):
    """The cursor is not one of this run."""

    reason = Reason.CURSOR_INVALID


class PlanChanged(WhetError):
    """The plan no longer matches what would run."""

    reason = Reason.PLAN_CHANGED


class WrongState(WhetError):
    """The thing cannot do that in its state."""

    reason = Reason.WRONG_STATE


class CapExceeded(WhetError):
    """The reservation would cross a cap."""

    reason = Reason.CAP_EXCEEDED


class PriceUnknown(WhetError):
    """A money cap applies and the model has no price."""

    reason = Reason.PRICE_UNKNOWN


class SlowConsumer(WhetError):
    """A subscriber read too slowly; metadata carries the cursor to attach again with."""

    reason = Reason.SLOW_CONSUMER


class StorageUnavailable(WhetError):
    """The database does not take writes now."""

    reason = Reason.STORAGE_UNAVAILABLE


class TemplateFailed(WhetError):
    """A template cannot be read, or not be filled in; metadata has the line."""

    reason = Reason.TEMPLATE_FAILED


class Draining(WhetError):
    """The server is about to stop."""

    reason = Reason.DRAINING


class MalformedMessage(WhetError):
    """The message could not be decoded."""

    reason = Reason.MALFORMED_MESSAGE


class TooLarge(WhetError):
    """The request is larger than the method accepts."""

    reason = Reason.TOO_LARGE


class DeadlineExceeded(WhetError):
    """The deadline passed before the work was done."""

    reason = Reason.DEADLINE_EXCEEDED


def failure_of(error: WhetError, *, transient: bool = False) -> Failure:
    """Return the error as the data that a run's record keeps."""
    wait = None if error.retry_after is None else int(error.retry_after * 1e9)
    return Failure(
        reason=error.reason.value, message=str(error), metadata=error.metadata, transient=transient, retry_after_ns=wait
    )

"""What a provider's answer means: statuses, error bodies and broken connections become a `Failure`.

Providers share statuses and little else. A 429 may mean "slower, please" or "your credit is used up"; the first passes,
the second does not, and only the body tells. The shapes read here are those of OpenAI, Azure, Anthropic's compatible
API, Gemini, OpenRouter, vLLM, Ollama and llama.cpp.
"""

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from whet_server.errors import Reason
from whet_server.values import Failure, Value

EXCERPT: Final = 300
"""Characters of a provider's own words that go on the record: enough to recognise an error by."""
MAX_RETRY_AFTER: Final = 366 * 86_400.0
"""Seconds; a longer wait is not a wait but a mistake, and is read as not said."""

_TRANSIENT: Final = frozenset(
    {
        Reason.PROVIDER_UNREACHABLE,
        Reason.CONNECT_TIMEOUT,
        Reason.FIRST_TOKEN_TIMEOUT,
        Reason.IDLE_TIMEOUT,
        Reason.RATE_LIMITED,
        Reason.PROVIDER_ERROR,
        Reason.PROVIDER_OVERLOADED,
        Reason.STREAM_CUT,
        Reason.CIRCUIT_OPEN,
        Reason.RETRY_BUDGET_EXHAUSTED,
        Reason.LOCAL_MODEL_FAILED,
        Reason.EMPTY_ANSWER,
    }
)
_MONEY: Final = re.compile(
    r"insufficient[_ ](quota|credit|fund|balance)|billing_(hard_limit|not_active)|billing hard limit"
    r"|payment[_ ]required|credit balance|out of credits?|requires more credits|exceeded your current quota"
    r"|spend(ing)?[_ ]limit|quota_exceeded|budget_exceeded",
    re.IGNORECASE,
)
_FILTERED: Final = re.compile(r"content_filter|content_policy_violation|moderation|flagged", re.IGNORECASE)
_OVERLOADED: Final = re.compile(r"overloaded", re.IGNORECASE)
_LIMITED: Final = re.compile(r"rate_limit|RESOURCE_EXHAUSTED|too_many_requests", re.IGNORECASE)
_KEY: Final = re.compile(r"authentication|invalid_api_key|permission|UNAUTHENTICATED", re.IGNORECASE)
_REFUSED: Final = re.compile(r"invalid_request|INVALID_ARGUMENT|not_found|context_length|BadRequest", re.IGNORECASE)
_SCHEMA: Final = re.compile(r"response[_ ]format|json[_ ]schema|structured[_ ]output|grammar", re.IGNORECASE)
_DELAY: Final = re.compile(r"^(\d+(?:\.\d+)?)s$")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_BY_STATUS: Final[Mapping[int, Reason]] = {
    401: Reason.KEY_REFUSED,
    402: Reason.QUOTA_EXHAUSTED,
    403: Reason.KEY_REFUSED,
    407: Reason.KEY_REFUSED,
    408: Reason.PROVIDER_ERROR,
    409: Reason.PROVIDER_ERROR,
    425: Reason.PROVIDER_ERROR,
    429: Reason.RATE_LIMITED,
    503: Reason.PROVIDER_OVERLOADED,
    529: Reason.PROVIDER_OVERLOADED,
}
"""408, 409 and 425 ask to come again: the request timed out, collided, or came too early."""
_BY_CLASS: Final[Mapping[int, Reason]] = {
    3: Reason.REDIRECT_REFUSED,
    4: Reason.REQUEST_REFUSED,
    5: Reason.PROVIDER_ERROR,
}


class ErrorBody(Value):
    """What a provider's error body says, whatever its shape."""

    message: str = ""
    code: str = ""
    """Code, type and status in one line, as far as the provider gives them."""
    status: int | None = None
    retry_after: float | None = None


def failure(reason: Reason, message: str, *, transient: bool | None = None, **metadata: str) -> Failure:
    """Return a failure; whether it is transient follows from the reason unless said otherwise."""
    passing = reason in _TRANSIENT if transient is None else transient
    return Failure(reason=reason.value, message=message, metadata=metadata, transient=passing)


def failure_of_status(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Failure:
    """Return what an answer with an error status means. `headers` have lower-case names, `now` is Unix time."""
    said = read_error_body(body)
    wait = retry_after(headers, now)
    if wait is None:
        wait = said.retry_after
    reason = _judge(status, said, waits=wait is not None)
    return _told(reason, f"The provider answered {status}", said, wait, status=str(status))


def failure_of_error(body: bytes) -> Failure:
    """Return what an error object inside a stream means."""
    said = read_error_body(body)
    status = said.status or _status_of(said.code)
    reason = _judge(status, said, waits=said.retry_after is not None)
    return _told(reason, "The provider reported an error in its stream", said, said.retry_after)


def refuses_schema(told: Failure) -> bool:
    """Whether a provider refused a request for the JSON Schema in it: it knows none, or not all of this one."""
    words = f"{told.metadata.get('provider_code', '')} {told.message}"
    return told.reason == Reason.REQUEST_REFUSED and _SCHEMA.search(words) is not None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the wait in seconds that the headers ask for; None when they say nothing that makes sense."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if not value:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            seconds = _until(value, now)
        if math.isfinite(seconds) and 0 <= seconds <= MAX_RETRY_AFTER:
            return seconds
    return None


def read_error_body(body: bytes) -> ErrorBody:
    """Read an error body of any known shape; a body of no known shape is its own message."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return ErrorBody(message=excerpt(body.decode(errors="replace")))
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, dict):
        return ErrorBody(message=excerpt(str(found)))
    inner = found.get("error", found)
    if not isinstance(inner, dict):
        return ErrorBody(message=excerpt(str(inner)))
    message = inner.get("message") or inner.get("detail") or found.get("message") or found.get("detail") or ""
    names = [str(inner[name]) for name in ("code", "type", "status") if inner.get(name) not in (None, "")]
    status = inner.get("code")
    return ErrorBody(
        message=excerpt(message if isinstance(message, str) else str(message)),
        code=" ".join(excerpt(name) for name in names),
        status=status if isinstance(status, int) and 100 <= status <= 599 else None,
        retry_after=_delay_in(inner.get("details")),
    )


def excerpt(text: str) -> str:
    """Return the start of somebody else's text on one line, without control characters."""
    line = _CONTROL.sub(" ", text[: EXCERPT * 4]).strip()
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


def _judge(status: int, said: ErrorBody, *, waits: bool) -> Reason:
    """Return the reason: the status gives it, the body may know better."""
    words = f"{said.code} {said.message}"
    if 400 <= status < 500 and _about_money(status, said, waits=waits):
        return Reason.QUOTA_EXHAUSTED
    if (status == 400 and _FILTERED.search(said.code)) or (status == 403 and _FILTERED.search(words)):
        return Reason.CONTENT_FILTERED
    if status >= 500 and _OVERLOADED.search(words):
        return Reason.PROVIDER_OVERLOADED
    return _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, Reason.PROTOCOL_VIOLATION)


def _about_money(status: int, said: ErrorBody, *, waits: bool) -> bool:
    """Whether a refusal is about credit. Gemini says "check your billing" about limits of a minute too, but then it
    also says when to come again.
    """
    if _MONEY.search(said.code):
        return True
    return not (status == 429 and waits) and _MONEY.search(said.message) is not None


def _status_of(code: str) -> int:
    """Return the status that an error without one amounts to; 500 when its words say nothing."""
    kinds = ((_OVERLOADED, 529), (_MONEY, 402), (_LIMITED, 429), (_KEY, 401), (_FILTERED, 400), (_REFUSED, 400))
    return next((status for pattern, status in kinds if pattern.search(code)), 500)


def _told(reason: Reason, opening: str, said: ErrorBody, wait: float | None, **metadata: str) -> Failure:
    if said.code:
        metadata["provider_code"] = said.code
    return Failure(
        reason=reason.value,
        message=f"{opening}: {said.message or 'it gave no reason'}{_advice(reason)}",
        metadata=metadata,
        transient=reason in _TRANSIENT,
        retry_after_ns=None if wait is None else int(wait * 1e9),
    )


def _advice(reason: Reason) -> str:
    """Return what the reader can do, where the provider's words leave that open."""
    advice = {
        Reason.QUOTA_EXHAUSTED: ". Add credit at the provider or ask another model.",
        Reason.KEY_REFUSED: ". Store another key for this endpoint.",
        Reason.REDIRECT_REFUSED: ". Redirects are not followed, since they would carry the key along: correct the URL.",
    }
    return advice.get(reason, "")


def _until(date: str, now: float) -> float:
    """Return the seconds until an HTTP date, 0 when it has passed, or NaN when it is none."""
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return math.nan


def _delay_in(details: object) -> float | None:
    """Return the `retryDelay` that Gemini gives among an error's details."""
    if not isinstance(details, list):
        return None
    for detail in details:
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and (match := _DELAY.match(delay)):
            return float(match[1])
    return None

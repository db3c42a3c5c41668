import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet_server.errors import Reason
from whet_server.llm.taxonomy import failure_of_error, failure_of_status, read_error_body, retry_after

NOW = 1_700_000_000.0
_OPENAI_QUOTA = {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": None}}
_GEMINI_MINUTE = [
    {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota, please check your plan and billing details.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": "google.rpc.RetryInfo", "retryDelay": "34.5s"}],
        }
    }
]
_ANTHROPIC_CREDIT = {
    "type": "error",
    "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the API"},
}
_OPENROUTER_MODERATED = {"error": {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["x"]}}}
_AZURE_FILTER = {"error": {"code": "content_filter", "message": "The prompt triggered the policy", "status": 400}}

CASES: list[tuple[int, Any, tuple[Reason, bool]]] = [
    (400, {"error": {"message": "no", "type": "invalid_request_error"}}, (Reason.REQUEST_REFUSED, False)),
    (400, _ANTHROPIC_CREDIT, (Reason.QUOTA_EXHAUSTED, False)),
    (400, _AZURE_FILTER, (Reason.CONTENT_FILTERED, False)),
    (
        400,
        {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400},
        (Reason.REQUEST_REFUSED, False),
    ),
    (
        400,
        {"error": {"code": 400, "message": "failed to parse", "type": "invalid_request_error"}},
        (Reason.REQUEST_REFUSED, False),
    ),
    (401, {"error": {"message": "bad key", "code": "invalid_api_key"}}, (Reason.KEY_REFUSED, False)),
    (402, {"error": {"code": 402, "message": "Insufficient credits"}}, (Reason.QUOTA_EXHAUSTED, False)),
    (403, {"error": {"message": "not allowed"}}, (Reason.KEY_REFUSED, False)),
    (403, _OPENROUTER_MODERATED, (Reason.CONTENT_FILTERED, False)),
    (404, {"error": "model 'x' not found"}, (Reason.REQUEST_REFUSED, False)),
    (408, {}, (Reason.PROVIDER_ERROR, True)),
    (409, {}, (Reason.PROVIDER_ERROR, True)),
    (413, {}, (Reason.REQUEST_REFUSED, False)),
    (422, {"detail": [{"msg": "field required"}]}, (Reason.REQUEST_REFUSED, False)),
    (429, {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}, (Reason.RATE_LIMITED, True)),
    (429, _OPENAI_QUOTA, (Reason.QUOTA_EXHAUSTED, False)),
    (429, _GEMINI_MINUTE, (Reason.RATE_LIMITED, True)),
    (429, "slow down", (Reason.RATE_LIMITED, True)),
    (500, {"error": {"message": "boom"}}, (Reason.PROVIDER_ERROR, True)),
    (500, {"error": {"type": "overloaded_error", "message": "Overloaded"}}, (Reason.PROVIDER_OVERLOADED, True)),
    (502, "<html>bad gateway</html>", (Reason.PROVIDER_ERROR, True)),
    (503, {}, (Reason.PROVIDER_OVERLOADED, True)),
    (529, {}, (Reason.PROVIDER_OVERLOADED, True)),
    (307, "", (Reason.REDIRECT_REFUSED, False)),
    (204, "", (Reason.PROTOCOL_VIOLATION, False)),
    (418, "teapot", (Reason.REQUEST_REFUSED, False)),
]


@pytest.mark.parametrize(("status", "body", "expected"), CASES)
def test_a_status_and_its_body_are_understood(status: int, body: Any, expected: tuple[Reason, bool]) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    failure = failure_of_status(status, {}, raw, now=NOW)
    assert (failure.reason, failure.transient) == expected
    assert failure.metadata["status"] == str(status)
    assert str(status) in failure.message


def test_a_wait_that_stands_in_the_body_is_found() -> None:
    failure = failure_of_status(429, {}, json.dumps(_GEMINI_MINUTE).encode(), now=NOW)
    assert failure.retry_after_ns == 34_500_000_000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, None),
        ({"retry-after": str(49 * 86_400)}, 49 * 86_400.0),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 0.0),
        ({"retry-after": "Fri, 99 Foo 2099 00:00:00 GMT"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "-5", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "what", "retry-after": "9"}, 9.0),
    ],
)
def test_waits_are_read_in_every_spelling(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=40))
def test_no_text_in_a_retry_header_is_too_odd(value: str) -> None:
    seconds = retry_after({"retry-after": value, "retry-after-ms": value}, NOW)
    assert seconds is None or seconds >= 0


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "details", "status"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_anything, st.integers(200, 599))
def test_no_error_body_is_too_odd(body: Any, status: int) -> None:
    failure = failure_of_status(status, {}, json.dumps(body).encode(), now=NOW)
    assert len(failure.message) < 1000
    failure_of_error(json.dumps(body).encode())


def test_a_body_nested_beyond_reason_is_its_own_message() -> None:
    assert read_error_body(b"[" * 100_000).message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"message": "Overloaded", "type": "overloaded_error"}, Reason.PROVIDER_OVERLOADED),
        ({"message": "slow", "type": "rate_limit_error"}, Reason.RATE_LIMITED),
        ({"message": "Provider returned error", "code": 502}, Reason.PROVIDER_ERROR),
        ({"message": "no money", "code": "insufficient_quota"}, Reason.QUOTA_EXHAUSTED),
        ({"message": "bad", "type": "invalid_request_error"}, Reason.REQUEST_REFUSED),
        ({"message": "who", "type": "authentication_error"}, Reason.KEY_REFUSED),
        ("model runner has crashed", Reason.PROVIDER_ERROR),
    ],
)
def test_an_error_inside_a_stream_is_understood(error: Any, reason: Reason) -> None:
    assert failure_of_error(json.dumps({"error": error}).encode()).reason == reason


def test_a_providers_words_come_on_one_line_without_control_characters() -> None:
    body = json.dumps({"error": {"message": "a\x1b[31m\nb" + "c" * 5000}}).encode()
    message = failure_of_status(400, {}, body, now=NOW).message
    assert "\x1b" not in message
    assert "\n" not in message
    assert len(message) < 400

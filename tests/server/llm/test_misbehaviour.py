"""Everything the stub can do wrong, through the whole call path: each ends in its named state before its deadline."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pytest
from tests.server.llm.house import HOME, PRICE, Diary, open_house, spec

from whet_eval.misbehaviour import KINDS
from whet_server.errors import Reason
from whet_server.llm.base import CallResult, EndpointSettings, ModelSettings
from whet_server.log.lifecycle import BranchState
from whet_server.store.base import ReservationRecord
from whet_server.values import Billing, CallLimits

MAX_BODY: Final = 4 << 20
"""Less than the server's own, since stub and caller share a loop here and a gigabyte is long."""
LIMITS: Final = CallLimits(connect=2.0, first_token=2.0, idle=1.6, total=9.0)
"""Three waits for a first token fit in, and a loaded machine gets every quick answer out in one of them."""
SLACK: Final = 2.0
"""Seconds beyond the deadline that a loaded machine may take."""


@dataclass(frozen=True, slots=True)
class End:
    """How a call ends: its state, why its first attempt failed, and what the money of that attempt came to."""

    state: BranchState
    reason: Reason | None = None
    billing: Billing = Billing.UNKNOWN
    attempts: int = 1


def _failed(reason: Reason, billing: Billing = Billing.UNKNOWN, attempts: int = 1) -> End:
    return End(BranchState.FAILED, reason, billing, attempts)


def _passing(reason: Reason, billing: Billing = Billing.UNKNOWN) -> End:
    """A fault that may pass, and so is tried three times."""
    return _failed(reason, billing, attempts=3)


def _partial(reason: Reason, billing: Billing = Billing.UNKNOWN) -> End:
    return End(BranchState.PARTIAL, reason, billing)


_DONE = End(BranchState.DONE, billing=Billing.SETTLED)
_DONE_UNKNOWN = End(BranchState.DONE, billing=Billing.UNKNOWN)
_FREE = Billing.NONE

EXPECTED: Final[Mapping[str, End]] = {
    "bad-request": _failed(Reason.REQUEST_REFUSED, _FREE),
    "unauthorised": _failed(Reason.KEY_REFUSED, _FREE),
    "payment-required": _failed(Reason.QUOTA_EXHAUSTED, _FREE),
    "forbidden": _failed(Reason.KEY_REFUSED, _FREE),
    "not-found": _failed(Reason.REQUEST_REFUSED, _FREE),
    "request-timeout": _passing(Reason.PROVIDER_ERROR, _FREE),
    "conflict": _passing(Reason.PROVIDER_ERROR, _FREE),
    "too-large": _failed(Reason.REQUEST_REFUSED, _FREE),
    "unprocessable": _failed(Reason.REQUEST_REFUSED, _FREE),
    "rate-limited": _passing(Reason.RATE_LIMITED, _FREE),
    "rate-limited-seconds": _passing(Reason.RATE_LIMITED, _FREE),
    "rate-limited-ms": _passing(Reason.RATE_LIMITED, _FREE),
    "rate-limited-zero": _passing(Reason.RATE_LIMITED, _FREE),
    "rate-limited-negative": _passing(Reason.RATE_LIMITED, _FREE),
    "rate-limited-garbage": _passing(Reason.RATE_LIMITED, _FREE),
    "rate-limited-49-days": _failed(Reason.RATE_LIMITED, _FREE),
    "rate-limited-date": _failed(Reason.RATE_LIMITED, _FREE),
    "no-credit": _failed(Reason.QUOTA_EXHAUSTED, _FREE),
    "prompt-filtered": _failed(Reason.CONTENT_FILTERED, _FREE),
    "server-error": _passing(Reason.PROVIDER_ERROR),
    "unavailable": _passing(Reason.PROVIDER_OVERLOADED),
    "overloaded": _passing(Reason.PROVIDER_OVERLOADED),
    "bad-gateway": _passing(Reason.PROVIDER_ERROR),
    "redirect": _failed(Reason.REDIRECT_REFUSED, _FREE),
    "no-content": _failed(Reason.PROTOCOL_VIOLATION),
    "refusal-without-end": _passing(Reason.PROVIDER_ERROR),
    "refusal-of-megabytes": _passing(Reason.PROVIDER_ERROR),
    "reset-before-headers": _passing(Reason.STREAM_CUT),
    "reset-after-headers": _passing(Reason.STREAM_CUT),
    "reset-mid-stream": _partial(Reason.STREAM_CUT),
    "reset-after-finish": _DONE_UNKNOWN,
    "not-http": _failed(Reason.PROTOCOL_VIOLATION),
    "huge-headers": _failed(Reason.PROTOCOL_VIOLATION),
    "hang-before-headers": _passing(Reason.FIRST_TOKEN_TIMEOUT),
    "hang-after-headers": _passing(Reason.FIRST_TOKEN_TIMEOUT),
    "hang-mid-stream": _partial(Reason.IDLE_TIMEOUT),
    "hang-after-done": _DONE,
    "half-stream": _partial(Reason.STREAM_CUT),
    "half-event": _partial(Reason.STREAM_CUT),
    "slow-bytes": _passing(Reason.FIRST_TOKEN_TIMEOUT),
    "slow-tokens": _partial(Reason.TOTAL_TIMEOUT),
    "comments-only": _passing(Reason.FIRST_TOKEN_TIMEOUT),
    "gigabyte": _failed(Reason.ANSWER_TOO_LARGE),
    "gigabyte-json": _failed(Reason.ANSWER_TOO_LARGE),
    "gzip-bomb": _failed(Reason.ANSWER_TOO_LARGE),
    "huge-line": _failed(Reason.ANSWER_TOO_LARGE),
    "html": _failed(Reason.PROTOCOL_VIOLATION),
    "wrong-content-type": _failed(Reason.PROTOCOL_VIOLATION),
    "invalid-json": _partial(Reason.PROTOCOL_VIOLATION),
    "invalid-utf8": _partial(Reason.PROTOCOL_VIOLATION),
    "wrong-shape": _partial(Reason.PROTOCOL_VIOLATION),
    "wrong-type": _partial(Reason.PROTOCOL_VIOLATION),
    "error-in-stream": _partial(Reason.PROVIDER_ERROR),
    "filtered-midway": _partial(Reason.CONTENT_FILTERED, Billing.SETTLED),
    "overloaded-in-stream": _passing(Reason.PROVIDER_OVERLOADED),
    "error-string-in-stream": _passing(Reason.PROVIDER_ERROR),
    "only-done": _passing(Reason.EMPTY_ANSWER),
    "empty-body": _passing(Reason.STREAM_CUT),
    "broken-json-answer": _failed(Reason.PROTOCOL_VIOLATION),
    "empty-answer": _passing(Reason.EMPTY_ANSWER, Billing.SETTLED),
    "empty-length": _failed(Reason.EMPTY_ANSWER, Billing.SETTLED),
    "filtered": _failed(Reason.CONTENT_FILTERED, Billing.SETTLED),
    "length": _DONE,
    "no-done": _DONE,
    "no-finish-reason": _DONE,
    "no-usage": _DONE_UNKNOWN,
    "negative-usage": _DONE_UNKNOWN,
    "absurd-usage": _DONE_UNKNOWN,
    "duplicate-chunks": _DONE,
    "crlf-and-comments": _DONE,
    "byte-by-byte": _DONE,
    "reasoning-first": _DONE,
    "no-stream": _DONE,
    "gzip": _DONE,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one kind."""

    result: CallResult
    diary: Diary
    seconds: float
    entries: tuple[ReservationRecord, ...]


async def _all() -> dict[str, Seen]:
    """Make one call to every kind, all at once, each at an endpoint of its own so that circuits do not mix."""
    async with open_house(max_body=MAX_BODY) as house:
        for name in KINDS:
            settings = EndpointSettings(
                name=name, base_url=house.stub.url, models=(ModelSettings(model=name, price=PRICE),)
            )
            await house.endpoints.put(HOME, settings, None)
        diaries = {name: Diary() for name in KINDS}
        now = asyncio.get_running_loop().time

        async def one(name: str) -> tuple[CallResult, float]:
            start = now()
            return await house.call(spec(f"{name}/{name}", limits=LIMITS, call=name), diaries[name]), now() - start

        async with asyncio.timeout(30):
            ends = dict(zip(KINDS, await asyncio.gather(*map(one, KINDS)), strict=True))
            await house.stub.quiet()
        entries = await house.store.reservations(HOME, limit=1000)
        return {
            name: Seen(
                result,
                diaries[name],
                seconds,
                tuple(sorted((e for e in entries if e.model == f"{name}/{name}"), key=lambda e: e.reservation_id)),
            )
            for name, (result, seconds) in ends.items()
        }


@pytest.fixture(scope="module")
def seen() -> dict[str, Seen]:
    return asyncio.run(_all())


def test_every_kind_is_expected_and_there_are_enough() -> None:
    assert set(EXPECTED) == set(KINDS)
    assert len(KINDS) >= 40


@pytest.mark.parametrize("name", KINDS)
def test_misbehaviour_ends_in_its_named_state(seen: dict[str, Seen], name: str) -> None:
    end, result = EXPECTED[name], seen[name].result
    first = result.attempts[0]
    assert result.state is end.state
    assert (first.failure.reason if first.failure else None) == end.reason
    assert first.billing is end.billing
    assert len(result.attempts) == end.attempts
    assert (result.failure is None) == (end.state is BranchState.DONE)


@pytest.mark.parametrize("name", KINDS)
def test_misbehaviour_ends_before_its_deadline(seen: dict[str, Seen], name: str) -> None:
    assert seen[name].seconds < (LIMITS.total or 0.0) + SLACK


@pytest.mark.parametrize("name", KINDS)
def test_what_was_heard_is_what_the_result_says(seen: dict[str, Seen], name: str) -> None:
    result, diary = seen[name].result, seen[name].diary
    assert diary.heard == result.text
    assert (result.state is BranchState.PARTIAL) <= bool(result.text)
    assert (result.state is BranchState.FAILED) <= (not result.text)
    assert diary.failed == list(result.attempts[:-1])


@pytest.mark.parametrize("name", KINDS)
def test_every_attempt_has_its_entry_in_the_ledger_and_none_stays_open(seen: dict[str, Seen], name: str) -> None:
    entries, attempts = seen[name].entries, seen[name].result.attempts
    assert [entry.billing for entry in entries] == [attempt.billing for attempt in attempts]
    assert Billing.RESERVED not in {entry.billing for entry in entries}
    for entry, attempt in zip(entries, attempts, strict=True):
        assert attempt.cost == (entry.settled if entry.billing is Billing.SETTLED else _held(entry))


def _held(entry: ReservationRecord) -> int:
    return entry.reserved if entry.billing is Billing.UNKNOWN else 0

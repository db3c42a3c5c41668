import asyncio
import time
from dataclasses import dataclass, field

import pytest

from whet_server.errors import Reason
from whet_server.llm.base import Answer, ProviderFault, Request
from whet_server.llm.sim import SimTransport
from whet_server.values import CallLimits, Message, Parameters, Speaker, Usage

TEXT = "text=One+two+three+four+five+six."
QUICK = f"first_ms=0&rate=100000&{TEXT}"


@dataclass
class Heard:
    happened: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    start: float = field(default_factory=time.perf_counter)
    first: float | None = None

    def sent(self) -> None:
        self.happened.append("sent")

    def accepted(self, provider_request_id: str, headers: dict[str, str]) -> None:
        self.happened.append(f"accepted {provider_request_id}")

    def text(self, piece: str) -> None:
        self.first = self.first or time.perf_counter() - self.start
        self.pieces.append(piece)

    def loading(self, fraction: float) -> None:
        raise AssertionError("a simulated model is never loaded")

    @property
    def whole(self) -> str:
        return "".join(self.pieces)


def asking(
    model: str,
    parameters: Parameters = Parameters(),
    *,
    limits: CallLimits = CallLimits(),
) -> Request:
    """Limits that are not given are too long to matter here."""
    return Request(
        base_url="",
        model=model,
        messages=(Message(role=Speaker.USER, content="What is a monad?"),),
        parameters=parameters,
        connect=limits.connect or 5,
        first_token=limits.first_token or 5,
        idle=limits.idle or 5,
        total=limits.total or 10,
    )


async def faulted(request: Request, heard: Heard) -> ProviderFault:
    with pytest.raises(ProviderFault) as raised:
        await SimTransport().send(request, heard)
    return raised.value


async def test_an_answer_is_sent_accepted_streamed_and_counted() -> None:
    heard = Heard()
    answer = await SimTransport().send(asking(f"any?{QUICK}"), heard)
    assert heard.happened == ["sent", "accepted sim-1"]
    assert heard.whole == "One two three four five six."
    assert all(heard.pieces)
    assert answer.usage == Usage(input_tokens=4, output_tokens=6)
    assert answer.finish_reason == "stop"
    assert answer.model.startswith("sim/any")


async def test_usage_can_be_missing() -> None:
    answer = await SimTransport().send(asking(f"any?{QUICK}&usage=missing"), Heard())
    assert answer.usage is None


async def test_the_limit_of_tokens_and_stop_words_end_an_answer() -> None:
    short, stopped = Heard(), Heard()
    cut = await SimTransport().send(asking(f"any?{QUICK}", Parameters(max_tokens=2)), short)
    ended = await SimTransport().send(asking(f"any?{QUICK}", Parameters(stop=(" four",))), stopped)
    assert (short.whole, cut.finish_reason) == ("One two", "length")
    assert (stopped.whole, ended.finish_reason) == ("One two three", "stop")


async def test_the_presets_are_listed() -> None:
    assert "contrarian" in await SimTransport().models(asking(""))


@pytest.mark.parametrize("model", ["nobody", "any?speed=1", "any?rate=0"])
async def test_a_name_that_says_nonsense_is_refused_before_anything_is_sent(model: str) -> None:
    heard = Heard()
    fault = await faulted(asking(model), heard)
    assert fault.failure.reason in {Reason.MODEL_NOT_FOUND, Reason.INVALID_FIELD}
    assert not fault.failure.transient
    assert not fault.billed
    assert not heard.happened


@pytest.mark.parametrize(
    ("fault", "reason", "status", "passing"),
    [
        ("rate_limited", Reason.RATE_LIMITED, 429, "transient"),
        ("rate_limited_retry_after", Reason.RATE_LIMITED, 429, "transient"),
        ("quota_exhausted", Reason.QUOTA_EXHAUSTED, 429, "permanent"),
        ("server_error", Reason.PROVIDER_ERROR, 500, "transient"),
        ("overloaded", Reason.PROVIDER_OVERLOADED, 503, "transient"),
        ("key_refused", Reason.KEY_REFUSED, 401, "permanent"),
        ("request_refused", Reason.REQUEST_REFUSED, 400, "permanent"),
    ],
)
async def test_a_refusal_has_its_status_and_costs_nothing(
    fault: str, reason: Reason, status: int, passing: str
) -> None:
    heard = Heard()
    raised = await faulted(asking(f"any?fault={fault}"), heard)
    assert raised.failure.reason == reason
    assert (raised.status, raised.failure.transient, raised.billed) == (status, passing == "transient", False)
    assert heard.happened == ["sent"]
    assert "simulated" in raised.failure.message


async def test_only_one_of_the_two_kinds_of_429_says_how_long_to_wait() -> None:
    silent = await faulted(asking("any?fault=rate_limited&retry_after_ms=700"), Heard())
    told = await faulted(asking("any?fault=rate_limited_retry_after&retry_after_ms=700"), Heard())
    assert silent.failure.retry_after_ns is None
    assert told.failure.retry_after_ns == 700_000_000


@pytest.mark.parametrize(
    ("query", "reason", "text"),
    [
        ("fault=cut&after=2", Reason.STREAM_CUT, "One two"),
        ("fault=cut", Reason.STREAM_CUT, ""),
        ("fault=garbage&after=3", Reason.PROTOCOL_VIOLATION, "One two three"),
        ("fault=content_filtered&after=1", Reason.CONTENT_FILTERED, "One"),
        ("fault=empty&after=3", Reason.EMPTY_ANSWER, ""),
    ],
)
async def test_a_broken_answer_keeps_the_text_before_the_break_and_may_be_billed(
    query: str, reason: Reason, text: str
) -> None:
    heard = Heard()
    raised = await faulted(asking(f"any?{QUICK}&{query}"), heard)
    assert raised.failure.reason == reason
    assert raised.billed
    assert heard.whole == text


@pytest.mark.parametrize(
    ("query", "limits", "reason", "text"),
    [
        ("fault=hang", CallLimits(first_token=0.05), Reason.FIRST_TOKEN_TIMEOUT, ""),
        ("fault=hang&after=2", CallLimits(idle=0.05), Reason.IDLE_TIMEOUT, "One two"),
        ("fault=hang&after=2", CallLimits(total=0.05), Reason.TOTAL_TIMEOUT, "One two"),
        ("fault=hang", CallLimits(total=0.05), Reason.TOTAL_TIMEOUT, ""),
        ("fault=slow_drip&after=2", CallLimits(idle=1.5, total=0.1), Reason.TOTAL_TIMEOUT, "One two"),
        ("first_ms=9000", CallLimits(first_token=0.05), Reason.FIRST_TOKEN_TIMEOUT, ""),
        ("fault=connect_hang", CallLimits(connect=0.05), Reason.CONNECT_TIMEOUT, ""),
    ],
)
async def test_silence_ends_at_the_limit_it_crosses(query: str, limits: CallLimits, reason: Reason, text: str) -> None:
    heard = Heard()
    base = f"rate=100000&{TEXT}" if "first_ms" in query else QUICK
    async with asyncio.timeout(5):
        raised = await faulted(asking(f"any?{base}&{query}", limits=limits), heard)
    assert raised.failure.reason == reason
    assert heard.whole == text


async def test_a_model_that_cannot_be_reached_was_never_asked() -> None:
    heard = Heard()
    raised = await faulted(asking("any?fault=unreachable"), heard)
    assert raised.failure.reason == Reason.PROVIDER_UNREACHABLE
    assert not raised.billed
    assert not heard.happened


async def test_a_fault_passes_after_its_times_and_each_name_has_its_own_count() -> None:
    transport = SimTransport()
    outcomes: list[Answer | ProviderFault] = []
    for model in ("any?fault=overloaded&times=2&seed=1",) * 3 + ("any?fault=overloaded&times=2&seed=2",):
        try:
            outcomes.append(await transport.send(asking(f"{model}&{QUICK}"), Heard()))
        except ProviderFault as fault:
            outcomes.append(fault)
    assert [isinstance(outcome, Answer) for outcome in outcomes] == [False, False, True, False]


async def test_tokens_come_at_the_rate_asked_for() -> None:
    slow, fast = Heard(), Heard()
    request = "any?tokens=40&first_ms=100&rate={}&seed=3"
    await asyncio.gather(
        SimTransport().send(asking(request.format(50)), slow), SimTransport().send(asking(request.format(400)), fast)
    )
    assert slow.whole == fast.whole
    assert slow.first is not None
    assert fast.first is not None
    assert 0.1 <= slow.first < 1
    assert len(slow.pieces) > 2 * len(fast.pieces)


async def test_two_hundred_models_at_once_take_hardly_longer_than_one() -> None:
    heard = [Heard() for _ in range(200)]
    transport = SimTransport()
    start = time.perf_counter()
    await asyncio.gather(
        *(transport.send(asking(f"any?tokens=60&first_ms=200&rate=100&seed={n}"), one) for n, one in enumerate(heard))
    )
    assert 0.5 < time.perf_counter() - start < 3
    assert max(one.first or 0 for one in heard) < 1.5


async def test_a_cancelled_answer_stops_at_once() -> None:
    heard = Heard()
    call = asyncio.create_task(SimTransport().send(asking("silent"), heard))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert heard.happened == ["sent", "accepted sim-1"]

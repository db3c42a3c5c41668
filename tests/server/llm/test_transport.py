import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from opentelemetry import trace
from tests.server.llm.house import request

from whet_eval.provider import ProviderStub
from whet_server.errors import Reason
from whet_server.llm.base import Answer, ProviderFault
from whet_server.llm.completions import body_of
from whet_server.llm.keys import BoundKey, origin_of
from whet_server.llm.transport import HttpTransport
from whet_server.values import Message, Parameters, Speaker, Usage

SPEAKER = Speaker.USER


@dataclass(slots=True)
class Notes:
    """A sink that writes down what it hears."""

    pieces: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    request_id: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    spoke: asyncio.Event = field(default_factory=asyncio.Event)
    went: asyncio.Event = field(default_factory=asyncio.Event)

    def sent(self) -> None:
        self.events.append("sent")
        self.went.set()

    def accepted(self, provider_request_id: str, headers: dict[str, str]) -> None:
        self.events.append("accepted")
        self.request_id, self.headers = provider_request_id, headers

    def text(self, piece: str) -> None:
        self.events.append("text")
        self.pieces.append(piece)
        self.spoke.set()

    def loading(self, fraction: float) -> None:
        self.events.append("loading")


@pytest.fixture
async def stub() -> AsyncIterator[ProviderStub]:
    async with ProviderStub() as stub:
        yield stub


@pytest.fixture
async def http() -> AsyncIterator[HttpTransport]:
    http = HttpTransport()
    yield http
    await http.close()


async def test_an_answer_is_streamed_and_counted(http: HttpTransport, stub: ProviderStub) -> None:
    notes = Notes()
    answer = await http.send(request(stub.url), notes)
    assert answer == Answer(usage=Usage(input_tokens=8, output_tokens=4), finish_reason="stop", model="stub")
    assert "".join(notes.pieces) == "word0 word1 word2 word3 "
    assert notes.events[:2] == ["sent", "accepted"]
    assert set(notes.events[2:]) == {"text"}
    assert notes.request_id == "stub-request"
    assert notes.headers["content-type"] == "text/event-stream"


async def test_one_connection_serves_one_call_after_the_other(http: HttpTransport, stub: ProviderStub) -> None:
    await http.send(request(stub.url), Notes())
    assert http._session is not None
    connector = http._session.connector
    assert connector is not None
    for _ in range(5):
        await http.send(request(stub.url), Notes())
    assert len(connector._conns) == 1
    assert [len(idle) for idle in connector._conns.values()] == [1]


async def test_a_key_goes_to_its_own_origin(http: HttpTransport, stub: ProviderStub) -> None:
    await http.send(request(stub.url, key=BoundKey("sk-1", origin_of(stub.url))), Notes())
    assert stub.headers_seen[-1]["authorization"] == "Bearer sk-1"


async def test_a_key_goes_to_no_other_origin(http: HttpTransport, stub: ProviderStub) -> None:
    with pytest.raises(ProviderFault) as refused:
        await http.send(request(stub.url, key=BoundKey("sk-1", "https://api.openai.com:443")), Notes())
    assert refused.value.failure.reason == Reason.KEY_REFUSED
    assert not refused.value.billed
    assert stub.requests == 0


async def test_a_redirect_is_not_followed(http: HttpTransport, stub: ProviderStub) -> None:
    with pytest.raises(ProviderFault) as refused:
        await http.send(request(stub.url, "redirect"), Notes())
    assert refused.value.failure.reason == Reason.REDIRECT_REFUSED
    assert stub.requests == 1


async def test_a_key_that_a_provider_repeats_does_not_get_into_the_record(
    http: HttpTransport, stub: ProviderStub
) -> None:
    key = BoundKey("Incorrect API key", origin_of(stub.url))
    with pytest.raises(ProviderFault) as refused:
        await http.send(request(stub.url, "unauthorised", key=key), Notes())
    assert "Incorrect API key" not in refused.value.failure.message
    assert "***" in refused.value.failure.message


async def test_the_trace_goes_along(http: HttpTransport, stub: ProviderStub) -> None:
    context = trace.SpanContext(trace_id=7, span_id=9, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(context)):
        await http.send(request(stub.url), Notes())
    assert stub.headers_seen[-1]["traceparent"] == f"00-{7:032x}-{9:016x}-01"
    await http.send(request(stub.url), Notes())
    assert "traceparent" not in stub.headers_seen[-1]


async def test_a_proxy_of_the_environment_is_not_used(
    http: HttpTransport, stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", stub.refused_url)
    monkeypatch.setenv("http_proxy", stub.refused_url)
    assert (await http.send(request(stub.url), Notes())).finish_reason == "stop"


@pytest.mark.parametrize("model", ["hang-before-headers", "hang-after-headers", "hang-mid-stream", "slow-tokens"])
async def test_cancelling_closes_the_socket(http: HttpTransport, stub: ProviderStub, model: str) -> None:
    notes = Notes()
    sending = asyncio.create_task(http.send(request(stub.url, model, first_token=30.0, idle=30.0, total=30.0), notes))
    async with asyncio.timeout(5):
        await (notes.went if model.endswith("headers") else notes.spoke).wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    async with asyncio.timeout(5):
        await stub.quiet()


async def test_a_refused_connection_was_not_sent_and_is_not_billed(http: HttpTransport, stub: ProviderStub) -> None:
    notes = Notes()
    with pytest.raises(ProviderFault) as refused:
        await http.send(request(stub.refused_url), notes)
    assert refused.value.failure.reason == Reason.PROVIDER_UNREACHABLE
    assert refused.value.failure.transient
    assert not refused.value.billed
    assert notes.events == []


async def test_a_name_that_does_not_exist_is_unreachable(http: HttpTransport) -> None:
    with pytest.raises(ProviderFault) as refused:
        await http.send(request("http://no-such-host.invalid/v1"), Notes())
    assert refused.value.failure.reason == Reason.PROVIDER_UNREACHABLE


async def test_a_host_that_accepts_nobody_runs_into_the_limit_for_connecting(http: HttpTransport) -> None:
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            queued = sockets.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(full.getsockname())
        with pytest.raises(ProviderFault) as late:
            await http.send(request(f"http://127.0.0.1:{full.getsockname()[1]}/v1", connect=0.2), Notes())
    assert late.value.failure.reason == Reason.CONNECT_TIMEOUT
    assert late.value.failure.transient
    assert not late.value.billed


async def test_a_bomb_costs_no_memory(stub: ProviderStub) -> None:
    http = HttpTransport(max_body=8 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ProviderFault) as refused:
        await http.send(request(stub.url, "gzip-bomb", first_token=10.0, total=10.0), Notes())
    await http.close()
    assert refused.value.failure.reason == Reason.ANSWER_TOO_LARGE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


async def test_a_prompt_of_two_megabytes_arrives(http: HttpTransport, stub: ProviderStub) -> None:
    prompt = "word " * 400_000
    asked = request(stub.url, messages=(Message(role=SPEAKER, content=prompt),), first_token=10.0, total=10.0)
    answer = await http.send(asked, Notes())
    assert answer.usage is not None
    assert answer.usage.input_tokens == 400_004
    assert stub.bill.charges[-1].prompt == prompt


async def test_models_are_listed(http: HttpTransport, stub: ProviderStub) -> None:
    assert "plain" in await http.models(request(stub.url))
    with pytest.raises(ProviderFault) as refused:
        await http.models(request(stub.refused_url))
    assert refused.value.failure.reason == Reason.PROVIDER_UNREACHABLE


async def test_every_parameter_goes_out_under_its_name(stub: ProviderStub) -> None:
    parameters = Parameters(
        temperature=0.5, top_p=0.9, max_tokens=7, seed=3, stop=("END",), json_schema='{"type": "object"}'
    )
    body = body_of(request(stub.url, parameters=parameters), "max_completion_tokens")
    assert body == (
        b'{"model":"plain","messages":[{"role":"user","content":"what is a monad"}],"stream":true,'
        b'"stream_options":{"include_usage":true},"max_completion_tokens":7,"temperature":0.5,"top_p":0.9,"seed":3,'
        b'"stop":["END"],"response_format":{"type":"json_schema","json_schema":'
        b'{"name":"answer","strict":true,"schema":{"type": "object"}}}}'
    )


@pytest.mark.parametrize("schema", ["{", "[]", "7", "nonsense", "[" * 100_000])
async def test_a_schema_that_is_no_object_is_refused_before_anything_is_sent(
    http: HttpTransport, stub: ProviderStub, schema: str
) -> None:
    with pytest.raises(ProviderFault) as refused:
        await http.send(request(stub.url, parameters=Parameters(json_schema=schema)), Notes())
    assert refused.value.failure.reason == Reason.REQUEST_REFUSED
    assert not refused.value.billed
    assert stub.requests == 0


async def test_a_transport_is_closed_twice_without_harm_and_opens_again(stub: ProviderStub) -> None:
    http = HttpTransport()
    await http.close()
    assert (await http.send(request(stub.url), Notes())).finish_reason == "stop"
    await http.close()
    await http.close()

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.server.llm.house import open_house, spec

from whet_server.errors import Reason
from whet_server.llm import attempt, call


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for module in (attempt, call):
        monkeypatch.setattr(module, "_tracer", provider.get_tracer("test"))
    return exporter


async def test_a_call_and_each_of_its_attempts_have_a_span_and_the_provider_hears_of_it(
    spans: InMemorySpanExporter,
) -> None:
    async with open_house() as house:
        await house.call(spec("unauthorised", "plain"))
        heard = [headers["traceparent"].split("-")[2] for headers in house.stub.headers_seen]
    refused, answered, whole = spans.get_finished_spans()
    assert [span.name for span in (refused, answered, whole)] == ["llm.attempt", "llm.attempt", "llm.call"]
    assert heard == [f"{span.context.span_id:016x}" for span in (refused, answered) if span.context]
    assert all(span.parent == whole.context for span in (refused, answered))
    assert refused.attributes is not None
    assert refused.attributes["error.type"] == Reason.KEY_REFUSED
    assert answered.attributes is not None
    assert answered.attributes["gen_ai.request.model"] == "stub/plain"
    assert answered.attributes["gen_ai.usage.output_tokens"] == 4
    assert answered.attributes["whet.billing"] == "settled"
    assert whole.attributes is not None
    assert whole.attributes["whet.state"] == "done"
    assert whole.attributes["gen_ai.response.model"] == "stub/plain"
    assert whole.attributes["whet.attempts"] == 2

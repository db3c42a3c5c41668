from collections.abc import AsyncIterator
from importlib import import_module

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.agent.house import House, open_house


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house(House()) as opened:
        yield opened


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The agent's spans. The process's own provider can be set only once, so each tracer is put in its place."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("whet_agent")
    for module in ("turns", "nodes.act", "nodes.think"):
        monkeypatch.setattr(import_module(f"whet_agent.{module}"), "_tracer", tracer)
    monkeypatch.setattr("whet_agent.client._TRACER", tracer)
    return exporter

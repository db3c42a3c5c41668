"""Structured logs, and the way out for spans where somebody collects them."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TextIO

from whet_server.rpc import calls

MAX_MESSAGE: Final = 8_000
"""A log line is for reading: what is longer has lost its way."""
TALKATIVE: Final = ("alembic", "aiosqlite", "asyncio")
"""Libraries that tell every step of theirs; only their warnings are of interest."""


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and whose call or run it was about."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:MAX_MESSAGE],
        }
        if (call := calls.current()) is not None:
            line |= {"method": call.method, "request_id": call.request_id}
            if call.principal is not None:
                line["workspace"] = call.principal.workspace
        if run_id := calls.current_run():
            line["run_id"] = run_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to(stream: TextIO, level: str) -> None:
    """Send every log line of this process to `stream`: as JSON, or plainly where a person looks on."""
    handler = logging.StreamHandler(stream)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    handler.setFormatter(plain if stream.isatty() else JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for talkative in TALKATIVE:
        logging.getLogger(talkative).setLevel(max(logging.WARNING, logging.getLogger().level))
    sys.excepthook = lambda kind, value, trace: logging.getLogger("whet_server").critical(
        "the server ended by an error", exc_info=(kind, value, trace)
    )


def export_spans(endpoint: str) -> Callable[[], None]:
    """Send spans to the OTLP/HTTP collector at `endpoint`; return what flushes and ends that. Nothing of the SDK is
    imported before somebody wants it.
    """
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "whet-server"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces")))
    trace.set_tracer_provider(provider)
    return provider.shutdown

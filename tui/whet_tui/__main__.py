"""The `whet` command. Nothing heavy is loaded before it is known what was asked for."""

import os
import sys
import threading
from collections.abc import Callable

from whet_tui.cli.root import run


def main() -> None:
    """Run the command line and exit with its code."""
    flush = _export_spans(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""))
    try:
        code = run(sys.argv[1:], os.environ)
    finally:
        flush()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.current_thread()):
        # A screen that failed, such as one whose page is gone, could not close its session, whose threads would be
        # waited for without end. What the session has told is on the disk, and the kernel frees its lease.
        sys.stderr.flush()
        os._exit(code)  # stdout was flushed, or broken, before
    sys.exit(code)


def _export_spans(endpoint: str) -> Callable[[], None]:
    """Send the agent's and the client's spans to a collector, if there is one; return what sends the last of them."""
    if not endpoint:
        return _nothing
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "whet"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces")))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _nothing() -> None:
    """Without a collector there is nothing to send."""


if __name__ == "__main__":
    main()

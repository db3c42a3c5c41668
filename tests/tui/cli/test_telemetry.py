import asyncio
import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from whet_agent.connect import stop


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, list[Span]]]]:
    """A collector on this machine: its address, and the spans it was sent by service."""
    spans: dict[str, list[Span]] = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {each.key: each.value.string_value for each in resource.resource.attributes}
                for scope in resource.scope_spans:
                    spans.setdefault(names["service.name"], []).extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name that http.server gives it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_one_trace_leads_from_the_client_into_the_server(tmp_path: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "WHET_"))}
    with collector() as (address, spans):
        subprocess.run(
            [sys.executable, "-m", "whet_tui", "--data", str(tmp_path), "model", "list"],
            env=kept | {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "XDG_CONFIG_HOME": str(tmp_path)},
            capture_output=True,
            timeout=60,
            check=True,
        )
        asyncio.run(stop(tmp_path))
    (call,) = [span for span in spans["whet"] if span.name == "whet.v1.ModelService/ListModels"]
    answers = [span for span in spans["whet-server"] if span.trace_id == call.trace_id]
    assert call.span_id in {span.parent_span_id for span in answers}

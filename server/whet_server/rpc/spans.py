"""A span for every call, under the caller's own when it sends one.

Through the API only: where nobody set a provider up, spans are empty.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import grpc.aio
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from whet_server.errors import WhetError
from whet_server.rpc import calls
from whet_server.rpc.interceptors import is_open, method_name
from whet_server.rpc.layers import Context, Handler

_PROPAGATOR: Final = TraceContextTextMapPropagator()


class SpanLayer:
    """Opens a span around each call but health and reflection."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("whet_server.rpc")

    @asynccontextmanager
    async def around(
        self, details: grpc.HandlerCallDetails, handler: Handler, request: Any, context: Context
    ) -> AsyncGenerator[None, None]:
        if is_open(details):
            yield
            return
        carrier = {key: value for key, value in details.invocation_metadata or () if isinstance(value, str)}
        service, _, method = method_name(details).partition("/")
        call = calls.current()
        attributes = {
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": method,
            "whet.request_id": call.request_id if call else "",
        }
        with self._tracer.start_as_current_span(
            f"{service}/{method}",
            context=_PROPAGATOR.extract(carrier),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except WhetError as error:
                span.set_status(Status(StatusCode.ERROR, error.reason.value))
                raise
            except Exception as error:
                # The exception's name only: its words may hold what a prompt says.
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

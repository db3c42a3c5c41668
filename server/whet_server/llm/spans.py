"""Spans around calls and attempts. Where nobody collects them, to make an empty one the current one costs as much as to
write a request.
"""

from contextlib import AbstractContextManager, nullcontext

from opentelemetry import trace


def opened(tracer: trace.Tracer, name: str) -> AbstractContextManager[trace.Span]:
    """Open a span and make it the current one, if it is recorded."""
    span = tracer.start_span(name)
    return trace.use_span(span, end_on_exit=True) if span.is_recording() else nullcontext(span)

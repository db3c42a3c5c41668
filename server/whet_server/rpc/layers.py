"""What an interceptor of ours is: a layer around the handler, whichever of the four arities that has.

A layer is an async context manager that sees the request on entry (None where requests are streamed) and the outcome
on exit. Rebuilding handlers in one place keeps every layer from breaking streams: health's Watch and reflection pass
through the same code as our own methods.
"""

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Protocol, TypeAlias

import grpc
import grpc.aio

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Around: TypeAlias = Callable[[Any, Context], AbstractAsyncContextManager[None]]
Incoming: TypeAlias = Callable[[Any], Any]
"""Makes of a handler's request, or stream of requests, what the handler shall see."""


class Layer(Protocol):
    """One concern of every call."""

    def around(
        self, details: grpc.HandlerCallDetails, handler: Handler, request: Any, context: Context
    ) -> AbstractAsyncContextManager[None]:
        """Return the manager to run the handler in."""
        ...


class LayerInterceptor(grpc.aio.ServerInterceptor):
    """Runs handlers inside a layer."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        layer = self._layer

        def around(request: Any, context: Context) -> AbstractAsyncContextManager[None]:
            return layer.around(handler_call_details, handler, request, context)

        return rebuilt(handler, around)


def _as_it_is(request: Any) -> Any:
    return request


def rebuilt(
    handler: Handler,
    around: Around,
    deserializer: Callable[[bytes], Any] | None = None,
    incoming: Incoming = _as_it_is,
) -> Handler:
    """Return the handler, run inside `around`, with its own codecs unless a deserialiser is given."""
    codecs = (deserializer or handler.request_deserializer, handler.response_serializer)
    if handler.request_streaming:
        around = _without_request(around)
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(_many(handler.stream_stream, around, incoming), *codecs)
        return grpc.stream_unary_rpc_method_handler(_one(handler.stream_unary, around, incoming), *codecs)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(_many(handler.unary_stream, around), *codecs)
    return grpc.unary_unary_rpc_method_handler(_one(handler.unary_unary, around), *codecs)


def _without_request(around: Around) -> Around:
    return lambda _, context: around(None, context)


def _one(behaviour: Any, around: Around, incoming: Incoming = _as_it_is) -> Any:
    """Wrap a coroutine function."""

    async def answer(request: Any, context: Context) -> Any:
        async with around(request, context):
            return await behaviour(incoming(request), context)

    return answer


def _many(behaviour: Any, around: Around, incoming: Incoming = _as_it_is) -> Any:
    """Wrap an async generator function, or a coroutine function that writes its responses by itself."""
    if not inspect.isasyncgenfunction(behaviour):
        return _one(behaviour, around, incoming)

    async def stream(request: Any, context: Context) -> AsyncGenerator[Any, None]:
        async with around(request, context), aclosing(behaviour(incoming(request), context)) as responses:
            async for response in responses:
                yield response

    return stream

"""Whether a server is ready, by the standard health service, which answers without a token."""

from collections.abc import AsyncGenerator
from typing import Final

from grpc import aio
from grpc_health.v1 import health_pb2

from whet_agent.client import CHANNEL_OPTIONS

_SERVICE: Final = "/grpc.health.v1.Health"
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_WHOLE_SERVER: Final = health_pb2.HealthCheckRequest(service="")


async def is_serving(address: str, *, timeout: float) -> bool:
    """Ask once whether the server at `address` says SERVING."""
    async with aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        check = channel.unary_unary(
            f"{_SERVICE}/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(_WHOLE_SERVER, timeout=timeout)
        except aio.AioRpcError:
            return False
    return bool(answer.status == _SERVING)


async def watch_health(address: str) -> AsyncGenerator[bool, None]:
    """Tell whenever the server becomes ready or stops being so, and end when the connection is lost.

    While somebody watches, an embedded server knows that it is needed and does not exit.
    """
    async with aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        watch = channel.unary_stream(
            f"{_SERVICE}/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        call = watch(_WHOLE_SERVER)
        try:
            async for answer in call:
                yield answer.status == _SERVING
        except aio.AioRpcError:
            return
        finally:
            call.cancel()

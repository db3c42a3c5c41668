"""The standard health service: one state for each service, and watchers who hear every change.

Several watchers may come and go, each with an event of its own; the servicer that ships with grpcio-health-checking
forgets the others when one leaves.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from whet_server.rpc.layers import Context

_Response = health_pb2.HealthCheckResponse
SERVICE: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class Health(health_pb2_grpc.HealthServicer):
    """SERVING for every service from the start until `stop_serving`."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset({"", SERVICE, *services})
        self._serving = True
        self._closed = False
        self._changed: set[asyncio.Event] = set()

    def stop_serving(self) -> None:
        """Say NOT_SERVING from now on, to watchers too."""
        self._serving = False
        self._tell()

    def close(self) -> None:
        """End every watch: a server that stops waits for no listener."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        for changed in self._changed:
            changed.set()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "This server has no such service.")
        return _Response(status=self._status(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
        changed = asyncio.Event()
        self._changed.add(changed)
        try:
            while True:
                yield _Response(status=self._status(request.service))
                if self._closed:
                    return
                await changed.wait()
                changed.clear()
        finally:
            self._changed.discard(changed)

    def _status(self, service: str) -> int:
        if service not in self._services:
            return _Response.SERVICE_UNKNOWN
        return _Response.SERVING if self._serving else _Response.NOT_SERVING

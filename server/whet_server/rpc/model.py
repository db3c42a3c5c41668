"""ModelService: unpack, call, pack."""

from collections.abc import Set as AbstractSet

from whet.v1 import model_pb2, model_pb2_grpc
from whet_server.llm.cache import ResponseCache
from whet_server.llm.registry import Endpoints, EndpointStatus
from whet_server.rpc import calls
from whet_server.rpc.changing import Changing, done
from whet_server.rpc.convert.model import endpoint_message, endpoint_test_message, model_message, settings_of
from whet_server.rpc.layers import Context
from whet_server.rpc.requests import Turn
from whet_server.values import ModelName

_PUT = "whet.v1.ModelService/PutEndpoint"
_DELETE = "whet.v1.ModelService/DeleteEndpoint"
_CLEAR = "whet.v1.ModelService/ClearCache"


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """The endpoints, models and cache of the workspace that calls."""

    def __init__(
        self, endpoints: Endpoints, cache: ResponseCache, panel: AbstractSet[ModelName], changing: Changing
    ) -> None:
        self._endpoints = endpoints
        self._cache = cache
        self._panel = panel
        self._changing = changing

    async def ListEndpoints(
        self, request: model_pb2.ListEndpointsRequest, context: Context
    ) -> model_pb2.ListEndpointsResponse:
        found = await self._endpoints.list(calls.principal().workspace)
        return model_pb2.ListEndpointsResponse(endpoints=[endpoint_message(status) for status in found])

    async def PutEndpoint(
        self, request: model_pb2.PutEndpointRequest, context: Context
    ) -> model_pb2.PutEndpointResponse:
        workspace = calls.principal().workspace

        async def put(turn: Turn) -> EndpointStatus:
            also = turn.record(request.name)
            return await self._endpoints.put(workspace, settings_of(request), request.api_key or None, also=also)

        async def again(name: str) -> EndpointStatus:
            return self._endpoints.get(workspace, name)

        status = await self._changing.once(_PUT, request, put, again)
        return model_pb2.PutEndpointResponse(endpoint=endpoint_message(status))

    async def DeleteEndpoint(
        self, request: model_pb2.DeleteEndpointRequest, context: Context
    ) -> model_pb2.DeleteEndpointResponse:
        workspace = calls.principal().workspace

        async def delete(turn: Turn) -> None:
            await self._endpoints.delete(workspace, request.name, also=turn.record(request.name))

        await self._changing.once(_DELETE, request, delete, done)
        return model_pb2.DeleteEndpointResponse()

    async def TestEndpoint(
        self, request: model_pb2.TestEndpointRequest, context: Context
    ) -> model_pb2.TestEndpointResponse:
        return endpoint_test_message(await self._endpoints.test(calls.principal().workspace, request.name))

    async def ListModels(self, request: model_pb2.ListModelsRequest, context: Context) -> model_pb2.ListModelsResponse:
        found = await self._endpoints.models(calls.principal().workspace, request.endpoint)
        return model_pb2.ListModelsResponse(
            models=[model_message(info, in_panel=info.name in self._panel) for info in found]
        )

    async def GetCache(self, request: model_pb2.GetCacheRequest, context: Context) -> model_pb2.GetCacheResponse:
        stats = await self._cache.stats(calls.principal().workspace)
        return model_pb2.GetCacheResponse(
            entries=stats.entries, size_bytes=stats.size_bytes, hits=stats.hits, misses=stats.misses
        )

    async def ClearCache(self, request: model_pb2.ClearCacheRequest, context: Context) -> model_pb2.ClearCacheResponse:
        workspace = calls.principal().workspace

        async def clear(turn: Turn) -> int:
            # Counted before, so that the answer to a repeated call stands in the same transaction.
            removed = (await self._cache.stats(workspace)).entries
            await self._cache.clear(workspace, also=turn.record(str(removed)))
            return removed

        async def again(answer: str) -> int:
            return int(answer)

        removed = await self._changing.once(_CLEAR, request, clear, again)
        return model_pb2.ClearCacheResponse(removed=removed)

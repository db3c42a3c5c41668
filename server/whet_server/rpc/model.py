"""ModelService: unpack, call, pack."""

from collections.abc import Set as AbstractSet

from whet.v1 import model_pb2, model_pb2_grpc
from whet_server.llm.cache import ResponseCache
from whet_server.llm.registry import Endpoints
from whet_server.rpc import calls
from whet_server.rpc.convert.model import endpoint_message, endpoint_test_message, model_message, settings_of
from whet_server.rpc.gate import Gate
from whet_server.rpc.layers import Context
from whet_server.rpc.requests import Requests
from whet_server.values import ModelName

_PUT = "whet.v1.ModelService/PutEndpoint"
_DELETE = "whet.v1.ModelService/DeleteEndpoint"
_CLEAR = "whet.v1.ModelService/ClearCache"


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """The endpoints, models and cache of the workspace that calls."""

    def __init__(
        self, endpoints: Endpoints, cache: ResponseCache, panel: AbstractSet[ModelName], requests: Requests, gate: Gate
    ) -> None:
        self._endpoints = endpoints
        self._cache = cache
        self._panel = panel
        self._requests = requests
        self._gate = gate

    async def ListEndpoints(
        self, request: model_pb2.ListEndpointsRequest, context: Context
    ) -> model_pb2.ListEndpointsResponse:
        found = await self._endpoints.list(calls.principal().workspace)
        return model_pb2.ListEndpointsResponse(endpoints=[endpoint_message(status) for status in found])

    async def PutEndpoint(
        self, request: model_pb2.PutEndpointRequest, context: Context
    ) -> model_pb2.PutEndpointResponse:
        return await self._requests.whole(self._put_endpoint(request))

    async def _put_endpoint(self, request: model_pb2.PutEndpointRequest) -> model_pb2.PutEndpointResponse:
        principal = calls.principal()
        async with self._requests.turn(principal.workspace, _PUT, request.request_id, request) as turn:
            if turn.answer is None:
                await self._gate.changes(principal, _PUT, request, request_id=turn.request_id)
                status = await self._endpoints.put(
                    principal.workspace,
                    settings_of(request),
                    request.api_key or None,
                    also=turn.record(request.name),
                )
            else:
                status = self._endpoints.get(principal.workspace, turn.answer)
        return model_pb2.PutEndpointResponse(endpoint=endpoint_message(status))

    async def DeleteEndpoint(
        self, request: model_pb2.DeleteEndpointRequest, context: Context
    ) -> model_pb2.DeleteEndpointResponse:
        return await self._requests.whole(self._delete_endpoint(request))

    async def _delete_endpoint(self, request: model_pb2.DeleteEndpointRequest) -> model_pb2.DeleteEndpointResponse:
        principal = calls.principal()
        async with self._requests.turn(principal.workspace, _DELETE, request.request_id, request) as turn:
            if turn.answer is None:
                await self._gate.changes(principal, _DELETE, request, request_id=turn.request_id)
                await self._endpoints.delete(principal.workspace, request.name, also=turn.record(request.name))
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
        return await self._requests.whole(self._clear_cache(request))

    async def _clear_cache(self, request: model_pb2.ClearCacheRequest) -> model_pb2.ClearCacheResponse:
        principal = calls.principal()
        async with self._requests.turn(principal.workspace, _CLEAR, request.request_id, request) as turn:
            if turn.answer is None:
                await self._gate.changes(principal, _CLEAR, request, request_id=turn.request_id)
                # Counted before, so that the answer to a repeated call stands in the same transaction.
                removed = (await self._cache.stats(principal.workspace)).entries
                await self._cache.clear(principal.workspace, also=turn.record(str(removed)))
            else:
                removed = int(turn.answer)
        return model_pb2.ClearCacheResponse(removed=removed)

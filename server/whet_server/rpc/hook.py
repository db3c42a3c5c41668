"""HookService: unpack, call, pack."""

from typing import Final

from whet.v1 import hook_pb2, hook_pb2_grpc
from whet_server.errors import InvalidField
from whet_server.hook.hooks import Hooks
from whet_server.hook.spec import Delivery, DeliveryState, Hook
from whet_server.rpc import calls
from whet_server.rpc.changing import Changing, done
from whet_server.rpc.convert.enums import RUN_KIND, EnumTable
from whet_server.rpc.convert.mirror import message_of
from whet_server.rpc.layers import Context
from whet_server.rpc.pages import page_of
from whet_server.rpc.requests import Turn
from whet_server.values import RunKind

_PUT: Final = "whet.v1.HookService/PutHook"
_DELETE: Final = "whet.v1.HookService/DeleteHook"
_TEST: Final = "whet.v1.HookService/TestHook"
_STATE: Final = EnumTable(
    {
        hook_pb2.DELIVERY_STATE_WAITING: DeliveryState.WAITING,
        hook_pb2.DELIVERY_STATE_DELIVERED: DeliveryState.DELIVERED,
        hook_pb2.DELIVERY_STATE_FAILED: DeliveryState.FAILED,
    }
)


class HookServicer(hook_pb2_grpc.HookServiceServicer):
    """The webhooks of the workspace that calls."""

    def __init__(self, hooks: Hooks, changing: Changing) -> None:
        self._hooks = hooks
        self._changing = changing

    async def PutHook(self, request: hook_pb2.PutHookRequest, context: Context) -> hook_pb2.PutHookResponse:
        workspace, kinds = calls.principal().workspace, _kinds_of(request)

        async def put(turn: Turn) -> tuple[Hook, str]:
            return await self._hooks.put(
                workspace,
                request.name,
                request.url,
                kinds=kinds,
                secret=request.secret,
                request_id=turn.request_id,
                also=turn.record(request.name),
            )

        async def again(name: str) -> tuple[Hook, str]:
            return self._hooks.put_before(workspace, name, request.request_id)

        hook, secret = await self._changing.once(_PUT, request, put, again)
        return hook_pb2.PutHookResponse(hook=_message(hook), secret=secret)

    async def ListHooks(self, request: hook_pb2.ListHooksRequest, context: Context) -> hook_pb2.ListHooksResponse:
        found = self._hooks.list(calls.principal().workspace)
        return hook_pb2.ListHooksResponse(hooks=[_message(hook) for hook in found])

    async def DeleteHook(self, request: hook_pb2.DeleteHookRequest, context: Context) -> hook_pb2.DeleteHookResponse:
        workspace = calls.principal().workspace

        async def delete(turn: Turn) -> None:
            await self._hooks.delete(workspace, request.name, turn.record(request.name))

        await self._changing.once(_DELETE, request, delete, done)
        return hook_pb2.DeleteHookResponse()

    async def TestHook(self, request: hook_pb2.TestHookRequest, context: Context) -> hook_pb2.TestHookResponse:
        workspace = calls.principal().workspace

        async def test(turn: Turn) -> Delivery:
            return await self._hooks.test(workspace, request.name, also=turn.record)

        async def again(delivery_id: str) -> Delivery:
            return await self._hooks.delivery(workspace, delivery_id)

        delivery = await self._changing.once(_TEST, request, test, again)
        return hook_pb2.TestHookResponse(delivery=message_of(delivery, hook_pb2.Delivery))

    async def ListDeliveries(
        self, request: hook_pb2.ListDeliveriesRequest, context: Context
    ) -> hook_pb2.ListDeliveriesResponse:
        workspace = calls.principal().workspace
        page = page_of(request.page, "deliveries", workspace, request.hook, request.state)
        found = await self._hooks.deliveries(
            workspace,
            hook=request.hook,
            state=_STATE.value.get(request.state),
            before=page.before,
            limit=page.limit,
        )
        shown, token = page.cut(found, lambda each: each.delivery_id)
        return hook_pb2.ListDeliveriesResponse(
            deliveries=[message_of(each, hook_pb2.Delivery) for each in shown], next_page_token=token
        )


def _kinds_of(request: hook_pb2.PutHookRequest) -> list[RunKind]:
    if unsaid := [place for place, kind in enumerate(request.kinds) if kind not in RUN_KIND.value]:
        known = ", ".join(RUN_KIND.wire)
        raise InvalidField(*((f"kinds[{place}]", f"name a kind of run: {known}") for place in unsaid))
    return [RUN_KIND.value[kind] for kind in request.kinds]


def _message(hook: Hook) -> hook_pb2.Hook:
    message = message_of(hook, hook_pb2.Hook)
    message.has_secret = bool(hook.sealed_secret)
    return message

"""LedgerService: unpack, call, pack."""

from typing import Final

from whet.v1 import ledger_pb2, ledger_pb2_grpc, value_pb2
from whet_server.errors import InvalidField, ReservationNotFound
from whet_server.ledger.ledger import Ledger
from whet_server.llm.base import Caller
from whet_server.rpc import calls
from whet_server.rpc.changing import Changing, done
from whet_server.rpc.convert.enums import BILLING, CAP_PERIOD, USAGE_GROUP
from whet_server.rpc.convert.ledger import cap_message, reservation_message, usage_response
from whet_server.rpc.convert.values import money, nanos_of, nanoseconds_of, seconds_of, usage_of
from whet_server.rpc.gate import Gate
from whet_server.rpc.layers import Context
from whet_server.rpc.life import Life
from whet_server.rpc.pages import page_of
from whet_server.rpc.requests import Requests, Turn
from whet_server.store.base import Store
from whet_server.values import Billing, ModelName, Workspace, new_id

_PUT_CAP = "whet.v1.LedgerService/PutCap"
_DELETE_CAP = "whet.v1.LedgerService/DeleteCap"
_RESERVE = "whet.v1.LedgerService/Reserve"
RESERVE_SECONDS: Final = 600.0
"""As the contract says: a call that a client makes itself is over by then, or nobody knows how it ended."""


class LedgerServicer(ledger_pb2_grpc.LedgerServiceServicer):
    """The money of the workspace that calls."""

    def __init__(
        self, ledger: Ledger, caller: Caller, store: Store, requests: Requests, gate: Gate, life: Life
    ) -> None:
        self._ledger = ledger
        self._caller = caller
        self._store = store
        self._requests = requests
        self._gate = gate
        self._changing = Changing(requests, gate)
        self._life = life

    async def GetUsage(self, request: ledger_pb2.GetUsageRequest, context: Context) -> ledger_pb2.GetUsageResponse:
        sums = await self._store.usage(
            calls.principal().workspace,
            group=USAGE_GROUP.value[request.group],
            start_ns=nanoseconds_of(request.start_time) if request.HasField("start_time") else None,
            end_ns=nanoseconds_of(request.end_time) if request.HasField("end_time") else None,
            run_id=request.run_id or None,
        )
        return usage_response(sums, by_day=request.group == ledger_pb2.USAGE_GROUP_DAY)

    async def ListCaps(self, request: ledger_pb2.ListCapsRequest, context: Context) -> ledger_pb2.ListCapsResponse:
        caps = self._ledger.caps(calls.principal().workspace)
        return ledger_pb2.ListCapsResponse(
            caps=[cap_message(cap) for cap in caps], approval_threshold=money(self._gate.threshold)
        )

    async def PutCap(self, request: ledger_pb2.PutCapRequest, context: Context) -> ledger_pb2.PutCapResponse:
        workspace, period, limit = (
            calls.principal().workspace,
            CAP_PERIOD.value[request.period],
            nanos_of(request.limit),
        )
        if limit < 0:
            raise InvalidField(("limit.nanos", "A cap cannot be negative. 0 refuses every call that costs money."))

        async def put(turn: Turn) -> None:
            await self._ledger.put_cap(workspace, period, limit, also=turn.record(period))

        await self._changing.once(_PUT_CAP, request, put, done)
        caps = [cap for cap in self._ledger.caps(workspace) if cap.period == period]
        return ledger_pb2.PutCapResponse(cap=cap_message(caps[0]) if caps else None)

    async def DeleteCap(self, request: ledger_pb2.DeleteCapRequest, context: Context) -> ledger_pb2.DeleteCapResponse:
        workspace = calls.principal().workspace

        async def delete(turn: Turn) -> None:
            await self._ledger.delete_cap(workspace, request.cap_id, also=turn.record(request.cap_id))

        await self._changing.once(_DELETE_CAP, request, delete, done)
        return ledger_pb2.DeleteCapResponse()

    async def Reserve(self, request: ledger_pb2.ReserveRequest, context: Context) -> ledger_pb2.ReserveResponse:
        return await self._requests.whole(self._reserve(request))

    async def _reserve(self, request: ledger_pb2.ReserveRequest) -> ledger_pb2.ReserveResponse:
        workspace, model = calls.principal().workspace, ModelName(request.model)
        async with self._requests.turn(workspace, _RESERVE, request.request_id, request) as turn:
            if turn.answer is not None:
                return ledger_pb2.ReserveResponse(reservation=await self._reservation(workspace, turn.answer))
            self._life.admit()
            info = await self._caller.resolve(workspace, model)
            reservation_id = new_id("res")
            record = await self._ledger.reserve(
                workspace,
                run_id=request.run_id,
                model=model,
                price=info.price,
                max_input_tokens=request.max_input_tokens,
                max_output_tokens=request.max_output_tokens,
                call_cap=nanos_of(request.cap) if request.HasField("cap") else None,
                ttl_seconds=seconds_of(request.ttl) if request.HasField("ttl") else RESERVE_SECONDS,
                reservation_id=reservation_id,
                also=turn.record(reservation_id),
            )
        return ledger_pb2.ReserveResponse(reservation=reservation_message(record))

    async def Settle(self, request: ledger_pb2.SettleRequest, context: Context) -> ledger_pb2.SettleResponse:
        return await self._requests.whole(self._settle(request))

    async def _settle(self, request: ledger_pb2.SettleRequest) -> ledger_pb2.SettleResponse:
        workspace, reservation_id = calls.principal().workspace, request.reservation_id
        match BILLING.value.get(request.billing):
            case Billing.SETTLED:
                if not request.HasField("usage"):
                    raise InvalidField(("usage", "Say what the call used, or settle as unknown."))
                record = await self._ledger.settle(workspace, reservation_id, usage_of(_checked(request.usage)))
            case Billing.UNKNOWN:
                record = await self._ledger.unknown(workspace, reservation_id, usage_of(_checked(request.usage)))
            case Billing.NONE:
                record = await self._ledger.release(workspace, reservation_id)
            case _:
                raise InvalidField(("billing", "Give settled, unknown or none: nothing else ends a reservation."))
        return ledger_pb2.SettleResponse(reservation=reservation_message(record))

    async def ListReservations(
        self, request: ledger_pb2.ListReservationsRequest, context: Context
    ) -> ledger_pb2.ListReservationsResponse:
        workspace = calls.principal().workspace
        page = page_of(request.page, "reservations", workspace, request.billing, request.run_id)
        records = await self._store.reservations(
            workspace,
            billing=BILLING.value.get(request.billing),
            run_id=request.run_id or None,
            before=page.before,
            limit=page.limit,
        )
        shown, token = page.cut(records, lambda record: record.reservation_id)
        return ledger_pb2.ListReservationsResponse(
            reservations=[reservation_message(record) for record in shown], next_page_token=token
        )

    async def _reservation(self, workspace: Workspace, reservation_id: str) -> ledger_pb2.Reservation:
        record = await self._store.reservation(workspace, reservation_id)
        if record is None:
            raise ReservationNotFound(
                f"There is no reservation {reservation_id}.", metadata={"reservation_id": reservation_id}
            )
        return reservation_message(record)


def _checked(usage: value_pb2.Usage) -> value_pb2.Usage:
    wrong = [
        (f"usage.{name}", "Tokens cannot be negative.")
        for name in ("input_tokens", "output_tokens")
        if getattr(usage, name) < 0
    ]
    if wrong:
        raise InvalidField(*wrong)
    return usage

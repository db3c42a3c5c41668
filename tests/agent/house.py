"""A server that speaks the contract over real gRPC and does what a test tells it.

It keeps what a retry must find: runs by request id, grants by digest, reservations. It counts what was paid, so that
a test can say how often.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status

from whet.v1 import approval_pb2, event_pb2, fanout_pb2, ledger_pb2, model_pb2, options_pb2, value_pb2
from whet_agent.catalogue import Method, methods
from whet_agent.connect import Connection

PERSON, AGENT = "person-token", "agent-token"


@dataclass
class FakeRun:
    """A fan-out whose events a test releases: `go` lets it finish."""

    run_id: str
    request_id: str
    prompt: str
    events: list[event_pb2.Event] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, **payload: Message) -> None:
        sequence = len(self.events) + 1
        self.events.append(event_pb2.Event(sequence=sequence, hash=bytes(32), **payload))  # type: ignore[arg-type]
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def finished(self) -> bool:
        return bool(self.events) and self.events[-1].WhichOneof("payload") == "run_finished"

    def finish(self, state: event_pb2.RunState.ValueType = event_pb2.RUN_STATE_SUCCEEDED) -> None:
        if self.finished:
            return
        totals = value_pb2.Totals(settled=value_pb2.Money(nanos=1000), usage=value_pb2.Usage(output_tokens=3))
        if state == event_pb2.RUN_STATE_SUCCEEDED:
            for branch in ("b1", "b2"):
                self.add(
                    branch_finished=event_pb2.BranchFinished(
                        branch_id=branch, state=event_pb2.BRANCH_STATE_DONE, text=f"{branch} on {self.prompt}"
                    )
                )
            self.add(
                synthesis_finished=event_pb2.SynthesisFinished(
                    state=event_pb2.BRANCH_STATE_DONE, text=f"In short: {self.prompt}", revision=1
                )
            )
        self.add(run_finished=event_pb2.RunFinished(state=state, totals=totals))


@dataclass
class House:
    """What the server does. `hold`: fan-outs wait for the test. `gate`: an agent's fan-outs need a person."""

    hold: bool = False
    gate: bool = False
    cuts: int = 0
    """How many streams break after their first batch."""
    cap_reached: bool = False
    priced: bool = True
    runs: dict[str, FakeRun] = field(default_factory=dict)
    approvals: dict[str, approval_pb2.Approval] = field(default_factory=dict)
    granted_to: dict[str, str] = field(default_factory=dict)
    reservations: dict[str, ledger_pb2.Reservation] = field(default_factory=dict)
    caps: dict[str, int] = field(default_factory=dict)
    limits: list[int] = field(default_factory=list)
    """What each reservation might come to at most, where that was said."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Method and role of every call, in order."""
    started: asyncio.Queue[FakeRun] = field(default_factory=asyncio.Queue)
    address: str = ""

    @property
    def connection(self) -> Connection:
        return Connection(address=self.address, person_token=PERSON, agent_token=AGENT, embedded=False)

    def count(self, method: str) -> int:
        return sum(1 for called, _ in self.calls if called == method)

    async def answer(self, method: Method, request: Any, context: Any) -> AsyncIterator[Message]:
        token = dict(context.invocation_metadata()).get("authorization", "")
        role = {f"Bearer {PERSON}": "person", f"Bearer {AGENT}": "agent"}.get(token, "")
        self.calls.append((method.name, role))
        behaviour = getattr(self, "on_" + re.sub("(?<=[a-z])(?=[A-Z])", "_", method.name).lower(), None)
        if behaviour is None:
            yield method.response()
            return
        async for response in behaviour(request, role, context):
            yield response

    async def on_run_fanout(self, request: Any, role: str, context: Any) -> AsyncIterator[Message]:
        if role == "agent" and self.gate:
            await self._approved("FanoutService/RunFanout", request, context)
        run = self._run(request)
        async for batch in self._watch(run, 0, context):
            yield fanout_pb2.RunFanoutResponse(run_id=run.run_id, batch=batch)

    async def on_start_fanout(self, request: Any, role: str, context: Any) -> AsyncIterator[Message]:
        run = self._run(request)
        yield fanout_pb2.StartFanoutResponse(fanout=fanout_pb2.Fanout(run_id=run.run_id), started=True)

    async def on_watch_fanout(self, request: Any, role: str, context: Any) -> AsyncIterator[Message]:
        run = next(run for run in self.runs.values() if run.run_id == request.run_id)
        async for batch in self._watch(run, int(request.cursor or 0), context):
            yield fanout_pb2.WatchFanoutResponse(batch=batch)

    async def on_cancel_fanout(self, request: Any, role: str, context: Any) -> AsyncIterator[Message]:
        for run in self.runs.values():
            if run.run_id == request.run_id:
                run.finish(event_pb2.RUN_STATE_CANCELLED)
        yield fanout_pb2.CancelFanoutResponse(fanout=fanout_pb2.Fanout(run_id=request.run_id))

    async def on_list_models(self, request: Any, role: str, context: Any) -> AsyncIterator[Message]:
        price = model_pb2.Price(source="test") if self.priced else None
        yield model_pb2.ListModelsResponse(
            models=[
                model_pb2.Model(name="local/smollm2", price=price, in_panel=True),
                model_pb2.Model(name="sim/fast", price=price, in_panel=True, simulated=True),
                model_pb2.Model(name="sim/slow", price=price, simulated=True),
            ]
        )

    async def on_put_cap(self, request: Any, role: str, context: Any) -> AsyncIterator[Message]:
        if role == "agent":
            await self._approved("LedgerService/PutCap", request, context)
        self.caps[request.request_id] = request.limit.nanos
        yield ledger_pb2.PutCapResponse(cap=ledger_pb2.Cap(cap_id="day", period=request.period, limit=request.limit))

    async def on_get_approval(self, request: Any, role: str, context: Any) -> AsyncIterator[Message]:
        yield approval_pb2.GetApprovalResponse(approval=self.approvals[request.approval_id])

    async def on_decide_approval(self, request: Any, role: str, context: Any) -> AsyncIterator[Message]:
        approval = self.approvals[request.approval_id]
        if role != "person" or request.digest != approval.digest:
            await refuse(context, "ROLE_NOT_ALLOWED", "a person must decide")
        granted = request.decision == approval_pb2.DECISION_GRANT
        approval.state = approval_pb2.APPROVAL_STATE_GRANTED if granted else approval_pb2.APPROVAL_STATE_REJECTED
        approval.reason = request.reason
        yield approval_pb2.DecideApprovalResponse(approval=approval)

    async def on_reserve(self, request: Any, role: str, context: Any) -> AsyncIterator[Message]:
        if self.cap_reached:
            await refuse(context, "CAP_EXCEEDED", "The daily cap of $5.00 would be crossed. Raise it, or wait.")
        if request.HasField("cap"):
            self.limits.append(request.cap.nanos)
        if request.HasField("cap") and request.max_input_tokens + request.max_output_tokens > request.cap.nanos:
            await refuse(context, "CAP_EXCEEDED", "above the call's cap", {"cap": "call"})
        reservation = self.reservations.setdefault(
            request.request_id,
            ledger_pb2.Reservation(
                reservation_id=f"rsv_{len(self.reservations)}",
                run_id=request.run_id,
                model=request.model,
                billing=value_pb2.BILLING_RESERVED,
                reserved=value_pb2.Money(nanos=request.max_input_tokens + request.max_output_tokens),
            ),
        )
        yield ledger_pb2.ReserveResponse(reservation=reservation)

    async def on_settle(self, request: Any, role: str, context: Any) -> AsyncIterator[Message]:
        reservation = next(r for r in self.reservations.values() if r.reservation_id == request.reservation_id)
        reservation.billing = request.billing
        if request.billing == value_pb2.BILLING_SETTLED:
            reservation.usage.CopyFrom(request.usage)
            reservation.settled.nanos = request.usage.input_tokens + request.usage.output_tokens
        yield ledger_pb2.SettleResponse(reservation=reservation)

    def _run(self, request: Any) -> FakeRun:
        run = self.runs.get(request.request_id)
        if run is None:
            prompt = request.spec.prompt or request.spec.messages[-1].content
            run = FakeRun(run_id=f"fan_{len(self.runs) + 1:02}", request_id=request.request_id, prompt=prompt)
            self.runs[request.request_id] = run
            plan = [event_pb2.BranchPlan(branch_id=f"b{n}", model="sim/fast", sample=1) for n in (1, 2)]
            run.add(
                run_opened=event_pb2.RunOpened(
                    run_id=run.run_id, request_id=request.request_id, prompt=prompt, branches=plan
                )
            )
            if not self.hold:
                run.finish()
            self.started.put_nowait(run)
        return run

    async def _watch(self, run: FakeRun, after: int, context: Any) -> AsyncIterator[event_pb2.EventBatch]:
        while True:
            changed = run.changed
            fresh = run.events[after:]
            if self.cuts and fresh:
                fresh = fresh[:1]
            after += len(fresh)
            yield event_pb2.EventBatch(events=fresh, next_cursor=str(after), caught_up=True)
            if self.cuts and fresh:
                self.cuts -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            if run.finished and after == len(run.events):
                return
            await changed.wait()

    async def _approved(self, method: str, request: Any, context: Any) -> None:
        """Let a call pass whose digest was granted, once and for its request id; refuse any other."""
        bare = type(request)()
        bare.CopyFrom(request)
        bare.request_id = ""
        digest = hashlib.sha256(method.encode() + bare.SerializeToString(deterministic=True)).hexdigest()
        approval = next((a for a in self.approvals.values() if a.digest == digest), None)
        if approval is None:
            approval = approval_pb2.Approval(
                approval_id=f"apr_{len(self.approvals) + 1:02}",
                state=approval_pb2.APPROVAL_STATE_PENDING,
                method=f"whet.v1.{method}",
                effect=options_pb2.EFFECT_CHANGES,
                arguments_json=MessageToJson(bare, preserving_proto_field_name=True),
                digest=digest,
            )
            self.approvals[approval.approval_id] = approval
        if self.granted_to.get(digest) == request.request_id:
            return
        metadata = {"approval_id": approval.approval_id, "digest": digest}
        if approval.state == approval_pb2.APPROVAL_STATE_GRANTED:
            approval.state = approval_pb2.APPROVAL_STATE_USED
            self.granted_to[digest] = request.request_id
        elif approval.state == approval_pb2.APPROVAL_STATE_REJECTED:
            await refuse(context, "APPROVAL_NOT_OPEN", "rejected", {**metadata, "state": "rejected"})
        else:
            await refuse(context, "APPROVAL_REQUIRED", "A person must approve this call first.", metadata)


async def refuse(context: Any, reason: str, message: str, metadata: Mapping[str, str] | None = None) -> NoReturn:
    status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="whet", metadata=metadata or {}))
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("unreachable")


def _handler(house: House, method: Method) -> Any:
    async def stream(request: Any, context: Any) -> AsyncIterator[Message]:
        async for response in house.answer(method, request, context):
            yield response

    async def unary(request: Any, context: Any) -> Message:
        return await anext(house.answer(method, request, context))

    kind: Any = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
    behaviour = stream if method.server_streaming else unary
    return kind(behaviour, method.request.FromString, method.response.SerializeToString)


@asynccontextmanager
async def open_house(house: House, address: str = "127.0.0.1:0") -> AsyncIterator[House]:
    """Serve on loopback, or on a unix socket so that another server can take the place over."""
    server = aio.server()
    for service in sorted({method.service for method in methods()}):
        of_service = {m.name: _handler(house, m) for m in methods() if m.service == service}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, of_service),))
    port = server.add_insecure_port(address)
    house.address = address if address.startswith("unix:") else f"127.0.0.1:{port}"
    await server.start()
    try:
        yield house
    finally:
        await server.stop(None)

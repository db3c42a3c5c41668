"""The approval gate: what an agent may not do alone waits here for a person.

An agent's call needs approval when it changes something, other than to cancel what an agent began, or when its worst
cost is above the workspace's threshold or cannot be known, because a model that is neither on this machine nor on a
private network has no price, and always when it would open a hold-out.
"""

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import Message

from whet.v1 import options_pb2
from whet_server.approval.approvals import Approvals
from whet_server.rpc.convert.enums import EFFECT
from whet_server.rpc.identity import SERVICES
from whet_server.rpc.requests import payload_digest
from whet_server.values import Forecast, Nanos, Principal, Role

TOOLS: Final[Mapping[str, options_pb2.Tool]] = {
    f"{service.full_name}/{method.name}": method.GetOptions().Extensions[options_pb2.tool]
    for service in SERVICES
    for method in service.methods
    if method.GetOptions().HasExtension(options_pb2.tool)
}
SECRET_FIELDS: Final = frozenset({"api_key", "secret"})
"""Never shown in an approval. The digest covers them all the same."""


class Gate:
    """Asks for approval where the contract wants one."""

    def __init__(self, approvals: Approvals, *, threshold: Nanos) -> None:
        self._approvals = approvals
        self.threshold = threshold
        """An agent's call whose worst cost is above this needs a person's approval."""

    def needs_approval(self, plan: Forecast) -> bool:
        """Whether an agent would need approval for what the plan says."""
        return plan.worst > self.threshold or plan.unbounded or plan.opens_seal

    async def spends(
        self, principal: Principal, method: str, request: Message, *, request_id: str, plan: Forecast
    ) -> None:
        """Pass an agent's call that costs money, or raise `ApprovalRequired` or `ApprovalNotOpen`. What is approved is
        what the plan found: a newer version or another price in between is asked about anew.
        """
        if principal.role is Role.AGENT and self.needs_approval(plan):
            await self._use(
                principal, method, request, request_id=request_id, worst_cost=plan.worst, plan_hash=plan.plan_hash
            )

    async def changes(self, principal: Principal, method: str, request: Message, *, request_id: str) -> None:
        """Pass an agent's call that changes something, or raise `ApprovalRequired` or `ApprovalNotOpen`."""
        if principal.role is Role.AGENT:
            await self._use(principal, method, request, request_id=request_id, worst_cost=Nanos(0))

    async def cancels(
        self, principal: Principal, method: str, request: Message, *, request_id: str, begun_by: Role
    ) -> None:
        """Pass an agent's call that ends a run, as `changes` does. What an agent began an agent may end: to cost less
        than was agreed needs no second yes.
        """
        if begun_by is not Role.AGENT:
            await self.changes(principal, method, request, request_id=request_id)

    async def _use(
        self,
        principal: Principal,
        method: str,
        request: Message,
        *,
        request_id: str,
        worst_cost: Nanos,
        plan_hash: str = "",
    ) -> None:
        tool = TOOLS[method]
        await self._approvals.use(
            principal.workspace,
            method=method,
            summary=tool.summary,
            effect=EFFECT.value[tool.effect],
            arguments_json=readable(request),
            digest=payload_digest(method, request, plan_hash),
            worst_cost=worst_cost,
            request_id=request_id,
        )


def readable(request: Message) -> str:
    """Return the arguments as JSON for a person's eyes: without the request id, and without any key."""
    from google.protobuf.json_format import MessageToJson  # a tenth of the start-up, for what agents rarely ask

    shown = type(request)()
    shown.CopyFrom(request)
    for name in shown.DESCRIPTOR.fields_by_name:
        if name == "request_id":
            shown.ClearField(name)
        elif name in SECRET_FIELDS and getattr(shown, name):
            setattr(shown, name, "(given, not shown)")
    return MessageToJson(shown, preserving_proto_field_name=True, ensure_ascii=False)

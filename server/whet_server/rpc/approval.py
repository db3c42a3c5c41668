"""ApprovalService: unpack, call, pack."""

from whet.v1 import approval_pb2, approval_pb2_grpc
from whet_server.approval.approvals import Approvals
from whet_server.rpc import calls
from whet_server.rpc.convert.approval import approval_message
from whet_server.rpc.convert.enums import APPROVAL_STATE
from whet_server.rpc.layers import Context
from whet_server.rpc.pages import page_of
from whet_server.rpc.requests import Requests


class ApprovalServicer(approval_pb2_grpc.ApprovalServiceServicer):
    """What waits for a person of the workspace that calls."""

    def __init__(self, approvals: Approvals, requests: Requests) -> None:
        self._approvals = approvals
        self._requests = requests

    async def ListApprovals(
        self, request: approval_pb2.ListApprovalsRequest, context: Context
    ) -> approval_pb2.ListApprovalsResponse:
        workspace = calls.principal().workspace
        page = page_of(request.page, "approvals", workspace, request.state)
        records = await self._approvals.list(
            workspace, state=APPROVAL_STATE.value.get(request.state), before=page.before, limit=page.limit
        )
        shown, token = page.cut(records, lambda record: record.approval_id)
        return approval_pb2.ListApprovalsResponse(
            approvals=[approval_message(record) for record in shown], next_page_token=token
        )

    async def GetApproval(
        self, request: approval_pb2.GetApprovalRequest, context: Context
    ) -> approval_pb2.GetApprovalResponse:
        record = await self._approvals.get(calls.principal().workspace, request.approval_id)
        return approval_pb2.GetApprovalResponse(approval=approval_message(record))

    async def DecideApproval(
        self, request: approval_pb2.DecideApprovalRequest, context: Context
    ) -> approval_pb2.DecideApprovalResponse:
        return await self._requests.whole(self._decide_approval(request))

    async def _decide_approval(
        self, request: approval_pb2.DecideApprovalRequest
    ) -> approval_pb2.DecideApprovalResponse:
        record = await self._approvals.decide(
            calls.principal().workspace,
            request.approval_id,
            grant=request.decision == approval_pb2.DECISION_GRANT,
            digest=request.digest,
            reason=request.reason,
        )
        return approval_pb2.DecideApprovalResponse(approval=approval_message(record))

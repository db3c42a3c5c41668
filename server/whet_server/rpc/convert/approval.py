"""Approvals as they stand."""

from whet.v1 import approval_pb2
from whet_server.approval.approvals import ApprovalState
from whet_server.rpc.convert.enums import APPROVAL_STATE, EFFECT
from whet_server.rpc.convert.values import money, timestamp, timestamp_or_none
from whet_server.store.base import ApprovalRecord


def approval_message(record: ApprovalRecord) -> approval_pb2.Approval:
    return approval_pb2.Approval(
        approval_id=record.approval_id,
        state=APPROVAL_STATE.wire[ApprovalState(record.state)],
        method=record.method,
        summary=record.summary,
        effect=EFFECT.wire[record.effect],
        arguments_json=record.arguments_json,
        digest=record.digest,
        worst_cost=money(record.worst_cost) if record.worst_cost else None,
        create_time=timestamp(record.create_ns),
        expire_time=timestamp(record.expire_ns),
        decide_time=timestamp_or_none(record.decide_ns),
        reason=record.reason,
    )

"""Enums of the wire and of the values, as tables that are read both ways.

A number that the table does not know comes from a newer client; the rules have refused it before anything is unpacked.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from whet.v1 import approval_pb2, error_reason_pb2, event_pb2, fanout_pb2, ledger_pb2, model_pb2, options_pb2, value_pb2
from whet_server.approval.approvals import ApprovalState
from whet_server.errors import Reason
from whet_server.fanout.spec import SynthesisMode
from whet_server.llm.base import EndpointKind
from whet_server.llm.breaker import CircuitState
from whet_server.log.lifecycle import BranchState
from whet_server.values import Billing, RunKind, RunState, Speaker

WireT = TypeVar("WireT", bound=int)
ValueT = TypeVar("ValueT", bound=str)


class EnumTable(Generic[WireT, ValueT]):
    """A one-to-one table; what stands for "not said" on the wire is no member unless the value has one for it."""

    def __init__(self, pairs: Mapping[WireT, ValueT]) -> None:
        self.value: Final[Mapping[WireT, ValueT]] = MappingProxyType(dict(pairs))
        """From the wire to the value."""
        self.wire: Final[Mapping[ValueT, WireT]] = MappingProxyType({value: wire for wire, value in pairs.items()})
        """From the value to the wire."""


SPEAKER: Final = EnumTable(
    {
        value_pb2.ROLE_SYSTEM: Speaker.SYSTEM,
        value_pb2.ROLE_USER: Speaker.USER,
        value_pb2.ROLE_ASSISTANT: Speaker.ASSISTANT,
    }
)
BILLING: Final = EnumTable(
    {
        value_pb2.BILLING_NONE: Billing.NONE,
        value_pb2.BILLING_SETTLED: Billing.SETTLED,
        value_pb2.BILLING_UNKNOWN: Billing.UNKNOWN,
        value_pb2.BILLING_CACHED: Billing.CACHED,
        value_pb2.BILLING_RESERVED: Billing.RESERVED,
    }
)
RUN_KIND: Final = EnumTable(
    {
        event_pb2.RUN_KIND_FANOUT: RunKind.FANOUT,
        event_pb2.RUN_KIND_JUDGEMENT: RunKind.JUDGEMENT,
        event_pb2.RUN_KIND_AUDIT: RunKind.AUDIT,
        event_pb2.RUN_KIND_DATASET: RunKind.DATASET,
        event_pb2.RUN_KIND_SWEEP: RunKind.SWEEP,
    }
)
RUN_STATE: Final = EnumTable(
    {
        event_pb2.RUN_STATE_RUNNING: RunState.RUNNING,
        event_pb2.RUN_STATE_SUCCEEDED: RunState.SUCCEEDED,
        event_pb2.RUN_STATE_PARTIAL: RunState.PARTIAL,
        event_pb2.RUN_STATE_FAILED: RunState.FAILED,
        event_pb2.RUN_STATE_CANCELLED: RunState.CANCELLED,
    }
)
BRANCH_STATE: Final = EnumTable(
    {
        event_pb2.BRANCH_STATE_WAITING: BranchState.WAITING,
        event_pb2.BRANCH_STATE_LOADING: BranchState.LOADING,
        event_pb2.BRANCH_STATE_ASKED: BranchState.ASKED,
        event_pb2.BRANCH_STATE_STREAMING: BranchState.STREAMING,
        event_pb2.BRANCH_STATE_DONE: BranchState.DONE,
        event_pb2.BRANCH_STATE_PARTIAL: BranchState.PARTIAL,
        event_pb2.BRANCH_STATE_FAILED: BranchState.FAILED,
        event_pb2.BRANCH_STATE_CANCELLED: BranchState.CANCELLED,
    }
)
SYNTHESIS_MODE: Final = EnumTable(
    {
        fanout_pb2.SYNTHESIS_MODE_UNSPECIFIED: SynthesisMode.UNSPECIFIED,
        fanout_pb2.SYNTHESIS_MODE_NONE: SynthesisMode.NONE,
        fanout_pb2.SYNTHESIS_MODE_FIRST: SynthesisMode.FIRST,
        fanout_pb2.SYNTHESIS_MODE_VOTE: SynthesisMode.VOTE,
        fanout_pb2.SYNTHESIS_MODE_DRAFT: SynthesisMode.DRAFT,
    }
)
ENDPOINT_KIND: Final = EnumTable(
    {
        model_pb2.ENDPOINT_KIND_OPENAI: EndpointKind.OPENAI,
        model_pb2.ENDPOINT_KIND_LOCAL: EndpointKind.LOCAL,
        model_pb2.ENDPOINT_KIND_SIM: EndpointKind.SIM,
    }
)
CIRCUIT_STATE: Final = EnumTable(
    {
        model_pb2.CIRCUIT_STATE_CLOSED: CircuitState.CLOSED,
        model_pb2.CIRCUIT_STATE_OPEN: CircuitState.OPEN,
        model_pb2.CIRCUIT_STATE_HALF_OPEN: CircuitState.HALF_OPEN,
    }
)
APPROVAL_STATE: Final = EnumTable(
    {
        approval_pb2.APPROVAL_STATE_PENDING: ApprovalState.PENDING,
        approval_pb2.APPROVAL_STATE_GRANTED: ApprovalState.GRANTED,
        approval_pb2.APPROVAL_STATE_REJECTED: ApprovalState.REJECTED,
        approval_pb2.APPROVAL_STATE_USED: ApprovalState.USED,
        approval_pb2.APPROVAL_STATE_EXPIRED: ApprovalState.EXPIRED,
    }
)
REASON: Final = EnumTable(
    {error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{reason.value}"): reason for reason in Reason}
)

CAP_PERIOD: Final = EnumTable({ledger_pb2.CAP_PERIOD_DAY: "day", ledger_pb2.CAP_PERIOD_MONTH: "month"})
"""Periods are plain words in the ledger, and the ids of caps."""
USAGE_GROUP: Final = EnumTable(
    {
        ledger_pb2.USAGE_GROUP_UNSPECIFIED: "all",
        ledger_pb2.USAGE_GROUP_MODEL: "model",
        ledger_pb2.USAGE_GROUP_RUN: "run",
        ledger_pb2.USAGE_GROUP_DAY: "day",
    }
)
EFFECT: Final = EnumTable(
    {
        options_pb2.EFFECT_READS: "reads",
        options_pb2.EFFECT_SPENDS: "spends",
        options_pb2.EFFECT_CHANGES: "changes",
    }
)

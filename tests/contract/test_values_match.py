from typing import get_args

import msgspec
import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor

from whet.v1 import (
    approval_pb2,
    error_reason_pb2,
    event_pb2,
    fanout_pb2,
    judging_pb2,
    ledger_pb2,
    model_pb2,
    options_pb2,
    scorer_pb2,
    value_pb2,
)
from whet_server import judging
from whet_server.approval.approvals import ApprovalState
from whet_server.errors import Reason
from whet_server.fanout.spec import SynthesisMode
from whet_server.llm.base import EndpointKind
from whet_server.log import events
from whet_server.log.lifecycle import BranchState
from whet_server.rpc.convert import enums
from whet_server.rpc.convert.events import _FILL
from whet_server.values import Attempt, Billing, Failure, RunKind, RunState, Speaker, Totals, Usage

PAYLOADS = get_args(events.AnyPayload)


@pytest.mark.parametrize(
    ("wire", "values"),
    [
        (error_reason_pb2.ErrorReason.DESCRIPTOR, {reason.value for reason in Reason}),
        (event_pb2.RunKind.DESCRIPTOR, {kind.value for kind in RunKind}),
        (event_pb2.RunState.DESCRIPTOR, {state.value for state in RunState}),
        (event_pb2.BranchState.DESCRIPTOR, {state.value for state in BranchState}),
        (value_pb2.Billing.DESCRIPTOR, {billing.value for billing in Billing}),
        (value_pb2.Role.DESCRIPTOR, {speaker.value for speaker in Speaker}),
        (model_pb2.EndpointKind.DESCRIPTOR, {kind.value for kind in EndpointKind}),
        (approval_pb2.ApprovalState.DESCRIPTOR, {state.value for state in ApprovalState}),
        (fanout_pb2.SynthesisMode.DESCRIPTOR, {mode.value for mode in SynthesisMode if mode}),
        (ledger_pb2.CapPeriod.DESCRIPTOR, {"day", "month"}),
        (ledger_pb2.UsageGroup.DESCRIPTOR, {"model", "run", "day"}),
        (options_pb2.Effect.DESCRIPTOR, {"reads", "spends", "changes"}),
        (judging_pb2.Outcome.DESCRIPTOR, set(judging.Outcome)),
        (judging_pb2.Direction.DESCRIPTOR, set(judging.Direction)),
        (judging_pb2.JudgeMode.DESCRIPTOR, set(judging.JudgeMode)),
        (judging_pb2.CalibrationState.DESCRIPTOR, set(judging.CalibrationState)),
        (judging_pb2.RatingSource.DESCRIPTOR, set(judging.RatingSource)),
        (judging_pb2.AuditAxis.DESCRIPTOR, set(judging.AuditAxis)),
        (judging_pb2.AuditVerdict.DESCRIPTOR, set(judging.AuditVerdict)),
    ],
)
def test_an_enum_of_the_wire_and_its_value_name_the_same_things(wire: EnumDescriptor, values: set[str]) -> None:
    first = wire.values_by_number[0].name
    prefix = first.removesuffix("UNSPECIFIED")
    assert first == f"{prefix}UNSPECIFIED"
    named = {value.name.removeprefix(prefix).lower() for value in wire.values if value.number}
    assert named == {value.lower() for value in values}


@pytest.mark.parametrize(
    ("table", "wire"),
    [
        (enums.SPEAKER, value_pb2.Role.DESCRIPTOR),
        (enums.BILLING, value_pb2.Billing.DESCRIPTOR),
        (enums.RUN_KIND, event_pb2.RunKind.DESCRIPTOR),
        (enums.RUN_STATE, event_pb2.RunState.DESCRIPTOR),
        (enums.BRANCH_STATE, event_pb2.BranchState.DESCRIPTOR),
        (enums.SYNTHESIS_MODE, fanout_pb2.SynthesisMode.DESCRIPTOR),
        (enums.ENDPOINT_KIND, model_pb2.EndpointKind.DESCRIPTOR),
        (enums.APPROVAL_STATE, approval_pb2.ApprovalState.DESCRIPTOR),
        (enums.REASON, error_reason_pb2.ErrorReason.DESCRIPTOR),
        (enums.CAP_PERIOD, ledger_pb2.CapPeriod.DESCRIPTOR),
        (enums.USAGE_GROUP, ledger_pb2.UsageGroup.DESCRIPTOR),
        (enums.EFFECT, options_pb2.Effect.DESCRIPTOR),
    ],
)
def test_every_value_of_a_table_has_the_name_that_the_wire_gives_it(
    table: enums.EnumTable[int, str], wire: EnumDescriptor
) -> None:
    prefix = wire.values_by_number[0].name.removesuffix("UNSPECIFIED")
    for number, value in table.value.items():
        if number:
            assert wire.values_by_number[number].name == prefix + value.upper()
        assert table.wire[value] == number
    assert {number for number in wire.values_by_number if number} == {number for number in table.value if number}


def test_every_payload_of_the_log_is_a_payload_of_the_wire() -> None:
    wire = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["payload"].fields}
    assert {payload.__struct_config__.tag for payload in PAYLOADS} == wire
    assert set(_FILL) == set(PAYLOADS)


@pytest.mark.parametrize(
    ("value", "wire", "renamed", "only_value", "only_wire"),
    [
        *(
            (
                payload,
                event_pb2.Event.DESCRIPTOR.fields_by_name[payload.__struct_config__.tag].message_type,
                {},
                set(),
                set(),
            )
            for payload in PAYLOADS
            if payload not in {events.RunOpened, events.BranchFinished}
        ),
        (events.RunOpened, event_pb2.RunOpened.DESCRIPTOR, {}, {"spec"}, set()),
        (events.BranchFinished, event_pb2.BranchFinished.DESCRIPTOR, {}, set(), {"usage"}),
        (events.BranchPlan, event_pb2.BranchPlan.DESCRIPTOR, {}, set(), set()),
        (events.Span, event_pb2.Span.DESCRIPTOR, {}, set(), set()),
        (events.SoleClaim, event_pb2.SoleClaim.DESCRIPTOR, {}, set(), set()),
        (events.Contradiction, event_pb2.Contradiction.DESCRIPTOR, {}, set(), set()),
        (events.VoteCount, event_pb2.VoteCount.DESCRIPTOR, {}, set(), set()),
        *(
            (getattr(judging, name), message, {"rate": "rate_time"}, set(), set())
            for name, message in judging_pb2.DESCRIPTOR.message_types_by_name.items()
        ),
        (judging.JudgementPlan, event_pb2.JudgementPlan.DESCRIPTOR, {}, set(), set()),
        (judging.Item, scorer_pb2.Item.DESCRIPTOR, {}, set(), set()),
        (events.SupportedSentence, event_pb2.SupportedSentence.DESCRIPTOR, {}, set(), set()),
        (Totals, value_pb2.Totals.DESCRIPTOR, {}, set(), set()),
        (Usage, value_pb2.Usage.DESCRIPTOR, {}, set(), set()),
        (Attempt, value_pb2.Attempt.DESCRIPTOR, {"start": "start_time"}, set(), set()),
        (Failure, value_pb2.Failure.DESCRIPTOR, {}, set(), {"code"}),
    ],
)
def test_an_event_and_its_value_have_the_same_fields(
    value: type[msgspec.Struct], wire: Descriptor, renamed: dict[str, str], only_value: set[str], only_wire: set[str]
) -> None:
    names = {name.removesuffix("_ns") for name in value.__struct_fields__}
    names = {"first_token_latency" if name == "first_token" else renamed.get(name, name) for name in names}
    assert names - only_value == {field.name for field in wire.fields} - only_wire

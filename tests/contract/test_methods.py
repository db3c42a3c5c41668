from google.protobuf.descriptor import MethodDescriptor

from whet.v1 import options_pb2
from whet_server.rpc.identity import SERVICES

METHODS = {f"{service.name}.{method.name}": method for service in SERVICES for method in service.methods}


def is_tool(method: MethodDescriptor) -> bool:
    return bool(method.GetOptions().HasExtension(options_pb2.tool))


def test_every_method_is_a_tool_or_says_why_not() -> None:
    for name, method in METHODS.items():
        options = method.GetOptions()
        assert is_tool(method) != options.HasExtension(options_pb2.not_a_tool), name
        if is_tool(method):
            tool = options.Extensions[options_pb2.tool]
            assert tool.effect != options_pb2.EFFECT_UNSPECIFIED, name
            assert tool.summary, name
            assert len(tool.examples) >= 2, name
        else:
            assert options.Extensions[options_pb2.not_a_tool].endswith("."), name


def test_what_a_model_cannot_call_is_exactly_this() -> None:
    assert [name for name, method in METHODS.items() if not is_tool(method)] == [
        "LedgerService.Reserve",
        "LedgerService.Settle",
        "ApprovalService.DecideApproval",
        "ScorerService.ServeScorer",
        "CalibrationService.PutRatings",
        "TrialService.AskTrials",
        "TrialService.TellTrial",
    ]


def test_tool_names_are_unique() -> None:
    names = [method.GetOptions().Extensions[options_pb2.tool].name for method in METHODS.values() if is_tool(method)]
    assert len(names) == len(set(names)) == len(METHODS) - 7


def test_every_method_that_changes_something_can_be_repeated_safely() -> None:
    idempotent_by_itself = {"CancelFanout", "CancelJudgement"}
    for method in METHODS.values():
        tool = method.GetOptions().Extensions[options_pb2.tool]
        changes = tool.effect in {options_pb2.EFFECT_SPENDS, options_pb2.EFFECT_CHANGES}
        if changes and method.name not in idempotent_by_itself:
            header = method.input_type.fields_by_name.get("header")  # of an upload: what its pieces belong to
            request = method.input_type if header is None else header.message_type
            assert request is not None
            assert "request_id" in request.fields_by_name, method.full_name


def test_no_service_has_more_than_eight_methods() -> None:
    assert all(len(service.methods) <= 8 for service in SERVICES)

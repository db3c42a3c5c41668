import math
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from whet.v1 import fanout_pb2, ledger_pb2, model_pb2, options_pb2, value_pb2
from whet_server.errors import InvalidField
from whet_server.rpc.identity import SERVICES
from whet_server.rpc.rules import Rules, _matches

RULES = Rules(method.input_type for service in SERVICES for method in service.methods)


def run(**spec: Any) -> fanout_pb2.RunFanoutRequest:
    return fanout_pb2.RunFanoutRequest(spec=fanout_pb2.FanoutSpec(**spec))


def violations(request: Message) -> dict[str, str]:
    with pytest.raises(InvalidField) as caught:
        RULES.check(request)
    return dict(caught.value.violations)


def test_a_good_request_passes() -> None:
    RULES.check(run(prompt="What is a monad?", models=["sim/fast"], parameters=value_pb2.Parameters(temperature=0)))


@pytest.mark.parametrize(
    ("request_", "path", "words"),
    [
        (fanout_pb2.RunFanoutRequest(), "spec", "required"),
        (fanout_pb2.GetFanoutRequest(), "run_id", "required"),
        (run(branches=[fanout_pb2.Branch(model="a/b"), fanout_pb2.Branch()]), "spec.branches[1].model", "required"),
        (run(parameters=value_pb2.Parameters(temperature=2.5)), "spec.parameters.temperature", "at most 2"),
        (run(parameters=value_pb2.Parameters(temperature=math.nan)), "spec.parameters.temperature", "finite"),
        (run(parameters=value_pb2.Parameters(temperature=-math.inf)), "spec.parameters.temperature", "at least 0"),
        (run(parameters=value_pb2.Parameters(max_tokens=0)), "spec.parameters.max_tokens", "at least 1"),
        (run(parameters=value_pb2.Parameters(stop=["a"] * 5)), "spec.parameters.stop", "At most 4"),
        (run(parameters=value_pb2.Parameters(stop=["a", "b" * 201])), "spec.parameters.stop[1]", "At most 200"),
        (run(prompt="a" * 2_000_001), "spec.prompt", "2000001"),
        (run(models=["a/b"] * 2_001), "spec.models", "2001"),
        (run(models=["m" * 301]), "spec.models[0]", "300"),
        (run(messages=[value_pb2.ChatMessage(content="")]), "spec.messages[0].content", "required"),
        (run(limits=value_pb2.CallLimits(total=Duration(seconds=3_601))), "spec.limits.total", "3600000 ms"),
        (run(limits=value_pb2.CallLimits(idle=Duration(seconds=-1))), "spec.limits.idle", "at least 1 ms"),
        (run(finish=fanout_pb2.Finish(enough=-1)), "spec.finish.enough", "at least 0"),
        (fanout_pb2.RunFanoutRequest(request_id="a b"), "request_id", "match"),
        (ledger_pb2.PutCapRequest(limit=value_pb2.Money()), "period", "required"),
        (ledger_pb2.PutCapRequest(period=ledger_pb2.CAP_PERIOD_DAY), "limit", "required"),
        (model_pb2.PutEndpointRequest(name="Bad Name"), "name", "match"),
    ],
)
def test_each_violation_names_its_field_and_what_is_accepted(request_: Message, path: str, words: str) -> None:
    assert words in violations(request_)[path]


def test_an_enum_value_of_the_future_is_refused_with_the_known_ones() -> None:
    request = fanout_pb2.RunFanoutRequest()
    request.spec.synthesis.MergeFromString(b"\x08\x63")
    assert "SYNTHESIS_MODE_DRAFT" in violations(request)["spec.synthesis.mode"]


def test_all_violations_are_found_at_once_but_no_more_than_forty() -> None:
    found = violations(run(branches=[fanout_pb2.Branch(samples=200) for _ in range(100)]))
    assert len(found) == 40


def test_an_unset_optional_field_is_not_held_to_its_bounds() -> None:
    RULES.check(run(parameters=value_pb2.Parameters()))


def test_every_pattern_of_the_contract_takes_linear_time() -> None:
    for pattern in ("(a+)+b", "(a|aa)+", r"(x)\1", "a**"):
        with pytest.raises(ValueError, match="exponential"):
            _matches(pattern)


def test_every_field_with_a_rule_carries_a_bound_or_a_description() -> None:
    for service in SERVICES:
        for method in service.methods:
            for field in method.input_type.fields:
                rule = field.GetOptions().Extensions[options_pb2.rule]
                assert not rule.ByteSize() or rule.description or rule.required

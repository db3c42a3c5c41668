import re
from pathlib import Path
from typing import Any

import pytest

from whet.v1 import approval_pb2, event_pb2, fanout_pb2, ledger_pb2, model_pb2, trace_pb2
from whet_agent.catalogue import BadArguments, Method, methods, request_from, to_plain, tools
from whet_agent.plain import descriptor_of

PROTO = Path(__file__).parents[2] / "proto" / "whet" / "v1"


def method(name: str) -> Method:
    return next(method for method in methods() if method.name == name)


def fanout(spec: Any) -> fanout_pb2.FanoutSpec:
    request = request_from(method("RunFanout"), {"spec": spec})
    assert isinstance(request, fanout_pb2.RunFanoutRequest)
    return request.spec


def refusal(name: str, arguments: dict[str, Any]) -> str:
    with pytest.raises(BadArguments) as caught:
        request_from(method(name), arguments)
    return str(caught.value)


def test_every_rpc_of_the_proto_files_is_in_the_catalogue() -> None:
    written = {
        (service, rpc)
        for file in PROTO.glob("*.proto")
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", file.read_text(), re.DOTALL | re.MULTILINE)
        for rpc in re.findall(r"^  rpc (\w+)\(", body, re.MULTILINE)
    }
    assert {(method.service.removeprefix("whet.v1."), method.name) for method in methods()} == written


def test_commands_are_unique_and_say_the_noun_once() -> None:
    commands = [method.command for method in methods()]
    assert len(set(commands)) == len(commands)
    assert method("RunFanout").command == ("fanout", "run")
    assert method("ListFanouts").command == ("fanout", "list")
    assert method("PutCap").command == ("ledger", "put-cap")
    assert method("ListEndpoints").command == ("model", "list-endpoints")


def test_every_method_is_a_tool_or_says_why_not() -> None:
    others = {method.name for method in methods()} - {tool.method.name for tool in tools().values()}
    assert others == {"AskTrials", "DecideApproval", "PutRatings", "Reserve", "ServeScorer", "Settle", "TellTrial"}
    assert all(method.comment for method in methods())


def test_every_tool_says_its_effect_and_how_it_is_asked_for() -> None:
    for tool in tools().values():
        assert tool.effect in {"reads", "spends", "changes"}
        assert len(tool.examples) >= 2
        assert re.fullmatch("[a-z]+(_[a-z]+)*", tool.name)


def test_no_tool_asks_a_model_for_a_request_id() -> None:
    for tool in tools().values():
        assert not {"request_id", "plan_hash"} & set(tool.schema["properties"])


def test_schemas_carry_the_bounds_of_the_contract() -> None:
    spec = tools()["fanout"].schema["properties"]["spec"]["properties"]
    assert tools()["fanout"].schema["required"] == ["spec"]
    assert spec["models"]["items"] == {"type": "string", "maxLength": 300}
    assert spec["models"]["maxItems"] == 2000
    assert spec["synthesis"]["properties"]["mode"]["enum"] == ["none", "first", "vote", "draft"]
    assert spec["parameters"]["properties"]["temperature"]["maximum"] == 2
    deadline = spec["finish"]["properties"]["deadline"]
    assert (deadline["type"], deadline["minimum"], deadline["maximum"]) == ("number", 0.001, 86400)
    assert spec["branches"]["items"]["required"] == ["model"]


@pytest.mark.parametrize("tool", tools().values(), ids=lambda tool: tool.name)
def test_every_leaf_of_a_schema_is_described_or_named_by_its_type(tool: Any) -> None:
    def undescribed(schema: dict[str, Any], path: str) -> list[str]:
        inner = schema.get("items", schema)
        if "properties" in inner:
            return [bad for name, part in inner["properties"].items() for bad in undescribed(part, f"{path}.{name}")]
        return [] if schema.get("description") else [path]

    named_by_its_type = {"role", "source"}
    assert [path for path in undescribed(tool.schema, "") if path.rsplit(".", 1)[-1] not in named_by_its_type] == []


def test_a_request_is_built_from_what_people_write() -> None:
    spec = fanout(
        {
            "prompt": "what is a monad",
            "models": ["sim/fast"],
            "branches": [{"model": "a/b", "samples": 2, "parameters": {"temperature": 1}}],
            "finish": {"deadline": "1.5s", "enough": 2.0},
            "synthesis": {"mode": "Draft"},
            "cap": "$0.50",
            "title": None,
        }
    )
    assert (spec.finish.deadline.seconds, spec.finish.deadline.nanos, spec.finish.enough) == (1, 500_000_000, 2)
    assert spec.synthesis.mode == fanout_pb2.SYNTHESIS_MODE_DRAFT
    assert spec.cap.nanos == 500_000_000
    assert spec.branches[0].parameters.HasField("temperature")
    assert not spec.branches[0].parameters.HasField("seed")


@pytest.mark.parametrize(
    ("written", "nanos"),
    [("$5", 5 * 10**9), ("0.000000001", 1), ({"nanos": 7}, 7), ("9223372036.854775807", 2**63 - 1)],
)
def test_money_is_exact(written: Any, nanos: int) -> None:
    assert fanout({"cap": written}).cap.nanos == nanos


@pytest.mark.parametrize(
    "written",
    [5, 0.5, "", "five", "$-1", "0.0000000001", "1e3", "9999999999999", {"nanos": 1.0}, {"nanos": True}, True],
)
def test_money_that_could_be_misread_is_refused(written: Any) -> None:
    assert refusal("RunFanout", {"spec": {"cap": written}}).startswith("spec.cap: ")


@pytest.mark.parametrize(("written", "seconds"), [(2, 2.0), ("250ms", 0.25), ("2m", 120.0), ("1h", 3600.0), ("3", 3.0)])
def test_durations_are_seconds_or_carry_their_unit(written: Any, seconds: float) -> None:
    deadline = fanout({"finish": {"deadline": written}}).finish.deadline
    assert deadline.seconds + deadline.nanos / 1e9 == seconds


@pytest.mark.parametrize("written", ["soon", float("nan"), float("inf"), 1e300, True, [], "-1s"])
def test_durations_that_are_none_are_refused(written: Any) -> None:
    assert "finish.deadline: give seconds" in refusal("RunFanout", {"spec": {"finish": {"deadline": written}}})


def test_times_are_rfc_3339_or_days() -> None:
    request = request_from(method("GetUsage"), {"start_time": "2026-01-31", "end_time": "2026-01-31T01:00:00+01:00"})
    assert isinstance(request, ledger_pb2.GetUsageRequest)
    assert request.start_time == request.end_time
    assert to_plain(request)["start_time"] == "2026-01-31T00:00:00Z"
    assert "start_time: give a time" in refusal("GetUsage", {"start_time": "yesterday"})


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("RunFanout", {"prompt": "x"}, "prompt: there is no such field"),
        ("RunFanout", {"spec": "x"}, "spec: give an object with prompt"),
        ("RunFanout", {"spec": {"models": "sim/fast"}}, "spec.models: give a list"),
        ("RunFanout", {"spec": {"models": [1]}}, "spec.models[0]: give text"),
        ("RunFanout", {"spec": {"branches": [{"samples": 1.5}]}}, "spec.branches[0].samples: give a whole number"),
        ("RunFanout", {"spec": {"branches": [{"samples": 2**40}]}}, "does not fit 32 bits"),
        ("RunFanout", {"spec": {"synthesis": {"mode": "best"}}}, "give one of none, first, vote, draft"),
        ("RunFanout", {"spec": {"cache": {"bypass": "yes"}}}, "spec.cache.bypass: give true or false"),
        ("RunFanout", {"spec": {"parameters": {"top_p": "high"}}}, "spec.parameters.top_p: give a number"),
        ("RunFanout", {"spec": {"prompt": "\ud800"}}, "spec.prompt: the text holds half of a surrogate pair"),
        ("ListEndpoints", {"all": True}, "This call takes none."),
    ],
)
def test_a_refusal_names_the_field_and_says_what_to_do(name: str, arguments: dict[str, Any], expected: str) -> None:
    assert expected in refusal(name, arguments)


def test_the_request_id_is_set_only_where_there_is_one() -> None:
    put = request_from(method("PutCap"), {"period": "day"}, request_id="s/1/2")
    assert isinstance(put, ledger_pb2.PutCapRequest)
    assert put.request_id == "s/1/2"
    assert request_from(method("ListCaps"), {}, request_id="s/1/2") == ledger_pb2.ListCapsRequest()


def test_plain_data_has_short_names_and_stable_fields() -> None:
    event = event_pb2.Event(
        sequence=2**60, hash=b"\x01\xff", branch_finished=event_pb2.BranchFinished(state=event_pb2.BRANCH_STATE_DONE)
    )
    event.branch_finished.failure.metadata["model"] = "a/b"
    plain = to_plain(event)
    assert plain["sequence"] == 2**60
    assert plain["hash"] == "01ff"
    assert plain["branch_finished"]["state"] == "done"
    assert plain["branch_finished"]["attempts"] == []
    assert plain["branch_finished"]["simulated"] is False
    assert plain["branch_finished"]["failure"]["metadata"] == {"model": "a/b"}
    assert "run_finished" not in plain
    assert "latency" not in plain["branch_finished"]


def test_a_number_from_a_newer_contract_stays_a_number() -> None:
    approval = approval_pb2.Approval.FromString(b"\x10\x63")
    assert to_plain(approval)["state"] == "99"


@pytest.mark.parametrize(
    "message",
    [
        fanout_pb2.RunFanoutRequest(spec=fanout_pb2.FanoutSpec(prompt="x", models=["a/b"])),
        model_pb2.PutEndpointRequest(name="x", models=[model_pb2.ModelSettings(model="m")]),
        trace_pb2.GetTraceRequest(run_id="fan_1", after_sequence=3),
    ],
)
def test_plain_data_makes_the_same_request_again(message: Any) -> None:
    name = descriptor_of(message).name.removesuffix("Request")
    assert request_from(method(name), to_plain(message)) == message

import asyncio
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.server.rpc.conftest import HELD, Served, question, refused, serving

from whet.v1 import fanout_pb2, ledger_pb2, model_pb2, trace_pb2, value_pb2
from whet_server.datadir import DataDir
from whet_server.rpc.identity import SERVICES
from whet_server.rpc.interceptors import MAX_REQUEST_BYTES
from whet_server.rpc.server import AddressRefused, is_local
from whet_server.values import Role, Workspace

MIB = 1024 * 1024
Raw: TypeAlias = Any
"""Callables of gRPC whose messages are plain bytes, or whose stubs are typed for threads."""


async def test_a_fanout_streams_its_events_in_order_and_ends_with_the_terminal_one(served: Served) -> None:
    run_id, events = await served.person.ran(question("sim/fast", "sim/fast?seed=2"))
    assert run_id.startswith("fan_")
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[0].WhichOneof("payload") == "run_opened"
    assert events[-1].WhichOneof("payload") == "run_finished"
    assert all(len(event.hash) == 32 for event in events)
    finished = [event.branch_finished for event in events if event.HasField("branch_finished")]
    assert len(finished) == 2
    assert all(branch.simulated and branch.text for branch in finished)


async def test_the_same_works_over_a_unix_socket(directory: DataDir, tmp_path: Path) -> None:
    async with serving(directory, f"unix:{tmp_path}/whet.sock") as served:
        _, events = await served.person.ran(question())
        assert events[-1].WhichOneof("payload") == "run_finished"


async def test_a_port_that_is_taken_is_refused_and_not_shared(served: Served, tmp_path: Path) -> None:
    with pytest.raises(AddressRefused, match="Is another one there"):
        async with serving(DataDir(tmp_path / "other"), served.address):
            pass


async def test_an_address_that_others_can_reach_needs_a_word(directory: DataDir) -> None:
    with pytest.raises(AddressRefused, match="--insecure-listen"):
        async with serving(directory, "0.0.0.0:0"):
            pass
    assert is_local("[::1]:80")
    assert is_local("localhost:80")
    assert not is_local("example.org:80")


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "::1:80", "host:port", ":80", "127.0.0.1:123456"])
async def test_what_is_no_address_is_said_to_be_none(directory: DataDir, address: str) -> None:
    with pytest.raises(AddressRefused, match="is no address to listen on"):
        async with serving(directory, address):
            pass


async def test_a_prompt_of_two_megabytes_is_answered(served: Served) -> None:
    _, events = await served.person.ran(question(prompt="x" * 2_000_000))
    assert len(events[0].run_opened.prompt) == 2_000_000


async def test_a_prompt_above_the_rule_is_refused_by_its_field(served: Served) -> None:
    async with refused() as said:
        await served.person.ran(question(prompt="x" * 2_000_001))
    assert (said[0].code, said[0].reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert "2000001" in said[0].violations["spec.prompt"]


@pytest.mark.parametrize(("size", "reason"), [(9 * MIB, "TOO_LARGE"), (20 * MIB, "TOO_LARGE"), (40 * MIB, "")])
async def test_a_request_of_many_megabytes_is_refused(served: Served, size: int, reason: str) -> None:
    async with refused() as said:
        await served.person.ran(question(prompt="x" * size))
    assert (said[0].code, said[0].reason) == ("RESOURCE_EXHAUSTED", reason)
    if reason:
        assert said[0].metadata == {"limit_bytes": str(MAX_REQUEST_BYTES)}
    else:
        assert "larger than max" in said[0].message


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (question(prompt=""), "spec.prompt"),
        (question(prompt=" \n\t "), "spec.prompt"),
        (
            fanout_pb2.RunFanoutRequest(
                spec=fanout_pb2.FanoutSpec(prompt="a", messages=[value_pb2.ChatMessage(content="b")])
            ),
            "spec.prompt",
        ),
        (
            fanout_pb2.RunFanoutRequest(
                spec=fanout_pb2.FanoutSpec(prompt="a", parameters=value_pb2.Parameters(temperature=99))
            ),
            "spec.parameters.temperature",
        ),
        (
            fanout_pb2.RunFanoutRequest(
                spec=fanout_pb2.FanoutSpec(prompt="a", branches=[fanout_pb2.Branch(model="sim/fast", samples=101)])
            ),
            "spec.branches[0].samples",
        ),
    ],
)
async def test_a_senseless_fanout_is_refused_by_its_field(
    served: Served, request_: fanout_pb2.RunFanoutRequest, path: str
) -> None:
    async with refused() as said:
        await served.person.ran(request_)
    assert (said[0].code, said[0].reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert path in said[0].violations


@pytest.mark.parametrize(
    ("model", "reason"),
    [("sim/nobody", "MODEL_NOT_FOUND"), ("nowhere/gpt", "ENDPOINT_NOT_FOUND")],
)
async def test_an_unknown_model_is_not_found(served: Served, model: str, reason: str) -> None:
    async with refused() as said:
        await served.person.ran(question(model))
    assert (said[0].code, said[0].reason) == ("NOT_FOUND", reason)


async def test_bytes_that_are_no_message_are_told_so(served: Served) -> None:
    call: Raw = served.channel.unary_unary("/whet.v1.FanoutService/PlanFanout")
    async with refused() as said:
        await call(b"\xff\xff\xff", metadata=served.person.metadata)
    assert (said[0].code, said[0].reason) == ("INVALID_ARGUMENT", "MALFORMED_MESSAGE")
    stream: Raw = served.channel.unary_stream("/whet.v1.FanoutService/RunFanout")
    async with refused() as said:
        async for _ in stream(b"\x0a\xff", metadata=served.person.metadata):
            pass
    assert (said[0].code, said[0].reason) == ("INVALID_ARGUMENT", "MALFORMED_MESSAGE")


async def test_a_call_without_a_known_token_is_refused(served: Served) -> None:
    request = fanout_pb2.ListFanoutsRequest()
    async with refused() as said:
        await served.person.fanout.ListFanouts(request)
    assert (said[0].code, said[0].reason) == ("UNAUTHENTICATED", "TOKEN_INVALID")
    async with refused() as said:
        await served.caller("whet_wrong").fanout.ListFanouts(request, metadata=served.caller("whet_wrong").metadata)
    assert (said[0].code, said[0].reason) == ("UNAUTHENTICATED", "TOKEN_INVALID")
    assert "whet_wrong" not in str(said[0])


async def test_who_may_not_call_learns_nothing_about_the_message(served: Served) -> None:
    call: Raw = served.channel.unary_unary("/whet.v1.FanoutService/PlanFanout")
    for raw in (b"\xff\xff", b"x" * (9 * MIB), b""):
        async with refused() as said:
            await call(raw, metadata=served.caller("whet_wrong").metadata)
        assert said[0].reason == "TOKEN_INVALID"


async def test_an_expired_token_is_told_when_it_expired(served: Served) -> None:
    late = served.caller(served.directory.create_token(Workspace("default"), Role.PERSON, timedelta(microseconds=1)))
    async with refused() as said:
        await late.fanout.ListFanouts(fanout_pb2.ListFanoutsRequest(), metadata=late.metadata)
    assert (said[0].code, said[0].reason) == ("UNAUTHENTICATED", "TOKEN_EXPIRED")
    assert "expired_at" in said[0].metadata


async def test_a_token_of_another_workspace_sees_nothing_of_ours(served: Served) -> None:
    run_id, _ = await served.person.ran(question())
    stranger = served.stranger
    for call in (
        stranger.fanout.GetFanout(fanout_pb2.GetFanoutRequest(run_id=run_id), metadata=stranger.metadata),
        stranger.trace.VerifyTrace(trace_pb2.VerifyTraceRequest(run_id=run_id), metadata=stranger.metadata),
        stranger.fanout.CancelFanout(fanout_pb2.CancelFanoutRequest(run_id=run_id), metadata=stranger.metadata),
    ):
        async with refused() as said:
            await call
        assert (said[0].code, said[0].reason) == ("NOT_FOUND", "RUN_NOT_FOUND")
    async with refused() as said:
        async for _ in stranger.fanout.WatchFanout(
            fanout_pb2.WatchFanoutRequest(run_id=run_id), metadata=stranger.metadata
        ):
            pass
    assert said[0].reason == "RUN_NOT_FOUND"
    listed = await stranger.fanout.ListFanouts(fanout_pb2.ListFanoutsRequest(), metadata=stranger.metadata)
    assert not listed.fanouts


async def test_a_cursor_from_elsewhere_is_refused(served: Served) -> None:
    first, _ = await served.person.ran(question())
    second, _ = await served.person.ran(question(prompt="What is a functor?"))
    person = served.person
    cursors = [
        response.batch.next_cursor
        async for response in person.fanout.WatchFanout(
            fanout_pb2.WatchFanoutRequest(run_id=first), metadata=person.metadata
        )
    ]
    for cursor in (cursors[-1], "garbage", "now!"):
        async with refused() as said:
            request = fanout_pb2.WatchFanoutRequest(run_id=second, cursor=cursor)
            async for _ in person.fanout.WatchFanout(request, metadata=person.metadata):
                pass
        assert (said[0].code, said[0].reason) == ("INVALID_ARGUMENT", "CURSOR_INVALID")


async def test_every_answer_and_every_refusal_names_its_request_id(served: Served) -> None:
    mine = (*served.person.metadata, ("x-request-id", "mine-1"))
    call = served.person.fanout.ListFanouts(fanout_pb2.ListFanoutsRequest(), metadata=mine)
    await call
    assert ("x-request-id", "mine-1") in tuple(await call.trailing_metadata())
    async with refused() as said:
        await served.person.fanout.GetFanout(fanout_pb2.GetFanoutRequest(run_id="no"), metadata=mine)
    assert said[0].trailer["x-request-id"] == "mine-1"
    async with refused() as said:
        await served.person.fanout.ListFanouts(fanout_pb2.ListFanoutsRequest())
    assert said[0].trailer["x-request-id"].startswith("req_")


async def test_fifty_calls_at_once_with_one_request_id_start_one_run(served: Served) -> None:
    answers = await asyncio.gather(*(served.person.ran(question(request_id="r/1/1")) for _ in range(50)))
    assert len({run_id for run_id, _ in answers}) == 1
    assert len({tuple(event.hash for event in events) for _, events in answers}) == 1
    listed = await served.person.fanout.ListFanouts(fanout_pb2.ListFanoutsRequest(), metadata=served.person.metadata)
    assert len(listed.fanouts) == 1


async def test_a_request_id_with_another_payload_is_told_about_the_first_call(served: Served) -> None:
    await served.person.ran(question(request_id="r1"))
    async with refused() as said:
        await served.person.ran(question(request_id="r1", prompt="Another one."))
    assert (said[0].code, said[0].reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")
    assert said[0].metadata["method"] == "whet.v1.FanoutService/RunFanout"
    assert set(said[0].metadata) == {"request_id", "method", "first_call"}


async def test_a_started_fanout_is_told_from_a_repeated_one(served: Served) -> None:
    request = fanout_pb2.StartFanoutRequest(request_id="s1", spec=question().spec)
    first, second = await served.person.start(request), await served.person.start(request)
    assert (first.started, second.started) == (True, False)
    assert first.fanout.run_id == second.fanout.run_id


async def test_a_plan_that_changed_stops_the_call(served: Served) -> None:
    person, spec = served.person, question().spec
    plan = await person.fanout.PlanFanout(fanout_pb2.PlanFanoutRequest(spec=spec), metadata=person.metadata)
    await person.ran(fanout_pb2.RunFanoutRequest(spec=spec, plan_hash=plan.plan_hash))
    spec.models.append("sim/terse")
    async with refused() as said:
        await person.ran(fanout_pb2.RunFanoutRequest(spec=spec, plan_hash=plan.plan_hash))
    assert (said[0].code, said[0].reason) == ("FAILED_PRECONDITION", "PLAN_CHANGED")
    assert said[0].metadata["expected"] == plan.plan_hash


async def test_a_client_that_leaves_does_not_stop_the_run(served: Served) -> None:
    call = served.person.run(question(HELD))
    first = await anext(aiter(call))
    call.cancel()
    run_id = first.run_id
    shown = await served.person.fanout.GetFanout(
        fanout_pb2.GetFanoutRequest(run_id=run_id), metadata=served.person.metadata
    )
    assert shown.fanout.plan[0].model == HELD
    done = await served.person.fanout.CancelFanout(
        fanout_pb2.CancelFanoutRequest(run_id=run_id), metadata=served.person.metadata
    )
    assert done.fanout.branches[0].text == ""


async def test_lists_go_page_by_page_and_tokens_belong_to_one_list(served: Served) -> None:
    person = served.person
    made = [(await person.ran(question(prompt=f"Question {number}")))[0] for number in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = value_pb2.Page(size=2, token=token)
        answer = await person.fanout.ListFanouts(fanout_pb2.ListFanoutsRequest(page=page), metadata=person.metadata)
        seen.extend(fanout.run_id for fanout in answer.fanouts)
        token = answer.next_page_token
        if not token:
            break
        kept = token
    assert seen == sorted(made, reverse=True)
    async with refused() as said:
        await person.trace.ListTraces(
            trace_pb2.ListTracesRequest(page=value_pb2.Page(token=kept)), metadata=person.metadata
        )
    assert "page.token" in said[0].violations


async def test_a_trace_is_read_exported_and_proved(served: Served) -> None:
    person = served.person
    run_id, events = await person.ran(question())
    got = await person.trace.GetTrace(
        trace_pb2.GetTraceRequest(run_id=run_id, after_sequence=1, max_events=1), metadata=person.metadata
    )
    assert [event.sequence for event in got.events] == [2]
    assert got.more
    assert got.trace.event_count == len(events)
    lines = b""
    async for piece in person.trace.ExportTrace(trace_pb2.ExportTraceRequest(run_id=run_id), metadata=person.metadata):
        lines += piece.lines
    assert lines.count(b"\n") >= len(events)
    proof = await person.trace.VerifyTrace(
        trace_pb2.VerifyTraceRequest(run_id=run_id, expected_hash=events[1].hash.hex()), metadata=person.metadata
    )
    assert proof.valid
    assert proof.head_hash == events[-1].hash


async def test_health_and_reflection_answer_without_a_token(served: Served) -> None:
    health: Raw = health_pb2_grpc.HealthStub(served.channel)
    for service in ("", *(service.full_name for service in SERVICES)):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    async with refused() as said:
        await health.Check(health_pb2.HealthCheckRequest(service="whet.v1.Nothing"))
    assert said[0].code == "NOT_FOUND"
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    reflection: Raw = reflection_pb2_grpc.ServerReflectionStub
    stream = reflection(served.channel).ServerReflectionInfo(iter([asked]))
    names = {service.name async for answer in stream for service in answer.list_services_response.service}
    assert {service.full_name for service in SERVICES} <= names


async def test_garbage_for_reflection_hides_what_went_wrong_inside(served: Served) -> None:
    call: Raw = served.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    async with refused() as said:
        async for _ in call(iter([b"\xff\xff"])):
            pass
    assert said[0].code in {"INTERNAL", "INVALID_ARGUMENT"}
    assert "DecodeError" not in said[0].message


async def test_caps_and_reservations_go_over_the_wire(served: Served) -> None:
    person, metadata = served.person, served.person.metadata
    put = ledger_pb2.PutCapRequest(
        request_id="c1", period=ledger_pb2.CAP_PERIOD_DAY, limit=value_pb2.Money(nanos=1_000_000_000)
    )
    answers = [await person.ledger.PutCap(put, metadata=metadata) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0].cap.limit.nanos == 1_000_000_000
    reserve = ledger_pb2.ReserveRequest(
        request_id="m1", model="sim/costly", max_input_tokens=1_000, max_output_tokens=1_000, run_id="session-1"
    )
    held = [await person.ledger.Reserve(reserve, metadata=metadata) for _ in range(2)]
    assert held[0] == held[1]
    assert held[0].reservation.reserved.nanos == 30_000_000
    reserve.request_id, reserve.cap.nanos = "m3", 29_999_999
    async with refused() as said:
        await person.ledger.Reserve(reserve, metadata=metadata)
    assert (said[0].reason, said[0].metadata["cap"]) == ("CAP_EXCEEDED", "call")
    caps = await person.ledger.ListCaps(ledger_pb2.ListCapsRequest(), metadata=metadata)
    assert caps.caps[0].reserved.nanos == 30_000_000
    settle = ledger_pb2.SettleRequest(
        reservation_id=held[0].reservation.reservation_id,
        billing=value_pb2.BILLING_SETTLED,
        usage=value_pb2.Usage(input_tokens=100, output_tokens=100),
    )
    settled = await person.ledger.Settle(settle, metadata=metadata)
    assert settled.reservation.settled.nanos == 3_000_000
    usage = await person.ledger.GetUsage(
        ledger_pb2.GetUsageRequest(group=ledger_pb2.USAGE_GROUP_RUN), metadata=metadata
    )
    assert [(line.key, line.totals.settled.nanos) for line in usage.lines] == [("session-1", 3_000_000)]
    over = ledger_pb2.ReserveRequest(
        request_id="m2", model="sim/costly", max_input_tokens=0, max_output_tokens=1_000_000
    )
    async with refused() as said:
        await person.ledger.Reserve(over, metadata=metadata)
    assert (said[0].code, said[0].reason) == ("RESOURCE_EXHAUSTED", "CAP_EXCEEDED")
    await person.ledger.DeleteCap(ledger_pb2.DeleteCapRequest(cap_id="day"), metadata=metadata)
    assert not (await person.ledger.ListCaps(ledger_pb2.ListCapsRequest(), metadata=metadata)).caps


async def test_a_settlement_that_makes_no_sense_names_its_field(served: Served) -> None:
    for request, path in (
        (ledger_pb2.SettleRequest(reservation_id="x", billing=value_pb2.BILLING_SETTLED), "usage"),
        (ledger_pb2.SettleRequest(reservation_id="x", billing=value_pb2.BILLING_CACHED), "billing"),
        (
            ledger_pb2.SettleRequest(
                reservation_id="x", billing=value_pb2.BILLING_SETTLED, usage=value_pb2.Usage(input_tokens=-1)
            ),
            "usage.input_tokens",
        ),
    ):
        async with refused() as said:
            await served.person.ledger.Settle(request, metadata=served.person.metadata)
        assert path in said[0].violations


async def test_endpoints_and_models_are_listed_put_and_removed(served: Served) -> None:
    person, metadata = served.person, served.person.metadata
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        put = model_pb2.PutEndpointRequest(request_id="e1", name="mine", base_url=url, api_key="sk-secret")
        made = [await person.model.PutEndpoint(put, metadata=metadata) for _ in range(2)]
        assert made[0] == made[1]
        assert made[0].endpoint.has_key
        assert made[0].endpoint.source == "rpc"
        tested = await person.model.TestEndpoint(model_pb2.TestEndpointRequest(name="mine"), metadata=metadata)
        assert not tested.ok
        assert tested.failure.message
    listed = await person.model.ListEndpoints(model_pb2.ListEndpointsRequest(), metadata=metadata)
    assert {endpoint.name for endpoint in listed.endpoints} == {"local", "mine", "sim"}
    assert "sk-secret" not in str(listed)
    theirs = await served.stranger.model.ListEndpoints(
        model_pb2.ListEndpointsRequest(), metadata=served.stranger.metadata
    )
    assert "mine" not in {endpoint.name for endpoint in theirs.endpoints}
    models = await person.model.ListModels(model_pb2.ListModelsRequest(endpoint="sim"), metadata=metadata)
    assert {model.name for model in models.models if model.in_panel} <= {"sim/fast", "sim/fast?seed=2"}
    assert all(model.simulated for model in models.models)
    await person.model.DeleteEndpoint(model_pb2.DeleteEndpointRequest(name="mine"), metadata=metadata)
    async with refused() as said:
        await person.model.TestEndpoint(model_pb2.TestEndpointRequest(name="mine"), metadata=metadata)
    assert said[0].reason == "ENDPOINT_NOT_FOUND"


async def test_the_cache_answers_the_second_time_and_can_be_cleared(served: Served) -> None:
    person, metadata = served.person, served.person.metadata
    await person.ran(question("sim/fast"))
    _, events = await person.ran(question("sim/fast"))
    assert [event.branch_finished.cached for event in events if event.HasField("branch_finished")] == [True]
    stats = await person.model.GetCache(model_pb2.GetCacheRequest(), metadata=metadata)
    assert (stats.entries, stats.hits) == (1, 1)
    clear = model_pb2.ClearCacheRequest(request_id="clear")
    assert [(await person.model.ClearCache(clear, metadata=metadata)).removed for _ in range(2)] == [1, 1]
    assert (await person.model.GetCache(model_pb2.GetCacheRequest(), metadata=metadata)).entries == 0

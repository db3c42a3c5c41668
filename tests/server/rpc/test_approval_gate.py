import json
from datetime import timedelta
from time import time_ns

import pytest
from tests.server.rpc.conftest import HELD, Client, Refusal, Served, question, refused, serving

from whet.v1 import approval_pb2, event_pb2, fanout_pb2, ledger_pb2, model_pb2, value_pb2
from whet_server.approval.approvals import LIFETIME
from whet_server.datadir import DataDir

DEAR = "sim/costly?price_out=900000000000000"
"""Nine hundred dollars for a thousand tokens: above every threshold."""


async def decide(client: Client, asked: Refusal, *, grant: bool) -> approval_pb2.Approval:
    answer = await client.approval.DecideApproval(
        approval_pb2.DecideApprovalRequest(
            approval_id=asked.metadata["approval_id"],
            digest=asked.metadata["digest"],
            decision=approval_pb2.DECISION_GRANT if grant else approval_pb2.DECISION_REJECT,
            reason="Because.",
        ),
        metadata=client.metadata,
    )
    return answer.approval


async def ask(client: Client, request: fanout_pb2.RunFanoutRequest) -> Refusal:
    async with refused() as said:
        await client.ran(request)
    return said[0]


async def test_an_agent_may_ask_what_costs_nothing(served: Served) -> None:
    _, events = await served.agent.ran(question("sim/fast"))
    assert events[0].run_opened.role == "agent"


async def test_a_person_may_ask_what_is_dear(served: Served) -> None:
    await served.person.ran(question(DEAR))


async def test_an_agents_dear_question_waits_for_a_person_and_then_runs_once(served: Served) -> None:
    asked = await ask(served.agent, question(DEAR, request_id="a1"))
    assert (asked.code, asked.reason) == ("FAILED_PRECONDITION", "APPROVAL_REQUIRED")
    assert int(asked.metadata["worst_cost_nanos"]) > 250_000_000
    assert {"approval_id", "digest", "expires_at"} <= set(asked.metadata)
    shown = await served.agent.approval.GetApproval(
        approval_pb2.GetApprovalRequest(approval_id=asked.metadata["approval_id"]), metadata=served.agent.metadata
    )
    assert shown.approval.state == approval_pb2.APPROVAL_STATE_PENDING
    assert json.loads(shown.approval.arguments_json)["spec"]["prompt"] == "What is a monad?"
    repeated = await ask(served.agent, question(DEAR, request_id="a1"))
    assert repeated.metadata == asked.metadata
    granted = await decide(served.person, asked, grant=True)
    assert granted.state == approval_pb2.APPROVAL_STATE_GRANTED
    first, _ = await served.agent.ran(question(DEAR, request_id="a1"))
    again, _ = await served.agent.ran(question(DEAR, request_id="a1"))
    assert first == again
    other = await ask(served.agent, question(DEAR, request_id="a2"))
    assert other.reason == "APPROVAL_REQUIRED"
    assert other.metadata["approval_id"] != asked.metadata["approval_id"]


async def test_a_grant_holds_for_nothing_but_what_was_shown(served: Served) -> None:
    asked = await ask(served.agent, question(DEAR, request_id="a1"))
    await decide(served.person, asked, grant=True)
    other = await ask(served.agent, question(DEAR, request_id="a2", prompt="Something else?"))
    assert other.reason == "APPROVAL_REQUIRED"
    assert other.metadata["digest"] != asked.metadata["digest"]


async def test_a_grant_that_nobody_used_in_time_is_refused(directory: DataDir) -> None:
    now = time_ns()
    async with serving(directory, clock=lambda: now) as served:
        asked = await ask(served.agent, question(DEAR, request_id="a1"))
        await decide(served.person, asked, grant=True)
        now += LIFETIME // timedelta(microseconds=1) * 1000
        late = await ask(served.agent, question(DEAR, request_id="a1"))
        assert late.reason == "APPROVAL_REQUIRED"
        assert late.metadata["approval_id"] != asked.metadata["approval_id"]
        async with refused() as said:
            await decide(served.person, asked, grant=True)
        assert (said[0].reason, said[0].metadata["state"]) == ("APPROVAL_NOT_OPEN", "expired")


async def test_a_grant_with_another_digest_is_refused(served: Served) -> None:
    asked = await ask(served.agent, question(DEAR, request_id="a1"))
    other = await ask(served.agent, question(DEAR, request_id="a1", prompt="Something else?"))
    asked.metadata["digest"] = other.metadata["digest"]
    async with refused() as said:
        await decide(served.person, asked, grant=True)
    assert said[0].reason == "APPROVAL_NOT_OPEN"
    assert (await ask(served.agent, question(DEAR, request_id="a1"))).reason == "APPROVAL_REQUIRED"


async def test_a_rejected_call_is_told_so(served: Served) -> None:
    asked = await ask(served.agent, question(DEAR, request_id="a1"))
    await decide(served.person, asked, grant=False)
    told = await ask(served.agent, question(DEAR, request_id="a1"))
    assert (told.code, told.reason) == ("FAILED_PRECONDITION", "APPROVAL_NOT_OPEN")
    assert told.metadata["state"] == "rejected"


async def test_an_agent_cannot_decide_about_itself(served: Served) -> None:
    asked = await ask(served.agent, question(DEAR, request_id="a1"))
    async with refused() as said:
        await decide(served.agent, asked, grant=True)
    assert (said[0].code, said[0].reason) == ("PERMISSION_DENIED", "ROLE_NOT_ALLOWED")


async def test_a_stranger_cannot_decide_for_us(served: Served) -> None:
    asked = await ask(served.agent, question(DEAR, request_id="a1"))
    async with refused() as said:
        await decide(served.stranger, asked, grant=True)
    assert said[0].reason == "APPROVAL_NOT_OPEN"


async def test_what_an_agent_changes_always_waits_for_a_person(served: Served) -> None:
    agent, metadata = served.agent, served.agent.metadata
    put = ledger_pb2.PutCapRequest(
        request_id="c1", period=ledger_pb2.CAP_PERIOD_DAY, limit=value_pb2.Money(nanos=10**12)
    )
    async with refused() as said:
        await agent.ledger.PutCap(put, metadata=metadata)
    assert said[0].reason == "APPROVAL_REQUIRED"
    await decide(served.person, said[0], grant=True)
    assert (await agent.ledger.PutCap(put, metadata=metadata)).cap.limit.nanos == 10**12
    for call in (
        agent.ledger.DeleteCap(ledger_pb2.DeleteCapRequest(cap_id="day"), metadata=metadata),
        agent.model.ClearCache(model_pb2.ClearCacheRequest(), metadata=metadata),
        agent.model.DeleteEndpoint(model_pb2.DeleteEndpointRequest(name="mine"), metadata=metadata),
    ):
        async with refused() as said:
            await call
        assert said[0].reason == "APPROVAL_REQUIRED"


async def test_an_agent_ends_what_an_agent_began_and_asks_before_it_ends_what_a_person_began(served: Served) -> None:
    agent = served.agent
    for begun_by in (agent, served.person):
        begun = await begun_by.start(fanout_pb2.StartFanoutRequest(spec=question(HELD).spec))
        cancel = fanout_pb2.CancelFanoutRequest(run_id=begun.fanout.run_id)
        if begun_by is agent:
            ended = await agent.fanout.CancelFanout(cancel, metadata=agent.metadata)
        else:
            async with refused() as said:
                await agent.fanout.CancelFanout(cancel, metadata=agent.metadata)
            assert said[0].reason == "APPROVAL_REQUIRED"
            await decide(served.person, said[0], grant=True)
            ended = await agent.fanout.CancelFanout(cancel, metadata=agent.metadata)
        assert ended.fanout.state == event_pb2.RUN_STATE_CANCELLED


async def test_a_key_is_not_shown_in_an_approval_but_belongs_to_its_digest(served: Served) -> None:
    agent = served.agent
    digests = set()
    for key in ("sk-one", "sk-two"):
        put = model_pb2.PutEndpointRequest(name="mine", base_url="https://example.org/v1", api_key=key)
        async with refused() as said:
            await agent.model.PutEndpoint(put, metadata=agent.metadata)
        digests.add(said[0].metadata["digest"])
    assert len(digests) == 2
    listed = await agent.approval.ListApprovals(approval_pb2.ListApprovalsRequest(), metadata=agent.metadata)
    assert len(listed.approvals) == 2
    assert "sk-" not in str(listed)
    assert all("example.org" in approval.arguments_json for approval in listed.approvals)


@pytest.mark.parametrize(("model", "needed"), [("sim/fast", False), (DEAR, True)])
async def test_a_plan_says_beforehand_whether_an_agent_would_have_to_ask(
    served: Served,
    model: str,
    needed: bool,  # noqa: FBT001 -- a parameter of the table above
) -> None:
    plan = await served.agent.fanout.PlanFanout(
        fanout_pb2.PlanFanoutRequest(spec=question(model).spec), metadata=served.agent.metadata
    )
    assert plan.needs_approval is needed


async def test_a_model_whose_price_nobody_knows_counts_as_dear(served: Served) -> None:
    put = model_pb2.PutEndpointRequest(name="far", base_url="https://far.example/v1")
    await served.person.model.PutEndpoint(put, metadata=served.person.metadata)
    asked = await ask(served.agent, question("far/nobody-knows-me"))
    assert asked.reason == "APPROVAL_REQUIRED"
    assert await plan_of(served, "far/nobody-knows-me") == (["far/nobody-knows-me"], True)


async def test_a_model_without_a_price_on_this_machine_sends_no_bill(served: Served) -> None:
    put = model_pb2.PutEndpointRequest(name="near", base_url="http://127.0.0.1:9/v1")
    await served.person.model.PutEndpoint(put, metadata=served.person.metadata)
    assert await plan_of(served, "near/nobody-knows-me") == (["near/nobody-knows-me"], False)


async def plan_of(served: Served, model: str) -> tuple[list[str], bool]:
    request = fanout_pb2.PlanFanoutRequest(spec=question(model).spec)
    plan = await served.agent.fanout.PlanFanout(request, metadata=served.agent.metadata)
    return list(plan.unpriced_models), plan.needs_approval

import json
from datetime import timedelta
from pathlib import Path
from time import time_ns

import pytest
from tests.agent.house import House
from tests.agent.listening import listening
from tests.agent.real import approvals, real_server, talking
from tests.agent.sse import calls, provider, text
from tests.agent.test_chat import settings
from tests.agent.test_crashes import asks

from whet.v1 import approval_pb2, ledger_pb2
from whet_agent.client import CallError
from whet_agent.events import ApprovalAsked, ApprovalDecided, Notice, RunHeard, ToolAnswered
from whet_agent.model.base import Thought
from whet_agent.session import AgentSession
from whet_server.approval.approvals import LIFETIME

CAP = ("put_cap", {"period": "day", "limit": "$5"})
OTHER = ("put_cap", {"period": "month", "limit": "$50"})


async def test_a_granted_call_is_made_once_with_the_same_request_id(house: House, tmp_path: Path) -> None:
    async with provider(calls(CAP), text("done")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("cap it")
            asked = await heard.wait(ApprovalAsked)
            assert (asked.tool, asked.effect, asked.key) == ("put_cap", "changes", f"{session.session_id}/{turn}/1.1")
            assert asked.digest == house.approvals[asked.approval_id].digest
            await session.decide(asked.approval_id, grant=True)
            assert (await heard.turn_ended(turn)).state == "done"
        await session.close()
    assert house.caps == {asked.key: 5_000_000_000}
    assert ("DecideApproval", "person") in house.calls
    assert ("DecideApproval", "agent") not in house.calls
    assert heard.all(ToolAnswered)[0].ok


async def test_a_rejected_call_is_not_made_and_the_mind_hears_why(house: House, tmp_path: Path) -> None:
    async with provider(calls(CAP), text("a pity")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("cap it")
            asked = await heard.wait(ApprovalAsked)
            await session.decide(asked.approval_id, grant=False, reason="five is too much")
            assert (await heard.turn_ended(turn)).state == "done"
        await session.close()
    assert house.caps == {}
    assert "rejected by the person: five is too much" in mind.requests[1]["messages"][-1]["content"]
    assert [(d.granted, d.reason) for d in heard.all(ApprovalDecided)] == [(False, "five is too much")]


async def test_two_open_approvals_are_decided_each_on_its_own(house: House, tmp_path: Path) -> None:
    async with provider(calls(CAP, OTHER), text("done")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("cap both")
            await heard.wait(ApprovalAsked, count=2)
            first, second = sorted(heard.all(ApprovalAsked), key=lambda asked: asked.key)
            await session.decide(second.approval_id, grant=False, reason="no")
            await session.decide(first.approval_id, grant=True)
            assert (await heard.turn_ended(turn)).state == "done"
        await session.close()
    assert house.caps == {first.key: 5_000_000_000}
    answered = sorted(heard.all(ToolAnswered), key=lambda answer: answer.key)
    assert [answer.ok for answer in answered] == [True, False]


async def test_an_approval_is_asked_while_other_calls_still_run(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with provider(calls(("fanout", {"spec": {"prompt": "slow"}}), CAP), text("done")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("both")
            run = await house.started.get()
            asked = await heard.wait(ApprovalAsked)
            await session.decide(asked.approval_id, grant=True)
            assert not heard.all(ToolAnswered)
            run.finish()
            assert (await heard.turn_ended(turn)).state == "done"
        await session.close()
    assert house.caps == {asked.key: 5_000_000_000}
    assert house.count("RunFanout") == 1


async def test_an_expensive_fanout_waits_for_a_person_and_streams_afterwards(house: House, tmp_path: Path) -> None:
    house.gate = True
    async with provider(calls(("fanout", {"spec": {"prompt": "dear"}})), text("done")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("ask")
            asked = await heard.wait(ApprovalAsked)
            assert house.runs == {}
            await session.decide(asked.approval_id, grant=True)
            assert (await heard.turn_ended(turn)).state == "done"
        await session.close()
    assert [event.event.sequence for event in heard.all(RunHeard)] == [1, 2, 3, 4, 5]


async def test_a_decision_made_elsewhere_is_heard_here(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet_agent.decisions.LOOK_SECONDS", 0.02)
    async with provider(calls(CAP), text("done")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("cap it")
            asked = await heard.wait(ApprovalAsked)
            house.approvals[asked.approval_id].state = approval_pb2.APPROVAL_STATE_GRANTED
            assert (await heard.turn_ended(turn)).state == "done"
        await session.close()
    assert house.caps == {asked.key: 5_000_000_000}
    assert [decided.granted for decided in heard.all(ApprovalDecided)] == [True]


async def test_a_decision_made_while_the_session_was_closed_is_heard_when_it_opens(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet_agent.decisions.LOOK_SECONDS", 3_600.0)
    async with provider(calls(CAP), text("done")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("cap it")
            asked = await heard.wait(ApprovalAsked)
        await session.close()
        house.approvals[asked.approval_id].state = approval_pb2.APPROVAL_STATE_GRANTED
        session = await AgentSession.open(house.connection, settings(tmp_path, mind), session_id=session.session_id)
        async with listening(session) as heard:
            assert (await heard.turn_ended(turn)).state == "done"
        await session.close()
    assert [(decided.granted, decided.by) for decided in heard.all(ApprovalDecided)] == [(True, "elsewhere")]


async def test_an_expired_approval_is_asked_anew(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet_agent.decisions.LOOK_SECONDS", 0.02)
    async with provider(calls(CAP), text("done")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("cap it")
            first = await heard.wait(ApprovalAsked)
            expired = house.approvals[first.approval_id]
            expired.digest, expired.state = "gone", approval_pb2.APPROVAL_STATE_EXPIRED
            second = await heard.wait(ApprovalAsked, lambda asked: asked.approval_id != first.approval_id)
            await session.decide(second.approval_id, grant=True)
            assert (await heard.turn_ended(turn)).state == "done"
        await session.close()
    assert list(house.caps.values()) == [5_000_000_000]
    told = [(decided.approval_id, decided.granted, decided.reason) for decided in heard.all(ApprovalDecided)]
    assert told == [(first.approval_id, False, "expired"), (second.approval_id, True, "")]


async def test_what_was_not_asked_here_cannot_be_decided_here(house: House, tmp_path: Path) -> None:
    async with provider(calls(CAP), text("done")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            await session.send("cap it")
            asked = await heard.wait(ApprovalAsked)
            with pytest.raises(LookupError, match="apr_99"):
                await session.decide("apr_99", grant=True)
            house.approvals[asked.approval_id].digest = "another"
            with pytest.raises(CallError, match="a person must decide"):
                await session.decide(asked.approval_id, grant=True)
            assert not heard.all(ApprovalDecided)
        await session.close()


async def test_a_yes_that_comes_too_late_is_refused_and_the_call_asks_anew(tmp_path: Path) -> None:
    now = time_ns()
    async with (
        real_server(tmp_path, clock=lambda: now) as served,
        talking(served, tmp_path, asks(f"{CAP[0]} {json.dumps(CAP[1])}"), Thought(text="done")) as session,
        listening(session) as heard,
    ):
        turn = await session.send("cap it")
        first = await heard.wait(ApprovalAsked)
        now += LIFETIME // timedelta(microseconds=1) * 1000
        with pytest.raises(CallError, match="expired"):
            await session.decide(first.approval_id, grant=True)
        second = await heard.wait(ApprovalAsked, count=2)
        assert (second.key, second.digest) == (first.key, first.digest)
        await session.decide(second.approval_id, grant=True)
        assert (await heard.turn_ended(turn)).state == "done"
        states = [approval.state for approval in await approvals(served.person)]
        assert states == [approval_pb2.APPROVAL_STATE_USED, approval_pb2.APPROVAL_STATE_EXPIRED]


async def test_a_changed_call_is_held_to_its_new_digest_by_the_real_server(tmp_path: Path) -> None:
    three = json.dumps({"period": "CAP_PERIOD_DAY", "limit": {"nanos": "3000000000"}})
    async with (
        real_server(tmp_path) as served,
        talking(served, tmp_path, asks(f"{CAP[0]} {json.dumps(CAP[1])}"), Thought(text="done")) as session,
        listening(session) as heard,
    ):
        turn = await session.send("cap it")
        first = await heard.wait(ApprovalAsked)
        await session.decide(first.approval_id, grant=False, arguments_json=three)
        second = await heard.wait(ApprovalAsked, count=2)
        assert (second.key, second.arguments_json) == (
            first.key,
            first.arguments_json.replace("5000000000", "3000000000"),
        )
        with pytest.raises(CallError):
            await session.decide(first.approval_id, grant=True)
        await session.decide(second.approval_id, grant=True)
        assert (await heard.turn_ended(turn)).state == "done"
        person = served.person
        caps = (await person.ledger.ListCaps(ledger_pb2.ListCapsRequest(), metadata=person.metadata)).caps
        assert [cap.limit.nanos for cap in caps] == [3_000_000_000]
        assert [(a.state, a.reason) for a in await approvals(person)] == [
            (approval_pb2.APPROVAL_STATE_USED, ""),
            (approval_pb2.APPROVAL_STATE_REJECTED, "changed by the person"),
        ]


async def test_a_cancel_withdraws_every_question_though_one_was_decided_elsewhere(tmp_path: Path) -> None:
    questions = [f"{tool} {json.dumps(arguments)}" for tool, arguments in (CAP, OTHER)]
    async with (
        real_server(tmp_path) as served,
        talking(served, tmp_path, asks(*questions)) as session,
        listening(session) as heard,
    ):
        turn = await session.send("cap both")
        await heard.wait(ApprovalAsked, count=2)
        first, second = sorted(heard.all(ApprovalAsked), key=lambda asked: asked.key)
        grant = approval_pb2.DecideApprovalRequest(
            approval_id=first.approval_id, decision=approval_pb2.DECISION_GRANT, digest=first.digest
        )
        await served.person.approval.DecideApproval(grant, metadata=served.person.metadata)
        await session.cancel()
        assert (await heard.turn_ended(turn)).state == "cancelled"
        states = {approval.approval_id: approval.state for approval in await approvals(served.person)}
        assert states[second.approval_id] == approval_pb2.APPROVAL_STATE_REJECTED
        assert states[first.approval_id] == approval_pb2.APPROVAL_STATE_GRANTED
        assert {(d.approval_id, d.by) for d in heard.all(ApprovalDecided)} == {
            (first.approval_id, "elsewhere"),
            (second.approval_id, "person"),
        }
        assert heard.all(Notice) == []

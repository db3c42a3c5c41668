from pathlib import Path

import pytest
from tests.agent.house import House
from tests.agent.listening import listening
from tests.agent.sse import calls, provider, text
from tests.agent.test_chat import settings

from whet.v1 import approval_pb2
from whet_agent.client import CallError
from whet_agent.events import ApprovalAsked, ApprovalDecided, RunHeard, ToolAnswered
from whet_agent.session import AgentSession

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

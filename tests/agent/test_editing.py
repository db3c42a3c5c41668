import asyncio
import json
from contextlib import suppress
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToJson
from tests.agent.house import House
from tests.agent.listening import DEADLINE, Listener, listening
from tests.agent.sse import calls, provider, text
from tests.agent.test_cancel import fits
from tests.agent.test_chat import settings
from tests.agent.test_crashes import CAP, QUESTION, asks, child, kept, opened
from tests.agent.test_steering import add

from whet.v1 import approval_pb2
from whet_agent.catalogue import request_from, tools
from whet_agent.conversation import Entry, calls_of, from_mind
from whet_agent.editing import CHANGED, HIDDEN, amended
from whet_agent.events import ApprovalAsked, ApprovalDecided, Steered, ToolAnswered, ToolAsked
from whet_agent.model.base import Moment, Thought
from whet_agent.model.roles import alternating
from whet_agent.session import AgentSession

FIVE = ("put_cap", {"period": "day", "limit": "$5"})
MONTH = ("put_cap", {"period": "month", "limit": "$50"})
THREE = json.dumps({"period": "CAP_PERIOD_DAY", "limit": {"nanos": "3000000000"}})
"""As the card shows arguments, with another amount."""

REJECTED, GRANTED, USED = (
    approval_pb2.APPROVAL_STATE_REJECTED,
    approval_pb2.APPROVAL_STATE_GRANTED,
    approval_pb2.APPROVAL_STATE_USED,
)


async def asked_anew(heard: Listener, first: ApprovalAsked) -> ApprovalAsked:
    return await heard.wait(
        ApprovalAsked, lambda asked: asked.key == first.key and asked.approval_id != first.approval_id
    )


async def test_a_changed_call_asks_anew_and_is_made_as_the_person_changed_it(house: House, tmp_path: Path) -> None:
    async with provider(calls(FIVE), text("done")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("cap it")
            first = await heard.wait(ApprovalAsked)
            await session.decide(first.approval_id, grant=False, arguments_json=THREE)
            second = await asked_anew(heard, first)
            assert house.caps == {}
            assert second.digest != first.digest
            assert json.loads(second.arguments_json)["limit"] == {"nanos": "3000000000"}
            await session.decide(second.approval_id, grant=True)
            assert (await heard.turn_ended(turn)).state == "done"
        await session.close()
    assert house.caps == {first.key: 3_000_000_000}
    assert [(a.state, a.reason) for a in house.approvals.values()] == [(REJECTED, CHANGED), (USED, "")]
    assert [(d.granted, json.loads(d.arguments_json or "0")) for d in heard.all(ApprovalDecided)] == [
        (False, json.loads(THREE)),
        (True, 0),
    ]
    assert [asked.key for asked in heard.all(ToolAsked)] == [first.key, first.key]
    said, told = mind.requests[1]["messages"][-2:]
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == json.loads(THREE)
    assert "The person changed the arguments" in told["content"]
    assert fits(mind.requests[1]["messages"])


@pytest.mark.parametrize(
    ("edited", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ('{"period": "day", "limit": "$5", "for": "me"}', "there is no such field"),
        ('{"period": "day", "limit": 5}', "give dollars as text"),
        ('{"limit": "$5.00", "period": "DAY"}', "the arguments as they are"),
    ],
)
async def test_a_change_that_does_not_fit_leaves_the_question_open(
    house: House, tmp_path: Path, edited: str, complaint: str
) -> None:
    async with opened(house, tmp_path, asks(CAP), Thought(text="done")) as session, listening(session) as heard:
        turn = await session.send("cap it")
        asked = await heard.wait(ApprovalAsked)
        with pytest.raises(ValueError, match=complaint):
            await session.decide(asked.approval_id, grant=True, arguments_json=edited)
        assert not heard.all(ApprovalDecided)
        await session.decide(asked.approval_id, grant=True)
        assert (await heard.turn_ended(turn)).state == "done"
    assert house.caps == {asked.key: 5_000_000_000}


async def test_a_call_is_not_changed_back_to_what_was_rejected(house: House, tmp_path: Path) -> None:
    async with opened(house, tmp_path, asks(CAP), Thought(text="done")) as session, listening(session) as heard:
        turn = await session.send("cap it")
        first = await heard.wait(ApprovalAsked)
        await session.decide(first.approval_id, grant=False, arguments_json=THREE)
        second = await asked_anew(heard, first)
        with pytest.raises(ValueError, match="asked with these arguments before"):
            await session.decide(second.approval_id, grant=False, arguments_json=first.arguments_json)
        with pytest.raises(LookupError, match="not open any more"):
            await session.decide(first.approval_id, grant=False, arguments_json='{"period": "month", "limit": "$1"}')
        await session.decide(second.approval_id, grant=False, reason="never mind")
        assert (await heard.turn_ended(turn)).state == "done"
    assert house.caps == {}


async def test_several_open_calls_are_decided_and_changed_in_any_order(house: House, tmp_path: Path) -> None:
    house.hold = True
    fan = ("fanout", {"spec": {"prompt": "slow"}})
    year = ("delete_cap", {"cap_id": "day"})
    async with provider(calls(FIVE, fan, MONTH, ("get_cache", {}), year), text("done")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("all of it")
            run = await asyncio.wait_for(house.started.get(), DEADLINE)
            await heard.wait(ApprovalAsked, count=2)
            first, second = sorted(heard.all(ApprovalAsked), key=lambda asked: asked.key)
            await session.decide(second.approval_id, grant=True)
            await session.decide(first.approval_id, grant=False, arguments_json=THREE)
            run.finish()  # the changes wait for what runs beside them
            third = await asked_anew(heard, first)
            assert len(house.runs) == 1
            await session.decide(third.approval_id, grant=True)
            assert (await heard.turn_ended(turn)).state == "done"
        await session.close()
    assert house.caps == {first.key: 3_000_000_000, second.key: 50_000_000_000}
    assert (house.count("RunFanout"), house.count("GetCache")) == (1, 1)
    assert len(heard.all(ToolAnswered)) == 5
    assert fits(mind.requests[1]["messages"])


@pytest.mark.parametrize("rejected", [False, True])
async def test_a_change_survives_a_kill_before_the_conversation_has_it(
    house: House,
    tmp_path: Path,
    rejected: bool,  # noqa: FBT001 -- a parameter of the table above
) -> None:
    house.hold = True
    async with child(house, tmp_path, f"{CAP} && {QUESTION}") as killed:
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        await killed.hears("ApprovalAsked")
        await kept(tmp_path, "__interrupt__")
        await killed.kill()
    (old,) = house.approvals.values()
    if rejected:
        old.state, old.reason = REJECTED, CHANGED
    key = f"{killed.session_id}/1/1.1"
    decided = ApprovalDecided(
        turn=1, key=key, approval_id=old.approval_id, granted=False, reason=CHANGED, arguments_json=THREE
    )
    add(tmp_path, killed.session_id, decided)
    run.finish()
    async with (
        opened(house, tmp_path, Thought(text="done"), session_id=killed.session_id) as session,
        listening(session) as heard,
    ):
        asked = await heard.wait(ApprovalAsked, lambda asked: asked.approval_id != old.approval_id)
        assert (old.state, old.reason) == (REJECTED, CHANGED)
        await session.decide(asked.approval_id, grant=True)
        assert (await heard.turn_ended(1)).state == "done"
    assert house.caps == {key: 3_000_000_000}
    assert len(house.runs) == 1


async def test_a_changed_call_that_was_open_at_the_end_is_open_again(house: House, tmp_path: Path) -> None:
    async with opened(house, tmp_path, asks(CAP)) as session, listening(session) as heard:
        await session.send("cap it")
        first = await heard.wait(ApprovalAsked)
        await session.decide(first.approval_id, grant=False, arguments_json=THREE)
        second = await asked_anew(heard, first)
        session_id = session.session_id
    async with opened(house, tmp_path, Thought(text="done"), session_id=session_id) as again, listening(again) as told:
        await told.wait(ApprovalAsked, count=2)
        await again.decide(second.approval_id, grant=True)
        assert (await told.turn_ended(1)).state == "done"
        assert len(told.all(ApprovalAsked)) == 2
    assert house.caps == {first.key: 3_000_000_000}


async def test_a_question_does_not_outlive_its_turn(house: House, tmp_path: Path) -> None:
    async with opened(house, tmp_path, asks(CAP, CAP), Thought(text="done")) as session, listening(session) as heard:
        turn = await session.send("cap it twice")
        asked = await heard.wait(ApprovalAsked)
        await session.decide(asked.approval_id, grant=False)
        assert (await heard.turn_ended(turn)).state == "done"
    assert {a.state for a in house.approvals.values()} == {REJECTED}


def test_a_key_that_was_not_shown_stays_what_it_was_given() -> None:
    requests = asks('put_endpoint {"name": "mine", "base_url": "https://a.example/v1", "api_key": "sk-1"}').calls
    entry = from_mind(1, 1, "", requests, author="m")
    edited = json.dumps({"name": "mine", "base_url": "https://b.example/v1", "api_key": HIDDEN})
    changed = amended([entry], {"1/1.1": edited})
    assert changed is not None
    (call,) = calls_of(changed)
    assert json.loads(call.arguments) == {"name": "mine", "base_url": "https://b.example/v1", "api_key": "sk-1"}
    assert call.changed
    assert amended([changed], {"1/1.1": edited}) is None


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("put_cap", {"period": "day", "limit": "$5"}),
        (
            "fanout",
            {
                "spec": {
                    "prompt": "x",
                    "branches": [{"model": "a/b", "samples": 3, "parameters": {"temperature": 0.5, "seed": 2**40}}],
                    "limits": {"total": "90s"},
                    "finish": {"deadline": 1.5},
                    "cap": "$0.5",
                    "synthesis": {"mode": "draft"},
                }
            },
        ),
    ],
)
def test_arguments_are_read_as_an_approval_shows_them(tool: str, arguments: dict[str, object]) -> None:
    request = request_from(tools()[tool].method, arguments)
    shown = MessageToJson(request, preserving_proto_field_name=True, ensure_ascii=False)
    assert request_from(tools()[tool].method, json.loads(shown)) == request


POINTS = [pytest.param(n, marks=[] if n in {5, 8} else pytest.mark.slow) for n in range(1, 14)]


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_anywhere_between_a_change_and_its_end_changes_nothing_of_it(
    house: House, tmp_path: Path, point: int
) -> None:
    async with child(house, tmp_path, f"{CAP} && get_cache {{}}", THREE, "and quickly") as killed:
        for _ in range(point):
            if await killed.line() == "TurnEnded":
                break
        await killed.kill()
    spoken: list[list[Entry]] = []

    def speak(moment: Moment) -> Thought:
        spoken.append(list(moment.entries))
        if any(entry["m"]["role"] == "assistant" for entry in moment.entries):
            return Thought(text="done")
        return asks(CAP, "get_cache {}")

    steered = False
    async with (
        opened(house, tmp_path, *[speak] * 5, session_id=killed.session_id) as session,
        listening(session) as heard,
    ):
        deciding = asyncio.create_task(be_the_person(session, heard))
        await heard.turn_ended(1)
        steered = bool(heard.all(Steered))
        assert (await heard.turn_ended(await session.send("next"))).state == "done"
        deciding.cancel()
        await asyncio.wait({deciding})
        assert len(heard.all(ToolAnswered)) == 2
    assert house.caps == {f"{killed.session_id}/1/1.1": 3_000_000_000}
    assert {a.state for a in house.approvals.values()} == {REJECTED, USED}
    messages = alternating([entry["m"] for entry in spoken[-1]])
    assert fits(messages)
    assert json.dumps(messages).count("and quickly") == steered


async def be_the_person(session: AgentSession, heard: Listener) -> None:
    """Do what the person of the child does, for what is still open."""
    seen = 0
    while True:
        seen += 1
        asked = await heard.wait(ApprovalAsked, count=seen)
        decided = {decided.approval_id for decided in heard.all(ApprovalDecided)}
        if asked.approval_id not in decided:
            change = THREE if "5000000000" in asked.arguments_json else ""
            with suppress(LookupError):  # the journal's end was lost, and the server has heard it
                await session.decide(asked.approval_id, grant=True, arguments_json=change)

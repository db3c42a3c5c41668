import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.house import House
from tests.agent.listening import DEADLINE, listening
from tests.agent.sse import Reply, calls, provider, text
from tests.agent.test_chat import settings

from whet.v1 import approval_pb2, event_pb2, value_pb2
from whet_agent.conversation import (
    CANCELLED,
    Entry,
    ToolRequest,
    calls_of,
    from_mind,
    from_tool,
    from_user,
    upsert,
)
from whet_agent.events import (
    ApprovalAsked,
    ApprovalDecided,
    MindSaid,
    RunHeard,
    ToolAnswered,
    ToolAsked,
    TurnEnded,
    UserSaid,
)
from whet_agent.heal import heal
from whet_agent.session import AgentSession


def fits(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the strictest server takes it: every call answered once, right after it; roles alternate."""
    waiting: list[str] = []
    before = "system"
    for message in messages:
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in waiting:
                return False
            waiting.remove(message["tool_call_id"])
        elif waiting or (role == "user" and before in {"user", "tool"}):
            return False
        waiting += [call["id"] for call in message.get("tool_calls", ())]
        before = role
    return not waiting


FAN = ("fanout", {"spec": {"prompt": "one"}})


async def test_a_cancel_in_the_middle_of_calls_ends_them_at_the_server_and_the_next_message_fits(
    house: House, tmp_path: Path
) -> None:
    house.hold = True
    asked = calls(FAN, ("fanout", {"spec": {"prompt": "two"}}), ("get_cache", {}))
    async with provider(asked, text("fine")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("go")
            await house.started.get()
            await house.started.get()
            await heard.wait(ToolAnswered, lambda answered: answered.tool == "get_cache")
            await heard.wait(RunHeard, count=2)
            assert await session.cancel()
            assert (await heard.turn_ended(turn)).state == "cancelled"
            assert (await heard.turn_ended(await session.send("and now?"))).state == "done"
        await session.close()
    assert all(run.finished for run in house.runs.values())
    assert [role for method, role in house.calls if method == "CancelFanout"] == ["person", "person"]
    assert fits(mind.requests[1]["messages"])
    told = {m["tool_call_id"]: m["content"] for m in mind.requests[1]["messages"] if m["role"] == "tool"}
    assert {call for call, words in told.items() if CANCELLED in words} == {"call_0", "call_1"}
    ends = [that.event.run_finished for that in heard.all(RunHeard) if that.event.HasField("run_finished")]
    assert [end.state for end in ends] == [event_pb2.RUN_STATE_CANCELLED] * 2
    assert {answered.run_id for answered in heard.all(ToolAnswered)} == {"fan_01", "fan_02", ""}


async def test_a_cancel_before_the_run_has_a_name_waits_for_the_name(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.hold = True
    answering, reached = asyncio.Event(), asyncio.Event()
    whole = house.on_run_fanout

    async def slowly(request: Any, role: str, context: Any) -> Any:
        reached.set()
        await answering.wait()
        async for response in whole(request, role, context):
            yield response

    monkeypatch.setattr(house, "on_run_fanout", slowly)
    async with provider(calls(FAN)) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("go")
            await asyncio.wait_for(reached.wait(), DEADLINE)
            cancelling = asyncio.create_task(session.cancel())
            await asyncio.sleep(0)
            answering.set()
            assert await cancelling
            assert (await heard.turn_ended(turn)).state == "cancelled"
        await session.close()
    assert [run.finished for run in house.runs.values()] == [True]


async def test_a_cancel_while_the_mind_speaks_settles_its_money_as_unknown(house: House, tmp_path: Path) -> None:
    async with provider(Reply(deltas=[{"content": "well"}], hang=True), text("fine")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("go")
            await heard.wait(MindSaid)
            assert await session.cancel()
            assert (await heard.turn_ended(turn)).state == "cancelled"
            assert (await heard.turn_ended(await session.send("again"))).state == "done"
        await session.close()
    assert [r.billing for r in house.reservations.values()] == [value_pb2.BILLING_UNKNOWN, value_pb2.BILLING_SETTLED]
    assert fits(mind.requests[1]["messages"])


async def test_a_cancel_with_an_open_approval_withdraws_it(house: House, tmp_path: Path) -> None:
    async with provider(calls(("put_cap", {"period": "day", "limit": "$5"})), text("fine")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("cap it")
            await heard.wait(ApprovalAsked)
            assert await session.cancel()
            assert (await heard.turn_ended(turn)).state == "cancelled"
            assert (await heard.turn_ended(await session.send("again"))).state == "done"
        await session.close()
    assert [a.state for a in house.approvals.values()] == [approval_pb2.APPROVAL_STATE_REJECTED]
    assert [decided.granted for decided in heard.all(ApprovalDecided)] == [False]
    assert house.caps == {}
    assert fits(mind.requests[1]["messages"])


async def test_there_is_nothing_to_cancel_between_turns(house: House, tmp_path: Path) -> None:
    async with provider(text("hi")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            assert not await session.cancel()
            await heard.turn_ended(await session.send("hello"))
            assert not await session.cancel()
        await session.close()


@pytest.mark.parametrize("point", range(1, 13))
async def test_a_cancel_at_any_point_leaves_a_conversation_that_fits(house: House, tmp_path: Path, point: int) -> None:
    asked = calls(FAN, ("get_cache", {}), ("list_models", {}))
    async with provider(asked, calls(FAN), text("end"), text("next"), text("spare")) as mind:
        session = await AgentSession.open(house.connection, settings(tmp_path, mind))
        async with listening(session) as heard:
            turn = await session.send("go")
            telling = session.events()
            count = 0
            async for envelope in telling:
                count += not isinstance(envelope.happening, UserSaid)
                if count == point or isinstance(envelope.happening, TurnEnded):
                    break
            await session.cancel()
            ended = await heard.turn_ended(turn)
            assert ended.state in {"cancelled", "done"}
            assert (await heard.turn_ended(await session.send("next"))).state == "done"
        await session.close()
    assert fits(mind.requests[-1]["messages"])
    assert len(heard.all(ToolAsked)) == len({asked.key for asked in heard.all(ToolAsked)})
    assert {asked.key for asked in heard.all(ToolAsked)} <= {answered.key for answered in heard.all(ToolAnswered)}


requests = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=4, unique=True)
turns = st.lists(st.tuples(requests, st.booleans()), min_size=1, max_size=4)


@given(turns=turns, last=requests, answered=st.sets(st.integers(0, 3)), kept=st.sets(st.integers(0, 3)))
def test_healing_any_cut_makes_the_conversation_fit(
    turns: list[tuple[list[str], bool]], last: list[str], answered: set[int], kept: set[int]
) -> None:
    entries: list[Entry] = []
    for number, (ids, _) in enumerate(turns, start=1):
        entries += whole_turn(number, ids)
    number = len(turns) + 1
    entries.append(from_user(number, "cut"))
    finished: dict[str, Entry] = {}
    if last:
        spoken = from_mind(number, 1, "", requests_of(last), author="m")
        entries.append(spoken)
        for place, call in enumerate(calls_of(spoken)):
            if place in answered:
                entries.append(from_tool(call, "kept", ok=True))
            elif place in kept:
                finished[call.k] = from_tool(call, "in", ok=True)
    healed = upsert(entries, [heal(entries, number, finished=finished, because="cut off")])
    following = upsert(healed, [[from_user(number + 1, "next")]])
    assert fits([entry["m"] for entry in following])
    assert heal(healed, number, finished=finished, because="cut off") == []
    assert all(entry in healed for entry in [*entries, *finished.values()])


def requests_of(ids: list[str]) -> list[ToolRequest]:
    return [ToolRequest(call_id=call_id, name="get_cache", arguments="{}") for call_id in ids]


def whole_turn(number: int, ids: list[str]) -> list[Entry]:
    if not ids:
        return [from_user(number, "hi"), from_mind(number, 1, "ho", author="m")]
    spoken = from_mind(number, 1, "", requests_of(ids), author="m")
    answers = [from_tool(call, "ok", ok=True) for call in calls_of(spoken)]
    return [from_user(number, "hi"), spoken, *answers, from_mind(number, 2, "ho", author="m")]


@given(
    writes=st.lists(st.lists(st.tuples(st.integers(1, 5), st.text(max_size=3)), max_size=4), max_size=5),
    cut=st.integers(0, 5),
)
def test_writing_at_once_or_one_after_the_other_is_the_same(writes: list[list[tuple[int, str]]], cut: int) -> None:
    entries = [[from_user(number, words) for number, words in write] for write in writes]
    assert upsert(upsert(None, entries[:cut]), entries[cut:]) == upsert(None, entries)

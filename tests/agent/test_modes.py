import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.house import House
from tests.agent.listening import DEADLINE, listening
from tests.agent.real import CENT, COSTLY, approvals, connection_to, counted, real_server, talking
from tests.agent.sse import Reply, calls, provider, text
from tests.agent.test_chat import settings
from tests.agent.test_crashes import CAP, QUESTION, asks, opened

from whet.v1 import approval_pb2, event_pb2, fanout_pb2, model_pb2
from whet_agent.account import Account
from whet_agent.catalogue import tools
from whet_agent.client import Client
from whet_agent.conversation import Entry, OpenCall, from_mind
from whet_agent.events import ApprovalAsked, ApprovalDecided, ModeChanged, RunHeard, Spent, ToolAnswered
from whet_agent.fanouts import FanoutFold
from whet_agent.model.base import Moment, Thought
from whet_agent.purse import Purse
from whet_agent.session import AgentSession, MindSettings, SessionSettings, list_sessions
from whet_agent.sums import RunSums


def dear(*models: str, tool: str = "fanout", **spec: object) -> str:
    """A fan-out with one branch, or so many, at a price."""
    given = {"prompt": "What is a monad?", "models": models or [COSTLY], "synthesis": {"mode": "none"}, **spec}
    return f"{tool} {json.dumps({'spec': given})}"


LOW = {"approval_threshold": CENT}
"""A server at which a fan-out of 2.6 cents must be asked for."""


async def test_the_allowance_grants_what_fits_in_the_persons_name_and_nothing_else(tmp_path: Path) -> None:
    async with (
        real_server(tmp_path, **LOW) as served,
        talking(served, tmp_path, asks(dear(), CAP), Thought(text="done")) as session,
        listening(session) as heard,
    ):
        await session.set_mode("allowance", 10 * CENT)
        turn = await session.send("go")
        asked = await heard.wait(ApprovalAsked, lambda asked: asked.tool == "put_cap")
        decided = await heard.wait(ApprovalDecided)
        assert (decided.by, decided.granted) == ("allowance", True)
        await session.decide(asked.approval_id, grant=False, reason="no caps")
        assert (await heard.turn_ended(turn)).state == "done"
        assert sorted((d.by, d.granted) for d in heard.all(ApprovalDecided)) == [("allowance", True), ("person", False)]
        states = {a.method.rpartition("/")[2]: a.state for a in await approvals(served.person)}
        assert states == {
            "RunFanout": approval_pb2.APPROVAL_STATE_USED,
            "PutCap": approval_pb2.APPROVAL_STATE_REJECTED,
        }
        assert 0 < heard.all(Spent)[-1].settled < CENT


async def test_what_does_not_fit_or_has_no_price_is_asked(tmp_path: Path) -> None:
    async with real_server(tmp_path, **LOW) as served:
        put = model_pb2.PutEndpointRequest(name="far", base_url="https://far.example/v1")
        await served.person.model.PutEndpoint(put, metadata=served.person.metadata)
        lines = (asks(dear()), asks(dear("far/nobody-knows-me")), Thought(text="done"))
        async with talking(served, tmp_path, *lines) as session, listening(session) as heard:
            await session.set_mode("allowance", 2 * CENT)
            turn = await session.send("go")
            first = await heard.wait(ApprovalAsked)
            assert first.worst_cost_nanos > 2 * CENT
            await session.decide(first.approval_id, grant=True)
            second = await heard.wait(ApprovalAsked, count=2)
            await session.decide(second.approval_id, grant=True)
            assert (await heard.turn_ended(turn)).state == "done"
            assert {decided.by for decided in heard.all(ApprovalDecided)} == {"person"}
            assert "would be crossed" in heard.all(ToolAnswered)[0].text
            assert "no known price" in heard.all(ToolAnswered)[1].text
        assert await counted(served.person) <= 2 * CENT


@pytest.mark.parametrize("limited_by", ["allowance", "max_cost"])
async def test_parallel_calls_never_exceed_the_limit_together(tmp_path: Path, limited_by: str) -> None:
    limit, highest = 15 * CENT, 0
    steps = [asks(*(dear(COSTLY, COSTLY + "&seed=2", prompt=f"What is {n}.{m}?") for m in range(5))) for n in range(4)]
    async with real_server(tmp_path) as served:

        async def watch() -> None:
            nonlocal highest
            while True:
                highest = max(highest, await counted(served.person))

        watching = asyncio.create_task(watch())
        most = limit if limited_by == "max_cost" else None
        lines = (*steps, Thought(text="done"))
        async with talking(served, tmp_path, *lines, max_cost_nanos=most) as session, listening(session) as heard:
            if limited_by == "allowance":
                await session.set_mode("allowance", limit)
            assert (await heard.turn_ended(await session.send("spend"))).state == "done"
        watching.cancel()
        await asyncio.wait({watching})
        assert 5 * CENT < highest <= limit
        assert await counted(served.person) == heard.all(Spent)[-1].settled


async def test_a_share_is_the_same_after_a_restart_and_so_is_the_question(tmp_path: Path) -> None:
    async with real_server(tmp_path, **LOW) as served:
        step = asks(dear(), dear(prompt="Another?"))
        async with talking(served, tmp_path, step, max_cost_nanos=9 * CENT) as session, listening(session) as heard:
            await session.send("go")
            await heard.wait(ApprovalAsked, count=2)
            session_id = session.session_id
        asked = heard.all(ApprovalAsked)
        assert [json.loads(a.arguments_json)["spec"]["cap"] for a in asked] == [{"nanos": str(45 * CENT // 10)}] * 2
        async with (
            talking(served, tmp_path, Thought(text="done"), session_id=session_id, max_cost_nanos=20 * CENT) as session,
            listening(session) as heard,
        ):
            for question in asked:
                await session.decide(question.approval_id, grant=True)
            assert (await heard.turn_ended(1)).state == "done"
            assert len(heard.all(ApprovalAsked)) == 2
        assert {a.state for a in await approvals(served.person)} == {approval_pb2.APPROVAL_STATE_USED}


async def test_a_run_in_the_background_is_held_until_it_has_ended(tmp_path: Path) -> None:
    shares: dict[str, int] = {}

    def done(moment: Moment) -> Thought:
        for entry in moment.entries:
            shares.update(entry.get("caps", {}))
        return Thought(text="done")

    hanging = dear(f"{COSTLY}&fault=hang", tool="start_fanout")
    lines = (asks(hanging), asks(dear(cap="$0.05")), done, asks(dear(prompt="And then?")), done)
    async with (
        real_server(tmp_path) as served,
        talking(served, tmp_path, *lines, max_cost_nanos=20 * CENT) as session,
        listening(session) as heard,
    ):
        await heard.turn_ended(await session.send("go"))
        assert shares == {"1/1.1": 10 * CENT, "1/2.1": 5 * CENT}
        cancel = fanout_pb2.CancelFanoutRequest(run_id=heard.all(ToolAnswered)[0].run_id)
        await served.person.fanout.CancelFanout(cancel, metadata=served.person.metadata)
        before = await counted(served.person)  # the cancelled call is unknown now, and no more than that is held
        await heard.turn_ended(await session.send("more"))
        assert shares["2/1.1"] == 20 * CENT - before


async def test_a_run_in_the_background_is_held_when_the_conversation_has_gone_back(tmp_path: Path) -> None:
    shares: dict[str, int] = {}

    def done(moment: Moment) -> Thought:
        for entry in moment.entries:
            shares.update(entry.get("caps", {}))
        return Thought(text="done")

    hanging = asks(dear(f"{COSTLY}&fault=hang", tool="start_fanout"))
    next_step = (asks(dear(prompt="And then?")), done)
    limit = 20 * CENT
    async with real_server(tmp_path) as served:
        async with (
            talking(served, tmp_path, hanging, done, max_cost_nanos=limit) as session,
            listening(session) as heard,
        ):
            await heard.turn_ended(await session.send("go"))
            run_id = heard.all(ToolAnswered)[0].run_id
            await session.rewind(1)
        async with (
            talking(served, tmp_path, *next_step, session_id=session.session_id, max_cost_nanos=limit) as session,
            listening(session) as heard,
        ):
            await heard.turn_ended(await session.send("more"))
            assert shares == {"1/1.1": 10 * CENT, "2/1.1": 10 * CENT}
        assert [summary.runs for summary in list_sessions(tmp_path / "agent")] == [(run_id,)]


async def test_a_run_from_before_the_limit_counts_though_nobody_watched_it(tmp_path: Path) -> None:
    shares: list[int] = []

    def done(moment: Moment) -> Thought:
        shares.extend(cap for entry in moment.entries for cap in entry.get("caps", {}).values())
        return Thought(text="done")

    lines = (asks(dear(tool="start_fanout")), Thought(text="begun"), asks(dear(prompt="And then?")), done)
    async with real_server(tmp_path) as served:
        async with talking(served, tmp_path, *lines[:2]) as session, listening(session) as heard:
            await heard.turn_ended(await session.send("go"))
            run = fanout_pb2.WatchFanoutRequest(run_id=heard.all(ToolAnswered)[0].run_id)
            async for _ in served.person.fanout.WatchFanout(run, metadata=served.person.metadata):
                pass  # until its end
        cost = await counted(served.person)
        async with (
            talking(served, tmp_path, *lines[2:], session_id=session.session_id, max_cost_nanos=20 * CENT) as session,
            listening(session) as heard,
        ):
            await heard.turn_ended(await session.send("more"))
    assert (cost > 0, shares) == (True, [20 * CENT - cost])


async def test_a_fork_owes_nothing_for_what_the_first_one_began(tmp_path: Path) -> None:
    shares: list[int] = []

    def done(moment: Moment) -> Thought:
        shares.extend(cap for entry in moment.entries for cap in entry.get("caps", {}).values())
        return Thought(text="done")

    hanging = asks(dear(f"{COSTLY}&fault=hang", tool="start_fanout"))
    limit = 20 * CENT
    async with real_server(tmp_path) as served:
        first = (hanging, Thought(text="done"))
        async with talking(served, tmp_path, *first, max_cost_nanos=limit) as session, listening(session) as heard:
            await heard.turn_ended(await session.send("go"))
            forked = await session.fork()
        second = (asks(dear(prompt="And then?")), done)
        async with (
            talking(served, tmp_path, *second, session_id=forked, max_cost_nanos=limit) as session,
            listening(session) as heard,
        ):
            await heard.turn_ended(await session.send("more"))
    assert shares == [limit]


async def test_a_thought_that_could_cross_the_limit_is_not_made(house: House, tmp_path: Path) -> None:
    async with provider(text("hi")) as mind:
        chat = settings(tmp_path, mind)
        limited = SessionSettings(folder=chat.folder, mind=chat.mind, max_cost_nanos=5_000)
        session = await AgentSession.open(house.connection, limited)
        async with listening(session) as heard:
            ended = await heard.turn_ended(await session.send("hello"))
            assert ended.state == "failed"
            assert "may cost $0.000005 at most" in ended.failure
            assert "--max-cost" in ended.failure
            await session.set_mode("allowance", 4_000)
            ended = await heard.turn_ended(await session.send("hello"))
            assert "allowance of $0.000004 is used up" in ended.failure
        await session.close()
        assert (mind.requests, house.reservations) == ([], {})


async def test_what_a_fanout_holds_the_mind_cannot_spend(house: House, tmp_path: Path) -> None:
    limit = 10_000_000  # the house takes a nano for a token: enough to think
    async with provider(calls(("start_fanout", {"spec": {"prompt": "x"}})), text("hi")) as mind:
        house.hold = True
        chat = settings(tmp_path, mind)
        session = await AgentSession.open(
            house.connection, SessionSettings(folder=chat.folder, mind=chat.mind, max_cost_nanos=limit)
        )
        async with listening(session) as heard:
            assert (await heard.turn_ended(await session.send("go"))).state == "done"
        await session.close()
    first, second = house.limits
    assert first == limit
    assert second == limit - 15 - (limit - 15) // 2


async def test_a_read_only_session_reads_and_does_nothing_else(house: House, tmp_path: Path) -> None:
    house.gate = True
    lines = (asks(QUESTION, CAP, "list_models {}"), Thought(text="done"))
    async with opened(house, tmp_path, *lines) as session, listening(session) as heard:
        await session.set_mode("read_only")
        assert (await heard.turn_ended(await session.send("go"))).state == "done"
        fan, cap, models = sorted(heard.all(ToolAnswered), key=lambda answer: answer.key)
        assert ("read-only" in fan.text, "read-only" in cap.text, models.ok) == (True, True, True)
    assert (house.count("RunFanout"), house.count("PutCap"), house.approvals) == (0, 0, {})


@pytest.mark.parametrize("mode", ["allowance", "read_only"])
async def test_going_through_the_modes_decides_nothing_that_was_asked(house: House, tmp_path: Path, mode: str) -> None:
    async with opened(house, tmp_path, asks(CAP), Thought(text="done")) as session, listening(session) as heard:
        turn = await session.send("cap it")
        asked = await heard.wait(ApprovalAsked)
        await session.set_mode("allowance" if mode == "allowance" else "read_only", 10**12)
        assert not heard.all(ApprovalDecided)
        await session.decide(asked.approval_id, grant=True)
        assert (await heard.turn_ended(turn)).state == "done"
    assert list(house.caps.values()) == [5_000_000_000]


async def test_a_mode_is_in_force_again_when_the_session_is_opened_again(house: House, tmp_path: Path) -> None:
    async with opened(house, tmp_path, Thought(text="hi")) as session, listening(session) as heard:
        with pytest.raises(ValueError, match="give \\$0 or more"):
            await session.set_mode("allowance", -1)
        await session.set_mode("allowance", 5)
        await session.set_mode("read_only")
        await heard.turn_ended(await session.send("hello"))
        session_id = session.session_id
    lines = (asks(CAP), Thought(text="done"))
    async with opened(house, tmp_path, *lines, session_id=session_id) as session, listening(session) as heard:
        await heard.turn_ended(await session.send("cap it"))
        assert [changed.mode for changed in heard.all(ModeChanged)] == ["allowance", "read_only"]
    assert house.count("PutCap") == 0


async def test_a_run_that_was_under_way_is_taken_up_in_a_read_only_session(house: House, tmp_path: Path) -> None:
    house.hold = True
    async with opened(house, tmp_path, asks(QUESTION)) as session, listening(session) as heard:
        await session.send("go")
        run = await asyncio.wait_for(house.started.get(), DEADLINE)
        await heard.wait(RunHeard)
        await session.set_mode("read_only")
        session_id = session.session_id
    run.finish()
    async with (
        opened(house, tmp_path, Thought(text="ok"), session_id=session_id) as session,
        listening(session) as heard,
    ):
        assert (await heard.turn_ended(1)).state == "done"
        assert heard.all(ToolAnswered)[0].ok


fanouts = st.lists(st.tuples(st.sampled_from(["fanout", "start_fanout"]), st.none() | st.integers(0, 200)), max_size=6)


@given(asked=fanouts, limit=st.integers(0, 1000), spent=st.integers(0, 1200))
async def test_shares_never_exceed_what_is_left(asked: list[tuple[str, int | None]], limit: int, spent: int) -> None:
    purse = Purse(RunSums())
    finished = event_pb2.RunFinished()
    finished.totals.settled.nanos = spent
    purse.take_run(FanoutFold(run_id="r", finished=finished))
    account = Account(purse, max_cost_nanos=limit)
    left = account.left
    assert left == max(0, limit - spent)
    requests = [
        OpenCall(
            k=f"1/1.{n}",
            call_id="c",
            name=name,
            arguments=json.dumps({"spec": {"prompt": "x", "cap": None if own is None else {"nanos": own}}}),
        )
        for n, (name, own) in enumerate(asked)
    ]
    caps = account.share(requests, tools())
    assert caps.keys() == {call.k for call in requests}
    assert sum(caps.values()) <= left
    assert all(own is None or caps[f"1/1.{n}"] <= own for n, (_, own) in enumerate(asked))
    assert account.left == left - sum(caps.values())
    entry: Entry = {**from_mind(1, 1, "", (), author="m"), "caps": caps}
    again = Account(purse, max_cost_nanos=limit)
    await again.take_stock([entry], Client("nowhere.invalid:1", ""))
    assert again.left == account.left


async def test_a_mind_and_its_fanouts_together_stay_below_the_limit_on_the_real_server(tmp_path: Path) -> None:
    limit = 30 * CENT
    asking = [asking_for(dear(prompt=f"What is {n}?"), dear(prompt=f"And {n}?")) for n in range(24)]
    async with real_server(tmp_path) as served, provider(*asking) as mind:
        person = served.person
        put = model_pb2.PutEndpointRequest(name="stub", base_url=mind.url)
        put.models.add(model="thinker", price=model_pb2.Price(input_nanos_per_million=10**9))  # a dollar
        await person.model.PutEndpoint(put, metadata=person.metadata)
        chat = MindSettings(base_url=mind.url, model="stub/thinker", api_key="k")
        session = await AgentSession.open(
            connection_to(served), SessionSettings(folder=tmp_path / "agent", mind=chat, max_cost_nanos=limit)
        )
        try:
            async with listening(session) as heard:
                ended = await heard.turn_ended(await session.send("spend"))
                again = await heard.turn_ended(await session.send("more"))
        finally:
            await session.close()
        assert "may cost $0.30 at most" in ended.failure
        assert (ended.state, again.state) == ("failed", "failed")
        assert limit // 2 < await counted(person) <= limit
        assert await counted(person) == heard.all(Spent)[-1].settled
        assert 2 < len(mind.requests) < 24


def asking_for(*named: str) -> Reply:
    """A thought that asks for calls and is dear itself."""
    parts = [call.partition(" ") for call in named]
    return replace(calls(*((name, json.loads(text)) for name, _, text in parts)), usage=(9_000, 1))

"""What every `Caller` promises, kept by the real one on a local provider and by its twin on a script."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from tests.server.llm.house import HOME, PRICE, Diary, open_house, spec

from whet_server.errors import ModelNotFound, Reason
from whet_server.llm.base import Caller, CallSpec
from whet_server.llm.scripted import Line, ScriptedCaller, ScriptRanOut
from whet_server.llm.taxonomy import failure
from whet_server.log.lifecycle import NEXT, BranchState
from whet_server.values import Billing, CallLimits, ModelName

LIMITS = CallLimits(connect=5.0, first_token=10.0, idle=10.0, total=20.0)


@dataclass(frozen=True, slots=True)
class Room:
    """A caller and calls that end in the ways a call can end."""

    caller: Caller
    good: CallSpec
    refused: CallSpec
    halved: CallSpec
    hangs: CallSpec
    hangs_midway: CallSpec
    unknown: ModelName


class CallerContract(ABC):
    """Subclasses say how a room is made."""

    @pytest.fixture
    @abstractmethod
    def room(self) -> Room | AsyncIterator[Room]: ...

    async def test_a_whole_answer_is_done_and_was_heard_piece_by_piece(self, room: Room) -> None:
        diary = Diary()
        result = await room.caller.call(room.good, diary, asyncio.Event())
        assert result.state is BranchState.DONE
        assert result.failure is None
        assert result.text == diary.heard
        assert diary.states == [BranchState.ASKED, BranchState.STREAMING]
        assert result.model == room.good.models[0]
        assert result.finish_reason == "stop"
        assert result.totals.attempts == len(result.attempts) == 1
        assert result.totals.settled == result.attempts[0].cost > 0
        assert result.usage == result.attempts[0].usage
        assert result.first_token_ns is not None
        assert 0 <= result.first_token_ns <= result.latency_ns

    async def test_a_refused_call_failed_and_says_why(self, room: Room) -> None:
        diary = Diary()
        result = await room.caller.call(room.refused, diary, asyncio.Event())
        assert result.state is BranchState.FAILED
        assert result.failure is not None
        assert result.failure.reason == Reason.REQUEST_REFUSED
        assert result.text == diary.heard == ""
        assert result.totals.settled == 0
        assert result.first_token_ns is None

    async def test_half_a_stream_is_partial_and_keeps_its_text(self, room: Room) -> None:
        diary = Diary()
        result = await room.caller.call(room.halved, diary, asyncio.Event())
        assert result.state is BranchState.PARTIAL
        assert result.failure is not None
        assert result.failure.reason == Reason.STREAM_CUT
        assert result.text == diary.heard != ""
        assert result.finish_reason == ""

    async def test_stop_before_the_first_token_cancels(self, room: Room) -> None:
        diary, stop = Diary(), asyncio.Event()
        calling = asyncio.create_task(room.caller.call(room.hangs, diary, stop))
        async with asyncio.timeout(5):
            await diary.asked.wait()
            stop.set()
            result = await calling
        assert result.state is BranchState.CANCELLED
        assert result.failure is not None
        assert result.failure.reason == Reason.CANCELLED
        assert Billing.RESERVED not in {attempt.billing for attempt in result.attempts}

    async def test_stop_in_the_middle_leaves_half_an_answer(self, room: Room) -> None:
        diary, stop = Diary(), asyncio.Event()
        calling = asyncio.create_task(room.caller.call(room.hangs_midway, diary, stop))
        async with asyncio.timeout(5):
            await diary.spoke.wait()
            stop.set()
            result = await calling
        assert result.state is BranchState.PARTIAL
        assert result.text == diary.heard != ""

    async def test_stop_before_the_call_asks_nobody(self, room: Room) -> None:
        diary, stop = Diary(), asyncio.Event()
        stop.set()
        result = await room.caller.call(room.good, diary, stop)
        assert result.state is BranchState.CANCELLED
        assert diary.states == []
        assert result.attempts == ()

    async def test_a_cancelled_task_raises(self, room: Room) -> None:
        diary = Diary()
        calling = asyncio.create_task(room.caller.call(room.hangs, diary, asyncio.Event()))
        async with asyncio.timeout(5):
            await diary.asked.wait()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling

    async def test_states_follow_the_law(self, room: Room) -> None:
        for call in (room.good, room.refused, room.halved):
            diary = Diary()
            result = await room.caller.call(call, diary, asyncio.Event())
            state = BranchState.WAITING
            for following in (*diary.states, result.state):
                assert following is state or following in NEXT[state]
                state = following

    async def test_a_model_that_exists_is_known_and_estimated(self, room: Room) -> None:
        info = await room.caller.resolve(HOME, room.good.models[0])
        estimate = await room.caller.estimate(room.good)
        result = await room.caller.call(room.good, Diary(), asyncio.Event())
        assert info.name == room.good.models[0]
        assert info.price == PRICE
        assert estimate.info == info
        assert estimate.worst is not None
        assert result.totals.settled <= estimate.worst

    async def test_a_model_that_does_not_exist_is_not_found(self, room: Room) -> None:
        with pytest.raises(ModelNotFound):
            await room.caller.resolve(HOME, room.unknown)


class TestModelCaller(CallerContract):
    @pytest.fixture
    async def room(self) -> AsyncIterator[Room]:
        async with open_house() as house:
            yield Room(
                house.caller,
                good=spec("plain", limits=LIMITS),
                refused=spec("bad-request", limits=LIMITS),
                halved=spec("half-stream", limits=LIMITS),
                hangs=spec("hang-after-headers", limits=LIMITS),
                hangs_midway=spec("hang-mid-stream", limits=LIMITS),
                unknown=ModelName("sim/no-such-model"),
            )


class TestScriptedCaller(CallerContract):
    @pytest.fixture
    def room(self) -> Room:
        never = asyncio.Event()
        refused = failure(Reason.REQUEST_REFUSED, "No.")
        cut = failure(Reason.STREAM_CUT, "Cut.")
        script = {
            "stub/plain": [Line("One ", "word.") for _ in range(2)],
            "stub/bad-request": [Line(failure=refused)],
            "stub/half-stream": [Line("One ", failure=cut)],
            "stub/hang-after-headers": [Line("One.", begin=never)],
            "stub/hang-mid-stream": [Line("One ", "word.", go_on=never)],
        }
        prices = dict.fromkeys(script, PRICE)
        return Room(
            ScriptedCaller(script, prices=prices),
            good=spec("plain"),
            refused=spec("bad-request"),
            halved=spec("half-stream"),
            hangs=spec("hang-after-headers"),
            hangs_midway=spec("hang-mid-stream"),
            unknown=ModelName("stub/nobody"),
        )


async def test_a_script_that_ran_out_fails_loudly() -> None:
    caller = ScriptedCaller({"stub/plain": [Line("Yes.")]})
    await caller.call(spec("plain"), Diary(), asyncio.Event())
    with pytest.raises(ScriptRanOut, match="stub/plain"):
        await caller.call(spec("plain"), Diary(), asyncio.Event())
    caller.assert_played()


async def test_a_script_that_was_not_played_to_its_end_says_so() -> None:
    caller = ScriptedCaller({"stub/plain": [Line("Yes."), Line("No.")]})
    await caller.call(spec("plain"), Diary(), asyncio.Event())
    with pytest.raises(AssertionError, match="stub/plain"):
        caller.assert_played()

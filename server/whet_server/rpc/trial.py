"""TrialService: unpack, call, pack."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from whet.v1 import scorer_pb2, sweeping_pb2, trial_pb2, trial_pb2_grpc
from whet_server.errors import InvalidField
from whet_server.rpc import calls
from whet_server.rpc.convert.enums import EnumTable
from whet_server.rpc.convert.mirror import fill, message_of, value_of
from whet_server.rpc.convert.values import SECOND, duration, timestamp
from whet_server.rpc.layers import Context
from whet_server.rpc.life import Life
from whet_server.rpc.pages import page_of
from whet_server.rpc.requests import Requests
from whet_server.store.base import RequestRecord
from whet_server.sweep.compare import MOST_TRIALS, compared, shown_trials
from whet_server.sweep.leaderboard import TrialOrder, Wanted, after, filters, leaderboard, standings, trial_of
from whet_server.sweep.outside import Asked, Given, OutsideTrials, ToldCase
from whet_server.sweep.sweeps import Sweeps
from whet_server.sweeping import Trial, TrialState
from whet_server.values import RunId

_ASK: Final = "whet.v1.TrialService/AskTrials"
_ORDER: Final = {
    trial_pb2.TRIAL_ORDER_UNSPECIFIED: TrialOrder.BEST,
    trial_pb2.TRIAL_ORDER_BEST: TrialOrder.BEST,
    trial_pb2.TRIAL_ORDER_NUMBER: TrialOrder.NUMBER,
    trial_pb2.TRIAL_ORDER_COST: TrialOrder.COST,
    trial_pb2.TRIAL_ORDER_LATENCY: TrialOrder.LATENCY,
}
_STATE: Final = EnumTable({sweeping_pb2.TrialState.Value(f"TRIAL_STATE_{state.name}"): state for state in TrialState})


class TrialServicer(trial_pb2_grpc.TrialServiceServicer):
    """Trials for the workspace that calls."""

    def __init__(self, sweeps: Sweeps, requests: Requests, life: Life) -> None:
        self._sweeps = sweeps
        self._outside = OutsideTrials(sweeps)
        self._requests = requests
        self._life = life

    async def AskTrials(self, request: trial_pb2.AskTrialsRequest, context: Context) -> trial_pb2.AskTrialsResponse:
        self._life.admit()
        await self._life.taken_up()
        asked = await self._requests.whole(self._ask(request))
        return trial_pb2.AskTrialsResponse(
            trials=[_given_message(each) for each in asked.trials],
            ended=asked.ended,
            retry_after=None if asked.retry_after is None else duration(round(asked.retry_after * SECOND)),
        )

    async def TellTrial(self, request: trial_pb2.TellTrialRequest, context: Context) -> trial_pb2.TellTrialResponse:
        await self._life.taken_up()
        told = await asyncio.to_thread(lambda: [_told_of(each) for each in request.cases])
        telling = self._outside.tell(
            calls.principal().workspace,
            RunId(request.run_id),
            request.number,
            told,
            finished=request.finished,
            failure=request.failure,
        )
        trial, stop = await self._requests.whole(telling)
        return trial_pb2.TellTrialResponse(trial=_message(trial), stop=stop)

    async def ListTrials(self, request: trial_pb2.ListTrialsRequest, context: Context) -> trial_pb2.ListTrialsResponse:
        workspace, run_id = calls.principal().workspace, RunId(request.run_id)
        page = page_of(request.page, "trials", run_id, request.order, request.state, request.where, request.front)
        _, fold = await self._sweeps.fold(workspace, run_id)
        wanted = Wanted(
            order=_ORDER[request.order],
            state=_STATE.value.get(request.state),
            where=filters(request.where, fold.record.plan.space),
            front=request.front,
        )
        front = fold.result.front if fold.result is not None else None
        ranked = await asyncio.to_thread(leaderboard, fold.record.plan, standings(fold), front, wanted)
        shown, token = page.cut(after(ranked, page.before)[: page.limit], lambda each: each.token)
        return trial_pb2.ListTrialsResponse(
            trials=[_message(each.trial) for each in shown], next_page_token=token, count=len(ranked)
        )

    async def ListCases(self, request: trial_pb2.ListCasesRequest, context: Context) -> trial_pb2.ListCasesResponse:
        workspace, run_id = calls.principal().workspace, RunId(request.run_id)
        page = page_of(request.page, "cases", run_id, request.trials, request.differing)
        _, fold = await self._sweeps.fold(workspace, run_id)
        numbers = tuple(dict.fromkeys(request.trials)) or shown_trials(fold)
        if len(numbers) > MOST_TRIALS:
            raise InvalidField(("trials", f"compare at most {MOST_TRIALS} trials"))
        trials = {number: trial_of(fold, number, run_id) for number in numbers}
        items = await self._sweeps.cases(workspace, fold.record)
        cases = compared(fold, items, numbers, differing=request.differing)
        # A token names a place: while a sweep is under way cases come in.
        first = int(page.before or 0)
        numbered = list(enumerate(cases[first : first + page.limit], start=first + 1))
        shown, token = page.cut(numbered, lambda each: str(each[0]))
        standing = {trial.number: trial for trial in standings(fold) if trial.number in trials}
        return trial_pb2.ListCasesResponse(
            cases=[message_of(case, trial_pb2.ComparedCase) for _, case in shown],
            next_page_token=token,
            trials=[_message(standing[number]) for number in numbers],
        )

    async def _ask(self, request: trial_pb2.AskTrialsRequest) -> Asked:
        """Give trials, or those that the same request id was given before. One that got none may ask again with it."""
        workspace, run_id = calls.principal().workspace, RunId(request.run_id)
        async with self._requests.turn(workspace, _ASK, request.request_id, request) as turn:
            if turn.answer is not None:
                return await self._outside.again(workspace, run_id, msgspec.json.decode(turn.answer, type=list[int]))

            def record(numbers: Sequence[int]) -> Sequence[RequestRecord]:
                return turn.record(msgspec.json.encode(numbers).decode())

            return await self._outside.ask(workspace, run_id, request.count or 1, request.worker, record)


def _told_of(message: trial_pb2.ToldCase) -> ToldCase:
    return value_of(message, ToldCase)


def _given_message(given: Given) -> trial_pb2.OutsideTrial:
    message = trial_pb2.OutsideTrial(
        number=given.number,
        lease_expire_time=timestamp(given.lease_expire_ns),
        told_case_ids=given.told_case_ids,
        cases=[message_of(item, scorer_pb2.Item) for item in given.cases],
    )
    for parameter in given.trial.parameters:
        fill(parameter, message.parameters.add())
    for choice in given.texts:
        fill(choice, message.texts.add())
    return message


def _message(trial: Trial) -> sweeping_pb2.Trial:
    return message_of(trial, sweeping_pb2.Trial)

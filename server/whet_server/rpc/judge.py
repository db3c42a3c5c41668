"""JudgeService: unpack, call, pack. Specs may hold twenty thousand items, so they are unpacked in a thread."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from whet.v1 import judge_pb2, judge_pb2_grpc
from whet_server.errors import PlanChanged
from whet_server.judge.judgements import Judgements
from whet_server.judge.spec import JudgementForecast, JudgementSpec
from whet_server.rpc import calls
from whet_server.rpc.convert.enums import RUN_STATE
from whet_server.rpc.convert.judge import (
    gate_message,
    gate_of,
    item_message,
    order_of,
    plan_message,
    spec_of,
    view_message,
)
from whet_server.rpc.gate import Gate
from whet_server.rpc.layers import Context
from whet_server.rpc.life import Life
from whet_server.rpc.pages import page_of
from whet_server.rpc.requests import Requests
from whet_server.values import Principal, Role, RunId, new_id

_RUN: Final = "whet.v1.JudgeService/RunJudgement"
_START: Final = "whet.v1.JudgeService/StartJudgement"
_CANCEL: Final = "whet.v1.JudgeService/CancelJudgement"


class JudgeServicer(judge_pb2_grpc.JudgeServiceServicer):
    """Judges for the workspace that calls."""

    def __init__(self, judgements: Judgements, requests: Requests, gate: Gate, life: Life) -> None:
        self._judgements = judgements
        self._requests = requests
        self._gate = gate
        self._life = life

    async def PlanJudgement(
        self, request: judge_pb2.PlanJudgementRequest, context: Context
    ) -> judge_pb2.PlanJudgementResponse:
        spec = await asyncio.to_thread(spec_of, request.spec)
        plan = await self._judgements.plan(calls.principal(), spec)
        return plan_message(plan, needs_approval=self._gate.needs_approval(plan))

    async def RunJudgement(
        self, request: judge_pb2.RunJudgementRequest, context: Context
    ) -> AsyncGenerator[judge_pb2.RunJudgementResponse, None]:
        run_id, _ = await self._requests.whole(self._start(_RUN, request))
        calls.enter_run(run_id)
        workspace = calls.principal().workspace
        watch = self._life.follow(lambda cursor: self._judgements.watch(workspace, run_id, cursor), "")
        async with aclosing(watch) as batches:
            async for batch in batches:
                yield judge_pb2.RunJudgementResponse(run_id=run_id, batch=batch)

    async def StartJudgement(
        self, request: judge_pb2.StartJudgementRequest, context: Context
    ) -> judge_pb2.StartJudgementResponse:
        run_id, started = await self._requests.whole(self._start(_START, request))
        calls.enter_run(run_id)
        view = await self._judgements.get(calls.principal().workspace, run_id)
        return judge_pb2.StartJudgementResponse(judgement=view_message(view), started=started)

    async def WatchJudgement(
        self, request: judge_pb2.WatchJudgementRequest, context: Context
    ) -> AsyncGenerator[judge_pb2.WatchJudgementResponse, None]:
        workspace, run_id = calls.principal().workspace, RunId(request.run_id)
        watch = self._life.follow(lambda cursor: self._judgements.watch(workspace, run_id, cursor), request.cursor)
        async with aclosing(watch) as batches:
            async for batch in batches:
                yield judge_pb2.WatchJudgementResponse(batch=batch)

    async def GetJudgement(
        self, request: judge_pb2.GetJudgementRequest, context: Context
    ) -> judge_pb2.GetJudgementResponse:
        workspace, run_id = calls.principal().workspace, RunId(request.run_id)
        page = page_of(request.page, "judged", run_id, request.order, request.outcome, request.unrated)
        view, items, rated = await self._judgements.page(workspace, run_id, order_of(request))
        # A token names a place, because items change their places in an order when people rate them.
        first = int(page.before or 0)
        numbered = list(enumerate(items[first : first + page.limit], start=first + 1))
        shown, token = page.cut(numbered, lambda each: str(each[0]))
        return judge_pb2.GetJudgementResponse(
            judgement=view_message(view),
            items=[item_message(item) for _, item in shown],
            next_page_token=token,
            rated_items=rated,
        )

    async def ListJudgements(
        self, request: judge_pb2.ListJudgementsRequest, context: Context
    ) -> judge_pb2.ListJudgementsResponse:
        workspace = calls.principal().workspace
        page = page_of(request.page, "judgements", workspace, request.state)
        views = await self._judgements.list(
            workspace,
            state=RUN_STATE.value.get(request.state),
            before=RunId(page.before) if page.before else None,
            limit=page.limit,
        )
        shown, token = page.cut(views, lambda view: view.run.run_id)
        return judge_pb2.ListJudgementsResponse(
            judgements=[view_message(view) for view in shown], next_page_token=token
        )

    async def CancelJudgement(
        self, request: judge_pb2.CancelJudgementRequest, context: Context
    ) -> judge_pb2.CancelJudgementResponse:
        principal, run_id = calls.principal(), RunId(request.run_id)
        calls.enter_run(run_id)
        await self._life.taken_up()
        begun_by = (await self._judgements.run(principal.workspace, run_id)).role
        await self._gate.cancels(principal, _CANCEL, request, request_id=new_id("req"), begun_by=begun_by)
        view = await self._judgements.cancel(principal.workspace, run_id)
        return judge_pb2.CancelJudgementResponse(judgement=view_message(view))

    async def GateJudgement(
        self, request: judge_pb2.GateJudgementRequest, context: Context
    ) -> judge_pb2.GateJudgementResponse:
        answer = await self._judgements.gate(calls.principal().workspace, RunId(request.run_id), gate_of(request))
        return gate_message(answer)

    async def _start(
        self, method: str, request: judge_pb2.RunJudgementRequest | judge_pb2.StartJudgementRequest
    ) -> tuple[RunId, bool]:
        """Start the run, or find the one that this request id started. Say which, and whether it is new."""
        principal, spec = calls.principal(), await asyncio.to_thread(spec_of, request.spec)
        async with self._requests.turn(principal.workspace, method, request.request_id, request) as turn:
            if turn.answer is not None:
                return RunId(turn.answer), False
            self._life.admit()
            if principal.role is Role.AGENT or request.plan_hash:
                plan = await self._plan(principal, spec, request.plan_hash)
                await self._gate.spends(principal, method, request, request_id=turn.request_id, plan=plan)
            run_id = RunId(new_id("jud"))
            calls.enter_run(run_id)
            await self._judgements.start(
                principal, spec, request_id=turn.request_id, run_id=run_id, also=turn.record(run_id)
            )
            return run_id, True

    async def _plan(self, principal: Principal, spec: JudgementSpec, expected: str) -> JudgementForecast:
        plan = await self._judgements.plan(principal, spec)
        if expected and expected != plan.plan_hash:
            raise PlanChanged(
                "What would run is no longer what was planned. Plan again and look at what it costs now.",
                metadata={"expected": expected, "actual": plan.plan_hash},
            )
        return plan

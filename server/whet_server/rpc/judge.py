"""JudgeService: unpack, call, pack. Specs may hold twenty thousand items, so they are unpacked in a thread."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Final

from whet.v1 import judge_pb2, judge_pb2_grpc
from whet_server.judge.judgements import Judgements
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
from whet_server.rpc.layers import Context
from whet_server.rpc.pages import page_of
from whet_server.rpc.running import Running
from whet_server.values import RunId

_RUN: Final = "whet.v1.JudgeService/RunJudgement"
_START: Final = "whet.v1.JudgeService/StartJudgement"
_CANCEL: Final = "whet.v1.JudgeService/CancelJudgement"


class JudgeServicer(judge_pb2_grpc.JudgeServiceServicer):
    """Judges for the workspace that calls."""

    def __init__(self, judgements: Judgements, running: Running) -> None:
        self._judgements = judgements
        self._running = running

    async def PlanJudgement(
        self, request: judge_pb2.PlanJudgementRequest, context: Context
    ) -> judge_pb2.PlanJudgementResponse:
        spec = await asyncio.to_thread(spec_of, request.spec)
        plan = await self._judgements.plan(calls.principal(), spec)
        return plan_message(plan, needs_approval=self._running.needs_approval(plan))

    async def RunJudgement(
        self, request: judge_pb2.RunJudgementRequest, context: Context
    ) -> AsyncGenerator[judge_pb2.RunJudgementResponse, None]:
        run_id, _ = await self._begin(_RUN, request)
        async with self._running.followed(self._judgements.watch, run_id) as batches:
            async for batch in batches:
                yield judge_pb2.RunJudgementResponse(run_id=run_id, batch=batch)

    async def StartJudgement(
        self, request: judge_pb2.StartJudgementRequest, context: Context
    ) -> judge_pb2.StartJudgementResponse:
        run_id, started = await self._begin(_START, request)
        view = await self._judgements.get(calls.principal().workspace, run_id)
        return judge_pb2.StartJudgementResponse(judgement=view_message(view), started=started)

    async def WatchJudgement(
        self, request: judge_pb2.WatchJudgementRequest, context: Context
    ) -> AsyncGenerator[judge_pb2.WatchJudgementResponse, None]:
        async with self._running.followed(self._judgements.watch, RunId(request.run_id), request.cursor) as batches:
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
        view = await self._judgements.cancel(*await self._running.ending(_CANCEL, request, self._judgements.run))
        return judge_pb2.CancelJudgementResponse(judgement=view_message(view))

    async def GateJudgement(
        self, request: judge_pb2.GateJudgementRequest, context: Context
    ) -> judge_pb2.GateJudgementResponse:
        answer = await self._judgements.gate(calls.principal().workspace, RunId(request.run_id), gate_of(request))
        return gate_message(answer)

    async def _begin(
        self, method: str, request: judge_pb2.RunJudgementRequest | judge_pb2.StartJudgementRequest
    ) -> tuple[RunId, bool]:
        principal, spec = calls.principal(), await asyncio.to_thread(spec_of, request.spec)
        return await self._running.begin(
            method,
            request,
            "jud",
            plan=partial(self._judgements.plan, principal, spec),
            start=partial(self._judgements.start, principal, spec),
        )

"""Judgements: the request as asked for, the plan, and a judgement as it stands."""

from typing import Final

from whet.v1 import judge_pb2, judging_pb2
from whet_server.dataset.spec import DatasetRef
from whet_server.errors import InvalidField
from whet_server.judge.spec import (
    DEFAULT_CONCURRENCY,
    Criterion,
    GateAnswer,
    GateDecision,
    GateRequest,
    ItemOrder,
    JudgedItem,
    JudgementForecast,
    JudgementSpec,
    JudgementView,
    OrderBy,
)
from whet_server.judging import Item, Judge, Outcome
from whet_server.rpc.convert.enums import REASON, RUN_STATE, EnumTable
from whet_server.rpc.convert.mirror import fill, message_of, value_of
from whet_server.rpc.convert.scorer import scorer_of
from whet_server.rpc.convert.values import (
    duration,
    failure_or_none,
    limits_of,
    money,
    nanos_of,
    seconds_of,
    timestamp,
    timestamp_or_none,
    totals_message,
)
from whet_server.values import RunId

_OUTCOME: Final = EnumTable({judging_pb2.Outcome.Value(f"OUTCOME_{outcome.name}"): outcome for outcome in Outcome})
_ORDER: Final = {
    judge_pb2.ITEM_ORDER_UNSPECIFIED: OrderBy.GIVEN,
    judge_pb2.ITEM_ORDER_GIVEN: OrderBy.GIVEN,
    judge_pb2.ITEM_ORDER_DISAGREEMENT: OrderBy.DISAGREEMENT,
    judge_pb2.ITEM_ORDER_SCORE: OrderBy.SCORE,
}
_DECISION: Final = {
    GateDecision.PASSED: judge_pb2.GATE_DECISION_PASSED,
    GateDecision.FAILED: judge_pb2.GATE_DECISION_FAILED,
    GateDecision.REFUSED: judge_pb2.GATE_DECISION_REFUSED,
}


def spec_of(message: judge_pb2.JudgementSpec) -> JudgementSpec:
    """Unpack a judgement. Raises `InvalidField` for a criterion whose scorer does not say which it is."""
    return JudgementSpec(
        items=tuple(value_of(item, Item) for item in message.items),
        dataset=value_of(message.dataset, DatasetRef) if message.HasField("dataset") else None,
        fanout_run_id=RunId(message.fanout_run_id) if message.fanout_run_id else None,
        judge=value_of(message.judge, Judge) if message.HasField("judge") else None,
        scorers=tuple(message.scorers),
        criteria=tuple(criterion_of(each, f"spec.criteria[{at}]") for at, each in enumerate(message.criteria)),
        concurrency=message.concurrency or DEFAULT_CONCURRENCY,
        require_calibrated=message.require_calibrated,
        correct=message.correct,
        cap=nanos_of(message.cap) if message.HasField("cap") else None,
        cache_bypass=message.cache.bypass,
        cache_ttl=seconds_of(message.cache.ttl) if message.cache.HasField("ttl") else None,
        limits=limits_of(message.limits),
        title=message.title,
    )


def criterion_of(message: judge_pb2.Criterion, path: str) -> Criterion:
    kind = message.WhichOneof("kind")
    try:
        scorer = scorer_of(message.scorer) if kind == "scorer" else None
    except InvalidField as error:
        raise InvalidField(*((f"{path}.scorer.{field}", what) for field, what in error.violations)) from None
    return Criterion(
        name=message.name,
        weight=message.weight or 1.0,
        aside=message.aside,
        scorer=scorer,
        judge=value_of(message.judge, Judge) if kind == "judge" else None,
    )


def plan_message(plan: JudgementForecast, *, needs_approval: bool) -> judge_pb2.PlanJudgementResponse:
    message = judge_pb2.PlanJudgementResponse(
        plan_hash=plan.plan_hash,
        calls=plan.calls,
        cache_hits=plan.cache_hits,
        low_cost=money(plan.low),
        expected_cost=money(plan.expected),
        worst_cost=money(plan.worst),
        expected_duration=duration(plan.duration_ns),
        unpriced_models=plan.unpriced,
        needs_approval=needs_approval,
        sealed_rows=plan.sealed_rows,
    )
    fill(plan.plan, message.plan)
    return message


def view_message(view: JudgementView) -> judge_pb2.Judgement:
    run = view.run
    message = judge_pb2.Judgement(
        run_id=run.run_id,
        title=run.title,
        state=RUN_STATE.wire[run.state],
        create_time=timestamp(run.create_ns),
        end_time=timestamp_or_none(run.end_ns),
        criteria=[message_of(summary, judging_pb2.CriterionSummary) for summary in view.sums.criteria],
        verdicts=view.verdicts,
        totals=totals_message(run.totals),
        failure=failure_or_none(view.failure),
    )
    fill(view.plan, message.plan)
    if view.sums.combined is not None:
        fill(view.sums.combined, message.combined)
    return message


def item_message(judged: JudgedItem) -> judge_pb2.JudgedItem:
    message = message_of(judged, judge_pb2.JudgedItem)
    message.subject = judged.subject
    return message


def order_of(request: judge_pb2.GetJudgementRequest) -> ItemOrder:
    return ItemOrder(by=_ORDER[request.order], outcome=_OUTCOME.value.get(request.outcome), unrated=request.unrated)


def gate_of(request: judge_pb2.GateJudgementRequest) -> GateRequest:
    return value_of(request, GateRequest)


def gate_message(answer: GateAnswer) -> judge_pb2.GateJudgementResponse:
    message = judge_pb2.GateJudgementResponse(
        decision=_DECISION[answer.decision],
        reason=answer.reason,
        measured=message_of(answer.measured, judging_pb2.CriterionSummary),
        min_mean=answer.min_mean,
    )
    if answer.error_reason is not None:
        message.error_reason = REASON.wire[answer.error_reason]
    return message

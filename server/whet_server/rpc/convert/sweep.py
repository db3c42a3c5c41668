"""Sweeps: the request as asked for, the plan, a sweep as it stands, and how it is steered."""

from typing import Final

from whet.v1 import event_pb2, fanout_pb2, sweep_pb2
from whet_server.dataset.spec import DatasetRef
from whet_server.errors import InvalidField
from whet_server.fanout.spec import FanoutSpec
from whet_server.judging import Item, Judge
from whet_server.rpc.convert import fanout
from whet_server.rpc.convert.enums import RUN_STATE, EnumTable
from whet_server.rpc.convert.judge import criterion_of
from whet_server.rpc.convert.mirror import fill, message_of, value_of
from whet_server.rpc.convert.values import (
    duration,
    failure_or_none,
    limits_of,
    money,
    seconds_of,
    timestamp,
    timestamp_or_none,
    totals_message,
)
from whet_server.sweep.export import ExportFormat
from whet_server.sweep.spec import (
    Chain,
    Outside,
    Pipeline,
    Retune,
    SweepForecast,
    SweepSpec,
    SweepView,
)
from whet_server.sweeping import (
    Budget,
    Objective,
    ParameterValue,
    Racing,
    Sampler,
    SearchDimension,
    SweepAction,
)

ACTION: Final = EnumTable(
    {event_pb2.SweepAction.Value(f"SWEEP_ACTION_{action.name}"): action for action in SweepAction}
)

EXPORT_FORMAT: Final = EnumTable(
    {sweep_pb2.ExportFormat.Value(f"EXPORT_FORMAT_{each.name}"): each for each in ExportFormat}
)


def spec_of(message: sweep_pb2.SweepSpec) -> SweepSpec:
    """Unpack a sweep. Raises `InvalidField` with paths from `spec.` on for what a fan-out or a scorer lacks."""
    target = message.WhichOneof("target")
    return SweepSpec(
        pipeline=value_of(message.pipeline, Pipeline) if target == "pipeline" else None,
        fanout=_fanout(message.fanout) if target == "fanout" else None,
        outside=value_of(message.outside, Outside) if target == "outside" else None,
        space=tuple(value_of(each, SearchDimension) for each in message.space),
        baseline=tuple(value_of(each, ParameterValue) for each in message.baseline),
        sampler=value_of(message.sampler, Sampler),
        racing=value_of(message.racing, Racing),
        objectives=tuple(value_of(each, Objective) for each in message.objectives),
        dataset=value_of(message.dataset, DatasetRef) if message.HasField("dataset") else None,
        items=tuple(value_of(item, Item) for item in message.items),
        scorers=tuple(message.scorers),
        criteria=tuple(criterion_of(each, f"spec.criteria[{at}]") for at, each in enumerate(message.criteria)),
        judge=value_of(message.judge, Judge) if message.HasField("judge") else None,
        budget=value_of(message.budget, Budget),
        concurrency=message.concurrency,
        trials_at_once=message.trials_at_once,
        seed=message.seed,
        holdout=message.holdout,
        cache_bypass=message.cache.bypass,
        cache_ttl=seconds_of(message.cache.ttl) if message.cache.HasField("ttl") else None,
        limits=limits_of(message.limits),
        title=message.title,
        chain=value_of(message.chain, Chain),
    )


def _fanout(message: fanout_pb2.FanoutSpec) -> FanoutSpec:
    try:
        return fanout.spec_of(message)
    except InvalidField as error:
        inside = [(path.replace("spec.", "spec.fanout.", 1), what) for path, what in error.violations]
        raise InvalidField(*inside) from None


def forecast_message(forecast: SweepForecast, *, needs_approval: bool) -> sweep_pb2.PlanSweepResponse:
    message = sweep_pb2.PlanSweepResponse(
        plan_hash=forecast.plan_hash,
        calls=forecast.calls,
        cache_hits=forecast.cache_hits,
        low_cost=money(forecast.low),
        expected_cost=money(forecast.expected),
        worst_cost=money(forecast.worst),
        expected_duration=duration(forecast.duration_ns),
        unpriced_models=forecast.unpriced,
        needs_approval=needs_approval,
        warnings=forecast.warnings,
        detectable=forecast.detectable,
    )
    fill(forecast.plan, message.plan)
    return message


def view_message(view: SweepView) -> sweep_pb2.Sweep:
    run = view.run
    message = sweep_pb2.Sweep(
        run_id=run.run_id,
        title=run.title,
        state=RUN_STATE.wire[run.state],
        create_time=timestamp(run.create_ns),
        end_time=timestamp_or_none(run.end_ns),
        controls=[message_of(each, event_pb2.SweepControlled) for each in view.controls],
        totals=totals_message(run.totals),
        failure=failure_or_none(view.failure),
        child_run_ids=view.child_run_ids,
    )
    fill(view.plan, message.plan)
    for value, part in (
        (view.progress, message.progress),
        (view.best, message.best),
        (view.baseline, message.baseline),
        (view.result, message.result),
    ):
        if value is not None:
            fill(value, part)
    return message


def retune_of(message: sweep_pb2.Retune) -> Retune:
    return value_of(message, Retune)

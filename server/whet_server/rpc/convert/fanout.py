"""Fan-outs: the request as asked for, the plan, and a fan-out as it stands."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from whet.v1 import fanout_pb2
from whet_server.errors import InvalidField, NotFound
from whet_server.fanout.spec import (
    BranchSpec,
    FanoutPlan,
    FanoutSpec,
    FanoutView,
    SynthesisSpec,
)
from whet_server.rpc.convert.enums import RUN_STATE, SYNTHESIS_MODE
from whet_server.rpc.convert.events import (
    branch_finished_message,
    branch_plan_message,
    draft_ended_message,
    synthesis_finished_message,
)
from whet_server.rpc.convert.values import (
    failure_or_none,
    limits_of,
    message_of,
    money,
    nanos_of,
    parameters_of,
    seconds_of,
    timestamp,
    timestamp_or_none,
    totals_message,
)
from whet_server.values import Message, ModelName, Run, Speaker

_BRANCH: Final = re.compile(r"spec\.branches\[(\d+)\]")


def spec_of(message: fanout_pb2.FanoutSpec) -> FanoutSpec:
    """Unpack a fan-out. Raises `InvalidField` when there is no question or there are two."""
    if message.prompt and message.messages:
        raise InvalidField(("spec.prompt", "Give either prompt or messages, not both."))
    if message.messages:
        messages = tuple(message_of(each) for each in message.messages)
    elif message.prompt.strip():
        messages = (Message(role=Speaker.USER, content=message.prompt),)
    else:
        raise InvalidField(("spec.prompt", "The question is empty. Give a prompt, or messages."))
    plain = tuple(BranchSpec(model=ModelName(name)) for name in message.models)
    return FanoutSpec(
        messages=messages,
        branches=plain + tuple(branch_of(branch) for branch in message.branches),
        parameters=parameters_of(message.parameters),
        enough=message.finish.enough,
        deadline=seconds_of(message.finish.deadline) if message.finish.HasField("deadline") else None,
        synthesis=synthesis_of(message.synthesis),
        cache_bypass=message.cache.bypass,
        cache_ttl=seconds_of(message.cache.ttl) if message.cache.HasField("ttl") else None,
        cap=nanos_of(message.cap) if message.HasField("cap") else None,
        limits=limits_of(message.limits),
        title=message.title,
    )


@contextmanager
def own_paths(message: fanout_pb2.FanoutSpec) -> Iterator[None]:
    """Let errors of the block name fields as the request has them: behind this door its `models` are the first
    branches, and its `branches` come after them.
    """
    try:
        yield
    except InvalidField as error:
        raise InvalidField(*((_own_path(message, path), what) for path, what in error.violations)) from error
    except NotFound as error:
        field = error.metadata.get("field", "")
        own = _own_path(message, field)
        if own == field:
            raise
        told = own + str(error).removeprefix(field)
        raise type(error)(told, metadata=error.metadata | {"field": own}) from error


def _own_path(message: fanout_pb2.FanoutSpec, path: str) -> str:
    found = _BRANCH.match(path)
    if found is None or not message.models:
        return path
    at, rest = int(found[1]) - len(message.models), path[found.end() :]
    return f"spec.branches[{at}]{rest}" if at >= 0 else f"spec.models[{found[1]}]{rest.removeprefix('.model')}"


def branch_of(message: fanout_pb2.Branch) -> BranchSpec:
    return BranchSpec(
        model=ModelName(message.model),
        parameters=parameters_of(message.parameters),
        persona=message.persona,
        label=message.label,
        samples=message.samples or 1,
        failover=tuple(ModelName(name) for name in message.failover),
    )


def synthesis_of(message: fanout_pb2.Synthesis) -> SynthesisSpec:
    return SynthesisSpec(
        mode=SYNTHESIS_MODE.value[message.mode],
        model=ModelName(message.model) if message.model else None,
        start_after=message.start_after,
        parameters=parameters_of(message.parameters),
    )


def plan_message(plan: FanoutPlan, *, needs_approval: bool) -> fanout_pb2.PlanFanoutResponse:
    return fanout_pb2.PlanFanoutResponse(
        plan_hash=plan.plan_hash,
        branches=[branch_plan_message(branch) for branch in plan.branches],
        calls=plan.calls,
        cache_hits=plan.cache_hits,
        expected_cost=money(plan.expected),
        worst_cost=money(plan.worst),
        unpriced_models=plan.unpriced,
        needs_approval=needs_approval,
    )


def run_message(run: Run) -> fanout_pb2.Fanout:
    """Return a fan-out as lists show it."""
    return fanout_pb2.Fanout(
        run_id=run.run_id,
        title=run.title,
        state=RUN_STATE.wire[run.state],
        create_time=timestamp(run.create_ns),
        end_time=timestamp_or_none(run.end_ns),
        totals=totals_message(run.totals),
    )


def view_message(view: FanoutView) -> fanout_pb2.Fanout:
    """Return a fan-out whole."""
    message = run_message(view.run)
    message.plan.extend(branch_plan_message(plan) for plan in view.plan)
    message.branches.extend(branch_finished_message(branch) for branch in view.branches)
    message.drafts.extend(draft_ended_message(draft) for draft in view.drafts)
    if view.synthesis is not None:
        message.synthesis.CopyFrom(synthesis_finished_message(view.synthesis))
    failure = failure_or_none(view.failure)
    if failure is not None:
        message.failure.CopyFrom(failure)
    message.prompt = view.prompt
    return message

"""What a fan-out will do: defaults filled in, fields checked, models looked up, costs bounded.

The worst cost bounds what the calls can cost when no attempt fails: every branch at its limit, and every draft there
can be (`most_drafts`) with a prompt at the budget of characters, each counted as four bytes. Failed attempts reserve
again and are held by the caps, not by the plan. The expected cost counts the first draft and the final one.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from whet_server.errors import InvalidField, NotFound
from whet_server.fanout.prompts import LEAST_SHARE, digests, draft_messages
from whet_server.fanout.spec import BranchSpec, FanoutPlan, FanoutSpec, SynthesisMode, SynthesisSpec
from whet_server.llm.base import Caller, CallSpec, Estimate, ModelInfo
from whet_server.log.events import BranchFinished, BranchPlan
from whet_server.log.lifecycle import BranchState
from whet_server.values import (
    BranchId,
    CallId,
    Message,
    ModelName,
    Nanos,
    RunId,
    Speaker,
    Value,
    Workspace,
)

MAX_DRAFTS: Final = 8
"""Drafts of one synthesis. The first ones show something early and the last one counts; each between them costs as
much as it, so their number is bounded whatever the pace at which branches land."""
_PERSONA_CHARACTERS: Final = 60
"""Of a persona, as much as fits beside a lane."""
_TITLE_CHARACTERS: Final = 80
_UNKNOWN_LIMIT: Final = 1_024
"""Tokens of an answer where a model has no limit of its own; only for guesses of a prompt's length."""
_SIMULATED_DRAFTER: Final = ModelName("sim/fast")
"""Drafts where all branches are simulated: the branches' own models may be those that fail or hang on purpose."""
_LAST_TO_DRAFT: Final = {"local": 1, "sim": 2}
"""Endpoints whose models draft only where no better one takes part."""
_WIDE: Final = "\N{GRINNING FACE}"
"""A character of four bytes: no prompt of so many characters can be longer."""
_CHARACTERS_OF_TOKEN: Final = 4
"""English text, roughly; only for the expected cost."""


class Planned(Value):
    """A spec with nothing left open, its branches counted out, and what is known of its models."""

    spec: FanoutSpec
    branches: tuple[BranchPlan, ...]
    models: dict[ModelName, ModelInfo]


def filled(spec: FanoutSpec, panel: Sequence[BranchSpec], synthesiser: ModelName | None) -> FanoutSpec:
    """Return the spec with the panel, the mode, the synthesiser and the start of the first draft filled in."""
    branches = spec.branches or tuple(panel)
    count = sum(branch.samples for branch in branches)
    mode = spec.synthesis.mode
    if mode is SynthesisMode.UNSPECIFIED:
        mode = SynthesisMode.DRAFT if count > 1 else SynthesisMode.NONE
    synthesis = SynthesisSpec(
        mode=mode,
        model=(spec.synthesis.model or synthesiser or _drafter(branches)) if mode is SynthesisMode.DRAFT else None,
        start_after=spec.synthesis.start_after or min(2, count),
        parameters=spec.synthesis.parameters,
    )
    title = spec.title or _title(spec.messages)
    return msgspec.structs.replace(spec, branches=branches, synthesis=synthesis, title=title)


def _drafter(branches: Sequence[BranchSpec]) -> ModelName:
    """Return who drafts when nobody was named: one of those who are asked, so that a draft costs and waits for nothing
    that the branches do not.
    """
    chosen = min((branch.model for branch in branches), key=lambda model: _LAST_TO_DRAFT.get(model.split("/")[0], 0))
    return _SIMULATED_DRAFTER if chosen.startswith("sim/") else chosen


async def look_up(caller: Caller, workspace: Workspace, spec: FanoutSpec) -> Planned:
    """Count the branches out and look every model up. Raises `EndpointNotFound`, `ModelNotFound` or
    `InvalidField` naming the field.
    """
    models: dict[ModelName, ModelInfo] = {}
    for path, model in _named_models(spec):
        if model not in models:
            try:
                models[model] = await caller.resolve(workspace, model)
            except NotFound as error:
                raise type(error)(f"{path}: {error}", metadata=error.metadata | {"field": path}) from error
            except InvalidField as error:
                raise InvalidField(*((path, what) for _, what in error.violations)) from error
    asked: Counter[BranchSpec] = Counter()
    branches: list[BranchPlan] = []
    for branch in counted_out(spec):
        asked[branch] += 1
        branches.append(
            BranchPlan(
                branch_id=BranchId(f"b{len(branches) + 1}"),
                model=branch.model,
                persona=branch.label or _shortened(branch.persona, _PERSONA_CHARACTERS),
                sample=asked[branch],
                simulated=models[branch.model].simulated,
            )
        )
    return Planned(spec=spec, branches=tuple(branches), models=models)


def counted_out(spec: FanoutSpec) -> Iterator[BranchSpec]:
    """Yield the branches in order, one for each sample."""
    for branch in spec.branches:
        single = msgspec.structs.replace(branch, samples=1)
        for _ in range(branch.samples):
            yield single


def branch_calls(workspace: Workspace, run_id: RunId, spec: FanoutSpec, plans: Sequence[BranchPlan]) -> list[CallSpec]:
    """Return the call of every branch. A seed counts up with the samples, so that they differ."""
    calls = []
    for branch, plan in zip(counted_out(spec), plans, strict=True):
        parameters = branch.parameters.over(spec.parameters)
        if parameters.seed is not None and plan.sample > 1:
            parameters = msgspec.structs.replace(parameters, seed=parameters.seed + plan.sample - 1)
        persona = (Message(role=Speaker.SYSTEM, content=branch.persona),) if branch.persona else ()
        calls.append(
            CallSpec(
                workspace=workspace,
                run_id=run_id,
                call_id=CallId(f"{run_id}/{plan.branch_id}"),
                models=(branch.model, *branch.failover),
                messages=persona + spec.messages,
                parameters=parameters,
                limits=spec.limits,
                sample=plan.sample,
                cache_bypass=spec.cache_bypass,
                cache_ttl=spec.cache_ttl,
                run_cap=spec.cap,
            )
        )
    return calls


def draft_id(run_id: RunId, revision: int) -> CallId:
    return CallId(f"{run_id}/draft-{revision}")


def draft_call(
    workspace: Workspace, run_id: RunId, spec: FanoutSpec, revision: int, messages: tuple[Message, ...]
) -> CallSpec:
    """Return the call of one draft; the run's cap covers it as it covers the branches."""
    return CallSpec(
        workspace=workspace,
        run_id=run_id,
        call_id=draft_id(run_id, revision),
        models=(spec.synthesis.model or spec.branches[0].model,),
        messages=messages,
        parameters=spec.synthesis.parameters,
        limits=spec.limits,
        cache_bypass=spec.cache_bypass,
        cache_ttl=spec.cache_ttl,
        run_cap=spec.cap,
    )


def most_drafts(spec: FanoutSpec, branches: int) -> int:
    """Return how many drafts there can be: each has seen at least one branch more than the one before it."""
    if spec.synthesis.mode is not SynthesisMode.DRAFT:
        return 0
    return min(MAX_DRAFTS, max(1, branches - spec.synthesis.start_after + 1))


async def estimate(caller: Caller, workspace: Workspace, planned: Planned, budget: int) -> FanoutPlan:
    """Say what the planned fan-out would cost."""
    spec = planned.spec
    calls = branch_calls(workspace, RunId("plan"), spec, planned.branches)
    estimates = [await caller.estimate(call) for call in calls]
    drafts = most_drafts(spec, len(calls))
    likely = min(2, drafts)
    expected, worst = _sum(found.expected for found in estimates), _sum(found.worst for found in estimates)
    if drafts:
        expected += likely * ((await _draft_estimate(caller, workspace, planned, budget, likely=True)).expected or 0)
        worst += drafts * ((await _draft_estimate(caller, workspace, planned, budget, likely=False)).worst or 0)
    return FanoutPlan(
        plan_hash=plan_hash(workspace, planned, budget),
        branches=planned.branches,
        calls=len(calls) + likely,
        cache_hits=sum(found.cached for found in estimates),
        expected=Nanos(expected),
        worst=Nanos(worst),
        unpriced=tuple(name for name, info in planned.models.items() if info.price is None),
        unbounded=any(info.price is None and not info.nearby for info in planned.models.values()),
    )


def plan_hash(workspace: Workspace, planned: Planned, budget: int) -> str:
    """Return a SHA-256 over everything that would run: the spec after defaults, what is known of the models with their
    prices, and the words the synthesiser is told.
    """
    whole = (workspace, planned.spec, sorted(planned.models.values(), key=lambda info: info.name), digests(), budget)
    return hashlib.sha256(msgspec.json.encode(whole, order="deterministic")).hexdigest()


async def _draft_estimate(
    caller: Caller, workspace: Workspace, planned: Planned, budget: int, *, likely: bool
) -> Estimate:
    """Estimate one draft from answers of made-up text: of half their limit, or as long as the prompt can get."""
    share = 1 + max(budget // len(planned.branches), LEAST_SHARE)
    answers = []
    for at, (branch, plan) in enumerate(zip(counted_out(planned.spec), planned.branches, strict=True)):
        if likely:
            limit = branch.parameters.over(planned.spec.parameters).max_tokens
            tokens = (limit or planned.models[branch.model].default_max_tokens or _UNKNOWN_LIMIT) // 2
            text = f"{at} ".ljust(min(share, tokens * _CHARACTERS_OF_TOKEN), "x")
        else:
            text = f"{at} ".ljust(share, _WIDE)
        answers.append(BranchFinished(branch_id=plan.branch_id, state=BranchState.DONE, model=plan.model, text=text))
    previous = answers[0].text if likely else _WIDE * budget
    messages = draft_messages(planned.spec.messages, answers, previous=previous, budget=budget)
    return await caller.estimate(draft_call(workspace, RunId("plan"), planned.spec, 1, messages))


def _sum(amounts: Iterable[Nanos | None]) -> int:
    return sum(amount or 0 for amount in amounts)


def _named_models(spec: FanoutSpec) -> Iterator[tuple[str, ModelName]]:
    for at, branch in enumerate(spec.branches):
        yield f"spec.branches[{at}].model", branch.model
        for place, model in enumerate(branch.failover):
            yield f"spec.branches[{at}].failover[{place}]", model
    if spec.synthesis.model is not None:
        yield "spec.synthesis.model", spec.synthesis.model


def _title(messages: Sequence[Message]) -> str:
    asked = [message.content for message in messages if message.role is Speaker.USER] or [messages[-1].content]
    return _shortened(asked[-1], _TITLE_CHARACTERS)


def _shortened(text: str, limit: int) -> str:
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"

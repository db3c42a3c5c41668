"""What a sweep will do: defaults filled in, every field checked, cases, criteria, target and baseline looked up."""

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Final

import msgspec
from msgspec.structs import replace

from whet_server.dataset.datasets import Datasets
from whet_server.dataset.spec import DatasetRef, Split
from whet_server.errors import HoldoutSpent, InvalidField
from whet_server.judge import asking
from whet_server.judge.items import Gathered, Items
from whet_server.judge.plan import Planner as Criteria
from whet_server.judge.spec import Asked, JudgementSpec
from whet_server.judging import Item
from whet_server.llm.base import ModelInfo
from whet_server.sweep.racing import DEFAULT_ALPHA, DEFAULT_MIN_CASES, DEFAULT_REDUCTION
from whet_server.sweep.samplers import check_sampler, filled
from whet_server.sweep.space import Space
from whet_server.sweep.spec import (
    DEFAULT_CONCURRENCY,
    DEFAULT_TRIALS,
    DEFAULT_TRIALS_AT_ONCE,
    SweepRecord,
    SweepSpec,
)
from whet_server.sweeping import (
    Budget,
    Configuration,
    Objective,
    ObjectiveKind,
    Racing,
    RacingMethod,
    SamplerKind,
    SearchDimension,
    SweepPlan,
    configuration_of,
    written,
)
from whet_server.values import ModelName, RunId, Value, Workspace

MAX_ANSWERS: Final = 2_000_000
"""Cases times trials: what is kept of them in memory while a sweep is under way stays below a few gigabytes, and
racing makes it a fraction."""
FEW_CASES: Final = 20
POWER: Final = 0.8
DEVIATION: Final = 0.5
_TITLE_CHARACTERS: Final = 80


class Planned(Value):
    """A sweep with nothing left open. `items` are in the sweep's order; `models` answer and judge."""

    record: SweepRecord
    items: tuple[Item, ...]
    models: dict[ModelName, ModelInfo]


class Chained(Value):
    """Where a sweep stands in its chain."""

    root: RunId | None = None
    place: int = 0


class Planner:
    """Makes plans of sweeps. `criteria` looks criteria up as for a judgement."""

    def __init__(self, criteria: Criteria, items: Items, datasets: Datasets) -> None:
        self._criteria = criteria
        self._items = items
        self._datasets = datasets

    async def plan(
        self,
        workspace: Workspace,
        spec: SweepSpec,
        gathered: Gathered,
        target: Configuration,
        chained: Chained = Chained(),
    ) -> Planned:
        """Return what the spec comes to, except for what it costs. `target` is what the target says at the dimensions'
        places. Raises `InvalidField` with paths from `spec.` on, `HoldoutSpent`, and what the look-up of
        criteria raises.
        """
        space = Space(spec.space)
        objectives = _objectives(spec)
        asked, models = await self._asked(workspace, spec, gathered.items)
        _check(spec, space, objectives, asked)
        sampler = filled(spec.sampler, len(_aims(objectives)))
        baseline = _baseline(spec, space, target)
        size = 0 if sampler.kind is SamplerKind.REFLECTION else space.size
        most = size + (not space.contains(baseline)) if size else 0
        budget = _budget(spec.budget, most, grid=sampler.kind is SamplerKind.GRID)
        items = in_order(gathered.items, spec.seed)
        if len(items) * budget.trials > MAX_ANSWERS:
            raise InvalidField(
                ("spec.budget.trials", f"{budget.trials} trials of {len(items)} cases; ask for {MAX_ANSWERS} at most")
            )
        plan = SweepPlan(
            target="pipeline" if spec.pipeline else "fanout" if spec.fanout else "outside",
            space=spec.space,
            size=size,
            baseline=written(baseline),
            trials=budget.trials,
            cases=len(items),
            sampler=sampler,
            racing=_racing(spec.racing),
            objectives=objectives,
            budget=budget,
            concurrency=spec.concurrency or DEFAULT_CONCURRENCY,
            trials_at_once=spec.trials_at_once or DEFAULT_TRIALS_AT_ONCE,
            seed=spec.seed,
            origin=gathered.origin,
            holdout_rows=await self._holdout_rows(workspace, spec, gathered.dataset),
            simulated=any(info.simulated for info in models.values()),
            parent_run_id=spec.chain.parent_run_id,
            step=spec.chain.step,
        )
        kept = replace(
            spec,
            items=gathered.items if spec.items else (),
            dataset=gathered.dataset,
            scorers=(),
            criteria=(),
            judge=None,
            title=spec.title or _title(plan),
        )
        record = SweepRecord(
            spec=kept, plan=plan, criteria=tuple(asked), chain_root=chained.root, chain_place=chained.place
        )
        return Planned(record=record, items=items, models=models)

    async def again(self, workspace: Workspace, record: SweepRecord) -> tuple[Item, ...]:
        """Return the cases of a run from its record, in its order. Raises what `Items.gather` raises."""
        return in_order((await self.gathered(workspace, record.spec)).items, record.plan.seed)

    async def gathered(self, workspace: Workspace, spec: SweepSpec) -> Gathered:
        """Return the cases, as given. Raises `InvalidField`, and what `Items.gather` raises."""
        if spec.outside is not None and not spec.items and spec.dataset is None:
            return Gathered(items=())
        dataset = spec.dataset
        if dataset is not None and dataset.split is None:
            dataset = replace(dataset, split=Split.DEV)
        if not spec.items and dataset is None:
            raise InvalidField(("spec.dataset", "say which cases: a data set, or the items themselves"))
        return await self._items.gather(workspace, JudgementSpec(items=spec.items, dataset=dataset), (), answered=False)

    async def _asked(
        self, workspace: Workspace, spec: SweepSpec, items: Sequence[Item]
    ) -> tuple[list[Asked], dict[ModelName, ModelInfo]]:
        scorers = spec.scorers
        if not scorers and not spec.criteria and spec.judge is None:
            if spec.outside is not None and not items:
                return [], {}
            if any(item.reference for item in items):
                scorers = ("exact",)
            elif spec.outside is not None:
                return [], {}
        return await self._criteria.criteria(
            workspace, JudgementSpec(scorers=scorers, criteria=spec.criteria, judge=spec.judge)
        )

    async def _holdout_rows(self, workspace: Workspace, spec: SweepSpec, ref: DatasetRef | None) -> int:
        """Return how many rows the final figure will have. Raises `HoldoutSpent` when they were shown before."""
        if not spec.holdout:
            return 0
        if spec.outside is not None:
            raise InvalidField(
                ("spec.holdout", "an outside program answers only the cases it is given, not a hold-out")
            )
        if ref is None:
            raise InvalidField(("spec.holdout", "a hold-out is one of a data set, and the cases are none of one"))
        dataset = await self._datasets.get(workspace, ref.name, ref.version)
        if not dataset.count(Split.HOLDOUT):
            raise InvalidField(("spec.holdout", f"{dataset.name}@{dataset.version} has no hold-out"))
        if not dataset.sealed:
            raise HoldoutSpent(
                f"The hold-out of {dataset.name}@{dataset.version} was opened before ({dataset.open_reason}). A figure "
                "on it would not be one on rows that nothing was chosen by. Leave it out, or add new rows.",
                metadata={"name": dataset.name, "version": str(dataset.version)},
            )
        return dataset.count(Split.HOLDOUT)


def in_order(items: Sequence[Item], seed: int) -> tuple[Item, ...]:
    """Return cases in the one order in which all trials of a sweep get them."""
    shuffled = list(items)
    random.Random(f"{seed}/cases").shuffle(shuffled)  # noqa: S311 -- drawn again from the record, so it must not be secret
    return tuple(shuffled)


def plan_hash(workspace: Workspace, planned: Planned) -> str:
    """Return a SHA-256 over everything that would run: the spec after defaults, criteria, the cases' texts, and what is
    known of the models with their prices.
    """
    models = sorted(planned.models.values(), key=lambda info: info.name)
    whole = (workspace, planned.record, planned.items, models)
    return hashlib.sha256(msgspec.json.encode(whole, order="deterministic")).hexdigest()


def detectable(plan: SweepPlan) -> float | None:
    """Return the smallest true difference of the mean score that a sweep sees four times in five; None without cases.

    Of a paired comparison at the level that each trial is left: (z of the level + z of the power) * deviation /
    sqrt(cases). The deviation of the differences is not known before: a quarter of the cases changing sides gives
    `DEVIATION`.
    """
    if not plan.cases:
        return None
    normal = NormalDist()
    level = normal.inv_cdf(1 - plan.racing.alpha / max(1, plan.trials - 1))
    return min(1.0, (level + normal.inv_cdf(POWER)) * DEVIATION / math.sqrt(plan.cases))


def warnings(plan: SweepPlan, unpriced: Sequence[ModelInfo]) -> Iterator[str]:
    """Yield what a person should know before. `unpriced` are models without a price."""
    if unpriced and plan.budget.money is not None:
        names = ", ".join(info.name for info in unpriced)
        yield f"A budget of money refuses every call to a model without a price: {names}."
    if plan.size > plan.trials and plan.sampler.kind is SamplerKind.GRID:
        yield f"The grid has {plan.size:,} combinations and the budget {plan.trials:,} trials: only a part is tried."
    elif plan.size > plan.trials:
        yield f"The space has {plan.size:,} combinations and the budget {plan.trials:,} trials."
    if 0 < plan.cases < FEW_CASES:
        yield f"{plan.cases} cases are too few to tell small differences from luck."
    if plan.cases and plan.racing.min_cases >= plan.cases and plan.racing.method is not RacingMethod.NONE:
        yield f"No trial is stopped early: racing waits for {plan.racing.min_cases} of {plan.cases} cases."


def _objectives(spec: SweepSpec) -> tuple[Objective, ...]:
    given = tuple(replace(each, kind=each.kind or ObjectiveKind.QUALITY) for each in spec.objectives)
    return given if _aims(given) else (Objective(kind=ObjectiveKind.QUALITY), *given)


def _aims(objectives: Sequence[Objective]) -> list[Objective]:
    return [objective for objective in objectives if objective.margin is None]


def _racing(racing: Racing) -> Racing:
    return replace(
        racing,
        method=racing.method or RacingMethod.PAIRED,
        min_cases=racing.min_cases or DEFAULT_MIN_CASES,
        reduction=racing.reduction or DEFAULT_REDUCTION,
        alpha=racing.alpha or DEFAULT_ALPHA,
    )


def _budget(budget: Budget, most: int, *, grid: bool) -> Budget:
    """Fill the number of trials in: at most `most`, the combinations and the baseline; 0: the space is continuous."""
    wanted = budget.trials or (most if grid else 0) or DEFAULT_TRIALS
    return replace(budget, trials=min(wanted, most) if most else wanted)


def _baseline(spec: SweepSpec, space: Space, target: Configuration) -> Configuration:
    names = {dimension.name for dimension in spec.space}
    wrong = [
        (f"spec.baseline[{at}].name", f"there is no dimension {parameter.name!r}")
        for at, parameter in enumerate(spec.baseline)
        if parameter.name not in names
    ]
    if wrong:
        raise InvalidField(*wrong)
    return space.complete(configuration_of(spec.baseline), target)


def _check(spec: SweepSpec, space: Space, objectives: Sequence[Objective], asked: Sequence[Asked]) -> None:
    check_sampler(spec.sampler, space, len(_aims(objectives)), pipeline=spec.pipeline is not None)
    wrong = []
    names = {each.name for each in asked}
    for at, objective in enumerate(spec.objectives):
        if objective.criterion and names and objective.criterion not in names:
            there_are = ", ".join(sorted(names))
            wrong.append((f"spec.objectives[{at}].criterion", f"there is no such criterion; there are: {there_are}"))
        if objective.criterion and objective.kind not in {None, ObjectiveKind.QUALITY}:
            wrong.append((f"spec.objectives[{at}].criterion", "only quality is one of a criterion"))
    if len({(each.kind, each.criterion, each.margin is None) for each in objectives}) < len(objectives):
        wrong.append(("spec.objectives", "the same objective stands there twice"))
    if asked and all(each.aside for each in asked):
        wrong.append(("spec.criteria", "every criterion is aside, so nothing makes the score"))
    wrong += [
        ("spec.judge.mode", f"a {each.judge.mode} judge compares answers; a case has one")
        for each in asked
        if each.judge is not None and asking.CANDIDATES[each.judge.mode][0] > 1
    ]
    if wrong:
        raise InvalidField(*wrong)


def _title(plan: SweepPlan) -> str:
    names = ", ".join(dimension.name for dimension in plan.space) or "texts"
    line = f"{names} on {plan.origin or plan.target}"
    return line if len(line) <= _TITLE_CHARACTERS else line[: _TITLE_CHARACTERS - 1].rstrip() + "…"


def narrowed(space: Sequence[SearchDimension], by: Sequence[SearchDimension]) -> tuple[SearchDimension, ...]:
    """Return the space after a retune. Raises `InvalidField` for what lies outside of what it was."""
    return Space(space).narrowed(by).dimensions

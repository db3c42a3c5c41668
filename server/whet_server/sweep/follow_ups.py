"""Sweeps that could follow one that ended, with their reasons in figures, and how a follow-up begins from its parent.

`narrow`: it has converged, so look closer around the best. `widen`: the best lies at an edge of a range, so look
beyond. `swap`: a dimension explains nothing, so it is fixed and another place of the target is searched instead.
A follow-up compares with the best of its parent, whatever the verdict was: its own winner is then better than all
that is known, and no luck is handed on.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from whet_server.errors import CapExceeded, InvalidField
from whet_server.sweep.export import objective_of
from whet_server.sweep.fold import SweepFold
from whet_server.sweep.measure import higher_is_better, mean_of
from whet_server.sweep.resolved import has_place, resolved
from whet_server.sweep.spec import Pipeline, SweepRecord, SweepSpec
from whet_server.sweeping import (
    Choice,
    Choices,
    Configuration,
    FloatRange,
    FollowUp,
    IntRange,
    SearchDimension,
    Setting,
    SweepResult,
    TrialState,
    written,
)
from whet_server.values import ModelName, Nanos, usd

NARROW: Final = "narrow"
WIDEN: Final = "widen"
SWAP: Final = "swap"
_CLOSER: Final = 0.25
"""The part of a range that a narrower one keeps, around the best: wide enough that a best which noise has put beside
the true one is still inside, in ranges that mattered enough to converge."""
_EDGE: Final = 0.05
"""The part of a range at each end of it in which the best lies at an edge."""
_NOTHING: Final = 0.05
"""Shares of the differences below this explain nothing: as much as a dimension that does nothing gets by chance."""
_FEW: Final = 10
"""Trials of a follow-up at least."""
_BEST_PART: Final = 0.25
"""The part of the complete trials whose choices a narrower space keeps."""
_LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "temperature": (0.0, 2.0),
    "top_p": (0.01, 1.0),
    "max_tokens": (1, math.inf),
    "examples.count": (0, 100),
    "samples": (1, 100),
}
"""Beyond these a place of a target has no meaning."""
_TEMPERATURES: Final = FloatRange(low=0.0, high=1.0)


def follow_ups(record: SweepRecord, fold: SweepFold, result: SweepResult) -> tuple[FollowUp, ...]:
    """Return what could follow; nothing where there is no best trial."""
    best = fold.trials.get(result.best) if result.best is not None else None
    if best is None:
        return ()
    found = (
        _widen(record, best.configuration),
        _narrow(record, fold, result, best.configuration),
        _swap(record, result, best.configuration),
    )
    return tuple(each for each in found if each is not None)


def followed(parent: SweepRecord, fold: SweepFold, result: SweepResult, spec: SweepSpec) -> SweepSpec:
    """Return the spec of a follow-up, with what it leaves unset taken from its parent: the target as the parent's best
    trial had it, the space of the step, and the rest as it was, but for the hold-out, which is opened once and only
    where it is asked for. Raises `InvalidField` for a step that the parent does not propose.
    """
    step = spec.chain.step
    proposed = next((each for each in result.follow_ups if each.step == step), None)
    if proposed is None or result.best is None:
        there_are = ", ".join(each.step for each in result.follow_ups) or "none"
        raise InvalidField(("spec.chain.step", f"the parent proposes no follow-up {step!r}; it proposes: {there_are}"))
    best, old = fold.trials[result.best], parent.spec
    own = spec.pipeline or spec.fanout or spec.outside
    settled = spec if own else resolved(old, best.configuration, best.texts)
    kept = {name: getattr(old, name) for name in _INHERITED if getattr(spec, name) == getattr(_UNSET, name)}
    if spec.dataset or spec.items:
        kept = {name: part for name, part in kept.items() if name not in {"dataset", "items"}}
    if spec.scorers or spec.criteria or spec.judge:
        kept = {name: part for name, part in kept.items() if name not in {"scorers", "criteria", "judge"}}
    space = spec.space or proposed.space
    names = {dimension.name for dimension in space}
    start = {name: setting for name, setting in best.configuration.items() if name in names}
    return replace(
        spec,
        **kept,
        pipeline=settled.pipeline,
        fanout=settled.fanout,
        outside=settled.outside,
        space=space,
        baseline=spec.baseline or written(start),
        budget=replace(spec.budget, **_budget(old, spec, proposed)),
    )


def check_chain(root: SweepRecord, place: int, spent: Nanos, path: str = "spec.chain.parent_run_id") -> Nanos | None:
    """Return the money that the chain has left for another sweep, None where the chain has no cap. `root` is the first
    sweep, `place` how many come before the new one, `spent` what all of them have spent. Raises `InvalidField` when
    the chain is as long as it may be, `CapExceeded` when its money is used up.
    """
    chain = root.spec.chain
    if place > chain.depth:
        allowed = f"{chain.depth} may follow the first sweep" if chain.depth else "none may follow the first sweep"
        raise InvalidField((path, f"the chain ends here: {allowed}, as its chain.depth says"))
    if chain.money is None:
        return None
    if spent >= chain.money:
        raise CapExceeded(
            f"The sweeps of this chain have spent {usd(spent)} of {usd(chain.money)}; begin a chain anew.",
            metadata={"cap": "chain"},
        )
    return Nanos(chain.money - spent)


_UNSET: Final = SweepSpec()
_INHERITED: Final = (
    "sampler",
    "racing",
    "objectives",
    "dataset",
    "items",
    "scorers",
    "criteria",
    "judge",
    "concurrency",
    "trials_at_once",
    "seed",
    "cache_bypass",
    "cache_ttl",
    "limits",
)


def _budget(old: SweepSpec, spec: SweepSpec, proposed: FollowUp) -> dict[str, Any]:
    """What the budget leaves unset: the trials of the proposal, and the parent's other caps."""
    kept = {name: getattr(spec.budget, name) or getattr(old.budget, name) for name in ("money", "tokens", "time_ns")}
    return kept | {"trials": spec.budget.trials or proposed.trials}


def _few(record: SweepRecord) -> int:
    return max(_FEW, record.plan.trials // 2)


# --- widen -----------------------------------------------------------------------------------------------------------


def _widen(record: SweepRecord, best: Configuration) -> FollowUp | None:
    """Look beyond the edges at which the best lies, as far again as the range is wide."""
    space, reasons = [], []
    for dimension in record.plan.space:
        wider = _wider(dimension, best[dimension.name]) if dimension.name in best else None
        space.append(wider or dimension)
        if wider is not None:
            at, was, now = _shown(best[dimension.name]), _range_words(dimension), _range_words(wider)
            reasons.append(f"{dimension.name} is best at {at}, an edge of {was}: search {now}")
    if not reasons:
        return None
    return FollowUp(step=WIDEN, reason=_sentence(reasons), space=tuple(space), trials=_few(record))


def _wider(dimension: SearchDimension, setting: Setting) -> SearchDimension | None:
    numbers = dimension.float_range or dimension.int_range
    if numbers is None or isinstance(setting, str) or numbers.high <= numbers.low:
        return None
    low, high = _scaled(numbers, numbers.low), _scaled(numbers, numbers.high)
    share = (_scaled(numbers, setting) - low) / (high - low)
    floor, ceiling = _limits(dimension.name, numbers)
    if share <= _EDGE and numbers.low > floor:
        return _ranged(dimension, max(floor, _unscaled(numbers, low - (high - low))), numbers.high)
    if share >= 1 - _EDGE and numbers.high < ceiling:
        return _ranged(dimension, numbers.low, min(ceiling, _unscaled(numbers, high + (high - low))))
    return None


def _limits(name: str, numbers: FloatRange | IntRange) -> tuple[float, float]:
    """Beyond which a dimension has no meaning. Of a variable nobody knows; one that began at 0 hardly goes below."""
    place = next((limits for place, limits in _LIMITS.items() if name == place or name.endswith(f".{place}")), None)
    floor, ceiling = place or (0.0 if numbers.low >= 0 else -math.inf, math.inf)
    smallest = (1.0 if isinstance(numbers, IntRange) else 0.0) if numbers.log else -math.inf
    return max(floor, smallest), ceiling


# --- narrow ----------------------------------------------------------------------------------------------------------


def _narrow(record: SweepRecord, fold: SweepFold, result: SweepResult, best: Configuration) -> FollowUp | None:
    """Look closer around the best once nothing better came any more."""
    if not result.converged:
        return None
    leading = _leading(record, fold)
    changed: dict[str, SearchDimension] = {}
    for dimension in record.plan.space:
        if dimension.name in best and (closer := _closer(dimension, best[dimension.name], leading)) is not None:
            changed[dimension.name] = closer
    if not changed:
        return None
    space = tuple(changed.get(dimension.name, dimension) for dimension in record.plan.space)
    words = [
        f"{each.name} {_range_words(_named(record, each.name))} to {_range_words(each)}" for each in changed.values()
    ]
    at = result.history[-1].ended if result.history else 0
    ended = sum(trial.end is not None for trial in fold.trials.values())
    reason = f"nothing better than trial {result.best} came in the last {ended - at} of {ended} trials; look closer: "
    return FollowUp(step=NARROW, reason=_sentence([reason + ", ".join(words)]), space=space, trials=_few(record))


def _leading(record: SweepRecord, fold: SweepFold) -> list[Configuration]:
    """The configurations of the best part of the complete trials, by the first objective."""
    objective = objective_of(record)
    sign = 1 if higher_is_better(objective) else -1
    complete = [
        (sign * value, -number, trial.configuration)
        for number, trial in fold.trials.items()
        if trial.end is not None
        and trial.state is TrialState.COMPLETE
        and (value := mean_of(trial.end, objective)) is not None
    ]
    complete.sort(key=lambda each: each[:2], reverse=True)
    return [configuration for _, _, configuration in complete[: max(2, round(len(complete) * _BEST_PART))]]


def _closer(dimension: SearchDimension, setting: Setting, leading: Sequence[Configuration]) -> SearchDimension | None:
    """The dimension around a setting; None where it would stay as it is."""
    if dimension.choices is not None:
        labels = {setting, *(each[dimension.name] for each in leading if dimension.name in each)}
        kept = tuple(choice for choice in dimension.choices.choices if choice.label in labels)
        fewer = 1 < len(kept) < len(dimension.choices.choices)
        return replace(dimension, choices=Choices(choices=kept)) if fewer else None
    numbers = dimension.float_range or dimension.int_range
    if numbers is None or isinstance(setting, str) or numbers.high <= numbers.low:
        return None
    low, high, at = (_scaled(numbers, each) for each in (numbers.low, numbers.high, setting))
    around = (high - low) * _CLOSER / 2
    closer = _ranged(
        dimension,
        max(numbers.low, _unscaled(numbers, at - around)),
        min(numbers.high, _unscaled(numbers, at + around)),
    )
    now = closer.float_range or closer.int_range
    return closer if now is not None and now.low < now.high and closer != dimension else None


# --- swap ------------------------------------------------------------------------------------------------------------


def _swap(record: SweepRecord, result: SweepResult, best: Configuration) -> FollowUp | None:
    """Fix what explains nothing and search another place of the target instead."""
    idle = [
        each
        for each in result.importance
        if each.share < _NOTHING and each.name in best and has_place(record.spec, each.name)
    ]
    instead = next(_unsearched(record), None)
    if not idle or instead is None:
        return None
    fixed = {each.name for each in idle}
    left = [dimension for dimension in record.plan.space if dimension.name not in fixed]
    space = [each for dimension in left if (each := _freed(dimension, fixed, best)) is not None]
    words = [
        f"{each.name} explains {each.share:.0%} of the differences and stays {_shown(best[each.name])}" for each in idle
    ]
    reason = f"{'; '.join(words)}; {instead.name} was not searched yet: try {_range_words(instead)}"
    return FollowUp(step=SWAP, reason=_sentence([reason]), space=(*space, instead), trials=_few(record))


def _freed(dimension: SearchDimension, fixed: set[str], best: Configuration) -> SearchDimension | None:
    """The dimension without a condition on one that is fixed; None where it counts no more."""
    condition = dimension.only_if
    if condition is None or condition.dimension not in fixed:
        return dimension
    return replace(dimension, only_if=None) if str(best[condition.dimension]) in condition.labels else None


def _unsearched(record: SweepRecord) -> Iterator[SearchDimension]:
    """Places of the target that no dimension names, the one that is likely to matter most first: another model of
    those that the sweep knows, solved examples, the temperature.
    """
    searched = {dimension.name for dimension in record.plan.space}
    stages = record.spec.pipeline.stages if record.spec.pipeline is not None else ()
    models = _models(record)
    for stage in stages:
        if f"{stage.name}.model" not in searched and len(models) > 1:
            choices = tuple(Choice(label=model) for model in models)
            yield SearchDimension(name=f"{stage.name}.model", choices=Choices(choices=choices))
    for stage in stages:
        if f"{stage.name}.examples.count" not in searched and record.spec.dataset is not None:
            yield SearchDimension(name=f"{stage.name}.examples.count", int_range=IntRange(low=0, high=4))
    for place in [f"{stage.name}.temperature" for stage in stages] or ["temperature"] * (
        record.spec.fanout is not None
    ):
        if place not in searched:
            yield SearchDimension(name=place, float_range=_TEMPERATURES)


def _models(record: SweepRecord) -> list[ModelName]:
    """Models that the sweep knows, each once, in order: those of its stages and those of its panels and choices."""
    pipeline = record.spec.pipeline or Pipeline()
    choices = [each for dimension in record.plan.space if dimension.choices for each in dimension.choices.choices]
    named = [
        ModelName(each.label)
        for d in record.plan.space
        if d.name.endswith(".model") and d.choices
        for each in d.choices.choices
    ]
    return list(
        dict.fromkeys([*(s.model for s in pipeline.stages), *named, *(m for each in choices for m in each.models)])
    )


# --- numbers and words -----------------------------------------------------------------------------------------------


def _scaled(numbers: FloatRange | IntRange, value: float) -> float:
    return math.log(value) if numbers.log else float(value)


def _unscaled(numbers: FloatRange | IntRange, value: float) -> float:
    return math.exp(value) if numbers.log else value


def _ranged(dimension: SearchDimension, low: float, high: float) -> SearchDimension:
    """The dimension with another range, on the multiples of its step."""
    if (integers := dimension.int_range) is not None:
        step = integers.step or 1
        first, last = (integers.low + round((each - integers.low) / step) * step for each in (low, high))
        return replace(dimension, int_range=replace(integers, low=first, high=last))
    floats = dimension.float_range or FloatRange()
    if floats.step:
        low, high = (floats.low + round((each - floats.low) / floats.step) * floats.step for each in (low, high))
    return replace(dimension, float_range=replace(floats, low=_rounded(low), high=_rounded(high)))


def _rounded(value: float) -> float:
    """Four digits: what people can read, and far finer than any range is known."""
    return float(f"{value:.4g}")


def _named(record: SweepRecord, name: str) -> SearchDimension:
    return next(dimension for dimension in record.plan.space if dimension.name == name)


def _range_words(dimension: SearchDimension) -> str:
    numbers = dimension.float_range or dimension.int_range
    if numbers is not None:
        return f"{_shown(numbers.low)}..{_shown(numbers.high)}"
    return " | ".join(choice.label for choice in (dimension.choices or Choices()).choices)


def _shown(setting: Setting) -> str:
    return f"{setting:.4g}" if isinstance(setting, float) else str(setting)


def _sentence(reasons: Sequence[str]) -> str:
    text = "; ".join(reasons)
    return f"{text[:1].upper()}{text[1:]}."

"""The trials of a sweep as a leaderboard: filtered, ordered, a page at a time."""

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from whet_server.errors import InvalidField, TrialNotFound
from whet_server.sweep.fold import SweepFold, TrialFold
from whet_server.sweep.measure import higher_is_better, mean_of
from whet_server.sweep.racing import objectives
from whet_server.sweep.views import under_way
from whet_server.sweeping import (
    Objective,
    ObjectiveKind,
    SearchDimension,
    Setting,
    SweepPlan,
    Trial,
    TrialState,
    configuration_of,
)
from whet_server.values import RunId

_WHERE: Final = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*([=<>])\s*(.*?)\s*", re.DOTALL)
_SIGNS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_MEASURES: Final[Mapping[str, Callable[[Trial], float | None]]] = {
    **{kind.value: partial(mean_of, objective=Objective(kind=kind)) for kind in ObjectiveKind},
    "cases": lambda trial: trial.cases,
}
"""What can be filtered by beside parameters: US dollars, seconds."""
_RANKS: Final[Mapping[TrialState, int]] = {
    TrialState.COMPLETE: 0,
    TrialState.RUNNING: 1,
    TrialState.PRUNED: 2,
    TrialState.CANCELLED: 3,
    TrialState.FAILED: 4,
}
"""A trial of few cases is no better than one of all, however well it did on those."""
_MOST_LABELS: Final = 20
"""Labels named in a complaint."""

Key: TypeAlias = tuple[float, ...]
Filter: TypeAlias = Callable[[Trial], bool]


class TrialOrder(StrEnum):
    BEST = "best"
    NUMBER = "number"
    COST = "cost"
    LATENCY = "latency"


class Wanted(NamedTuple):
    """What a leaderboard is to show. `state` None: any; `front`: only those on the Pareto front."""

    order: TrialOrder = TrialOrder.BEST
    state: TrialState | None = None
    where: Sequence[Filter] = ()
    front: bool = False


class Ranked(NamedTuple):
    """A trial and its place, which stays where it is when others move."""

    key: Key
    trial: Trial

    @property
    def token(self) -> str:
        """The place as text, for `after`."""
        return json.dumps(self.key)


def trial_of(fold: SweepFold, number: int, run_id: RunId) -> TrialFold:
    """Return a trial. Raises `TrialNotFound`."""
    trial = fold.trials.get(number)
    if trial is None:
        there_are = f"its trials are 0 to {len(fold.trials) - 1}" if fold.trials else "none has begun"
        raise TrialNotFound(
            f"{run_id} has no trial {number}: {there_are}.", metadata={"run_id": run_id, "number": str(number)}
        )
    return trial


def standings(fold: SweepFold) -> list[Trial]:
    """Return every trial as it stands, by number."""
    return [trial.end or under_way(fold, trial) for trial in fold.trials.values()]


def filters(words: Sequence[str], space: Sequence[SearchDimension], field: str = "where") -> list[Filter]:
    """Return filters such as `classify.temperature<0.5`. Raises `InvalidField` that names what there is."""
    made, wrong = [], []
    dimensions = {dimension.name: dimension for dimension in space}
    for at, word in enumerate(words):
        try:
            made.append(_filter(word, dimensions))
        except ValueError as error:
            wrong.append((f"{field}[{at}]", str(error)))
    if wrong:
        raise InvalidField(*wrong)
    return made


def leaderboard(plan: SweepPlan, trials: Iterable[Trial], front: Sequence[int] | None, wanted: Wanted) -> list[Ranked]:
    """Return the trials that are wanted, in their order. `front`: those on the Pareto front, where a result says."""
    found = list(trials)
    on_front = frozenset(_front(plan, found) if front is None else front)
    kept = (
        replace(trial, front=True) if trial.number in on_front else trial
        for trial in found
        if (wanted.state is None or trial.state is wanted.state)
        and (not wanted.front or trial.number in on_front)
        and all(passes(trial) for passes in wanted.where)
    )
    key = _keys(plan)[wanted.order]
    return sorted(Ranked((*key(trial), trial.number), trial) for trial in kept)


def after(ranked: Sequence[Ranked], token: str | None) -> Sequence[Ranked]:
    """Return what stands behind a place. Raises `InvalidField` for a token that is none."""
    if not token:
        return ranked
    try:
        last = tuple(float(part) for part in json.loads(token))
    except (TypeError, ValueError):
        raise InvalidField(("page.token", "This is no token of this list.")) from None
    return [each for each in ranked if each.key > last]


def _keys(plan: SweepPlan) -> Mapping[TrialOrder, Callable[[Trial], Key]]:
    first = objectives(plan)[0]
    return {
        TrialOrder.BEST: lambda trial: (_RANKS[trial.state], *_last_without(_loss(trial, first))),
        TrialOrder.NUMBER: lambda _: (),
        TrialOrder.COST: lambda trial: _last_without(trial.cost),
        TrialOrder.LATENCY: lambda trial: _last_without(trial.latency_ns),
    }


def _last_without(value: float | None) -> Key:
    """Return a key that puts those without a value behind all others."""
    return (1.0, 0.0) if value is None else (0.0, value)


def _loss(trial: Trial, objective: Objective) -> float | None:
    """Return a trial's value of an objective, lower being better."""
    value = mean_of(trial, objective)
    return -value if value is not None and higher_is_better(objective) else value


def _front(plan: SweepPlan, trials: Sequence[Trial]) -> list[int]:
    """Return the whole trials that no other is as good as in every objective and better in one; of one objective, the
    best.
    """
    aims = objectives(plan)
    points = []
    for trial in trials:
        losses = [loss for aim in aims if (loss := _loss(trial, aim)) is not None]
        if trial.state is TrialState.COMPLETE and len(losses) == len(aims):
            points.append((losses, trial.number))
    points.sort()
    if len(aims) == 1:
        return [number for _, number in points[:1]]
    front: list[tuple[list[float], int]] = []
    for losses, number in points:  # whatever beats a point stands before it
        if not any(other != losses and all(map(operator.le, other, losses)) for other, _ in front):
            front.append((losses, number))
    return [number for _, number in front]


def _filter(word: str, dimensions: Mapping[str, SearchDimension]) -> Filter:
    """Return one filter. Raises ValueError in words."""
    read = _WHERE.fullmatch(word)
    if read is None:
        raise ValueError("write name=value, name<value or name>value")
    name, sign, text = read.groups()
    dimension = dimensions.get(name)
    if dimension is None and name not in _MEASURES:
        raise ValueError(f"there is no {name!r}; there are: {', '.join((*dimensions, *_MEASURES))}")
    if dimension is not None and dimension.choices is not None:
        return _by_label(dimension, sign, text)
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name} is a number, and {text[:50]!r} is none") from None
    compare = _SIGNS[sign]

    def passes(trial: Trial) -> bool:
        value = _MEASURES[name](trial) if dimension is None else _setting(trial, name)
        return not isinstance(value, str | None) and compare(value, number)

    return passes


def _by_label(dimension: SearchDimension, sign: str, text: str) -> Filter:
    labels = [choice.label for choice in dimension.choices.choices] if dimension.choices is not None else []
    shown = ", ".join(labels[:_MOST_LABELS]) + (", ..." if len(labels) > _MOST_LABELS else "")
    if sign != "=":
        raise ValueError(f"{dimension.name} is one of several: compare it with =. There are: {shown}")
    if text not in labels and not dimension.name.endswith(("template", "system")):  # of texts a sweep makes new ones
        raise ValueError(f"{dimension.name} is never {text[:100]!r}; there are: {shown}")
    return lambda trial: _setting(trial, dimension.name) == text


def _setting(trial: Trial, name: str) -> Setting | None:
    return configuration_of(trial.parameters).get(name)

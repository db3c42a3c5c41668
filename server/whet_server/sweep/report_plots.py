"""The plots of a sweep's report: what is drawn, and its words."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from whet_server.sweep.export import unit_of
from whet_server.sweep.fold import SweepFold
from whet_server.sweep.measure import higher_is_better, mean_of
from whet_server.sweep.plots import Axis, Bars, Plot, Point
from whet_server.sweep.visible import visible
from whet_server.sweeping import BASELINE, Objective, SearchDimension, SweepResult, Trial

_PARAMETERS: Final = 4
"""Plots against single dimensions: those that matter most."""
_FEW: Final = 2
"""Points below this show nothing."""


def best_so_far_plot(result: SweepResult, ended: Sequence[Trial], objective: Objective) -> Plot:
    """How the best came about, over the trials in their order."""
    name = _name(objective)
    points = [(place, trial, mean_of(trial, objective)) for place, trial in enumerate(ended, start=1)]
    shown = tuple(_point(place, value, trial, result.best) for place, trial, value in points if value is not None)
    first, last = result.history[0], result.history[-1]
    steps = [(float(at.ended), at.value) for at in result.history]
    steps.append((float(max(len(ended), last.ended)), last.value))
    words = (
        f"Best {name}: {first.value:.3g} when the first trial with a value had ended, {last.value:.3g} from trial "
        f"{last.number} on. {len(ended)} trials ended, and the best changed {len(result.history) - 1} times."
    )
    return Plot(
        title="Best so far",
        words=words,
        x=Axis(name="trials ended"),
        y=Axis(name=name),
        points=shown,
        steps=tuple(steps),
    )


def importance_bars(result: SweepResult) -> Bars:
    """Which dimensions explain the differences."""
    bars = tuple((visible(each.name), each.share) for each in result.importance)
    said = ", ".join(f"{name} {share:.0%}" for name, share in bars)
    return Bars(
        title="Importance",
        words=f"Share of the differences between trials that each dimension explains: {said}.",
        bars=bars,
    )


def parameter_plots(fold: SweepFold, result: SweepResult, objective: Objective) -> Iterator[Plot]:
    """The first objective against each of the dimensions that matter most."""
    space = {dimension.name: dimension for dimension in fold.record.plan.space}
    for each in result.importance[:_PARAMETERS]:
        if each.name in space:
            plot = _against(fold, space[each.name], objective, result.best)
            if len(plot.points) >= _FEW:
                yield plot


def _against(fold: SweepFold, dimension: SearchDimension, objective: Objective, best: int | None) -> Plot:
    labels = tuple(choice.label for choice in dimension.choices.choices) if dimension.choices is not None else ()
    places = {label: float(place) for place, label in enumerate(labels)}
    points = []
    for _, trial in sorted(fold.trials.items()):
        setting = trial.configuration.get(dimension.name)
        value = mean_of(trial.end, objective) if trial.end is not None else None
        x = places.get(setting) if isinstance(setting, str) else setting
        if trial.end is not None and value is not None and x is not None:
            points.append(_point(x, value, trial.end, best))
    numbers = dimension.float_range or dimension.int_range
    name, measured = visible(dimension.name), _name(objective)
    axis = Axis(name=name, log=numbers is not None and numbers.log, labels=tuple(map(visible, labels)))
    words = f"{measured.capitalize()} of {len(points)} trials against {name}. {_seen(points, axis, objective)}"
    return Plot(
        title=f"{measured.capitalize()} against {name}",
        words=words,
        x=axis,
        y=Axis(name=measured),
        points=tuple(points),
    )


def _seen(points: Sequence[Point], axis: Axis, objective: Objective) -> str:
    """What the picture shows, as means: of each label, or of the quarters of a range."""
    if axis.labels:
        groups = [(label, [p.y for p in points if p.x == place]) for place, label in enumerate(axis.labels)]
    else:
        ordered = sorted(points, key=lambda point: point.x)
        cuts = [round(len(ordered) * part / _QUARTERS) for part in range(_QUARTERS + 1)]
        parts = [ordered[low:high] for low, high in pairwise(cuts)]
        groups = [(f"{part[0].x:.3g} to {part[-1].x:.3g}", [p.y for p in part]) for part in parts if part]
    means = [(sum(values) / len(values), label) for label, values in groups if values]
    means.sort(reverse=higher_is_better(objective))
    return f"Means, the best first: {', '.join(f'{label} {mean:.3g}' for mean, label in means)}."


_QUARTERS: Final = 4


def front_plot(ended: Sequence[Trial], front: set[int]) -> Plot | None:
    """Score against cost, with the front; None where hardly any trial has both."""
    known = [(trial.cost, trial.quality.value, trial) for trial in ended]
    points = tuple(
        Point(
            x=cost,
            y=score,
            mark="front" if trial.number in front else _mark(trial, None),
            words=f"trial {trial.number}",
        )
        for cost, score, trial in known
        if cost is not None and score is not None
    )
    if len(points) < _FEW or len({point.x for point in points}) < _FEW:
        return None
    on_front = sorted((point for point in points if point.mark == "front"), key=lambda point: point.x)
    said = "; ".join(f"{point.words}: {point.y:.3g} at ${point.x:.3g}" for point in on_front)
    words = f"Score and cost a case of {len(points)} trials. On the front: {said or 'none was named'}."
    x, y = Axis(name="cost a case, US dollars"), Axis(name="score")
    return Plot(title="Quality and cost", words=words, x=x, y=y, points=points)


def _name(objective: Objective) -> str:
    kind = objective.kind.value if objective.kind is not None else "quality"
    return visible(objective.criterion) or f"{kind} ({unit_of(objective)})"


def _point(x: float, y: float, trial: Trial, best: int | None) -> Point:
    return Point(x=float(x), y=y, mark=_mark(trial, best), words=f"trial {trial.number}")


def _mark(trial: Trial, best: int | None) -> str:
    return "best" if trial.number == best else "baseline" if trial.number == BASELINE else ""

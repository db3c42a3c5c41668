"""A sweep's figures, each as a plot and as the same in words.

What they are drawn from is made from all trials at once and may take a while; a plot draws a few hundred points of it.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from math import log10
from typing import Any, Final

from rich.text import Text

from whet_tui.safe import safe_line
from whet_tui.sweep_values import BestPoint, Dimension, Goal, Importance, Objective, Plan, Result, Trial, TrialState
from whet_tui.widgets.figure import Draw
from whet_tui.widgets.ink import Ink, paint
from whet_tui.widgets.sheet import Cell, Column, Sheet
from whet_tui.widgets.sweep_text import goal_words, value_words

_POINTS: Final = 300
"""Points of one kind that a plot draws: more would lie on each other."""
_SLICE: Final = 500
"""Trials that are looked at before a key may have its turn."""
_BINS: Final = 8
"""Groups that the values of a number are put into for the words."""
_STEPS: Final = 12
"""Steps of the best so far that the words tell: the latest."""
_FRONT: Final = 30
"""Trials of the front that the words tell."""
_BAR: Final = 24

_Point = tuple[float, float]


class Kind(StrEnum):
    BEST = "best so far"
    PARAMETER = "objective against a parameter"
    IMPORTANCE = "importance"
    FRONT = "Pareto front"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Trials with a value of a parameter in common. `low` and `high` are None for a label."""

    label: str
    count: int
    mean: float
    best: float
    pruned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What one figure is drawn from."""

    kind: Kind
    goal: Objective
    history: tuple[BestPoint, ...] = ()
    ended: int = 0
    dimension: Dimension | None = None
    groups: tuple[Group, ...] = ()
    points: tuple[_Point, ...] = ()
    pruned: tuple[_Point, ...] = ()
    importance: tuple[Importance, ...] = ()
    other: Objective | None = None
    front: tuple[Trial, ...] = ()


def kinds(plan: Plan) -> Sequence[Kind]:
    """The figures that a sweep has."""
    return [kind for kind in Kind if kind is not Kind.FRONT or len(plan.goals) > 1]


async def drawing(
    kind: Kind, plan: Plan, trials: Sequence[Trial], result: Result | None, front: Collection[int], dimension: int
) -> Drawing:
    """Return what a figure is drawn from. `dimension`: the place of the parameter.

    Keys have their turn between slices. A thread would be worse: it gives way only every five milliseconds, and a key
    needs it several times.
    """
    goal = plan.goals[0]
    if kind is Kind.BEST:
        ends = sorted([(each.end_ns, each.number, each) async for each in _slowly(trials) if each.end_ns])
        ended = [each for _, _, each in ends]
        history = result.history if result else await _history(ended, goal)
        return Drawing(kind=kind, goal=goal, history=history, ended=len(ended))
    if kind is Kind.IMPORTANCE:
        return Drawing(kind=kind, goal=goal, importance=result.importance if result else ())
    if kind is Kind.PARAMETER:
        one = plan.space[dimension % len(plan.space)] if plan.space else None
        return Drawing(kind=kind, goal=goal) if one is None else await _against(one, goal, trials)
    other = plan.goals[1]
    whole = [each async for each in _slowly(trials) if each.state is TrialState.COMPLETE]
    points = tuple(point for each in whole if (point := _both(each, other, goal)) is not None)
    beaten_by_none = tuple(each for each in whole if each.number in front)
    return Drawing(kind=kind, goal=goal, other=other, points=_thinned(points), front=beaten_by_none)


async def _slowly(trials: Sequence[Trial]) -> AsyncIterator[Trial]:
    """Yield the trials, and let keys have their turn between slices."""
    for place, trial in enumerate(trials):
        if place % _SLICE == 0:
            await asyncio.sleep(0)
        yield trial


def _both(trial: Trial, across: Objective, up: Objective) -> _Point | None:
    one, two = trial.value(across.kind), trial.value(up.kind)
    return None if one is None or two is None else (one, two)


async def _history(trials: Sequence[Trial], goal: Objective) -> tuple[BestPoint, ...]:
    """The best so far, as trials ended. Those that were stopped early are no best."""
    found: list[BestPoint] = []
    place = 0
    async for trial in _slowly(trials):
        place += 1
        value = trial.value(goal.kind) if trial.state is TrialState.COMPLETE else None
        if value is not None and (not found or _beats(value, found[-1].value, goal.kind)):
            found.append(BestPoint(number=trial.number, ended=place, value=value))
    return tuple(found)


def _beats(one: float, other: float, goal: Goal) -> bool:
    return one > other if goal is Goal.QUALITY else one < other


async def _against(dimension: Dimension, goal: Objective, trials: Sequence[Trial]) -> Drawing:
    whole: list[tuple[float | str, float]] = []
    pruned: list[tuple[float | str, float]] = []
    async for trial in _slowly(trials):
        value = trial.value(goal.kind)
        set_to = next((each.value for each in trial.parameters if each.name == dimension.name), None)
        if value is not None and set_to is not None and trial.state in {TrialState.COMPLETE, TrialState.PRUNED}:
            (whole if trial.state is TrialState.COMPLETE else pruned).append((set_to, value))
    if dimension.range is None:
        groups = _labelled(dimension, whole, pruned, goal.kind)
        return Drawing(kind=Kind.PARAMETER, goal=goal, dimension=dimension, groups=groups)
    across = dimension.range
    numbers = [(float(value), found) for value, found in whole if not isinstance(value, str)]
    others = [(float(value), found) for value, found in pruned if not isinstance(value, str)]
    return Drawing(
        kind=Kind.PARAMETER,
        goal=goal,
        dimension=dimension,
        groups=_binned(across.low, across.high, numbers, others, goal.kind, log=across.log),
        points=_thinned(numbers),
        pruned=_thinned(others),
    )


def _labelled(
    dimension: Dimension,
    whole: Sequence[tuple[float | str, float]],
    pruned: Sequence[tuple[float | str, float]],
    goal: Goal,
) -> tuple[Group, ...]:
    labels = [each.label for each in dimension.choices.choices] if dimension.choices else []
    groups = []
    for label in labels:
        values = [found for value, found in whole if value == label]
        left_out = sum(value == label for value, _ in pruned)
        groups.append(_group(label, values, left_out, goal))
    return tuple(groups)


def _binned(
    low: float, high: float, whole: Sequence[_Point], pruned: Sequence[_Point], goal: Goal, *, log: bool
) -> tuple[Group, ...]:
    """Put numbers into bins of the same width, on the scale on which they are searched."""

    def scaled(value: float) -> float:
        return log10(value) if log and value > 0 else value

    start, width = scaled(low), (scaled(high) - scaled(low)) / _BINS

    def place(value: float) -> int:
        return min(_BINS - 1, max(0, int((scaled(value) - start) / width))) if width else 0

    def edge(number: int) -> float:
        at = start + width * number
        return 10**at if log else at

    values: list[list[float]] = [[] for _ in range(_BINS)]
    left_out = [0] * _BINS
    for value, found in whole:
        values[place(value)].append(found)
    for value, _ in pruned:
        left_out[place(value)] += 1
    return tuple(
        _group(f"{edge(number):.3g} to {edge(number + 1):.3g}", values[number], left_out[number], goal)
        for number in range(_BINS)
        if values[number] or left_out[number]
    )


def _group(label: str, values: Sequence[float], pruned: int, goal: Goal) -> Group:
    mean = sum(values) / len(values) if values else 0.0
    best = (max(values) if goal is Goal.QUALITY else min(values)) if values else 0.0
    return Group(label=label, count=len(values), mean=mean, best=best, pruned=pruned)


def _thinned(points: Sequence[_Point]) -> tuple[_Point, ...]:
    """At most so many points as a plot draws, evenly taken."""
    step = max(1, -(-len(points) // _POINTS))
    return tuple(points[::step])


def figure_text(drawn: Drawing, ink: Ink, width: int) -> Text:
    """The figure in words."""
    text = Text(_title(drawn) + "\n", ink.you)
    if drawn.kind is Kind.IMPORTANCE:
        return text.append_text(_importance_text(drawn, ink, width))
    if drawn.kind is Kind.PARAMETER:
        return text.append_text(_groups_text(drawn, ink, width))
    if drawn.kind is Kind.FRONT:
        return text.append_text(_front_text(drawn, ink, width))
    if not drawn.history:
        return text.append("No trial has ended with a score yet.")
    for each in drawn.history[-_STEPS:]:
        value = value_words(each.value, drawn.goal.kind)
        text.append(f"after {each.ended:,} trial{'s' * (each.ended > 1)}  #{each.number:,}  {value}\n")
    left = len(drawn.history) - _STEPS
    return text.append(f"{left:,} earlier steps" if left > 0 else "", ink.muted)


def _title(drawn: Drawing) -> str:
    goal = goal_words(drawn.goal)
    if drawn.kind is Kind.PARAMETER:
        return f"{goal} against {safe_line(drawn.dimension.name, 60) if drawn.dimension else 'nothing'}"
    if drawn.kind is Kind.FRONT and drawn.other is not None:
        return f"Pareto front: {goal} and {goal_words(drawn.other)}"
    return f"{goal}, best so far" if drawn.kind is Kind.BEST else "what matters: share of the difference explained"


def _importance_text(drawn: Drawing, ink: Ink, width: int) -> Text:
    if not drawn.importance:
        return Text("It is computed when the sweep has ended, if there are enough trials to say.")
    columns = (Column(title="dimension", most=50), Column(title="share", right=True), Column(title=""))
    rows = [
        [
            Cell(safe_line(each.name, 100)),
            Cell(f"{100 * each.share:.0f}%"),
            Cell("█" * round(_BAR * min(1.0, each.share)), "accent"),
        ]
        for each in drawn.importance
    ]
    return Sheet(columns, rows).text(width, ink)


def _groups_text(drawn: Drawing, ink: Ink, width: int) -> Text:
    if not any(each.count or each.pruned for each in drawn.groups):
        return Text("No trial has ended with a score yet.")
    titles = ("value", "whole trials", "mean", "best", "pruned")
    columns = [Column(title=title, right=place > 0, most=40) for place, title in enumerate(titles)]
    goal = drawn.goal.kind
    rows = [
        [
            Cell(safe_line(each.label, 100)),
            Cell(f"{each.count:,}"),
            Cell(value_words(each.mean, goal) if each.count else "–"),
            Cell(value_words(each.best, goal) if each.count else "–"),
            Cell(f"{each.pruned:,}", "muted"),
        ]
        for each in drawn.groups
    ]
    return Sheet(columns, rows).text(width, ink)


def _front_text(drawn: Drawing, ink: Ink, width: int) -> Text:
    other = drawn.other
    if other is None or not drawn.front:
        return Text("No trial has ended with a score yet.")
    ordered = sorted(drawn.front, key=lambda each: each.value(other.kind) or 0.0)
    columns = [
        Column(title="trial", right=True),
        Column(title=goal_words(drawn.goal), right=True),
        Column(title=goal_words(other), right=True),
    ]
    rows = [
        [
            Cell(f"#{each.number:,}"),
            Cell(value_words(each.value(drawn.goal.kind), drawn.goal.kind)),
            Cell(value_words(each.value(other.kind), other.kind)),
        ]
        for each in ordered[:_FRONT]
    ]
    text = Sheet(columns, rows).text(width, ink)
    left = len(ordered) - _FRONT
    return text.append(f"\nand {left:,} more" if left > 0 else "", ink.muted)


def plot_of(drawn: Drawing, ink: Ink) -> Draw | None:
    """How the figure is drawn; None where there is nothing to draw."""
    if drawn.kind is Kind.BEST and drawn.history:
        return partial(_draw_best, drawn=drawn, ink=ink)
    if drawn.kind is Kind.IMPORTANCE and drawn.importance:
        return partial(_draw_importance, drawn=drawn, ink=ink)
    if drawn.kind is Kind.PARAMETER and (drawn.points or drawn.pruned):
        return partial(_draw_points, drawn=drawn, ink=ink)
    if drawn.kind is Kind.PARAMETER and any(each.count for each in drawn.groups):
        return partial(_draw_groups, drawn=drawn, ink=ink)
    if drawn.kind is Kind.FRONT and drawn.front:
        return partial(_draw_front, drawn=drawn, ink=ink)
    return None


def _draw_best(plt: Any, drawn: Drawing, ink: Ink) -> None:
    """Draw stairs: the best stays until a better one comes."""
    across: list[int] = []
    up: list[float] = []
    for each in drawn.history:
        across += [each.ended, each.ended] if up else [each.ended]
        up += [up[-1], each.value] if up else [each.value]
    plt.title(_title(drawn))
    plt.plot([*across, max(drawn.ended, across[-1])], [*up, up[-1]], color=paint(ink.accent))
    plt.xlabel("trials ended")


def _draw_importance(plt: Any, drawn: Drawing, ink: Ink) -> None:
    plt.title(_title(drawn))
    names = [safe_line(each.name, 20) for each in reversed(drawn.importance)]
    plt.bar(names, [each.share for each in reversed(drawn.importance)], orientation="h", color=paint(ink.accent))


def _draw_points(plt: Any, drawn: Drawing, ink: Ink) -> None:
    plt.title(_title(drawn))
    for points, marker, style, label in (
        (drawn.pruned, "·", ink.muted, "pruned"),
        (drawn.points, "●", ink.accent, "whole"),
    ):
        if points:
            across, up = zip(*points, strict=True)
            plt.scatter(list(across), list(up), marker=marker, color=paint(style), label=label)
    if drawn.dimension is not None:
        plt.xlabel(safe_line(drawn.dimension.name, 60))
        if drawn.dimension.range is not None and drawn.dimension.range.log:
            plt.xscale("log")


def _draw_groups(plt: Any, drawn: Drawing, ink: Ink) -> None:
    plt.title(f"{_title(drawn)}: mean of whole trials")
    shown = [each for each in drawn.groups if each.count]
    plt.bar([safe_line(each.label, 18) for each in shown], [each.mean for each in shown], color=paint(ink.accent))


def _draw_front(plt: Any, drawn: Drawing, ink: Ink) -> None:
    other = drawn.other
    if other is None:
        return
    plt.title(_title(drawn))
    if drawn.points:
        across, up = zip(*drawn.points, strict=True)
        plt.scatter(list(across), list(up), marker="·", color=paint(ink.muted), label="others")
    front = sorted(point for each in drawn.front if (point := _both(each, other, drawn.goal)) is not None)
    if front:
        across, up = zip(*front, strict=True)
        plt.scatter(list(across), list(up), marker="◆", color=paint(ink.accent), label="front")
    plt.xlabel(goal_words(other))

"""A judgement in words: how far it is, what its criteria come to, over how many items, and what was not scored."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.text import Text

from whet_tui.entries import dollars, money_line
from whet_tui.judging_values import (
    Criterion,
    Judgement,
    Mode,
    Outcome,
    OutcomeCount,
    Progress,
    Standing,
)
from whet_tui.safe import safe_line
from whet_tui.spans import ago, duration
from whet_tui.widgets import estimates, states
from whet_tui.widgets.ink import Ink, paint
from whet_tui.widgets.sheet import Cell, Column, InkName, Sheet, cost

_BAR: Final = 30
"""Cells of a bar."""
_STANDINGS: Final[dict[Standing, tuple[str, InkName]]] = {
    Standing.CALIBRATED: ("✓ calibrated: it was checked against people and may gate", "good"),
    Standing.UNCALIBRATED: ("! uncalibrated: never checked against people, it may not gate", "warning"),
    Standing.STALE: ("! stale: its model, rubric, prompt or parameters have changed since the check", "warning"),
    Standing.TOO_WEAK: ("✗ too weak: it agrees too little with people, or too few ratings say so", "bad"),
}
COLUMNS: Final = (
    Column(title="state", most=11),
    Column(title="judgement", grows=True),
    Column(title="verdicts", right=True, most=15, rank=1),
    Column(title="mean", right=True, most=22, rank=3),
    Column(title="not scored", most=30, rank=6),
    Column(title="begun", right=True, most=14, rank=4),
    Column(title="cost", right=True, most=24, rank=2),
    Column(title="judge", most=9, rank=5),
)


def row(judgement: Judgement, progress: Progress | None, now_ns: int) -> list[Cell]:
    """A judgement as lists show it."""
    glyph, ink = states.RUNS[judgement.state]
    done, planned = _done(judgement, progress)
    whole = judgement.combined
    return [
        Cell(f"{glyph} {judgement.state}", ink),
        Cell(safe_line(judgement.title or judgement.run_id, 200)),
        Cell(f"{done:,}/{planned:,}", "muted"),
        Cell(estimates.told(whole.mean) if whole is not None else ""),
        Cell(_unscored(whole.outcomes) if whole is not None else "", "warning"),
        Cell(ago(judgement.create_ns, now_ns), "muted"),
        Cell(cost(judgement.totals), "muted"),
        Cell("simulated" if judgement.plan.simulated else "", "simulated"),
    ]


def _done(judgement: Judgement, progress: Progress | None) -> tuple[int, int]:
    planned = judgement.plan.verdicts
    if progress is None or judgement.ended:
        return judgement.verdicts, planned
    return max(judgement.verdicts, progress.verdicts), progress.planned or planned


def _counts(outcomes: Iterable[OutcomeCount]) -> list[str]:
    return [f"{each.count:,} {each.outcome.words}" for each in outcomes if each.count]


def _unscored(outcomes: Iterable[OutcomeCount]) -> str:
    return ", ".join(_counts(each for each in outcomes if each.outcome is not Outcome.SCORED))


def denominators(criterion: Criterion) -> str:
    """Of how many items there is a score, and how every verdict ended that has none."""
    unscored = _unscored(criterion.outcomes)
    told = f"scored {criterion.scored_items:,} of {criterion.items:,}"
    return f"{told}; verdicts without a score: {unscored}" if unscored else told


def headline(judgement: Judgement, progress: Progress | None, ink: Ink, room: int) -> Text:
    """Title, state, how far it is, what it cost."""
    glyph, colour = states.RUNS[judgement.state]
    text = Text(safe_line(judgement.title or judgement.run_id, room), ink.you)
    done, planned = _done(judgement, progress)
    told = [f"{done:,} of {planned:,} verdicts", safe_line(judgement.plan.origin, 80)]
    told += [money_line(judgement.totals)] if judgement.ended else []
    told += [duration(judgement.end_ns - judgement.create_ns)] if judgement.end_ns else []
    told.append(judgement.run_id)
    text.append(f"\n{glyph} {judgement.state}", getattr(ink, colour))
    text.append(" · " + safe_line(" · ".join(part for part in told if part), 300), ink.muted)
    if judgement.plan.simulated:
        text.append(" · simulated", ink.simulated)
    if judgement.failure:
        text.append("\n" + safe_line(judgement.failure, 400), ink.bad)
    if not judgement.ended:
        text.append("\n").append_text(_progress(judgement, progress or Progress(), ink))
    return text


def _progress(judgement: Judgement, progress: Progress, ink: Ink) -> Text:
    """A bar that needs no colour, and what is left in words."""
    done, planned = _done(judgement, progress)
    cells = _BAR * done // planned if planned else 0
    text = Text("[").append("█" * cells, ink.accent).append("·" * (_BAR - cells) + "] ", ink.muted)
    told = [f"{100 * done // planned if planned else 0}%"]
    told += [f"{progress.in_flight:,} under way"] if progress.in_flight else []
    told += [f"about {duration(progress.time_left_ns)}"] if progress.time_left_ns else []
    told += [f"{dollars(progress.expected_left)} to go"] if progress.expected_left else []
    told.append(f"{money_line(progress.totals) or '$0'} so far")
    if unscored := _unscored(progress.outcomes):
        told.append(unscored)
    return text.append(" · ".join(told))


def criteria_sheet(criteria: Sequence[Criterion], chosen: int) -> Sheet:
    """All criteria, one line each."""
    columns = (
        Column(title="criterion", grows=True),
        Column(title="mean score", right=True),
        Column(title="scored", right=True, most=16),
        Column(title="not scored", most=36, rank=2),
        Column(title="judge", most=16, rank=1),
    )
    rows = []
    for place, each in enumerate(criteria):
        standing = each.calibration
        words, colour = _short(standing) if standing is not None else ("", "")
        rows.append([
            Cell(f"{'›' if place == chosen else ' '} {safe_line(each.criterion, 100)}"),
            Cell(estimates.told(each.mean)),
            Cell(f"{each.scored_items:,} of {each.items:,}"),
            Cell(_unscored(each.outcomes), "warning"),
            Cell(words, colour),
        ])  # fmt: skip
    return Sheet(columns, rows)


def _short(standing: Standing) -> tuple[str, InkName]:
    words, ink = _STANDINGS[standing]
    return words.partition(":")[0], ink


def details(criterion: Criterion, ink: Ink, width: int) -> Text:
    """One criterion: the mean and what it stands on, the judge and whether it may be believed, its dimensions."""
    text = Text(safe_line(criterion.criterion, 100), ink.you)
    text.append(f"  {estimates.told(criterion.mean)}").append(" 95% interval · ", ink.muted)
    text.append(denominators(criterion), ink.warning if criterion.scored_items < criterion.items else "")
    for line in filter(None, (_measured(criterion, ink), _judge(criterion, ink), _panel(criterion, ink))):
        text.append("\n").append_text(line)
    if criterion.corrected_mean.value is not None:
        text.append(
            f"\ncorrected by {criterion.corrected_on:,} rated items: {estimates.told(criterion.corrected_mean)}",
            ink.accent,
        )
        text.append(" wrong unless these are a random part of all", ink.muted)
    if criterion.dimensions:
        text.append("\n").append_text(_dimensions(criterion).text(width, ink))
    if criterion.standings:
        text.append("\n").append_text(_standings(criterion, ink))
    return text


def _measured(criterion: Criterion, ink: Ink) -> Text:
    told = []
    if criterion.mean_value is not None:
        told.append(f"mean {criterion.mean_value:.3g} {safe_line(criterion.unit, 20)}")
    if criterion.deviation is not None:
        told.append(f"standard deviation {criterion.deviation:.2f}")
    return Text(" · ".join(told), ink.muted)


def _judge(criterion: Criterion, ink: Ink) -> Text:
    """Who judged, and the calibration in a word and a colour."""
    text, judge = Text(), criterion.judge
    if judge is not None:
        told = [", ".join(judge.models), f"by {judge.rubric}", judge.mode]
        text.append(safe_line(" · ".join(told), 300), ink.muted)
        text.append(" · simulated" * criterion.simulated, ink.simulated)
        text.append(" · degraded: a judge gave nothing or another model answered" * criterion.degraded, ink.warning)
    if criterion.calibration is not None:
        words, colour = _STANDINGS[criterion.calibration]
        text.append("\n" * bool(text) + words, getattr(ink, colour))
    return text


def _panel(criterion: Criterion, ink: Ink) -> Text:
    told = []
    if criterion.panel_alpha.value is not None:
        told.append(f"the judges agree with each other: alpha {estimates.told(criterion.panel_alpha)}")
    if criterion.order_pairs:
        flips, pairs = criterion.order_flips, criterion.order_pairs
        told.append(f"the preference turned with the order in {flips:,} of {pairs:,} pairs ({flips / pairs:.0%})")
    return Text(" · ".join(told), ink.warning if criterion.order_flips else ink.muted)


def _dimensions(criterion: Criterion) -> Sheet:
    most = max((len(each.levels) for each in criterion.dimensions), default=0)
    columns = (
        Column(title="dimension", grows=True),
        Column(title="weight", right=True, rank=1),
        Column(title="mean level", right=True),
        Column(title="scored", right=True),
        Column(title="levels, lowest first", right=True, most=10 * max(1, most), rank=2),
    )
    rows = [
        [
            Cell(safe_line(each.dimension, 100)),
            Cell(f"{100 * each.weight:.3g}%", "muted"),
            Cell(estimates.told(each.mean)),
            Cell(f"{each.scored:,}"),
            Cell(" ".join(f"{count:,}" for count in each.levels), "muted"),
        ]
        for each in criterion.dimensions
    ]
    return Sheet(columns, rows)


def _standings(criterion: Criterion, ink: Ink) -> Text:
    lines = [
        f"answer {letter(each.candidate)}: {each.wins:,} won, {each.ties:,} tied, {each.losses:,} lost"
        for each in criterion.standings
    ]
    title = "Pairs" if criterion.judge is None or criterion.judge.mode is Mode.PAIRWISE else "Lists"
    return Text(title, ink.muted).append("\n" + "\n".join(lines))


def letter(candidate: int) -> str:
    """A candidate's name: A, B and so on, then numbers."""
    return chr(ord("A") + candidate) if candidate < 26 else str(candidate + 1)


def histogram(criterion: Criterion, ink: Ink) -> Text:
    """The scores in ten bins as text: the lowest first, each with a bar as long as its share of the fullest."""
    most = max(criterion.histogram, default=0)
    text = Text(f"Scores of {criterion.scored_items:,} items", ink.muted)
    room = len(f"{most:,}")
    for place, count in enumerate(criterion.histogram):
        text.append(f"\n{_bin(criterion, place)}  {count:>{room},}  ")
        text.append("█" * (-(-count * _BAR // most) if most else 0), ink.accent)
    return text


def _bin(criterion: Criterion, place: int) -> str:
    bins = len(criterion.histogram)
    return f"{place / bins:.1f}–{(place + 1) / bins:.1f}"


def plotted(plt: Any, criterion: Criterion, ink: Ink) -> None:
    """Draw the same bins, each named by its lower end: longer names would not fit below the bars."""
    plt.title(f"Scores of {criterion.scored_items:,} items")
    bins = len(criterion.histogram)
    names = [f"{place / bins:.1f}" for place in range(bins)]
    plt.bar(names, list(criterion.histogram), color=paint(ink.accent), width=0.6)

"""A judge compared with people, as tables, a matrix and figures."""

from collections.abc import Sequence
from typing import Any, Final

from rich.style import Style
from rich.text import Text

from whet_tui.calibration_values import Agreement, Calibration
from whet_tui.judging_values import Estimate, Judge, Standing
from whet_tui.safe import safe_line
from whet_tui.spans import ago
from whet_tui.widgets.estimates import bar, figure, interval, told
from whet_tui.widgets.figure import Draw
from whet_tui.widgets.ink import Ink, paint
from whet_tui.widgets.sheet import Cell, Column, InkName, Sheet

COLUMNS: Final = (
    Column(title="judge", grows=True),
    Column(title="rubric", most=30, rank=1),
    Column(title="state", most=14),
    Column(title="items", right=True, rank=3),
    Column(title="weighted kappa", right=True, most=24),
    Column(title="when", right=True, rank=2),
)
_MEASURES: Final = (
    Column(title="", most=34),
    Column(title="", right=True),
    Column(title="95 % interval", right=True),
)
_DIMENSIONS: Final = (
    Column(title="dimension", most=34),
    Column(title="items", right=True),
    Column(title="weighted kappa", right=True, most=24),
    Column(title="bias", right=True, most=24, rank=1),
    Column(title="same level", right=True, most=24, rank=2),
)
_STATES: Final[dict[Standing, tuple[str, InkName]]] = {
    Standing.CALIBRATED: ("✓ calibrated", "good"),
    Standing.UNCALIBRATED: ("· uncalibrated", "muted"),
    Standing.STALE: ("◐ stale", "warning"),
    Standing.TOO_WEAK: ("✗ too weak", "bad"),
}
_NEXT: Final = {
    Standing.CALIBRATED: "It may gate: whet judge gate RUN. Its known error is taken out of means by --correct.",
    Standing.UNCALIBRATED: "Rate items that it judged, then K in Judges, or: whet calibration calibrate {run}",
    Standing.STALE: "Judge the rated items again as it is now, then K in Judges, or: whet calibration calibrate RUN",
    Standing.TOO_WEAK: "After that, judge again, then K in Judges, or: whet calibration calibrate RUN",
}
_SHADES: Final = " ░▒▓█"
"""Beside each figure of the matrix: how much of its row it is."""
_DIGITS: Final = 12
"""Digits of a digest that are shown: enough to compare by eye."""


def calibration_row(one: Calibration, now: int) -> list[Cell]:
    words, ink = _STATES[one.state]
    whole = _whole(one)
    return [
        Cell(judge_words(one.judge), "simulated" if one.simulated else ""),
        Cell(safe_line(one.judge.rubric, 60)),
        Cell(words, ink),
        Cell(f"{whole.items:,}"),
        Cell(told(whole.weighted_kappa)),
        Cell(ago(one.create_ns, now), "muted"),
    ]


def judge_words(judge: Judge) -> str:
    return safe_line(" + ".join(judge.models) or "no model", 120)


def _whole(one: Calibration) -> Agreement:
    return one.agreements[0] if one.agreements else Agreement()


def calibration_report(one: Calibration, agreement: Agreement, ink: Ink, width: int, now: int) -> Text:
    """Where the judge stands and what to do, then the figures of one agreement, then all dimensions."""
    words, name = _STATES[one.state]
    style = getattr(ink, name)
    head = Text(f"{words}", style)
    if one.reason:
        head.append(f": {safe_line(one.reason)}")
    lines = [head, Text(f"Next: {_NEXT[one.state].format(run=safe_line(one.run_id, 60))}")]
    lines += [Text(fact, ink.muted) for fact in _facts(one, now)]
    if one.simulated:
        lines.append(Text("The judge is simulated: what it says is no opinion.", ink.simulated))
    lines += [Text(), _head(agreement, ink), _measures(agreement).text(width, ink)]
    if agreement.levels:
        lines += [Text(), _matrix(agreement, ink)]
    if len(one.agreements) > 1:
        lines += [Text(), _dimensions(one.agreements, agreement).text(width, ink)]
    return Text("\n").join(lines)


def _facts(one: Calibration, now: int) -> list[str]:
    judge = one.judge
    samples = f", {judge.samples} samples" if judge.samples > 1 else ""
    raters = ", ".join(safe_line(rater, 40) for rater in one.raters) or "nobody"
    ended = ", ".join(f"{count.count:,} {count.outcome.words}" for count in one.outcomes)
    digests = (("judge", one.judge_digest), ("rubric", one.rubric_digest), ("prompt", one.prompt_digest))
    bound = ", ".join(f"{name} {safe_line(digest, 64)[:_DIGITS]}" for name, digest in digests if digest)
    return [
        f"{judge_words(judge)} by {safe_line(judge.rubric, 60)}, {judge.mode}{samples}; rated by {raters}",
        f"From {safe_line(one.run_id, 60)}, {safe_line(one.criterion, 60)}, {ago(one.create_ns, now)}: {ended}",
        *([f"Bound to {bound}"] if bound else []),
    ]


def name_of(agreement: Agreement) -> str:
    return safe_line(agreement.dimension, 60) or "the whole"


def _head(agreement: Agreement, ink: Ink) -> Text:
    words = f" · {agreement.items:,} items that the judge scored and people rated"
    left = f"; {agreement.unscored:,} rated but not scored" if agreement.unscored else ""
    return Text.assemble((name_of(agreement), ink.you), words, (left, ink.warning))


def _measures(agreement: Agreement) -> Sheet:
    """Every measure with its interval; all stand on the same items."""
    measures = (
        ("same level, share", agreement.exact, False),
        ("Cohen's kappa", agreement.kappa, False),
        ("weighted kappa, quadratic", agreement.weighted_kappa, False),
        ("Krippendorff's alpha, ordinal", agreement.alpha, False),
        ("  among people: the ceiling", agreement.people_alpha, False),
        ("Spearman's rank correlation", agreement.spearman, False),
        ("bias: judge less people, levels", agreement.bias, True),
        ("mean difference, levels", agreement.error, False),
    )
    rows = [
        [Cell(name), Cell(figure(estimate.value, signed=signed)), Cell(interval(estimate, signed=signed))]
        for name, estimate, signed in measures
    ]
    return Sheet(_MEASURES, rows)


def _matrix(agreement: Agreement, ink: Ink) -> Text:
    """How often people said the row's level and the judge the column's, each figure with its share of the row as a
    shade; equal levels stand in the diagonal.
    """
    levels = agreement.levels
    room = max(4, *(len(f"{count:,}") + 2 for count in agreement.matrix)) if agreement.matrix else 4
    text = Text("people ↓  judge →", ink.muted)
    text.append("".join(f"{level:>{room}} " for level in levels), ink.muted)
    for place, level in enumerate(levels):
        row = agreement.row(place)
        whole = sum(row)
        text.append(f"\n{level:>17}", ink.muted)
        for other, count in enumerate(row):
            style = ink.good if other == place else ink.warning if count else ink.muted
            text.append(f"{count or '·':>{room}}", style + Style(bold=other == place))
            text.append(_shade(count, whole), style)
    return text


def _shade(count: int, whole: int) -> str:
    return _SHADES[min(len(_SHADES) - 1, -(-count * (len(_SHADES) - 1) // whole))] if whole else _SHADES[0]


def _dimensions(agreements: Sequence[Agreement], chosen: Agreement) -> Sheet:
    rows = [
        [
            Cell(f"{'▸' if each is chosen else ' '} {name_of(each)}", "accent" if each is chosen else ""),
            Cell(f"{each.items:,}"),
            Cell(told(each.weighted_kappa)),
            Cell(told(each.bias, signed=True)),
            Cell(told(each.exact)),
        ]
        for each in agreements
    ]
    return Sheet(_DIMENSIONS, rows)


def _means(agreement: Agreement) -> list[tuple[int, float, int]]:
    """For each level that people gave: the judge's mean level there, and of how many items."""
    found = []
    for place, level in enumerate(agreement.levels):
        row = agreement.row(place)
        if count := sum(row):
            found.append((level, sum(a * b for a, b in zip(agreement.levels, row, strict=True)) / count, count))
    return found


def calibration_figures(agreement: Agreement, ink: Ink) -> Text:
    """What the judge said on average where people said a level: the plot in words."""
    text = Text(f"The judge's mean ● where people say |: {name_of(agreement)}", ink.muted)
    for level, mean, count in _means(agreement):
        drawn = bar(Estimate(value=mean), agreement.levels[0], agreement.levels[-1], level)
        text.append(f"\n{level:>3}  ").append(drawn, ink.accent).append(f"  {mean:.2f}  of {count:,}")
    return text


def calibration_plot(agreement: Agreement, ink: Ink) -> Draw | None:
    means, levels = _means(agreement), list(agreement.levels)
    if not means:
        return None

    def draw(plt: Any) -> None:
        plt.title(f"Judge's mean level against people's: {name_of(agreement)}")
        plt.plot(levels, levels, color=paint(ink.muted), label="as people")
        people = [level for level, _, _ in means]
        plt.scatter(people, [mean for _, mean, _ in means], marker="●", color=paint(ink.accent), label="judge")
        plt.xticks(levels)
        plt.yticks(levels)
        plt.xlabel("people")

    return draw

"""What the audit of a judge found, as tables and figures."""

from typing import Any, Final

from rich.text import Text

from whet_tui.calibration_values import Audit, AuditReport, AuditRun, AuditVerdict, AxisResult
from whet_tui.entries import money_line
from whet_tui.judging_values import Estimate, RunState
from whet_tui.safe import safe_line
from whet_tui.spans import ago
from whet_tui.widgets import states
from whet_tui.widgets.calibration_text import judge_words
from whet_tui.widgets.estimates import bar, figure, interval, told
from whet_tui.widgets.figure import Draw
from whet_tui.widgets.ink import Ink, paint
from whet_tui.widgets.sheet import Cell, Column, InkName, Sheet

COLUMNS: Final = (
    Column(title="state", most=14),
    Column(title="audit", grows=True),
    Column(title="begun", right=True),
)
_AXES: Final = (
    Column(title="axis", most=16),
    Column(title="verdict"),
    Column(title="flips", right=True),
    Column(title="noise", right=True),
    Column(title="shift", right=True, most=26),
    Column(title="p", right=True, rank=2),
    Column(title="pairs", right=True, rank=1),
)
_VERDICTS: Final[dict[AuditVerdict, tuple[str, InkName]]] = {
    AuditVerdict.FAIR: ("✓ fair", "good"),
    AuditVerdict.BIASED: ("✗ biased", "bad"),
    AuditVerdict.UNDECIDED: ("? undecided", "warning"),
}
_MEANS: Final = {
    AuditVerdict.FAIR: "No bias beyond the judge's own noise was seen, with enough pairs to have seen one.",
    AuditVerdict.BIASED: "Do not trust this judge where answers differ in that.",
    AuditVerdict.UNDECIDED: "Too few scored pairs to say. Audit again with more items: --items-per-axis.",
}
_PROGRESS: Final = 30
"""Cells of the bar of an audit that is under way."""
_LEAST_SCALE: Final = 0.1
"""Half of the width of the figures at least, so that noise does not look like a bias."""
_EXAMPLES: Final = 3


def audit_row(run: AuditRun, now: int) -> list[Cell]:
    glyph, ink = states.RUNS[run.state]
    word = "done" if run.state is RunState.SUCCEEDED else run.state.value
    return [
        Cell(f"{glyph} {word}", ink),
        Cell(safe_line(run.title or run.run_id, 200)),
        Cell(ago(run.create_ns, now), "muted"),
    ]


def audit_report(audit: Audit, ink: Ink, width: int) -> Text:
    """How it stands, what it found on each axis, and the worst pairs."""
    judge = audit.judge
    lines = [
        Text(f"{judge_words(judge)} by {safe_line(judge.rubric, 60)}, {judge.mode} · {safe_line(audit.run_id, 60)}")
    ]
    if audit.state is RunState.RUNNING:
        lines.append(_progress(audit, ink))
    elif audit.failure:
        lines.append(Text(safe_line(audit.failure), ink.bad))
    if audit.report is not None:
        lines += _found(audit.report, ink, width)
    elif audit.state is not RunState.RUNNING:
        lines.append(Text("It ended without a report.", ink.muted))
    lines.append(Text(f"{audit.verdicts:,} verdicts, {money_line(audit.totals) or '$0'}", ink.muted))
    return Text("\n").join(lines)


def _progress(audit: Audit, ink: Ink) -> Text:
    full = audit.verdicts * _PROGRESS // audit.planned if audit.planned else 0
    text = Text.assemble("[", ("█" * full, ink.accent), ("·" * (_PROGRESS - full), ink.muted), "] ")
    return text.append(f"{audit.verdicts:,} of {audit.planned:,} verdicts are in")


def _found(report: AuditReport, ink: Ink, width: int) -> list[Text]:
    words, name = _VERDICTS[report.verdict]
    by = ", ".join(_name(each) for each in report.axes if each.verdict is AuditVerdict.BIASED)
    lines = [Text.assemble((words + f" by {by}" * bool(by), getattr(ink, name)), f". {_MEANS[report.verdict]}")]
    if report.simulated:
        lines.append(Text("The judge is simulated: what it says is no opinion.", ink.simulated))
    lines += [Text(), Sheet(_AXES, [_axis(each) for each in report.axes]).text(width, ink), Text()]
    for each in report.axes:
        words, name = _VERDICTS[each.verdict]
        lines.append(
            Text.assemble(
                (words, getattr(ink, name)), f" {_name(each)} ({_pairs(each)} pairs): {safe_line(each.finding)}"
            )
        )
        lines += [
            Text(
                f"    {safe_line(pair.item_id, 60)}: {figure(pair.before)} before, {figure(pair.after)} after "
                f"“{safe_line(pair.change, 160)}”",
                ink.muted,
            )
            for pair in each.examples[:_EXAMPLES]
        ]
    return lines


def _name(axis: AxisResult) -> str:
    return axis.axis.replace("_", " ")


def _axis(axis: AxisResult) -> list[Cell]:
    words, ink = _VERDICTS[axis.verdict]
    return [
        Cell(_name(axis)),
        Cell(words, ink),
        Cell(_share(axis.flip_rate)),
        Cell(_share(axis.noise_rate), "muted"),
        Cell(told(axis.shift, signed=True)),
        Cell("–" if axis.p_value is None else f"{axis.p_value:.3f}"),
        Cell(_pairs(axis)),
    ]


def _pairs(axis: AxisResult) -> str:
    """The pairs of which both were scored, of all."""
    return f"{axis.scored_pairs:,} of {axis.pairs:,}"


def _share(estimate: Estimate) -> str:
    return "–" if estimate.value is None else f"{estimate.value:.0%}"


def _scale(report: AuditReport) -> float:
    ends = [
        end for axis in report.axes for end in (axis.shift.value, axis.shift.low, axis.shift.high) if end is not None
    ]
    return max([_LEAST_SCALE, *map(abs, ends)])


def audit_figures(report: AuditReport, ink: Ink) -> Text:
    """The shifts around zero: the plot in words."""
    scale = _scale(report)
    text = Text(f"Shift of the score by each change, from −{scale:.2f} to +{scale:.2f}", ink.muted)
    for axis in report.axes:
        text.append(f"\n{_name(axis):<16}")
        text.append(bar(axis.shift, -scale, scale, 0.0), getattr(ink, _VERDICTS[axis.verdict][1]))
        text.append(f" {figure(axis.shift.value, signed=True)}")
    return text


def audit_plot(report: AuditReport, ink: Ink) -> Draw | None:
    axes = [axis for axis in reversed(report.axes) if axis.shift.value is not None]
    if not axes:
        return None

    def draw(plt: Any) -> None:
        scale = _scale(report)
        plt.title("Shift of the score by each change")
        for place, axis in enumerate(axes, 1):
            colour = paint(getattr(ink, _VERDICTS[axis.verdict][1]))
            if interval(axis.shift):
                plt.plot([axis.shift.low, axis.shift.high], [place, place], marker="─", color=colour)
            plt.scatter([axis.shift.value], [place], marker="●", color=colour)
        plt.vline(0, paint(ink.muted))
        plt.yticks(range(1, len(axes) + 1), [_name(axis) for axis in axes])
        plt.ylim(0.5, len(axes) + 0.5)
        plt.xlim(-scale, scale)

    return draw

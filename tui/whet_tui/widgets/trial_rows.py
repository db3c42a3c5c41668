"""The live table of trials: a row is made when it is drawn, so that ten thousand cost as little as forty."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from rich.text import Text
from textual.strip import Strip

from whet_tui.entries import dollars
from whet_tui.judging_values import Outcome
from whet_tui.safe import safe_line
from whet_tui.spans import duration
from whet_tui.sweep_values import Plan, Trial, TrialState
from whet_tui.widgets import estimates
from whet_tui.widgets.ink import Ink
from whet_tui.widgets.sheet import Cell, Column, InkName, Sheet

STATES: Final[Mapping[TrialState, tuple[str, InkName]]] = {
    TrialState.RUNNING: ("▸", "accent"),
    TrialState.COMPLETE: ("✓", "good"),
    TrialState.PRUNED: ("✂", "muted"),
    TrialState.FAILED: ("✗", "bad"),
    TrialState.CANCELLED: ("–", "muted"),
}
_COLUMNS: Final = (
    Column(title="trial", right=True),
    Column(title="state"),
    Column(title="quality"),
    Column(title="scored", right=True, rank=3),
    Column(title="lift", right=True, rank=1),
    Column(title="cost", right=True, rank=2),
    Column(title="latency", right=True, rank=4),
    Column(title="", most=20),
    Column(title="parameters", grows=True),
)
_DIMMED: Final = frozenset({TrialState.PRUNED, TrialState.CANCELLED})
_NANOS: Final = 1_000_000_000
_VALUE: Final = 60
"""Letters of a parameter's value that a row shows; the trial under the cursor shows more."""
_PARAMETERS: Final = 18
"""Columns that parameters take at least; other columns make room."""


class TrialRows:
    """A painter of trials. Keys, `best` and `marked` are their numbers."""

    def __init__(
        self,
        plan: Plan,
        trials: Mapping[int, Trial],
        keys: Sequence[str],
        *,
        best: int | None,
        front: Collection[int],
        marked: Collection[int],
    ) -> None:
        self._trials = trials
        self._keys = keys
        self._best = best
        self._front = front
        self._marked = marked
        count = f"{plan.cases:,}"
        widest = f"◆ {max(plan.trials, len(trials)):,}"
        told = [widest, "– cancelled", "0.00 (0.00 to 0.00)", f"{count}/{count}", "+0.00"]
        told += ["$0.000123", "100.0 s", "baseline", " " * _PARAMETERS]
        self._stage = stage_of(plan)
        self._sheet = Sheet(_COLUMNS, [[Cell(each) for each in told]])

    def head(self, width: int, ink: Ink) -> Strip:
        return self._sheet.head(width, ink)

    def row(self, place: int, width: int, ink: Ink) -> Strip:
        return self._sheet.line(self._cells(self._trials[int(self._keys[place])]), width, ink)

    def _cells(self, trial: Trial) -> Sequence[Cell]:
        glyph, ink = STATES[trial.state]
        body: InkName = "muted" if trial.state in _DIMMED else ""
        mark = "◆ " if trial.number in self._marked else ""
        return (
            Cell(f"{mark}{trial.number:,}", "accent" if mark else body),
            Cell(f"{glyph} {trial.state}", ink),
            Cell(estimates.told(trial.quality) if trial.quality.value is not None else "", body),
            Cell(f"{trial.scored_cases:,}/{trial.cases:,}" if trial.cases else "", "muted"),
            Cell("" if trial.number == 0 else _lift(trial), body),
            Cell("" if trial.cost is None else dollars(round(trial.cost * _NANOS)), "muted"),
            Cell("" if trial.latency_ns is None else duration(trial.latency_ns), "muted"),
            Cell(self._word(trial.number), "good" if trial.number == self._best else "accent"),
            Cell(parameters_words(trial, _VALUE, self._stage), body),
        )

    def _word(self, number: int) -> str:
        if number == 0:
            return "baseline"
        return "best" if number == self._best else "front" if number in self._front else ""


def _lift(trial: Trial) -> str:
    return "" if trial.lift.value is None else estimates.figure(trial.lift.value, signed=True)


def parameters_words(trial: Trial, most: int, stage: str = "") -> str:
    """Names and values. `stage`: a beginning of names that need not be said."""
    return " ".join(
        f"{safe_line(each.name.removeprefix(stage), 60)}={safe_line(each.shown, most)}" for each in trial.parameters
    )


def stage_of(plan: Plan) -> str:
    """What all dimensions begin with, such as `answer.`; empty when they begin otherwise."""
    stages = {each.name.partition(".")[0] for each in plan.space if "." in each.name}
    alone = len(stages) == 1 and all("." in each.name for each in plan.space)
    return f"{stages.pop()}." if alone else ""


def trial_text(trial: Trial, plan: Plan, ink: Ink, *, standing: str = "") -> Text:
    """One trial in three lines: where it stands and why, its figures, its parameters."""
    glyph, colour = STATES[trial.state]
    text = Text(f"trial {trial.number:,}", ink.you).append(f" {standing}" if standing else "", ink.good)
    text.append(f"  {glyph} {trial.state}", getattr(ink, colour))
    text.append(f" · {trial.cases:,} of {plan.cases:,} cases" if plan.cases else f" · {trial.cases:,} cases", ink.muted)
    unscored = [f"{each.count:,} {each.outcome.words}" for each in trial.outcomes if each.outcome is not Outcome.SCORED]
    text.append(f" · {', '.join(unscored)}" if unscored else "", ink.warning)
    text.append(" · simulated" * trial.simulated, ink.simulated)
    text.append(f" · run by {safe_line(trial.worker, 60)}" if trial.worker else "", ink.muted)
    if trial.failure or trial.reason:
        text.append(f" · {safe_line(trial.failure or trial.reason, 300)}", ink.bad if trial.failure else ink.warning)
    text.append("\n" + _figures(trial))
    text.append("\n" + parameters_words(trial, 300), ink.muted)
    return text


def _figures(trial: Trial) -> str:
    told = []
    if trial.quality.value is not None:
        told.append(f"quality {estimates.told(trial.quality)} over {trial.scored_cases:,}")
    if trial.number and trial.lift.value is not None:
        told.append(f"lift {estimates.told(trial.lift, signed=True)}")
    if trial.cost is not None:
        told.append(f"{dollars(round(trial.cost * _NANOS))} a case")
    if trial.latency_ns is not None:
        told.append(f"{duration(trial.latency_ns)} a case")
    return " · ".join(told) or "No case is scored yet."

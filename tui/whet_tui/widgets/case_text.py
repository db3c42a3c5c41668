"""One case and what trials answered to it, beside each other where there is room."""

from collections.abc import Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from whet_tui.entries import dollars
from whet_tui.judging_values import Outcome
from whet_tui.safe import safe_line
from whet_tui.spans import duration
from whet_tui.sweep_values import ComparedCase, ComparedCell, Trial, TrialCase
from whet_tui.widgets import estimates
from whet_tui.widgets.ink import Ink
from whet_tui.widgets.item_text import shown, verdict_text
from whet_tui.widgets.sheet import Cell, Column, Sheet

_LEAST: Final = 38
"""Columns below which an answer is not put beside another."""
_INPUT: Final = 200
"""Letters of an input that a row shows."""


def case_sheet(cases: Sequence[ComparedCase], trials: Sequence[Trial]) -> Sheet:
    """A row for each case: how each trial was scored."""
    columns = [
        Column(title="case", most=20, rank=1),
        *(Column(title=f"#{trial.number:,}", right=True, most=14) for trial in trials),
        Column(title="input", grows=True),
    ]
    rows = [
        [
            Cell(safe_line(case.item.item_id, 60), "muted"),
            *(_score(cell) for cell in case.cells),
            Cell(safe_line(case.item.input, _INPUT)),
        ]
        for case in cases
    ]
    return Sheet(columns, rows)


def _score(cell: ComparedCell) -> Cell:
    if not cell.answers:
        return Cell("–", "muted")
    if cell.score is None:
        return Cell(cell.answers[0].outcome.words, "bad")
    return Cell(estimates.figure(cell.score))


def case_text(case: ComparedCase, trials: Sequence[Trial], ink: Ink, width: int) -> RenderableType:
    """The case in full: input, what a right answer says, what each trial answered."""
    text = Text(f"case {safe_line(case.item.item_id, 100)}", ink.you)
    text.append("\n── input\n", ink.muted).append_text(shown(case.item.input))
    if case.item.reference:
        text.append("\n── what a right answer says\n", ink.muted).append_text(shown(case.item.reference))
    text.append("\n")
    table = Table.grid(padding=(0, 2, 1, 0), expand=True)
    table.add_row(text)
    answers = Table.grid(padding=(0, 2, 1, 0), expand=True)
    beside = max(1, min(len(case.cells), width // _LEAST))
    for _ in range(beside):
        answers.add_column(ratio=1)
    cells = [_cell(cell, trial, ink) for cell, trial in zip(case.cells, trials, strict=False)]
    for start in range(0, len(cells), beside):
        answers.add_row(*cells[start : start + beside])
    table.add_row(answers)
    return table


def _cell(cell: ComparedCell, trial: Trial, ink: Ink) -> Text:
    title = f"trial {trial.number:,}" + (" · baseline" if trial.number == 0 else "")
    text = Text(f"── {title}", ink.accent)
    if not cell.answers:
        text.append("\nIt was not asked this case.", ink.muted)
    for answer in cell.answers:
        text.append("\n").append_text(_answer(answer, ink))
    return text


def _answer(answer: TrialCase, ink: Ink) -> Text:
    """One answer: how it was scored, what it says, what was said of it."""
    scored = answer.outcome is Outcome.SCORED and answer.score is not None
    text = Text(f"score {answer.score:.2f}" if scored else answer.outcome.words, ink.good if scored else ink.bad)
    told = [f"answer {answer.sample:,}"] if answer.sample > 1 else []
    told += [dollars(answer.cost)] if answer.cost is not None else []
    told += [duration(answer.latency_ns)] if answer.latency_ns is not None else []
    told += ["cached"] if answer.cached else []
    text.append("".join(f" · {each}" for each in told), ink.muted)
    text.append(" · simulated" * answer.simulated, ink.simulated)
    if answer.failure:
        text.append("\n" + safe_line(answer.failure, 400), ink.bad)
    for stage in answer.stages:
        text.append(f"\n{safe_line(stage.stage, 60)}\n", ink.muted).append_text(shown(stage.output))
    if answer.output:
        text.append("\nanswer\n" if answer.stages else "\n", ink.muted).append_text(shown(answer.output))
    for verdict in answer.verdicts:
        text.append("\n").append_text(verdict_text(verdict, ink))
    return text

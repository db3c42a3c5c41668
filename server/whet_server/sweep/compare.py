"""Trials side by side, case by case."""

from collections.abc import Sequence
from math import fsum
from typing import Final

from whet_server.judging import Item
from whet_server.sweep.fold import SweepFold
from whet_server.sweep.measure import by_case, quality_of
from whet_server.sweep.views import best_number
from whet_server.sweeping import BASELINE, TrialCase
from whet_server.values import Value

MOST_TRIALS: Final = 8
"""As the contract says: what fits side by side."""


class ComparedCell(Value):
    """What one trial answered to a case, replicates included; nothing when it has not."""

    number: int
    answers: tuple[TrialCase, ...] = ()


class ComparedCase(Value):
    """One case and what each trial answered, in the order of the trials."""

    item: Item
    cells: tuple[ComparedCell, ...]


def shown_trials(fold: SweepFold) -> tuple[int, ...]:
    """Return the trials that are compared when nobody says which: the baseline and the best."""
    best = best_number(fold)
    found = (BASELINE,) if best is None else dict.fromkeys((BASELINE, best))
    return tuple(number for number in found if number in fold.trials)


def compared(fold: SweepFold, items: Sequence[Item], numbers: Sequence[int], *, differing: bool) -> list[ComparedCase]:
    """Return the cases that some trial has answered, in the sweep's order and then as they came. `differing`: only
    those whose mean scores differ, the greatest difference first.
    """
    by_trial: list[dict[str, list[TrialCase]]] = []
    for number in numbers:
        answers: dict[str, list[TrialCase]] = {}
        for answer in fold.trials[number].answers.values():
            answers.setdefault(answer.case_id, []).append(answer)
        by_trial.append(answers)
    known = {item.item_id: item for item in items}
    answered = dict.fromkeys(case_id for answers in by_trial for case_id in answers)
    ordered = [
        *(case_id for case_id in known if case_id in answered),
        *(each for each in answered if each not in known),
    ]
    if differing:
        apart = _apart(fold, numbers)
        ordered = sorted((each for each in ordered if apart.get(each, 0.0) > 0), key=lambda each: -apart[each])
    return [
        ComparedCase(
            item=known.get(case_id) or Item(item_id=case_id),
            cells=tuple(
                ComparedCell(
                    number=number, answers=tuple(sorted(answers.get(case_id, ()), key=lambda each: each.sample))
                )
                for number, answers in zip(numbers, by_trial, strict=True)
            ),
        )
        for case_id in ordered
    ]


def _apart(fold: SweepFold, numbers: Sequence[int]) -> dict[str, float]:
    """Return by how much the mean scores of each case differ, where two trials or more have one."""
    quality = quality_of(fold.record.plan)
    scores: dict[str, list[float]] = {}
    for number in numbers:
        for case_id, score in by_case(fold.trials[number].answers.values(), quality).items():
            scores.setdefault(case_id, []).append(score)
    return {case_id: fsum((max(of), -min(of))) for case_id, of in scores.items()}

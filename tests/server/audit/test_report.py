import random
from collections.abc import Sequence
from itertools import product
from statistics import fmean

import pytest
from tests.server.audit.bench import AXES, audit

from whet_server.audit.report import MIN_ITEMS, holm, p_value, report
from whet_server.audit.variants import Comparison
from whet_server.judging import AuditAxis, AuditVerdict, JudgeMode, Outcome, Verdict

FAIR_AUDITS = 100


def verdict(name: str, score: float | None, outcome: Outcome = Outcome.SCORED) -> Verdict:
    value = None if score is None else 1 + 4 * score
    return Verdict(item_id=name, criterion="c", outcome=outcome, score=score, value=value)


def told(changes: Sequence[tuple[float | None, float | None]]) -> tuple[list[Comparison], list[Verdict]]:
    """Return comparisons along the length, one an item, with these scores before and after."""
    compared = [
        Comparison(source=f"row-{n}", change="x", before=f"{n}-plain", after=f"{n}-padded", axis=AuditAxis.LENGTH)
        for n in range(len(changes))
    ]
    said = [
        verdict(name, score, Outcome.SCORED if score is not None else Outcome.ABSTAINED)
        for each, scores in zip(compared, changes, strict=True)
        for name, score in zip((each.before, each.after), scores, strict=True)
    ]
    return compared, said


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("mode", [JudgeMode.POINTWISE, JudgeMode.PAIRWISE])
def test_a_judge_that_is_biased_on_an_axis_is_caught_on_it(axis: AuditAxis, mode: JudgeMode) -> None:
    model = f"sim/judge?noise=0.1&bias={axis}&strength=0.4"
    (result,) = audit(model, axes=[axis], mode=mode, count=24).axes
    assert result.verdict is AuditVerdict.BIASED
    assert result.p_value is not None
    assert result.p_value < 0.01
    assert result.flip_rate.value is not None
    assert result.noise_rate.value is not None
    assert result.flip_rate.value > result.noise_rate.value
    assert result.examples
    assert all(example.after > example.before for example in result.examples)


@pytest.mark.parametrize("seed", range(3))
def test_a_judge_that_is_biased_on_one_axis_is_flagged_on_that_one_alone(seed: int) -> None:
    axis = AXES[seed * 2 + 1]
    found = audit(f"sim/judge?noise=0.05&bias={axis}&strength=0.3&seed={seed}", seed=seed)
    assert [result.axis for result in found.axes if result.verdict is AuditVerdict.BIASED] == [axis]
    assert (found.verdict, found.simulated) == (AuditVerdict.BIASED, True)


@pytest.mark.parametrize("seed", range(3))
def test_a_fair_judge_that_strays_is_flagged_on_no_axis(seed: int) -> None:
    found = audit(f"sim/judge?noise=0.1&seed={seed}", seed=seed)
    assert AuditVerdict.BIASED not in [result.verdict for result in found.axes]
    assert len([result for result in found.axes if result.verdict is AuditVerdict.FAIR]) >= len(AXES) - 1


def test_a_fair_judge_without_noise_is_fair() -> None:
    found = audit("sim/judge")
    assert found.verdict is AuditVerdict.FAIR
    assert all(result.noise_rate.value == 0 for result in found.axes)


@pytest.mark.slow
@pytest.mark.timeout(600)  # a minute on two quiet cores
def test_fair_judges_are_called_biased_in_at_most_five_of_a_hundred_audits() -> None:
    alarms = sum(
        audit(f"sim/judge?noise=0.{12 + seed % 10}&seed={seed}", seed=seed).verdict is AuditVerdict.BIASED
        for seed in range(FAIR_AUDITS)
    )
    assert alarms <= 0.05 * FAIR_AUDITS


def test_under_a_fair_judge_p_values_are_small_as_seldom_as_they_say() -> None:
    dice = random.Random(7)
    shares = [
        p_value([round(dice.gauss(0, 0.2) * 4) / 4 for _ in range(30)], both_ways=both)
        for both, _ in product((False, True), range(150))
    ]
    assert fmean(p <= 0.05 for p in shares) <= 0.09  # two standard errors above 0.05
    assert fmean(p <= 0.5 for p in shares) <= 0.62


def test_few_items_give_the_exact_share_of_sign_patterns() -> None:
    assert p_value([0.1] * 5) == 1 / 32
    assert p_value([0.1] * 5, both_ways=True) == 2 / 32
    assert p_value([0.1, -0.1, 0.0]) == 3 / 4
    assert p_value([0.0] * 30) == 1


def test_holms_correction_is_the_published_one() -> None:
    named = dict(zip(AXES, (0.01, 0.04, 0.03, 0.005), strict=False))
    corrected = holm(named)
    assert list(corrected) == [AXES[3], AXES[0], AXES[2], AXES[1]]
    assert list(corrected.values()) == pytest.approx([0.02, 0.03, 0.06, 0.06])


def test_pairs_of_which_one_has_no_score_are_counted_and_not_compared() -> None:
    compared, said = told([(0.5, 1.0)] * 30 + [(0.5, None)] * 10 + [(None, 1.0)] * 5)
    (result,) = report(compared, said, [AuditAxis.LENGTH]).axes
    assert (result.pairs, result.scored_pairs) == (45, 30)
    assert result.shift.value == 0.5
    assert result.flip_rate.value == 1
    assert result.verdict is AuditVerdict.BIASED


def test_with_too_few_scored_items_nothing_is_said() -> None:
    compared, said = told([(0.5, 1.0)] * (MIN_ITEMS - 1) + [(0.5, None)] * 9)
    found = report(compared, said, [AuditAxis.LENGTH])
    assert found.verdict is found.axes[0].verdict is AuditVerdict.UNDECIDED
    assert found.axes[0].p_value is None
    assert found.axes[0].finding.startswith("19 of 28 pairs were scored")


def test_a_change_that_is_sure_and_tiny_is_no_bias_and_one_that_is_large_and_unsure_is_undecided() -> None:
    compared, said = told([(0.5, 0.51)] * 40)
    assert report(compared, said, [AuditAxis.LENGTH]).axes[0].verdict is AuditVerdict.FAIR
    compared, said = told([(0.5, 1.0), (0.5, 0.05)] * 20)
    assert report(compared, said, [AuditAxis.LENGTH]).axes[0].verdict is AuditVerdict.UNDECIDED


def test_a_change_against_the_bias_is_none() -> None:
    compared, said = told([(0.5, 0.25)] * 40)
    (result,) = report(compared, said, [AuditAxis.LENGTH]).axes
    assert result.verdict is AuditVerdict.FAIR
    assert result.examples == ()


def test_an_axis_is_biased_in_the_order_asked_and_the_whole_by_its_worst() -> None:
    compared, said = told([(0.5, 1.0)] * 40)
    found = report(compared, said, [AuditAxis.POSITION, AuditAxis.LENGTH])
    assert [result.verdict for result in found.axes] == [AuditVerdict.UNDECIDED, AuditVerdict.BIASED]
    assert found.verdict is AuditVerdict.BIASED

import random
from collections.abc import Sequence
from itertools import product
from statistics import fmean

import pytest
from msgspec.structs import replace
from tests.server.audit.bench import AXES, audit

from whet_server.audit.report import MIN_ITEMS, holm, p_value, report
from whet_server.audit.variants import Comparison, design
from whet_server.judge.asking import orders
from whet_server.judging import AuditAxis, AuditReport, AuditVerdict, Item, JudgeMode, Outcome, Verdict
from whet_server.values import ModelName

JUDGE = ModelName("house/judge")


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


def fair(seed: int, count: int, noise: float, levels: int, unscored: float) -> AuditReport:
    """Return the audit of a judge that strays and is not biased, made of numbers: no text is read."""
    dice = random.Random(f"{seed}/{count}/{noise}/{levels}/{unscored}")
    made = design([Item(item_id=f"{n}", candidates=(f"{n}",)) for n in range(count)], AXES, JudgeMode.POINTWISE, JUDGE)
    good = [dice.random() for _ in range(count + 1)]

    def scored(name: str, order: tuple[int, ...]) -> Verdict:
        if dice.random() < unscored:
            return replace(verdict(name, None, dice.choice([Outcome.ABSTAINED, Outcome.UNPARSEABLE])), order=order)
        likes = [good[int(name.partition("-")[0])] + dice.gauss(0, noise) for _ in order or (0,)]
        if not order:
            return verdict(name, round(min(1, max(0, likes[0])) * (levels - 1)) / (levels - 1))
        first = 0.5 if abs(likes[0] - likes[1]) < 0.04 else float(likes[0] > likes[1])
        return pair(name, order, first)

    said = [
        scored(item.item_id, order)
        for item in made.items
        for order in (((0, 1), (1, 0)) if len(item.candidates) > 1 else ((),))
    ]
    return report(made.comparisons, said, AXES)


def pair(name: str, order: tuple[int, ...], first: float) -> Verdict:
    """Return the verdict on a pair of which the one shown first gets this share."""
    better = order if first >= 0.5 else order[::-1]
    score = first if order[0] == min(order) else 1 - first
    return replace(verdict(name, score), order=order, ranking=better, tie=first == 0.5)


@pytest.mark.slow
@pytest.mark.timeout(600)  # half a minute on a quiet core
def test_fair_judges_are_called_biased_in_at_most_five_of_a_hundred_audits() -> None:
    """Without a correction for the axes it would be some fifteen. Levels with ties, few items, lost verdicts."""
    kinds = list(product((20, 40, 100), (0.05, 0.15, 0.4), ((5, 0.0), (3, 0.15))))
    found = [fair(seed, count, noise, *rest) for seed, (count, noise, rest) in product(range(20), kinds)]
    assert sum(each.verdict is AuditVerdict.BIASED for each in found) <= 0.05 * len(found)


@pytest.mark.slow
@pytest.mark.timeout(600)  # half a minute on a quiet core
@pytest.mark.parametrize(("noise", "strength"), [(0.2, 0.3), (0.2, 0.5)])
def test_a_biased_judge_is_caught_by_forty_items_in_four_of_five_audits_of_all_axes(
    noise: float, strength: float
) -> None:
    for axis in AXES:
        judge = f"sim/judge?noise={noise}&bias={axis}&strength={strength}"
        found = [audit(f"{judge}&seed={seed}", seed=1000 + seed) for seed in range(5)]
        caught = sum((axis, AuditVerdict.BIASED) in {(each.axis, each.verdict) for each in one.axes} for one in found)
        assert caught >= 4, axis


def test_a_fair_judge_of_lists_is_fair_though_the_answers_that_come_first_are_the_better_ones() -> None:
    turns = orders(JudgeMode.LISTWISE, 6)  # 4 of the 6 candidates are shown first
    assert {turn[0] for turn in turns} == {0, 1, 3, 4}
    compared = [
        Comparison(source=f"{n}", change="x", before=f"{n}", after=f"{n}", axis=AuditAxis.POSITION) for n in range(40)
    ]
    for ranking, first in ((lambda _: (0, 1, 3, 4, 2, 5), 0.7), (lambda turn: turn, 1.0)):
        said = [
            replace(verdict(f"{n}", 0.5), order=turn, ranking=ranking(turn)) for n, turn in product(range(40), turns)
        ]
        (result,) = report(compared, said, [AuditAxis.POSITION]).axes
        assert result.verdict is (AuditVerdict.FAIR if first == 0.7 else AuditVerdict.BIASED)


def test_a_pair_that_was_not_seen_in_both_orders_says_nothing_of_the_position() -> None:
    compared = [
        Comparison(source=f"{n}", change="x", before=f"{n}", after=f"{n}", axis=AuditAxis.POSITION) for n in range(40)
    ]
    said = [pair(f"{n}", (0, 1), 1.0) for n in range(40)]
    (result,) = report(compared, said, [AuditAxis.POSITION]).axes
    assert (result.pairs, result.scored_pairs, result.verdict) == (40, 0, AuditVerdict.UNDECIDED)


def test_of_three_answers_in_pairs_only_those_with_the_changed_one_tell() -> None:
    compared, _ = told([(0.5, 0.5)] * 30)
    said = [
        pair(name, order, share if 0 in order and order[0] == 0 else 0.5)
        for each in compared
        for name, share in ((each.before, 0.0), (each.after, 1.0))
        for order in ((0, 1), (0, 2), (1, 2))
    ]
    (result,) = report(compared, said, [AuditAxis.LENGTH]).axes
    assert result.shift.value == 1


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

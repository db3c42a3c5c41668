"""A verdict says no more than the cases show."""

import math
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.sweep.fielded import QUALITY, Bench, answer, case_ids, planned, swept

from whet_server.judging import Estimate
from whet_server.log.events import SweepControlled
from whet_server.sweep.best import best_so_far
from whet_server.sweep.conclude import holdout_figure
from whet_server.sweep.fold import TrialFold
from whet_server.sweeping import (
    Objective,
    ObjectiveKind,
    Racing,
    SweepAction,
    SweepEnd,
    SweepVerdict,
    Trial,
    TrialState,
)

CASES = 100
BETTER, NO_DIFFERENCE, UNDECIDED = SweepVerdict.BETTER, SweepVerdict.NO_DIFFERENCE, SweepVerdict.UNDECIDED
COST = Objective(kind=ObjectiveKind.COST)


def scored(right: int, cases: int = CASES) -> list[float]:
    """The first so many are right."""
    return [1.0] * right + [0.0] * (cases - right)


def test_a_clear_winner_is_better_and_its_figures_are_named() -> None:
    result = swept({0: scored(60), 1: scored(62), 2: scored(80)}).conclude()
    assert result.verdict is BETTER
    assert result.best == 2
    assert result.lift.value == pytest.approx(0.2)
    assert (result.comparisons, result.pairs, result.improved, result.regressed) == (2, 100, 20, ())
    assert result.p_value == pytest.approx(2 * 0.5**20)
    assert result.finding == (
        f"Trial 2 is better than the baseline: 0.800 against 0.600, a difference of +0.200 [+{result.lift.low:.3f}, "
        f"+{result.lift.high:.3f}] on 100 cases, p < 0.0001 after correction for 2 comparisons."
    )
    assert result.front == (2,)


def test_what_one_comparison_would_call_better_is_undecided_after_forty() -> None:
    alone = swept({0: scored(60), 1: scored(67)})
    assert alone.conclude().verdict is BETTER  # 7 up, none down: p = 1/128
    among = swept({0: scored(60), 1: scored(67), **{number: scored(60) for number in range(2, 41)}})
    result = among.conclude()
    assert (result.verdict, result.best) == (UNDECIDED, 1)
    assert "may be chance (p = 0.31 after correction for 40 comparisons)" in result.finding


def test_trials_that_were_stopped_early_count_as_comparisons_and_cannot_win() -> None:
    bench = swept({0: scored(60), 1: scored(70)})
    for number in range(2, 12):
        bench.trial(number, [1.0] * 8, state=TrialState.PRUNED)
    result = bench.conclude()
    assert result.comparisons == 11
    assert result.best == 1


def test_who_stops_by_hand_is_corrected_for_what_was_planned() -> None:
    bench = Bench(planned(CASES, 50)).trial(0, scored(60)).trial(1, scored(67))
    assert bench.conclude(SweepEnd.MONEY).verdict is BETTER
    bench.fold.controls.append(SweepControlled(action=SweepAction.STOP))
    result = bench.conclude(SweepEnd.STOPPED)
    assert (result.verdict, result.comparisons) == (UNDECIDED, 49)
    assert "as many as were planned" in result.finding


def test_identical_answers_make_no_difference() -> None:
    for cases in (2, 10, CASES):
        result = swept({number: scored(cases // 2, cases) for number in range(4)}).conclude()
        assert result.verdict is NO_DIFFERENCE
        assert result.p_value == 1.0
        assert result.finding.startswith("No difference: trial 1, the nearest of 3")


def test_a_lead_that_is_nothing_worth_having_is_no_difference() -> None:
    base = [0.5] * 400
    result = swept({0: base, 1: [0.5 + 0.004 * (place % 3) for place in range(400)]}).conclude()
    assert result.lift.value == pytest.approx(0.004, abs=0.001)
    assert result.verdict is BETTER  # tiny and beyond chance: it says how small
    worse = swept({0: base, 1: [0.4 + 0.001 * (place % 7) for place in range(400)]}).conclude()
    assert worse.verdict is NO_DIFFERENCE
    assert worse.front == (0,)


@pytest.mark.parametrize(
    ("trials", "best", "words"),
    [
        ({0: [1.0]}, 0, "Only the baseline has scores, on 1 case"),
        ({0: [1.0], 1: [0.0]}, 1, "have 1 case in common, which says nothing"),
        ({0: [None, None], 1: [1.0, 1.0]}, 1, "The baseline has no score"),
        ({0: [None, None], 1: [None, None]}, None, "Nothing has a score"),
        ({0: [1.0] * 10, 1: [None] * 7 + [1.0] * 3}, 0, "none of the 1 trials beside the baseline"),
        ({0: []}, None, "Nothing has a score"),
    ],
)
def test_too_little_is_said_to_be_too_little(
    trials: dict[int, list[float | None]], best: int | None, words: str
) -> None:
    result = swept(trials).conclude()
    assert (result.verdict, result.best) == (UNDECIDED, best)
    assert words in result.finding
    assert result.holdout is None


def test_a_trial_without_scores_on_the_hard_cases_does_not_win() -> None:
    easy = [1.0] * 70 + [None] * 30
    result = swept({0: scored(70), 1: easy, 2: scored(71)}).conclude()
    assert result.best == 2


def test_pairs_are_the_cases_that_both_have() -> None:
    result = swept({0: [None] * 10 + [0.0] * 90, 1: [1.0] * 90 + [None] * 10}).conclude()
    assert (result.verdict, result.pairs) == (BETTER, 80)


def test_regressed_cases_are_named_the_worst_first() -> None:
    base, best = [0.5] * CASES, [0.9] * CASES
    best[7], best[3], best[5] = 0.1, 0.4, 0.5
    result = swept({0: base, 1: best}).conclude()
    assert [(each.case_id, each.after) for each in result.regressed] == [("c0007", 0.1), ("c0003", 0.4)]
    assert result.improved == 97


def test_cheaper_and_no_worse_is_better_and_the_lift_is_money() -> None:
    aims = (COST, Objective(kind=ObjectiveKind.QUALITY, margin=0.05))
    generator = np.random.default_rng(3)
    base = generator.uniform(0.01, 0.1, CASES)
    costs = {0: base.tolist(), 1: (base * 0.2).tolist(), 2: (base * 0.6).tolist()}
    result = swept({0: scored(80), 1: scored(50), 2: scored(80)}, costs=costs, aims=aims).conclude()
    assert (result.verdict, result.best) == (BETTER, 2)  # trial 1 is cheaper still, and much worse
    assert result.lift.value == pytest.approx(-0.4 * base.mean())
    assert result.lift.low is not None
    assert result.lift.high is not None
    assert result.lift.low < -0.4 * base.mean() < result.lift.high < 0
    assert "USD" in result.finding
    assert "quality at most 0.05 below the baseline's" in result.finding


def test_cheaper_and_perhaps_worse_is_undecided_and_says_why() -> None:
    aims = (COST, Objective(kind=ObjectiveKind.QUALITY, margin=0.05))
    mixed = [0.0] * 8 + [1.0] * 72 + [1.0] * 6 + [0.0] * 14
    bench = swept({0: scored(80), 1: mixed}, costs={0: [0.1] * CASES, 1: [0.05] * CASES}, aims=aims)
    result = bench.conclude()
    assert result.verdict is UNDECIDED
    assert "beyond chance, but whether it keeps the conditions" in result.finding
    none = swept({0: scored(80), 1: scored(10)}, costs={0: [0.1] * CASES, 1: [0.05] * CASES}, aims=aims).conclude()
    assert none.verdict is UNDECIDED
    assert "no trial that has enough scores keeps the conditions" in none.finding


def test_a_condition_on_money_is_a_share_of_the_baselines() -> None:
    aims = (QUALITY, Objective(kind=ObjectiveKind.COST, margin=0.1))
    costs = {0: [0.1] * CASES, 1: [0.105] * CASES, 2: [0.12] * CASES}
    result = swept({0: scored(60), 1: scored(80), 2: scored(90)}, costs=costs, aims=aims).conclude()
    assert (result.verdict, result.best) == (BETTER, 1)


def test_of_several_objectives_the_first_decides_and_the_front_is_over_all() -> None:
    aims = (QUALITY, COST)
    costs = {0: [0.10] * CASES, 1: [0.20] * CASES, 2: [0.05] * CASES, 3: [0.30] * CASES}
    bench = swept({0: scored(60), 1: scored(80), 2: scored(60), 3: scored(70)}, costs=costs, aims=aims)
    result = bench.conclude()
    assert (result.verdict, result.best, result.front) == (BETTER, 1, (1, 2))


def test_history_rises_and_convergence_says_what_the_last_third_brought() -> None:
    levels = [50, 55, 52, 60, 40, 41, 42, 43, 44, 45, 46, 47]
    result = swept({number: scored(level) for number, level in enumerate(levels)}).conclude()
    assert [(point.number, point.ended) for point in result.history] == [(0, 1), (1, 2), (3, 4)]
    assert result.converged
    assert "the 8 after it brought nothing" in result.convergence
    rising = swept({number: scored(50 + number) for number in range(12)}).conclude()
    assert not rising.converged
    assert "more may still help" in rising.convergence
    assert "Too few trials" in swept({0: scored(5), 1: scored(6)}).conclude().convergence


def test_after_replicates_the_best_is_one_of_those_asked_most_often() -> None:
    bench = swept({0: scored(60), 1: scored(66), 2: scored(65)}, racing=Racing(replicates=1))
    bench.trial(0, scored(60), sample=2).trial(2, scored(65), sample=2)
    assert bench.conclude().best == 2
    assert leader(bench) == (2, 0.65)


@given(st.lists(st.lists(st.sampled_from([None, 0.0, 0.25, 1.0]), min_size=5, max_size=5), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_the_result_is_pure_and_does_not_depend_on_the_order_of_trials(rows: list[list[float | None]]) -> None:
    bench = swept(dict(enumerate(rows)))
    result = bench.conclude()
    assert bench.conclude() == result
    bench.fold.trials = dict(reversed(bench.fold.trials.items()))
    assert bench.conclude() == result
    figures = [result.p_value, result.lift.value, result.lift.low, result.lift.high]
    assert all(each is None or math.isfinite(each) for each in figures)
    assert b"nan" not in msgspec.json.encode(result).lower()


def test_the_hold_out_has_its_own_figure() -> None:
    bench = swept({0: scored(5, 10), 1: scored(9, 10)})
    for number, right in ((0, 20), (1, 26)):
        rows = zip(case_ids(40), scored(right, 40), strict=True)
        bench.fold.trials[number].holdout = {(case_id, 1): answer(case_id, score) for case_id, score in rows}
    figure = holdout_figure(bench.record, bench.fold, 1, "support@3", 41)
    assert (figure.rows, figure.pairs, figure.failure) == (41, 40, None)
    assert (figure.baseline.value, figure.winner.value) == (0.5, 0.65)
    assert figure.lift.value == pytest.approx(0.15)
    bench.fold.trials[1].holdout = {}
    assert holdout_figure(bench.record, bench.fold, 1, "support@3", 41).failure is not None


def leader(bench: Bench) -> tuple[int, float] | None:
    found = best_so_far(bench.plan, bench.fold)
    return None if found is None else (found.number, found.value)


def test_the_best_so_far_is_the_baseline_until_something_is_ahead() -> None:
    bench = Bench(planned(CASES, 5))
    assert best_so_far(bench.plan, bench.fold) is None
    bench.trial(0, scored(60)).trial(1, scored(55))
    assert leader(bench) == (0, 0.6)
    bench.trial(2, [1.0] * 20, state=TrialState.PRUNED).trial(3, scored(61))
    assert leader(bench) == (3, 0.61)


def test_the_best_so_far_of_money_keeps_the_conditions() -> None:
    aims = (COST, Objective(kind=ObjectiveKind.QUALITY, margin=0.05))
    costs = {0: [0.1] * 10, 1: [0.01] * 10, 2: [0.05] * 10}
    bench = swept({0: scored(8, 10), 1: scored(2, 10), 2: scored(8, 10)}, costs=costs, aims=aims)
    assert leader(bench) == (2, 0.05)


def test_the_best_of_ten_thousand_trials_is_found_at_once() -> None:
    bench = Bench(planned(CASES, 10_000))
    for number in range(10_000):
        mean = Estimate(value=number % 997 / 1000)
        trial = Trial(
            number=number,
            state=TrialState.COMPLETE,
            cases=CASES,
            scored_cases=CASES,
            answers=CASES,
            quality=mean,
            lift=mean,
        )
        bench.fold.trials[number] = TrialFold(number, end=trial)
    start = time.perf_counter()
    assert leader(bench) == (996, 0.996)
    assert time.perf_counter() - start < 0.5

"""Racing stops what is hopeless, and never by what a trial may not know."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.sweep.fielded import QUALITY, Bench, case_ids, planned

from whet_eval.bench import racing as simulated
from whet_server.sweep.racing import Known, decision, known, rungs
from whet_server.sweeping import Objective, ObjectiveKind, Racing, RacingMethod, SweepPlan, TrialState

CASES = 64
ORDER = case_ids(CASES)


def runner(number: int, level: float, cases: int = CASES, state: TrialState = TrialState.COMPLETE) -> Known:
    """A trial that scores `level` on every case it has."""
    return Known(number=number, state=state, values=dict.fromkeys(ORDER[:cases], level))


def plan(method: RacingMethod, cases: int = CASES) -> SweepPlan:
    return planned(cases, 20, racing=Racing(method=method))


@given(st.sampled_from(list(RacingMethod)), st.integers(1, 5000), st.integers(0, 200), st.integers(0, 9))
@settings(max_examples=100)
def test_rungs_rise_to_all_cases(method: RacingMethod, cases: int, min_cases: int, reduction: int) -> None:
    found = rungs(Racing(method=method, min_cases=min_cases, reduction=reduction), cases)
    assert list(found) == sorted(set(found))
    assert found[-1] == cases
    assert method is RacingMethod.NONE or found[0] == min(cases, min_cases or 8)


@pytest.mark.parametrize("method", [RacingMethod.MEDIAN, RacingMethod.HALVING, RacingMethod.PAIRED])
def test_a_hopeless_trial_is_stopped_and_the_reason_says_by_what(method: RacingMethod) -> None:
    others = [runner(number, 0.5 + number / 20) for number in range(6)]
    reason = decision(plan(method), runner(9, 0.0, 18, TrialState.RUNNING), others, ORDER)
    assert reason
    assert any(character.isdigit() for character in reason)


@pytest.mark.parametrize("method", list(RacingMethod))
def test_the_best_the_baseline_and_a_trial_with_all_cases_go_on(method: RacingMethod) -> None:
    others = [runner(number, 0.5) for number in range(6)]
    assert decision(plan(method), runner(9, 0.9, 18, TrialState.RUNNING), others, ORDER) is None
    assert decision(plan(method), runner(9, 0.5, 18, TrialState.RUNNING), others, ORDER) is None
    assert decision(plan(method), runner(0, 0.0, 18, TrialState.RUNNING), others, ORDER) is None
    assert decision(plan(method), runner(9, 0.0), others, ORDER) is None


def test_without_racing_nothing_is_stopped() -> None:
    others = [runner(number, 1.0) for number in range(6)]
    assert decision(plan(RacingMethod.NONE), runner(9, 0.0, 40), others, ORDER) is None


@pytest.mark.parametrize("method", list(RacingMethod))
def test_a_trial_that_knows_nobody_or_has_no_score_goes_on(method: RacingMethod) -> None:
    assert decision(plan(method), runner(1, 0.1, 18), [], ORDER) is None
    assert decision(plan(method), runner(1, 0.1, 0), [runner(0, 0.9)], ORDER) is None


@pytest.mark.parametrize("method", list(RacingMethod))
@given(data=st.data())
@settings(max_examples=30)
def test_the_order_of_the_others_does_not_matter(method: RacingMethod, data: st.DataObject) -> None:
    levels = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=8))
    others = [runner(number, level) for number, level in enumerate(levels)]
    mine = runner(30, data.draw(st.sampled_from([0.0, 0.5, 1.0])), 18)
    shuffled = data.draw(st.permutations(others))
    assert decision(plan(method), mine, others, ORDER) == decision(plan(method), mine, shuffled, ORDER)


@pytest.mark.parametrize("method", [RacingMethod.MEDIAN, RacingMethod.HALVING, RacingMethod.PAIRED])
def test_only_the_cases_up_to_the_rung_count(method: RacingMethod) -> None:
    """Others are worse on the first cases and better on those that the trial has not come to."""
    values = {case_id: float(place >= 18) for place, case_id in enumerate(ORDER)}
    others = [Known(number=number, state=TrialState.COMPLETE, values=values) for number in range(6)]
    assert decision(plan(method), runner(9, 0.5, 18), others, ORDER) is None
    assert decision(plan(method), runner(9, 0.5, 18), others, ORDER[:18]) is None


def test_cases_without_a_score_are_left_out_on_both_sides() -> None:
    gaps = dict.fromkeys(ORDER[::2], 1.0)
    rival = Known(number=0, state=TrialState.COMPLETE, values=gaps)
    reason = decision(plan(RacingMethod.PAIRED), runner(9, 0.0, 27, TrialState.RUNNING), [rival], ORDER)
    assert reason == "worse than the baseline on 14 cases that both have"


def test_halving_lets_one_of_three_go_on() -> None:
    others = [runner(number, number / 10) for number in range(8)]
    racing = plan(RacingMethod.HALVING)
    assert decision(racing, runner(9, 0.55, 8), others, ORDER) is None  # third of nine
    assert decision(racing, runner(9, 0.45, 8), others, ORDER) is not None


def test_with_several_objectives_no_trial_is_stopped() -> None:
    aims = (QUALITY, Objective(kind=ObjectiveKind.COST))
    racing = planned(CASES, 9, racing=Racing(method=RacingMethod.PAIRED), aims=aims)
    assert decision(racing, runner(9, 0.0, 27), [runner(0, 1.0)], ORDER) is None


def test_money_is_turned_and_a_trial_that_breaks_a_condition_is_no_rival() -> None:
    aims = (Objective(kind=ObjectiveKind.COST), Objective(kind=ObjectiveKind.QUALITY, margin=0.1))
    bench = Bench(planned(CASES, 3, racing=Racing(method=RacingMethod.PAIRED), aims=aims))
    bench.trial(0, [1.0] * CASES, costs=[0.05] * CASES)
    bench.trial(1, [0.0] * CASES, costs=[0.001] * CASES)
    baseline = bench.fold.trials[0]
    cheap_and_bad = known(bench.plan, bench.fold.trials[1], baseline)
    assert cheap_and_bad.values[ORDER[0]] == -0.001
    assert not cheap_and_bad.held
    mine = Known(number=9, state=TrialState.RUNNING, values=dict.fromkeys(ORDER[:27], -0.02))
    others = [known(bench.plan, baseline, baseline), cheap_and_bad]
    assert decision(bench.plan, mine, others, ORDER) is None
    costly = Known(number=9, state=TrialState.RUNNING, values=dict.fromkeys(ORDER[:27], -0.5))
    assert decision(bench.plan, costly, others, ORDER) == "worse than the baseline on 27 cases that both have"


def test_a_trial_as_good_as_the_baseline_is_seldom_stopped_by_the_paired_test() -> None:
    generator, stopped = np.random.default_rng(1), 0
    for _ in range(200):
        chances = generator.uniform(0.2, 0.9, CASES)
        base, mine = (dict(zip(ORDER, (generator.random(CASES) < chances) * 1.0, strict=True)) for _ in range(2))
        rival = Known(number=0, state=TrialState.COMPLETE, values=base)
        stopped += any(
            decision(plan(RacingMethod.PAIRED), _cut(mine, rung), [rival], ORDER)
            for rung in rungs(Racing(), CASES)[:-1]
        )
    assert stopped <= 20  # one in ten


def _cut(values: dict[str, float], rung: int) -> Known:
    return Known(number=1, state=TrialState.RUNNING, values={each: values[each] for each in ORDER[:rung]})


@pytest.mark.parametrize("method", list(RacingMethod))
def test_sweeps_without_a_true_difference_seldom_name_a_winner(method: RacingMethod) -> None:
    tally = simulated.simulate(simulated.null(method, replicates=1), 50, seed=5)
    assert tally.better <= 7  # of 50 at one in twenty: more than seven come in one run of a hundred


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_figures_of_the_benchmark_keep_their_bars() -> None:
    for figure in simulated.figures():
        assert not figure.short, figure.line()

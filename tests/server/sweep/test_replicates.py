"""Cases are asked again where it decides something, and not otherwise."""

import numpy as np
import pytest
from tests.server.sweep.fielded import QUALITY, Bench, case_ids, planned, swept

from whet_eval.bench.racing import Simulated, planted
from whet_server.sweep.replicates import next_round
from whet_server.sweep.versus import looks, shares
from whet_server.sweeping import Objective, ObjectiveKind, Racing, RacingMethod, TrialState

CASES = 60
RACING = Racing(method=RacingMethod.PAIRED, replicates=3)


def drawn(seed: int, chance: float) -> list[float]:
    return [float(each < chance) for each in np.random.default_rng(seed).random(CASES)]


def undecided(racing: Racing = RACING, trials: int = 9) -> Bench:
    """A leader that is ahead, and not beyond chance."""
    base = drawn(0, 0.6)
    ahead = [1.0 if place in range(12) else score for place, score in enumerate(base)]
    others = {number: drawn(number, 0.55) for number in range(2, trials)}
    return swept({0: base, 1: ahead, **others}, racing=racing)


def test_a_round_asks_the_leader_its_rivals_and_the_baseline_about_every_case_once_more() -> None:
    bench = undecided()
    asked = next_round(bench.plan, bench.fold, case_ids(CASES))
    numbers = {number for number, _, _ in asked}
    assert {0, 1} < numbers
    assert len(numbers) <= 5  # the baseline, and the better half of eight
    assert {(number, case_id, 2) for number in numbers for case_id in case_ids(CASES)} == set(asked)
    assert len(asked) == len(set(asked))


def test_the_answer_depends_on_nothing_but_the_fold() -> None:
    bench, other = undecided(), undecided()
    other.fold.trials = dict(reversed(other.fold.trials.items()))
    assert next_round(bench.plan, bench.fold, case_ids(CASES)) == next_round(other.plan, other.fold, case_ids(CASES))


def test_rounds_double_until_they_are_spent_and_fewer_trials_come_along() -> None:
    racing = Racing(method=RacingMethod.PAIRED, replicates=5)
    assert looks(racing) == (1, 2, 4, 6)
    bench, rounds = undecided(racing), []
    while asked := next_round(bench.plan, bench.fold, case_ids(CASES)):
        rounds.append(asked)
        for number in {each for each, _, _ in asked}:
            for sample in {each for _, _, each in asked}:
                level = 0.62 if number == 1 else 0.58
                bench.trial(number, drawn(1000 * number + sample, level), sample=sample)
    assert [sorted({sample for _, _, sample in asked}) for asked in rounds] in (
        [[2]],
        [[2], [3, 4]],
        [[2], [3, 4], [5, 6]],
    )
    sizes = [len({number for number, _, _ in asked}) for asked in rounds]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size <= 5 for size in sizes)


@pytest.mark.parametrize("replicates", [0, 1, 2, 3, 7, 8, 31])
def test_the_looks_share_the_whole_level(replicates: int) -> None:
    assert sum(shares(Racing(replicates=replicates)).values()) == pytest.approx(1.0)
    assert looks(Racing(replicates=replicates))[-1] == 1 + replicates


def test_nothing_is_asked_again_without_replicates() -> None:
    bench = undecided(Racing())
    assert next_round(bench.plan, bench.fold, case_ids(CASES)) == ()


def test_nothing_is_asked_again_of_a_winner() -> None:
    bench = swept({0: [0.0] * CASES, 1: [1.0] * CASES}, racing=RACING)
    assert next_round(bench.plan, bench.fold, case_ids(CASES)) == ()


def test_nothing_is_asked_again_where_there_is_nothing_to_be_found() -> None:
    same = [1.0, 0.0] * 30
    for leader in (same, [0.0] * CASES):
        bench = swept({0: same, 1: leader}, racing=RACING)
        assert next_round(bench.plan, bench.fold, case_ids(CASES)) == ()


def test_nothing_is_asked_a_third_time_when_answers_do_not_vary() -> None:
    bench = undecided()
    asked = next_round(bench.plan, bench.fold, case_ids(CASES))
    assert asked
    for number in {each for each, _, _ in asked}:
        first = {case_id: case.score for (case_id, _), case in bench.fold.trials[number].answers.items()}
        bench.trial(number, [first[each] for each in case_ids(CASES)], sample=2)
    assert next_round(bench.plan, bench.fold, case_ids(CASES)) == ()


def test_a_sweep_with_the_baseline_alone_or_without_scores_asks_nothing_again() -> None:
    for trials in ({0: [1.0] * CASES}, {0: [None] * CASES, 1: [None] * CASES}):
        bench = swept(trials, racing=RACING)
        assert next_round(bench.plan, bench.fold, case_ids(CASES)) == ()
    bench = Bench(planned(CASES, 2, racing=RACING)).trial(0, [0.5] * CASES)
    bench.trial(1, [1.0] * 9, state=TrialState.PRUNED)
    assert next_round(bench.plan, bench.fold, case_ids(CASES)) == ()


def test_with_several_objectives_nothing_is_asked_again() -> None:
    base = drawn(0, 0.6)
    aims = (QUALITY, Objective(kind=ObjectiveKind.COST))
    bench = swept({0: base, 1: [1.0] * 12 + base[12:]}, racing=RACING, aims=aims)
    assert next_round(bench.plan, bench.fold, case_ids(CASES)) == ()


def test_replicates_find_a_small_difference_with_fewer_calls_than_repeating_everything() -> None:
    world = planted(RacingMethod.PAIRED, replicates=31)
    sweeps = [Simulated(world, seed) for seed in range(8)]
    found = sum(sweep.run().best == 7 for sweep in sweeps)
    assert found >= 5
    everything = world.cases * (1 + len(world.lifts)) * 32
    assert sum(sweep.calls for sweep in sweeps) / 8 < 0.3 * everything

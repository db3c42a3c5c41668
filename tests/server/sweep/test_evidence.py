"""Tests of paired differences equal scipy's where a closed form exists, and hold their level where none does."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test  # type: ignore[import-untyped]  # ships no types

from whet_server.calibration.statistics import mean_estimate
from whet_server.sweep.evidence import betting_p, corrected, flip_p, relative

few = settings(max_examples=40)
differences = st.lists(st.floats(-1, 1, allow_subnormal=False), max_size=60)


@pytest.mark.parametrize("seed", range(12))
def test_signs_of_right_and_wrong_are_mcnemars_exact_test(seed: int) -> None:
    generator = np.random.default_rng(seed)
    drawn = generator.choice([-1.0, 0.0, 1.0], size=1 + 17 * seed, p=[0.2, 0.5, 0.3])
    up, down = int((drawn > 0).sum()), int((drawn < 0).sum())
    exact = binomtest(up, up + down, alternative="greater").pvalue if up + down else 1.0
    assert flip_p(drawn.tolist()) == pytest.approx(max(exact, 1e-12), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_graded_differences_get_the_share_of_all_choices_of_signs(seed: int) -> None:
    drawn = np.random.default_rng(seed).integers(-6, 7, size=10) / 6
    size = np.abs(drawn)
    as_large = [np.dot(signs, size) >= drawn.sum() - 1e-9 for signs in product((-1, 1), repeat=10)]
    largest = size.max()
    if largest == 1.0:  # all are whole steps then, and nothing is rounded
        assert flip_p(drawn.tolist()) == pytest.approx(np.mean(as_large), abs=1e-9)
    by_scipy = permutation_test(
        (drawn,), np.sum, permutation_type="samples", alternative="greater", n_resamples=np.inf
    ).pvalue
    assert flip_p(drawn.tolist()) == pytest.approx(by_scipy, abs=0.02)


def test_above_the_count_the_normal_tail_is_taken_and_joins_on() -> None:
    drawn = np.random.default_rng(5).choice([-1.0, 1.0], size=2001, p=[0.48, 0.52])
    exact = binomtest(int((drawn > 0).sum()), 2001, alternative="greater").pvalue
    assert flip_p(drawn.tolist()) == pytest.approx(exact, rel=0.05)


@few
@given(differences)
def test_p_values_are_numbers_from_nought_to_one(given_differences: list[float]) -> None:
    for p_value in (flip_p(given_differences), betting_p(given_differences)):
        assert math.isfinite(p_value)
        assert 0 < p_value <= 1


@few
@given(differences)
def test_the_order_of_cases_does_not_change_the_exact_test(given_differences: list[float]) -> None:
    assert flip_p(given_differences) == flip_p(given_differences[::-1])


def test_no_difference_at_all_is_no_evidence() -> None:
    assert flip_p([0.0] * 50) == flip_p([]) == betting_p([0.0] * 50) == betting_p([]) == 1.0


@pytest.mark.parametrize("kind", ["right or wrong", "graded", "rare and large"])
def test_bets_on_nothing_rarely_win_however_often_one_looks(kind: str) -> None:
    """Ville: at most one in ten paths ever comes to ten times the capital; the mean capital is at most one."""
    generator, paths, cases = np.random.default_rng(7), 1000, 120
    shape = (paths, cases)
    match kind:
        case "right or wrong":
            gains = generator.choice([-1.0, 0.0, 1.0], size=shape, p=[0.2, 0.6, 0.2])
        case "graded":
            gains = generator.uniform(-1, 1, size=shape)
        case _:  # mostly a little better, now and then much worse: its mean is zero
            gains = np.where(generator.random(shape) < 0.1, -0.9, 0.1)
    below = sum(betting_p(row) <= 0.1 for row in gains.tolist())
    assert below <= 0.1 * paths


def test_bets_have_no_more_than_they_began_with_on_average_when_nothing_is_true() -> None:
    """Exactly: over all paths of five fair steps, the mean capital at the end is one."""
    paths = list(product((-1.0, 1.0), repeat=5))
    final = [_final_capital(path) for path in paths]
    assert np.mean(final) == pytest.approx(1.0)


def _final_capital(path: tuple[float, ...]) -> float:
    from whet_server.sweep.evidence import _BETS

    capital = np.prod(1 + np.outer(path, _BETS), axis=0).mean()
    best = max(np.prod(1 + np.outer(path[:end], _BETS), axis=0).mean() for end in range(1, 6))
    assert betting_p(path) == pytest.approx(min(1.0, 1 / best))
    return float(capital)


def test_bets_find_what_is_there() -> None:
    gains = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], size=300, p=[0.1, 0.6, 0.3])
    assert betting_p(gains.tolist()) < 0.001
    assert betting_p((-gains).tolist()) > 0.5


@pytest.mark.parametrize("chance", [0.2])
def test_the_interval_of_a_lift_holds_the_truth_as_often_as_it_says(chance: float) -> None:
    generator, held = np.random.default_rng(11), 0
    for _ in range(120):
        drawn = generator.choice([-1.0, 0.0, 1.0], size=100, p=[chance, 0.8 - chance, 0.2])
        estimate = mean_estimate(drawn.tolist())
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= 0.2 - chance <= estimate.high
    assert held / 120 >= 0.89


def test_relative_differences_have_a_bound_and_a_sign() -> None:
    assert relative(-1.0, -3.0) == 0.5  # a third of the price, both turned
    assert relative(0.0, 0.0) == 0.0
    assert relative(-5.0, 0.0) == -1.0


@few
@given(st.floats(0, 1), st.integers(0, 10_000))
def test_correction_never_makes_a_p_value_smaller(p_value: float, comparisons: int) -> None:
    assert p_value <= corrected(p_value, comparisons) <= 1

"""The Gaussian process against scikit-learn's, and what it promises where."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]  # ships no types
from sklearn.gaussian_process import GaussianProcessRegressor  # type: ignore[import-untyped]  # ships no types
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel  # type: ignore[import-untyped]  # ships no types

from whet_server.sweep.gaussian import Kernel, Posterior, improvement, likeliest, matern


@pytest.mark.parametrize(("points", "columns", "noise"), [(1, 1, 1e-3), (12, 3, 1e-2), (60, 5, 0.3)])
def test_the_posterior_is_scikit_learn_s(points: int, columns: int, noise: float) -> None:
    random = np.random.default_rng(points)
    x, y, at = random.random((points, columns)), random.normal(size=points), random.random((40, columns))
    lengths = random.uniform(0.2, 2.0, columns)
    peer = GaussianProcessRegressor(ConstantKernel(1.7) * Matern(lengths, nu=2.5), alpha=noise, optimizer=None)
    mean, deviation = peer.fit(x, y).predict(at, return_std=True)

    mine = Posterior(Kernel(lengths=lengths, variance=1.7, noise=noise), x, y).at(at)

    assert mine[0] == pytest.approx(mean, abs=1e-6)
    assert mine[1] == pytest.approx(deviation, abs=1e-6)


def test_the_kernel_that_is_chosen_is_about_as_likely_as_scikit_learn_s_best() -> None:
    random = np.random.default_rng(3)
    x = random.random((60, 2))
    y = np.sin(5 * x[:, 0]) + 0.1 * random.normal(size=60)
    y = (y - y.mean()) / y.std()
    kernel = ConstantKernel(1.0) * Matern([0.5, 0.5], nu=2.5, length_scale_bounds=(0.03, 10)) + WhiteKernel(0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the second column says nothing: its length is endless
        peer = GaussianProcessRegressor(kernel, n_restarts_optimizer=2, random_state=0).fit(x, y)

    mine = likeliest(x, y, [0, 1])
    logs = np.log([mine.variance, *mine.lengths, mine.noise])

    assert mine.lengths[1] > 2 * mine.lengths[0]
    assert float(peer.log_marginal_likelihood(logs)) > peer.log_marginal_likelihood_value_ - 8.0  # the prior's


def test_columns_of_one_dimension_share_its_length() -> None:
    random = np.random.default_rng(1)
    x = random.random((20, 4))

    lengths = likeliest(x, x[:, 0], [0, 1, 1, 1]).lengths

    assert lengths[1] == lengths[2] == lengths[3]


def test_the_correlation_of_a_point_with_itself_is_one_and_falls_with_distance() -> None:
    line = np.linspace(0.0, 3.0, 7)[:, None]
    row = matern(line, line)[0]

    assert row[0] == pytest.approx(1.0)
    assert all(np.diff(row) < 0)


def test_improvement_is_what_a_normal_draw_falls_below_the_best_on_the_mean() -> None:
    mean, deviation, best = np.array([0.3, -0.2, 1.0]), np.array([0.5, 0.1, 1e-9]), 0.1
    draws = np.random.default_rng(0).normal(size=(200_000, 1)) * deviation + mean
    simulated = np.maximum(best - draws, 0.0).mean(axis=0)

    assert improvement(mean, deviation, best) == pytest.approx(simulated, abs=2e-3)

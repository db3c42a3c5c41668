"""A Gaussian process over configurations, and expected improvement. In numpy: Optuna's needs a gigabyte of torch.

Rasmussen and Williams 2006, Gaussian processes for machine learning: the posterior is algorithm 2.1, the covariance
the Matern of smoothness 5/2 (equation 4.17) with a length for each dimension. Lengths and noise are those of the
largest marginal likelihood (2.30) under a weak prior, found by trying a few of each in turn; the variance that goes
with them is known in closed form. Expected improvement is Jones et al. 1998, over the posterior mean's best, as what
is measured is noisy.

A number is where it lies in its range, 0 to 1; a choice is one column for each label, 0 or 1. A number that does not
count lies in the middle, and a choice has none of its labels: whether they count shows in the dimension above them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from whet_server.sweep.guided import near
from whet_server.sweep.history import Told
from whet_server.sweep.space import Space, labels_of, share_of
from whet_server.sweeping import Configuration

Floats: TypeAlias = NDArray[np.floating[Any]]

MOST_POINTS: Final = 150
"""Trials that it sees: the best third, and the newest. The cost grows with the cube, to 0.1 s a trial here."""
_BEST: Final = MOST_POINTS // 3
_LENGTHS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Lengths to begin with, alike in all dimensions, as shares of a range."""
_NOISES: Final = (1e-4, 1e-2, 1e-1, 0.5)
"""Variances of the noise, as shares of the function's."""
_FACTORS: Final = (0.35, 2.8)
"""By what a single length is then tried to be shorter and longer."""
_TYPICAL: Final = 0.6
_SPREAD: Final = 1.2
"""The prior of a length: its logarithm is normal around this one's, so wide."""
_ANYWHERE: Final = 400
"""Candidates at random."""
_NEARBY: Final = 30
"""Candidates near each of the best."""
_TOP: Final = 5
_STEPS: Final = (0.2, 0.05)
"""How far from them, first and then around what was found, as shares of a range."""
_CHANGE: Final = 0.2
"""The chance of a candidate nearby that a choice is another."""
_JITTER: Final = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Lengths by column, the function's variance, and the noise's."""

    lengths: Floats
    variance: float
    noise: float

    def between(self, one: Floats, other: Floats) -> Floats:
        """Return the covariance of the function between rows of points, without noise."""
        return self.variance * matern(one / self.lengths, other / self.lengths)


class Posterior:
    """What points with values say about others. Values are around 0."""

    def __init__(self, kernel: Kernel, points: Floats, values: Floats) -> None:
        """`points`: a row for each, `values`: one for each."""
        self._kernel = kernel
        self._points = points
        covariance = kernel.between(points, points) + kernel.noise * np.eye(len(points))
        self._root = np.linalg.cholesky(covariance)
        self._weights = _solved(self._root, values)

    def at(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the mean and the standard deviation of the function at rows of points."""
        cross = self._kernel.between(points, self._points)
        explained = np.linalg.solve(self._root, cross.T)
        variance = self._kernel.variance - np.square(explained).sum(axis=0)
        return cross @ self._weights, np.sqrt(np.maximum(variance, 0.0))


def matern(one: Floats, other: Floats) -> Floats:
    """Return the Matern correlation of smoothness 5/2 between rows of points that are measured in lengths."""
    squares = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1)[None, :] - 2.0 * one @ other.T
    far = np.sqrt(5.0 * np.maximum(squares, 0.0))
    correlation: Floats = (1.0 + far + np.square(far) / 3.0) * np.exp(-far)
    return correlation


def likeliest(points: Floats, values: Floats, groups: Sequence[int]) -> Kernel:
    """Return the kernel that fits best. `groups`: for each column its dimension; columns of one share a length."""
    columns = np.asarray(groups)
    dimensions = int(columns.max()) + 1
    best = max(
        (_fit(points, values, np.full(dimensions, length), noise, columns) for length in _LENGTHS for noise in _NOISES),
        key=lambda fit: fit.likelihood,
    )
    for dimension in range(dimensions):
        for factor in _FACTORS:
            lengths = best.lengths.copy()
            lengths[dimension] *= factor
            best = max(best, _fit(points, values, lengths, best.noise, columns), key=lambda fit: fit.likelihood)
    for noise in _NOISES:
        best = max(best, _fit(points, values, best.lengths, noise, columns), key=lambda fit: fit.likelihood)
    return Kernel(lengths=best.lengths[columns], variance=best.variance, noise=best.noise * best.variance)


@dataclass(frozen=True, slots=True)
class _Fit:
    lengths: Floats
    noise: float
    variance: float
    likelihood: float


def _fit(points: Floats, values: Floats, lengths: Floats, noise: float, columns: NDArray[np.int64]) -> _Fit:
    """Return how well lengths and noise fit, with the variance that fits best with them."""
    scaled = points / lengths[columns]
    root = np.linalg.cholesky(matern(scaled, scaled) + (noise + _JITTER) * np.eye(len(points)))
    variance = max(float(values @ _solved(root, values)) / len(points), _JITTER)
    prior = -float(np.square(np.log(lengths / _TYPICAL) / _SPREAD).sum()) / 2
    likelihood = -len(points) * math.log(variance) / 2 - float(np.log(np.diag(root)).sum()) + prior
    return _Fit(lengths, noise, variance, likelihood)


def _solved(root: Floats, values: Floats) -> Floats:
    """Solve for `root @ root.T` on the left."""
    return np.linalg.solve(root.T, np.linalg.solve(root, values))


def improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """Return how much lower than `best` is to be expected."""
    safe = np.maximum(deviation, 1e-12)
    by = (best - mean) / safe
    below = np.array([math.erfc(-each / math.sqrt(2.0)) / 2 for each in by])
    gain: Floats = safe * (by * below + np.exp(-np.square(by) / 2) / math.sqrt(2 * math.pi))
    return gain


class Process:
    """The strategy: a process fitted to a window on the trials, and the candidate that promises most.

    Trials under way are believed to come out at the mean, so that the next one looks elsewhere (the believer of
    Ginsbourger et al. 2010).
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._columns = tuple(
            (at, dimension, label)
            for at, dimension in enumerate(space.dimensions)
            for label in (labels_of(dimension) or (None,))
        )
        self._told: list[Told] = []

    def tell(self, told: Told) -> None:
        self._told.append(told)

    def suggest(self, number: int, random: Random, pending: Sequence[tuple[int, Configuration]]) -> Configuration:
        del number
        told = self._window()
        if not told:
            return self._space.drawn(random)
        points = self._points([each.configuration for each in told])
        losses = np.array([each.losses[0] for each in told])
        spread = float(losses.std())
        values = (losses - losses.mean()) / spread if spread else np.zeros(len(told))
        kernel = likeliest(points, values, [at for at, *_ in self._columns])
        posterior = Posterior(kernel, points, values)
        if pending:
            believed = self._points([configuration for _, configuration in pending])
            points, values = np.vstack([points, believed]), np.concatenate([values, posterior.at(believed)[0]])
            posterior = Posterior(kernel, points, values)
        best = float(posterior.at(points)[0].min())
        ranked = sorted(told, key=lambda each: each.rank)[:_TOP]
        return self._promising(posterior, best, [each.configuration for each in ranked], random)

    def _window(self) -> list[Told]:
        """Return the trials that it looks at, in their order."""
        if len(self._told) <= MOST_POINTS:
            return self._told
        best = {each.number for each in sorted(self._told, key=lambda each: each.rank)[:_BEST]}
        newest = [each.number for each in self._told if each.number not in best][_BEST - MOST_POINTS :]
        kept = best.union(newest)
        return [each for each in self._told if each.number in kept]

    def _promising(
        self, posterior: Posterior, best: float, ranked: Sequence[Configuration], random: Random
    ) -> Configuration:
        candidates = [self._space.drawn(random) for _ in range(_ANYWHERE)]
        around = ranked
        for step in _STEPS:
            candidates += [
                near(self._space, base, random, step=step, change=_CHANGE) for base in around for _ in range(_NEARBY)
            ]
            promise = improvement(*posterior.at(self._points(candidates)), best)
            order = np.argsort(-promise, kind="stable")[:_TOP]
            around = candidates = [candidates[at] for at in order]
        return candidates[0]

    def _points(self, configurations: Sequence[Configuration]) -> Floats:
        """Return a row of columns for each configuration."""
        rows = np.empty((len(configurations), len(self._columns)))
        for row, configuration in zip(rows, configurations, strict=True):
            for column, (_, dimension, label) in enumerate(self._columns):
                setting = configuration.get(dimension.name)
                if label is not None:
                    row[column] = setting == label
                else:
                    row[column] = 0.5 if setting is None else share_of(dimension, setting)
        return rows

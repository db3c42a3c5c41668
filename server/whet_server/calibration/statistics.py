"""How good something is on the mean, how far two or more agree, and how sure that is. Pure; numpy loads on first use.

Intervals are two-sided at `LEVEL`. Unless a function says otherwise they are percentile bootstrap intervals over items
(Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13): the items are drawn again with replacement,
the statistic is taken of each draw, and the interval holds the middle 95 % of them. Equal items are counted together,
so that a draw is a row of counts (multinomial), and all draws are computed at once. The seed is a digest of the data:
the same data give the same interval, in whatever order they came. Where the data do not define a statistic its value
is None; where they are a single item it has no interval. When all items are alike every draw is too, and the interval
is one point: it says nothing about items that were not seen.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from statistics import NormalDist, fmean, variance
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from whet_server.judging import LEVEL, Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Counts: TypeAlias = NDArray[np.int64]
    Statistic: TypeAlias = Callable[[Floats], Floats]
    """From rows of counts, one count for each kind of item, to one figure a row; NaN where it is not defined."""

RESAMPLES: Final = 2000
"""Enough that the ends of a 95 % interval move by less than a tenth of its width from seed to seed."""
FEWEST_RESAMPLES: Final = 400
"""So many when there are many items: the interval is narrow then, and so is what this costs."""
MOST_DRAWS: Final = 4_000_000
"""Items drawn for one interval: a tenth of a second."""
MANY: Final = 5000
"""Above so many, the mean of scores or levels is as good as normal, and the bootstrap would take long."""
MIN_PAIRS: Final = 30
"""Rated items below which no mean is corrected: the normal interval rests on a sum of so many."""
_FEW_KINDS: Final = 100
"""Below, one binomial draw for each kind of item is quicker than one draw for each item."""
_BLOCK: Final = 500_000
"""Counts held at once: four megabytes."""
_NOTHING: Final = 1e-12
"""What is this small beside its parts is a rounding error of zero."""
_TAIL: Final = (1 - LEVEL) / 2
_Z: Final = NormalDist().inv_cdf(1 - _TAIL)


class Metric(StrEnum):
    """What the distance of two values is in Krippendorff's alpha."""

    NOMINAL = "nominal"
    ORDINAL = "ordinal"
    INTERVAL = "interval"


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Return the mean with its interval: above `MANY` values the normal one, which the bootstrap's comes to."""
    import numpy as np

    if not len(values):
        return Estimate()
    if len(values) > MANY:
        value, half = float(np.mean(values)), _Z * float(np.std(values, ddof=1)) / math.sqrt(len(values))
        return Estimate(value=value, low=value - half, high=value + half)
    kinds, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    return _estimate(kinds, counts, lambda weights: weights @ kinds / weights.sum(axis=1))


def share_estimate(hits: int, total: int) -> Estimate:
    """Return hits / total with Wilson's score interval (Wilson 1927), which also holds for none and for all."""
    if not total:
        return Estimate()
    share, spread = hits / total, _Z * _Z / total
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    low = 0.0 if hits == 0 else middle - half
    high = 1.0 if hits == total else middle + half
    return Estimate(value=share, low=low, high=high)


def exact_agreement(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return the share of items that both put at the same value, with Wilson's interval."""
    return share_estimate(sum(one == other for one, other in _pairs(first, second)), len(first))


def bias(judge: Sequence[float], people: Sequence[float]) -> Estimate:
    """Return the mean of judge less people, in their unit."""
    return mean_estimate([one - other for one, other in _pairs(judge, people)])


def absolute_error(judge: Sequence[float], people: Sequence[float]) -> Estimate:
    """Return the mean absolute difference, in their unit."""
    return mean_estimate([abs(one - other) for one, other in _pairs(judge, people)])


def confusion(rows: Sequence[int], columns: Sequence[int], levels: Sequence[int]) -> tuple[int, ...]:
    """Return how often each level of `rows` met each of `columns`, row by row: len(levels) squared counts. Raises
    `ValueError` for a level that is not listed.
    """
    places = {level: place for place, level in enumerate(levels)}
    matrix = [0] * len(levels) ** 2
    for row, column in _pairs(rows, columns):
        if row not in places or column not in places:
            raise ValueError(f"{row} or {column} is none of the levels {list(levels)}")
        matrix[places[row] * len(levels) + places[column]] += 1
    return tuple(matrix)


def kappa(first: Sequence[int], second: Sequence[int], levels: Sequence[int]) -> Estimate:
    """Return Cohen's kappa (Cohen 1960): 1 - observed / expected disagreement, every disagreement counting alike."""
    return _kappa(first, second, levels, lambda distance: (distance != 0) * 1.0)


def weighted_kappa(first: Sequence[int], second: Sequence[int], levels: Sequence[int]) -> Estimate:
    """Return kappa with quadratic weights (Cohen 1968): a disagreement counts by the square of how many places of
    `levels` it spans.
    """
    return _kappa(first, second, levels, lambda distance: distance * distance)


def _kappa(
    first: Sequence[int], second: Sequence[int], levels: Sequence[int], weigh: "Callable[[Floats], Floats]"
) -> Estimate:
    import numpy as np

    matrix = np.asarray(confusion(first, second, levels), dtype=np.int64).reshape(len(levels), len(levels))
    if matrix.sum() < 2:  # one item has no chance agreement to compare with
        return Estimate()
    places = np.arange(len(levels), dtype=np.float64)
    disagreement = weigh(places[:, None] - places[None, :])
    rows, columns = np.nonzero(matrix)
    row_of, column_of = np.eye(len(levels))[rows], np.eye(len(levels))[columns]

    def statistic(weights: "Floats") -> "Floats":
        observed = weights @ disagreement[rows, columns]
        expected = ((weights @ row_of @ disagreement) * (weights @ column_of)).sum(axis=1) / weights.sum(axis=1)
        return np.asarray(1 - observed / expected)

    return _estimate(np.stack([rows, columns]), matrix[rows, columns], statistic)


def spearman(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return Spearman's rank correlation: Pearson's of the ranks, ties sharing the mean of theirs (Spearman 1904)."""
    import numpy as np

    if len(first) < 2:
        return Estimate()
    kinds, counts = np.unique(np.asarray(list(_pairs(first, second)), dtype=np.float64), axis=0, return_counts=True)
    left, right = _Ranks(kinds[:, 0]), _Ranks(kinds[:, 1])

    def statistic(weights: "Floats") -> "Floats":
        one, other = left.centred(weights), right.centred(weights)
        spread = np.sqrt((weights * one * one).sum(axis=1) * (weights * other * other).sum(axis=1))
        return np.asarray((weights * one * other).sum(axis=1) / spread)

    return _estimate(kinds, counts, statistic)


class _Ranks:
    """The ranks of one of the two variables, in draws that hold each kind of pair so often as its weight says."""

    def __init__(self, values: "Floats") -> None:
        import numpy as np

        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self._group = np.empty(len(values), dtype=np.int64)
        self._group[self._order] = np.cumsum(np.concatenate([[False], ordered[1:] != ordered[:-1]]))

    def centred(self, weights: "Floats") -> "Floats":
        """Return each kind's mean rank less the mean of all ranks. Halves of integers, so that zero is exact."""
        import numpy as np

        tied = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        ranks = np.cumsum(tied, axis=1) - (tied - 1) / 2 - (weights.sum(axis=1, keepdims=True) + 1) / 2
        return np.asarray(ranks[:, self._group])


def alpha(items: Iterable[Sequence[float | None]], metric: Metric) -> Estimate:
    """Return Krippendorff's alpha: 1 - observed / expected disagreement among any number of raters (Krippendorff 2011,
    Computing Krippendorff's Alpha-Reliability). Each item lists its raters' values, None or left out where one is
    missing; who gave which does not matter. Items with fewer than two values tell nothing.

    An item of m values has the disagreement `sum over its pairs of distance / (m - 1)`. Ordinal distances are interval
    distances of mean ranks, which is what Krippendorff's sum over the levels between comes to.
    """
    import numpy as np

    rated = [given for item in items if len(given := sorted(one for one in item if one is not None)) > 1]
    if not rated:
        return Estimate()
    table = np.full((len(rated), max(map(len, rated))), np.inf)
    for row, given in zip(table, rated, strict=True):
        row[: len(given)] = given
    kinds, counts = np.unique(table, axis=0, return_counts=True)
    return _estimate(kinds, counts, _Disagreement(kinds, metric).alpha)


class _Disagreement:
    """Krippendorff's disagreements. `kinds`: a row of values for each kind of item, filled up with infinity."""

    def __init__(self, kinds: "Floats", metric: Metric) -> None:
        import numpy as np

        self._metric = metric
        there = np.isfinite(kinds)
        self._size = there.sum(axis=1)
        self._item = np.nonzero(there)[0]
        """The kind of item of each value that was given, kinds one after another."""
        self._item_starts = np.cumsum(self._size) - self._size
        self._values, self._place = np.unique(kinds[there], return_inverse=True)
        self._by_value = np.argsort(self._place, kind="stable")
        self._value_starts = np.searchsorted(self._place[self._by_value], np.arange(len(self._values)))

    def alpha(self, weights: "Floats") -> "Floats":
        import numpy as np

        pooled = np.add.reduceat(weights[:, self._item[self._by_value]], self._value_starts, axis=1)
        within, over_all = self._nominal(pooled) if self._metric is Metric.NOMINAL else self._squares(pooled)
        observed = (weights * (within / (self._size - 1))).sum(axis=1)
        figure = 1 - observed * (pooled.sum(axis=1) - 1) / over_all
        return np.asarray(np.where(over_all > 0, figure, np.nan))

    def _nominal(self, pooled: "Floats") -> "tuple[Floats, Floats]":
        """The pairs of different values within each kind of item and over all values, each pair twice. `pooled`: how
        often each value came, in each draw.
        """
        import numpy as np

        alike = np.zeros((len(self._size), len(self._values)), dtype=np.int32)
        np.add.at(alike, (self._item, self._place), 1)
        total = pooled.sum(axis=1)
        return self._size**2 - (alike * alike).sum(axis=1) * 1.0, total * total - (pooled * pooled).sum(axis=1)

    def _squares(self, pooled: "Floats") -> "tuple[Floats, Floats]":
        """The same with squared distances."""
        import numpy as np

        if self._metric is Metric.ORDINAL:
            at = np.cumsum(pooled, axis=1) - pooled / 2
        else:  # any point may be the origin; one of the values makes equal ones exactly zero
            at = (self._values - self._values[0])[None, :]
        given = at[:, self._place]
        sums, squares = (np.add.reduceat(each, self._item_starts, axis=1) for each in (given, given * given))
        moment = (pooled * at * at).sum(axis=1) * pooled.sum(axis=1)
        over_all = 2 * (moment - (pooled * at).sum(axis=1) ** 2)
        return 2 * (self._size * squares - sums**2), np.where(over_all > _NOTHING * moment, over_all, 0.0)


def corrected_mean(scores: Sequence[float], pairs: Sequence[tuple[float, float]]) -> Estimate:
    """Return the mean that people would give all items, from a judge's scores of all and people's of a part, by
    prediction-powered inference (Angelopoulos, Bates, Fannjiang, Jordan and Zrnic 2023, Science 382, 669): the judge's
    mean plus the mean of people less judge over the rated part. `pairs` are (judge, people) of the rated items, which
    are among `scores`; they must be a random part, or the correction is for other items than these.

    The interval is normal. Since the rated items stand in both means, the variance has their covariance too; with all
    items rated it is that of the people's mean alone. Not defined for fewer than `MIN_PAIRS` pairs.
    """
    if len(pairs) < MIN_PAIRS or len(scores) < len(pairs):
        return Estimate()
    judge = [float(one) for one, _ in pairs]
    errors = [float(people) - float(one) for one, people in pairs]
    middle, wrong = fmean(judge), fmean(errors)
    covariance = sum((one - middle) * (error - wrong) for one, error in zip(judge, errors, strict=True))
    covariance /= len(pairs) - 1
    value = fmean(map(float, scores)) + wrong
    spread = variance(errors) / len(pairs) + (variance(map(float, scores)) + 2 * covariance) / len(scores)
    half = _Z * math.sqrt(max(spread, 0.0))
    return Estimate(value=value, low=value - half, high=value + half)


def _pairs(first: Sequence[Any], second: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(first, second, strict=True)


def _estimate(kinds: "NDArray[Any]", counts: "Counts", statistic: "Statistic") -> Estimate:
    """Return the statistic of the items, `counts[k]` of each kind, with its bootstrap interval. `kinds` is whatever
    tells the kinds apart, for the seed.
    """
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):  # not defined is an answer here
        value = float(statistic(counts[None, :].astype(np.float64))[0])
        if not math.isfinite(value):
            return Estimate()
        if counts.sum() < 2:
            return Estimate(value=value)
        seed = hashlib.sha256(kinds.tobytes() + counts.tobytes()).digest()
        drawn = np.concatenate([statistic(rows) for rows in _draws(counts, int.from_bytes(seed))])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Estimate(value=value)
    low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL])
    return Estimate(value=value, low=float(low), high=float(high))


def _draws(counts: "Counts", seed: int) -> "Iterable[Floats]":
    """Draw as many items again as there are, with replacement, and again; yield blocks of rows of counts."""
    import numpy as np

    generator, items, kinds = np.random.default_rng(seed), int(counts.sum()), len(counts)
    few = kinds <= _FEW_KINDS
    left = RESAMPLES if few else max(FEWEST_RESAMPLES, min(RESAMPLES, MOST_DRAWS // items))
    kind_of = np.repeat(np.arange(kinds), counts)
    while left:
        rows = min(left, max(1, _BLOCK // (kinds if few else items)))
        left -= rows
        if few:
            yield generator.multinomial(items, counts / items, size=rows).astype(np.float64)
        else:
            cells = kind_of[generator.integers(0, items, (rows, items))] + np.arange(rows)[:, None] * kinds
            yield np.bincount(cells.ravel(), minlength=rows * kinds).reshape(rows, kinds).astype(np.float64)

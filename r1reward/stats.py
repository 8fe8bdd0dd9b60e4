"""Intervals behind every measured number: means over seeds and items, both at random, and shares of counts.

Axis convention: `values[s, i]` is the score of item `i` in the run with seed `s`; the items are the
same for all seeds. Further axes are allowed and stay with their item (both orders of a pair, say).

Seeds and items are crossed random effects, x_si = mean + seed_s + item_i + residual_si, with the mean
squares of a two-way layout without replication (Searle, Casella and McCulloch, Variance Components, 1992,
chapter 4). For S seeds and N items the squared half-width of the mean's interval is

    (t_{S-1}^2 MS_seeds + t_{N-1}^2 (MS_items - MS_residual)) / (S N),

each part with Student's quantile of its own degrees of freedom, and t_{N-1}^2 MS_items / (S N) where seeds
differ by no more than the residual explains. So one seed, or equal rows, give Student's interval over
items, and one item gives his interval over seeds. `docs/decisions.md` says what this covers, and what else
was tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtri, stdtrit
from scipy.stats import binomtest

Scores = NDArray[np.float64]
CONFIDENCE = 0.95
POWER = 0.8
# Seeds count where their mean square is above this quantile of what equal seeds have. A smaller one makes
# intervals of equal seeds too wide, a larger one those of seeds that differ a little too narrow.
SEEDS_COUNT_ABOVE = 0.6
# Numbers that differ by less were equal before they were rounded.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the bounds of its confidence interval.

    `detectable` is the smallest true distance from a fixed value, 0 for a difference, that data of this size
    and spread show at this confidence with a power of 80 %; None where nothing varied, and for counts.
    """

    estimate: float
    low: float
    high: float
    detectable: float | None = None

    def times(self, factor: float) -> Interval:
        """The same in another unit; the factor is positive."""
        detectable = None if self.detectable is None else factor * self.detectable
        return Interval(factor * self.estimate, factor * self.low, factor * self.high, detectable)


def share_interval(
    successes: int, total: int, *, method: Literal["wilson", "exact"], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval of a share by Wilson's score (no continuity correction), or Clopper and Pearson's exact one.

    The exact one is for few trials. Without trials nothing is known and the interval is (0, 1). Raises
    ValueError for a number of successes outside 0..total.
    """
    if not 0 <= successes <= total:
        raise ValueError(f"successes must lie in 0..total, got {successes} of {total}")
    if total == 0:
        return 0.0, 1.0
    bounds = binomtest(successes, total).proportion_ci(confidence, method=method)
    return float(bounds.low), float(bounds.high)


def mean_interval(
    values: ArrayLike,
    *,
    within: tuple[float, float] | None = (0.0, 1.0),
    confidence: float = CONFIDENCE,
) -> Interval:
    """The mean of values (S, N, ...) with its interval over seeds and items, see the module.

    `within` bounds what a value can be, and so the interval; None for no bounds. Values that are all equal
    say only that at most a share of 1 - tail^(1/N) of all items differs (the exact bound of 0 in N), by as
    much as the bounds allow; without bounds the interval has no width. Raises ValueError for an empty array,
    fewer than two axes, values that are not finite, a mean out of bounds, and a single value without bounds.
    """
    array = _as_scores(values)
    table = array.reshape(*array.shape[:2], -1).mean(axis=-1)
    middle, (lowest, highest) = float(table.mean()), within or (-np.inf, np.inf)
    if not lowest - ROUNDING <= middle <= highest + ROUNDING:
        raise ValueError(f"a mean of {middle:g} does not lie within {within}")
    if np.ptp(table) <= ROUNDING:
        if within is None and table.size < 2:
            raise ValueError("one value without bounds has no interval")
        other = 1 - ((1 - confidence) / 2) ** (1 / table.shape[1]) if within else 0.0
        low, high = (middle + other * (end - middle) if other else middle for end in (lowest, highest))
        return Interval(middle, low, high)
    half, lower = (float(_half_widths(table, level)) for level in ((1 + confidence) / 2, POWER))
    return Interval(middle, max(lowest, middle - half), min(highest, middle + half), half + lower)


def paired_interval(before: ArrayLike, after: ArrayLike, *, confidence: float = CONFIDENCE) -> Interval:
    """Interval of the mean of `after - before`, scores of 0 to 1 of the same seeds and items (S, N, ...).

    Raises ValueError where the two shapes differ, and as `mean_interval` does.
    """
    a, b = _as_scores(before), _as_scores(after)
    if a.shape != b.shape:
        raise ValueError(f"paired values must have one shape, got {a.shape} and {b.shape}")
    return mean_interval(b - a, within=(-1.0, 1.0), confidence=confidence)


def _as_scores(values: ArrayLike) -> Scores:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"values must have shape (num_seeds, num_items, ...), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("values must be finite")
    return array


def _mean_squares(tables: Scores) -> tuple[Scores, Scores, Scores]:
    """Mean squares (...) of seeds, items and residual of tables (..., S, N); 0 of a single seed or item."""
    num_seeds, num_items = tables.shape[-2:]
    middle = tables.mean(axis=(-2, -1), keepdims=True)
    seeds, items = (tables.mean(axis=axis, keepdims=True) - middle for axis in (-1, -2))
    residual = tables - middle - seeds - items
    freedom = max(1, num_seeds - 1), max(1, num_items - 1)
    of_seeds, of_items, of_residual = ((part**2).sum(axis=(-2, -1)) for part in (seeds, items, residual))
    return (
        num_items * of_seeds / freedom[0],
        num_seeds * of_items / freedom[1],
        of_residual / (freedom[0] * freedom[1]),
    )


def _half_widths(tables: Scores, level: float) -> Scores:
    """Half-widths (...) of the intervals of the means of tables (..., S, N); `level` is that of one bound."""
    num_seeds, num_items = tables.shape[-2:]
    of_seeds, of_items, of_residual = _mean_squares(tables)
    # Quantiles with 0 degrees of freedom are NaN: of one seed or one item, whose mean square is 0.
    by_seeds, by_items = (np.nan_to_num(stdtrit(size - 1, level)) ** 2 for size in (num_seeds, num_items))
    limit = fdtri(num_seeds - 1, (num_seeds - 1) * (num_items - 1), SEEDS_COUNT_ABOVE)
    total = np.where(
        of_seeds > np.nan_to_num(limit) * of_residual,
        by_seeds * of_seeds + by_items * np.maximum(of_items - of_residual, 0.0),
        by_items * np.where(of_items > ROUNDING * of_residual, of_items, of_residual),
    )
    return np.sqrt(total / (num_seeds * num_items))

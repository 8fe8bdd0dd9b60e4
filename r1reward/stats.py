"""Intervals behind every measured number: bootstrap, shares, and means over a few seeds.

Axis convention: `values[s, i]` is the score of item `i` in the run with seed `s`; the items are the
same for all seeds. Further axes are allowed and stay with their item (both orders of a pair, say).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, sem, t

# Every interval of a report comes from the same resamples, so that it can be drawn again to the digit.
BOOTSTRAP_SEED = 20250502
NUM_RESAMPLES = 2000

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the bounds of its confidence interval."""

    estimate: float
    low: float
    high: float


def share_interval(
    successes: int, total: int, *, method: Literal["wilson", "exact"], confidence: float = 0.95
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


def t_interval(values: ArrayLike) -> Interval:
    """Mean of independent values (N,) with Student's 95 % interval; fewer than two are a ValueError.

    For a handful of seeds, of which a bootstrap would only give the smallest and the largest.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"an interval needs at least two values, got shape {array.shape}")
    middle = float(array.mean())
    half = float(t.ppf(0.975, len(array) - 1) * sem(array))
    return Interval(middle, middle - half, middle + half)


def bootstrap(values: ArrayLike) -> Interval:
    """95 % percentile interval of the mean of values (S, N, ...), resampling seeds and then items.

    Each resample draws seeds and items with replacement, one draw of items for all seeds. With one seed only
    items vary, and with few seeds the spread between seeds is underestimated. Raises ValueError for an empty
    array, fewer than two axes or values that are not finite.
    """
    array = _as_scores(values)
    return _percentiles(float(array.mean()), _resampled_means(array), 0.95)


def paired_interval(before: ArrayLike, after: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Interval of the mean of `after - before`, both drawn with the same seeds and items each time.

    Shapes as in `bootstrap`. Raises ValueError where the two shapes differ.
    """
    a, b = _as_scores(before), _as_scores(after)
    if a.shape != b.shape:
        raise ValueError(f"paired values must have one shape, got {a.shape} and {b.shape}")
    return _percentiles(
        float(b.mean()) - float(a.mean()), _resampled_means(b) - _resampled_means(a), confidence
    )


def _as_scores(values: ArrayLike) -> Scores:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"values must have shape (num_seeds, num_items, ...), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("values must be finite")
    return array


def _resampled_means(array: Scores) -> Scores:
    """The mean of each resample (R,), by how often it has each seed and item: nothing is copied."""
    seeds, items = _counts(*array.shape[:2])
    by_item = array.reshape(*array.shape[:2], -1).mean(axis=-1)
    return (seeds * (items @ by_item.T)).sum(axis=1) / by_item.size


@lru_cache(maxsize=6)  # a report asks for the same resamples of many arrays
def _counts(num_seeds: int, num_items: int) -> tuple[Scores, Scores]:
    """How often each resample has each seed (R, S) and item (R, N)."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    seeds = rng.integers(num_seeds, size=(NUM_RESAMPLES, num_seeds))
    items = rng.integers(num_items, size=(NUM_RESAMPLES, num_items))
    return _counted(seeds, num_seeds), _counted(items, num_items)


def _counted(drawn: NDArray[np.int64], size: int) -> Scores:
    """How often each index below `size` stands in a row, (R, size)."""
    places = drawn + size * np.arange(len(drawn))[:, None]
    counts = np.bincount(places.ravel(), minlength=size * len(drawn))
    return counts.reshape(len(drawn), size).astype(float)


def _percentiles(estimate: float, draws: Scores, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high))

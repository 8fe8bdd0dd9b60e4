"""Intervals and paired tests behind every measured number. NumPy only; randomness comes in as a Generator.

Axis convention: `values[s, i]` is the score of item `i` in the run with seed `s`; the items are the
same for all seeds. Further axes are allowed and stay with their item (both orders of a pair, say).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, stdtrit

Statistic = Callable[[NDArray[np.float64]], float]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the bounds of its confidence interval."""

    estimate: float
    low: float
    high: float


def mean(values: NDArray[np.float64]) -> float:
    """The mean over all axes."""
    return float(values.mean())


def wilson_interval(successes: float, total: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927), without continuity correction.

    With no trials nothing is known and the interval is (0, 1). Raises ValueError for a number of
    successes outside 0..total or a confidence outside (0, 1).
    """
    _check_confidence(confidence)
    if not 0 <= successes <= total:
        raise ValueError(f"successes must lie in 0..total, got {successes} of {total}")
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / total
    centre = share + z * z / (2 * total)
    margin = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At the ends the bound is exact; rounding would leave it beside 0 or 1.
    low = 0.0 if successes == 0 else max(0.0, (centre - margin) / scale)
    high = 1.0 if successes == total else min(1.0, (centre + margin) / scale)
    return low, high


def exact_interval(successes: int, total: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's exact interval of a share, for few trials; (0, 1) without any.

    Raises ValueError as `wilson_interval` does.
    """
    _check_confidence(confidence)
    if not 0 <= successes <= total:
        raise ValueError(f"successes must lie in 0..total, got {successes} of {total}")
    if total == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = betaincinv(successes, total - successes + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, total - successes, 1 - tail) if successes < total else 1.0
    return float(low), float(high)


def cluster_bootstrap(
    values: ArrayLike,
    statistic: Statistic = mean,
    *,
    rng: np.random.Generator,
    num_samples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic, resampling seeds and then items.

    `values` has shape (num_seeds, num_items, ...). Each resample draws seeds and items with
    replacement, one draw of items for all seeds, and calls `statistic` on the drawn array. With one
    seed only items vary, and with few seeds the spread between seeds is underestimated. Raises
    ValueError for an empty array, fewer than two axes or values that are not finite.
    """
    _check_confidence(confidence)
    array = _as_scores(values)
    return _percentile_interval(
        statistic(array), _resampled([array], statistic, rng, num_samples)[0], confidence
    )


def t_interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Mean of independent values (N,) with Student's interval; fewer than two are a ValueError.

    For a handful of seeds, of which a bootstrap would only give the smallest and the largest.
    """
    _check_confidence(confidence)
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"an interval needs at least two values, got shape {array.shape}")
    middle = float(array.mean())
    half = stdtrit(len(array) - 1, (1 + confidence) / 2) * array.std(ddof=1) / math.sqrt(len(array))
    return Interval(middle, middle - float(half), middle + float(half))


def paired_bootstrap(
    values_a: ArrayLike,
    values_b: ArrayLike,
    *,
    rng: np.random.Generator,
    statistic: Statistic = mean,
    num_samples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Interval of `statistic(b) - statistic(a)`, both drawn with the same seeds and items each time.

    Shapes as in `cluster_bootstrap`. Raises ValueError where the two shapes differ.
    """
    _check_confidence(confidence)
    a, b = _as_scores(values_a), _as_scores(values_b)
    if a.shape != b.shape:
        raise ValueError(f"paired values must have one shape, got {a.shape} and {b.shape}")
    from_a, from_b = _resampled([a, b], statistic, rng, num_samples)
    return _percentile_interval(statistic(b) - statistic(a), from_b - from_a, confidence)


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """Two-sided p of McNemar's exact test: is one judge right more often on the same items?

    Takes two boolean arrays of one shape. Only items where exactly one judge is right count; without
    any p is 1. Raises ValueError where the shapes differ.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"paired answers must have one shape, got {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    discordant = only_a + only_b
    # Whole numbers until the last division: no rounding and no underflow for many items.
    tail = sum(math.comb(discordant, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")


def _as_scores(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"values must have shape (num_seeds, num_items, ...), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("values must be finite")
    return array


def _resampled(
    arrays: Sequence[NDArray[np.float64]], statistic: Statistic, rng: np.random.Generator, num_samples: int
) -> NDArray[np.float64]:
    """The statistic of each array in each resample (A, R); all arrays are drawn with the same indices."""
    num_seeds, num_items = arrays[0].shape[:2]
    if statistic is mean:
        start = _Start(rng.bit_generator.state)
        (seeds, items), after = _counts(start, num_seeds, num_items, num_samples)
        rng.bit_generator.state = after
        return np.array([_resampled_means(array, seeds, items) for array in arrays])
    drawn = [np.ix_(*both) for both in zip(*_draw(rng, num_seeds, num_items, num_samples), strict=True)]
    return np.array([[statistic(array[index]) for index in drawn] for array in arrays])


def _draw(
    rng: np.random.Generator, num_seeds: int, num_items: int, num_samples: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the seeds (R, S) and items (R, N) of each resample."""
    seeds = rng.integers(num_seeds, size=(num_samples, num_seeds))
    return seeds, rng.integers(num_items, size=(num_samples, num_items))


class _Start:
    """The state of a generator, which two calls that draw the same resamples have in common."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Start) and repr(self.state) == repr(other.state)

    def __hash__(self) -> int:
        return hash(repr(self.state))


@lru_cache(maxsize=6)
def _counts(
    start: _Start, num_seeds: int, num_items: int, num_samples: int
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], Any]:
    """How often each resample has each seed (R, S) and item (R, N), and the generator's state after it.

    Kept for a few sizes: a report asks for the same resamples of many arrays.
    """
    rng = np.random.Generator(_generator_of(start.state))
    seeds, items = _draw(rng, num_seeds, num_items, num_samples)
    return (_counted(seeds, num_seeds), _counted(items, num_items)), rng.bit_generator.state


def _generator_of(state: Any) -> np.random.BitGenerator:
    bits = getattr(np.random, state["bit_generator"])()
    bits.state = state
    return bits


def _counted(drawn: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """How often each index below `size` stands in a row, (R, size)."""
    places = drawn + size * np.arange(len(drawn))[:, None]
    counts = np.bincount(places.ravel(), minlength=size * len(drawn))
    return counts.reshape(len(drawn), size).astype(float)


def _resampled_means(
    array: NDArray[np.float64], seeds: NDArray[np.float64], items: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`mean` of resamples by the counts of their seeds (R, S) and items (R, N), without a copy of them."""
    by_item = array.reshape(*array.shape[:2], -1).mean(axis=-1)
    return (seeds * (items @ by_item.T)).sum(axis=1) / by_item.size


def _percentile_interval(estimate: float, draws: ArrayLike, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(draws), [tail, 1 - tail])
    return Interval(float(estimate), float(low), float(high))

"""One way to read a benchmark: a faulty row is left out, and every pair says how many were."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from r1reward.data.sifting import sift
from r1reward.files import Row
from r1reward.types import PreferencePair

LEFT_OUT = "left_out"


def read_benchmark(
    rows: Iterable[Row], parse: Callable[[int, dict[str, Any], str], PreferencePair]
) -> list[PreferencePair]:
    """The pairs of the sound rows, in their order; see `sift` for `parse`, the warning and the errors.

    A score over fewer rows is not the benchmark's. So where rows are left out, `meta["left_out"]` of every
    pair says in words how many and why, from where it goes into records and below tables.
    """
    sifted = sift(rows, parse)
    if not sifted.left_out:
        return sifted.kept
    return [replace(pair, meta={**pair.meta, LEFT_OUT: sifted.summary}) for pair in sifted.kept]

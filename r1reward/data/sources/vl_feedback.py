"""VL-Feedback: four rated responses a row; this loader makes one preference pair of them.

A response's score is the mean of its ratings "1".."5" over the aspects; "N/A" does not count, and a
response without any rating is left out. The pair is one of the best responses against one of those
rated strictly worse, both drawn by a generator seeded with `PAIR_SEED` and the row number, so that a
row always gives the same pair. One pair a row keeps the pairs independent and the count of the paper's
Table 2. Rows where all rated responses tie are dropped and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from r1reward.data.sources.base import (
    SourceSpec,
    chosen_first,
    drop_reason,
    find_files,
    find_picture,
    iterate_jsonl,
    mapping,
    strip_image_tag,
    text_field,
)
from r1reward.types import PreferencePair

SPEC = SourceSpec(
    name="vl_feedback",
    hub_id="MMInstruction/VLFeedback",
    licence="not stated",
    expected_count=80_258,
    table_2_name="VL-Feedback",
)
PICTURE_FOLDERS = ("merged_images",)
PAIR_SEED = 2023


def mean_rating(completion: Mapping[str, Any], origin: str) -> float | None:
    """Mean of a completion's ratings over its aspects, None if no aspect has a rating."""
    annotations = mapping(completion.get("annotations"), origin)
    texts = [text_field(mapping(entry, origin), "Rating", origin).strip() for entry in annotations.values()]
    ratings = [int(text) for text in texts if text in {"1", "2", "3", "4", "5"}]
    return sum(ratings) / len(ratings) if ratings else None


def _completions(row: Mapping[str, Any], origin: str) -> list[dict[str, Any]]:
    """The completions of a row, also where a reader turned the list of records into a record of lists."""
    value = row.get("completions")
    if isinstance(value, dict):
        if not all(isinstance(column, list) for column in value.values()):
            raise ValueError(f"{origin}: field 'completions' is neither a list nor a record of lists")
        value = [dict(zip(value, entries, strict=True)) for entries in zip(*value.values(), strict=True)]
    if not isinstance(value, list):
        raise ValueError(f"{origin}: field 'completions' is missing or not a list")
    return [mapping(entry, origin) for entry in value]


def _choose(row: Mapping[str, Any], number: int, origin: str) -> tuple[str, str] | str:
    """(chosen, rejected) of a row, or the reason why it gives no pair."""
    scored = [
        (mean_rating(entry, origin), text_field(entry, "response", origin))
        for entry in _completions(row, origin)
    ]
    rated = [(score, text) for score, text in scored if score is not None and text.strip()]
    if len(rated) < 2:
        return "fewer than two rated responses"
    top = max(score for score, _ in rated)
    best = [text for score, text in rated if score == top]
    worse = [text for score, text in rated if score < top]
    if not worse:
        return "tie"
    rng = np.random.default_rng([PAIR_SEED, number])
    chosen = best[rng.integers(len(best))]
    different = [text for text in worse if text.strip() != chosen.strip()]
    return chosen, different[rng.integers(len(different))] if different else worse[0]


def read(
    folder: Path,
    *,
    drops: Counter[str] | None = None,
    keep: Callable[[str], bool] | None = None,
    cache: Path | None = None,
) -> Iterator[PreferencePair]:
    """Pairs of the JSON-lines files in `folder`, pictures as files beside them."""
    folder = Path(folder)
    drops = Counter() if drops is None else drops
    rows = (item for path in find_files(folder, "*.jsonl") for item in iterate_jsonl(path))
    for number, (origin, row) in enumerate(rows):
        question = strip_image_tag(text_field(row, "prompt", origin))
        choice = _choose(row, number, origin)
        reason = drop_reason(question, *choice) if isinstance(choice, tuple) else choice
        pair_id = f"{SPEC.name}-{number:06d}"
        if reason or isinstance(choice, str):
            drops[str(reason)] += 1
        elif keep is None or keep(pair_id):
            name = text_field(row, "img_path" if "img_path" in row else "image", origin)
            picture = find_picture(folder, name, subfolders=PICTURE_FOLDERS, origin=origin)
            yield chosen_first(SPEC, pair_id, question, choice, picture=picture, name=name, origin=origin)

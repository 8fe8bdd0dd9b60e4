"""VL-Feedback: four rated responses a row; this loader makes one preference pair of them.

A response's score is the mean of its ratings "1".."5" over the aspects; "N/A" does not count, and a
response without any rating is left out. The pair is one of the best responses against one of those
rated strictly worse, both drawn by a generator seeded with `PAIR_SEED` and the row number, so that a
row always gives the same pair. One pair a row keeps the pairs independent and the count of the paper's
Table 2. Rows where all rated responses tie are dropped and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from r1reward.data.rows import DroppedRow, mapping, records, text_field
from r1reward.data.sources.base import FilesSpec, RowPair, SourceSpec, make_reader, strip_image_tag
from r1reward.files import scan_jsonl

SPEC = SourceSpec(
    name="vl_feedback",
    folder="vl_feedback",
    hub_id="MMInstruction/VLFeedback",
    licence="not stated",
    expected_count=80_258,
    table_2_name="VL-Feedback",
    files=(
        FilesSpec("rows", ("*.jsonl",), ("vlfeedback_80k.jsonl",)),
        FilesSpec("pictures", ("merged_images/*", "merged_images.zip"), ("merged_images.zip",)),
    ),
    unverified="these are the older files of the hub; the newer parquet files are not read",
)
PAIR_SEED = 2023


def mean_rating(completion: Mapping[str, Any], origin: str) -> float | None:
    """Mean of a completion's ratings over its aspects, None if no aspect has a rating."""
    annotations = mapping(completion.get("annotations"), origin)
    texts = [text_field(mapping(entry, origin), "Rating", origin).strip() for entry in annotations.values()]
    ratings = [int(text) for text in texts if text in {"1", "2", "3", "4", "5"}]
    return sum(ratings) / len(ratings) if ratings else None


def _choose(row: Mapping[str, Any], number: int, origin: str) -> tuple[str, str]:
    """(chosen, rejected) of a row; a row without a best and a worse response is dropped."""
    scored = [
        (mean_rating(entry, origin), text_field(entry, "response", origin))
        for entry in records(row, "completions", origin)
    ]
    rated = [(score, text) for score, text in scored if score is not None and text.strip()]
    if len(rated) < 2:
        raise DroppedRow("fewer than two rated responses")
    top = max(score for score, _ in rated)
    best = [text for score, text in rated if score == top]
    worse = [text for score, text in rated if score < top]
    if not worse:
        raise DroppedRow("tie")
    rng = np.random.default_rng([PAIR_SEED, number])
    chosen = best[rng.integers(len(best))]
    different = [text for text in worse if text.strip() != chosen.strip()]
    return chosen, different[rng.integers(len(different))] if different else worse[0]


def _parse(row: Mapping[str, Any], number: int, origin: str) -> RowPair:
    question = strip_image_tag(text_field(row, "prompt", origin))
    name = text_field(row, "img_path" if "img_path" in row else "image", origin)
    return RowPair(question, _choose(row, number, origin), name, name)


read = make_reader(
    SPEC, _parse, scan=scan_jsonl, subfolders=("merged_images",), archives=("merged_images.zip",)
)

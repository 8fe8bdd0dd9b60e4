"""RLAIF-V: parquet files with the pictures inside, one preference pair a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from r1reward.data.sources.base import (
    SourceSpec,
    chosen_first,
    drop_reason,
    embedded_picture,
    find_files,
    iterate_parquet,
    store_picture,
    strip_image_tag,
    text_field,
)
from r1reward.types import PreferencePair

SPEC = SourceSpec(
    name="rlaif_v",
    hub_id="openbmb/RLAIF-V-Dataset",
    licence="cc-by-nc-4.0",
    expected_count=83_132,
    table_2_name="RLAIF-V",
)
COLUMNS = ("image", "question", "chosen", "rejected", "image_path")


def read(
    folder: Path,
    *,
    drops: Counter[str] | None = None,
    keep: Callable[[str], bool] | None = None,
    cache: Path | None = None,
) -> Iterator[PreferencePair]:
    """Pairs of the parquet files in `folder` (or its `data`), pictures written once to `cache`."""
    folder = Path(folder)
    drops = Counter() if drops is None else drops
    files = find_files(folder, "*.parquet", "data/*.parquet")
    for number, (origin, row) in enumerate(iterate_parquet(files, COLUMNS)):
        question = strip_image_tag(text_field(row, "question", origin))
        chosen, rejected = text_field(row, "chosen", origin), text_field(row, "rejected", origin)
        reason = drop_reason(question, chosen, rejected)
        pair_id = f"{SPEC.name}-{number:06d}"
        if reason:
            drops[reason] += 1
        elif keep is None or keep(pair_id):
            data, name = embedded_picture(row, origin)
            path = store_picture(data, cache or folder / "pictures", origin)
            yield chosen_first(
                SPEC, pair_id, question, (chosen, rejected), picture=path, name=name, origin=origin
            )

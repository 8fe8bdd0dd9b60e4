"""Multimodal RewardBench (Yasunaga et al., 2025): pairs in seven columns, from its own JSON or a hub mirror.

The official file leaves the text of some items blank, which the authors' `0_download_data.py` fills in, and
500 Hateful Memes items are withheld: Safety is PAIRS alone then (4,711 of 5,211 pairs).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1reward.benchmarks import MULTIMODAL
from r1reward.data.catalogue import REWARD_BENCHMARKS
from r1reward.data.sources.base import (
    embedded_picture,
    find_files,
    find_picture,
    iterate_parquet,
    scan_json_list,
    store_picture,
    strictly,
    strip_image_tag,
    text_field,
)
from r1reward.types import Position, PreferencePair

COLUMNS = ("ID", "Text", "Image", "Output1", "Output2", "Better", "Category")
_GROUPS = {
    "open_generation/correctness_task": "correctness",
    "open_generation/preference_task": "preference",
    "knowledge": "knowledge",
    "vqa": "vqa",
    "safety": "safety",
}


def group_of(category: str, item_id: str, *, origin: str = "") -> str:
    """The column of an item (`2_get_accuracy.py`); reasoning is divided by the id, as there.

    Raises ValueError for a category that the benchmark does not have.
    """
    if category == "reasoning":
        return "math" if item_id.lower().startswith("math") else "coding"
    if category not in _GROUPS:
        known = ", ".join(["reasoning", *_GROUPS])
        raise ValueError(f"{origin}: field 'Category' is {category!r}; known are {known}")
    return _GROUPS[category]


def load_benchmark(
    path: Path, *, pictures: Path | None = None, cache: Path | None = None
) -> list[PreferencePair]:
    """All pairs in the file's order; `category` is the column of Table 4, `meta["row"]` the row from 0.

    `path` is `all_data.json`, a parquet mirror, or a folder with one of them. Paths of pictures are relative
    to `pictures` (default: the folder of the file, then its parent); those of parquet rows are written to
    `cache`. Every row counts: a faulty one is a ValueError that names it.
    """
    path = Path(path)
    files = [path] if path.is_file() else find_files(path, *REWARD_BENCHMARKS[MULTIMODAL].rows)
    if files[0].suffix == ".json":
        return list(_read_json(files[0], pictures))
    return list(_read_parquet(files, cache or (path if path.is_dir() else path.parent) / "pictures"))


def _read_json(path: Path, pictures: Path | None) -> Iterator[PreferencePair]:
    folders = [pictures] if pictures else [path.parent, path.parent.parent]
    for row, (origin, values) in enumerate(strictly(scan_json_list(path))):
        name = text_field(values, "Image", origin)
        folder = next((folder for folder in folders if os.path.isfile(folder / name)), folders[0])
        yield _pair(row, values, find_picture(folder, name, subfolders=(), origin=origin), name, origin)


def _read_parquet(files: Sequence[Path], cache: Path) -> Iterator[PreferencePair]:
    for row, (origin, values) in enumerate(iterate_parquet(files, COLUMNS)):
        data, name = embedded_picture({"image": values["Image"]}, origin)
        yield _pair(row, values, store_picture(data, cache, origin), name, origin)


def _pair(row: int, values: Mapping[str, Any], picture: str, name: str, origin: str) -> PreferencePair:
    if not str(values.get("Text") or "").strip():
        raise ValueError(f"{origin}: field 'Text' is blank; the authors' 0_download_data.py fills it in")
    item_id, category = (text_field(values, field, origin) for field in ("ID", "Category"))
    return PreferencePair(
        pair_id=f"{MULTIMODAL}-{row:05d}",
        source=MULTIMODAL,
        question=strip_image_tag(text_field(values, "Text", origin)),
        responses=(text_field(values, "Output1", origin), text_field(values, "Output2", origin)),
        preferred=_preferred(values, origin),
        images=(picture,),
        category=group_of(category, item_id, origin=origin),
        origin=origin,
        meta={"row": row, "id": item_id, "image": name},
    )


def _preferred(values: Mapping[str, Any], origin: str) -> Position:
    better = values.get("Better")
    if better not in ("Output1", "Output2"):
        raise ValueError(f"{origin}: field 'Better' is {better!r}, not Output1 or Output2")
    return 1 if better == "Output1" else 2

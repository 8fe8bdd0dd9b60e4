"""Multimodal RewardBench (Yasunaga et al., 2025): pairs in seven columns, from its own JSON or a hub mirror.

The official file leaves the text of some items blank, which the authors' `0_download_data.py` fills in, and
500 Hateful Memes items are withheld: Safety is PAIRS alone then (4,711 of 5,211 pairs).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from r1reward.benchmarks import MULTIMODAL
from r1reward.data.catalogue import REWARD_BENCHMARKS
from r1reward.data.rows import find_files, read_benchmark, scan_json_list, scan_parquet, text_field
from r1reward.data.sources.base import strip_image_tag
from r1reward.data.sources.pictures import embedded_picture, find_picture, store_picture
from r1reward.files import RefusedRow
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

    Raises RefusedRow for a category that the benchmark does not have.
    """
    if category == "reasoning":
        return "math" if item_id.lower().startswith("math") else "coding"
    if category not in _GROUPS:
        known = ", ".join(["reasoning", *_GROUPS])
        detail = f"field 'Category' is {category!r}; known are {known}"
        raise RefusedRow(origin, "field 'Category' is of no group", detail)
    return _GROUPS[category]


def load_benchmark(
    path: Path, *, pictures: Path | None = None, cache: Path | None = None
) -> list[PreferencePair]:
    """All pairs in the file's order; `category` is the column of Table 4, `meta["row"]` the row from 0.

    `path` is `all_data.json`, a parquet mirror, or a folder with one of them. Paths of pictures are relative
    to `pictures` (default: the folder of the file, then its parent); those of parquet rows are written to
    `cache`. Faulty rows are left out, see `read_benchmark`.
    """
    path = Path(path)
    files = [path] if path.is_file() else find_files(path, *REWARD_BENCHMARKS[MULTIMODAL].rows)
    if files[0].suffix == ".json":
        folders = [pictures] if pictures else [files[0].parent, files[0].parent.parent]
        return read_benchmark(scan_json_list(files[0]), partial(_json_pair, folders=folders))
    cache = cache or (path if path.is_dir() else path.parent) / "pictures"
    rows = (row for file in files for row in scan_parquet(file, COLUMNS))
    return read_benchmark(rows, partial(_parquet_pair, cache=cache))


def _json_pair(row: int, values: Mapping[str, Any], origin: str, *, folders: list[Path]) -> PreferencePair:
    name = text_field(values, "Image", origin)
    folder = next((folder for folder in folders if os.path.isfile(folder / name)), folders[0])
    return _pair(row, values, find_picture(folder, name, subfolders=(), origin=origin), name, origin)


def _parquet_pair(row: int, values: Mapping[str, Any], origin: str, *, cache: Path) -> PreferencePair:
    data, name = embedded_picture({"image": values["Image"]}, origin)
    return _pair(row, values, store_picture(data, cache, origin), name, origin)


def _pair(row: int, values: Mapping[str, Any], picture: str, name: str, origin: str) -> PreferencePair:
    if not str(values.get("Text") or "").strip():
        raise RefusedRow(origin, "field 'Text' is blank; the authors' 0_download_data.py fills it in")
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
        detail = f"field 'Better' is {better!r}, not Output1 or Output2"
        raise RefusedRow(origin, "field 'Better' is neither response", detail)
    return 1 if better == "Output1" else 2

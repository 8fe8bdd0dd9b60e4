"""VL-RewardBench (Li et al., 2024): 1,250 pairs in three groups, from the hub or the text-only release.

The hub's parquet holds the pictures; the JSON lines released with R1-Reward's code name pictures that
are not part of the release. Given photographs can stand in for those, which makes scores meaningless
and is written on every pair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from r1reward.benchmarks import VL
from r1reward.data.catalogue import REWARD_BENCHMARKS
from r1reward.data.rows import find_files, read_benchmark, scan_parquet, text_field
from r1reward.data.sources.base import strip_image_tag
from r1reward.data.sources.pictures import embedded_picture, find_picture, store_picture
from r1reward.files import RefusedRow, scan_jsonl
from r1reward.types import Position, PreferencePair

STAND_IN = "stand-in pictures"
COLUMNS = ("id", "query", "response", "image", "human_ranking")
_OFFICIAL = {
    "hallucination": "hallucination",
    "RLAIF": "hallucination",
    "RLHF": "hallucination",
    "mathverse": "reasoning",
    "mmmu": "reasoning",
}


def group_of(item_id: str) -> str:
    """The official group of an item: by the id's prefix before the first `_` or `-` (`cal.py`)."""
    return _OFFICIAL.get(re.split("[_-]", item_id, maxsplit=1)[0], "general")


def group_as_released(item_id: str) -> str:
    """The group in R1-Reward's released `get_acc.py`, whose lower-case test misses RLAIF-V and RLHF-V.

    It exists only to explain the paper's Table 3 row (309/484, 384/448, 206/318).
    """
    if any(part in item_id for part in ("hallucination", "rlhf", "rlaif")):
        return "hallucination"
    return "reasoning" if any(part in item_id for part in ("mathverse", "mmmu")) else "general"


def load_benchmark(
    path: Path,
    *,
    pictures: Path | None = None,
    stand_in_pictures: Sequence[Path] = (),
    cache: Path | None = None,
) -> list[PreferencePair]:
    """All pairs in the file's order; `category` is the official group, `meta["row"]` the row from 0.

    `path` is a parquet file, a JSON-lines file or a folder with one of them. The pictures of parquet
    rows are written to `cache` (default: `pictures` beside the files). JSON lines need the folder
    `pictures` that their paths are relative to, or `stand_in_pictures`, which are taken in turn. Ids
    repeat; `pair_id` is made from the row. Faulty rows are left out, see `read_benchmark`.
    """
    path = Path(path)
    files = [path] if path.is_file() else find_files(path, *REWARD_BENCHMARKS[VL].rows)
    if files[0].suffix == ".jsonl":
        if pictures is None and not stand_in_pictures:
            raise ValueError(f"{files[0]} holds no pictures: give their folder or stand-in pictures")
        lines = (row for file in files for row in scan_jsonl(file))
        return read_benchmark(lines, partial(_text_pair, pictures=pictures, stand_in=stand_in_pictures))
    cache = cache or (path if path.is_dir() else path.parent) / "pictures"
    rows = (row for file in files for row in scan_parquet(file, COLUMNS))
    return read_benchmark(rows, partial(_parquet_pair, cache=cache))


def _parquet_pair(row: int, values: Mapping[str, Any], origin: str, *, cache: Path) -> PreferencePair:
    data, name = embedded_picture(values, origin)
    picture, question = store_picture(data, cache, origin), text_field(values, "query", origin)
    said = (question, _responses(values, origin), _preferred(values, origin))
    return _pair(row, values, origin, said, picture, {"image": name})


def _responses(values: Mapping[str, Any], origin: str) -> tuple[str, str]:
    match values["response"]:
        case [str(first), str(second)]:
            return first, second
    raise RefusedRow(origin, "field 'response' is not two texts")


def _preferred(values: Mapping[str, Any], origin: str) -> Position:
    """`human_ranking` is the rank of each response, 0 for the better one."""
    ranking = values["human_ranking"]
    if ranking == [0, 1]:
        return 1
    if ranking == [1, 0]:
        return 2
    detail = f"field 'human_ranking' is {ranking!r}, not [0, 1] or [1, 0]"
    raise RefusedRow(origin, "field 'human_ranking' is no ranking", detail)


def _text_pair(
    row: int, values: Mapping[str, Any], origin: str, *, pictures: Path | None, stand_in: Sequence[Path]
) -> PreferencePair:
    name = text_field(values, "image", origin)
    if pictures is not None:
        picture = find_picture(pictures, name, subfolders=(), origin=origin)
    else:
        picture = str(stand_in[row % len(stand_in)])
    question, *responses = (text_field(values, field, origin) for field in ("prompt", "chosen", "rejected"))
    labelled = {"image": name} if pictures is not None else {"image": name, "pictures": STAND_IN}
    return _pair(row, values, origin, (question, (responses[0], responses[1]), 1), picture, labelled)


def _pair(
    row: int,
    values: Mapping[str, Any],
    origin: str,
    said: tuple[str, tuple[str, str], Position],
    picture: str,
    meta: Mapping[str, Any],
) -> PreferencePair:
    item_id = text_field(values, "id", origin)
    question, responses, preferred = said
    return PreferencePair(
        pair_id=f"{VL}-{row:05d}",
        source=VL,
        question=strip_image_tag(question),
        responses=responses,
        preferred=preferred,
        images=(picture,),
        category=group_of(item_id),
        origin=origin,
        meta={"row": row, "id": item_id, "as_released": group_as_released(item_id), **meta},
    )

"""MM-RLHF-RewardBench (Zhang et al., 2025): 170 pairs about 46 questions, some of them about videos.

The better response is always `chosen`, so a judge must be asked in both orders. Frames of a video are read
in the order of their names; the released script takes them as the file system lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from r1reward.benchmarks import GROUP_COUNTS, MM_RLHF
from r1reward.data.catalogue import REWARD_BENCHMARKS
from r1reward.data.rows import find_files, read_benchmark, text_field
from r1reward.data.sources.base import strip_image_tag
from r1reward.data.sources.pictures import Pictures
from r1reward.files import RefusedRow, scan_jsonl
from r1reward.types import PreferencePair

STAND_IN = "stand-in pictures"


def group_of(path: str, *, origin: str = "") -> str:
    """The first of the five names found in a picture's path (`get_acc.py`); none is a RefusedRow."""
    for group in GROUP_COUNTS[MM_RLHF]:
        if group in path:
            return group
    detail = f"{path!r} holds none of {', '.join(GROUP_COUNTS[MM_RLHF])}"
    raise RefusedRow(origin, "picture of no group", detail)


def load_benchmark(
    path: Path, *, pictures: Path | None = None, stand_in_pictures: Sequence[Path] = ()
) -> list[PreferencePair]:
    """All pairs in the file's order; `category` is the group, `meta["question"]` the question they are about.

    `path` is `mm_reward_bench.jsonl` or its folder; paths in it are relative to `pictures` (default: the
    folder of the file) or to `images` in it. Without pictures `stand_in_pictures` are taken in turn, which
    makes scores meaningless and is written on every pair. Faulty rows are left out, see `read_benchmark`.
    """
    path = Path(path)
    file = path if path.is_file() else find_files(path, *REWARD_BENCHMARKS[MM_RLHF].rows)[0]
    found = Pictures(pictures or file.parent, subfolders=("images",))
    return read_benchmark(scan_jsonl(file), partial(_pair, pictures=found, stand_in=stand_in_pictures))


def _pair(
    row: int, values: dict[str, Any], origin: str, *, pictures: Pictures, stand_in: Sequence[Path]
) -> PreferencePair:
    is_video = values.get("video") is not None
    name = text_field(values, "video" if is_video else "image", origin)
    group = group_of(name, origin=origin)
    images: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    if stand_in:
        images = (str(stand_in[row % len(stand_in)]),)
    elif is_video:
        frames = pictures.frames(name, origin)
    else:
        images = (pictures.picture(name, origin),)
    meta = {"row": row, "question": text_field(values, "id", origin), "image": name}
    return PreferencePair(
        pair_id=f"{MM_RLHF}-{row:05d}",
        source=MM_RLHF,
        question=strip_image_tag(text_field(values, "prompt", origin)),
        responses=(text_field(values, "chosen", origin), text_field(values, "rejected", origin)),
        preferred=1,
        images=images,
        frames=frames,
        category=group,
        origin=origin,
        meta={**meta, **({"pictures": STAND_IN} if stand_in else {})},
    )

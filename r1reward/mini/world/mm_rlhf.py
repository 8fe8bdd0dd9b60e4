"""MM-RLHF of the mini world: long, short, multiple-choice and safety pairs, and videos of two frames."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from r1reward.files import write_atomic
from r1reward.mini.tasks import TASKS, Case
from r1reward.mini.world.cases import Writer, multiple_choice, spoil, write_picture

TASK_SHARES: dict[str, dict[str, float]] = {
    "long": {"describe_4": 0.7, "colours_3": 0.3},
    "short": {"colour": 0.25, "shape": 0.2, "existence": 0.25, "count": 0.15, "digit": 0.15},
    "safety": {"secret": 0.5, "sign": 0.5},
}
# Pairs of Table 2. The videos are not in it: what the authors' 120,000 pairs leave.
SIZES = {"long": 41_163, "short": 46_281, "mcq": 8_306, "safety": 9_990}
VIDEO_SHARE = 0.13


def subset_sizes(count: int) -> dict[str, int]:
    """`count` pairs divided as in Table 2; the largest subset takes what rounding leaves."""
    sizes = {subset: count * size // sum(SIZES.values()) for subset, size in SIZES.items()}
    sizes["short"] += count - sum(sizes.values())
    return sizes


def _row(path: str, case: Case, chosen: str, rejected: str, *, kind: str = "image") -> dict[str, object]:
    return {
        "id": path.rpartition("/")[2],
        kind: path,
        "prompt": case.question,
        "chosen": chosen,
        "rejected": rejected,
        "chosen_reason": "",
        "rejected_reason": "",
    }


def _write_pictures(folder: Path, subset: str, count: int, seed: int) -> tuple[list[dict], list[dict]]:
    writer = Writer(f"mm_rlhf_{subset}", "train", seed)
    rows = []
    for _, image, png, case, rng in writer.rows(count, TASK_SHARES[subset]):
        write_picture(folder / subset / image, png)
        chosen = case.answer(case.right_values())
        rows.append(_row(f"{subset}/{image}", case, chosen, spoil(case, rng)))
    return rows, writer.truth


def _write_multiple_choice(folder: Path, count: int, seed: int) -> tuple[list[dict], list[dict]]:
    """Pictures stay in `mcq.zip`, as they are downloaded."""
    writer = Writer("mm_rlhf_mcq", "train", seed)
    rows, packed = [], io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for row in range(count):
            rng = writer.generator(row)
            case, chosen, rejected = multiple_choice(rng)
            path = f"mcq/{writer.name}_{row:06d}.png"
            archive.writestr(zipfile.ZipInfo(path), writer.draw(case, rng)[0])
            writer.note(path[4:], case, case.question)
            rows.append(_row(path, case, chosen, rejected))
    write_atomic(folder / "mcq.zip", packed.getvalue())
    return rows, writer.truth


def _write_videos(folder: Path, count: int, seed: int) -> tuple[list[dict], list[dict]]:
    """A video is a folder with its two frames."""
    writer = Writer("mm_rlhf_video", "train", seed)
    rows = []
    for row in range(count):
        rng = writer.generator(row)
        case = TASKS["motion"](rng)
        name = f"{writer.name}_{row:06d}"
        for index, png in enumerate(writer.draw(case, rng)):
            write_picture(folder / "video" / name / f"{index}.png", png)
        writer.note(name, case, case.question)
        chosen, rejected = case.answer(case.right_values()), spoil(case, rng)
        rows.append(_row(f"video/{name}", case, chosen, rejected, kind="video"))
    return rows, writer.truth


def write_mm_rlhf(folder: Path, count: int, seed: int) -> list[dict[str, object]]:
    """Write `dpo_pairs.jsonl` with `count` pairs about pictures and some about videos; returns the truth."""
    sizes = subset_sizes(count)
    parts = [
        *(_write_pictures(folder, subset, sizes[subset], seed) for subset in TASK_SHARES),
        _write_multiple_choice(folder, sizes["mcq"], seed),
        _write_videos(folder, round(count * VIDEO_SHARE), seed),
    ]
    lines = [json.dumps(row) + "\n" for rows, _ in parts for row in rows]
    write_atomic(folder / "dpo_pairs.jsonl", "".join(lines))
    return [fact for _, truth in parts for fact in truth]

"""Writes the mini world in the original on-disk schema of each data set, with its truth beside it.

The real loaders are the only loaders: a user who puts the real files in place changes nothing else.
`truth.jsonl` holds what is really in each picture. Only the scripted annotator, which stands in for
GPT-4o, may read it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from r1reward.files import write_atomic
from r1reward.mini.scene import Split
from r1reward.mini.world.benchmark import (
    write_mm_rlhf_rewardbench,
    write_multimodal_rewardbench,
    write_vl_rewardbench,
)
from r1reward.mini.world.sources import (
    Writer,
    write_mm_rlhf,
    write_povid,
    write_rlaif_v,
    write_vl_feedback,
    write_wildvision,
)
from r1reward.settings import Profile, WorldSettings


def find_sources(profile: Profile, world: Path, seed: int) -> Path:
    """The folder of the original files: `data.root`, or `world`, into which the mini world is written.

    Raises ValueError where a full-size model has no `data.root`: an annotator that is paid would be asked
    about the mini world.
    """
    if profile.data.root:
        return Path(profile.data.root)
    if profile.model.prompt != "mini":
        raise ValueError(
            f"data.root of the profile {profile.name} is empty, and the mini world is for the tiny model: "
            f'put extends = "{profile.name}" and data.root into a profile of your own (docs/guide.md)'
        )
    write_world(world, profile.world, seed)
    return world


def write_world(folder: Path, settings: WorldSettings, seed: int) -> None:
    """Write the training sources, the benchmarks, a validation split and `truth.jsonl` into `folder`.

    Every data set has `pairs_per_source` rows; MM-RLHF divides them among its subsets as in Table 2 and
    has videos besides. Everything follows from `seed`. Training, validation and benchmark pictures use
    disjoint handwritten digits and different random scenes.
    """
    truth: list[dict[str, object]] = []
    for name, write in {
        "rlaif_v": write_rlaif_v,
        "vl_feedback": write_vl_feedback,
        "povid": write_povid,
        "wildvision_battle": write_wildvision,
    }.items():
        writer = Writer(name, "train", seed, label_noise=settings.label_noise)
        write(folder / name, settings.pairs_per_source, writer)
        truth += writer.truth
    truth += write_mm_rlhf(
        folder / "mm_rlhf", settings.pairs_per_source, seed, label_noise=settings.label_noise
    )
    benchmarks: dict[str, tuple[Callable[[Path, int, Writer], None], int, Split]] = {
        "vl_rewardbench": (write_vl_rewardbench, settings.benchmark_pairs, "test"),
        "vl_rewardbench_validation": (write_vl_rewardbench, settings.validation_pairs, "validation"),
        "multimodal_rewardbench": (write_multimodal_rewardbench, settings.multimodal_pairs, "test"),
        "mm_rlhf_rewardbench": (write_mm_rlhf_rewardbench, settings.mm_rlhf_pairs, "test"),
    }
    for name, (write, count, split) in benchmarks.items():
        write(folder / name, count, Writer(name, split, seed))
    write_atomic(folder / "truth.jsonl", "".join(json.dumps(row) + "\n" for row in truth))

"""The three reward benchmarks of the mini world, in their original schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count as numbers
from pathlib import Path

import numpy as np

from r1reward.files import write_atomic
from r1reward.mini.tasks import Case, flourished
from r1reward.mini.world.sources import (
    MAKERS,
    Writer,
    multiple_choice,
    respond,
    spoil_in_all_ways,
    write_parquet,
    write_picture,
)

TASK_SHARES: dict[str, dict[str, float]] = {
    "hallucination": {
        "describe": 0.25, "describe_4": 0.15, "colours_3": 0.3, "colours_2": 0.15, "existence": 0.15,
    },
    "general": {"shape": 0.3, "sign": 0.3, "secret": 0.1, "colours_2": 0.3},
    "reasoning": {"sum": 0.3, "count": 0.25, "digit": 0.2, "total": 0.2, "more": 0.05},
}  # fmt: skip
GROUP_SHARES = {"general": 0.15, "hallucination": 0.6, "reasoning": 0.25}
ID_PREFIXES = {
    "hallucination": ("hallucination_pair-", "RLAIF-V-", "RLHF-V-"),
    "general": ("wildvision-",),
    "reasoning": ("mathverse_", "mmmu_"),
}


# Official sizes of Multimodal RewardBench, with the task that stands for each column.
COLUMNS: dict[str, tuple[int, dict[str, float]]] = {
    "open_generation/correctness_task": (623, {"colours_3": 0.5, "describe": 0.5}),
    "open_generation/preference_task": (654, {"describe_4": 0.5, "colours_2": 0.5}),
    "knowledge": (630, {"sign": 0.5, "shape": 0.5}),
    "reasoning math": (514, {"sum": 1.0}),
    "reasoning coding": (582, {"count": 0.5, "digit": 0.5}),
    "safety": (508, {"secret": 0.5, "sign": 0.5}),
    "vqa": (1200, {"colour": 0.4, "existence": 0.4, "count": 0.2}),
}
MM_RLHF_SIZES = {"mcq": 42, "long": 37, "short": 34, "safety": 32, "video": 25}
MOST_PAIRS = 4  # of one question of MM-RLHF-RewardBench; the real file has 2 to 6
MM_RLHF_TASKS = {
    "long": {"describe_4": 0.7, "colours_3": 0.3},
    "short": {"colours_2": 0.6, "existence": 0.2, "count": 0.2},
    "safety": {"secret": 0.5, "sign": 0.5},
    "video": {"motion": 1.0},
}


def _sizes(count: int, shares: Mapping[str, float], rest: str) -> dict[str, int]:
    """`count` divided in about these proportions; `rest` takes what rounding leaves."""
    sizes = {name: round(count * share / sum(shares.values())) for name, share in shares.items()}
    sizes[rest] += count - sum(sizes.values())
    return sizes


def write_vl_rewardbench(folder: Path, count: int, writer: Writer) -> None:
    """One parquet file in about the official proportions of the groups."""
    rows, name = [], writer.name
    for group, size in _sizes(count, GROUP_SHARES, "hallucination").items():
        writer.name = f"{name}_{group}"
        for row, image, png, case, rng in writer.rows(size, TASK_SHARES[group]):
            responses = [*respond(case, rng)]
            flipped = bool(rng.integers(2))
            rows.append(
                {
                    "id": f"{ID_PREFIXES[group][row % len(ID_PREFIXES[group])]}{row}",
                    "query": case.question,
                    "response": responses[::-1] if flipped else responses,
                    "image": {"bytes": png, "path": image},
                    "human_ranking": [1, 0] if flipped else [0, 1],
                    "models": ["mini-a", "mini-b"],
                    "judge": "world truth",
                    "rationale": "",
                    "query_source": case.task,
                    "meta": "{}",
                    "human_error_analysis": [],
                    "ground_truth": "",
                }
            )
    writer.name = name
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", rows)


def write_multimodal_rewardbench(folder: Path, count: int, writer: Writer) -> None:
    """`data/all_data.json` with the pictures beside it, in about the official proportions."""
    rows, name = [], writer.name
    sizes = _sizes(count, {column: size for column, (size, _) in COLUMNS.items()}, "vqa")
    for column, size in sizes.items():
        category, _, kind = column.partition(" ")
        writer.name = f"{name}_{column.rpartition('/')[2].replace(' ', '_')}"
        for row, image, png, case, rng in writer.rows(size, COLUMNS[column][1]):
            write_picture(folder / "data" / "images" / image, png)
            responses = [*respond(case, rng)]
            flipped = bool(rng.integers(2))
            first, second = responses[::-1] if flipped else responses
            rows.append(
                {
                    "ID": f"{kind or writer.name}_{row}",
                    "Text": case.question,
                    "Image": f"images/{image}",
                    "Output1": first,
                    "Output2": second,
                    "Better": "Output2" if flipped else "Output1",
                    "Category": category,
                }
            )
    writer.name = name
    write_atomic(folder / "data" / "all_data.json", json.dumps(rows, indent=1))


def write_mm_rlhf_rewardbench(folder: Path, count: int, writer: Writer) -> None:
    """`mm_reward_bench.jsonl` in about the official proportions; a question has several wrong responses."""
    lines, name = [], writer.name
    for group, left in _sizes(count, MM_RLHF_SIZES, "mcq").items():
        writer.name = f"{name}_{group}"
        for row in numbers():
            if not left:
                break
            rng = writer.generator(row)
            case, chosen, wrong = _question(group, rng)
            kind, path = "video" if group == "video" else "image", f"{group}/{writer.name}_{row:06d}"
            drawn = writer.draw(case, rng)
            if kind == "video":
                for index, png in enumerate(drawn):
                    write_picture(folder / path / f"{index}.png", png)
            else:
                path += ".png"
                write_picture(folder / path, drawn[0])
            for rejected in wrong[: min(MOST_PAIRS, left)]:
                texts = {"prompt": case.question, "chosen": chosen, "rejected": rejected}
                lines.append(json.dumps({"id": f"{writer.name}_{row}", kind: path, **texts}) + "\n")
                left -= 1
    writer.name = name
    write_atomic(folder / "mm_reward_bench.jsonl", "".join(lines))


def _question(group: str, rng: np.random.Generator) -> tuple[Case, str, list[str]]:
    """A case with its right response and different wrong ones, in random order."""
    if group == "mcq":
        case, chosen, wrong = multiple_choice(rng)
        return case, chosen, [wrong]
    shares = MM_RLHF_TASKS[group]
    case = MAKERS[str(rng.choice(list(shares), p=list(shares.values())))](rng)
    wrong = [flourished(text, rng) for text in spoil_in_all_ways(case, rng)]
    return case, flourished(case.right_answer(), rng), wrong

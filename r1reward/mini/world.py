"""Writes the mini world in the original on-disk schema of each data set, with its truth beside it.

The real loaders are the only loaders: a user who puts the real files in place changes nothing else.
`truth.jsonl` holds what is really in each picture. Only the scripted annotator, which stands in for
GPT-4o, may read it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from r1reward.config import WorldSettings
from r1reward.files import write_atomic
from r1reward.mini.scene import Split, render
from r1reward.mini.tasks import TASKS, Case

TASK_SHARES: dict[str, dict[str, float]] = {
    "rlaif_v": {"existence": 0.3, "colour": 0.2, "colours_2": 0.25, "describe": 0.25},
    "povid": {"describe": 0.5, "colours_3": 0.3, "existence": 0.2},
    "vl_feedback": {"count": 0.25, "digit": 0.2, "sum": 0.25, "shape": 0.1, "sign": 0.1, "secret": 0.1},
    "hallucination": {"describe": 0.4, "colours_3": 0.3, "colours_2": 0.15, "existence": 0.15},
    "general": {"shape": 0.3, "sign": 0.3, "secret": 0.1, "colours_2": 0.3},
    "reasoning": {"sum": 0.5, "count": 0.3, "digit": 0.2},
}
GROUP_SHARES = {"general": 0.15, "hallucination": 0.6, "reasoning": 0.25}
ID_PREFIXES = {
    "hallucination": ("hallucination_pair-", "RLAIF-V-", "RLHF-V-"),
    "general": ("wildvision-",),
    "reasoning": ("mathverse_", "mmmu_"),
}
ASPECTS = ("Helpfulness", "Ethical Considerations", "Visual Faithfulness")


class _Writer:
    """Draws cases and pictures of one data set and collects its truth."""

    def __init__(self, name: str, split: Split, seed: int) -> None:
        self.name, self.seed = name, seed
        self.split: Split = split
        self.truth: list[dict[str, object]] = []

    def rows(
        self, count: int, shares: dict[str, float]
    ) -> Iterator[tuple[int, str, bytes, Case, np.random.Generator]]:
        """(row number, picture name, PNG bytes, case, generator) with tasks drawn by their shares."""
        for row in range(count):
            rng = np.random.default_rng([self.seed, *self.name.encode(), row])
            task = str(rng.choice(list(shares), p=list(shares.values())))
            case = TASKS[task](rng)
            buffer = io.BytesIO()
            render(case.scenes[0], rng, self.split).save(buffer, "PNG")
            image = f"{self.name}_{row:06d}.png"
            self.truth.append(
                {
                    "image": image,
                    "question": case.question,
                    "task": case.task,
                    "facts": [list(fact) for fact in case.facts],
                    "difficulty": case.difficulty,
                }
            )
            yield row, image, buffer.getvalue(), case, rng


def spoil(case: Case, rng: np.random.Generator, *, count: int | None = None) -> str:
    """A response with `count` wrong claims; by default mostly one, which is the hardest to notice."""
    values = case.right_values()
    if count is None:
        count = 1 if rng.random() < 0.7 else len(values)
    for index in rng.permutation(len(values))[:count]:
        values[index] = case.wrong[index]
    return case.answer(values)


def _write_rlaif_v(folder: Path, count: int, writer: _Writer) -> None:
    rows = [
        {
            "ds_name": "mini-world",
            "image": {"bytes": png, "path": image},
            "question": case.question,
            "chosen": case.answer(case.right_values()),
            "rejected": spoil(case, rng),
            "origin_dataset": "mini-world",
            "origin_split": json.dumps({"model": "mini-world", "feedback": "world truth", "type": case.task}),
            "idx": row,
            "image_path": image,
        }
        for row, image, png, case, rng in writer.rows(count, TASK_SHARES["rlaif_v"])
    ]
    _write_parquet(folder / "RLAIF-V-Dataset_000.parquet", rows)


def _write_povid(folder: Path, count: int, writer: _Writer) -> None:
    rows = []
    for row, image, png, case, rng in writer.rows(count, TASK_SHARES["povid"]):
        _write_picture(folder / "images" / image, png)
        turn = {"from": "human", "value": f"<image>\n{case.question}"}
        rows.append(
            {
                "id": f"{row:012d}",
                "image": image,
                "conversations": [turn, {"from": "gpt", "value": case.answer(case.right_values())}],
                "rejected_conversations": [turn, {"from": "gpt", "value": spoil(case, rng)}],
            }
        )
    write_atomic(folder / "POVID_preference_data_for_VLLMs_version_1.json", json.dumps(rows))


def _completion(model: str, response: str, rating: int, rng: np.random.Generator) -> dict[str, object]:
    ratings = {aspect: str(rating) for aspect in ASPECTS}
    if rng.random() < 0.1:
        ratings["Ethical Considerations"] = "N/A"
    annotations = {aspect: {"Rating": ratings[aspect], "Rationale": ""} for aspect in ASPECTS}
    return {"annotations": annotations, "model": model, "response": response}


def _write_vl_feedback(folder: Path, count: int, writer: _Writer) -> None:
    models = ["mini-a", "mini-b", "mini-c", "mini-d"]
    lines = []
    for row, image, png, case, rng in writer.rows(count, TASK_SHARES["vl_feedback"]):
        _write_picture(folder / "merged_images" / image, png)
        right = [True, False, *(bool(rng.integers(2)) for _ in range(2))]
        completions = [
            _completion(
                model,
                case.answer(case.right_values()) if right[index] else spoil(case, rng, count=1),
                5 if right[index] else 2,
                rng,
            )
            for model, index in zip(models, rng.permutation(4), strict=True)
        ]
        line = {
            "id": f"mini-{row}",
            "prompt": case.question,
            "models": models,
            "completions": completions,
            "img_path": f"merged_images/{image}",
        }
        lines.append(json.dumps(line))
    write_atomic(folder / "vlfeedback_80k.jsonl", "\n".join(lines) + "\n")


def _group_sizes(count: int) -> dict[str, int]:
    """`count` pairs in about the official proportions."""
    sizes = {group: round(count * share) for group, share in GROUP_SHARES.items()}
    sizes["hallucination"] += count - sum(sizes.values())
    return sizes


def _write_vl_rewardbench(folder: Path, count: int, writer: _Writer) -> None:
    rows, name = [], writer.name
    for group, size in _group_sizes(count).items():
        writer.name = f"{name}_{group}"
        for row, image, png, case, rng in writer.rows(size, TASK_SHARES[group]):
            responses = [case.answer(case.right_values()), spoil(case, rng)]
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
    _write_parquet(folder / "data" / "test-00000-of-00001.parquet", rows)


def _write_picture(path: Path, png: bytes) -> None:
    """Not synced one by one: `truth.jsonl`, written last, says that the world is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)


def _write_parquet(path: Path, rows: Sequence[dict[str, object]]) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink)
    write_atomic(path, sink.getvalue().to_pybytes())


def write_world(folder: Path, settings: WorldSettings, seed: int) -> None:
    """Write the training sources, the benchmark, its validation twin and `truth.jsonl` into `folder`.

    Everything follows from `seed`. Training, validation and benchmark pictures use disjoint
    handwritten digits and different random scenes.
    """
    sources = {"rlaif_v": _write_rlaif_v, "vl_feedback": _write_vl_feedback, "povid": _write_povid}
    truth: list[dict[str, object]] = []
    for name, write in sources.items():
        writer = _Writer(name, "train", seed)
        write(folder / name, settings.pairs_per_source, writer)
        truth += writer.truth
    _write_vl_rewardbench(
        folder / "vl_rewardbench", settings.benchmark_pairs, _Writer("vl_rewardbench", "test", seed)
    )
    validation = "vl_rewardbench_validation"
    _write_vl_rewardbench(
        folder / validation, settings.validation_pairs, _Writer(validation, "validation", seed)
    )
    write_atomic(folder / "truth.jsonl", "".join(json.dumps(row) + "\n" for row in truth))

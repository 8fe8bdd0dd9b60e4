"""A small run folder of invented records: seeded numbers under a profile called "synthetic"."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import f, t

from r1reward.report.records import Records

ACCURACY = {"base": 0.5, "sft": 0.72, "sft_continued": 0.74, "reinforce_pp": 0.76, "stable_reinforce": 0.82}
NUM_PAIRS = 120
GROUP_NAMES = ["general"] * 20 + ["hallucination"] * 60 + ["reasoning"] * 40


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def bench_lines(accuracy: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    lines = []
    for row, group in enumerate(GROUP_NAMES):
        preferred = int(rng.integers(1, 3))
        answers = (preferred, 3 - preferred)
        marks = "".join(
            "u" if rng.random() < 0.02 else str(a if rng.random() < accuracy else 3 - a) for a in answers
        )
        lines.append(
            {
                "row": row,
                "group": group,
                "preferred": preferred,
                "verdicts": marks,
                "tokens": [int(t) for t in rng.integers(15, 40, 2)],
            }
        )
    return lines


def training_lines(level: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    lines = []
    for step in range(40):
        accuracy = level + 0.002 * step + 0.02 * rng.standard_normal()
        row = {
            "step": step,
            "reward": 2 * accuracy,
            "accuracy": accuracy,
            "policy_loss": 0.05 * rng.standard_normal(),
        }
        row |= {
            "response_length": 30 - 0.1 * step + rng.standard_normal(),
            "grad_norm": 1 + 0.2 * rng.random(),
        }
        row |= {
            f"pre_clip_{side}_{sign}": 0.0 for side in ("high", "low") for sign in ("positive", "negative")
        }
        row |= {
            "filtered_positive": 0.0,
            "filtered_negative": 0.05 * rng.random(),
            "answer_one_share": 0.5 + 0.03 * rng.standard_normal(),
            "log_ratio_max": 0.2 + 0.1 * rng.random(),
        }
        lines.append(row)
    return lines


def confusion(labels: list[str], rng: np.random.Generator) -> dict[str, Any]:
    counts = rng.integers(0, 3, (len(labels), len(labels))) + 40 * np.eye(len(labels), dtype=int)
    accuracy = float(np.trace(counts) / counts.sum())
    interval = [accuracy - 0.02, accuracy + 0.02]
    return {
        "accuracy": accuracy,
        "n": int(counts.sum()),
        "interval": interval,
        "labels": labels,
        "confusion": counts.tolist(),
    }


def write_synthetic(root: Path, *, seeds: int = 3) -> Path:
    rng = np.random.default_rng(7)
    records = root / "records"
    bench = records / "bench" / "vl_rewardbench"
    fixed = [line["preferred"] for line in bench_lines(0.5, np.random.default_rng(1))]
    for model, accuracy in ACCURACY.items():
        for seed in range(1 if model == "base" else seeds):
            for mode, level in (("greedy", accuracy), ("sampled", accuracy - 0.02), ("blank_greedy", 0.5)):
                lines = _with_preferred(bench_lines(level, rng), fixed)
                write_lines(bench / model / f"seed_{seed}" / f"{mode}.jsonl", lines)
    for variant, level in (("stable_reinforce", 0.72), ("reinforce_pp", 0.70)):
        for seed in range(seeds):
            run = records / "rl" / variant / f"seed_{seed}"
            write_lines(run / "metrics.jsonl", training_lines(level, rng))
            write_lines(run / "status.json", [{"status": "finished", "step": 40}])
    _write_grid(records / "grid", fixed, rng, seeds=seeds)
    for arm, level in (("strong", 0.72), ("weak", 0.69)):
        for seed in range(seeds):
            found = {"annotator": "scripted", "first_attempt_accuracy": level + 0.01 * seed, "examples": 90}
            write_lines(records / "annotators" / arm / f"seed_{seed}" / "annotation.json", [found])
            lines = _with_preferred(bench_lines(level, rng), fixed)
            write_lines(bench / f"annotator_{arm}" / f"seed_{seed}" / "greedy.jsonl", lines)
    skills = {
        "digits": list("0123456789"),
        "counts": list("123456"),
        "attributes": ["red", "green", "blue", "circle", "ring"],
    }
    base = {skill: confusion(labels, rng) for skill, labels in skills.items()}
    base["existence"] = {"accuracy": 0.97, "n": 200, "interval": [0.95, 0.99]}
    (records / "base.json").write_text(json.dumps(base), encoding="utf-8")
    (records / "data.json").write_text(json.dumps(synthetic_data()), encoding="utf-8")
    return root


def _write_grid(folder: Path, preferred: list[int], rng: np.random.Generator, *, seeds: int) -> None:
    """One variant that is the reference by construction, one that ran and collapsed on its last seed."""
    for seed in range(seeds):
        same = {"variant": "wo_pre_clip", "seed": seed, "status": "identical"}
        write_lines(folder / "wo_pre_clip" / f"seed_{seed}" / "run.json", [same])
        run = folder / "wo_filter" / f"seed_{seed}"
        status = "collapsed" if seed == seeds - 1 else "finished"
        write_lines(run / "run.json", [{"variant": "wo_filter", "seed": seed, "status": status}])
        write_lines(run / "status.json", [{"status": status, "step": 40}])
        write_lines(run / "metrics.jsonl", training_lines(0.7, rng))
        for mode in ("greedy", "sampled"):
            write_lines(run / f"{mode}.jsonl", _with_preferred(bench_lines(0.7, rng), preferred))


def synthetic_data() -> dict[str, Any]:
    sources = {
        name: {
            "original": 1500,
            "sampled": 1000,
            "dropped": {"tie": 3, "no_image": 4},
            "positions": {"1": 500, "2": 500},
            "attempts": {"1": 750, "2": 150, "3": 60, "failed": 40},
        }
        for name in ("rlaif_v", "povid")
    }
    attempts = {"1": 1500, "2": 300, "3": 120, "failed": 80}
    counts = {"positions": {"1": 1000, "2": 1000}, "sft_examples": 1920, "rl_examples": 500}
    return {"sources": sources, "attempts": attempts, **counts, "annotator": "scripted"}


def _with_preferred(lines: list[dict[str, Any]], preferred: list[int]) -> list[dict[str, Any]]:
    """The same verdicts about pairs with a fixed preferred side: both marks flip where the side differs."""
    flip = str.maketrans("12", "21")
    for line, side in zip(lines, preferred, strict=True):
        if line["preferred"] != side:
            line |= {"preferred": side, "verdicts": line["verdicts"].translate(flip)}
    return lines


@pytest.fixture
def run_root(tmp_path: Path) -> Path:
    return write_synthetic(tmp_path / "synthetic")


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Shared records with their cached scores; a test that changes files takes `run_root`."""
    return Records.of_run(write_synthetic(tmp_path_factory.mktemp("runs") / "synthetic"))


@pytest.fixture
def empty_root(tmp_path: Path) -> Path:
    root = tmp_path / "synthetic"
    (root / "records").mkdir(parents=True)
    return root


@pytest.fixture
def write_jsonl() -> Callable[[Path, Iterable[dict[str, Any]]], Path]:
    return write_lines


def stress_ended(**collapsed: int) -> dict[str, Any]:
    """How five runs of each variant ended, of which so many collapsed."""
    return {
        name: {"collapsed": [1] * count + [0] * (5 - count), "same_as": ""}
        for name, count in collapsed.items()
    }


@pytest.fixture
def stress() -> dict[str, Any]:
    """A stress setting in which Reinforce++ collapses on some tuning seeds."""
    return {
        "tried": [
            {"cell": "mild", "ended": stress_ended(reinforce_pp=1)},
            {"cell": "hard", "ended": stress_ended(reinforce_pp=3)},
        ],
        "tuning_seeds": 5,
        "fresh_seeds": 5,
        "chosen": "hard",
        "between": True,
        "fresh": stress_ended(stable_reinforce=1, reinforce_pp=5, wo_filter=3, wo_pre_clip=0),
    }


# A run whose records all say something different: a row, column or panel that shows another's number is seen.
GROUPS = {
    "vl_rewardbench": ("general", "hallucination", "reasoning"),
    "multimodal_rewardbench": ("correctness", "preference", "knowledge", "math", "coding", "safety", "vqa"),
    "mm_rlhf_rewardbench": ("mcq", "long", "short", "safety", "video"),
}
MODELS = ("base", "sft", "sft_continued", "reinforce_pp", "stable_reinforce")
HEADS = ("scalar", "critique")
ARMS = ("strong", "weak", "weak_sampled", "weak_reworded", "ideal")
VARIANTS = ("wo_filter", "wo_pre_clip", "reinforce", "ppo", "grpo", "reinforce_pp_plain", "log_bound_5",
            "log_bound_10", "log_bound_100", "ratio_bound_5", "ratio_bound_10", "ratio_bound_100",
            "weight_1.0", "weight_0.1", "weight_0.0", "external", "judge_weak", "judge_noisy", "judge_random",
            "judge_noisy_0.5", "no_cold_start", "easy_pairs")  # fmt: skip
METRICS = ("policy_loss", "response_length", "accuracy", "reward", "grad_norm", "answer_one_share",
           "contradicted_share", "unparsed_share", "pre_clip_high_positive", "pre_clip_high_negative",
           "pre_clip_low_positive", "pre_clip_low_negative", "filtered_positive", "filtered_negative",
           "log_ratio_max")  # fmt: skip
POLICY_METRICS = ("distinct_share", "response_length", "reference_share", "reference_above_share")
COLUMNS = ("hallucination_bench_aacc", "hallucination_bench_facc", "hallucination_bench_qacc", "mmbench_v1_1",
           "mme_realworld_lite_perception", "mme_realworld_lite_reasoning", "mmstar", "v_star", "llava_wild",
           "wildvision")  # fmt: skip
POLICIES = ("start", "trained", "start_sampled", "trained_sampled")
SEEDS, PAIRS, STEPS, ANSWERS = 2, 12, 12, 16


def write_distinct(root: Path) -> Path:
    """Records of every kind below `root/records`."""
    records, bench = root / "records", root / "records" / "bench"
    for seed in range(SEEDS):
        for benchmark in GROUPS:
            for model in (*MODELS, *HEADS):
                for mode in ("greedy",) if model in HEADS else ("greedy", "sampled", "blank_greedy"):
                    folder = bench / benchmark / model / f"seed_{seed}"
                    write_lines(folder / f"{mode}.jsonl", _judged(benchmark, f"{model} {mode}", seed))
            pool = records / "scaling" / benchmark / "stable_reinforce" / f"seed_{seed}" / "pool.jsonl"
            write_lines(pool, _pooled(benchmark, seed))
        for arm in ARMS:
            folder = bench / "vl_rewardbench" / f"annotator_{arm}" / f"seed_{seed}"
            write_lines(folder / "greedy.jsonl", _judged("vl_rewardbench", f"annotator {arm}", seed))
            about = {"annotator": "scripted", "first_attempt_accuracy": 0.5 + len(arm) / 100, "examples": 90}
            write_lines(records / "annotators" / arm / f"seed_{seed}" / "annotation.json", [about])
        for variant in ("stable_reinforce", "reinforce_pp"):
            _trained(records / "rl" / variant / f"seed_{seed}", variant, seed)
        for variant in VARIANTS:
            folder = records / "grid" / variant / f"seed_{seed}"
            _trained(folder, variant, seed)
            write_lines(folder / "run.json", [{"variant": variant, "seed": seed, "status": "finished"}])
            for mode in ("greedy", "sampled"):
                write_lines(folder / f"{mode}.jsonl", _judged("vl_rewardbench", f"{variant} {mode}", seed))
        for policy in POLICIES:
            write_lines(
                records / "downstream" / policy / f"seed_{seed}" / "all.jsonl", _answered(policy, seed)
            )
        rows = _metrics("policy", seed, POLICY_METRICS)
        write_lines(records / "downstream" / "training" / f"seed_{seed}" / "metrics.jsonl", rows)
    (records / "data.json").write_text(json.dumps({"annotator": "scripted"}))
    return root


def _level(*names: object) -> float:
    return random.Random(repr(names)).uniform(0.3, 0.97)


def _preferred(row: int) -> int:
    return 1 + (row * 7 // 3) % 2


def _pairs(benchmark: str) -> Iterator[dict[str, Any]]:
    for row in range(PAIRS * len(GROUPS[benchmark])):
        group = GROUPS[benchmark][row % len(GROUPS[benchmark])]
        question = f"{group} {row // len(GROUPS[benchmark]) // 3}" if benchmark.startswith("mm_") else ""
        yield {"row": row, "group": group, "preferred": _preferred(row), "question": question}


def _judged(benchmark: str, who: str, seed: int) -> list[dict[str, Any]]:
    draw, found = random.Random(f"{benchmark} {who} {seed}"), []
    for pair in _pairs(benchmark):
        level, marks = _level(benchmark, who, pair["group"]), ""
        for right in (pair["preferred"], 3 - pair["preferred"]):
            marks += "u" if draw.random() < 0.03 else str(right if draw.random() < level else 3 - right)
        found.append(pair | {"verdicts": marks, "tokens": [draw.randint(9, 30), draw.randint(9, 30)]})
    return found


def _pooled(benchmark: str, seed: int) -> list[dict[str, Any]]:
    draw, found = random.Random(f"pool {benchmark} {seed}"), []
    for pair in _pairs(benchmark):
        level, both = _level("pool", benchmark, pair["group"], pair["row"]), []
        for right in (pair["preferred"], 3 - pair["preferred"]):
            names = [right if draw.random() < level else 3 - right for _ in range(ANSWERS)]
            both.append("".join("u" if draw.random() < 0.05 else str(name) for name in names))
        chances = [[draw.randint(500, 999) for _ in range(ANSWERS)] for _ in both]
        found.append(pair | {"verdicts": both, "probabilities": chances, "tokens": [160, 176]})
    return found


def _metrics(who: str, seed: int, names: Sequence[str]) -> list[dict[str, Any]]:
    draw = random.Random(f"{who} {seed}")
    return [{"step": step} | {name: 0.01 + draw.random() for name in names} for step in range(STEPS)]


def _trained(folder: Path, variant: str, seed: int) -> None:
    write_lines(folder / "metrics.jsonl", _metrics(variant, seed, METRICS))
    write_lines(folder / "status.json", [{"status": "finished", "step": STEPS}])


def _answered(policy: str, seed: int) -> list[dict[str, Any]]:
    draw, found = random.Random(f"{policy} {seed}"), []
    for column in COLUMNS:
        level = _level(policy, column)
        for unit in range(20):
            found.append({"points": float(draw.random() < level), "units": {column: f"{column} {unit}"}})
            found[-1] |= {"scripted": True} if column in ("llava_wild", "wildvision") else {}
    return found


class DistinctRun:
    """Plain readings of such a run's files: nothing here uses the report."""

    def __init__(self, root: Path) -> None:
        self.root, self.records = root, Records.of_run(root)

    def rows(self, place: str, seed: int = 0) -> list[dict[str, Any]]:
        """The lines of a file of one seed; `place` has a * for the seed."""
        path = self.root / "records" / place.replace("*", f"seed_{seed}")
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def credit(self, place: str, group: str = "") -> np.ndarray:
        """Whether each verdict is right, 1.0 or 0.0, (seeds, pairs, orders), of a group or all."""
        return np.array([[_credits(line) for line in self.rows(place, seed) if group in ("", line["group"])]
                         for seed in range(SEEDS)])  # fmt: skip

    def accuracy(self, place: str, group: str = "") -> np.ndarray:
        """Credit of each pair (seeds, pairs), the mean of both orders."""
        return self.credit(place, group).mean(axis=2)

    @staticmethod
    def interval(values: np.ndarray, minus: np.ndarray | None = None) -> list[str]:
        """Mean (or difference) and 95 % bounds over seeds and pairs, sum by sum; see `r1reward.stats`."""
        lowest, values = (0.0, values) if minus is None else (-1.0, values - minus)
        (seeds, pairs), mean = values.shape, values.mean()
        of_seeds = pairs * sum((row.mean() - mean) ** 2 for row in values) / (seeds - 1)
        of_pairs = seeds * sum((column.mean() - mean) ** 2 for column in values.T) / (pairs - 1)
        rest = sum((values[s, i] - values[s].mean() - values[:, i].mean() + mean) ** 2
                   for s in range(seeds) for i in range(pairs)) / ((seeds - 1) * (pairs - 1))  # fmt: skip
        squared = t.ppf(0.975, pairs - 1) ** 2 * of_pairs
        if of_seeds > f.ppf(0.6, seeds - 1, (seeds - 1) * (pairs - 1)) * rest:
            squared = t.ppf(0.975, seeds - 1) ** 2 * of_seeds
            squared += t.ppf(0.975, pairs - 1) ** 2 * max(of_pairs - rest, 0)
        half = np.sqrt(squared / (seeds * pairs))
        bounds = (mean, max(lowest, mean - half), min(1.0, mean + half))
        return [f"{100 * number + 0.0:.2f}" for number in bounds]


def _credits(line: dict[str, Any]) -> list[float]:
    rights = (str(line["preferred"]), str(3 - line["preferred"]))
    return [float(mark == right) for mark, right in zip(line["verdicts"], rights, strict=True)]


@pytest.fixture(scope="session")
def distinct(tmp_path_factory: pytest.TempPathFactory) -> DistinctRun:
    """A run of records that all differ, with plain readings of its files."""
    return DistinctRun(write_distinct(tmp_path_factory.mktemp("distinct") / "synthetic"))

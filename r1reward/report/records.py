"""The records of a run (`<root>/records`) as pandas frames and numpy arrays.

A `Records` is a snapshot: what it has read once is kept. A record that does not exist is None, never
a made-up number; a record that contradicts itself is a ValueError that names the file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from r1reward.benchmarks import GROUP_COUNTS, VL
from r1reward.files import read_json, read_jsonl
from r1reward.report.voting import Pool, read_pool
from r1reward.scoring import Judgments, PairRecord, UnparsedPolicy, read_records

MODEL_NAMES = {
    "base": "Base model",
    "sft": "Only Long-CoT SFT",
    "sft_continued": "SFT continued (control)",
    "reinforce_pp": "Reinforce++",
    "stable_reinforce": "StableReinforce",
}
# Models that give scores, which nothing samples.
HEAD_NAMES = {"scalar": "Reward model with a scalar head", "critique": "Critique, then score"}
REFERENCE = "stable_reinforce"
# Variants of the grid that figures draw by name.
VARIANT_NAMES = {"wo_filter": "without advantage filter", "wo_pre_clip": "without Pre-CLIP"}
MODES = {"greedy": "greedy", "sampled": "sampled, temperature 1"}
GRIDS = ("grid", "full_grid")
# Variants of the bound of |log ratio| alone. One that StableReinforce never met would repeat its runs step by
# step, and need not be run.
BOUNDS = {"log_bound_10": 10.0, "ratio_bound_10": math.log(10)}


@dataclass(frozen=True, slots=True, eq=False)
class Steering:
    """A judge's answers about pairs whose worse response ends with a text. S seeds, N pairs, 2 orders.

    `right` says for each text, by its name, whether each judgment (S, N, 2) was right; an answer without a
    verdict is wrong. `controls` names the control of each attack. `retrained` says that the judge has other
    weights than the one of this name behind the other records.
    """

    seeds: tuple[int, ...]
    right: dict[str, NDArray[np.int64]]
    controls: dict[str, str]
    retrained: bool


@dataclass(eq=False)
class Records:
    """Reader of one run's records. `profile` labels every measured number."""

    folder: Path
    profile: str
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of_run(cls, root: Path) -> Records:
        """The records below a run or results folder, which is named after its profile."""
        root = Path(root)
        return cls(root / "records", root.resolve().name)

    def base(self) -> dict[str, Any] | None:
        """Perception scores of the base model."""
        return self._json("base.json")

    def data(self) -> dict[str, Any] | None:
        """Counts of the data construction and the cold start."""
        return self._json("data.json")

    def mechanisms(self) -> dict[str, Any] | None:
        """What `algo.mechanisms.mechanisms_record` computed."""
        return self._json("mechanisms.json")

    def annotator(self, arm: str) -> pd.DataFrame | None:
        """What an annotator of Table 10 did, one row a seed, or None."""
        folders = [folder for _, folder in _seed_folders(self.folder / "annotators" / arm)]
        rows = [read_json(path) for folder in folders if (path := folder / "annotation.json").is_file()]
        return pd.DataFrame(rows) if rows else None

    def scripted(self, model: str) -> bool:
        """Whether a script stands behind a model's training data. Doubted when the record is silent."""
        if model == "base":
            return False
        annotator = (self.data() or {}).get("annotator", "scripted")
        return "scripted" in str(annotator).lower()

    def training(self, variant: str) -> pd.DataFrame | None:
        """RL metrics of all seeds, one row a seed and step, or None."""
        return self._training(self.runs("rl", variant))

    def _training(self, runs: Sequence[tuple[int, Path]]) -> pd.DataFrame | None:
        paths = {seed: folder / "metrics.jsonl" for seed, folder in runs}
        frames = [_metrics_frame(path, seed) for seed, path in paths.items() if path.is_file()]
        return pd.concat(frames, ignore_index=True) if frames else None

    def bench(self, model: str, mode: str, *, benchmark: str = VL) -> Judgments | None:
        """All seeds of a model on a benchmark in a mode, or None."""
        key = (benchmark, model, mode)
        if key not in self.cache:
            folders = self.runs(f"bench/{benchmark}", model)
            paths = {seed: folder / f"{mode}.jsonl" for seed, folder in folders}
            found = {seed: path for seed, path in paths.items() if path.is_file()}
            self.cache[key] = _read_runs(found, GROUP_COUNTS[benchmark])
        return self.cache[key]

    def unparsed(self) -> UnparsedPolicy:
        """How the run scores answers without a verdict."""
        found = (self.bench(model, "greedy") for model in MODEL_NAMES)
        policies: list[UnparsedPolicy] = [runs.unparsed for runs in found if runs is not None]
        return policies[0] if policies else "wrong"

    def left_out(self, benchmark: str) -> str:
        """How many rows of a benchmark the run has no pairs of, and why; empty if it has all."""
        found = (self.bench(model, "greedy", benchmark=benchmark) for model in MODEL_NAMES)
        return next((runs.left_out for runs in found if runs is not None), "")

    def pool(self, benchmark: str, model: str) -> Pool | None:
        """The answers that were drawn of a model for votes, or None."""
        key = ("pool", benchmark, model)
        if key not in self.cache:
            folders = _seed_folders(self.folder / "scaling" / benchmark / model)
            paths = {seed: folder / "pool.jsonl" for seed, folder in folders}
            self.cache[key] = read_pool({seed: path for seed, path in paths.items() if path.is_file()})
        return self.cache[key]

    def best_of_n(self, model: str) -> list[list[dict[str, Any]]]:
        """Rankings of each seed of a model, a list a seed."""
        folders = _seed_folders(self.folder / "scaling" / "best_of_n" / model)
        paths = [folder / "rankings.jsonl" for _, folder in folders]
        return [read_jsonl(path) for path in paths if path.is_file()]

    def downstream(self, policy: str) -> dict[int, list[dict[str, Any]]]:
        """What the answers of a policy to all downstream benchmarks were worth, by seed."""
        folders = _seed_folders(self.folder / "downstream" / policy)
        return {
            seed: [line for path in sorted(folder.glob("*.jsonl")) for line in read_jsonl(path)]
            for seed, folder in folders
        }

    def downstream_training(self) -> pd.DataFrame | None:
        """Metrics of the policies' training, one row a seed and step, or None."""
        return self._training(_seed_folders(self.folder / "downstream" / "training"))

    def tournaments(self) -> list[list[dict[str, Any]]]:
        """Scores of the same answers in different tournaments, a line a prompt and tournament, by seed."""
        paths = sorted((self.folder / "downstream" / "tournaments").glob("seed_*.jsonl"))
        return [read_jsonl(path) for path in paths]

    def ratings(self, kind: str) -> list[dict[str, Any]]:
        """Outcomes of a blind comparison of reasoning, rated by "people" or "scripted" raters."""
        path = self.folder / "reasoning" / f"{kind}.jsonl"
        return read_jsonl(path) if path.is_file() else []

    def reasoning_examples(self) -> dict[str, Any] | None:
        """Outputs chosen by rule, and how often outputs correct themselves."""
        return self._json("reasoning/examples.json")

    def steering(self, judge: str) -> Steering | None:
        """What a judge made of texts that speak to it, or None."""
        runs = {
            seed: read_json(path) for seed, path in _seed_files(self.folder / "steering" / judge, ".json")
        }
        if not runs:
            return None
        marks = [run["marks"] for run in runs.values()]
        flags = {text: [[int(mark == "1") for mark in one[text]] for one in marks] for text in marks[0]}
        right = {text: np.array(found).reshape(len(runs), -1, 2) for text, found in flags.items()}
        retrained = any(not run["model"].startswith(self._weights(judge, seed)) for seed, run in runs.items())
        return Steering(tuple(runs), right, next(iter(runs.values()))["controls"], retrained)

    def _weights(self, judge: str, seed: int) -> str:
        """The hash of a trained judge's weights, or nothing where there is no record of its training."""
        file = self.folder / ("sft" if judge == "sft" else f"rl/{judge}") / f"seed_{seed}" / "status.json"
        return read_json(file).get("weights", "") if file.is_file() else ""

    def steered_bench(self, judge: str) -> Judgments | None:
        """The same judge on the pairs of VL-RewardBench as they are, greedy, or None."""
        folders = _seed_folders(self.folder / "steering" / judge)
        found = {seed: folder / "greedy.jsonl" for seed, folder in folders}
        return _read_runs({seed: path for seed, path in found.items() if path.is_file()}, GROUP_COUNTS[VL])

    def consistency_judges(self) -> dict[str, Any] | None:
        """Accuracy of the trained consistency judges on held-out opinions."""
        return self._json("judges.json")

    def protocols(self) -> list[dict[str, Any]] | None:
        """What a judge that always says 1 scores under each protocol."""
        return (self._json("audit.json") or {}).get("always_one")

    def stress(self) -> dict[str, Any] | None:
        """Which stress cells were tried and how many runs collapsed."""
        return self._json("stress.json")

    def grid(self, variant: str) -> list[dict[str, Any]]:
        """What is known about the runs of a variant of the ablation grid, by seed."""
        return [read_json(folder / "run.json") for folder in self.grid_folders(variant).values()]

    def runs(self, kind: str, name: str) -> list[tuple[int, Path]]:
        """(seed, folder) of a model's runs, those of the ablation grid where it has no others.

        A run that is identical to another by construction stands in the other's folder.
        """
        own = _seed_folders(self.folder / kind / name)
        if own:
            return own
        if self._never_met(name):
            return _seed_folders(self.folder / kind / REFERENCE)
        runs = []
        for seed, folder in self.grid_folders(name).items():
            about = read_json(folder / "run.json")
            other = self.folder / kind / same_as(about) / f"seed_{seed}"
            runs.append((seed, other if same_as(about) and other.is_dir() else folder))
        return runs

    def same_as(self, variant: str) -> str:
        """The reference that all runs of a variant repeat by construction, or ""."""
        if self._never_met(variant):
            return REFERENCE
        known = {same_as(run) for run in self.grid(variant)}
        return known.pop() if len(known) == 1 else ""

    def _never_met(self, variant: str) -> bool:
        """Whether a variant of `BOUNDS` has no run of its own and the reference never met its bound."""
        if variant not in BOUNDS or self.grid_folders(variant):
            return False
        frame = self.training(REFERENCE)
        return (
            frame is not None
            and "log_ratio_max" in frame
            and bool((frame["log_ratio_max"] <= BOUNDS[variant]).all())
        )

    def stress_runs(self, cell: str, variant: str) -> list[tuple[dict[str, Any], pd.DataFrame]]:
        """`run.json` and metrics of a variant's runs in a cell of the stress grid, by seed."""
        found = []
        for seed, folder in _seed_folders(self.folder / "stress" / cell / variant):
            rows = folder / "metrics.jsonl"
            frame = _metrics_frame(rows, seed) if rows.is_file() else pd.DataFrame()
            found.append((read_json(folder / "run.json"), frame))
        return found

    def stress_steps(self, cell: str, variant: str) -> dict[int, int]:
        """Steps that a variant's runs in a cell lasted, by seed; an identical run as many as the other."""
        lasted = {}
        for about, _ in self.stress_runs(cell, variant):
            seed, repeated = about["seed"], same_as(about)
            lasted[seed] = self.stress_steps(cell, repeated)[seed] if repeated else about["steps"]
        return lasted

    def statuses(self, variant: str) -> list[str]:
        """How the RL runs of a variant ended, by seed: "finished" or "collapsed"."""
        files = [folder / "status.json" for _, folder in self.runs("rl", variant)]
        return [read_json(file)["status"] for file in files if file.is_file()]

    def grid_folders(self, variant: str) -> dict[int, Path]:
        """Folders of a variant's finished runs by seed, of the core grid or of the full one."""
        found = {}
        for grid in GRIDS:
            for seed, folder in _seed_folders(self.folder / grid / variant):
                if (folder / "run.json").is_file():
                    found.setdefault(seed, folder)
        return dict(sorted(found.items()))

    def _json(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        return read_json(path) if path.is_file() else None


def same_as(run: Mapping[str, Any]) -> str:
    """The reference that a run of the grid repeats by construction, or "" if it is a run of its own."""
    return run.get("same_as", REFERENCE) if run["status"] == "identical" else ""


def _seed_folders(folder: Path) -> list[tuple[int, Path]]:
    return [(seed, path) for seed, path in _seed_files(folder, "") if path.is_dir()]


def _seed_files(folder: Path, suffix: str) -> list[tuple[int, Path]]:
    found = [path for path in folder.glob(f"seed_*{suffix}") if path.suffix == suffix]
    return sorted((int(path.stem.removeprefix("seed_")), path) for path in found)


def _metrics_frame(path: Path, seed: int) -> pd.DataFrame:
    frame = pd.DataFrame(list(read_jsonl(path)))
    if frame.empty:
        return frame
    if frame["step"].duplicated().any():
        raise ValueError(f"{path}: a step is recorded twice")
    return frame.assign(seed=seed).sort_values("step", ignore_index=True)


def _read_runs(paths: Mapping[int, Path], known: Collection[str]) -> Judgments | None:
    runs = {seed: _read_run(path, known) for seed, path in paths.items()}
    if not runs:
        return None
    first, *others = runs
    asked = [(record.row, record.preferred) for record in runs[first]]
    for seed in others:
        if [(record.row, record.preferred) for record in runs[seed]] != asked:
            raise ValueError(f"{paths[seed]} judges other pairs than {paths[first]}")
        if runs[seed][0].unparsed != runs[first][0].unparsed:
            raise ValueError(f"{paths[seed]} scores answers without a verdict as {paths[first]} does not")
    return Judgments.of_runs(runs, unparsed=runs[first][0].unparsed or "wrong")


def _read_run(path: Path, known: Collection[str]) -> list[PairRecord]:
    records = sorted(read_records(path), key=lambda record: record.row)
    if not records or len({record.row for record in records}) != len(records):
        raise ValueError(f"{path}: empty, or a row is judged twice")
    if unknown := {record.group for record in records} - set(known):
        raise ValueError(f"{path}: unknown groups {sorted(unknown)}")
    return records

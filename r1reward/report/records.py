"""The records of a run (`<root>/records`) as pandas frames and numpy arrays.

A `Records` is a snapshot: what it has read once is kept. A record that does not exist is None, never
a made-up number; a record that contradicts itself is a ValueError that names the file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from r1reward.benchmarks import GROUP_COUNTS, VL
from r1reward.files import read_json
from r1reward.report.packing import Line, RecordFiles
from r1reward.report.pools import Pool, read_pool
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

    @cached_property
    def files(self) -> RecordFiles:
        """The files of the run, by their names below `records`."""
        return RecordFiles(self.folder)

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
        files = self.files.seeds(f"annotators/{arm}/seed_*/annotation.json")
        rows = [self.files.document(file) for file in files.values()]
        return pd.DataFrame(rows) if rows else None

    def validation(self, stage: str) -> dict[int, dict[str, Any]]:
        """How the checkpoints of a stage ("sft", "annotators/weak") did on the validation split, by seed."""
        files = self.files.seeds(f"{stage}/seed_*/validation.json")
        return {seed: self.files.document(file) for seed, file in files.items()}

    def scripted(self, model: str) -> bool:
        """Whether a script stands behind a model's training data. Doubted when the record is silent."""
        if model == "base":
            return False
        annotator = (self.data() or {}).get("annotator", "scripted")
        return "scripted" in str(annotator).lower()

    def training(self, variant: str) -> pd.DataFrame | None:
        """RL metrics of all seeds, one row a seed and step, or None."""
        return self._training(self.runs("rl", variant))

    def _training(self, folders: Mapping[int, str]) -> pd.DataFrame | None:
        frames = [self._metrics(file, seed) for seed, file in self._inside(folders, "metrics.jsonl").items()]
        return pd.concat(frames, ignore_index=True) if frames else None

    def bench(self, model: str, mode: str, *, benchmark: str = VL) -> Judgments | None:
        """All seeds of a model on a benchmark in a mode, or None."""
        key = (benchmark, model, mode)
        if key not in self.cache:
            folders = self.runs(f"bench/{benchmark}", model)
            judged = self._inside(folders, f"{mode}.jsonl")
            self.cache[key] = self._judgments(judged, GROUP_COUNTS[benchmark])
        return self.cache[key]

    def unparsed(self) -> UnparsedPolicy:
        """How the run scores answers without a verdict."""
        judged = (self.bench(model, "greedy") for model in MODEL_NAMES)
        policies: list[UnparsedPolicy] = [runs.unparsed for runs in judged if runs is not None]
        return policies[0] if policies else "wrong"

    def left_out(self, benchmark: str) -> str:
        """How many rows of a benchmark the run has no pairs of, and why; empty if it has all."""
        judged = (self.bench(model, "greedy", benchmark=benchmark) for model in MODEL_NAMES)
        return next((runs.left_out for runs in judged if runs is not None), "")

    def pool(self, benchmark: str, model: str) -> Pool | None:
        """The answers that were drawn of a model for votes, or None."""
        key = ("pool", benchmark, model)
        if key not in self.cache:
            pools = self.files.seeds(f"scaling/{benchmark}/{model}/seed_*/pool.jsonl")
            runs = {seed: self.files.lines(file) for seed, file in pools.items()}
            self.cache[key] = read_pool(runs, origin=", ".join(pools.values()))
        return self.cache[key]

    def best_of_n(self, model: str) -> list[list[dict[str, Any]]]:
        """Rankings of each seed of a model, a list a seed."""
        return self._lines(f"scaling/best_of_n/{model}/seed_*/rankings.jsonl")

    def downstream(self, policy: str) -> dict[int, list[dict[str, Any]]]:
        """What the answers of a policy to all downstream benchmarks were worth, by seed."""
        return {
            seed: [line for file in self.inside(folder) for line in self.files.lines(file)]
            for seed, folder in self.files.seeds(f"downstream/{policy}/seed_*").items()
        }

    def downstream_training(self) -> pd.DataFrame | None:
        """Metrics of the policies' training, one row a seed and step, or None."""
        return self._training(self.files.seeds("downstream/training/seed_*"))

    def tournaments(self) -> list[list[dict[str, Any]]]:
        """Scores of the same answers in different tournaments, a line a prompt and tournament, by seed."""
        return self._lines("downstream/tournaments/seed_*.jsonl")

    def ratings(self, kind: str) -> list[dict[str, Any]]:
        """Outcomes of a blind comparison of reasoning, rated by "people" or "scripted" raters."""
        file = f"reasoning/{kind}.jsonl"
        return self.files.lines(file) if file in self.files else []

    def reasoning_examples(self) -> dict[str, Any] | None:
        """Outputs chosen by rule, and how often outputs correct themselves."""
        return self._json("reasoning/examples.json")

    def steering(self, judge: str) -> Steering | None:
        """What a judge made of texts that speak to it, or None."""
        files = self.files.seeds(f"steering/{judge}/seed_*.json")
        runs = {seed: self.files.document(file) for seed, file in files.items()}
        if not runs:
            return None
        marks = [run["marks"] for run in runs.values()]
        flags = {text: [[int(mark == "1") for mark in one[text]] for one in marks] for text in marks[0]}
        right = {text: np.array(rows).reshape(len(runs), -1, 2) for text, rows in flags.items()}
        retrained = any(not run["model"].startswith(self._weights(judge, seed)) for seed, run in runs.items())
        return Steering(tuple(runs), right, next(iter(runs.values()))["controls"], retrained)

    def _weights(self, judge: str, seed: int) -> str:
        """The hash of a trained judge's weights, or nothing where there is no record of its training."""
        status = self._json(f"{'sft' if judge == 'sft' else f'rl/{judge}'}/seed_{seed}/status.json")
        return (status or {}).get("weights", "")

    def steered_bench(self, judge: str) -> Judgments | None:
        """The same judge on the pairs of VL-RewardBench as they are, greedy, or None."""
        return self._judgments(self.files.seeds(f"steering/{judge}/seed_*/greedy.jsonl"), GROUP_COUNTS[VL])

    def consistency_judges(self) -> dict[str, Any] | None:
        """Accuracy of the trained consistency judges on held-out opinions."""
        return self._json("judges.json")

    def protocols(self) -> list[dict[str, Any]] | None:
        """What a judge that always says 1 scores under each protocol."""
        return (self._json("audit.json") or {}).get("always_one")

    def stress(self) -> dict[str, Any] | None:
        """Which stress cells were tried and how many runs collapsed.

        `between` is false of the grid that was searched for cells in which Reinforce++ collapses most often.
        """
        found = self._json("stress.json")
        return found and {"between": False, **found}

    def grid(self, variant: str) -> list[dict[str, Any]]:
        """What is known about the runs of a variant of the ablation grid, by seed."""
        return [self.files.document(f"{folder}/run.json") for folder in self.grid_folders(variant).values()]

    def runs(self, kind: str, name: str) -> dict[int, str]:
        """Folders of a model's runs by seed, those of the ablation grid where it has no others.

        A run that is identical to another by construction stands in the other's folder.
        """
        if own := self.files.seeds(f"{kind}/{name}/seed_*"):
            return own
        if self._never_met(name):
            return self.files.seeds(f"{kind}/{REFERENCE}/seed_*")
        runs = {}
        for seed, folder in self.grid_folders(name).items():
            repeated = same_as(self.files.document(f"{folder}/run.json"))
            runs[seed] = self.files.seeds(f"{kind}/{repeated}/seed_*").get(seed, folder)
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
        runs = []
        for seed, folder in self.files.seeds(f"stress/{cell}/{variant}/seed_*").items():
            rows = f"{folder}/metrics.jsonl"
            frame = self._metrics(rows, seed) if rows in self.files else pd.DataFrame()
            runs.append((self.files.document(f"{folder}/run.json"), frame))
        return runs

    def stress_steps(self, cell: str, variant: str) -> dict[int, int]:
        """Steps that a variant's runs in a cell lasted, by seed; an identical run as many as the other."""
        lasted = {}
        for about, _ in self.stress_runs(cell, variant):
            seed, repeated = about["seed"], same_as(about)
            lasted[seed] = self.stress_steps(cell, repeated)[seed] if repeated else about["steps"]
        return lasted

    def statuses(self, variant: str) -> list[str]:
        """How the RL runs of a variant ended, by seed: "finished" or "collapsed"."""
        files = self._inside(self.runs("rl", variant), "status.json")
        return [self.files.document(file)["status"] for file in files.values()]

    def grid_folders(self, variant: str) -> dict[int, str]:
        """Folders of a variant's finished runs by seed, of the core grid or of the full one."""
        folders = dict[int, str]()
        for grid in reversed(GRIDS):
            finished = self.files.seeds(f"{grid}/{variant}/seed_*/run.json")
            folders |= {seed: file.removesuffix("/run.json") for seed, file in finished.items()}
        return dict(sorted(folders.items()))

    def inside(self, folder: str) -> list[str]:
        """Names of the JSON files in a folder, in order."""
        return [file for file in self.files.names if file.rpartition("/")[0] == folder and ".json" in file]

    def _inside(self, folders: Mapping[int, str], name: str) -> dict[int, str]:
        """The file of a name in each folder that has one, by seed."""
        files = {seed: f"{folder}/{name}" for seed, folder in folders.items()}
        return {seed: file for seed, file in files.items() if file in self.files}

    def _json(self, name: str) -> dict[str, Any] | None:
        return self.files.document(name) if name in self.files else None

    def _lines(self, pattern: str) -> list[list[Line]]:
        return [self.files.lines(file) for file in self.files.seeds(pattern).values()]

    def _metrics(self, file: str, seed: int) -> pd.DataFrame:
        frame = pd.DataFrame(self.files.lines(file))
        if frame.empty:
            return frame
        if frame["step"].duplicated().any():
            raise ValueError(f"{self.folder / file}: a step is recorded twice")
        return frame.assign(seed=seed).sort_values("step", ignore_index=True)

    def _judgments(self, files: Mapping[int, str], known: Collection[str]) -> Judgments | None:
        runs = {seed: self._judged(file, known) for seed, file in files.items()}
        if not runs:
            return None
        first, *others = runs
        asked = [(record.row, record.preferred) for record in runs[first]]
        for seed in others:
            one, other = (self.folder / files[each] for each in (seed, first))
            if [(record.row, record.preferred) for record in runs[seed]] != asked:
                raise ValueError(f"{one} judges other pairs than {other}")
            if runs[seed][0].unparsed != runs[first][0].unparsed:
                raise ValueError(f"{one} scores answers without a verdict in another way than {other}")
        return Judgments.of_runs(runs, unparsed=runs[first][0].unparsed or "wrong")

    def _judged(self, file: str, known: Collection[str]) -> list[PairRecord]:
        origin = self.folder / file
        lines = self.files.lines(file)
        records = sorted(read_records(origin, lines=lines), key=lambda record: record.row)
        if not records or len({record.row for record in records}) != len(records):
            raise ValueError(f"{origin}: empty, or a row is judged twice")
        if unknown := {record.group for record in records} - set(known):
            raise ValueError(f"{origin}: unknown groups {sorted(unknown)}")
        return records


def same_as(run: Mapping[str, Any]) -> str:
    """The reference that a run of the grid repeats by construction, or "" if it is a run of its own."""
    return run.get("same_as", REFERENCE) if run["status"] == "identical" else ""


def read_manifests(root: Path, *, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """Manifests of the finished notebooks of a run or results folder, by notebook and in order.

    Raises ValueError for one that is damaged or lacks one of the `keys`, and names it.
    """
    files = sorted((root / "manifests").glob("[0-9]*.json"))
    # A notebook that was cut short leaves another kind of file beside them.
    return {file.stem: _read(file, keys) for file in files if not file.name.endswith(".attempt.json")}


def _read(file: Path, keys: Collection[str]) -> dict[str, Any]:
    manifest = read_json(file)
    if not isinstance(manifest, dict):
        raise ValueError(f"{file}: expected a JSON object, got {type(manifest).__name__}")
    if missing := [key for key in keys if key not in manifest]:
        raise ValueError(f"{file}: not a whole manifest: {', '.join(missing)} missing")
    return manifest

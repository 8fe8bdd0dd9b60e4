"""The grid of ablation runs, variant by seed: train, judge the benchmark, leave a small record.

A run whose record says it ended under the same settings and inputs is not repeated, with or without its
checkpoints. A variant that is identical to its reference by construction is noted and not run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from r1reward.bench.evaluate import Mode, evaluate
from r1reward.engines.loading import device_name, weights_hash
from r1reward.files import read_json, read_jsonl, sha256_file, write_atomic, write_json
from r1reward.judge.choose import make_consistency_judge
from r1reward.parallel import side_by_side
from r1reward.settings import Profile
from r1reward.train.rl import train_rl
from r1reward.train.variants import REFERENCE, REFERENCES, Variant, interventions, is_identical
from r1reward.types import PreferencePair

MODES: tuple[Mode, ...] = ("greedy", "sampled")


@dataclass(frozen=True, slots=True)
class Grid:
    """What all runs of a grid share.

    `starts` are the cold-started checkpoints by seed, `rl_pairs` the files of hard and easy pairs, `judges`
    the folder of the trained consistency judges, `references` holds the records of the StableReinforce and
    Reinforce++ runs in a folder each. Without a `benchmark` runs are trained only. Heavy files go to
    `work/<variant>/seed_<seed>`, what reports read to `records/<variant>/seed_<seed>`. Records of the same
    run in the folder `kept` are taken over.
    """

    profile: Profile
    starts: Mapping[int, Path]
    rl_pairs: Mapping[str, Path]
    benchmark: tuple[PreferencePair, ...]
    judges: Path
    references: Path
    work: Path
    records: Path
    kept: Path | None = None

    def start(self, variant: Variant, seed: int) -> str | Path:
        """The checkpoint that a run starts from."""
        return self.profile.model.base if variant.start == "base" else self.starts[seed]


def run_grid(grid: Grid, variants: Sequence[Variant]) -> dict[str, dict[str, Any]]:
    """Run what is missing, side by side; returns the record `run.json` of every run by its name."""
    runs = {
        f"{variant.name}, seed {seed}": partial(run_one, grid, variant, seed)
        for seed in grid.starts
        for variant in variants
    }
    return side_by_side(runs, processes=grid.profile.processes)


def run_one(grid: Grid, variant: Variant, seed: int) -> dict[str, Any]:
    """One run of the grid: trained and judged, or found identical to its reference, or done before."""
    folder = grid.records / variant.name / f"seed_{seed}"
    file, key = folder / "run.json", run_key(grid, variant, seed)
    if grid.kept and not _is_done(grid, variant, seed, file=file, key=key):
        _take_over(grid.kept / variant.name / f"seed_{seed}", folder, key)
    if _is_done(grid, variant, seed, file=file, key=key):
        return read_json(file)
    about: dict[str, Any] = {"variant": variant.name, "seed": seed, "key": key}
    about |= _find_identical(grid, variant, seed) or _train_and_judge(grid, variant, seed, folder)
    write_json(file, about)
    return about


def _is_done(grid: Grid, variant: Variant, seed: int, *, file: Path, key: str) -> bool:
    """Whether `file` is of this run, and what it repeats, if so, is repeated still."""
    if not file.is_file() or (known := read_json(file))["key"] != key:
        return False
    again = _find_identical(grid, variant, seed) or {}
    return known["status"] != "identical" or known["same_as"] == again.get("same_as")


def _find_identical(grid: Grid, variant: Variant, seed: int) -> dict[str, Any] | None:
    """Which reference run of the seed this run would repeat, or None."""
    for name in REFERENCES if variant.name != REFERENCE else ():
        rows = [] if name == variant.name else _reference_rows(grid.references / name / f"seed_{seed}")
        if rows and is_identical(variant, grid.profile.rl, rows, reference=name):
            return {"status": "identical", "same_as": name, "interventions": interventions(rows)}
    return None


def _reference_rows(record: Path) -> list[dict[str, Any]]:
    """All rows of a reference run; none where a step left no row, as one that was not finite does."""
    rows, status = read_metrics(record), record / "status.json"
    return rows if status.is_file() and read_json(status)["step"] == len(rows) else []


def read_metrics(record: Path) -> list[dict[str, Any]]:
    """The rows of metrics in a record; none where not even the first step ended."""
    file = record / "metrics.jsonl"
    return read_jsonl(file) if file.is_file() else []


def _take_over(kept: Path, folder: Path, key: str) -> None:
    """Copy the records of a kept run if it is the same; its `run.json` comes last."""
    last = kept / "run.json"
    if not last.is_file() or read_json(last)["key"] != key:
        return
    for file in sorted(kept.iterdir(), key=lambda path: path == last):
        write_atomic(folder / file.name, file.read_bytes())


def _train_and_judge(grid: Grid, variant: Variant, seed: int, folder: Path) -> dict[str, Any]:
    settings, work = variant.settings(grid.profile.rl), grid.work / variant.name / f"seed_{seed}"
    result = train_rl(
        grid.start(variant, seed),
        grid.rl_pairs[variant.pairs],
        out=work,
        settings=settings,
        model_settings=grid.profile.model,
        engine_settings=grid.profile.engine,
        seed=seed,
        judge=make_consistency_judge(
            grid.profile, variant.judge, grid.judges, seed=seed, cache=work / "judge"
        ),
        record=folder,
    )
    scores = evaluate(
        result.model,
        grid.benchmark,
        profile=grid.profile,
        seed=seed,
        work=work / "bench",
        record=folder,
        modes=MODES if grid.benchmark else (),
    )
    return {
        "status": result.status,
        "reason": result.reason,
        "steps": result.steps,
        "settings": settings.model_dump(mode="json"),
        "judge": variant.judge,
        "accuracy": {mode: score.overall for mode, score in scores.items()},
        "interventions": interventions(read_metrics(folder)),
        "model": weights_hash(result.model),
        "device": device_name(),
    }


def run_key(grid: Grid, variant: Variant, seed: int) -> str:
    """A hash of everything a run follows from: settings, start, pairs, judge and benchmark."""
    judged = [[pair.pair_id, pair.question, *pair.responses, pair.preferred] for pair in grid.benchmark]
    parts = [
        variant.settings(grid.profile.rl).model_dump(mode="json"),
        grid.profile.model.model_dump(mode="json"),
        grid.profile.engine.model_dump(mode="json"),
        grid.profile.bench.sampled_temperature,
        make_consistency_judge(grid.profile, variant.judge, grid.judges, seed=seed).fingerprint,
        [seed, weights_hash(grid.start(variant, seed)), sha256_file(grid.rl_pairs[variant.pairs])],
        judged,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

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
    wanted = {
        f"{variant.name}, seed {seed}": (grid, variant, seed) for seed in grid.starts for variant in variants
    }
    done = {name: about for name, run in wanted.items() if (about := settle(*run))}
    missing = {name: partial(run_one, *run) for name, run in wanted.items() if name not in done}
    return done | side_by_side(missing, processes=grid.profile.processes)


def run_one(grid: Grid, variant: Variant, seed: int) -> dict[str, Any]:
    """One run of the grid: trained and judged, or settled without that."""
    if about := settle(grid, variant, seed):
        return about
    return _note(grid, variant, seed, _train_and_judge(grid, variant, seed))


def settle(grid: Grid, variant: Variant, seed: int) -> dict[str, Any] | None:
    """The record of a run that need not be trained: done before, kept, or identical to its reference."""
    folder, key = _record(grid, variant, seed), run_key(grid, variant, seed)
    identical = _find_identical(grid, variant, seed)
    known = _read_done(folder, key, identical)
    if known is None and grid.kept:
        _take_over(grid.kept / variant.name / folder.name, folder, key)
        known = _read_done(folder, key, identical)
    return known or (_note(grid, variant, seed, identical) if identical else None)


def _record(grid: Grid, variant: Variant, seed: int) -> Path:
    return grid.records / variant.name / f"seed_{seed}"


def _note(grid: Grid, variant: Variant, seed: int, outcome: Mapping[str, Any]) -> dict[str, Any]:
    about = {"variant": variant.name, "seed": seed, "key": run_key(grid, variant, seed), **outcome}
    write_json(_record(grid, variant, seed) / "run.json", about)
    return about


def _read_done(folder: Path, key: str, identical: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The record of this very run; one that was noted as identical must be so still."""
    file = folder / "run.json"
    if not file.is_file() or (known := read_json(file))["key"] != key:
        return None
    repeats = known.get("same_as") if known["status"] == "identical" else None
    return known if repeats is None or repeats == (identical or {}).get("same_as") else None


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


def _train_and_judge(grid: Grid, variant: Variant, seed: int) -> dict[str, Any]:
    folder = _record(grid, variant, seed)
    work = grid.work / variant.name / folder.name
    result = train_rl(
        grid.start(variant, seed),
        grid.rl_pairs[variant.pairs],
        out=work,
        settings=variant.settings(grid.profile.rl),
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
    # What the trainer says it used, not what was asked of it.
    ended = read_json(folder / "status.json")
    return {
        "status": ended["status"],
        "reason": ended["reason"],
        "steps": ended["step"],
        "settings": ended["run"]["rl"],
        "used": {name: ended["run"][name] for name in ("start", "pairs")} | ended["used"],
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

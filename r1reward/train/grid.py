"""The runs behind the paper's ablations, variant by seed: train, judge the benchmark, leave a small record.

Nothing but the named setting differs between variants; no setting is tuned for one of them. A variant that
only loosens or tightens Pre-CLIP and the advantage filter takes the very same steps as the reference of
its seed as long as neither acts; it is then identical by construction, which is noted, and is not run.

A run whose record says it ended under the same settings and inputs is not repeated, with or without its
checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from r1reward.algo.ratio import log_bound
from r1reward.bench.evaluate import Mode, evaluate
from r1reward.engines.loading import device_name, weights_hash
from r1reward.files import read_json, read_jsonl, sha256_file, write_atomic, write_json
from r1reward.judge.consistency_judges import JudgeName, make_consistency_judge
from r1reward.parallel import side_by_side
from r1reward.settings import Profile, RLSettings
from r1reward.train.learner import advantage_limit, pre_clip_bound
from r1reward.train.rl import train_rl
from r1reward.types import PreferencePair

REFERENCE = "stable_reinforce"
# Runs that a variant may turn out to repeat.
REFERENCES = (REFERENCE, "reinforce_pp")
# The surrogate of these is the same; what they put into it differs only by the stabilisers.
_ONE_SURROGATE = ("stable_reinforce", "reinforce_pp", "ppo")
SWEEP: tuple[tuple[JudgeName, float], ...] = (
    ("weak", 0.1),
    ("weak", 1.0),
    ("noisy", 0.1),
    ("noisy", 0.5),
    ("noisy", 1.0),
    ("random", 0.1),
    ("random", 1.0),
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of an ablation: changes to the profile's RL settings, and the consistency judge.

    `tables` are the paper's tables it belongs to; `core` variants run without `make grid`. `start` is the
    checkpoint it starts from and `pairs` what it trains on: the paper's subset of difficult pairs, or as
    many that the annotator got right at once.
    """

    name: str
    tables: tuple[int, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)
    judge: JudgeName = "strong"
    core: bool = True
    start: Literal["sft", "base"] = "sft"
    pairs: Literal["hard", "easy"] = "hard"

    def settings(self, base: RLSettings) -> RLSettings:
        """The RL settings of this variant; an unknown or bad setting is a ValueError."""
        return RLSettings.model_validate(base.model_dump() | dict(self.changes))


_ALL = (
    Variant(REFERENCE, (5, 6, 7, 13)),
    Variant("reinforce_pp", (5,), {"algorithm": "reinforce_pp"}),
    # Sections 1 and 3.1 count the consistency reward among StableReinforce's own parts.
    Variant("reinforce_pp_plain", (5,), {"algorithm": "reinforce_pp", "consistency_weight": 0.0}),
    # The authors' code takes the mean over responses, the paper's 1/|t| that over tokens.
    Variant("stable_reinforce_by_response", (), {"loss_reduction": "response"}, core=False),
    Variant(
        "reinforce_pp_by_response",
        (),
        {"algorithm": "reinforce_pp", "loss_reduction": "response"},
        core=False,
    ),
    Variant("wo_filter", (5,), {"advantage_limit": "off"}),
    Variant("wo_pre_clip", (5, 6), {"pre_clip": "off"}),
    # Table 6 prints bounds of "5.00" and "100" beside a default of log 1e3: read as |log ratio| <= b ...
    Variant("log_bound_5", (6,), {"pre_clip": math.exp(5)}),
    Variant("log_bound_100", (6,), {"pre_clip": math.exp(100)}),
    # ... and as ratio <= b.
    Variant("ratio_bound_5", (6,), {"pre_clip": 5.0}, core=False),
    Variant("ratio_bound_100", (6,), {"pre_clip": 100.0}, core=False),
    Variant("weight_1.0", (7,), {"consistency_weight": 1.0}),
    Variant("weight_0.1", (7,), {"consistency_weight": 0.1}),
    Variant("external", (7,), {"external_consistency": True}),
    Variant("weight_0.0", (7, 13), {"consistency_weight": 0.0}),
    Variant("judge_weak", (13,), judge="weak"),
    Variant("judge_noisy", (13,), {"consistency_weight": 0.25}, judge="noisy"),
    Variant("judge_random", (13,), judge="random"),
    Variant("reinforce", (5,), {"algorithm": "reinforce"}, core=False),
    Variant("ppo", (5,), {"algorithm": "ppo"}, core=False),
    Variant(
        "grpo",
        (5,),
        {"algorithm": "grpo", "samples_per_prompt": 8, "rollout_batch_size": 32},
        core=False,
    ),
    Variant("no_cold_start", (), start="base", core=False),
    Variant("easy_pairs", (), pairs="easy", core=False),
    # Table 13 prints each judge at its best weight: the other weights.
    *(
        Variant(f"judge_{judge}_{weight}", (), {"consistency_weight": weight}, judge=judge, core=False)
        for judge, weight in SWEEP
    ),
)
VARIANTS = {variant.name: variant for variant in _ALL}


def interventions(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How often the parts of StableReinforce acted in a run, from its rows of metrics.

    `pre_clip_steps` and `filter_steps` count steps with any hit; `log_ratio_max` and `z_abs_max` are the
    largest values of the run before any clipping.
    """
    hits = [sum(row[key] for key in row if key.startswith("pre_clip_")) for row in rows]
    filtered = [row["filtered_positive"] + row["filtered_negative"] for row in rows]
    return {
        "steps": len(rows),
        "pre_clip_steps": sum(share > 0 for share in hits),
        "filter_steps": sum(share > 0 for share in filtered),
        "log_ratio_max": max((row["log_ratio_max"] for row in rows), default=0.0),
        "z_abs_max": max((max(-row["z_min"], row["z_max"]) for row in rows), default=0.0),
    }


def is_identical(
    variant: Variant, base: RLSettings, rows: Sequence[Mapping[str, float]], *, reference: str = REFERENCE
) -> bool:
    """Whether this variant would repeat, step by step, the run of `reference` with these rows of metrics.

    `base` are the RL settings of the profile; `reference` is one of REFERENCES.
    """
    settings, known = variant.settings(base), VARIANTS[reference].settings(base)
    stabilisers = {"algorithm", "pre_clip", "advantage_limit"}
    others = settings.model_dump(exclude=stabilisers) != known.model_dump(exclude=stabilisers)
    elsewhere = (variant.judge, variant.start, variant.pairs) != ("strong", "sft", "hard")
    if others or elsewhere or settings.algorithm not in _ONE_SURROGATE:
        return False
    seen = interventions(rows)
    bounds = [log_bound(pre_clip_bound(one) or math.inf) for one in (settings, known)]
    limits = [advantage_limit(one) or math.inf for one in (settings, known)]
    same_ratio = bounds[0] == bounds[1] or seen["log_ratio_max"] < min(bounds)
    same_advantages = limits[0] == limits[1] or seen["z_abs_max"] <= min(limits)
    return same_ratio and same_advantages


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


def run_one(grid: Grid, variant: Variant, seed: int) -> dict[str, Any]:
    """Train a variant with a seed, judge the benchmark with it, and note how it ended."""
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
    outcome = {
        "status": ended["status"],
        "reason": ended["reason"],
        "steps": ended["step"],
        "settings": ended["run"]["rl"],
        "used": {name: ended["run"][name] for name in ("start", "pairs")} | ended["used"],
        "judge": variant.judge,
        "accuracy": {mode: score.accuracy for mode, score in scores.items()},
        "interventions": interventions(read_metrics(folder)),
        "model": weights_hash(result.model),
        "device": device_name(),
    }
    return _note(grid, variant, seed, outcome)


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

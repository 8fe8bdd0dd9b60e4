"""Arms of the grid that really train and are judged, and what their records say was used."""

from pathlib import Path

import pytest
from helpers import World, score_by_tokens

from r1reward.config import load_profile
from r1reward.data.storage import read_pairs, write_pairs
from r1reward.engines.loading import keep_layers, weights_hash
from r1reward.files import read_json, read_jsonl, sha256_file
from r1reward.judge.consistency_judges import ModelConsistencyJudge
from r1reward.train.grid import VARIANTS, Grid, run_grid
from r1reward.train.tasks import JudgeTask

OVERRIDES = {
    "processes": 1,
    "engine": {"batch_size": 8, "max_new_tokens": 2},
    "rl": {
        "rollout_batch_size": 2, "train_batch_size": 2, "micro_batch_size": 2, "max_steps": 1,
        "learning_rate": 1e-2, "collapse_patience": 0,
    },
}  # fmt: skip


@pytest.fixture
def grid(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """Base, cold starts and judges are checkpoints of different weights."""
    # A reward that an untrained model can earn, or nothing would be learnt.
    monkeypatch.setattr(JudgeTask, "score", lambda self, *asked: score_by_tokens(*asked))
    for place, layers in (
        ("base", [0, 1]),
        ("sft", [2, 3]),
        ("strong/model", [1, 2]),
        ("weak/model", [0, 3]),
    ):
        keep_layers(world.model, layers, tmp_path / place)
    profile = load_profile("smoke", overrides={**OVERRIDES, "model": {"base": str(tmp_path / "base")}})
    pairs = read_pairs(world.pairs)
    files = {
        "hard": write_pairs(tmp_path / "hard.jsonl", pairs[:6]),
        "easy": write_pairs(tmp_path / "easy.jsonl", pairs[6:10]),
    }
    places = [tmp_path, tmp_path / "references", tmp_path / "work", tmp_path / "records"]
    starts = {seed: tmp_path / "sft" for seed in (0, 1)}
    return Grid(profile, starts, files, tuple(pairs[:1]), *places)


def judge_of(grid: Grid, name: str) -> str:
    return ModelConsistencyJudge(grid.judges / name / "model").fingerprint


def test_the_record_of_an_arm_says_what_was_really_used(grid: Grid) -> None:
    """The same start, pairs, judge and algorithm for all but the one thing that an arm is called after."""
    base, cold = grid.profile.model.base, grid.starts[0]
    reference = {
        "algorithm": "stable_reinforce", "pre_clip": 1e3, "advantage_limit": 3.0,
        "consistency_judge": judge_of(grid, "strong"), "consistency_weight": 0.5,
        "external_consistency": False, "prompt": "mini", "items": 6, "seed": 0,
        "start": weights_hash(cold), "pairs": sha256_file(grid.rl_pairs["hard"]),
    }  # fmt: skip
    easy = {"pairs": sha256_file(grid.rl_pairs["easy"]), "items": 4}
    off = {"pre_clip": "off", "advantage_limit": "off"}
    arms = {
        "stable_reinforce": {},
        "reinforce_pp": {"algorithm": "reinforce_pp", **off},
        "reinforce_pp_plain": {"algorithm": "reinforce_pp", **off, "consistency_weight": 0.0},
        "wo_filter": {"advantage_limit": "off"},
        "wo_pre_clip": {"pre_clip": "off"},
        "external": {"external_consistency": True},
        "judge_weak": {"consistency_judge": judge_of(grid, "weak")},
        "judge_noisy": {
            "consistency_judge": f"0.25 flipped by 0: {judge_of(grid, 'strong')}", "consistency_weight": 0.25,
        },
        "judge_random": {"consistency_judge": "random, seed 0"},
        "no_cold_start": {"start": weights_hash(base)},
        "easy_pairs": easy,
    }  # fmt: skip
    single = Grid(**{name: getattr(grid, name) for name in Grid.__slots__} | {"starts": {0: cold}})
    outcomes = run_grid(single, [VARIANTS[name] for name in arms])
    for name, changes in arms.items():
        about = outcomes[f"{name}, seed 0"]
        assert about["used"] == reference | changes, name
        record = grid.records / name / "seed_0"
        assert about == read_json(record / "run.json")
        model = grid.work / name / "seed_0" / "model"
        assert about["model"] == read_json(record / "status.json")["weights"] == weights_hash(model)
        assert about["model"] not in (weights_hash(base), weights_hash(cold)), "trained"


def test_seeds_sample_their_own_answers(grid: Grid) -> None:
    """In training and in the sampled answers to the benchmark; greedy ones have no seed."""
    run_grid(grid, [VARIANTS["external"]])
    folders = [grid.records / "external" / f"seed_{seed}" for seed in (0, 1)]
    rewards = [read_jsonl(folder / "metrics.jsonl")[0]["entropy"] for folder in folders]
    assert rewards[0] != rewards[1]

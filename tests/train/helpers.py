"""A tiny world to train in, and a reward that an untrained model can earn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from r1reward.data.storage import SFTExample, write_pairs
from r1reward.engines.loading import save_model
from r1reward.judge.consistency_judges import ScriptedConsistencyJudge
from r1reward.mini.tiny import build_tiny
from r1reward.parsing import parse_verdict
from r1reward.settings import EngineSettings, ModelSettings, RLSettings, SFTSettings
from r1reward.train.learner import Learner, make_learner
from r1reward.train.tasks import JudgeTask
from r1reward.types import Completion, JudgeTrajectory, PreferencePair

RL = RLSettings(
    learning_rate=1e-3,
    rollout_batch_size=8,
    train_batch_size=4,
    micro_batch_size=2,
    epochs=1,
    save_steps=2,
    warmup_ratio=0.5,
    schedule="constant",
    # An untrained model never ends its answers.
    collapse_patience=0,
)
SFT = SFTSettings(learning_rate=1e-3, batch_size=4, micro_batch_size=2, epochs=1.0, save_steps=2)
MODEL = ModelSettings(prompt="mini")
ENGINE = EngineSettings(batch_size=8, max_prompt_tokens=512, max_new_tokens=6)
TIME_KEYS = {
    "seconds",
    "cpu_seconds",
    "rollout_seconds",
    "score_seconds",
    "old_log_prob_seconds",
    "update_seconds",
    "tokens_per_second",
}


@dataclass(frozen=True)
class World:
    """Files of a tiny training world."""

    model: Path
    pairs: Path
    examples: Path


def write_world(folder: Path, *, num_pairs: int = 16) -> World:
    rng = np.random.default_rng(0)
    pairs = []
    for index in range(num_pairs):
        picture = folder / f"{index}.png"
        Image.fromarray(rng.integers(0, 256, (28, 56, 3), dtype=np.uint8)).save(picture)
        position = 1 if index % 2 else 2
        pairs.append(
            PreferencePair(
                f"p{index}",
                "test",
                f"what is it {index} ?",
                ("a ring .", "a star ."),
                position,
                (str(picture),),
            )
        )
    answers = [f"<think>it is {pair.pair_id} .</think><answer>{pair.preferred}</answer>" for pair in pairs]
    model, processor = build_tiny(0, [pair.question for pair in pairs] * 20 + answers * 20)
    save_model(model, processor, folder / "model")
    examples = [SFTExample(pair, answer) for pair, answer in zip(pairs, answers, strict=True)]
    return World(
        folder / "model",
        write_pairs(folder / "pairs.jsonl", pairs),
        write_pairs(folder / "examples.jsonl", examples),
    )


def score_by_tokens(
    pairs: Sequence[PreferencePair], completions: Sequence[tuple[Completion, ...]]
) -> list[JudgeTrajectory]:
    """Reward 1 for an even first token and 0.5 for an even second one."""
    scored = []
    for pair, samples in zip(pairs, completions, strict=True):
        for one in samples:
            ids, verdict = one.token_ids, parse_verdict(one.text)
            result, formatting = float(ids[0] % 2 == 0), float(len(ids) > 1 and ids[1] % 2 == 0)
            reward = result + 0.5 * formatting
            scored.append(JudgeTrajectory(pair, one, reward, verdict, result, formatting, 0.0))
    return scored


def without_time(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIME_KEYS} for row in rows]


def new_learner(
    world: World, settings: RLSettings = RL, steps: int = 4, checkpoint: Path | None = None
) -> Learner:
    return make_learner(
        world.model,
        settings=settings,
        model_settings=MODEL,
        engine_settings=ENGINE,
        task=JudgeTask(ScriptedConsistencyJudge(), settings=settings, prompt=MODEL.prompt),
        seed=1,
        steps=steps,
        checkpoint=checkpoint,
    )

"""The policy that R1-Reward trains: Qwen2.5-VL-3B in the paper, a smaller tiny model here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from r1reward.downstream.questions import read_questions
from r1reward.downstream.task import TournamentTask
from r1reward.engines.loading import keep_layers
from r1reward.files import sha256_file
from r1reward.judge.r1_reward import R1Reward
from r1reward.settings import Profile
from r1reward.train import checkpoint
from r1reward.train.rl import RLResult, train_policy
from r1reward.train.sft import train_sft


def make_policy(profile: Profile, *, lessons: Path, out: Path, seed: int) -> str | Path:
    """The policy to start from: the profile's, or for "mini" one that is made here.

    The mini policy is the shipped base model without some of its layers, which then learns to answer
    questions again from `lessons`, a file of `write_questions`.
    """
    settings = profile.downstream
    if settings.policy != "mini":
        return settings.policy
    start = out / "start"
    if not start.is_dir():
        checkpoint.write_folder(start, lambda folder: keep_layers("mini", settings.layers, folder))
    return train_sft(
        start,
        lessons,
        out=out,
        settings=settings.sft,
        model_settings=profile.model,
        seed=seed,
        read=read_questions,
    )


def train_with_judge(
    policy: str | Path,
    prompts: Path,
    judge: str | Path,
    *,
    profile: Profile,
    out: Path,
    record: Path,
    seed: int,
) -> RLResult:
    """Train the policy by GRPO with R1-Reward's comparisons as its only reward (paper C.9).

    `prompts` is a file of `write_questions`, of which `downstream.prompts` are drawn by the seed; `judge` is
    the checkpoint of the reward model. See `train_policy` for the rest.
    """
    settings = profile.downstream
    questions = read_questions(prompts)
    order = np.random.default_rng([seed, len(questions)]).permutation(len(questions))
    return train_policy(
        TournamentTask(R1Reward.from_pretrained(judge, profile=profile, engine=settings.judge_engine)),
        policy,
        [questions[index] for index in order[: settings.prompts]],
        items_hash=f"{sha256_file(prompts)} {settings.prompts}",
        out=out,
        record=record,
        settings=settings.rl,
        model_settings=profile.model,
        engine_settings=profile.engine.model_copy(update={"max_new_tokens": settings.max_new_tokens}),
        seed=seed,
    )

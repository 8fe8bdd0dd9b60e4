"""The policy that R1-Reward trains: Qwen2.5-VL-3B in the paper, a smaller tiny model here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from r1reward.data.storage import write_rows
from r1reward.downstream.questions import Question, read_questions
from r1reward.downstream.tournament import TournamentTask, hold_tournaments
from r1reward.engines import Sampling, load_engine
from r1reward.engines.loading import checkpoint_hash, keep_layers
from r1reward.files import read_json, sha256_file, write_json
from r1reward.judge.generative import R1Reward
from r1reward.progress import Progress
from r1reward.settings import Profile
from r1reward.train import checkpoint
from r1reward.train.rl import RLResult, train_policy
from r1reward.train.sft import train_sft

COUNTS = "right_answers.json"


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
    the checkpoint of the reward model. With `downstream.right_answers` only those are kept that the policy
    sometimes answers as the reference does; the reward never looks at it. See `train_policy` for the rest.
    """
    settings = profile.downstream
    questions = read_questions(prompts)
    order = np.random.default_rng([seed, len(questions)]).permutation(len(questions))
    drawn = [questions[index] for index in order[: settings.prompts]]
    drawn_hash = f"{sha256_file(prompts)} {settings.prompts}"
    if settings.right_answers:
        counts = _right_answers(
            policy, drawn, profile=profile, seed=seed, kept=out / COUNTS, drawn_hash=drawn_hash
        )
        fewest, most = settings.right_answers
        drawn = [item for item, count in zip(drawn, counts, strict=True) if fewest <= count <= most]
        drawn_hash += f" {fewest} {most}"
        if not drawn:
            raise ValueError(f"{prompts}: downstream.right_answers leaves no prompt; widen its range")
    reward_model = R1Reward.from_pretrained(judge, profile=profile, engine=settings.judge_engine)
    return train_policy(
        TournamentTask(reward_model, settings.tournament, settings.rounds),
        policy,
        drawn,
        items_hash=drawn_hash,
        out=out,
        record=record,
        settings=settings.rl,
        model_settings=profile.model,
        engine_settings=profile.engine.model_copy(update={"max_new_tokens": settings.max_new_tokens}),
        seed=seed,
    )


def sample_answers(
    policy: str | Path, questions: Sequence[Question], *, profile: Profile, seed: int, label: str
) -> list[list[str]]:
    """A group of answers to each question, as training samples them; `label` names it in the progress."""
    rl = profile.downstream.rl
    sampling = Sampling(profile.downstream.max_new_tokens, rl.temperature, rl.samples_per_prompt, seed)
    requests = [item.request() for item in questions]
    groups = load_engine(policy, profile).generate(requests, sampling, progress=Progress(label))
    return [[one.text for one in group] for group in groups]


def measure_tournaments(
    policy: str | Path,
    prompts: Path,
    judge: str | Path,
    *,
    profile: Profile,
    record: Path,
    seed: int,
) -> None:
    """Hold `TOURNAMENTS` on `downstream.tournament_prompts` groups of answers that the policy samples.

    `prompts` is a file of `write_questions`. `record` gets what `hold_tournaments` returns, a line for each
    prompt and tournament.
    """
    settings = profile.downstream
    questions = read_questions(prompts)
    chosen = np.random.default_rng(seed).permutation(len(questions))[: settings.tournament_prompts]
    drawn = [questions[index] for index in chosen]
    groups = sample_answers(policy, drawn, profile=profile, seed=seed, label="answers")
    reward_model = R1Reward.from_pretrained(judge, profile=profile, engine=settings.judge_engine)
    compare = partial(reward_model.compare_all, votes=1, progress=Progress("judging"))
    write_rows(record, hold_tournaments([*zip(drawn, groups, strict=True)], compare))


def _right_answers(
    policy: str | Path,
    questions: Sequence[Question],
    *,
    profile: Profile,
    seed: int,
    kept: Path,
    drawn_hash: str,
) -> list[int]:
    """How many answers of a group sampled by the policy are the reference's, by question; asked once."""
    rl = profile.downstream.rl
    key = f"{drawn_hash} {checkpoint_hash(policy)} {rl.temperature} {rl.samples_per_prompt} {seed}"
    if kept.is_file() and (found := read_json(kept))["key"] == key:
        return found["counts"]
    groups = sample_answers(policy, questions, profile=profile, seed=seed, label="what the policy can do")
    counts = [sum(map(item.is_reference, group)) for item, group in zip(questions, groups, strict=True)]
    write_json(kept, {"key": key, "counts": counts})
    return counts

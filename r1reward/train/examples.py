"""What a policy answers and what it is worth, for a reader who wants to see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from r1reward.engines import load_engine
from r1reward.engines.base import Sampling
from r1reward.judge.consistency import ConsistencyJudge
from r1reward.judge.reward_model import judge_samples
from r1reward.settings import Profile
from r1reward.train.tasks import RewardFormula, score_votes
from r1reward.types import JudgeTrajectory, PreferencePair


def sample_scored(
    checkpoint: str | Path,
    pairs: Sequence[PreferencePair],
    *,
    profile: Profile,
    judge: ConsistencyJudge,
    seed: int,
    reward: RewardFormula | None = None,
) -> list[JudgeTrajectory]:
    """One sampled answer to every pair, scored as in a rollout of RL (paper §3.2)."""
    sampling = Sampling(profile.engine.max_new_tokens, profile.rl.temperature, 1, seed)
    votes = judge_samples(
        load_engine(checkpoint, profile), pairs, prompt=profile.model.prompt, sampling=sampling
    )
    return score_votes(pairs, votes, judge=judge, settings=profile.rl, reward=reward)

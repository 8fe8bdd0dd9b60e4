"""The reward of answers where OpenRLHF wants it: in the process of an engine, as answers come in.

OpenRLHF logs an exception of a reward and dies of the missing one batches later, so nothing here raises: an
answer that could not be scored has reward 0 and is counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from r1reward.judge.consistency_judges import ConsistencyJudge, make_consistency_judge
from r1reward.judge.generative import read_vote
from r1reward.settings import Profile, RLSettings
from r1reward.train.tasks import score_votes
from r1reward.types import Completion, JudgeTrajectory, PreferencePair, Verdict

PROFILE_VARIABLE, FOLDER_VARIABLE, SEED_VARIABLE = "R1REWARD_PROFILE", "R1REWARD_FOLDER", "R1REWARD_SEED"
JUDGES_VARIABLE = "R1REWARD_JUDGES"
VISION_VARIABLE = "R1REWARD_VISION_TOKENS"  # ids of tokens that are never sampled, a JSON list
# What is logged of each answer beside its reward.
PARTS = ("reward_result", "reward_format", "reward_consistency", "judge_unknown", "judged", "contradicted",
         "answer_one", "unparsed", "reward_failed")  # fmt: skip
_LOG = logging.getLogger(__name__)


class AnswerScorer:
    """Scores answers as `train.rl` does; those that arrive while a batch is scored make the next one."""

    def __init__(self, settings: RLSettings, judge: ConsistencyJudge) -> None:
        self._settings, self._judge = settings, judge
        self._waiting: list[tuple[Completion, str, asyncio.Future[dict[str, float]]]] = []
        self._working: asyncio.Task[None] | None = None

    @classmethod
    def from_environment(cls) -> Self:
        """The scorer of a launched run; each process keeps a server's opinions in a folder of its own."""
        profile = Profile.model_validate_json(os.environ[PROFILE_VARIABLE])
        folder = Path(os.environ[FOLDER_VARIABLE]) / "judge" / f"{socket.gethostname()}_{os.getpid()}"
        seed, judges = int(os.environ[SEED_VARIABLE]), Path(os.environ[JUDGES_VARIABLE])
        return cls(profile.rl, make_consistency_judge(profile, "strong", judges, seed=seed, cache=folder))

    async def score(self, completion: Completion, label: str) -> dict[str, float]:
        """`reward` and the PARTS of one answer; `label` is that of `prepare.prompt_row`."""
        future: asyncio.Future[dict[str, float]] = asyncio.get_running_loop().create_future()
        self._waiting.append((completion, label, future))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            answers = [(completion, label) for completion, label, _ in batch]
            scored = await asyncio.to_thread(self.score_all, answers)
            for (_, _, future), one in zip(batch, scored, strict=True):
                if not future.done():
                    future.set_result(one)

    def score_all(self, answers: Sequence[tuple[Completion, str]]) -> list[dict[str, float]]:
        """The same for several answers with their labels; never raises."""
        try:
            pairs = [_pair(label) for _, label in answers]
            votes = [(read_vote(completion),) for completion, _ in answers]
            trajectories = score_votes(pairs, votes, judge=self._judge, settings=self._settings)
            return [_parts(trajectory) for trajectory in trajectories]
        except Exception:
            _LOG.exception("%d answers could not be scored", len(answers))
            return [{"reward": 0.0, **dict.fromkeys(PARTS, 0.0), "reward_failed": 1.0} for _ in answers]


def _pair(label: str) -> PreferencePair:
    """As much of a pair as its reward depends on."""
    known = json.loads(label)
    return PreferencePair(known["pair_id"], "", "", ("", ""), known["preferred"])


def _parts(trajectory: JudgeTrajectory) -> dict[str, float]:
    known = trajectory.consistency is not None
    judged = float(trajectory.result and known)
    return {
        "reward": trajectory.reward,
        "reward_result": trajectory.result,
        "reward_format": trajectory.formatting,
        "reward_consistency": trajectory.consistency or 0.0,
        "judge_unknown": float(not known),
        "judged": judged,
        "contradicted": judged * (1 - (trajectory.consistency or 0.0)),
        "answer_one": float(trajectory.verdict is Verdict.FIRST),
        "unparsed": float(trajectory.verdict is Verdict.UNPARSED),
        "reward_failed": 0.0,
    }

"""How well cheaper tournaments agree with the one in which everybody meets, and what they save."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from r1reward.data.storage import write_rows
from r1reward.downstream.policy import sample_answers
from r1reward.downstream.questions import Question, read_questions
from r1reward.downstream.tournament import Compare, Pairing, tournament_scores
from r1reward.judge.r1_reward import R1Reward
from r1reward.progress import Progress
from r1reward.settings import Profile
from r1reward.types import Comparison, Judgment

# Pairings and their rounds; the first is what the others are held against.
TOURNAMENTS: tuple[tuple[Pairing, int], ...] = (
    ("all", 1),
    *(("random", rounds) for rounds in (1, 2, 3, 4)),
    *(("swiss", rounds) for rounds in (2, 3, 4)),
)


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


def hold_tournaments(
    answered: Sequence[tuple[Question, Sequence[str]]], compare: Compare
) -> list[dict[str, Any]]:
    """A line for each question and tournament: its pairing and rounds, comparisons asked, scores.

    `compare` is asked for the full tournament only; the others are held with its verdicts. Questions whose
    answers are all the same are left out: there nothing is compared.
    """
    answered = [(item, texts) for item, texts in answered if len(set(texts)) > 1]
    judge = _Remembering(compare)
    tournament_scores(answered, judge)
    lines = []
    for (pairing, rounds), (number, one) in product(TOURNAMENTS, enumerate(answered)):
        judge.asked = 0
        (scores,) = tournament_scores([one], judge, pairing=pairing, rounds=rounds, seed=number)
        line = {"question": number, "pairing": pairing, "rounds": rounds, "comparisons": judge.asked}
        lines.append({**line, "scores": np.round(scores, 4).tolist()})
    return lines


class _Remembering:
    """Asks a judge about nothing twice, and counts what it is asked itself."""

    def __init__(self, compare: Compare) -> None:
        self.asked = 0
        self._compare = compare
        self._known: dict[Comparison, Judgment] = {}

    def __call__(self, comparisons: list[Comparison]) -> list[Judgment]:
        self.asked += len(comparisons)
        new = [one for one in comparisons if one not in self._known]
        if new:
            self._known.update(zip(new, self._compare(new), strict=True))
        return [self._known[one] for one in comparisons]

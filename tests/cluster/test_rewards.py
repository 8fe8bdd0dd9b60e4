"""Rewards inside an engine's process: those of `train.rl`, in batches, and never an exception."""

import asyncio
import json

import pytest

from r1reward.cluster.rewards import PARTS, AnswerScorer
from r1reward.judge.consistency import ScriptedConsistencyJudge
from r1reward.settings import RLSettings
from r1reward.types import Completion

LABEL = json.dumps({"pair_id": "p", "preferred": 1})


def answer(text: str) -> Completion:
    return Completion(text, (1,), (0.0,), "stop", (text,))


def scorer(judge=None) -> AnswerScorer:
    return AnswerScorer(RLSettings(), judge or ScriptedConsistencyJudge())


RIGHT = answer("<think>so response 1 is better</think><answer>1</answer>")
CONTRADICTED = answer("<think>so response 2 is better</think><answer>1</answer>")
WRONG = answer("<think>so response 2 is better</think><answer>2</answer>")
SILENT = answer("nothing")


def test_rewards_are_those_of_the_formula() -> None:
    found = scorer().score_all([(one, LABEL) for one in (RIGHT, CONTRADICTED, WRONG, SILENT)])
    assert [one["reward"] for one in found] == [2.0, 1.5, 0.5, 0.0]
    assert [one["contradicted"] for one in found] == [0, 1, 0, 0]
    assert [one["judged"] for one in found] == [1, 1, 0, 0]
    assert [one["unparsed"] for one in found] == [0, 0, 0, 1]
    assert all(set(one) == {"reward", *PARTS} for one in found)


def test_what_cannot_be_scored_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        fingerprint = "broken"

        def judge(self, reasonings, verdicts):
            raise RuntimeError("no judge")

    for one, label in ((RIGHT, "{"), (RIGHT, "{}")):
        assert scorer().score_all([(one, label)])[0]["reward_failed"] == 1.0
    assert scorer(Broken()).score_all([(RIGHT, LABEL)])[0]["reward"] == 0.0
    assert "no judge" in caplog.text


def test_answers_that_arrive_together_are_scored_together() -> None:
    sizes = []

    class Counting(ScriptedConsistencyJudge):
        def judge(self, reasonings, verdicts):
            sizes.append(len(reasonings))
            return super().judge(reasonings, verdicts)

    async def ask() -> list[float]:
        one = scorer(Counting())
        found = await asyncio.gather(*(one.score(each, LABEL) for each in [RIGHT, WRONG] * 8))
        return [each["reward"] for each in found]

    assert asyncio.run(ask()) == [2.0, 0.5] * 8
    assert sum(sizes) == 8 and len(sizes) <= 2
